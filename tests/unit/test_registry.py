"""Flows with an environment whose pods pull their image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from releaser.errors import StalePlan
from releaser.flows.deploy import Order, deploy
from releaser.flows.destroy import destroy
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.flows.plan import plan
from releaser.flows.promote import promote
from releaser.flows.target import Workshop
from releaser.models import Image
from tests.fakes import FakeRegistry
from tests.unit.conftest import Bench

DIGEST = "sha256:manifest-of-1.0.0-one"


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def workshop(bench: Bench, registry: FakeRegistry) -> Workshop:
    return replace(bench.workshop, store=registry)


def test_pods_name_the_image_by_its_digest_and_get_the_secret_to_pull_it(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    bench.values("dev", "image:\n  pullSecrets: [mine]\n")
    deployed = deploy(bench.project, bench.target("dev"), workshop, yes)
    running = bench.world.running("web-dev", "web")
    assert running and running["image"] == {
        "repository": registry.repository,
        "tag": "1.0.0-one",
        "digest": DIGEST,
        "pullSecrets": ["mine", "web-registry"],
    }
    assert registry.prepared == [("web-dev", "web")]
    assert deployed.image == Image(registry.repository, "1.0.0-one", "sha256:one", DIGEST)


def test_history_knows_the_whole_name_and_what_it_is(bench: Bench, workshop: Workshop, yes: Consent) -> None:
    deploy(bench.project, bench.target("dev"), workshop, yes)
    [revision] = show_history(bench.target("dev")).revisions
    assert revision.image == "registry.example/team/web:1.0.0-one"
    assert revision.entry.image_id == "sha256:one"


def test_what_the_registry_has_is_not_pushed_again_and_gets_no_plain_tag(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    for _ in range(2):
        deploy(bench.project, bench.target("dev"), workshop, yes)
    assert registry.loads == 1
    assert set(registry.images) == {f"{registry.repository}:1.0.0-one"}


def test_what_was_built_and_pushed_elsewhere_is_not_built_again(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    registry.images[f"{registry.repository}:1.0.0-one"] = "sha256:one"
    deployed = deploy(bench.project, bench.target("dev"), workshop, yes)
    assert deployed.image == Image(registry.repository, "1.0.0-one", "sha256:one", DIGEST)
    assert (registry.loads, bench.images.images) == (0, {})


def test_a_plan_that_is_written_has_the_digest_and_is_done_to_the_letter(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    target = bench.target("dev")
    planned = plan(bench.project, target, workshop, target.live, bind_image=True)
    assert planned.image == f"{registry.repository}:1.0.0-one"
    deploy(bench.project, target, workshop, yes, Order(plan=planned))

    bench.images.source = "two"
    with pytest.raises(StalePlan):
        deploy(bench.project, target, workshop, yes, Order(plan=planned))


def test_a_plan_to_look_at_pushes_nothing(bench: Bench, workshop: Workshop, registry: FakeRegistry) -> None:
    target = bench.target("dev")
    plan(bench.project, target, workshop, target.live)
    assert registry.loads == 0


def test_promoting_pushes_the_very_image(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.images.source = "newer"
    promote(bench.project, bench.target("dev"), bench.node, bench.target("prod"), workshop, yes)
    running = bench.world.running("web-prod", "web")
    assert running and running["image"]["digest"] == DIGEST
    assert registry.images == {f"{registry.repository}:1.0.0-one": "sha256:one"}


def test_destroying_takes_the_secret_away(
    bench: Bench, workshop: Workshop, registry: FakeRegistry, yes: Consent
) -> None:
    deploy(bench.project, bench.target("dev"), workshop, yes)
    destroy(bench.target("dev"), registry, yes)
    assert registry.cleared == [("web-dev", "web")]


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("registry.example/team/web@sha256:m", True),
        ("docker-pullable://registry.example/team/web@sha256:m", True),
        ("sha256:c", True),
        ("registry.example/team/web@sha256:other", False),
        ("sha256:other", False),
    ],
)
def test_a_pod_runs_it_if_it_says_its_manifest_or_its_config(said: str, right: bool) -> None:
    assert Image("registry.example/team/web", "1", "sha256:c", "sha256:m").is_one_of([said]) is right


def test_an_image_without_digest_is_no_pulled_one() -> None:
    assert not Image("web", "1", "sha256:c").is_one_of(["web@", "web"])
