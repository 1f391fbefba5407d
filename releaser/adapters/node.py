"""The image store inside Minikube's node."""

from __future__ import annotations

import json
from typing import Any

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import EnvironmentUnfit
from releaser.models import Image

_LOAD_SECONDS = 900.0


class MinikubeNode:
    """A Minikube profile's node; the profile has the kube context's name, as Minikube makes them."""

    def __init__(self, process: Process, tools: Tools, profile: str) -> None:
        self._process = process
        self._tools = tools
        self.profile = profile

    @property
    def target(self) -> str:
        return f"Minikube {self.profile}"

    def image_id(self, ref: str) -> str:
        """Config digest (sha256:...) that the tag resolves to in the node; empty when it is not there."""
        for entry in self._list():
            if _full(ref) in entry["repoTags"] or ref in entry["repoTags"]:
                return f"sha256:{entry['id'].removeprefix('sha256:')}"
        return ""

    def load(self, image: Image) -> None:
        """Copy the image from the local Docker engine and prove that the tag resolves to it in the node."""
        self._minikube("image", "load", image.ref, "--daemon=true", doing=f"loading {image.ref} into {self.target}")
        self._prove(image, image.ref)

    def tag(self, image: Image, ref: str) -> None:
        """A second name for an image that the node has. containerd knows only full names, and Minikube is silent when
        one isn't found."""
        self._minikube("image", "tag", _full(image.ref), _full(ref), doing=f"tagging {image.ref} as {ref}")
        self._prove(image, ref)

    def _prove(self, image: Image, ref: str) -> None:
        arrived = self.image_id(ref)
        if arrived != image.id:
            raise EnvironmentUnfit(
                f"While naming {ref} in {self.target}: the node has {arrived or 'nothing'} under that name",
                detail=f"Docker has {image.id}",
                hint=f"minikube -p {self.profile} image rm {ref}, then load again",
            )

    def _list(self) -> list[dict[str, Any]]:
        output = self._minikube("image", "ls", "--format", "json", doing=f"listing the images of {self.target}")
        entries: list[dict[str, Any]] = json.loads(output or "[]")
        return entries

    def _minikube(self, *arguments: str, doing: str) -> str:
        return self._process.run(
            [self._tools.path("minikube"), "-p", self.profile, *arguments],
            doing=doing,
            deadline_seconds=_LOAD_SECONDS,
            hint="releaser up starts the local Minikube",
        ).stdout


def _full(ref: str) -> str:
    """`web:1` is short for docker.io/library/web:1, `team/web:1` for docker.io/team/web:1; a host makes a name full."""
    first, slash, _ = ref.partition("/")
    if not slash:
        return f"docker.io/library/{ref}"
    return ref if "." in first or ":" in first or first == "localhost" else f"docker.io/{ref}"
