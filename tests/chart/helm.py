"""The real helm, run on the chart, and what it renders."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
# The mutation test names copies of the chart.
CHART = Path(os.environ.get("CHART_DIRECTORY") or ROOT / "charts" / "flask-hello")
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "flask-hello"
DEADLINE_SECONDS = 60.0

Object = dict[str, Any]


class Refused(Exception):
    """helm refused; the text is what it said."""


@dataclass(frozen=True)
class Rendered:
    """Manifests in the order in which helm wrote them."""

    text: str
    objects: tuple[Object, ...]

    def of(self, kind: str) -> list[Object]:
        return [o for o in self.objects if o["kind"] == kind]

    def one(self, kind: str) -> Object:
        """The only object of this kind."""
        [found] = self.of(kind)
        return found

    @property
    def settings(self) -> Object:
        """The ConfigMap that the service reads; others may be there too."""
        [found] = [o for o in self.of("ConfigMap") if "APP_ENVIRONMENT" in o.get("data", {})]
        return found

    @property
    def pod_specs(self) -> list[Object]:
        """Of every pod that the release makes, hooks and tests included."""
        kinds = ("Pod", "Deployment", "Job")
        return [o["spec"].get("template", o)["spec"] for o in self.objects if o["kind"] in kinds]


@dataclass(frozen=True)
class Helm:
    executable: str
    home: Path

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Standard output. Raises Refused if helm fails."""
        given = ["--values", "-"] if values is not None else []
        finished = subprocess.run(
            [self.executable, *arguments, *given],
            input=_json(values or {}),
            # Neither the user's cluster nor the user's plug-ins and repositories.
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        if finished.returncode:
            raise Refused(finished.stdout + finished.stderr)
        return finished.stdout

    def render(
        self,
        values: Path | None = None,
        *,
        sets: Mapping[str, Any] | None = None,
        release: str = RELEASE,
        namespace: str = "default",
        chart: Path = CHART,
        more: Sequence[str] = (),
    ) -> Rendered:
        """`helm template` with a values file and, above it, single values by dotted key. Raises Refused."""
        file = ["--values", str(values)] if values else []
        argv = ["template", release, str(chart), "--namespace", namespace, *file, *more]
        text = self.run(*argv, values=nested(sets or {}))
        return Rendered(text, tuple(o for o in yaml.load_all(text, Loader=yaml.CSafeLoader) if o))

    def notes(self, sets: Mapping[str, Any], *, release: str = RELEASE) -> str:
        """What `helm install` says at its end."""
        output = self.run("install", release, str(CHART), "--dry-run=client", values=nested(sets))
        return output.partition("NOTES:")[2]


def _json(values: Mapping[str, Any]) -> str:
    """JSON that is YAML: which knows no surrogates, and wants some characters escaped that JSON doesn't."""
    text = json.dumps(values, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def nested(dotted: Mapping[str, Any]) -> Object:
    """{"image.tag": "x"} -> {"image": {"tag": "x"}}"""
    values: Object = {}
    for address, value in dotted.items():
        *parents, last = address.split(".")
        node = values
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return values
