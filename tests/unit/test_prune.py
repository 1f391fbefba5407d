from __future__ import annotations

from contextlib import suppress

import pytest

from releaser.errors import LockHeld, ReleaseFailed
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.prune import prune
from releaser.flows.release import locked
from releaser.lease import Lease
from releaser.models import Pruned, Verdict
from tests.unit.conftest import Bench
from tests.unit.test_render_history import shown


@pytest.fixture
def three(bench: Bench, yes: Consent) -> Bench:
    """Images of three deploys, of which the second one failed."""
    for source, values in (("one", "crash: false\n"), ("two", "crash: true\n"), ("three", "crash: false\n")):
        bench.images.source = source
        bench.values("dev", values)
        with suppress(ReleaseFailed):
            deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    return bench


def pruned(bench: Bench, *, dry_run: bool = False, wait: bool = True) -> Pruned:
    targets = [bench.target("dev"), bench.target("prod")]
    shelves = [bench.node, bench.images]
    return prune(bench.project, targets, shelves, bench.images, bench.reporter, dry_run=dry_run, wait=wait)


def test_only_what_no_rollback_can_reach_goes(three: Bench) -> None:
    removed = pruned(three).removed
    assert removed == {"web:1.0.0-two"}
    assert set(three.node.images) == {"web:1.0.0", "web:1.0.0-one", "web:1.0.0-three"}
    assert set(three.images.images) == {"web:1.0.0-one", "web:1.0.0-three"}


def test_a_dry_run_says_the_same_and_touches_nothing(three: Bench) -> None:
    before = dict(three.node.images), dict(three.images.images)
    told = pruned(three, dry_run=True)
    assert told.removed == {"web:1.0.0-two"}
    assert (three.node.images, three.images.images) == before
    assert three.node.swept == 0
    assert pruned(three).removed == told.removed


def test_what_a_pod_somewhere_names_stays_under_whichever_name(three: Bench) -> None:
    three.cluster.named_elsewhere = {"docker.io/library/web:1.0.0-two"}
    assert pruned(three).removed == frozenset()


def test_the_image_of_the_source_as_it_is_stays(three: Bench) -> None:
    three.images.source = "two"
    assert pruned(three).removed == frozenset()


def test_images_of_others_are_not_looked_at(three: Bench) -> None:
    three.node.images |= {"webshop:1": "sha256:1", "other/web:1": "sha256:2"}
    pruned(three)
    assert {"webshop:1", "other/web:1"} <= set(three.node.images)


def test_what_is_held_stays_and_is_told_as_kept(three: Bench) -> None:
    three.images.held = {"web:1.0.0-two"}
    node, docker = pruned(three).shelves
    assert node.removed == ("web:1.0.0-two",)
    assert docker.removed == () and "web:1.0.0-two" in docker.kept


def test_what_broken_off_transfers_left_is_swept(three: Bench) -> None:
    pruned(three)
    assert three.node.swept == 1


def test_while_somebody_releases_nothing_goes(three: Bench) -> None:
    with locked(three.target("dev"), "deploy", wait=False), pytest.raises(LockHeld):
        pruned(three, wait=False)
    assert "web:1.0.0-two" in three.node.images


def test_who_waited_for_the_lock_while_the_image_went_loads_it_again(
    bench: Bench, yes: Consent, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = bench.leases.create

    def taken_away(namespace: str, lease: Lease) -> Lease | None:
        bench.node.images.clear()
        return create(namespace, lease)

    monkeypatch.setattr(bench.leases, "create", taken_away)
    deployed = deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert deployed.after.verdict is Verdict.GOOD
    assert bench.node.images["web:1.0.0-one"] == "sha256:one"


def test_it_is_shown_line_by_line_and_says_how_to_go_on(three: Bench) -> None:
    assert shown(pruned(three, dry_run=True)) == ["would go  web:1.0.0-two", "releaser prune --yes removes them"]
    assert shown(pruned(three)) == ["removed  web:1.0.0-two"]
    assert shown(pruned(three)) == ["nothing to remove"]
