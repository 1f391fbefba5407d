"""Keeps secrets out of what is shown and kept. Where a secret stood, Mark.HIDDEN stands."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

from releaser.objects import Mark, names_secret

# Shorter words would hide half of every text.
_MIN_LENGTH = 6


def secrets_in_values(values: Mapping[str, Any]) -> frozenset[str]:
    """The texts in Helm values whose keys say that they are secret."""
    return frozenset(_named_secrets(values))


def secrets_in_objects(objects: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The texts in Secret objects, decoded and as they stand there."""
    found: set[str] = set()
    for each in objects:
        if each.get("kind") == "Secret":
            found |= {str(text) for text in (each.get("stringData") or {}).values()}
            for encoded in (each.get("data") or {}).values():
                found |= {str(encoded), _decoded(str(encoded))}
    return frozenset(text for text in found if text)


class Mask:
    """Hides known secrets wherever they occur in a text: logs, events, messages. `new` ones are shown as changed."""

    def __init__(self, secrets: Iterable[str] = (), new: Iterable[str] = ()) -> None:
        self._words = {text: Mark.HIDDEN.value for text in secrets if len(text) >= _MIN_LENGTH}
        self._words |= {
            text: Mark.CHANGED.value for text in new if len(text) >= _MIN_LENGTH and text not in self._words
        }
        longest_first = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._words[found[0]], text) if self._words else text


def _named_secrets(node: Any, key: str = "") -> Iterable[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _named_secrets(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _named_secrets(child, key)
    elif isinstance(node, str) and node and names_secret(key):
        yield node


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
