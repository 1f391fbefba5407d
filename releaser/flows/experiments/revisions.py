"""Revisions that an experiment makes: of the very chart and values that run, with one thing changed, and taken back."""

from __future__ import annotations

from releaser import ledger
from releaser.errors import InvalidInput
from releaser.flows.experiments.trial import Skipped, Trial
from releaser.flows.release import record, return_to, revisions_of
from releaser.flows.restore import released
from releaser.flows.target import Target
from releaser.ledger import experiment_labels, labels
from releaser.models import Image, LedgerEntry, Revision, Values, Verdict
from releaser.plans import manifest_hash
from releaser.values import merge


def experiment_of(target: Target, revision: Revision) -> str:
    """The experiment that the revision was made for; empty for any other revision."""
    records = target.cluster.revision_labels(target.namespace, target.release)
    return ledger.experiment_of(revision.number, records.get(revision.number, {}))


def changed_values(trial: Trial, changed: Values) -> Values:
    """The values that run with others laid over them. Raises Skipped where the chart here isn't what runs, or where it
    makes nothing of the change."""
    values = trial.home.helm.values(trial.release, trial.namespace, trial.standing.number)
    if _hash(trial, _rendered(trial, values)) != _hash(trial, trial.manifest):
        raise Skipped("the chart here makes other objects than those that run: deploy it first")
    wanted = merge(values, changed)
    try:
        manifest = _rendered(trial, wanted)
    except InvalidInput as exc:
        first = exc.detail.strip().splitlines()[:1]
        raise Skipped(f"the chart refuses {_named(changed)}: {''.join(first)}") from exc
    if _hash(trial, manifest) == _hash(trial, trial.manifest):
        raise Skipped(f"the chart makes nothing of {_named(changed)}")
    return wanted


def upgrade(trial: Trial, name: str, values: Values) -> int:
    """The number of a new revision with these values, made as a deploy makes it. It counts as failed from its birth, so
    nobody returns to it; it is taken back afterwards."""
    target, standing = trial.target, trial.standing
    number = revisions_of(target)[0].number + 1
    trial.afterwards(f"revision of {name}", lambda: take_back(trial))
    target.still_ours()
    made = {**labels(target.source, _image(standing)), **experiment_labels(number, name)}
    number = target.helm.upgrade(target.release, target.namespace, trial.project.chart, values, made)
    record(target, number, Verdict.FAILED, LedgerEntry(verb="verify", cause=f"experiment {name}"))
    return number


def take_back(trial: Trial) -> None:
    """The revision that stood before, proven again; nothing when it stands still, or again."""
    home, standing = trial.home, trial.standing
    if revisions_of(home)[0].content != standing.content:
        return_to(home, standing, LedgerEntry(verb="verify"))


def _image(revision: Revision) -> Image:
    repository, _, tag = revision.image.rpartition(":")
    return Image(repository, tag)


def _rendered(trial: Trial, values: Values) -> str:
    return trial.home.helm.render(trial.release, trial.namespace, trial.project.chart, values)


def _hash(trial: Trial, manifest: str) -> str:
    return manifest_hash(released(trial.home, manifest))


def _named(changed: Values) -> str:
    """The first value that is changed, as values are named: app.greeting."""
    names = []
    value: object = changed
    while isinstance(value, dict) and value:
        name = next(iter(value))
        names.append(str(name))
        value = value[name]
    return ".".join(names)
