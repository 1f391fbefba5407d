"""Secrets in plain text: in files of values, in ConfigMaps, in plain environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from releaser.deciding import dotted
from releaser.lint.places import Places
from releaser.lint.pods import listed, pods
from releaser.lint.rules import rule
from releaser.lint.subject import Subject, leaves
from releaser.manifests import Document
from releaser.models import Finding
from releaser.objects import keyed, labelled, names_secret

# What tells a secret by its own form. Source: gitleaks' rules (MIT), those without false alarms.
_FORMS = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{82}\b|\bglpat-[\w-]{20}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[\w-]{35}\b"
    r"|\bsk_live_[A-Za-z0-9]{24,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|[a-z][a-z0-9+.-]*://[^/\s:@]+:(?!\$|%)[^/\s:@]{3,}@"
)
# Not a secret but what stands for one, or says where it is.
_PLACEHOLDER = re.compile(
    r"^(?:|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|<.*>|x+|\*+|change-?me.*|example.*|placeholder|none|null|true|false|ENC\[.*\])$",
    re.IGNORECASE | re.DOTALL,
)
_BESIDES = re.compile(
    r"(?:name|ref|path|file|key|keys|url|uri|header|type|mount|dir|enabled|secrets|existing\w*)$", re.IGNORECASE
)


def findings(subject: Subject, places: Places) -> Iterator[Finding]:
    for path in subject.yaml_files[1:]:
        variant = next((each for each in subject.variants if subject.values_file(each) == path), None)
        if variant is None or not subject.readable(variant) or not variant.released:
            continue
        located = subject.load(path)
        for address, value in leaves(located.data):
            key = next((step for step in reversed(address) if isinstance(step, str)), "")
            if _secret(key, value):
                text = f"{dotted(address)} is a secret in plain text"
                yield rule("secret/in-values").found(subject.shown(path), *located.position(address), text)
    for variant in (each for each in subject.variants if each.released):
        for document in subject.documents(variant):
            for field, name, value in _plain(document):
                if _secret(name, value):
                    place = places.of(variant, document, field)
                    text = f"{document.object.ref}: {name} is a secret in plain text"
                    yield rule("secret/in-configmap").found(*place, text, object=document.object.ref)


def _plain(document: Document) -> Iterator[tuple[str, str, Any]]:
    """Address, name and text of what anybody may read who may look at the object."""
    if document.object.kind == "ConfigMap":
        data = document.object.body.get("data")
        for key, value in data.items() if isinstance(data, dict) else ():
            yield keyed("data", str(key)), str(key), value
    made = pods(document)
    for address, container in made.containers() if made else ():
        variables = listed(container.get("env"))
        for index, each in enumerate(variables):
            yield f"{labelled(f'{address}.env', variables, index)}.value", str(each.get("name")), each.get("value")


def _secret(key: str, value: Any) -> bool:
    if not isinstance(value, str) or _PLACEHOLDER.match(value.strip()):
        return False
    if _FORMS.search(value):
        return True
    return names_secret(key) and not _BESIDES.search(key) and "\n" not in value and len(value) >= _SHORTEST


_SHORTEST = 4
