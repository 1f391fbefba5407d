from __future__ import annotations

import pytest

from releaser.errors import Declined, NothingToRollBackTo, Refused, ReleaseFailed, ReleaseNotRestored
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.rollback import rollback
from releaser.models import Note, Verdict
from tests.unit.conftest import Bench


def release(bench: Bench, yes: Consent, *sources: str) -> None:
    for source in sources:
        bench.images.source = source
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)


def running_tag(bench: Bench) -> str:
    running = bench.world.running("web-dev", "web")
    assert running is not None
    return str(running["image"]["tag"])


def test_a_rollback_goes_to_the_good_revision_before(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one", "two")
    rolled = rollback(bench.target("dev"), None, yes)
    assert (rolled.before.number, rolled.target.number, rolled.after.number) == (2, 1, 3)
    assert rolled.after.verdict is Verdict.GOOD
    assert rolled.after.image == "web:1.0.0-one"
    assert running_tag(bench) == "1.0.0-one"


def test_failed_revisions_are_skipped(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one", "two")
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed):
        deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    # revision 4 is revision 2 again: going back from it means revision 1, not a twin of what runs
    rolled = rollback(bench.target("dev"), None, yes)
    assert rolled.target.number == 1


def test_a_verdict_that_helm_copied_to_a_rollback_does_not_make_it_good(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one", "two")
    bench.helm.rollback("web", "web-dev", 1)  # by plain helm: labels of revision 1, never proven
    rolled = rollback(bench.target("dev"), None, yes)
    assert rolled.before.verdict is Verdict.UNKNOWN
    assert rolled.target.number == 2


def test_a_chosen_revision_is_returned_to_even_when_it_was_never_proven_but_with_a_warning(
    bench: Bench, yes: Consent
) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"testFails": True}, {})
    release(bench, yes, "one")
    bench.world.releases[("web-dev", "web")].values[1] = {"image": {"tag": "plain"}}  # its tests would pass by now
    rolled = rollback(bench.target("dev"), 1, yes)
    assert rolled.target.number == 1
    assert any(
        isinstance(event, Note) and event.warning and "never proven" in event.text for event in bench.reporter.events
    )


def test_a_rollback_ends_a_release_that_was_left_pending(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one", "two")
    bench.helm.strand("web", "web-dev", "pending-upgrade")
    assert rollback(bench.target("dev"), None, yes).target.number == 1


def test_what_runs_already_is_refused(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one", "two")
    with pytest.raises(Refused, match="is what runs now"):
        rollback(bench.target("dev"), 2, yes)


def test_an_unknown_revision_is_named(bench: Bench, yes: Consent) -> None:
    release(bench, yes, "one")
    with pytest.raises(NothingToRollBackTo, match="no revision 9"):
        rollback(bench.target("dev"), 9, yes)


@pytest.mark.parametrize("sources", [(), ("one",)])
def test_without_an_earlier_good_revision_nothing_is_touched(
    bench: Bench, yes: Consent, sources: tuple[str, ...]
) -> None:
    release(bench, yes, *sources)
    with pytest.raises(NothingToRollBackTo) as caught:
        rollback(bench.target("dev"), None, yes)
    assert caught.value.exit_code == 4
    assert len(bench.helm.history("web", "web-dev")) == len(sources)


def test_a_target_that_fails_again_is_not_called_restored(bench: Bench, yes: Consent) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"crash": True, "image": {"tag": "plain"}}, {})
    release(bench, yes, "one")
    with pytest.raises(ReleaseNotRestored, match="crash at start") as caught:
        rollback(bench.target("dev"), 1, yes)
    assert caught.value.exit_code == 7


def test_a_protected_environment_is_asked_for_with_the_revision_named(bench: Bench, yes: Consent) -> None:
    asked: list[str] = []

    def decline(question: str) -> str:
        asked.append(question)
        return "no"

    for source in ("one", "two"):
        bench.images.source = source
        deploy(bench.project, bench.target("prod"), bench.workshop, yes)
    with pytest.raises(Declined):
        rollback(bench.target("prod"), None, Consent(False, decline))
    assert "revision 1" in asked[0]
    assert len(bench.helm.history("web", "web-prod")) == 2
