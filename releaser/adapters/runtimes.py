"""What a node's container runtime has and how it takes an image in: containerd, Docker and CRI-O."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from releaser.layers import chain_ids


@dataclass(frozen=True)
class Held:
    """What a node has: the config digest of each image by its full names, the diff ids of layers that can stand under
    any other, and the chain ids of those that can stand where they do alone."""

    images: dict[str, str]
    layers: frozenset[str] = frozenset()
    chains: frozenset[str] = field(default=frozenset())

    def of(self, diff_ids: Collection[str]) -> list[str]:
        """Those of an image's layers which need not be sent."""
        pairs = zip(diff_ids, chain_ids(list(diff_ids)), strict=True)
        return [diff_id for diff_id, chain_id in pairs if diff_id in self.layers or chain_id in self.chains]


@dataclass(frozen=True)
class Runtime:
    """`look` is a shell script whose output `read` understands; `receive` takes an archive of the `layout` in, `tag`
    and two names give an image the second."""

    look: str
    read: Callable[[str], Held]
    receive: tuple[str, ...]
    tag: tuple[str, ...]
    layout: str = "oci"


def full_name(ref: str) -> str:
    """`web:1` is short for docker.io/library/web:1, `team/web:1` for docker.io/team/web:1; a host makes a name full."""
    first, slash, _ = ref.partition("/")
    if not slash:
        return f"docker.io/library/{ref}"
    return ref if "." in first or ":" in first or first == "localhost" else f"docker.io/{ref}"


def _containerd(output: str) -> Held:
    images, _, content = output.partition("\nDIGEST")
    blobs = (line.split(None, 1)[0] for line in content.splitlines()[1:] if line.strip())
    return Held(_cri_images(json.loads(images)), layers=frozenset(blobs))


def _docker(output: str) -> Held:
    images = json.loads(output or "[]")
    chains = (chain for image in images for chain in chain_ids(image["RootFS"].get("Layers") or []))
    names = {full_name(tag): image["Id"] for image in images for tag in image.get("RepoTags") or []}
    return Held(names, chains=frozenset(chains))


def _crio(output: str) -> Held:
    images, _, layers = output.partition("\nLAYERS\n")
    digests = (layer.get("diff-digest", "") for layer in json.loads(layers or "[]"))
    return Held(_cri_images(json.loads(images)), layers=frozenset(digests))


def _cri_images(listed: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"sha256:{image['id'].removeprefix('sha256:')}"
        for image in listed.get("images") or []
        for name in image.get("repoTags") or []
    }


RUNTIMES = {
    "containerd": Runtime(
        "crictl images -o json && echo && ctr -n k8s.io content ls",
        _containerd,
        ("ctr", "-n", "k8s.io", "images", "import", "-"),
        ("ctr", "-n", "k8s.io", "images", "tag", "--force"),
    ),
    "docker": Runtime(
        "docker image ls -q --no-trunc | sort -u | xargs -r docker image inspect",
        _docker,
        ("docker", "image", "load", "--quiet"),
        ("docker", "image", "tag"),
        layout="docker",
    ),
    "crio": Runtime(
        "crictl images -o json && echo LAYERS && cat /var/lib/containers/storage/overlay-layers/layers.json",
        _crio,
        ("podman", "load", "--quiet"),
        ("podman", "tag"),
    ),
}
RUNTIMES["cri-o"] = RUNTIMES["crio"]
