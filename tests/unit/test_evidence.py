"""What is kept of a failed release: through the flows with fakes, and as files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from releaser.adapters.incidents import IncidentDirectory
from releaser.errors import EnvironmentUnfit, ReleaseFailed, ReleaseNotRestored
from releaser.flows.deploy import deploy
from releaser.flows.evidence import Kept, conclude, take_down
from releaser.flows.release import revisions_of
from releaser.flows.target import Target
from releaser.incident import ContainerLog, Incident
from releaser.models import (
    Cause,
    Image,
    Note,
    ObjectEvent,
    PodProblem,
    PodState,
    Receipt,
    Revision,
    Source,
    StepEnded,
    Values,
    Verdict,
)
from tests.fakes import FakeCluster, FakeHelm, FakeIncidents, pod
from tests.unit.conftest import YES, Bench

OLD, NEW, INSIDE = "old-0123456789", "new-9876543210", "inside-a-secret-object"
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = Image("web", "1.0.0-two", "sha256:two")


class TalkativeCluster(FakeCluster):
    """Whose containers and events tell every secret, and the last run of a container its end."""

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str:
        said = super().log(namespace, pod, container, previous=previous, lines=lines)
        return f"connecting with {OLD} {NEW} {INSIDE}\n{said}: {NEW}" if previous else f"starting with {NEW}"

    def events(self, namespace: str, since: datetime) -> tuple[ObjectEvent, ...]:
        return (ObjectEvent("1", "pod/web-1-a", "BackOff", f"restarting, KEY={NEW}", warning=True),)


class DeafCluster(FakeCluster):
    """Has no logs, or nothing at all, to give."""

    def __init__(self, bench: Bench, *, no_pods: bool) -> None:
        super().__init__(bench.world)
        self.no_pods = no_pods

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str:
        raise EnvironmentUnfit("While reading a log: the node does not answer")

    def witnesses(self, namespace: str, release: str, since: datetime) -> tuple[PodState, ...]:
        if self.no_pods:
            raise EnvironmentUnfit("While listing pods: the API server does not answer")
        return super().witnesses(namespace, release, since)


class ForgetfulHelm(FakeHelm):
    """Can't tell what some revisions were made of."""

    forgotten: tuple[int, ...] = ()

    def values(self, release: str, namespace: str, number: int) -> Values:
        if number in self.forgotten:
            raise EnvironmentUnfit("While running helm get values: the API server does not answer")
        return super().values(release, namespace, number)


