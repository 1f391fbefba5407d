"""An image of the local Docker engine as an archive that lacks the layers which the receiver has, on standard output.

    python layers.py --root /var/lib/docker --driver overlay2 --image sha256:... --name docker.io/library/web:1

`docker save` writes all layers to a temporary directory before its first byte comes. This reads the engine's store as
the engine does: a layer's files, and the tar headers that go between them (tar-split, github.com/vbatts/tar-split),
which make the layer's tar again to the byte. Each layer is compared with its diff id; one that differs ends the archive
before its end, and the receiver, who looks at the digests as well, takes nothing of it.

Runs alone with the standard library, so that it can also run in a container that may read the store where the user may
not. Progress comes on standard error: a line of JSON with the bytes sent so far, and of how many.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LAYOUTS = ("oci", "docker", "ahead")
UNREADABLE, DAMAGED = 3, 4
_OCI = "application/vnd.oci.image."
_DATA = {"overlay2": "overlay2/{}/diff", "fuse-overlayfs": "fuse-overlayfs/{}/diff", "vfs": "vfs/dir/{}"}
DRIVERS = tuple(_DATA)
_CHUNK = 1 << 20
_PROGRESS_SECONDS = 0.2
_BLOCK = 512


class Damaged(Exception):
    """The store doesn't hold what the image is made of."""


@dataclass(frozen=True)
class Store:
    """The engine's store of images: its data root, and the storage driver that keeps the layers' files."""

    root: Path
    driver: str

    def config(self, image_id: str) -> bytes:
        content = (self._images / "imagedb/content" / image_id.replace(":", "/")).read_bytes()
        if _sha256(content) != image_id:
            raise Damaged(f"the config of {image_id} has another digest: {_sha256(content)}")
        return content

    def layer(self, chain_id: str, diff_id: str) -> Layer:
        entry = self._images / "layerdb" / chain_id.replace(":", "/")
        data = self.root / _DATA[self.driver].format((entry / "cache-id").read_text().strip())
        return Layer(diff_id, entry / "tar-split.json.gz", data)

    @property
    def _images(self) -> Path:
        return self.root / "image" / self.driver


