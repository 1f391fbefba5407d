"""`releaser promote FROM TO`: the very image that runs in FROM, by digest, into TO."""

from __future__ import annotations

from releaser.errors import Refused, UsageError
from releaser.flows.deploy import Order, deploy
from releaser.flows.guard import Consent
from releaser.flows.ports import Store
from releaser.flows.release import revisions_of
from releaser.flows.target import Target, Workshop
from releaser.models import Deployed, Image, Verdict
from releaser.settings import Project
from releaser.steps import step


def promote(
    project: Project,
    origin: Target,
    origin_store: Store,
    goal: Target,
    workshop: Workshop,
    consent: Consent,
    *,
    wait: bool = True,
) -> Deployed:
    """Deploy to `goal` what was proven good in `origin`. Raises Refused when that can't be shown."""
    if origin.environment.name == goal.environment.name:
        raise UsageError(f"{goal.environment.name} can't be promoted to itself")
    image, number = _proven_image(origin, origin_store)
    order = Order(wait=wait, image=image, promoted_from=f"{origin.environment.name} r{number}")
    return deploy(project, goal, workshop, consent, order)


def _proven_image(origin: Target, store: Store) -> tuple[Image, int]:
    """What runs in origin: recorded as good there, and the node and the pods agree on its digest."""
    name = origin.environment.name
    with step(origin.reporter, f"look at {name}") as running:
        newest = next(iter(revisions_of(origin)), None)
        if newest is None:
            raise Refused(f"{origin.release} is not installed in {name}", hint=f"releaser deploy {name}")
        if newest.verdict is not Verdict.GOOD:
            raise Refused(
                f"revision {newest.number} in {name} was not proven good (verdict: {newest.verdict})",
                hint=f"releaser deploy {name}, then promote",
            )
        if not newest.entry.image_id:  # e.g. made by plain helm
            raise Refused(
                f"no image is recorded of revision {newest.number} in {name}",
                hint=f"releaser deploy {name}, then promote",
            )
        repository, _, tag = newest.image.rpartition(":")
        image = store.named(Image(repository, tag, *store.image_ids(newest.image)))
        _require_same(image, newest.entry.image_id, f"{store.target} has {image.id or 'nothing'} under {image.ref}")
        for pod in origin.cluster.pods(origin.namespace, origin.release):
            ids = [container.image_id for container in pod.containers]
            if not pod.terminating and not image.is_one_of(ids):
                _require_same(image, "", f"pod {pod.name} runs {', '.join(ids) or 'nothing'}")
        running.detail = f"revision {newest.number}, {image.id[:19]}"
    return image, newest.number


def _require_same(image: Image, recorded: str, said: str) -> None:
    if image.id != recorded:
        raise Refused(
            f"the image to promote, {image.ref}, can't be proven: {said}, recorded was {recorded or image.id}",
            hint="deploy the environment anew, then promote",
        )