class WitnessingIncidents(FakeIncidents):
    """Remembers which revision ran when each incident was written."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self.seen: list[tuple[int, str]] = []

    def save(self, incident: Incident, path: Path | None = None) -> Path:
        self.seen.append((self._bench.helm.history("web", "web-dev")[-1].number, incident.done))
        return super().save(incident, path)


def broken_deploy(bench: Bench, target: Target | None = None) -> ReleaseFailed:
    """A good release, then one that crashes."""
    bench.values("dev", f"secretKey: {OLD}\nextra: {INSIDE}\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, YES)
    bench.images.source = "two"
    bench.values("dev", f"secretKey: {NEW}\nextra: {INSIDE}\ncrash: true\n")
    with pytest.raises(ReleaseFailed) as caught:
        deploy(bench.project, target or bench.target("dev"), bench.workshop, YES)
    return caught.value


def warnings(bench: Bench) -> list[str]:
    return [event.text for event in bench.reporter.events if isinstance(event, Note) and event.warning]


def taken_down(bench: Bench, *problems: PodProblem, receipt: Receipt | None = None, **values: str) -> Kept:
    """Of revision 2, which crashes and has these values, too, after the good revision 1."""
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "a"}, {"releaser/verdict": "good.1"})
    bench.helm.upgrade("web", "web-dev", bench.root, {"text": "b", "crash": True, **values}, {})
    target = bench.target("dev")
    failed, good = revisions_of(target)
    return take_down(target, failed, IMAGE, problems, good, WHEN, receipt)


PROBLEM = PodProblem(Cause.CRASH_AT_START, "pod web-1-a, container web", "ended", pod="web-1-a", container="web")


# -- the flow ----------------------------------------------------------------------------------------------------------


def test_it_is_kept_while_the_failed_revision_runs_and_completed_when_the_good_one_is_back(bench: Bench) -> None:
    incidents = WitnessingIncidents(bench)
    bench.incidents = incidents
    broken_deploy(bench)
    assert incidents.seen == [(2, ""), (3, "revision 1 is back as revision 3")]
    assert len(incidents.kept) == 1  # the same one, written anew


def test_no_secret_is_in_any_of_the_files_and_that_it_changed_is(bench: Bench, tmp_path: Path) -> None:
    bench.cluster = TalkativeCluster(bench.world)
    target = replace(bench.target("dev"), incidents=IncidentDirectory(tmp_path / "incidents"))
    failure = broken_deploy(bench, target)
    texts = {file.name: file.read_text() for file in (tmp_path / "incidents" / "web-r2").rglob("*") if file.is_file()}
    assert sorted(texts) == ["incident.json", "report.md", "web-1-a.web.log", "web-1-a.web.previous.log"]
    for name, text in [*texts.items(), ("the screen", failure.detail)]:
        assert not [secret for secret in (OLD, NEW, INSIDE) if secret in text], name
    assert texts["web-1-a.web.previous.log"].startswith("connecting with (hidden) (hidden, changed) (hidden)\n")
    assert "restarting, KEY=(hidden, changed)" in texts["report.md"]
    assert "secretKey: (hidden) -> (hidden, changed)" in texts["report.md"]
    assert "RuntimeError: told to: (hidden, changed)" in texts["report.md"]


def test_a_traceback_of_the_releases_tests_is_masked_too(bench: Bench) -> None:
    log = f'Traceback (most recent call last):\n  File "check.py", line 1\nKeyError: {NEW}\n'
    problem = PodProblem(Cause.TEST_FAILED, "helm test web", f"KeyError: {NEW}", log=log)
    found = taken_down(bench, problem, secretKey=NEW).incident
    assert NEW not in repr(found)
    assert found.telling_line == found.problem.message == "KeyError: (hidden, changed)"
    assert found.traceback.endswith("KeyError: (hidden, changed)")


class RefusingCluster(FakeCluster):
    """Whose kubelet can't start containers, and says what it was told to start."""

    def witnesses(self, namespace: str, release: str, since: datetime) -> tuple[PodState, ...]:
        said = f"exec: KEY={NEW}: no such file"
        return tuple(
            replace(
                each,
                containers=tuple(replace(one, waiting_message=said) for one in each.containers),
                init_containers=tuple(replace(one, waiting_message=said) for one in each.containers),
            )
            for each in super().witnesses(namespace, release, since)
        )


def test_what_the_kubelet_and_helm_say_is_masked_too(bench: Bench) -> None:
    bench.cluster = RefusingCluster(bench.world)
    bench.helm.upgrade("web", "web-dev", bench.root, {"secretKey": NEW}, {})
    target = bench.target("dev")
    [failed] = revisions_of(target)
    failed = replace(failed, description=f"Upgrade failed: Invalid value: {NEW}")
    found = take_down(target, failed, IMAGE, (PROBLEM,), None, WHEN, None).incident
    assert NEW not in repr(found)
    assert found.revision.description == "Upgrade failed: Invalid value: (hidden)"
    assert [each.waiting_message for each in (*found.pods[0].containers, *found.pods[0].init_containers)] == [
        "exec: KEY=(hidden): no such file"
    ] * 2


@pytest.mark.parametrize("forgotten", [1, 2])
def test_while_it_is_not_known_what_is_secret_no_text_is_kept(bench: Bench, forgotten: int) -> None:
    bench.cluster = TalkativeCluster(bench.world)
    helm = ForgetfulHelm(bench.world)
    helm.forgotten = (forgotten,)
    bench.helm = helm
    problem = replace(PROBLEM, message=f"bad key {NEW}")
    found = taken_down(bench, problem, secretKey=NEW).incident
    assert NEW not in repr(found)
    assert (found.problem.cause, found.problem.where, found.problem.message) == (
        Cause.CRASH_AT_START,
        PROBLEM.where,
        "(hidden)",
    )
    assert [log.text for log in found.logs] == ["(hidden)", "(hidden)"] and found.changes is None
    assert warnings(bench)[0].startswith("while comparing with the last good revision: While running helm get values")


