from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from releaser.errors import BuildFailed, LockHeld, Refused
from releaser.flows.deploy import deploy
from releaser.flows.dev import dev
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.flows.release import locked
from releaser.interrupts import Interrupted
from releaser.models import Developed, Image, Note, PodState, Snapshot, Verdict
from tests.fakes import FakeContainers
from tests.unit.conftest import Bench
from tests.unit.test_render_history import shown


class Editor:
    """Saves one thing after the other, each when the last one was dealt with; then presses Ctrl-C."""

    def __init__(self, *saves: Callable[[], object], files: frozenset[Path] = frozenset()) -> None:
        self._files = files
        self._saves = list(saves)
        self.impatient = False

    def wait(self) -> frozenset[Path]:
        self.impatient = False
        if not self._saves:
            raise Interrupted
        self._saves.pop(0)()
        return self._files

    def pending(self) -> bool:
        return self.impatient


def source(bench: Bench, text: str) -> Callable[[], None]:
    return lambda: setattr(bench.images, "source", text)


def values(bench: Bench, text: str) -> Callable[[], None]:
    return lambda: bench.values("dev", text)


def developed(bench: Bench, *saves: Callable[[], object], editor: Editor | None = None) -> Developed:
    return dev(lambda: bench.project, bench.target("dev"), bench.workshop, editor or Editor(*saves), FakeContainers())


def notes(bench: Bench) -> list[str]:
    return [event.text for event in bench.reporter.events if isinstance(event, Note) and "Ctrl-C" not in event.text]


def test_each_save_is_released_and_told(bench: Bench) -> None:
    assert developed(bench, source(bench, "two"), source(bench, "three")) == Developed("dev", 3, 0)
    running = bench.world.running("web-dev", "web")
    assert running and running["image"]["tag"] == "1.0.0-three"
    assert [note.split()[0] for note in notes(bench)] == ["web:1.0.0-one", "web:1.0.0-two", "web:1.0.0-three"]


def test_what_it_releases_never_counts_as_proven(bench: Bench) -> None:
    developed(bench)
    [made] = show_history(bench.target("dev")).revisions
    assert (made.verdict, made.entry.verb, made.entry.image_id) == (Verdict.UNKNOWN, "dev", "sha256:one")


def test_a_save_that_changes_nothing_that_counts_releases_nothing(bench: Bench) -> None:
    note = bench.root / "notes.md"
    assert developed(bench, lambda: note.write_text("x")) == Developed("dev", 1, 0)


def test_values_and_chart_count_as_well(bench: Bench) -> None:
    template = bench.project.chart / "templates" / "new.yaml"
    template.parent.mkdir(exist_ok=True)
    saves = [values(bench, "replicaCount: 5\n"), lambda: template.write_text("{}\n")]
    assert developed(bench, *saves).releases == 3
    running = bench.world.running("web-dev", "web")
    assert running and running["replicaCount"] == 5


def test_its_own_values_lie_over_the_environments(bench: Bench) -> None:
    with (bench.root / "releaser.yaml").open("a") as file:
        file.write("dev: {values: {replicaCount: 7}}\n")
    developed(bench)
    running = bench.world.running("web-dev", "web")
    assert running and running["replicaCount"] == 7 and running["service"]["nodePort"] == 31181


def test_a_build_that_fails_is_told_and_the_next_save_mends_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    build = bench.images.build

    def failing(image: Image, *arguments: object) -> Image:
        if "two" in image.tag:
            raise BuildFailed("While building: a step failed", detail="SyntaxError: line 3")
        return build(image, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.images, "build", failing)
    assert developed(bench, source(bench, "two"), source(bench, "three")) == Developed("dev", 2, 1)
    assert any("SyntaxError: line 3" in note for note in notes(bench))


def test_pods_that_fail_are_told_with_their_last_words_and_stay(bench: Bench) -> None:
    assert developed(bench, values(bench, "crash: true\n"), values(bench, "crash: false\n")) == Developed("dev", 3, 1)
    [told] = [note for note in notes(bench) if "crash" in note]
    assert told.splitlines()[0].startswith("crash at start")
    assert len(told.splitlines()) > 1


def test_a_save_while_pods_roll_starts_anew_at_once(bench: Bench) -> None:
    editor = Editor(source(bench, "two"))

    def save_now() -> None:
        editor.impatient = bench.images.source == "one"

    bench.cluster.on_rollout = save_now
    assert developed(bench, editor=editor) == Developed("dev", 2, 0)
    assert notes(bench)[0] == "saved again while pods were rolling"


def test_a_chart_that_helm_refuses_is_told(bench: Bench) -> None:
    refused = Developed("dev", 2, 1)
    assert developed(bench, values(bench, "a: [\n"), values(bench, "replicaCount: 2\n")) == refused


def test_a_protected_environment_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="prod is protected"):
        dev(lambda: bench.project, bench.target("prod"), bench.workshop, Editor(), FakeContainers())
    assert bench.world.running("web-prod", "web") is None


