"""Small images in Docker here, made without a build."""

from __future__ import annotations

import io
import os
import tarfile

import docker

from releaser.models import Image


def imported(repository: str, tag: str, size: int = 1000) -> Image:
    """One layer with one file, `content`, of so many random bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    engine = docker.from_env()
    engine.api.import_image_from_data(packed.getvalue(), repository=repository, tag=tag)
    return Image(repository, tag, str(engine.images.get(f"{repository}:{tag}").id))
