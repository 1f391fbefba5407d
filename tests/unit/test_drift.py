"""drift, --fix, and the proof that a state is a revision's."""

from __future__ import annotations

import pytest

from releaser.errors import Declined, Refused, ReleaseNotRestored, ReleasePending
from releaser.flows.deploy import deploy
from releaser.flows.drift import drift
from releaser.flows.guard import Consent
from releaser.flows.restore import prove_state, repair
from releaser.objects import Mark
from releaser.plans import Drift
from tests.fakes import FakeLive
from tests.unit.conftest import Bench

NOBODY = Consent(yes=False, ask=None)


@pytest.fixture
def live(bench: Bench, yes: Consent) -> FakeLive:
    """dev, released once."""
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    return bench.live


def look(bench: Bench, *, fix: bool = False, live: FakeLive | None = None) -> Drift:
    return drift(bench.target("dev"), live or bench.live, NOBODY, fix=fix)


def scale(live: FakeLive) -> None:
    live.edit("deployment/web", lambda body: body["spec"].update(replicas=5, paused=True), "kubectl-scale")


def test_a_fresh_release_has_no_drift(bench: Bench, live: FakeLive) -> None:
    found = look(bench)
    assert (found.fields, found.revision, found.fixed) == ((), 1, False)


def test_each_field_is_told_with_who_set_it(bench: Bench, live: FakeLive) -> None:
    scale(live)
    found = {each.address: each for each in look(bench).fields}
    assert set(found) == {"spec.replicas", "spec.paused"}
    assert (found["spec.replicas"].wanted, found["spec.replicas"].live) == (1, 5)
    assert found["spec.paused"].wanted is Mark.ABSENT
    assert [owner.manager for owner in found["spec.replicas"].managers] == ["kubectl-scale"]


def test_looking_changes_nothing(bench: Bench, live: FakeLive) -> None:
    scale(live)
    assert look(bench).fields == look(bench).fields


def test_fix_puts_every_field_right(bench: Bench, live: FakeLive) -> None:
    scale(live)
    live.edit("configmap/web", lambda body: body["data"].update(more="x"))
    found = look(bench, fix=True)
    assert (len(found.fields), found.fixed) == (3, True)
    assert look(bench).fields == ()


def test_fix_without_drift_fixes_nothing(bench: Bench, live: FakeLive) -> None:
    assert not look(bench, fix=True).fixed


def test_fix_makes_a_deleted_object_again(bench: Bench, live: FakeLive) -> None:
    bench.world.objects.pop(("", "ConfigMap", "web-dev", "web"))
    assert [(each.object, each.address) for each in look(bench).fields] == [("configmap/web", "")]
    look(bench, fix=True)
    assert look(bench).fields == ()


def test_an_object_of_the_release_that_no_manifest_has_is_drift_and_goes(bench: Bench, live: FakeLive) -> None:
    stray(bench)
    assert [(each.object, each.live) for each in look(bench).fields] == [("configmap/stray", Mark.PRESENT)]
    look(bench, fix=True)
    assert look(bench).fields == ()


def stray(bench: Bench) -> None:
    body = bench.world.objects[("", "ConfigMap", "web-dev", "web")]
    identity = ("", "ConfigMap", "web-dev", "stray")
    bench.world.objects[identity] = {**body, "metadata": {**body["metadata"], "name": "stray"}}


def test_what_cannot_be_repaired_is_named_and_keeps_nothing_else_from_it(bench: Bench, live: FakeLive) -> None:
    scale(live)
    live.edit("configmap/web", lambda body: body["data"].update(text="x"))
    live.unwritable = {"configmap/web"}
    with pytest.raises(ReleaseNotRestored, match="1 fields") as caught:
        look(bench, fix=True, live=live)
    assert caught.value.detail == "configmap/web data.text"
    assert {each.object for each in look(bench).fields} == {"configmap/web"}


def test_a_repaired_deployment_is_followed(bench: Bench, live: FakeLive) -> None:
    scale(live)
    look(bench, fix=True)
    assert bench.reporter.steps[-2:] == ["repair", "roll out"]


def test_a_protected_environment_is_not_fixed_without_consent(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("prod"), bench.workshop, yes)
    scale(bench.live)
    with pytest.raises(Declined):
        drift(bench.target("prod"), bench.live, NOBODY, fix=True)
    assert len(drift(bench.target("prod"), bench.live, NOBODY, fix=False).fields) == 2


def test_what_is_not_installed_has_no_drift_to_look_for(bench: Bench) -> None:
    with pytest.raises(Refused, match="not installed"):
        look(bench)


def test_a_release_in_the_middle_of_an_operation_is_left_alone(bench: Bench, live: FakeLive) -> None:
    bench.helm.strand("web", "web-dev", "pending-upgrade")
    with pytest.raises(ReleasePending):
        look(bench)


def test_live_is_held_against_the_revision_that_helm_calls_deployed(bench: Bench, live: FakeLive) -> None:
    bench.helm.strand("web", "web-dev", "deployed")
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "new"}, {})
    bench.helm.strand("web", "web-dev", "failed")
    assert look(bench).revision == 1  # which a failed one does not supersede
    bench.helm.rollback("web", "web-dev", 1)
    assert (look(bench).revision, look(bench).fields) == (3, ())


def test_a_secret_is_seen_to_change_and_never_read(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "extra: aHVudGVyMg==\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.live.edit("secret/web", lambda body: body["data"].update(key="b3RoZXI="))
    [field] = look(bench).fields
    assert (field.wanted, field.live) == (Mark.HIDDEN, Mark.CHANGED)


def test_a_state_is_proven_against_any_revision(bench: Bench, live: FakeLive) -> None:
    target, first = bench.target("dev"), bench.helm.manifest("web", "web-dev", 1)
    bench.helm.upgrade("web", "web-dev", bench.root, {"image": {"tag": "new"}, "extra": "eA=="}, {})
    second = bench.helm.manifest("web", "web-dev", 2)
    assert prove_state(target, live, second) == ()
    image = "spec.template.spec.containers[web].image"
    # without the second manifest nobody knows that Secrets are to be looked at
    assert {each.address for each in prove_state(target, live, first)} == {image}
    found = {(each.object_ref, each.address) for each in prove_state(target, live, first, second)}
    assert found == {("deployment/web", image), ("secret/web", "")}
    assert repair(target, live, first, second) == ()
    assert prove_state(target, live, first, second) == ()
