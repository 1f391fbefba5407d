"""Images through the Docker engine: a tag derived from content, and a build that streams."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import create_archive, exclude_paths

from releaser.errors import BuildFailed, EnvironmentUnfit, InvalidInput, ReleaserError
from releaser.models import Image

# What `releaser up` makes where no registry answers (toolchain/): a Debian with python3, and the same with pip.
LOCAL_BASE = "releaser/python-base:bookworm"
LOCAL_BUILD_BASE = "releaser/python-build:bookworm"

_BUILD_SECONDS = 1800


class Images:
    """Images in the local Docker engine."""

    def __init__(self) -> None:
        with _asking("connecting to Docker"):
            self._docker = docker.from_env(timeout=_BUILD_SECONDS)
            self._docker.ping()

    def identify(self, repository: str, version: str, dockerfile: Path) -> Image:
        """The image that the Dockerfile's directory would make: its tag is VERSION-HASH, the hash over all that goes
        in (files after .dockerignore with their modes, Dockerfile, base image). `id` is set when it is built already.

        Raises InvalidInput when there is no Dockerfile, EnvironmentUnfit when the base can't be had.
        """
        if not dockerfile.is_file():
            raise InvalidInput(f"While building: there is no {dockerfile}", hint="give --project the right directory")
        digest = hashlib.sha256()
        for name, base in sorted(self._bases(dockerfile).items()):
            digest.update(f"{name}={base}={self._base_id(base)}\0".encode())
        context = dockerfile.parent
        for relative in _context_files(dockerfile):
            path = context / relative
            digest.update(f"{relative}\0{path.lstat().st_mode & 0o111:o}\0".encode())
            if path.is_symlink():
                digest.update(str(path.readlink()).encode())
            elif path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        tag = f"{version}-{digest.hexdigest()[:12]}"
        return Image(repository, tag, self._id(f"{repository}:{tag}"))

    def build(
        self, image: Image, dockerfile: Path, labels: dict[str, str], on_line: Callable[[str], None] = lambda line: None
    ) -> Image:
        """Build and tag; each line of the build's output goes to `on_line`.

        Raises BuildFailed with the failing step's output, EnvironmentUnfit for a full disk or a lost engine.
        """
        context = dockerfile.parent
        output: list[str] = []
        with (
            _asking(f"building {image.ref}"),
            closing(create_archive(str(context), files=_context_files(dockerfile))) as archive,
        ):
            for part in self._docker.api.build(
                fileobj=cast("IO[bytes]", archive),
                custom_context=True,
                dockerfile=dockerfile.name,
                tag=image.ref,
                buildargs={**self._bases(dockerfile), **_proxies()},
                labels=labels,
                network_mode="host",
                rm=True,
                forcerm=True,
                decode=True,
            ):
                if "error" in part:
                    raise _build_failed(image, str(part["error"]).strip(), output)
                for line in str(part.get("stream", "")).splitlines():
                    if line.strip():
                        output.append(line)
                        on_line(line)
        return Image(image.repository, image.tag, self._id(image.ref))

    @property
    def target(self) -> str:
        return "Docker here"

    def refs(self, repository: str) -> tuple[str, ...]:
        """REPOSITORY:TAG of all that the engine has."""
        with _asking(f"listing the images of {repository}"):
            found = self._docker.images.list(name=repository)
        return tuple(sorted(tag for image in found for tag in image.tags))

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

    def _id(self, ref: str) -> str:
        with _asking(f"looking for {ref}"):
            try:
                return str(self._docker.images.get(ref).id)
            except ImageNotFound:
                return ""

    def _bases(self, dockerfile: Path) -> dict[str, str]:
        """The Dockerfile's ARG BASE and ARG BUILD_BASE; the local ones where `releaser up` had to make them."""
        if self._id(LOCAL_BASE) and self._id(LOCAL_BUILD_BASE):
            return {"BASE": LOCAL_BASE, "BUILD_BASE": LOCAL_BUILD_BASE}
        defaults = dict(re.findall(r"(?m)^ARG\s+(BASE|BUILD_BASE)=(\S+)", dockerfile.read_text(encoding="utf-8")))
        base = defaults.get("BASE", "")
        if not base:
            raise InvalidInput(f"While reading {dockerfile}: a line `ARG BASE=image` is wanted before the first FROM")
        return {"BASE": base, "BUILD_BASE": base}

    def _base_id(self, base: str) -> str:
        if known := self._id(base):
            return known
        try:
            with _asking(f"pulling the base image {base}"):
                return str(self._docker.images.pull(base).id)
        except EnvironmentUnfit as exc:
            raise EnvironmentUnfit(
                exc.message, detail=exc.detail, hint="where no registry answers, `releaser up` makes a local base image"
            ) from exc


def _context_files(dockerfile: Path) -> list[str]:
    """Relative paths of the build context after .dockerignore, sorted."""
    ignore = dockerfile.parent / ".dockerignore"
    patterns = [
        line.strip()
        for line in (ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else [])
        if line.strip() and not line.startswith("#")
    ]
    return sorted(exclude_paths(str(dockerfile.parent), patterns, dockerfile.name))


def _proxies() -> dict[str, str]:
    """The build reaches package registries as this process does."""
    return {name: os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}


def _build_failed(image: Image, error: str, output: list[str]) -> ReleaserError:
    last_step = max((i for i, line in enumerate(output) if line.startswith("Step ")), default=0)
    detail = "\n".join([*output[last_step:][-30:], error])
    if "no space left on device" in detail.lower():
        return _disk_full(f"building {image.ref}", detail)
    return BuildFailed(f"While building {image.ref}: a step of the Dockerfile failed", detail=detail)


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
        if "no space left on device" in str(text):
            raise _disk_full(doing, str(text)) from exc
        raise EnvironmentUnfit(f"While {doing}: Docker refused", detail=str(text)) from exc
    except (DockerException, requests.RequestException) as exc:
        raise EnvironmentUnfit(
            f"While {doing}: the Docker engine does not answer",
            detail=str(exc)[:300],
            hint="start Docker (`systemctl start docker`, or `releaser up`), and check that you may use its socket",
        ) from exc
    except OSError as exc:
        if exc.errno == 28:
            raise _disk_full(doing, str(exc)) from exc
        raise
