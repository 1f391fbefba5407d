"""releaser.yaml and options -> frozen dataclasses. Everything has a default; the file says only what differs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from releaser.errors import InvalidInput, UsageError
from releaser.located import Address, Located, ShallowLoader, did_you_mean, load_mapping

FILE = "releaser.yaml"

# yamale owns the shape of releaser.yaml; `_KEYS` repeats its keys only to suggest the one that was meant.
SCHEMA = """
release: regex('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', name='release name (DNS-1123 label)', max=53, required=False)
chart: str(required=False)
image: regex('^[a-z0-9]+([._/:-][a-z0-9]+)*$', name='image repository', required=False)
dockerfile: str(required=False)
dev: include('dev', required=False)
environments: map(include('environment'), key=regex('^[a-z]([a-z0-9-]*[a-z0-9])?$', name='name'), required=False)
lint: include('lint', required=False)
---
environment:
  context: str(required=False)
  namespace: regex('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', name='namespace (DNS-1123 label)', max=63, required=False)
  delivery: enum('minikube', 'registry', required=False)
  registry: include('registry', required=False)
  protected: bool(required=False)
  deadlineSeconds: num(min=1, max=86400, required=False)
  probe: include('probe', required=False)
  prometheus: include('prometheus', required=False)
---
registry:
  repository: regex('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$', name='HOST[:PORT]/PATH')
  plainHttp: bool(required=False)
  pullSecret: regex('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$', name='name of a Secret', max=253, required=False)
  createPullSecret: bool(required=False)
---
dev:
  values: map(required=False, none=False)
  live: include('live', required=False)
---
live:
  from: str()
  to: regex('^(/[^/]+)+$', name='absolute path in the container')
  files: list(str(), min=1, required=False)
---
probe:
  ratePerSecond: num(min=0, max=1000, required=False, none=False)
  path: regex('^/[!-~]*$', name='path that starts with /', required=False, none=False)
  failureBudget: int(min=0, required=False)
---
prometheus:
  url: regex('^https?://[^ /?#]+(/[^ ?#]*)?$', name='URL of a Prometheus')
---
lint:
  kubernetes: regex('^1[.][0-9]+$', name='minor version of Kubernetes, in quotes', required=False)
  waivers: list(include('waiver'), required=False, none=False)
---
waiver:
  rule: str(min=1)
  where: str(min=1, required=False)
  reason: str(min=1)
  expires: day()
"""
_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("release", "chart", "image", "dockerfile", "dev", "environments", "lint"),
    ("dev",): ("values", "live"),
    ("dev", "live"): ("from", "to", "files"),
    ("environments", "*"): (
        *("context", "namespace", "delivery", "registry", "protected", "deadlineSeconds", "probe"),
        "prometheus",
    ),
    ("environments", "*", "registry"): ("repository", "plainHttp", "pullSecret", "createPullSecret"),
    ("environments", "*", "probe"): ("ratePerSecond", "path", "failureBudget"),
    ("environments", "*", "prometheus"): ("url",),
    ("lint",): ("kubernetes", "waivers"),
    ("lint", "waivers", "*"): ("rule", "where", "reason", "expires"),
}


class Delivery(StrEnum):
    """How an image reaches the nodes."""

    MINIKUBE = "minikube"
    REGISTRY = "registry"


@dataclass(frozen=True)
class RegistrySettings:
    """Where images are pushed to and pulled from: HOST[:PORT]/PATH. Pods may need a Secret for it, which is there by
    name or made from docker's own credentials."""

    repository: str
    plain_http: bool = False
    pull_secret: str = ""
    create_pull_secret: bool = False


@dataclass(frozen=True)
class Probe:
    """How the service is asked while it is released. A rate of 0 is off; a budget is how many requests may be lost
    before the release counts as failed, None: any number."""

    rate_per_second: float
    path: str
    failure_budget: int | None


@dataclass(frozen=True)
class Environment:
    """One values-NAME.yaml and where it is released to."""

    name: str
    values_file: Path
    context: str
    namespace: str
    delivery: Delivery
    protected: bool
    deadline_seconds: float
    probe: Probe
    registry: RegistrySettings | None = None
    """Where the delivery is by registry."""
    prometheus_url: str = ""
    """Of the Prometheus that scrapes the environment's pods; `status` asks it for rates."""