def test_logs_that_can_not_be_read_do_not_keep_the_old_state_from_coming_back(bench: Bench) -> None:
    bench.cluster = DeafCluster(bench, no_pods=False)
    failure = broken_deploy(bench)
    assert "revision 1 is back as revision 3" in failure.detail
    assert warnings(bench)[0] == ("while reading the logs of web-1-a: While reading a log: the node does not answer")
    [incident] = bench.incidents.kept.values()
    assert (incident.logs, incident.telling_line) == ((), "")
    assert incident.pods and incident.changes is not None  # what could be had


def test_without_pods_there_is_still_the_cause_and_what_changed(bench: Bench) -> None:
    bench.cluster = DeafCluster(bench, no_pods=True)
    broken_deploy(bench)
    [incident] = bench.incidents.kept.values()
    assert incident.problem.cause is Cause.CRASH_AT_START and incident.pods == ()
    assert incident.changes is not None and incident.changes.image_after == "web:1.0.0-two"
    assert incident.done == "revision 1 is back as revision 3"


def test_a_way_back_that_fails_is_in_the_incident_too(bench: Bench) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"testFails": True}, {})  # by plain helm: can't be proven
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseNotRestored) as caught:
        deploy(bench.project, bench.target("dev"), bench.workshop, YES)
    [(path, incident)] = bench.incidents.kept.items()
    assert incident.done.startswith("going back failed: no earlier revision was proven good")
    assert caught.value.incident == str(path)


def test_the_first_problem_is_the_incidents_and_the_others_are_kept_with_it(bench: Bench) -> None:
    other = PodProblem(Cause.NEVER_READY, "pod web-1-b", "GET /readyz 503")
    receipt = Receipt(100, 7, 0.1, 0.004, 0.02, 20.0)
    incident = taken_down(bench, PROBLEM, other, receipt=receipt).incident
    assert (incident.problem, incident.problems, incident.receipt) == (PROBLEM, (PROBLEM, other), receipt)
    assert (incident.name, incident.namespace, incident.context) == ("web-r2", "web-dev", "fake")
    assert [(log.file_name, log.text.splitlines()[-1]) for log in incident.logs] == [
        ("web-1-a.web.previous.log", "RuntimeError: told to"),
        ("web-1-a.web.log", "RuntimeError: told to"),
    ]
    assert incident.telling_line == "RuntimeError: told to"
    assert incident.changes is not None
    assert [change.line for change in incident.changes.values] == ["text: a -> b", "crash: (not set) -> True"]
    assert '-{"apiVersion": "v1", "kind": "ConfigMap"' in incident.changes.manifest


def test_a_problem_that_brings_its_own_log_is_told_by_that_one(bench: Bench) -> None:
    test = PodProblem(Cause.TEST_FAILED, "helm test web", "GET / 500", log="GET /livez 200\nGET / failed: 500\n")
    assert taken_down(bench, test).incident.telling_line == "GET / failed: 500"


def test_what_can_not_be_written_is_said_and_not_completed_either(bench: Bench) -> None:
    bench.incidents.full = True
    kept = taken_down(bench, PROBLEM)
    assert kept.path is None and kept.incident.problem == PROBLEM
    assert warnings(bench) == ["while keeping the incident: While keeping the incident: the disk is full"]
    bench.incidents.full = False
    conclude(bench.target("dev"), kept, "revision 1 is back")
    assert bench.incidents.kept == {}


def test_where_the_incident_is_stands_in_the_step(bench: Bench) -> None:
    kept = taken_down(bench, PROBLEM)
    [step] = [event for event in bench.reporter.events if isinstance(event, StepEnded)]
    assert (step.name, step.detail) == ("keep evidence", str(kept.path))


