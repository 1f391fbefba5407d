"""Several deploys at once: they wait for each other, and the newest commit wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.broken import greeting
from tests.cluster.site import Site
from tests.cluster.traffic import asking

pytestmark = pytest.mark.cluster


@pytest.fixture
def checkouts(site: Site, tmp_path: Path) -> list[tuple[str, Site]]:
    """A good first release, and three younger commits, oldest first, each in a directory of its own."""
    greeting(site, "zero")
    site.commit("zero")
    site.releaser("deploy", "dev")
    commits = []
    for name in ("one", "two", "three"):
        greeting(site, name)
        commits.append(site.commit(name))
    return [(commit, site.checkout(tmp_path / commit, commit)) for commit in commits]


def test_three_deploys_at_once_all_end_well_and_the_newest_commit_serves(
    site: Site, checkouts: list[tuple[str, Site]]
) -> None:
    with asking(site.url) as traffic:
        running = [checkout.start("deploy", "dev") for _, checkout in checkouts]
        ended = [each.end() for each in running]

    assert all("is in progress" not in each.stderr for each in ended)
    *older, newest = [each.code for each in ended]
    assert newest == 0, ended[-1].stderr
    assert set(older) <= {0, 4}, "\n".join(each.stderr for each in ended)
    _require_serving(site, checkouts[-1][0])
    assert not traffic.failed, traffic.failed[:5]


def test_an_older_commit_behind_a_newer_one_is_dropped(site: Site, checkouts: list[tuple[str, Site]]) -> None:
    (_, oldest), _, (newest_commit, newest) = checkouts
    newest.values("dev", rollout={"minReadySeconds": 15})  # longer than the other takes to come to the lock
    first = newest.start("deploy", "dev")
    first.until("StepStarted", "upgrade")
    dropped = oldest.run("deploy", "dev")

    assert first.end().code == 0
    assert dropped.code == 4, dropped.stderr
    assert newest_commit[:9] in dropped.error["message"] + dropped.error["detail"]
    _require_serving(site, newest_commit)


def test_without_waiting_a_held_lock_is_refused_and_its_holder_named(
    site: Site, checkouts: list[tuple[str, Site]]
) -> None:
    (_, oldest), (second_commit, second), _ = checkouts
    first = second.start("deploy", "dev")
    first.until("StepStarted", "upgrade")
    refused = oldest.run("deploy", "dev", "--no-wait-lock")

    assert refused.code == 4, refused.stderr
    assert second_commit[:9] in refused.error["message"] + refused.error["detail"]
    assert first.end().code == 0
    _require_serving(site, second_commit)


def _require_serving(site: Site, commit: str) -> None:
    newest = site.history()[0]
    assert (newest["source"]["commit"], newest["status"], newest["verdict"]) == (commit, "deployed", "good")
    assert site.get()["message"] == site._git("log", "-1", "--format=%s", commit)
