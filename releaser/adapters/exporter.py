"""Images of the local Docker engine as archives for a node, without what the node has where that can be had.

The engine's own `docker save` writes all layers out before it sends the first byte. releaser/layers.py reads the
engine's store instead, here or, for who may talk to the engine but not read its files, in a container of the image.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker

from releaser import layers
from releaser.models import Image, full_name

_SCRIPT = Path(layers.__file__)
_SECONDS = 60


@dataclass(frozen=True)
class Way:
    """A program that writes an archive to its standard output, in which the image has the full `name`; `partial` when
    it leaves out what the node has."""

    what: str
    argv: tuple[str, ...]
    name: str
    partial: bool


class Exporter:
    """Ways to get an image out of the local engine."""

    def layers_of(self, image: Image) -> list[str]:
        """Diff ids, the lowest first."""
        found: list[str] = self._client().images.get(image.id).attrs["RootFS"].get("Layers") or []
        return found

    def ways(self, image: Image, name: str, have: Sequence[str], layout: str) -> Iterator[Way]:
        """The best first; each is to be tried when the one before it couldn't read the engine's store."""
        info = self._client().info()
        root, driver = Path(info["DockerRootDir"]), info["Driver"]
        if driver in layers.DRIVERS:
            arguments = ("--root", str(root), "--driver", driver, "--image", image.id, "--name", name)
            arguments = (*arguments, "--layout", layout, "--have", *have)
            if os.access(root / "image" / driver / "layerdb", os.R_OK | os.X_OK):
                yield Way("from Docker's store", (sys.executable, "-I", str(_SCRIPT), *arguments), name, partial=True)
            yield Way("from Docker's store", (*_contained(root, image), *arguments), name, partial=True)
        saved = ("docker", "image", "save", image.ref)
        yield Way("whole, by docker save", saved, full_name(image.ref), partial=False)

    def _client(self) -> docker.DockerClient:
        return docker.from_env(timeout=_SECONDS)


def _contained(root: Path, image: Image) -> tuple[str, ...]:
    """The script in a container of the very image, which has Python or else can't do it."""
    return (
        *("docker", "run", "--rm", "--network=none", "--read-only", "--user=0:0", "--security-opt=label=disable"),
        *("--log-driver=none", f"--volume={root}:{root}:ro", "--entrypoint=python3", image.id),
        *("-I", "-c", _SCRIPT.read_text(encoding="utf-8")),
    )
