"""`releaser prune`: images that nobody can come back to, out of the nodes and of the engine that built them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from releaser.flows.build import app_version
from releaser.flows.ports import Images, Shelf
from releaser.flows.release import locked, revisions_of
from releaser.flows.target import Target
from releaser.models import Pruned, PrunedShelf, Reporter, Revision, Verdict, full_name
from releaser.settings import Project
from releaser.steps import step


def prune(
    project: Project,
    targets: Sequence[Target],
    shelves: Sequence[Shelf],
    images: Images,
    reporter: Reporter,
    *,
    dry_run: bool,
    wait: bool = True,
) -> Pruned:
    """Remove the project's images but those that are needed. A `dry_run` only says which.

    Needed are the images of every revision that a rollback of any environment can reach, what any pod or ReplicaSet of
    their clusters names, the image of the source as it is now, and the app version's plain tag, which the chart names
    by default. The releases' locks are held meanwhile: a deploy can't be about to use what goes.
    """
    with ExitStack() as stack:
        if not dry_run:
            for target in targets:
                if target.helm.history(target.release, target.namespace):
                    stack.enter_context(locked(target, "prune", wait=wait))
        needed = _needed(project, targets, images, reporter)
        return Pruned(tuple(_prune(shelf, project, needed, reporter, dry_run) for shelf in shelves), dry_run)


def _needed(project: Project, targets: Sequence[Target], images: Images, reporter: Reporter) -> set[str]:
    with step(reporter, "see what is needed") as running:
        version = app_version(project)
        current = images.identify(project.image_repository, version, project.dockerfile)
        needed = {current.ref, f"{project.image_repository}:{version}"}
        for target in targets:
            reachable = [each.image for each in _reachable(revisions_of(target))]
            needed |= {*reachable, *target.cluster.images_named()}
        running.detail = ", ".join(target.environment.name for target in targets)
    return {full_name(ref) for ref in needed}


def _reachable(revisions: Sequence[Revision]) -> Iterable[Revision]:
    """The newest one, and those to which a rollback may go."""
    return (each for each in revisions if each is revisions[0] or each.verdict is not Verdict.FAILED)


def _prune(shelf: Shelf, project: Project, needed: set[str], reporter: Reporter, dry_run: bool) -> PrunedShelf:
    with step(reporter, f"{'look through' if dry_run else 'clear'} {shelf.target}") as running:
        kept: list[str] = []
        removed: list[str] = []
        for ref in shelf.refs(project.image_repository):
            goes = full_name(ref) not in needed and (dry_run or shelf.remove(ref))
            (removed if goes else kept).append(ref)
        if not dry_run:
            shelf.sweep()
        running.detail = f"{len(removed)} of {len(removed) + len(kept)} images {'would go' if dry_run else 'removed'}"
    return PrunedShelf(shelf.target, tuple(removed), tuple(kept))
