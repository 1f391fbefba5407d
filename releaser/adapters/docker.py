"""Images through the Docker engine: a tag derived from content, and a build that streams."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.images import Image as DockerImage

from releaser.adapters.builders import BuildKit, Classic, Output, StepFailed, Wanted, has_buildx
from releaser.adapters.context import SOURCE_DATE_EPOCH, Context
from releaser.adapters.dockerfile import defaults, images
from releaser.adapters.process import Process, says_disk_full
from releaser.adapters.tools import cache_directory
from releaser.errors import BuildFailed, EnvironmentUnfit, InvalidInput, ReleaserError
from releaser.models import Image, full_name

# What `releaser up` makes where no registry answers (toolchain/): a Debian with python3, and the same with pip.
LOCAL_BASE = "releaser/python-base:bookworm"
LOCAL_BUILD_BASE = "releaser/python-build:bookworm"

_BUILD_SECONDS = 1800
_SOURCE_HASH = "releaser.source-hash"


class Images:
    """Images in the local Docker engine."""

    def __init__(self, process: Process) -> None:
        self._process = process
        with _asking("connecting to Docker"):
            self._docker = docker.from_env(timeout=_BUILD_SECONDS)
            self._docker.ping()

    def identify(self, repository: str, version: str, dockerfile: Path) -> Image:
        """The image that the Dockerfile's directory would make: its tag is VERSION-HASH, the hash over all that goes
        in (files after .dockerignore with their modes, Dockerfile, base image). `id` is set when it is built already;
        what somebody gave the tag by hand doesn't count.

        Raises InvalidInput when there is no Dockerfile, EnvironmentUnfit when the base can't be had.
        """
        source = self._source_hash(Context(dockerfile))
        image = Image(repository, f"{version}-{source[:12]}")
        found = self._find(image.ref)
        if found is None or found.labels.get(_SOURCE_HASH) != source:
            return image
        return replace(image, id=str(found.id))

    def build(
        self,
        image: Image,
        dockerfile: Path,
        labels: dict[str, str],
        on_line: Callable[[str], None] = lambda line: None,
        *,
        cache: bool = True,
    ) -> Image:
        """Build and tag by BuildKit where Docker has buildx, else by the classic builder; `on_line` gets each step.

        Raises BuildFailed with the place in the Dockerfile and the failing step's output, EnvironmentUnfit for a full
        disk or a lost engine. The log has everything.
        """
        context = Context(dockerfile)
        labels = {**labels, **self._provenance(context)}
        arguments = {**self._arguments(dockerfile), **_proxies()}
        log = build_log(image.repository)
        log.parent.mkdir(parents=True, exist_ok=True)
        builder = BuildKit(self._process) if has_buildx(self._process) else Classic(self._docker)
        with _asking(f"building {image.ref}"), log.open("w", encoding="utf-8") as sink, context.archive() as archive:
            output = Output(sink, on_line)
            try:
                wanted = Wanted(image.ref, dockerfile.name, arguments, labels, cache)
                builder.build(wanted, archive, output)
            except StepFailed as exc:
                raise _build_failed(image, exc.told(dockerfile, output), log) from exc
        return Image(image.repository, image.tag, self._id(image.ref))

    def sbom(self, image: Image) -> str:
        """The image's Python packages as CycloneDX JSON. Raises EnvironmentUnfit for an image without Python."""
        from releaser.adapters.sbom import sbom

        def run(script: str) -> str:
            with _asking(f"looking for Python packages in {image.ref}"):
                output = self._docker.containers.run(
                    image.id,
                    ["-I", "-c", script],
                    entrypoint="python3",
                    network_mode="none",
                    read_only=True,
                    remove=True,
                )
            return str(output.decode())

        return sbom(image, run)

    @property
    def target(self) -> str:
        return "Docker here"

    def refs(self, repository: str) -> tuple[str, ...]:
        """REPOSITORY:TAG of all that the engine has."""
        with _asking(f"listing the images of {repository}"):
            found = self._docker.images.list(name=repository)
        # an image may have names in other repositories too, which are not to be touched
        of_it = full_name(repository)
        return tuple(sorted(tag for image in found for tag in image.tags if full_name(tag).rpartition(":")[0] == of_it))

    def remove(self, ref: str) -> bool:
        """Take the tag away, and with its last one the image; False when a container holds it."""
        with _asking(f"removing {ref}"):
            try:
                self._docker.images.remove(ref)
            except APIError as exc:
                if exc.status_code == 409:
                    return False
                if exc.status_code != 404:
                    raise
        return True

    def sweep(self) -> None:
        """Nothing is transferred to here."""

    def _provenance(self, context: Context) -> dict[str, str]:
        """Labels: the base image by name and digest (of its config where no registry has it), and the source's hash."""
        base = self._arguments(context.dockerfile)["BASE"]
        with _asking(f"looking at {base}"):
            found = self._docker.images.get(self._image_id(base))
        digests = [name.partition("@")[2] for name in found.attrs.get("RepoDigests") or []]
        return {
            "org.opencontainers.image.base.name": base,
            "org.opencontainers.image.base.digest": (digests or [str(found.id)])[0],
            _SOURCE_HASH: self._source_hash(context),
        }

    def _source_hash(self, context: Context) -> str:
        arguments = self._arguments(context.dockerfile)
        taken = images(context.dockerfile.read_text(encoding="utf-8"), arguments)
        return context.digest({**arguments, **{ref: self._image_id(ref) for ref in taken}})

    def _id(self, ref: str) -> str:
        found = self._find(ref)
        return "" if found is None else str(found.id)

    def _find(self, ref: str) -> DockerImage | None:
        with _asking(f"looking for {ref}"):
            try:
                found = self._docker.images.get(ref)
            except ImageNotFound:
                return None
        if found.attrs.get("Descriptor"):
            raise EnvironmentUnfit(
                f"While looking for {ref}: Docker here keeps its images in containerd's store, where an image's id is "
                "another than on the nodes",
                hint='set {"features": {"containerd-snapshotter": false}} in /etc/docker/daemon.json',
            )
        return found

    def _arguments(self, dockerfile: Path) -> dict[str, str]:
        """What the build gets, and what its images follow from: BASE and BUILD_BASE as the Dockerfile has them, or the
        local ones where `releaser up` had to make them. Proxies are no part of the content."""
        times = {"SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH)}
        if self._id(LOCAL_BASE) and self._id(LOCAL_BUILD_BASE):
            return {**times, "BASE": LOCAL_BASE, "BUILD_BASE": LOCAL_BUILD_BASE}
        given = defaults(dockerfile.read_text(encoding="utf-8"))
        base = given.get("BASE", "")
        if not base:
            raise InvalidInput(f"While reading {dockerfile}: a line `ARG BASE=image` is wanted before the first FROM")
        return {**times, "BASE": base, "BUILD_BASE": given.get("BUILD_BASE") or base}

    def _image_id(self, ref: str) -> str:
        if known := self._id(ref):
            return known
        try:
            with _asking(f"pulling the base image {ref}"):
                return str(self._docker.images.pull(ref).id)
        except EnvironmentUnfit as exc:
            raise EnvironmentUnfit(
                exc.message, detail=exc.detail, hint="where no registry answers, `releaser up` makes a local base image"
            ) from exc


def build_log(repository: str) -> Path:
    return cache_directory() / "log" / f"build-{repository.replace('/', '-')}.log"


def _proxies() -> dict[str, str]:
    """The build reaches package registries as this process does."""
    return {name: os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}


def _build_failed(image: Image, told: str, log: Path) -> ReleaserError:
    if says_disk_full(told):
        return _disk_full(f"building {image.ref}", told)
    return BuildFailed(
        f"While building {image.ref}: a step of the Dockerfile failed", detail=told, hint=f"the whole log: {log}"
    )


def _disk_full(doing: str, detail: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"While {doing}: the disk is full",
        detail=detail,
        hint="`docker system df` shows what takes the space, `docker image prune` frees some of it",
    )


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    try:
        yield
    except (APIError, NotFound) as exc:
        text: Any = exc.explanation or exc
        if says_disk_full(str(text)):
            raise _disk_full(doing, str(text)) from exc
        raise EnvironmentUnfit(f"While {doing}: Docker refused", detail=str(text)) from exc
    except (DockerException, requests.RequestException) as exc:
        raise EnvironmentUnfit(
            f"While {doing}: the Docker engine does not answer",
            detail=str(exc)[:300],
            hint="start Docker (`systemctl start docker`, or `releaser up`), and check that you may use its socket",
        ) from exc
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            raise _disk_full(doing, str(exc)) from exc
        raise