@dataclass(frozen=True)
class LiveCode:
    """Files that `releaser dev` writes into running pods when they are saved: those below the directory `source` whose
    names match one of the patterns, to `target` in the containers. All others make a release."""

    source: Path
    target: str
    patterns: tuple[str, ...] = ("*",)

    def has(self, path: Path) -> bool:
        return path.is_relative_to(self.source) and any(fnmatch(path.name, pattern) for pattern in self.patterns)

    def files(self) -> dict[str, bytes]:
        """Contents by path relative to `source`."""
        found = {}
        for path in sorted(self.source.rglob("*")):
            if self.has(path) and path.is_file() and "__pycache__" not in path.parts:
                with suppress(FileNotFoundError):  # gone since it was listed
                    found[path.relative_to(self.source).as_posix()] = path.read_bytes()
        return found


@dataclass(frozen=True)
class Waiver:
    """Findings that are known and borne: of a rule, and where `where` is given only in files or on objects that it
    matches. It ends with the day `expires`; `line` and `column` are where it stands in releaser.yaml."""

    rule: str
    where: str
    reason: str
    expires: date
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class LintSettings:
    """`kubernetes` is the minor version of the target clusters, as 1.35; empty: the newest that is known."""

    kubernetes: str = ""
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class Project:
    """A directory with a chart, a Dockerfile and values-ENV.yaml files."""

    root: Path
    release: str
    chart: Path
    image_repository: str
    dockerfile: Path
    environments: tuple[Environment, ...]
    dev_values: dict[str, Any] = field(default_factory=dict)
    """Over an environment's own while `releaser dev` runs."""
    live_code: LiveCode | None = None
    lint: LintSettings = LintSettings()

    def environment(self, name: str) -> Environment:
        """Raises UsageError that names the known ones."""
        for environment in self.environments:
            if environment.name == name:
                return environment
        names = [environment.name for environment in self.environments]
        known = ", ".join(names) or f"none: there is no values-ENV.yaml in {self.root}"
        raise UsageError(
            f'Unknown environment "{name}"{did_you_mean(name, names)}',
            hint=f"known environments: {known}; an environment is a file values-ENV.yaml",
        )


def load_project(root: Path) -> Project:
    """Read releaser.yaml (which may be absent) and find the environments. Raises InvalidInput with file:line:column."""
    if not root.is_dir():
        raise UsageError(f"The project {root} is not a directory", hint="give --project the directory of releaser.yaml")
    path = root / FILE
    located = load_mapping(path, ShallowLoader) if os.path.lexists(path) else Located(path, {}, {})
    if located.data:
        _validate(located)
    given: dict[str, Any] = located.data
    chart = root / given["chart"] if "chart" in given else _only_chart(root)
    release = given.get("release", chart.name)
    settings = given.get("environments") or {}
    files = {
        match[1]: file for file in sorted(root.glob("values-*.yaml")) if (match := _ENVIRONMENT_FILE.match(file.name))
    }
    for name in settings:
        if name not in files:
            raise InvalidInput(
                f'While reading {located.place(("environments", name))}: environment "{name}" has no values-{name}.yaml'
                f"{did_you_mean(name, files)}",
                hint=f"write {root / f'values-{name}.yaml'}, or take the environment out of {FILE}",
            )
        _require_registry(located, name, settings[name] or {})
    return Project(
        root=root,
        release=release,
        chart=chart,
        image_repository=given.get("image", release),
        dockerfile=root / given.get("dockerfile", "Dockerfile"),
        environments=tuple(_environment(name, file, release, settings.get(name) or {}) for name, file in files.items()),
        dev_values=(given.get("dev") or {}).get("values") or {},
        live_code=_live_code(located, root),
        lint=_lint(located),
    )


def chart_alone(chart: Path) -> Project:
    """Any chart, without environments: for lint. Raises InvalidInput where there is none."""
    if not (chart / "Chart.yaml").is_file():
        raise InvalidInput(f"{chart} is not a chart: it has no Chart.yaml", hint="name the directory of a chart")
    root = Path.cwd() if chart.is_relative_to(Path.cwd()) else chart.parent
    return Project(root, chart.name, chart, chart.name, root / "Dockerfile", ())


def _lint(located: Located) -> LintSettings:
    given = located.data.get("lint") or {}
    waivers = tuple(
        Waiver(
            each["rule"],
            each.get("where", ""),
            each["reason"],
            each["expires"],
            *located.position(("lint", "waivers", index)),
        )
        for index, each in enumerate(given.get("waivers") or ())
    )
    return LintSettings(given.get("kubernetes", ""), waivers)


