"""What Helm makes of a chart, kept by content: what was asked before, of the same files and the same Helm, is not asked
again. Kept below $XDG_CACHE_HOME/releaser/lint, for two weeks."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from releaser.adapters.helm import Helm
from releaser.adapters.tools import Tools, cache_directory
from releaser.chart_files import chart_files
from releaser.errors import InvalidInput
from releaser.models import Values

_DAYS = 14
_DAY_SECONDS = 86_400.0


class KeptRenderings:
    """As Helm, whose answers it keeps."""

    def __init__(self, helm: Helm, tools: Tools, directory: Path | None = None) -> None:
        self._helm, self._tools = helm, tools
        self._directory = directory or cache_directory() / "lint"
        self._digests: dict[Path, tuple[tuple[tuple[str, int, int], ...], str]] = {}
        self._lock = threading.Lock()
        self._swept = False

    def template(
        self, release: str, namespace: str, chart: Path, values_file: Path | None, kubernetes: str = ""
    ) -> str:
        values = _content(values_file) if values_file else ""
        key = ("template", release, namespace, self._content(chart), values, kubernetes)
        return self._kept(key, lambda: self._helm.template(release, namespace, chart, values_file, kubernetes))

    def lint(self, chart: Path, values_file: Path | None, kubernetes: str = "") -> str:
        values = _content(values_file) if values_file else ""
        key = ("lint", self._content(chart), values, kubernetes)
        return self._kept(key, lambda: self._helm.lint(chart, values_file, kubernetes))

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        key = ("draft", release, namespace, self._content(chart), json.dumps(values), json.dumps(dict(edited)))
        return self._kept(key, lambda: self._helm.draft(release, namespace, chart, values, edited))

    def unparsed(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        key = ("unparsed", release, namespace, self._content(chart), json.dumps(values), json.dumps(dict(edited)))
        return self._kept(key, lambda: self._helm.unparsed(release, namespace, chart, values, edited))

    def _kept(self, key: tuple[str, ...], ask: Callable[[], str]) -> str:
        """An answer, or the refusal that is the answer."""
        found = self._tools.find("helm")
        parts = (found.version if found else "", *key)
        digest = hashlib.sha256("\0".join(parts).encode())
        path = self._directory / digest.hexdigest()[:40]
        with suppress(OSError, ValueError, zlib.error):  # what is torn is made anew
            kept = json.loads(zlib.decompress(path.read_bytes()))
            with suppress(OSError):
                os.utime(path)
            return _answer(kept)
        answer: dict[str, Any]
        try:
            answer = {"text": ask()}
        except InvalidInput as exc:
            answer = {"message": exc.message, "detail": exc.detail, "hint": exc.hint}
        self._keep(path, answer)
        return _answer(answer)

    def _keep(self, path: Path, answer: Mapping[str, Any]) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        with suppress(OSError):  # a full disk or a home that can't be written to: next time it is asked again
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is rendered may hold secrets
            part.write_bytes(zlib.compress(json.dumps(answer).encode(), 1))
            part.rename(path)
            self._sweep()

    def _sweep(self) -> None:
        """Once a run, what nobody has asked for in two weeks goes."""
        with self._lock:
            if self._swept:
                return
            self._swept = True
        oldest = time.time() - _DAYS * _DAY_SECONDS
        for path in self._directory.iterdir():
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _content(self, chart: Path) -> str:
        """A digest of all files of a chart; files whose time and size are the same aren't read again."""
        found = chart_files(chart)
        looks = tuple((name, *_look(path)) for name, path in found.items())
        with self._lock:
            known = self._digests.get(chart)
        if known and known[0] == looks:
            return known[1]
        digest = hashlib.sha256(os.fsencode(chart))  # Helm's messages name it
        for name, path in found.items():
            digest.update(f"{os.fsencode(name)!r} {_content(path)}\n".encode())
        with self._lock:
            self._digests[chart] = (looks, digest.hexdigest())
        return digest.hexdigest()


def _look(path: Path) -> tuple[int, int]:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _content(path: Path) -> str:
    """A digest, or why there is none: Helm says it, too."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "no regular file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        return str(exc)


def _answer(kept: Mapping[str, Any]) -> str:
    if "text" in kept:
        return str(kept["text"])
    raise InvalidInput(kept["message"], detail=kept["detail"], hint=kept["hint"])
