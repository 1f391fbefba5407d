"""Rendered objects against the schemas of the target Kubernetes, without a network; and versions of its API that are
deprecated or gone.

The schemas are those of the package kubernetes-validate (strict: no unknown fields), made from Kubernetes' own OpenAPI.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from releaser.errors import InvalidInput
from releaser.lint.places import Places
from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import did_you_mean, parse
from releaser.manifests import Document
from releaser.models import Finding
from releaser.objects import at, is_secret, keyed, labelled

_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$")
_DNS_LABEL = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$")
# names of these may hold colons and capitals
_FREE_NAMES = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})


def findings(subject: Subject, schemas: Schemas, places: Places) -> Iterator[Finding]:
    seen: set[str] = set()
    for variant in subject.variants:
        for source, wrong in subject.oddities(variant):
            if "generateName" not in wrong:
                file = subject.shown(subject.chart / source) if source else subject.shown(subject.chart)
                yield rule("kubernetes/no-object").found(file, 0, 0, wrong)
        known: dict[tuple[str, str, str, str], Document] = {}
        for document in subject.documents(variant):
            one = document.object
            if one.identity in known:
                text = f"{one.ref} is rendered twice, also by {known[one.identity].source or 'another template'}"
                yield rule("kubernetes/duplicate-object").found(
                    *places.of(variant, document, "metadata.name"), text, object=one.ref
                )
            known[one.identity] = document
            if document.text not in seen:  # most objects are the same in all variants
                seen.add(document.text)
                for name, address, text in _problems(document, schemas):
                    place = places.of(variant, document, address)
                    yield rule(name).found(*place, f"{one.ref}: {text}", object=one.ref)


def _problems(document: Document, schemas: Schemas) -> Iterator[tuple[str, str, str]]:
    """Rule, address, message."""
    one = document.object
    yield from _api(one.api_version, one.kind, schemas)
    yield from _names(document)
    try:
        parse(document.text, Path(document.source))
    except InvalidInput as exc:
        if match := re.search(r'"([^"]+)" stands twice', exc.message):
            yield "kubernetes/duplicate-key", match[1], f"{match[1]} stands twice"
    validator = schemas.validator(one.api_version, one.kind)
    for error in validator.iter_errors(one.body) if validator else ():
        address = addressed(one.body, error.instance_path)
        unexpected = getattr(error.kind, "unexpected", None)
        if unexpected is not None:
            known = schemas.properties(error.schema_path)
            for key in unexpected:
                yield (
                    "kubernetes/schema",
                    keyed(address, key),
                    f"there is no field {keyed(address, key)}{did_you_mean(key, known)}",
                )
            continue
        hidden = is_secret(one.ref, address, at(one.body, address)) if address else False
        said = "its value doesn't fit" if hidden else str(error.message)
        yield "kubernetes/schema", address, f"{address or 'it'}: {said[:160]}"


def _api(api_version: str, kind: str, schemas: Schemas) -> Iterator[tuple[str, str, str]]:
    entry = schemas.lifecycle(api_version, kind)
    if entry is not None:
        instead = f"; use {entry['instead']}" if entry.get("instead") else ""
        if _minor(entry["removed"]) <= schemas.minor:
            yield "api/removed", "apiVersion", f"{api_version} {kind} is gone since {entry['removed']}{instead}"
            return
        if _minor(entry["deprecated"]) <= schemas.minor:
            text = (
                f"{api_version} {kind} is deprecated since {entry['deprecated']}, gone in {entry['removed']}{instead}"
            )
            yield "api/deprecated", "apiVersion", text
            return
    if schemas.built_in(api_version) and not schemas.validator(api_version, kind):
        close = did_you_mean(kind, schemas.kinds(api_version))
        yield "kubernetes/unknown-kind", "kind", f"{api_version} has no kind {kind} in {schemas.version}{close}"


def _names(document: Document) -> Iterator[tuple[str, str, str]]:
    one = document.object
    wanted = _DNS_LABEL if one.kind == "Service" else _SUBDOMAIN
    if one.kind not in _FREE_NAMES and not wanted.match(one.name):
        yield "kubernetes/name", "metadata.name", f'the name "{one.name}" ({len(one.name)} characters) is refused'
    for address in ("metadata.labels", "spec.template.metadata.labels", "spec.selector.matchLabels"):
        labels = at(one.body, address)
        for key, value in labels.items() if isinstance(labels, dict) else ():
            if not _LABEL_KEY.match(str(key)) or (isinstance(value, str) and not _LABEL_VALUE.match(value)):
                yield "kubernetes/label", keyed(address, str(key)), f'the label {key}: "{value}" is refused'


def addressed(body: Any, path: list[str | int]) -> str:
    """A JSON path as an address."""
    address = ""
    for step in path:
        if isinstance(step, int) and isinstance(body, list):
            address, body = labelled(address, body, step), body[step]
        else:
            address, body = keyed(address, str(step)), body.get(step) if isinstance(body, dict) else None
    return address


def _minor(version: str) -> int:
    return int(version.removeprefix("v").split(".")[1])


class Schemas:
    """Of one minor version of Kubernetes, as 1.35; the newest that is known for an empty text.

    Raises InvalidInput, naming those there are."""

    def __init__(self, wanted: str = "") -> None:
        spec = importlib.util.find_spec("kubernetes_validate")  # found, not imported: its own imports take long
        assert spec is not None and spec.origin is not None
        root = Path(spec.origin).parent / "kubernetes-json-schema"
        there = {_minor(each.name): each for each in root.glob("v1.*-local-strict")}
        minor = _minor(wanted) if wanted else max(there)
        if minor not in there:
            known = ", ".join(f"1.{each}" for each in sorted(there))
            raise InvalidInput(
                f"While looking for the schemas of Kubernetes {wanted}: they aren't there", hint=f"known: {known}"
            )
        self.minor = minor
        self.version = f"1.{minor}"
        self._directory = there[minor]
        self._validators: dict[tuple[str, str], Any] = {}

    def validator(self, api_version: str, kind: str) -> Any:
        """None for a kind that isn't Kubernetes' own."""
        key = (api_version, kind)
        if key not in self._validators:
            path = self._directory / f"{kind.lower()}-{_suffix(api_version)}.json"
            known = kind in self.kinds(api_version) and path.is_file()
            self._validators[key] = (
                jsonschema_rs.Draft202012Validator(json.loads(path.read_bytes()), registry=self._registry)
                if known
                else None
            )
        return self._validators[key]

    def built_in(self, api_version: str) -> bool:
        group, slash, _ = api_version.rpartition("/")
        return not slash or "." not in group or (group.endswith(".k8s.io") and bool(self.kinds(api_version)))

    def kinds(self, api_version: str) -> list[str]:
        """Of a version of a group; core's are those of v1."""
        return self._kinds.get(api_version, [])

    def properties(self, schema_path: list[Any]) -> list[str]:
        """The fields that the schema has where one more was found."""
        node: Any = self._definitions
        for step in schema_path[:-1]:
            node = node.get(step, {}) if isinstance(node, dict) else {}
        return list(node.get("properties", {})) if isinstance(node, dict) else []

    def lifecycle(self, api_version: str, kind: str) -> dict[str, str] | None:
        return self._lifecycles.get((api_version, kind))

    @cached_property
    def _lifecycles(self) -> dict[tuple[str, str], dict[str, str]]:
        text = (files("releaser.lint") / "apis.yaml").read_text(encoding="utf-8")
        entries = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {(each["api"], kind): each for each in entries for kind in each["kinds"]}

    @cached_property
    def _definitions(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self._directory / "_definitions.json").read_bytes())
        return document

    @cached_property
    def _registry(self) -> Any:
        return jsonschema_rs.Registry([("json-schema:///api/_definitions.json", self._definitions)])

    @cached_property
    def _kinds(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for schema in self._definitions["$defs"].values():
            for each in schema.get("x-kubernetes-group-version-kind", ()):
                group = f"{each['group']}/" if each["group"] else ""
                found.setdefault(f"{group}{each['version']}", []).append(each["kind"])
        return found


def _suffix(api_version: str) -> str:
    group, slash, version = api_version.partition("/")
    return f"{group.split('.')[0]}-{version}" if slash else group
