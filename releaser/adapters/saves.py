"""What is saved in a directory, told by the operating system (watchfiles)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchfiles import DefaultFilter, watch

# An editor writes a file in several steps, and a checkout many files.
_TOGETHER_MILLISECONDS = 100
_STEP_MILLISECONDS = 20


class _Filter(DefaultFilter):
    ignore_dirs = (*DefaultFilter.ignore_dirs, ".import_linter_cache", "incidents", "build", "dist")


class DirectorySaves:
    """Satisfies flows' Saves."""

    def __init__(self) -> None:
        self._saved: queue.Queue[frozenset[Path]] = queue.Queue()

    @contextmanager
    def of(self, directory: Path) -> Iterator[DirectorySaves]:
        """Look at the directory as long as the context lasts."""
        over = threading.Event()

        def look() -> None:
            changes = watch(
                directory,
                watch_filter=_Filter(),
                debounce=_TOGETHER_MILLISECONDS,
                step=_STEP_MILLISECONDS,
                stop_event=over,
                raise_interrupt=False,
            )
            for change in changes:
                self._saved.put(frozenset(Path(name) for _, name in change))

        threading.Thread(target=look, daemon=True).start()
        try:
            yield self
        finally:
            over.set()

    def wait(self) -> frozenset[Path]:
        saved = self._saved.get()
        while self.pending():
            saved |= self._saved.get()
        return saved

    def pending(self) -> bool:
        return not self._saved.empty()
