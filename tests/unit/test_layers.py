"""An engine's store in small: what is written from it, and what is not when it is damaged."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from releaser.layers import DAMAGED, UNREADABLE, Damaged, Store, chain_ids, main, write

NAME = "docker.io/library/web:1"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@dataclass
class Kept:
    """An image in a store at `root`: its id, its layers by their diff ids, and where the files of each are."""

    root: Path
    image_id: str
    layers: dict[str, bytes]
    data: dict[str, Path]

    @property
    def store(self) -> Store:
        return Store(self.root, "vfs")

    def written(self, layout: str, *have: str) -> bytes:
        sink = io.BytesIO()
        write(self.store, self.image_id, NAME, have, layout, sink)
        return sink.getvalue()

    def argv(self, *more: str) -> list[str]:
        image = ["--image", self.image_id, "--name", NAME]
        return ["--root", str(self.root), "--driver", "vfs", *image, *more]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    layers = [layer(one=b"1" * 3_000_000, two=b"2"), layer(three=b"3" * 1000)]
    diff_ids = [sha256(each) for each in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    images = tmp_path / "image" / "vfs"
    _put(images / "imagedb/content" / sha256(config).replace(":", "/"), config)
    data = {}
    for chain_id, diff_id, tar in zip(chain_ids(diff_ids), diff_ids, layers, strict=True):
        entry, data[diff_id] = images / "layerdb" / chain_id.replace(":", "/"), tmp_path / "vfs/dir" / chain_id[-5:]
        _put(entry / "cache-id", chain_id[-5:].encode())
        _put(
            entry / "tar-split.json.gz",
            gzip.compress("\n".join(map(json.dumps, _taken_apart(tar, data[diff_id]))).encode()),
        )
    return Kept(tmp_path, sha256(config), dict(zip(diff_ids, layers, strict=True)), data)


def _taken_apart(tar: bytes, data: Path) -> list[dict[str, Any]]:
    """As tar-split does: the files go into the directory, all that is between them stays."""
    entries: list[dict[str, Any]] = []
    end = 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            content = tar[member.offset_data : member.offset_data + member.size]
            _put(data / member.name, content)
            entries.append({"type": 2, "payload": base64.b64encode(tar[end : member.offset_data]).decode()})
            entries.append({"type": 1, "name": member.name, "size": member.size})
            end = member.offset_data + member.size
    return [*entries, {"type": 2, "payload": base64.b64encode(tar[end:]).decode()}]


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {each.name: opened.extractfile(each).read() for each in opened}  # type: ignore[union-attr]


def test_an_oci_layout_has_the_layers_as_they_were_and_what_they_belong_to(kept: Kept) -> None:
    found = members(kept.written("oci"))
    for diff_id, tar in kept.layers.items():
        assert found[f"blobs/{diff_id.replace(':', '/')}"] == tar
    [listed] = json.loads(found["index.json"])["manifests"]
    manifest = found[f"blobs/{listed['digest'].replace(':', '/')}"]
    assert (sha256(manifest), len(manifest)) == (listed["digest"], listed["size"])
    assert listed["annotations"]["io.containerd.image.name"] == NAME
    document = json.loads(manifest)
    assert document["config"]["digest"] == kept.image_id == sha256(found[f"blobs/{kept.image_id.replace(':', '/')}"])
    assert [(each["digest"], each["size"]) for each in document["layers"]] == [
        (diff_id, len(tar)) for diff_id, tar in kept.layers.items()
    ]


def test_what_the_receiver_has_is_left_out_and_named_all_the_same(kept: Kept) -> None:
    first, second = kept.layers
    found = members(kept.written("oci", first))
    assert f"blobs/{first.replace(':', '/')}" not in found and f"blobs/{second.replace(':', '/')}" in found
    manifest = next(json.loads(each) for each in found.values() if b"image.manifest" in each and b"layers" in each)
    assert [each["digest"] for each in manifest["layers"]] == [first, second]


def test_the_docker_layout_is_that_of_docker_save(kept: Kept) -> None:
    first, second = kept.layers
    found = members(kept.written("docker", first))
    [listed] = json.loads(found["manifest.json"])
    assert listed["RepoTags"] == [NAME] and sha256(found[listed["Config"]]) == kept.image_id
    assert listed["Layers"][1] in found and listed["Layers"][0] not in found
    assert found[listed["Layers"][1]] == kept.layers[second]


def test_layers_that_go_ahead_come_one_by_one_each_with_its_digest(kept: Kept) -> None:
    stream = io.BytesIO(kept.written("ahead"))
    for diff_id, tar in kept.layers.items():
        assert stream.readline().decode() == f"{diff_id} {len(tar)}\n"
        assert stream.read(len(tar)) == tar
    assert stream.readline() == b"\n"
    assert not any("layer" in name for name in members(stream.read()))


@pytest.mark.parametrize("change", [b"x", b""], ids=["another byte", "a byte less"])
def test_a_layer_whose_files_are_not_what_they_were_ends_the_archive_before_its_end(kept: Kept, change: bytes) -> None:
    second = list(kept.layers)[1]
    path = kept.data[second] / "three"
    path.write_bytes(path.read_bytes()[:-1] + change)
    sink = io.BytesIO()
    with pytest.raises(Damaged, match="has another digest in the store" if change else "1 bytes less in the store"):
        write(kept.store, kept.image_id, NAME, [], "oci", sink)
    assert b"index.json" not in sink.getvalue()
    write(kept.store, kept.image_id, NAME, [second], "oci", io.BytesIO())  # who has it needs none of it


def test_a_config_that_is_not_what_it_was_ends_it_too(kept: Kept) -> None:
    path = kept.root / "image/vfs/imagedb/content" / kept.image_id.replace(":", "/")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(Damaged, match="the config of"):
        kept.written("oci")


def test_the_program_tells_how_far_it_is_and_how_it_ended(
    kept: Kept, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(kept.argv()) == 0
    out, err = capfdbinary.readouterr()
    last = json.loads(err.splitlines()[-1])
    assert last["sent"] == last["of"] <= len(out)

    second = list(kept.layers)[1]
    (kept.data[second] / "three").write_bytes(b"4" * 1000)
    assert main(kept.argv()) == DAMAGED
    assert "another digest" in json.loads(capfdbinary.readouterr().err.splitlines()[-1])["error"]
    (kept.data[second] / "three").unlink()
    assert main(kept.argv()) == UNREADABLE
    assert "three" in json.loads(capfdbinary.readouterr().err.splitlines()[-1])["error"]


def test_names_that_are_no_utf_8_and_what_has_no_content_come_back(kept: Kept) -> None:
    """tar-split writes such names in base64; directories and links have no content, and no size."""
    second = list(kept.layers)[1]
    entry = kept.root / "image/vfs/layerdb" / chain_ids(list(kept.layers))[1].replace(":", "/") / "tar-split.json.gz"
    lines = [json.loads(line) for line in gzip.decompress(entry.read_bytes()).splitlines()]
    raw = b"caf\xe9"
    (kept.data[second] / "three").rename(Path(kept.data[second].as_posix()) / raw.decode("utf-8", "surrogateescape"))
    for line in lines:
        if line["type"] == 1:
            line |= {"name": "", "name_raw": base64.b64encode(raw).decode()}
    lines.insert(0, {"type": 1, "name": "directory/"})
    entry.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    assert kept.layers[second] in kept.written("ahead")
