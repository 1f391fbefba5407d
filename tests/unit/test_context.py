from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from releaser.adapters.context import SOURCE_DATE_EPOCH, Context
from releaser.errors import InvalidInput

BASES = {"BASE": "python=sha256:1"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in (("Dockerfile", "FROM x"), ("app/a.py", "a"), ("app/run", "b"), ("notes.md", "c")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (tmp_path / "app" / "run").chmod(0o755)
    (tmp_path / "app" / "link").symlink_to("a.py")
    (tmp_path / ".dockerignore").write_text("# not wanted\n*.md\n")
    return tmp_path


def context(root: Path) -> Context:
    return Context(root / "Dockerfile")


def archived(root: Path) -> bytes:
    with context(root).archive() as archive:
        return archive.read()


def digest(root: Path) -> str:
    return context(root).digest(BASES)


def test_times_owners_and_most_of_the_mode_change_neither_hash_nor_archive(root: Path) -> None:
    before = digest(root), archived(root)
    for path in (root / "app").iterdir():
        if not path.is_symlink():
            os.utime(path, (1, 1))
    (root / "app" / "a.py").chmod(0o600)
    (root / "app" / "run").chmod(0o700)
    assert (digest(root), archived(root)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "app" / "a.py").write_text("A"),
        lambda root: (root / "app" / "a.py").chmod(0o755),
        lambda root: (root / "app" / "a.py").rename(root / "app" / "b.py"),
        lambda root: (root / "app" / "empty").mkdir(),
        lambda root: (root / "app" / "new.py").touch(),
        lambda root: (root / "app" / "link").unlink() or (root / "app" / "link").symlink_to("run"),
        lambda root: (root / "app" / "link").unlink() or (root / "app" / "link").write_text("a.py"),
        lambda root: (root / "Dockerfile").write_text("FROM y"),
    ],
    ids=["content", "executable", "name", "directory", "empty file", "link", "file instead of link", "Dockerfile"],
)
def test_whatever_goes_into_the_image_changes_the_hash(root: Path, change: object) -> None:
    before = digest(root)
    change(root)  # type: ignore[operator]
    assert digest(root) != before


def test_the_base_counts_and_what_is_ignored_does_not(root: Path) -> None:
    before = digest(root)
    assert context(root).digest({"BASE": "python=sha256:2"}) != before
    (root / "notes.md").write_text("changed")
    assert digest(root) == before


def test_any_bytes_can_be_a_name(root: Path) -> None:
    before = digest(root), archived(root)
    (root / "app" / os.fsdecode(b"caf\xe9.txt")).touch()
    assert digest(root) != before[0] and archived(root) != before[1]


def test_the_archive_has_every_file_with_one_time_and_owner(root: Path) -> None:
    with context(root).archive() as file, tarfile.open(fileobj=file) as archive:
        entries = {each.name: each for each in archive}
        content = archive.extractfile("app/a.py")
        assert content is not None and content.read() == b"a"
    assert "notes.md" not in entries
    assert {(each.mtime, each.uid, each.gid, each.uname) for each in entries.values()} == {
        (SOURCE_DATE_EPOCH, 0, 0, "")
    }
    assert (entries["app/a.py"].mode, entries["app/run"].mode, entries["app"].mode) == (0o644, 0o755, 0o755)
    assert entries["app/link"].linkname == "a.py"


def test_two_names_of_one_file_are_two_files(root: Path) -> None:
    (root / "app" / "z.py").hardlink_to(root / "app" / "a.py")
    with context(root).archive() as file, tarfile.open(fileobj=file) as archive:
        content = archive.extractfile("app/z.py")
        assert content is not None and content.read() == b"a"
        assert archive.getmember("app/z.py").isreg()


def test_a_missing_dockerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Dockerfile"):
        context(tmp_path)
