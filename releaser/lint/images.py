"""Images that may be another tomorrow: no tag, a tag that moves, no digest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from releaser.lint.places import Places
from releaser.lint.pods import pods
from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.models import Finding

_FLOATING = re.compile(
    r"(?:latest|stable|edge|nightly|main|master|trunk|dev|devel|develop|development|head|canary|testing|rolling|current"
    r"|prod|production|v?\d+|.*-latest)$",
    re.IGNORECASE,
)


def findings(subject: Subject, places: Places) -> Iterator[Finding]:
    for variant in (each for each in subject.variants if each.released):
        for document in subject.documents(variant):
            made = pods(document)
            for address, container in made.containers() if made else ():
                image = container.get("image")
                name = _broken(image, subject.project.image_repository) if isinstance(image, str) else ""
                if not name or (rule(name).guarded and not variant.protected):
                    continue
                ref = document.object.ref
                place = places.of(variant, document, f"{address}.image")
                severity = "error" if variant.protected and name == "image/no-tag" else ""
                text = f"{ref}: {_SAYS[name]}: {image}"
                yield rule(name).found(*place, text, object=ref, severity=severity)


_SAYS = {
    "image/no-tag": "an image without a tag",
    "image/floating-tag": "an image with a tag that moves",
    "image/no-digest": "an image without a digest",
}


def _broken(image: str, own: str) -> str:
    name, _, digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    if digest or repository == own:  # releaser gives the service's own image a tag by its content
        return ""
    if not tag:
        return "image/no-tag"
    return "image/floating-tag" if _FLOATING.match(tag) else "image/no-digest"
