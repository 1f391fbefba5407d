"""Values that nothing reads. Each leaf is changed, many at a time, and the chart rendered: a leaf is read when what is
rendered changes with it, with the chart's own values or with any file of values. A leaf whose last two keys a template
names (.Values.image.tag, or .image.tag behind a `with`) isn't tried: what it does may need values that nobody has
written down.

First every leaf gets a value that is found again in the output, so one rendering tells of most. Of the others, groups
are tried by halves: a group that changes nothing needs one rendering only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import reduce
from typing import Any

from releaser.deciding import alternatives, dotted
from releaser.errors import InvalidInput
from releaser.lint.pods import listed
from releaser.lint.rules import rule
from releaser.lint.subject import Subject, Variant, leaves
from releaser.lint.values import put
from releaser.located import Address
from releaser.models import Finding, Values
from releaser.values import merge

# with six digits: Helm writes bigger ones with an exponent
_NUMBER = 700_000


def findings(subject: Subject) -> Iterator[Finding]:
    variants = [each for each in subject.variants if subject.readable(each)]
    if not variants or not subject.steady_templates:
        return
    named = _Named("\n".join(subject.templates.values()))
    others = ("global", *_subcharts(subject))  # a subchart's values are its own matter
    where: dict[Address, Variant] = {}
    for variant in variants:
        for leaf, _ in leaves(subject.own(variant).data):
            address = _passed_on(leaf, subject.defaults.data)
            if address and address[0] not in others and address not in named:
                where.setdefault(address, variant)
    left = set(where)
    for number, (variant, values) in enumerate(_bases(subject, variants, left)):
        if here := [address for address in left if _at(values, address) is not _NOTHING]:
            left -= _Trial(subject, variant, values).read(here, thoroughly=number == 0)
    for address in sorted(left, key=lambda each: [str(step) for step in each]):
        path, line, column = subject.position(where[address], address)
        text = f"nothing reads {dotted(address)}"
        yield rule("values/unread").found(subject.shown(path), line, column, text)


def _subcharts(subject: Subject) -> list[str]:
    chart = subject.load(subject.chart / "Chart.yaml").data
    dependencies = listed(chart.get("dependencies"))
    return [str(each[key]) for each in dependencies for key in ("name", "alias") if each.get(key)]


def _bases(subject: Subject, variants: Sequence[Variant], left: set[Address]) -> Iterator[tuple[Variant, Values]]:
    """What is rendered with, likely ones first: the chart's own values; those with parts switched on, for nobody may
    have written down values that do; all other variants', together where they don't contradict each other. One switch
    may hide what another shows, so they are tried together, those that are named so, and beside what is left."""
    first, *others = variants
    values = subject.merged(first)
    yield first, values
    for pattern in (_SWITCH, _ANY):
        yield first, _switched_on(values, pattern)
    for key in sorted({str(address[0]) for address in left}):
        yield first, {**values, key: _switched_on(values.get(key), _ANY)}
    for group in _without_contradiction(subject, others):
        together = reduce(merge, (subject.own(each).data for each in group), values)
        if len(group) == 1 or _Trial(subject, group[0], together).renders():
            yield group[0], together
        else:
            yield from ((each, subject.merged(each)) for each in group)


def _without_contradiction(subject: Subject, variants: Sequence[Variant]) -> list[list[Variant]]:
    groups: list[list[Variant]] = []
    for variant in variants:
        own = subject.own(variant).data
        for group in groups:
            if all(_agree(own, subject.own(each).data) for each in group):
                group.append(variant)
                break
        else:
            groups.append([variant])
    return groups


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_agree(one[key], other[key]) for key in one.keys() & other.keys())
    return bool(one == other)


_SWITCH = re.compile(r"(?:^|.*[a-z])(?:enabled?|create[d]?|install|deploy|use)$", re.IGNORECASE)
_ANY = re.compile("")


def _switched_on(value: Any, named: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: True if each is False and named.match(str(key)) else _switched_on(each, named)
            for key, each in value.items()
        }
    return value


def _passed_on(leaf: Address, defaults: Any) -> Address:
    """The leaf, or the list or the by default empty map that it is in: what is in those is passed on whole."""
    for length in range(1, len(leaf)):
        if isinstance(leaf[length], int) or _at(defaults, leaf[:length]) in ({}, [], None):
            return leaf[:length]
    return leaf


class _Named:
    """What templates name: values in full, behind a `with` or as arguments of `index`, by their last two keys; and
    those that are turned into YAML with all that is in them."""

    _ONE = re.compile(r"\.Values(?:\.| \")([\w-]+)")
    _TWO = re.compile(r"(?=[.\"]([\w-]+)\"?(?:\.| \")([\w-]+))")
    _WHOLE = re.compile(
        r"toYaml \(?\$?\.Values((?:\.[\w-]+)+)|with \$?\.Values((?:\.[\w-]+)+) *-?}}[^{]*{{-? *toYaml \. "
    )

    def __init__(self, templates: str) -> None:
        self._last = {(each,) for each in self._ONE.findall(templates)} | set(self._TWO.findall(templates))
        self._wholes = {tuple((a or b).split(".")[1:]) for a, b in self._WHOLE.findall(templates)}

    def __contains__(self, address: Address) -> bool:
        keys = tuple(step for step in address if isinstance(step, str))
        return keys[-2:] in self._last or any(keys[:length] in self._wholes for length in range(1, len(keys)))


_ASKED = re.compile(r"\$?\.Capabilities\.APIVersions\.Has\s+(?:\"[^\"]*\"|\([^()]*\))")


class _Trial:
    """A variant's values, tried out."""

    def __init__(self, subject: Subject, variant: Variant, values: Values) -> None:
        self._subject, self._variant, self._values = subject, variant, values
        # of all kinds that templates ask for, the cluster has them
        self._templates = {name: _ASKED.sub("eq 1 1", text) for name, text in subject.steady_templates.items()}

    def renders(self) -> bool:
        return self._output(self._draft({})) is not None

    def read(self, addresses: Sequence[Address], *, thoroughly: bool) -> set[Address]:
        """Those of the leaves that make a difference; `thoroughly`: with any of several changes."""
        base_future = self._draft({})
        tokens = {address: _token(number, _at(self._values, address)) for number, address in enumerate(addresses)}
        found = self._seen({address: token for address, token in tokens.items() if token is not None})
        base = self._output(base_future)
        if base is None:
            return set()
        for turn in range(3 if thoroughly else 1):
            left = [address for address in addresses if address not in found]
            tried = {address: alternatives(_at(self._values, address)) for address in left}
            found |= self._differing({address: each[turn] for address, each in tried.items() if turn < len(each)}, base)
        return found

    def _seen(self, tokens: Mapping[Address, Any]) -> set[Address]:
        """Those whose tokens are found in the output; where that doesn't render, in that of the halves."""
        found: set[Address] = set()
        groups = [list(tokens)]
        while groups := [group for group in groups if group]:
            outputs = [self._draft({each: tokens[each] for each in group}) for group in groups]
            halves: list[list[Address]] = []
            for group, future in zip(groups, outputs, strict=True):
                output = self._output(future)
                if output is None:
                    halves += _halves(group)
                else:
                    found.update(each for each in group if _text(tokens[each]) in output)
            groups = halves
        return found

    def _differing(self, changes: Mapping[Address, Any], base: str) -> set[Address]:
        """Those that change the output. A switch hides what others do, so switches are tried apart."""
        found: set[Address] = set()
        switches = [
            each
            for each in changes
            if not isinstance(_at(self._values, each), (str, int, float)) or isinstance(_at(self._values, each), bool)
        ]
        groups = [switches, [each for each in changes if each not in switches]]
        while groups := [group for group in groups if group]:
            outputs = [self._draft({each: changes[each] for each in group}) for group in groups]
            halves: list[list[Address]] = []
            for group, future in zip(groups, outputs, strict=True):
                output = self._output(future)
                if output == base:
                    continue
                if len(group) > 1:
                    halves += _halves(group)
                else:  # one that keeps the chart from rendering is read as well
                    found.add(group[0])
            groups = halves
        return found

    def _draft(self, changes: Mapping[Address, Any]) -> Future[str]:
        values: Any = self._values
        for address, value in changes.items():
            values = put(values, address, value)
        return self._subject.draft(self._variant, values, self._templates)

    def _output(self, future: Future[str]) -> str | None:
        """None where it doesn't render."""
        try:
            return future.result()
        except InvalidInput:
            return None


def _halves(group: list[Address]) -> list[list[Address]]:
    """None of a single one."""
    middle = len(group) // 2
    return [group[:middle], group[middle:]] if middle else []


_NOTHING = object()


def _at(values: Any, address: Address) -> Any:
    """_NOTHING where nothing is there."""
    for step in address:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return values


def _token(number: int, value: Any) -> Any:
    """Another text or number that is found again in what is rendered; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _NUMBER + number
    return f"zq{number}qz" if isinstance(value, str) and value else None


def _text(token: Any) -> str:
    return str(token)
