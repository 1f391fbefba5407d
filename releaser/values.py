"""Values as Helm merges them: maps deep, lists replaced, null deletes (helm pkg/chart/common/util/coalesce.go)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from releaser.models import Image, Values


def merge(base: Values, override: Values) -> Values:
    """`override` laid over `base`; neither is changed. A null in `override` stays, since Helm itself needs to see it
    to delete the chart's default."""
    merged = deepcopy(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = deepcopy(value)
    return merged


def with_image(values: Values, image: Image, pull_secrets: Sequence[str] = ()) -> Values:
    """The environment's values with the very image that was built, and with what its pods need to pull it; a digest in
    the file would name another one."""
    named = {"repository": image.repository, "tag": image.tag, "digest": image.digest}
    given = (values.get("image") or {}).get("pullSecrets") or []
    missing = [secret for secret in pull_secrets if secret not in given]
    return merge(values, {"image": named | ({"pullSecrets": [*given, *missing]} if missing else {})})