def _live_code(located: Located, root: Path) -> LiveCode | None:
    given = (located.data.get("dev") or {}).get("live")
    if not given:
        return None
    source = root / given["from"]
    if not source.is_dir():
        raise InvalidInput(
            f"While reading {located.place(('dev', 'live', 'from'))}: {source} is not a directory",
            hint="name the directory whose files go into the pods, relative to releaser.yaml",
        )
    return LiveCode(source, given["to"], tuple(given.get("files") or ("*",)))


def _require_registry(located: Located, name: str, given: dict[str, Any]) -> None:
    """Delivery by registry and its settings go together, and a pull secret is either there or made."""
    by_registry, registry = given.get("delivery") == Delivery.REGISTRY, given.get("registry")
    place = ("environments", name, "delivery" if by_registry else "registry")
    if by_registry != bool(registry):
        raise InvalidInput(
            f"While reading {located.place(place)}: delivery: registry and registry.repository need each other",
            hint="registry: {repository: HOST/PATH} beside delivery: registry",
        )
    if registry and registry.get("pullSecret") and registry.get("createPullSecret"):
        raise InvalidInput(
            f"While reading {located.place(place)}: pullSecret names a Secret of yours, createPullSecret asks for one",
            hint="leave one of them out",
        )


_ENVIRONMENT_FILE = re.compile(r"values-([a-z](?:[a-z0-9-]*[a-z0-9])?)\.yaml$")


def _environment(name: str, file: Path, release: str, given: dict[str, Any]) -> Environment:
    protected = given.get("protected", name == "prod")
    return Environment(
        name=name,
        values_file=file,
        context=given.get("context", "minikube"),
        namespace=given.get("namespace", f"{release}-{name}"),
        delivery=Delivery(given.get("delivery", Delivery.MINIKUBE)),
        protected=protected,
        deadline_seconds=float(given.get("deadlineSeconds", 300)),
        probe=_probe(given.get("probe") or {}, protected),
        registry=_registry(given.get("registry") or {}),
        prometheus_url=(given.get("prometheus") or {}).get("url", ""),
    )


def _registry(given: dict[str, Any]) -> RegistrySettings | None:
    if not given:
        return None
    return RegistrySettings(
        repository=given["repository"],
        plain_http=given.get("plainHttp", False),
        pull_secret=given.get("pullSecret", ""),
        create_pull_secret=given.get("createPullSecret", False),
    )


def _probe(given: dict[str, Any], protected: bool) -> Probe:
    return Probe(
        rate_per_second=float(given.get("ratePerSecond", 20)),
        path=given.get("path", "/version"),
        failure_budget=given.get("failureBudget", 0 if protected else None),
    )


def _only_chart(root: Path) -> Path:
    charts = sorted(path.parent for path in root.glob("charts/*/Chart.yaml"))
    if len(charts) == 1:
        return charts[0]
    found = ", ".join(chart.name for chart in charts) or "none"
    raise InvalidInput(
        f"While looking for the chart in {root / 'charts'}: one is wanted, found: {found}",
        hint=f"run releaser in the project's directory, or name the chart in {FILE}: `chart: charts/NAME`",
    )


def _validate(located: Located) -> None:
    # yamale's own errors carry no line and no suggestion: unknown keys are reported first, with both.
    for pattern, known in _KEYS.items():
        for address in _matching(located.data, pattern):
            _require_known(located, address, known)

    import yamale  # imported here: --help and --version don't need it

    schema = yamale.make_schema(content=SCHEMA)
    [result] = yamale.validate(schema, [(located.data, str(located.path))], strict=True, _raise_error=False)
    if not result.isValid():
        lines = [_with_place(located, error) for error in result.errors]
        raise InvalidInput(f"While reading {lines[0]}", detail="\n".join(lines[1:]))


def _matching(value: Any, pattern: tuple[str, ...]) -> Iterator[Address]:
    """The address of every key in the mappings that the pattern leads to, in which `*` is any key or item."""
    if not pattern:
        yield from ((key,) for key in value) if isinstance(value, dict) else ()
        return
    children = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, child in children:
        if pattern[0] in ("*", key):
            yield from ((key, *rest) for rest in _matching(child, pattern[1:]))


def _require_known(located: Located, address: Address, known: tuple[str, ...]) -> None:
    key = str(address[-1])
    if key not in known:
        raise InvalidInput(
            f'While reading {located.place(address)}: unknown key "{key}"{did_you_mean(key, known)}',
            hint=f"known keys here: {', '.join(known)}",
        )


def _with_place(located: Located, error: str) -> str:
    """yamale says `environments.dev.protected: 'x' is not a bool.`: put file:line:column in front."""
    address = tuple(error.partition(": ")[0].split("."))
    return f"{located.place(address)}: {error}"
