"""What is looked at: a chart with its own values, with each environment's and with those of ci/. All layers share its
files, its renderings and the answers of `helm lint`, which run beside each other while other layers look at files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from releaser.chart_files import chart_files
from releaser.errors import InvalidInput
from releaser.located import Address, Located, Unreadable, decoded, load_mapping
from releaser.manifests import SEPARATOR, SOURCE, Document, documents, ranked
from releaser.models import Values
from releaser.settings import Environment, Project
from releaser.templates import steadied
from releaser.values import merge

Answer = TypeVar("Answer")
_SUFFIXES = (".yaml", ".yml", ".tpl")


class Charts(Protocol):
    """What of Helm needs no cluster."""

    def template(
        self, release: str, namespace: str, chart: Path, values_file: Path | None, kubernetes: str = ""
    ) -> str: ...

    def lint(self, chart: Path, values_file: Path | None, kubernetes: str = "") -> str: ...

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str: ...

    def unparsed(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str: ...


class Repository(Protocol):
    """What git knows. Paths are absolute; a text is None where the file isn't there; `within` tells where a directory
    is in the repository, empty for its root or another's."""

    def base(self, wanted: str) -> str: ...

    def changed(self, base: str, directory: Path) -> tuple[str, ...]: ...

    def text(self, base: str, path: Path) -> str | None: ...

    def within(self, directory: Path) -> str: ...


@dataclass(frozen=True)
class Variant:
    """One way to render the chart. `released`: it is meant to run, as those of ci/ aren't."""

    name: str
    values_file: Path | None
    namespace: str
    released: bool = True
    protected: bool = False


