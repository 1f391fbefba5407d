"""The release changes under load: to the same thing, to something broken, back, and to another setting."""

from __future__ import annotations

import json
import secrets

from releaser.errors import ReleaseNotRestored
from releaser.flows.experiments.revisions import changed_values, take_back, upgrade
from releaser.flows.experiments.trial import Experiment, Skipped, Trial, all_ready
from releaser.flows.release import follow
from releaser.interrupts import deferred
from releaser.models import Values
from releaser.verification import Measurement, Promise, exactly, lost

# An image that no node has and that is never asked for elsewhere: it can't start, and that is known at once.
_NO_IMAGE: Values = {"image": {"tag": "releaser-verify-none", "digest": "", "pullPolicy": "Never"}}
_CRASH: Values = {"faults": {"crashAtStart": True}}
# Each pod has several workers, and it is chance which of them answers.
_ASKED = 8


def rolling_update(trial: Trial) -> list[Measurement]:
    values = changed_values(trial, _new_pods())
    with trial.requests() as sent:
        trial.mark("update to the same image begins")
        took = _roll_out(trial, "rolling-update", values)
        trial.mark("every pod is new" if took is not None else "the update failed")
        _await_rest(trial)
    return [
        Measurement("rolled out", took, "s", at_most=trial.home.environment.deadline_seconds),
        _fewest(trial),
        *lost(sent.receipt, at_most=0),
    ]


def bad_update(trial: Trial) -> list[Measurement]:
    values = _broken_values(trial)
    standing = {pod.uid for pod in trial.pods()}
    with trial.requests() as sent:
        trial.mark("update that can't start begins")
        started = trial.now()
        upgrade(trial, "bad-update", values)
        problems = follow(trial.target)
        judged = trial.now() - started
        trial.mark(f"judged: {problems[0].cause}" if problems else "judged good")
        still = {pod.uid for pod in trial.pods()}
        back = _take_back(trial)
    return [
        Measurement(
            "judged failed",
            judged if problems else None,
            "s",
            at_most=trial.home.environment.deadline_seconds,
            note=problems[0].cause if problems else "",
        ),
        exactly("old pods still serving then", len(standing & still), len(standing)),
        Measurement("old state proven again", back, "s", at_most=trial.home.environment.deadline_seconds),
        *lost(sent.receipt, at_most=0),
    ]


def rollback(trial: Trial) -> list[Measurement]:
    values = changed_values(trial, _new_pods())
    if _roll_out(trial, "rollback", values) is None:
        raise Skipped("the update that was to be rolled back didn't come about")
    _await_rest(trial)
    with trial.requests() as sent:
        trial.mark("rollback begins")
        back = _take_back(trial)
        trial.mark("the old state is proven" if back is not None else "the old state isn't back")
        _await_rest(trial)
    return [
        Measurement("old state proven again", back, "s", at_most=trial.home.environment.deadline_seconds),
        _fewest(trial),
        *lost(sent.receipt, at_most=0),
    ]


def config_change(trial: Trial) -> list[Measurement]:
    greeting = f"verify {secrets.token_hex(4)}"
    values = changed_values(trial, {"app": {"greeting": greeting}})
    with trial.requests() as sent:
        trial.mark("change of app.greeting begins")
        took = _roll_out(trial, "config-change", values)
        trial.mark("complete" if took is not None else "the change failed")
        answers = _answers(trial)
        _await_rest(trial)
    old = sum(each != greeting for each in answers)
    return [
        Measurement("rolled out", took, "s", at_most=trial.home.environment.deadline_seconds),
        Measurement("answers asked of pods", len(answers), at_least=_ASKED),
        Measurement("answers with another setting", old, at_most=0),
        *lost(sent.receipt, at_most=0),
    ]


def _new_pods() -> Values:
    return {"podAnnotations": {"releaser/verify": secrets.token_hex(4)}}


def _broken_values(trial: Trial) -> Values:
    """A process that crashes where the chart has a switch for it and this isn't a protected environment; else an image
    that isn't there. Raises Skipped when the chart has neither."""
    if not trial.home.environment.protected:
        try:
            return changed_values(trial, _CRASH)
        except Skipped as exc:
            trial.say(str(exc))
    return changed_values(trial, _NO_IMAGE)


def _roll_out(trial: Trial, name: str, values: Values) -> float | None:
    """How long the upgrade took until it was complete; None when it failed."""
    started = trial.now()
    upgrade(trial, name, values)
    return None if follow(trial.target) else trial.now() - started


def _take_back(trial: Trial) -> float | None:
    """How long it took until the state before was proven; None when that failed."""
    started = trial.now()
    with deferred():
        try:
            take_back(trial)
        except ReleaseNotRestored as exc:
            trial.mark(exc.message)
            return None
    return trial.now() - started


def _await_rest(trial: Trial) -> None:
    """The old pods are gone: what they lose in leaving counts."""
    number = len(trial.pods())
    trial.await_pods(lambda snapshot: all_ready(snapshot, number), trial.workload.grace_seconds + 15)


def _fewest(trial: Trial) -> Measurement:
    return Measurement("fewest pods ready", trial.recording.fewest_ready(), at_least=1)


def _answers(trial: Trial) -> list[str]:
    """What each pod greets with, several times."""
    found = []
    for pod in trial.pods():
        for _ in range(_ASKED):
            _, body = trial.hands.insides.ask(trial.namespace, pod.name, trial.workload.port, "/")
            found.append(_message(body))
    return found


def _message(body: str) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    return str(document.get("message", "")) if isinstance(document, dict) else body


ROLLING_UPDATE = Experiment(
    Promise(
        "rolling-update",
        "Every pod is replaced by an upgrade, and no client notices.",
        "The rollout is complete within the environment's deadline, at no moment fewer than one pod is ready, and no "
        "request is lost.",
        about_seconds=60,
    ),
    rolling_update,
)
BAD_UPDATE = Experiment(
    Promise(
        "bad-update",
        "An update that can't start is seen as such and taken back while the old pods serve on.",
        "It is judged failed, and the old state is proven again, each within the environment's deadline; every old pod "
        "still serves at the verdict, and no request is lost.",
        about_seconds=45,
    ),
    bad_update,
)
ROLLBACK = Experiment(
    Promise(
        "rollback",
        "A rollback brings the old state back, and no client notices.",
        "Every live field is the old one's and its tests pass within the environment's deadline, at no moment fewer "
        "than one pod is ready, and no request is lost.",
        about_seconds=75,
    ),
    rollback,
)
CONFIG_CHANGE = Experiment(
    Promise(
        "config-change",
        "A changed setting reaches every pod, and none answers with the old one once the change is complete.",
        f"After the rollout each pod, asked {_ASKED} times, answers with the new setting only; no request is lost.",
        about_seconds=75,
    ),
    config_change,
)
