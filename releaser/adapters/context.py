"""What a Dockerfile can see: which files, a hash over them, and an archive that depends on nothing but them."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from docker.utils import exclude_paths

from releaser.errors import InvalidInput

# Later than what zip can say, earlier than any file here: 2025-01-01. The Dockerfile's own default.
SOURCE_DATE_EPOCH = 1735689600
_IN_MEMORY_BYTES = 16 << 20


@dataclass(frozen=True)
class Context:
    """The directory of a Dockerfile, without what .dockerignore names."""

    dockerfile: Path

    def __post_init__(self) -> None:
        if not self.dockerfile.is_file():
            raise InvalidInput(
                f"While building: there is no {self.dockerfile}", hint="give --project the right directory"
            )

    @property
    def directory(self) -> Path:
        return self.dockerfile.parent

    def files(self) -> list[str]:
        """Relative paths, directories included, sorted."""
        ignore = self.directory / ".dockerignore"
        lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return sorted(exclude_paths(str(self.directory), patterns, self.dockerfile.name))

    def digest(self, more: Mapping[str, str]) -> str:
        """SHA-256 over all that goes into the image: the files with their kinds and whether they can be executed, and
        what comes from elsewhere: the build's arguments, and the ids of other images by their names."""
        digest = hashlib.sha256()
        for name, value in sorted(more.items()):
            digest.update(f"{name}={value}\0".encode())
        for relative in self.files():
            path = self.directory / relative
            # any bytes can be a name
            digest.update(os.fsencode(relative) + f"\0{_kind(path)}\0".encode())
            if path.is_symlink():
                digest.update(os.fsencode(path.readlink()) + b"\0")
            elif path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @contextmanager
    def archive(self) -> Iterator[IO[bytes]]:
        """A tar in which every file has the same time and owner, and of its mode only whether it can be executed."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spooled:
            file = cast("IO[bytes]", spooled)
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for relative in self.files():
                    path = self.directory / relative
                    entry = archive.gettarinfo(str(path), arcname=relative)
                    if entry is None:  # a socket
                        continue
                    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = SOURCE_DATE_EPOCH, 0, 0, "", ""
                    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                    if entry.islnk():  # two names of one file are two files
                        entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
                    if entry.isreg():
                        with path.open("rb") as content:
                            archive.addfile(entry, content)
                    else:
                        archive.addfile(entry)
            file.seek(0)
            yield file


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "link"
    if path.is_dir():
        return "directory"
    return "executable" if path.stat().st_mode & 0o100 else "file"
