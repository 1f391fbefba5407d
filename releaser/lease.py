"""What a Lease says of a release's lock: who holds it, who waits, which commit went last. Pure: no I/O, no clock.

One Lease is the lock; it stays when it is free, with an empty holder and the last commit that was released under it.
Each waiter has a Lease of its own, so that others see that it waits, with which commit, and that it lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from releaser.models import Source

LEASE_SECONDS = 15
RENEW_SECONDS = 3.0

WAITS_FOR = "releaser/waits-for"
_USER, _HOST, _COMMIT, _DIRTY = "releaser/user", "releaser/host", "releaser/commit", "releaser/dirty"
_COMMIT_TIME, _VERB = "releaser/commit-time", "releaser/verb"
_HOLDER_KEYS = (_USER, _HOST, _COMMIT, _DIRTY, _COMMIT_TIME, _VERB)
_RELEASED_BY, _RELEASED_USER = "releaser/released-by", "releaser/released-user"
_RELEASED_COMMIT, _RELEASED_TIME = "releaser/released-commit", "releaser/released-commit-time"

_QUEUED_VERB = "deploy"


@dataclass(frozen=True)
class Lease:
    """A Lease of coordination.k8s.io. `version` changes with each write and is empty until it is stored."""

    name: str
    holder: str = ""
    since: datetime | None = None
    duration_seconds: int = LEASE_SECONDS
    transitions: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock or waits for it. `identity` is unique: user@host:pid:nonce."""

    identity: str
    source: Source
    verb: str
    since: datetime

    @property
    def commit_time(self) -> int:
        """The place in the queue; 0: unknown, or a verb that is about no commit."""
        return self.source.commit_time if self.verb == _QUEUED_VERB else 0

    def __str__(self) -> str:
        commit = f"commit {self.source.revision}, " if self.source.commit else ""
        return f"{self.source.user}@{self.source.host} ({self.verb}, {commit}since {self.since:%H:%M:%S} UTC)"


@dataclass(frozen=True)
class LastRelease:
    """The last commit that was released under the lock, and by whom."""

    identity: str
    user: str
    commit: str
    commit_time: int


def lock_name(release: str) -> str:
    return f"releaser-{release}"


def waiter_name(release: str, nonce: str) -> str:
    return f"releaser-{release}-waiter-{nonce}"


def waiting(release: str, nonce: str, holder: Holder) -> Lease:
    """A waiter's own Lease."""
    return held_by(Lease(waiter_name(release, nonce), labels={WAITS_FOR: release}), holder)


def held_by(lease: Lease, holder: Holder) -> Lease:
    """The Lease in the holder's hands; what was released last stays written on it."""
    source = holder.source
    written = {
        _USER: source.user,
        _HOST: source.host,
        _COMMIT: source.commit,
        _DIRTY: str(source.dirty).lower(),
        _COMMIT_TIME: str(holder.commit_time),
        _VERB: holder.verb,
    }
    return replace(
        lease,
        holder=holder.identity,
        since=holder.since,
        duration_seconds=LEASE_SECONDS,
        transitions=lease.transitions + (1 if lease.version else 0),
        annotations={**lease.annotations, **written},
    )


def freed(lease: Lease, released: Holder | None) -> Lease:
    """The Lease in nobody's hands. `released`: who brought a commit out under it; None: nobody did."""
    annotations = {key: value for key, value in lease.annotations.items() if key not in _HOLDER_KEYS}
    if released is not None and released.commit_time:
        annotations |= {
            _RELEASED_BY: released.identity,
            _RELEASED_USER: released.source.user,
            _RELEASED_COMMIT: released.source.commit,
            _RELEASED_TIME: str(released.commit_time),
        }
    return replace(lease, holder="", since=None, annotations=annotations)


def holder_of(lease: Lease | None) -> Holder | None:
    """Who holds it; None: nobody. A Lease that somebody wrote by hand names at least its holder."""
    if lease is None or not lease.holder:
        return None
    written = lease.annotations
    user, _, host = lease.holder.partition("@")
    return Holder(
        identity=lease.holder,
        source=Source(
            user=written.get(_USER, user),
            host=written.get(_HOST, host.partition(":")[0]),
            commit=written.get(_COMMIT, ""),
            dirty=written.get(_DIRTY) == "true",
            commit_time=_number(written.get(_COMMIT_TIME, "")),
        ),
        verb=written.get(_VERB, "unknown work"),
        since=lease.since or datetime.fromtimestamp(0, UTC),
    )


def last_release(lease: Lease | None) -> LastRelease | None:
    written = lease.annotations if lease else {}
    if _RELEASED_BY not in written:
        return None
    return LastRelease(
        identity=written[_RELEASED_BY],
        user=written.get(_RELEASED_USER, ""),
        commit=written.get(_RELEASED_COMMIT, ""),
        commit_time=_number(written.get(_RELEASED_TIME, "")),
    )


@dataclass(frozen=True)
class _Sighting:
    version: str
    unchanged_seconds: float = 0.0
    moved: bool = False


class Sightings:
    """Who lives and who is dead, judged as client-go's leader election does: by what this observer saw change, on its
    own clock. The clocks of other machines are not trusted.

    The time between two looks counts as no more than one renewal: who could not look for a while (the API server was
    away, the laptop slept) has no right to take the silence of that while for a death.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Sighting] = {}
        self._looked: float | None = None

    def look(self, leases: Iterable[Lease], now_seconds: float) -> None:
        """Take in all Leases as they are now; `now_seconds` by a monotonic clock."""
        passed = 0.0 if self._looked is None else min(now_seconds - self._looked, RENEW_SECONDS)
        self._looked = now_seconds
        self._seen = {lease.name: self._next(lease, passed) for lease in leases}

    def _next(self, lease: Lease, passed: float) -> _Sighting:
        before = self._seen.get(lease.name)
        if before is None:
            return _Sighting(lease.version)
        if before.version != lease.version:
            return _Sighting(lease.version, moved=True)
        return replace(before, unchanged_seconds=before.unchanged_seconds + passed)

    def dead(self, lease: Lease) -> bool:
        """Held, and not renewed for as long as it lasts."""
        seen = self._seen.get(lease.name)
        return bool(lease.holder) and seen is not None and seen.unchanged_seconds >= lease.duration_seconds

    def alive(self, lease: Lease) -> bool:
        """Seen to move, and not dead since."""
        seen = self._seen.get(lease.name)
        return seen is not None and seen.moved and not self.dead(lease)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
