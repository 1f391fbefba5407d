from __future__ import annotations

import pytest

from releaser.errors import (
    Declined,
    InvalidInput,
    LintFailed,
    Refused,
    ReleaseFailed,
    ReleaseNotRestored,
    ReleasePending,
)
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.models import Verdict
from tests.fakes import FakeCluster
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
    assert "revision 1 is back as revision 3" in caught.value.message
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


def test_a_rollout_that_never_ends_fails_at_its_deadline(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "stuck: true\n")
    with pytest.raises(ReleaseFailed, match="timeout"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)


def test_a_failing_first_install_is_removed(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed, match="first install was removed"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.world.releases == {}


def test_without_a_good_revision_the_failed_one_is_left_and_said_so(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {}, {})  # by plain helm: never proven
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseNotRestored, match="was proven good") as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert caught.value.exit_code == 7
    assert len(bench.helm.history("web", "web-dev")) == 2


def test_an_upgrade_that_the_api_server_refuses_half_way_is_taken_back(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "refused: true\n")
    with pytest.raises(ReleaseFailed, match="refused by the API server") as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert "exceeded quota" in caught.value.detail
    assert "refused" not in (bench.world.running("web-dev", "web") or {})


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
    assert bench.images.built == {}
    assert bench.world.releases == {}


def test_a_node_port_of_another_release_is_refused_before_anything_is_built(bench: Bench, yes: Consent) -> None:
    bench.cluster = FakeCluster(bench.world, {31181: ("elsewhere", "other")})
    with pytest.raises(Refused, match="31181 is taken by service other in namespace elsewhere"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.images.built == {}


def test_the_releases_own_node_port_is_no_obstacle(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.cluster = FakeCluster(bench.world, {31181: ("web-dev", "web")})
    assert deploy(bench.project, bench.target("dev"), bench.workshop, yes).after.number == 2


def test_a_pending_release_is_refused(bench: Bench, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.helm.strand("web", "web-dev", "pending-upgrade")
    with pytest.raises(ReleasePending, match="pending-upgrade"):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)


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
