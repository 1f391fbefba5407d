from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from releaser.errors import (
    Declined,
    InvalidInput,
    LintFailed,
    LockHeld,
    Refused,
    ReleaseFailed,
    ReleaseNotRestored,
    StalePlan,
    ToolFailed,
)
from releaser.flows.deploy import Order, deploy
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.flows.plan import plan
from releaser.lease import Holder, Lease, held_by, lock_name
from releaser.models import Cause, Note, Source, Verdict
from releaser.plans import Plan
from tests.fakes import FakeCluster, FakeHelm
from tests.unit.conftest import Bench


def verdicts(bench: Bench, environment: str = "dev") -> dict[int, Verdict]:
    return {r.number: r.verdict for r in show_history(bench.target(environment)).revisions}


def test_a_deploy_builds_loads_upgrades_tests_and_is_recorded_as_good(bench: Bench, yes: Consent) -> None:
    deployed = deploy(bench.project, bench.target("dev"), bench.workshop, yes)

    assert bench.reporter.steps == [
        "lint",
        "check cluster",
        "build image",
        "load image",
        "install",
        "roll out",
        "test",
    ]
    assert deployed.before is None
    assert deployed.after.verdict is Verdict.GOOD
    assert deployed.after.image == "web:1.0.0-one"
    assert deployed.after.source.commit.startswith("c0ffee")
    assert deployed.url == "http://10.0.0.1:31181"
    running = bench.world.running("web-dev", "web")
    assert running is not None
    assert running["image"] == {"repository": "web", "tag": "1.0.0-one", "digest": ""}
    assert bench.node.images["web:1.0.0-one"] == "sha256:one"


def test_an_unchanged_source_is_neither_built_nor_sent_again(bench: Bench, yes: Consent) -> None:
    for _ in range(2):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.node.loads == 1


def test_the_first_image_of_a_version_gets_the_plain_version_as_its_name_and_keeps_it(
    bench: Bench, yes: Consent
) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.images.source = "two"
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.node.images["web:1.0.0"] == "sha256:one"
    assert bench.node.images["web:1.0.0-two"] == "sha256:two"


def test_a_crashing_build_is_taken_back_to_the_last_good_revision(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "crash: true\n")

    with pytest.raises(ReleaseFailed) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)

    assert caught.value.exit_code == 6
    assert "revision 2" in caught.value.message
    assert "crash at start" in caught.value.message
    assert "revision 1 is back as revision 3" in caught.value.detail
    assert "RuntimeError: told to" in caught.value.detail
    assert verdicts(bench) == {1: Verdict.GOOD, 2: Verdict.FAILED, 3: Verdict.GOOD}
    assert "crash" not in (bench.world.running("web-dev", "web") or {})


def test_after_two_failures_the_way_back_still_leads_to_the_good_revision(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    for fault in ("crash: true\n", "testFails: true\n"):
        bench.values("dev", fault)
        with pytest.raises(ReleaseFailed):
            deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    running = bench.world.running("web-dev", "web")
    assert running is not None and "crash" not in running and "testFails" not in running


def test_a_failing_test_fails_the_release(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "testFails: true\n")
    with pytest.raises(ReleaseFailed, match="test failed") as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "GET / 500" in caught.value.detail
    assert bench.steps("test") == [(False, "passed"), (True, "failed"), (False, "passed")]


def test_a_test_that_met_an_old_pod_is_repeated_once_without_it(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "text: b\n")
    bench.world.lingering = 2
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert verdicts(bench) == {1: Verdict.GOOD, 2: Verdict.GOOD}
    assert bench.steps("test")[1:] == [(True, "failed"), (False, "passed")]


def test_a_test_that_fails_without_the_old_pod_too_fails_the_release(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "testFails: true\n")
    bench.world.lingering = 2
    with pytest.raises(ReleaseFailed, match="test failed"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert verdicts(bench) == {1: Verdict.GOOD, 2: Verdict.FAILED, 3: Verdict.GOOD}


def test_a_rollout_that_never_ends_fails_at_its_deadline(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "stuck: true\n")
    with pytest.raises(ReleaseFailed, match="timeout"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)


def test_a_failing_first_install_is_removed(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "the first install was removed" in caught.value.detail
    assert bench.world.releases == {}
    assert bench.world.ledgers == {}
    [incident] = bench.incidents.kept.values()
    assert incident.done == "the first install was removed"


def test_a_running_revision_that_nobody_judged_is_proven_first_and_returned_to(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "by plain helm"}, {})
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert verdicts(bench) == {1: Verdict.GOOD, 2: Verdict.FAILED, 3: Verdict.GOOD}
    assert (bench.world.running("web-dev", "web") or {})["text"] == "by plain helm"


def test_without_a_good_revision_the_failed_one_is_left_and_said_so(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"testFails": True}, {})  # by plain helm: can't be proven
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseNotRestored) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert caught.value.exit_code == 7
    assert "no earlier revision was proven good" in caught.value.detail
    assert "releaser rollback dev 1" in caught.value.hint
    assert len(bench.helm.history("web", "web-dev")) == 2


