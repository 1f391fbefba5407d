"""The schemas of the Kubernetes API and of three CRDs, laid out as kubeconform reads them, without any network.

Kubernetes' own come from the package kubernetes-validate (PyPI), which has a strict set (no unknown fields) for each
minor version. Those of the CRDs stand in tests/chart/crds, made strict, as the API server prunes what they don't name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate.utils import all_versions

from tests.chart.helm import Object

CRDS = Path(__file__).with_name("crds")
# Chart.yaml's kubeVersion starts here.
OLDEST = (1, 30)
DEADLINE_SECONDS = 120.0
_REFERENCE = re.compile(r'"#/\$defs/([^"]+)"')


def versions() -> list[str]:
    """1.30.0 and every minor after it that the package knows, oldest first."""
    return [version for version in dict.fromkeys(all_versions()) if tuple(map(int, version.split(".")[:2])) >= OLDEST]


@dataclass(frozen=True)
class Problem:
    """What kubeconform says of one document of a file. `status` is invalid or error."""

    file: str
    kind: str
    name: str
    status: str
    message: str


@dataclass(frozen=True)
class Kubeconform:
    executable: Path
    schemas: Path

    def problems(self, manifests: Path, version: str) -> list[Problem]:
        """Of all *.yaml in a directory (or of one file). A kind without a schema is a problem, too."""
        _lay_out(self.schemas / version)
        finished = subprocess.run(
            [
                *(self.executable, "-strict", "-output", "json", "-kubernetes-version", version),
                *("-schema-location", f"{self.schemas}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
                *("-schema-location", f"{CRDS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
                manifests,
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert finished.returncode in (0, 1), finished.stderr
        resources = json.loads(finished.stdout)["resources"] or []
        return [Problem(Path(r["filename"]).name, r["kind"], r["name"], _status(r), r["msg"]) for r in resources]


def _status(resource: dict[str, Any]) -> str:
    return str(resource["status"]).removeprefix("status").lower()


def _lay_out(directory: Path) -> None:
    """Fill the directory of a version of Kubernetes that isn't there yet: each kind with the definitions that it needs.

    kubeconform reads and compiles for each kind all that its schema refers to, and the package has one file of all.
    """
    if directory.exists():
        return
    directory.mkdir(parents=True)
    package = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{directory.name}-local-strict"
    definitions = json.loads((package / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    texts = {name: _local(json.dumps(_bare(schema))) for name, schema in definitions.items()}
    for source in package.iterdir():
        text = source.read_text(encoding="utf-8")
        if source.name == "_definitions.json" or "x-kubernetes-group-version-kind" not in text:
            continue
        schema = _bare(json.loads(text))
        for key in ("$schema", "$id", "$defs"):
            schema.pop(key, None)
        kind = _local(json.dumps(schema))
        needed = ", ".join(f"{json.dumps(name)}: {texts[name]}" for name in sorted(_needed(kind, texts)))
        (directory / source.name).write_text(f'{kind[:-1]}, "$defs": {{{needed}}}}}', encoding="utf-8")


def _bare(schema: Any) -> Any:
    """Without descriptions, which are most of it."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _bare(v) for k, v in schema.items() if k != "description" or isinstance(v, dict)}


def _local(text: str) -> str:
    return text.replace('"/api/_definitions.json#', '"#')


def _needed(text: str, texts: Mapping[str, str]) -> set[str]:
    """The names of the definitions that a schema refers to, and of those that these refer to."""
    found: set[str] = set()
    new = set(_REFERENCE.findall(text))
    while new:
        found |= new
        new = {name for each in new for name in _REFERENCE.findall(texts[each])} - found
    return found


def write(directory: Path, name: str, objects: Sequence[Object]) -> Path:
    """The objects as one file of documents: of JSON, for what PyYAML writes as n is a boolean to Go."""
    path = directory / f"{name}.yaml"
    path.write_text("\n---\n".join(map(json.dumps, objects)), encoding="utf-8")
    return path


def convert(crd: Object, version: str, origin: str) -> tuple[str, Object]:
    """(file name, strict schema) of one version of a CRD."""
    [wanted] = [each for each in crd["spec"]["versions"] if each["name"] == version]
    schema = _strict(_bare(wanted["schema"]["openAPIV3Schema"]))
    name = f"{crd['spec']['names']['singular']}-{crd['spec']['group'].split('.')[0]}-{version}.json"
    return name, {"$comment": f"made from {origin} (Apache-2.0)", **schema}


def _strict(schema: Any) -> Any:
    """No other fields than those named, unless the CRD says that it keeps them; apiVersion, kind and metadata are."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


if __name__ == "__main__":
    # python -m tests.chart.schemas v1 "MODULE VERSION" CRD.yaml: make the schema in tests/chart/crds anew
    name, schema = convert(yaml.safe_load(Path(sys.argv[3]).read_text(encoding="utf-8")), *sys.argv[1:3])
    (CRDS / name).write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