def test_between_saves_others_may_release(bench: Bench) -> None:
    def somebody_else() -> None:
        with locked(bench.target("dev"), "deploy", wait=False):
            pass

    try:
        developed(bench, somebody_else)
    except LockHeld:
        pytest.fail("the lock is held while nothing is done")


# -- code into pods that run -------------------------------------------------------------------------------------------


class Live:
    """A project whose Python files in app/ go into the pods, and what was written there."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.containers = FakeContainers()
        self.file = bench.root / "app" / "pages.py"
        self.file.parent.mkdir()
        self.file.write_text("one = 1\n")
        settings = bench.root / "releaser.yaml"
        settings.write_text(settings.read_text() + "dev: {live: {from: app, to: /srv/app, files: ['*.py']}}\n")

    def save(self, text: str, name: str = "pages.py") -> Callable[[], None]:
        return lambda: (self.file.parent / name).write_text(text) and setattr(self.bench.images, "source", text[:3])

    def run(self, *saves: Callable[[], object], name: str = "pages.py") -> Developed:
        editor = Editor(*saves, files=frozenset({self.file.parent / name}))
        target, workshop = self.bench.target("dev"), self.bench.workshop
        return dev(lambda: self.bench.project, target, workshop, editor, self.containers)


@pytest.fixture
def live(bench: Bench) -> Live:
    return Live(bench)


def test_saved_code_goes_into_the_pods_and_makes_no_release(bench: Bench, live: Live) -> None:
    assert live.run(live.save("two = 2\n"), live.save("tri = 3\n")) == Developed("dev", 1, 0, 2)
    assert live.containers.written == [{"pages.py": b"two = 2\n"}, {"pages.py": b"tri = 3\n"}]
    assert any("the saved code answers on every pod" in note for note in notes(bench))


def test_pods_get_everything_that_their_image_lacks(bench: Bench, live: Live) -> None:
    other = live.file.with_name("other.py")
    live.run(live.save("new = 1\n", "other.py"), live.save("two = 2\n"), other.unlink, live.save("one = 1\n"))
    assert live.containers.written[1] == {"other.py": b"new = 1\n", "pages.py": b"two = 2\n"}
    assert live.containers.written[2] == {"other.py": None, "pages.py": b"two = 2\n"}
    assert live.containers.written[3] == {"other.py": None, "pages.py": b"one = 1\n"}  # as in the image again


def test_other_files_make_a_release(bench: Bench, live: Live) -> None:
    assert live.run(live.save("two\n", "requirements.lock"), name="requirements.lock") == Developed("dev", 2, 0, 0)
    assert live.containers.written == []


def test_changed_values_make_a_release_even_if_code_was_saved_too(bench: Bench, live: Live) -> None:
    live.run(lambda: (live.save("two = 2\n")(), bench.values("dev", "replicas: 3\n")))
    assert live.containers.written == []


def test_code_that_can_not_be_parsed_reaches_no_pod(bench: Bench, live: Live) -> None:
    assert live.run(live.save("two = (\n"), live.save("two = 2\n")) == Developed("dev", 1, 1, 1)
    assert any("pages.py:1: SyntaxError" in note for note in notes(bench))
    assert live.containers.written == [{"pages.py": b"two = 2\n"}]


def test_where_it_can_not_be_written_a_release_is_made(bench: Bench, live: Live) -> None:
    live.containers.trouble = "While writing code into the pods: no container has /srv/app"
    assert live.run(live.save("two = 2\n")) == Developed("dev", 2, 0, 0)
    assert any(note.endswith("; so a release is made") for note in notes(bench))


def test_a_release_replaces_pods_that_were_written_to(
    bench: Bench, yes: Consent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nothing but that is to be done: they don't run what their image has."""
    snapshots, pods = bench.cluster.snapshots, bench.cluster.pods
    looks = 0

    def more_snapshots(namespace: str, release: str, deadline: float) -> Iterator[Snapshot]:
        *coming, last = snapshots(namespace, release, deadline)
        yield from [*coming, *[last] * 5]  # news of the pods takes a moment

    def pods_by_and_by(namespace: str, release: str) -> tuple[PodState, ...]:
        nonlocal looks
        looks += 1
        [pod] = pods(namespace, release)
        edited = replace(pod, edited=True)
        leaving, coming = replace(edited, terminating=True), replace(pod, name="web-1-b", ready=False)
        return {1: (edited,), 2: (edited,), 3: (leaving,), 4: (leaving, coming)}.get(looks, (pod,))

    monkeypatch.setattr(bench.cluster, "snapshots", more_snapshots)
    monkeypatch.setattr(bench.cluster, "pods", pods_by_and_by)
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    assert bench.cluster.removed == ["web-1-a"]
    assert looks >= 5
    assert show_history(bench.target("dev")).revisions[0].verdict is Verdict.GOOD


def test_what_was_done_is_told_at_the_end() -> None:
    assert shown(Developed("dev", 3, 1)) == [
        "dev: 3 released, 1 failed",
        "it stays as it is, not proven: releaser deploy dev proves it",
    ]
    assert shown(Developed("dev", 0, 2)) == ["dev: 0 released, 2 failed"]