def test_an_upgrade_that_the_api_server_refuses_half_way_is_taken_back(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "refused: true\n")
    with pytest.raises(ReleaseFailed, match="quota exceeded") as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "exceeded quota" in caught.value.detail
    assert "refused" not in (bench.world.running("web-dev", "web") or {})


class DyingHelm(FakeHelm):
    def upgrade(self, *args: Any) -> int:
        super().upgrade(*args)
        self.strand("web", "web-dev", "pending-upgrade")
        raise ToolFailed("While running helm upgrade: helm was killed by SIGKILL", exit_status=-9, stdout="", stderr="")


def test_a_helm_that_dies_in_mid_upgrade_is_told_from_one_that_was_refused(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.helm = DyingHelm(bench.world)
    with pytest.raises(ReleaseFailed, match="upgrade broken off") as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "killed by SIGKILL" in caught.value.detail
    assert verdicts(bench) == {1: Verdict.GOOD, 2: Verdict.FAILED, 3: Verdict.GOOD}


def test_values_that_helm_refuses_leave_no_trace(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "unknownKey: true\n")
    with pytest.raises(InvalidInput):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert len(bench.helm.history("web", "web-dev")) == 1


def test_lint_errors_stop_before_anything_is_touched(bench: Bench, yes: Consent) -> None:
    bench.charts.lint_output = "[ERROR] templates/: bad indentation"
    with pytest.raises(LintFailed) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert caught.value.findings[0].message.endswith("bad indentation")
    assert bench.images.images == {}
    assert bench.world.releases == {}


def test_a_node_port_of_another_release_is_refused_before_anything_is_built(bench: Bench, yes: Consent) -> None:
    bench.cluster = FakeCluster(bench.world, {31181: ("elsewhere", "other")})
    with pytest.raises(Refused, match="31181 is taken by service other in namespace elsewhere"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.images.images == {}


def test_the_releases_own_node_port_is_no_obstacle(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.cluster = FakeCluster(bench.world, {31181: ("web-dev", "web")})
    assert deploy(bench.project, bench.target("dev"), bench.workshop, yes).after.number == 2


def test_a_release_that_a_dead_client_left_pending_is_repaired_and_then_deployed(bench: Bench, yes: Consent) -> None:
    for source in ("one", "two"):
        bench.images.source = source
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "half"}, {})
    bench.helm.strand("web", "web-dev", "pending-upgrade")
    bench.images.source = "three"
    deployed = deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert deployed.after.number == 5
    repaired = show_history(bench.target("dev")).revisions[1]
    assert (repaired.number, repaired.content, repaired.verdict) == (4, 2, Verdict.GOOD)


def test_a_first_install_that_was_left_pending_is_removed_and_then_deployed(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {}, {})
    bench.helm.strand("web", "web-dev", "pending-install")
    assert deploy(bench.project, bench.target("dev"), bench.workshop, yes).after.number == 1


def test_somebody_who_works_with_plain_helm_is_waited_for(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {}, {})
    bench.helm.strand("web", "web-dev", "pending-upgrade")
    bench.world.settles = True
    assert deploy(bench.project, bench.target("dev"), bench.workshop, yes).after.number == 2
    assert "wait for Helm" in bench.reporter.steps


def test_more_lost_requests_than_the_budget_take_it_back(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("prod"), bench.workshop, yes)
    bench.values("prod", "replicaCount: 3\ndrops: 1\n")
    with pytest.raises(ReleaseFailed, match="requests lost") as caught:
        deploy(bench.project, bench.target("prod"), bench.workshop, yes)
    assert "1 of 100 requests were lost (1 timeout), 0 allowed" in caught.value.detail


def test_without_a_budget_lost_requests_are_told_and_fail_nothing(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "drops: 7\n")
    receipt = deploy(bench.project, bench.target("dev"), bench.workshop, yes).after.entry.receipt
    assert receipt is not None and receipt.failed == 7


def test_what_a_failed_revision_leaves_behind_is_repaired(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)

    def leave_behind() -> None:
        bench.world.edit("deployment", "web", "spec", {"paused": True})
        bench.cluster.on_rollout = lambda: None

    bench.cluster.on_rollout = leave_behind
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "paused" not in bench.world.live("deployment", "web")["spec"]


def test_evidence_is_kept_before_anything_is_rolled_back(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "secretKey: 0123456789abcdef\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "crash: true\nsecretKey: fedcba9876543210\n")
    with pytest.raises(ReleaseFailed) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    [(path, incident)] = bench.incidents.kept.items()
    assert (caught.value.cause, caught.value.incident) == (Cause.CRASH_AT_START, str(path))
    assert incident.telling_line == "RuntimeError: told to"
    assert incident.pods[0].restarts == 2  # of the failed revision: it was still there
    assert incident.changes is not None
    assert [c.line for c in incident.changes.values] == [
        "secretKey: (hidden) -> (hidden, changed)",
        "crash: (not set) -> True",
    ]
    assert incident.done == "revision 1 is back as revision 3"
    assert len(caught.value.detail.splitlines()) <= 8
    failed = show_history(bench.target("dev")).revisions[1]
    assert (failed.entry.cause, failed.entry.incident) == ("crash at start", str(path))


def test_evidence_that_can_not_be_kept_does_not_keep_the_old_state_from_coming_back(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "crash: true\n")
    bench.incidents.full = True
    with pytest.raises(ReleaseFailed, match="crash at start"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert any(isinstance(each, Note) and "disk is full" in each.text for each in bench.reporter.events)


def test_two_deploys_share_no_lock(bench: Bench, yes: Consent) -> None:
    other = Holder("bob@desk:7:x", Source("bob", "desk", "", False), "deploy", datetime(2026, 1, 1, tzinfo=UTC))
    bench.leases.create("web-dev", held_by(Lease(lock_name("web")), other))
    with pytest.raises(LockHeld, match="bob@desk"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes, Order(wait=False))
    assert bench.world.releases == {}


def test_a_deploy_leaves_the_lock_free(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert [lease.holder for lease in bench.leases.stored.values()] == [""]


# -- plans -------------------------------------------------------------------------------------------------------------


def planned(bench: Bench) -> Plan:
    return plan(bench.project, bench.target("dev"), bench.workshop, bench.live, bind_image=True)


def test_a_plan_is_deployed_when_nothing_moved(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "text: b\n")
    made = planned(bench)
    after = deploy(bench.project, bench.target("dev"), bench.workshop, yes, Order(plan=made)).after
    assert after.entry.plan == made.hash


def test_a_stale_plan_is_refused_naming_what_moved(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    made = planned(bench)
    bench.values("dev", "text: c\n")
    with pytest.raises(StalePlan) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes, Order(plan=made))
    assert "the values" in caught.value.detail
    assert len(bench.helm.history("web", "web-dev")) == 1


@pytest.mark.parametrize("answer", ["", "dev", "y"])
def test_a_protected_environment_wants_its_name(bench: Bench, answer: str) -> None:
    with pytest.raises(Declined):
        deploy(bench.project, bench.target("prod"), bench.workshop, Consent(False, lambda question: answer))
    assert bench.reporter.steps == []


def test_a_protected_environment_is_refused_where_nobody_can_be_asked(bench: Bench) -> None:
    with pytest.raises(Declined, match="--yes") as caught:
        deploy(bench.project, bench.target("prod"), bench.workshop, Consent(False, None))
    assert caught.value.exit_code == 4


def test_the_right_name_opens_the_guard(bench: Bench) -> None:
    deployed = deploy(bench.project, bench.target("prod"), bench.workshop, Consent(False, lambda question: "prod"))
    assert deployed.environment == "prod"
