"""What a node's container runtime has and how it takes an image in: containerd, Docker and CRI-O."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from releaser.layers import chain_ids
from releaser.models import full_name


@dataclass(frozen=True)
class Held:
    """What a node has: the config digest of each image by its full names, the diff ids of layers that can stand under
    any other, and the chain ids of those that can stand where they do alone."""

    images: dict[str, str]
    layers: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()

    def of(self, diff_ids: Collection[str]) -> list[str]:
        """Those of an image's layers which need not be sent."""
        pairs = zip(diff_ids, chain_ids(list(diff_ids)), strict=True)
        return [diff_id for diff_id, chain_id in pairs if diff_id in self.layers or chain_id in self.chains]


@dataclass(frozen=True)
class Runtime:
    """Shell scripts for the node, and the layout of the archives that it takes.

    `look`: `read` understands what it prints. `receive`: takes in what releaser/layers.py writes in the `layout`; $1 is
    the image's name there, $2 the one to have. `receive_whole`: the same with what `docker save` writes. `tag`: gives
    the image $1 the name $2. `remove`: takes the name $1 away, if it is there, and with its last name the image; prints
    HELD where a container keeps that from being done. `sweep`: drops what transfers left behind that broke off.
    """

    look: str
    read: Callable[[str], Held]
    receive: str
    receive_whole: str
    tag: str
    remove: str
    layout: str
    arrives_as: str = ""
    sweep: str = "true"

    def arriving(self, name: str) -> str:
        """The name that a full one has in the archive."""
        return f"{self.arrives_as}/{name.partition('/')[2]}" if self.arrives_as else name


def _containerd(output: str) -> Held:
    images, _, content = output.partition("\nDIGEST")
    blobs = (line.split(None, 1)[0] for line in content.splitlines()[1:] if line.strip())
    return Held(_named(json.loads(images)["images"] or [], "id", "repoTags"), layers=frozenset(blobs))


def _docker(output: str) -> Held:
    images = json.loads(output or "[]")
    chains = (chain for image in images for chain in chain_ids(image["RootFS"].get("Layers") or []))
    return Held(_named(images, "Id", "RepoTags"), chains=frozenset(chains))


def _crio(output: str) -> Held:
    images, _, layers = output.partition("\nLAYERS\n")
    digests = (layer.get("diff-digest", "") for layer in json.loads(layers or "[]"))
    return Held(_named(json.loads(images), "Id", "Names"), layers=frozenset(digests))


def _named(images: list[dict[str, Any]], id_key: str, names_key: str) -> dict[str, str]:
    """Config digests by full names."""
    return {
        full_name(name): f"sha256:{image[id_key].removeprefix('sha256:')}"
        for image in images
        for name in image.get(names_key) or []
    }


_CTR = "ctr -n k8s.io"
# containerd names an image before it has looked whether all of its layers are there: only what is sound gets its name.
_TAKE_IN = f"""{_CTR} images import - && {_CTR} images tag --force "$1" "$2"
status=$?
[ $status = 0 ] && [ "$1" = "$2" ] || {_CTR} images rm "$1"
"""
# An import that breaks off takes back what it had. So each layer comes by itself, and is marked so that it stays. ctr
# can't go on with half a layer; under a reference that was never used it doesn't try, and containerd drops the half.
_AHEAD = f"""attempt=$(date +%s).$$
while read -r digest size && [ "$digest" ]; do
head -c "$size" |
{_CTR} content ingest --expected-digest "$digest" --expected-size "$size" "$digest.$attempt" || exit 1
{_CTR} content label "$digest" "{{label}}=arriving.$(date +%s)" || exit 1
arrived="$arrived $digest"
done
{_TAKE_IN}[ $status = 0 ] && for digest in $arrived; do {_CTR} content label "$digest" "{{label}}="; done
exit $status""".replace("{label}", "containerd.io/gc.root")

# Kubernetes' side of containerd gives each image a second name, sha256:ID, which would keep its layers.
_REMOVE = f"""target=$({_CTR} images ls "name==$1" | awk 'NR == 2 {{print $3}}')
{_CTR} images rm "$1"
names=$({_CTR} images ls | awk -v target="$target" '$3 == target {{print $1}}')
echo "$names" | grep -qv ^sha256: || for name in $names; do {_CTR} images rm "$name"; done"""

HELD = "held"
# The engine refuses to take the last name of what any container was made of, be it running or not.
_DOCKER_REMOVE = f"""docker image inspect "$1" >/dev/null 2>&1 || exit 0
said=$(docker image rm "$1" 2>&1) && exit 0
case "$said" in *conflict*) echo {HELD};; *) echo "$said" >&2; exit 1;; esac"""

# CRI-O's containers are in the same store; 2 is podman's status for an image that is in use.
_PODMAN_REMOVE = f"""podman image exists "$1" || exit 0
podman image rm "$1" >/dev/null && exit 0
[ $? = 2 ] && echo {HELD}"""

# What is younger may belong to a transfer that is under way, of another project for one.
_ARRIVING_SECONDS = 3600
_SWEEP = f"""{_CTR} content ls | sed -n 's|^\\(sha256:[0-9a-f]*\\).*gc.root=arriving.\\([0-9]*\\).*|\\1 \\2|p' |
while read -r digest since; do
[ $(($(date +%s) - since)) -lt {_ARRIVING_SECONDS} ] || {_CTR} content label "$digest" containerd.io/gc.root=
done"""

# podman makes localhost/web:1 of the web:1 that stands in an archive of `docker save`.
_PODMAN_WHOLE = """loaded=$(podman load --quiet) || exit 1
name="${loaded##* }"
[ "$name" = "$2" ] || { podman tag "$name" "$2" && podman untag "$name" "$name"; }"""

RUNTIMES = {
    "containerd": Runtime(
        look=f"crictl images -o json && echo && {_CTR} content ls",
        read=_containerd,
        receive=_AHEAD,
        receive_whole=f"{_TAKE_IN}exit $status",
        tag=f'{_CTR} images tag --force "$1" "$2"',
        remove=_REMOVE,
        layout="ahead",
        arrives_as="arriving.releaser",
        sweep=_SWEEP,
    ),
    "docker": Runtime(
        look="docker image ls -q --no-trunc | sort -u | xargs -r docker image inspect",
        read=_docker,
        receive="docker image load --quiet",
        receive_whole="docker image load --quiet",
        tag='docker image tag "$1" "$2"',
        remove=_DOCKER_REMOVE,
        layout="docker",
    ),
    "crio": Runtime(
        look="podman image list --format json && echo LAYERS && "
        # an empty store has no such file
        "cat \"$(podman info --format '{{.Store.GraphRoot}}')\"/overlay-layers/layers.json 2>/dev/null || echo []",
        read=_crio,
        receive="podman load --quiet",
        receive_whole=_PODMAN_WHOLE,
        tag='podman tag "$1" "$2"',
        remove=_PODMAN_REMOVE,
        layout="oci",
    ),
}
RUNTIMES["cri-o"] = RUNTIMES["crio"]  # Minikube takes both names