# -- the files ---------------------------------------------------------------------------------------------------------


def incident(number: int = 2, *logs: ContainerLog, done: str = "") -> Incident:
    source = Source("ann", "laptop", "c0ffee1", False)
    return Incident(
        environment="dev",
        release="web",
        namespace="web-dev",
        context="fake",
        revision=Revision(number, "failed", Verdict.UNKNOWN, WHEN, source, IMAGE.ref, "", number),
        image=IMAGE,
        at=WHEN,
        problem=PROBLEM,
        problems=(PROBLEM,),
        telling_line="RuntimeError: told to",
        traceback="",
        changes=None,
        pods=(pod("web-1-a", {"crash": True}),),
        events=(ObjectEvent("1", "pod/web-1-a", "BackOff", "restarting", last_seen=WHEN),),
        logs=logs,
        done=done,
    )


LOG = ContainerLog("web-1-a", "web", True, "Größe: 3\n")
# longer than any file name may be
UNWRITABLE = ContainerLog("x" * 300, "web", False, "never kept")


def names(directory: Path) -> list[str]:
    """Everything in there, hidden things too."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_an_incident_is_a_directory_named_after_release_and_revision(tmp_path: Path) -> None:
    path = IncidentDirectory(tmp_path / "deep" / "incidents").save(incident(2, LOG))
    assert path == tmp_path / "deep" / "incidents" / "web-r2"
    assert names(path) == ["incident.json", "logs", "logs/web-1-a.web.previous.log", "report.md"]
    assert (path / "logs" / LOG.file_name).read_text(encoding="utf-8") == "Größe: 3\n"
    document = json.loads((path / "incident.json").read_text(encoding="utf-8"))
    assert (document["revision"]["number"], document["problem"]["cause"]) == (2, "crash at start")
    assert document["at"] == document["events"][0]["last_seen"] == "2026-01-01T00:00:00+00:00"
    assert (path / "report.md").read_text(encoding="utf-8").startswith("# web: revision 2 failed in dev\n")


def test_an_earlier_incident_of_the_same_name_is_never_written_over(tmp_path: Path) -> None:
    directory = IncidentDirectory(tmp_path)
    paths = [directory.save(incident(2, done=done)) for done in ("first", "second", "third")]
    assert [path.name for path in paths] == ["web-r2", "web-r2.2", "web-r2.3"]
    assert [json.loads((path / "incident.json").read_text())["done"] for path in paths] == ["first", "second", "third"]


def test_an_incident_is_completed_where_it_is(tmp_path: Path) -> None:
    directory = IncidentDirectory(tmp_path)
    path = directory.save(incident(2, LOG))
    assert directory.save(incident(2, LOG, done="revision 1 is back"), path) == path
    assert names(tmp_path) == ["web-r2", *(f"web-r2/{name}" for name in names(path))]
    assert "- done: revision 1 is back" in (path / "report.md").read_text()


def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "incidents").write_text("a file")
    with pytest.raises(EnvironmentUnfit, match=r"While keeping the incident in .*/incidents: ") as caught:
        IncidentDirectory(tmp_path / "incidents").save(incident())
    assert caught.value.exit_code == 5


def test_an_incident_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    directory = IncidentDirectory(tmp_path)
    with pytest.raises(EnvironmentUnfit):
        directory.save(incident(2, LOG, UNWRITABLE))
    assert names(tmp_path) == []
    assert directory.save(incident(2, LOG)).name == "web-r2"


def test_an_incident_that_can_not_be_completed_stays_as_it_was(tmp_path: Path) -> None:
    directory = IncidentDirectory(tmp_path)
    path = directory.save(incident(2, LOG))
    before = {name: (path / name).read_bytes() for name in names(path) if (path / name).is_file()}
    with pytest.raises(EnvironmentUnfit):
        directory.save(incident(2, replace(LOG, text="other"), UNWRITABLE, done="revision 1 is back"), path)
    assert {name: (path / name).read_bytes() for name in names(path) if (path / name).is_file()} == before
