"""A release's whole life under 200 requests a second, none of which may be lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.broken import crash_at_start, greeting
from tests.cluster.site import Site
from tests.cluster.traffic import asking

pytestmark = pytest.mark.cluster

PER_SECOND = 200


@contextmanager
def loaded(site: Site) -> Iterator[None]:
    """Under load from before the body begins until after it ended. Fails when a request was lost, or too few sent."""
    began = time.monotonic()
    with asking(site.url, PER_SECOND) as traffic:
        yield
    sent, seconds = len(traffic.answers), time.monotonic() - began
    assert not traffic.failed, (
        f"{len(traffic.failed)} of {sent} lost: "
        f"{[f'{each.due - began:.1f} s: {each.error}' for each in traffic.failed[:5]]}"
    )
    assert sent > 0.9 * PER_SECOND * seconds, f"only {sent} requests in {seconds:.0f} s: this machine is too busy"


def test_upgrade_broken_upgrade_automatic_and_manual_return_lose_no_request(site: Site) -> None:
    greeting(site, "First")
    site.releaser("deploy", "dev")
    # from the very moment on at which the installation says that it is done

    with loaded(site):
        greeting(site, "Second")
        site.releaser("deploy", "dev")
    assert site.get()["message"] == "Second"

    with loaded(site):
        crash_at_start(site)
        site.releaser("deploy", "dev", code=6)
    assert site.get()["message"] == "Second"

    with loaded(site):
        assert site.json("rollback", "dev", "1")["target"]["number"] == 1
    assert site.get()["message"] == "First"
