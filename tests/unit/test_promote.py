from __future__ import annotations

from dataclasses import replace

import pytest

from releaser.errors import Declined, Refused, ReleaseFailed, UsageError
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.flows.promote import promote
from releaser.flows.rollback import rollback
from releaser.models import Deployed, PodState, Revision, Verdict
from tests.fakes import FakeCluster
from tests.unit.conftest import YES, Bench


def release(bench: Bench, *sources: str) -> None:
    """Into dev, each proven good."""
    for source in sources:
        bench.images.source = source
        deploy(bench.project, bench.target("dev"), bench.workshop, YES)


def promoted(bench: Bench, origin: str = "dev", goal: str = "prod", consent: Consent = YES) -> Deployed:
    origin_target, goal_target = bench.target(origin), bench.target(goal)
    return promote(bench.project, origin_target, bench.node, goal_target, bench.workshop, consent)


def newest(bench: Bench, environment: str) -> Revision:
    return show_history(bench.target(environment)).revisions[0]


def refusal(bench: Bench) -> Refused:
    """Why dev can't be promoted; prod was not touched."""
    with pytest.raises(Refused) as caught:
        promoted(bench)
    assert caught.value.exit_code == 4
    assert show_history(bench.target("prod")).revisions == ()
    return caught.value


def test_the_very_image_that_runs_in_dev_goes_to_prod_whatever_the_source_is_now(bench: Bench) -> None:
    release(bench, "one", "two")
    bench.images.source = "three"
    deployed = promoted(bench)
    assert (deployed.environment, deployed.image.ref, deployed.image.id) == ("prod", "web:1.0.0-two", "sha256:two")
    running = bench.world.running("web-prod", "web")
    assert running is not None and running["image"]["tag"] == "1.0.0-two"
    assert "web:1.0.0-three" not in bench.images.images
    assert running["replicaCount"] == 3  # with prod's own values


def test_the_ledger_says_what_was_promoted_and_from_where(bench: Bench) -> None:
    release(bench, "one", "two")
    promoted(bench)
    found = newest(bench, "prod")
    assert (found.verdict, found.image) == (Verdict.GOOD, "web:1.0.0-two")
    assert (found.entry.verb, found.entry.promoted_from, found.entry.image_id) == ("promote", "dev r2", "sha256:two")


def test_before_anything_else_the_origin_is_looked_at_and_what_was_found_is_shown(bench: Bench) -> None:
    release(bench, "one")
    before = len(bench.reporter.steps)
    promoted(bench)
    assert bench.reporter.steps[before] == "look at dev"
    assert "build image" not in bench.reporter.steps[before:]


def test_after_a_rollback_the_old_image_is_promoted(bench: Bench) -> None:
    release(bench, "one", "two")
    rollback(bench.target("dev"), 1, YES)
    deployed = promoted(bench)
    assert (deployed.image.id, deployed.after.entry.promoted_from) == ("sha256:one", "dev r3")


def test_what_runs_in_dev_but_was_never_proven_good_is_refused(bench: Bench) -> None:
    release(bench, "one")
    bench.helm.upgrade("web", "web-dev", bench.root, {}, {})
    refused = refusal(bench)
    assert refused.message == "revision 2 in dev was not proven good (verdict: unknown)"
    assert refused.hint == "releaser deploy dev, then promote"


def test_a_failed_revision_that_could_not_be_taken_back_is_refused(bench: Bench) -> None:
    release(bench, "one")
    bench.cluster.label_revision("web-dev", "web", 1, {"releaser/verdict": "failed.1"})
    assert "verdict: failed" in refusal(bench).message


def test_an_origin_that_is_not_installed_is_refused(bench: Bench) -> None:
    refused = refusal(bench)
    assert (refused.message, refused.hint) == ("web is not installed in dev", "releaser deploy dev")


@pytest.mark.parametrize(("found", "said"), [("sha256:evil", "sha256:evil"), ("", "nothing")])
def test_another_image_or_none_under_the_tag_in_the_node_is_refused(bench: Bench, found: str, said: str) -> None:
    release(bench, "one")
    bench.node.images["web:1.0.0-one"] = found
    refused = refusal(bench)
    assert f"Minikube fake has {said} under web:1.0.0-one, recorded was sha256:one" in refused.message
    assert refused.hint == "deploy the environment anew, then promote"


def test_without_a_recorded_digest_nothing_can_be_proven_even_if_the_node_has_nothing_either(bench: Bench) -> None:
    release(bench, "one")
    bench.cluster.close_ledger("web-dev", "web")
    bench.node.images.clear()
    assert refusal(bench).message == "no image is recorded of revision 1 in dev"


def test_a_revision_of_plain_helm_that_was_adopted_is_refused(bench: Bench) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "by plain helm"}, {})
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed):
        release(bench, "one")
    assert newest(bench, "dev").verdict is Verdict.GOOD  # the adopted one is back
    assert refusal(bench).message == "no image is recorded of revision 3 in dev"


def test_a_pod_that_runs_another_image_is_refused(bench: Bench) -> None:
    release(bench, "one")
    bench.world.releases[("web-dev", "web")].values[1]["image"]["tag"] = "1.0.0-evil"  # under the same tag
    assert "pod web-1-a runs sha256:evil, recorded was sha256:one" in refusal(bench).message


class LeavingCluster(FakeCluster):
    """Beside the pods of the newest revision an old one is still on its way out."""

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]:
        found = super().pods(namespace, release)
        return (*found, *(replace(pod, terminating=True, containers=()) for pod in found))


def test_a_pod_that_is_on_its_way_out_may_run_what_it_likes(bench: Bench) -> None:
    bench.cluster = LeavingCluster(bench.world)
    release(bench, "one")
    assert promoted(bench).image.id == "sha256:one"


def test_an_environment_is_not_promoted_to_itself(bench: Bench) -> None:
    release(bench, "one")
    with pytest.raises(UsageError, match="dev can't be promoted to itself") as caught:
        promoted(bench, "dev", "dev")
    assert caught.value.exit_code == 2
    assert len(bench.helm.history("web", "web-dev")) == 1


def test_a_protected_goal_asks_for_its_own_name(bench: Bench) -> None:
    release(bench, "one")
    with pytest.raises(Declined) as caught:
        promoted(bench, consent=Consent(False, lambda question: "dev"))
    assert caught.value.exit_code == 4
    assert bench.world.running("web-prod", "web") is None


def test_what_was_good_in_dev_and_fails_in_prod_is_taken_back_there(bench: Bench) -> None:
    release(bench, "one")
    promoted(bench)
    release(bench, "two")
    bench.values("prod", "crash: true\n")
    with pytest.raises(ReleaseFailed, match="prod: revision 2 failed: crash at start") as caught:
        promoted(bench)
    assert caught.value.exit_code == 6
    back, failed, _ = show_history(bench.target("prod")).revisions
    assert (back.content, back.verdict, back.entry.image_id) == (1, Verdict.GOOD, "sha256:one")
    assert (failed.verdict, failed.entry.promoted_from, failed.entry.cause) == (
        Verdict.FAILED,
        "dev r2",
        "crash at start",
    )
    assert newest(bench, "dev").verdict is Verdict.GOOD