@dataclass(frozen=True)
class Layer:
    """A layer of the store, whose tar is made from `headers` and the files in `data`."""

    diff_id: str
    headers: Path
    data: Path

    def size(self) -> int:
        """Of its tar, in bytes."""
        return sum(len(segment) if path is None else size for segment, path, size in self._parts())

    def chunks(self) -> Iterator[bytes]:
        """Its tar. Raises Damaged after the last byte when the whole isn't what the diff id says."""
        digest = hashlib.sha256()
        for segment, path, size in self._parts():
            for chunk in [segment] if path is None else _content(path, size):
                digest.update(chunk)
                yield chunk
        if f"sha256:{digest.hexdigest()}" != self.diff_id:
            raise Damaged(f"layer {self.diff_id} has another digest in the store: sha256:{digest.hexdigest()}")

    def _parts(self) -> Iterator[tuple[bytes, Path | None, int]]:
        """Headers and padding as they are; of a file where its content is and how many bytes it has."""
        with gzip.open(self.headers, "rt", encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["type"] == 2:
                    yield base64.b64decode(entry["payload"]), None, 0
                elif size := entry.get("size", 0):
                    # what isn't UTF-8 stands there in base64
                    name = os.fsdecode(base64.b64decode(entry["name_raw"])) if "name_raw" in entry else entry["name"]
                    yield b"", self.data / name.lstrip("/"), size


def _content(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        left = size
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise Damaged(f"{path} has {left} bytes less in the store than in its layer")


def chain_ids(diff_ids: list[str]) -> list[str]:
    """How the engine names each layer together with all below it."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(_sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


class Archive:
    """A tar that is written piece by piece; tells how far it is."""

    def __init__(self, sink: IO[bytes], total: int) -> None:
        self._sink = sink
        self._total = total
        self._sent = 0
        self._told = 0.0

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = size
        self._sink.write(entry.tobuf(tarfile.USTAR_FORMAT))
        self._write(chunks)
        self._sink.write(b"\0" * (-size % _BLOCK))

    def put_ahead(self, line: bytes, chunks: Iterable[bytes] = ()) -> None:
        """What isn't part of the tar, and comes before it."""
        self._sink.write(line)
        self._write(chunks)

    def close(self) -> None:
        self._sink.write(b"\0" * 2 * _BLOCK)
        self._sink.flush()
        self._tell()

    def _write(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self._sink.write(chunk)
            self._sent += len(chunk)
            if time.monotonic() - self._told > _PROGRESS_SECONDS:
                self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        _tell({"sent": self._sent, "of": self._total})


def write(store: Store, image_id: str, name: str, have: Container[str], layout: str, sink: IO[bytes]) -> None:
    """The image without the layers whose diff ids are in `have`.

    `name` is the full one, such as docker.io/library/web:1. `layout` is that of the OCI (an image layout), that of
    `docker save`, or "ahead": each layer by itself after a line with its diff id and size, a line without either, and
    an OCI image layout without any layers. Raises OSError for what can't be read, Damaged.
    """
    config = store.config(image_id)
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    layers = [store.layer(chain_id, diff_id) for chain_id, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True)]
    sizes = [layer.size() for layer in layers]
    place, documents = (_docker if layout == "docker" else _oci)(image_id, config, name, diff_ids, sizes)
    missing = {layer.diff_id: (layer, size) for layer, size in zip(layers, sizes, strict=True)}
    missing = {diff_id: found for diff_id, found in missing.items() if diff_id not in have}
    archive = Archive(sink, sum(size for _, size in missing.values()) + sum(map(len, documents.values())))
    for diff_id, (layer, size) in missing.items():
        if layout == "ahead":
            archive.put_ahead(f"{diff_id} {size}\n".encode(), layer.chunks())
        else:
            archive.add(place(diff_id), size, layer.chunks())
    if layout == "ahead":
        archive.put_ahead(b"\n")
    for path, content in documents.items():
        archive.add(path, len(content), [content])
    archive.close()


_Laid = tuple[Callable[[str], str], dict[str, bytes]]


def _oci(image_id: str, config: bytes, name: str, diff_ids: list[str], sizes: list[int]) -> _Laid:
    """Where a layer goes, and the files beside the layers (github.com/opencontainers/image-spec, image-layout.md)."""

    def place(digest: str) -> str:
        return f"blobs/{digest.replace(':', '/')}"

    layers = [_described("layer.v1.tar", diff_id, size) for diff_id, size in zip(diff_ids, sizes, strict=True)]
    manifest = _document("manifest.v1+json", config=_described("config.v1+json", image_id, len(config)), layers=layers)
    digest = _sha256(manifest)
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    listed = _described("manifest.v1+json", digest, len(manifest)) | {"annotations": names}
    return place, {
        place(image_id): config,
        place(digest): manifest,
        "index.json": _document("index.v1+json", manifests=[listed]),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
    }


def _docker(image_id: str, config: bytes, name: str, diff_ids: list[str], _sizes: list[int]) -> _Laid:
    """As `docker save` lays it out. `docker load` looks for a layer in the archive only where it lacks the layer."""

    def place(digest: str) -> str:
        return f"{digest.partition(':')[2]}/layer.tar"

    described = f"{image_id.partition(':')[2]}.json"
    manifest = [{"Config": described, "RepoTags": [name], "Layers": [place(diff_id) for diff_id in diff_ids]}]
    return place, {described: config, "manifest.json": _json(manifest)}


def _described(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": _OCI + kind, "digest": digest, "size": size}


def _document(kind: str, **fields: Any) -> bytes:
    return _json({"schemaVersion": 2, "mediaType": _OCI + kind, **fields})


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write an image of the local Docker engine without what is there.")
    parser.add_argument("--root", type=Path, required=True, help="data root of the engine (docker info)")
    parser.add_argument("--driver", choices=DRIVERS, required=True, help="its storage driver")
    parser.add_argument("--name", required=True, help="the image's full name")
    parser.add_argument("--layout", choices=LAYOUTS, default="oci", help="of the archive (default %(default)s)")
    parser.add_argument("--have", nargs="*", default=[], metavar="DIFF_ID", help="layers to leave out")
    parser.add_argument("--image", required=True, metavar="ID", help="sha256:... of its config")
    given = parser.parse_args(argv)
    store, output = Store(given.root, given.driver), sys.stdout.buffer
    try:
        write(store, given.image, given.name, frozenset(given.have), given.layout, output)
    except BrokenPipeError:  # the receiver says why
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        return UNREADABLE
    except (Damaged, OSError) as exc:
        # the output isn't closed as an archive is: nobody may take it for a whole one
        _tell({"error": str(exc)})
        return DAMAGED if isinstance(exc, Damaged) else UNREADABLE
    return 0


def _tell(document: dict[str, Any]) -> None:
    print(json.dumps(document), file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