class Subject:
    def __init__(
        self,
        project: Project,
        environments: Sequence[Environment],
        charts: Charts,
        kubernetes: str,
        repository: Repository | None = None,
        base: str = "",
        *,
        ci: bool = True,
    ) -> None:
        """`ci`: with the values in the chart's ci/, too."""
        self.project, self.charts, self.kubernetes = project, charts, kubernetes
        self.environments = tuple(environments)
        self.chart = project.chart
        self.repository, self.base = repository, base
        self._ci_files = sorted((self.chart / "ci").glob("*-values.yaml")) if ci else []
        self._known: dict[object, Future[Any]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._beside = ThreadPoolExecutor(1)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._beside.shutdown()

    def shown(self, path: Path) -> str:
        """Relative to the project where it is in it."""
        return str(path.relative_to(self.project.root) if path.is_relative_to(self.project.root) else path)

    # -- files ---------------------------------------------------------------------------------------------------------

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """One for each content: a copy of another's values, as those of ci/ often are, would only say the same."""
        release = self.project.release
        candidates = (
            Variant("the chart's own values", None, f"{release}-default"),
            *(
                Variant(f"values-{e.name}.yaml", e.values_file, e.namespace, True, e.protected)
                for e in self.environments
            ),
            *(Variant(f"ci/{path.name}", path, f"{release}-ci", released=False) for path in self._ci_files),
        )
        found: list[Variant] = []
        contents: list[Any] = [{}]
        for each in candidates:
            try:
                content = self.own(each).data
            except Unreadable:
                content = None
            if each.released or content is None or content not in contents:
                found.append(each)
                contents.append(content)
        return tuple(found)

    @property
    def chart_name(self) -> str:
        return str(self.load(self.chart / "Chart.yaml").data.get("name", ""))

    @property
    def defaults_file(self) -> Path:
        return self.chart / "values.yaml"

    def values_file(self, variant: Variant) -> Path:
        return variant.values_file or self.defaults_file

    @cached_property
    def yaml_files(self) -> tuple[Path, ...]:
        """Those that people write: Chart.yaml and all values."""
        candidates = [self.chart / "Chart.yaml", self.defaults_file]
        candidates += [*(each.values_file for each in self.environments), *self._ci_files]
        return tuple(path for path in dict.fromkeys(candidates) if os.path.lexists(path))

    def load(self, path: Path) -> Located:
        """A mapping; {} for a file that isn't there. Raises Unreadable."""
        return self._once(
            ("load", path), lambda: load_mapping(path) if os.path.lexists(path) else Located(path, {}, {})
        ).result()

    def readable(self, variant: Variant) -> bool:
        """Its values can be read, and the chart's own, and what else Helm reads."""
        try:
            self.files, self.own(variant), self.defaults, self.load(self.chart / "Chart.yaml")
        except Unreadable:
            return False
        return True

    @property
    def defaults(self) -> Located:
        return self.load(self.defaults_file)

    def own(self, variant: Variant) -> Located:
        return self.load(self.values_file(variant))

    def merged(self, variant: Variant) -> Values:
        return merge(self.defaults.data, self.own(variant).data)

    def position(self, variant: Variant, address: Address) -> tuple[Path, int, int]:
        """Where a value stands: the variant's file goes before the chart's; for one that stands nowhere, the nearest
        that it would be in."""
        own, defaults = self.own(variant), self.defaults
        for length in range(len(address), 0, -1):
            for located in (own, defaults):
                if address[:length] in located.positions:
                    return (located.path, *located.positions[address[:length]])
        return (own.path, 1, 1)

    @cached_property
    def files(self) -> dict[str, Path]:
        """The chart's, by their paths in it. Raises Unreadable."""
        return chart_files(self.chart)

    @cached_property
    def template_files(self) -> dict[str, Path]:
        """Those below templates/, of subcharts too. Raises Unreadable."""
        return {name: path for name, path in self.files.items() if "templates" in name.split("/")[:-1]}

    @cached_property
    def templates(self) -> dict[str, str]:
        """The texts of templates and helpers, its subcharts' included, by their paths in the chart; those that can't be
        read are left out."""
        found = {}
        for name, path in self.template_files.items():
            if path.suffix in _SUFFIXES:
                with suppress(Unreadable):
                    found[name] = decoded(path)
        return found

    @cached_property
    def steady_templates(self) -> dict[str, str]:
        """Without chance and guards: what is tried renders, and renders the same each time."""
        return {name: steadied(text) for name, text in self.templates.items()}

    # -- what Helm makes of them ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let Helm begin with all that will be asked for."""
        for variant in filter(self.readable, self.variants):
            self._manifest(variant)
            if variant.released:
                self._lint(variant)

    def manifest(self, variant: Variant) -> str:
        """Raises InvalidInput with Helm's own words."""
        return self._manifest(variant).result()

    def linted(self, variant: Variant) -> str:
        return self._lint(variant).result()

    def documents(self, variant: Variant) -> tuple[Document, ...]:
        """The rendered objects; none where it doesn't render."""
        return self._parsed(variant)[0]

    def oddities(self, variant: Variant) -> tuple[tuple[str, str], ...]:
        """What is rendered and is no object: the template that it comes from, and what is wrong."""
        return self._parsed(variant)[1]

    def draft(self, variant: Variant, values: Values, edited: Mapping[str, str]) -> Future[str]:
        """Rendered with other values and with other texts of some files; InvalidInput where that doesn't render."""
        release = self.project.release
        return self._pool.submit(self.charts.draft, release, variant.namespace, self.chart, values, edited)

    def _manifest(self, variant: Variant) -> Future[str]:
        arguments = (self.project.release, variant.namespace, self.chart, variant.values_file, self.kubernetes)
        return self._aside(("manifest", variant), lambda: self.charts.template(*arguments))

    def _lint(self, variant: Variant) -> Future[str]:
        arguments = (self.chart, variant.values_file, self.kubernetes)
        return self._aside(("lint", variant), lambda: self.charts.lint(*arguments))

    def _parsed(self, variant: Variant) -> tuple[tuple[Document, ...], tuple[tuple[str, str], ...]]:
        return self._once(("documents", variant), lambda: self._documents(variant)).result()

    def _documents(self, variant: Variant) -> tuple[tuple[Document, ...], tuple[tuple[str, str], ...]]:
        found: list[Document] = []
        odd: list[tuple[str, str]] = []
        try:
            manifest = self.manifest(variant) if self.readable(variant) else ""
        except InvalidInput:  # the layer of Helm says so
            return (), ()
        for text in SEPARATOR.split(manifest):
            try:
                found += ranked(documents(text, variant.namespace), found)
            except InvalidInput as exc:
                source = SOURCE.search(text)
                odd.append((source[1] if source else "", exc.message.removeprefix("While reading a manifest: ")))
        return tuple(found), tuple(odd)

    def aside(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Done beside everything else; it may wait for what Helm makes."""
        return self._beside.submit(work)

    def _aside(self, key: object, ask: Callable[[], Answer]) -> Future[Answer]:
        with self._lock:
            if key not in self._known:
                self._known[key] = self._pool.submit(ask)
            return self._known[key]

    def _once(self, key: object, make: Callable[[], Answer]) -> Future[Answer]:
        with self._lock:
            known = self._known.get(key)
            answer = self._known.setdefault(key, Future[Answer]())
        if known is None:
            try:
                answer.set_result(make())
            except BaseException as exc:
                answer.set_exception(exc)
        return answer


def leaves(value: Any, address: Address = ()) -> Iterator[tuple[Address, Any]]:
    """Every leaf of values; empty maps and lists count as leaves."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, (*address, str(key)))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from leaves(child, (*address, index))
    else:
        yield address, value
