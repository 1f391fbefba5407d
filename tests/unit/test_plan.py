"""plan: what a deploy would change, and what has moved since."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from releaser.errors import InvalidInput, ReleasePending, StalePlan
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.plan import plan
from releaser.objects import Mark, parse_manifest
from releaser.plans import (
    Action,
    ObjectChange,
    Plan,
    changed_since,
    fingerprint,
    load_plan,
    manifest_hash,
    require_unchanged,
    save_plan,
    sealed,
)
from tests.unit.conftest import Bench


def planned(bench: Bench, *, bind: bool = True) -> Plan:
    return plan(bench.project, bench.target("dev"), bench.workshop, bench.live, bind_image=bind)


def actions(found: Plan) -> dict[str, Action]:
    return {each.object: each.action for each in found.changes}


def change(found: Plan, ref: str) -> ObjectChange:
    return next(each for each in found.changes if each.object == ref)


@pytest.fixture
def released(bench: Bench, yes: Consent) -> Bench:
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    return bench


def test_where_nothing_is_installed_all_is_new(bench: Bench) -> None:
    found = planned(bench)
    assert actions(found) == {"configmap/web": Action.CREATE, "deployment/web": Action.CREATE}
    assert (found.base_revision, found.changed, found.live) == (0, True, {})


def test_after_a_deploy_there_is_nothing_to_do(released: Bench) -> None:
    found = planned(released)
    assert set(actions(found).values()) == {Action.UNCHANGED}
    assert (found.base_revision, found.changed, found.by_hand) == (1, False, ())


def test_a_new_image_restarts_pods_and_a_new_setting_does_not(released: Bench) -> None:
    released.images.source = "two"
    released.values("dev", "text: b\n")
    found = planned(released)
    image = change(found, "deployment/web")
    assert (image.action, image.restarts) == (Action.CHANGE, True)
    assert [(each.address, each.before, each.after) for each in image.fields] == [
        ("spec.template.spec.containers[web].image", "web:1.0.0-one", "web:1.0.0-two")
    ]
    assert (change(found, "configmap/web").action, change(found, "configmap/web").restarts) == (Action.CHANGE, False)


def test_planning_touches_nothing(released: Bench) -> None:
    released.values("dev", "text: b\n")
    before = json.dumps([str(key) for key in released.world.objects.items()])
    planned(released)
    assert json.dumps([str(key) for key in released.world.objects.items()]) == before
    assert len(released.helm.history("web", "web-dev")) == 1


def test_the_image_is_built_only_to_be_bound(bench: Bench) -> None:
    assert planned(bench, bind=False).image_id == ""
    assert bench.images.images == {}
    assert planned(bench).image_id == "sha256:one"


def test_an_object_that_the_new_manifest_lacks_is_deleted(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "extra: eA==\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "{}\n")
    assert actions(planned(bench))["secret/web"] is Action.DELETE


def test_a_secret_that_changes_is_seen_to_and_not_read(bench: Bench, yes: Consent, tmp_path: Path) -> None:
    bench.values("dev", "extra: aHVudGVyMg==\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.values("dev", "extra: c2VzYW1l\n")
    found = planned(bench)
    [field] = change(found, "secret/web").fields
    assert (field.before, field.after) == (Mark.HIDDEN, Mark.CHANGED)
    save_plan(found, tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    assert "aHVudGVyMg" not in text and "c2VzYW1l" not in text


def test_a_secret_that_is_new_is_not_read_either(bench: Bench) -> None:
    bench.values("dev", "extra: aHVudGVyMg==\n")
    found = change(planned(bench), "secret/web")
    assert [each.after for each in found.fields if each.address == "data.key"] == [Mark.HIDDEN]


def test_a_key_that_the_chart_makes_up_anew_each_time_does_not_move_the_plan() -> None:
    def made(key: str, sort: str) -> str:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "data": {"key": key}, "type": sort}
        return manifest_hash(parse_manifest(json.dumps(secret), "here"))

    assert made("one", "Opaque") == made("two", "Opaque") != made("one", "other")


def test_a_field_that_cannot_change_is_flagged(released: Bench) -> None:
    released.values("dev", "selector: other\n")
    found = change(planned(released), "deployment/web")
    assert (found.action, found.immutable) == (Action.CHANGE, ("spec.selector",))
    assert [each.address for each in found.fields] == ["spec.selector.matchLabels.app"]


def test_what_was_changed_by_hand_is_told_apart(released: Bench) -> None:
    released.live.edit("deployment/web", lambda body: body["spec"].update(replicas=5), "kubectl-scale")
    found = planned(released)
    [hand] = found.by_hand
    assert (hand.address, hand.wanted, hand.live, hand.managers[0].manager) == ("spec.replicas", 1, 5, "kubectl-scale")
    assert [each.address for each in change(found, "deployment/web").fields] == ["spec.replicas"]


def test_a_release_in_the_middle_of_an_operation_can_not_be_planned(released: Bench) -> None:
    released.helm.strand("web", "web-dev", "pending-upgrade")
    with pytest.raises(ReleasePending):
        planned(released)


# -- the file


def test_a_plan_survives_its_file(released: Bench, tmp_path: Path) -> None:
    released.live.edit("deployment/web", lambda body: body["spec"].update(replicas=5))
    found = planned(released)
    save_plan(found, tmp_path / "plan.json")
    again = load_plan(tmp_path / "plan.json")
    assert again == found
    assert again.by_hand[0].managers == found.by_hand[0].managers


def test_marks_survive_the_file(bench: Bench, tmp_path: Path) -> None:
    save_plan(planned(bench), tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json").changes[0].fields[0].before is Mark.ABSENT


def test_the_same_question_has_the_same_hash(released: Bench) -> None:
    assert planned(released).hash == planned(released).hash != ""


def test_when_a_field_was_set_by_hand_is_told_and_not_bound(released: Bench) -> None:
    scale_by_hand(released)
    found = planned(released)
    [hand] = found.by_hand
    later = replace(hand, managers=(replace(hand.managers[0], time=datetime(2030, 1, 1, tzinfo=UTC)),))
    other = replace(hand, managers=(replace(hand.managers[0], manager="other"),))
    assert sealed(replace(found, by_hand=(later,), hash="")).hash == found.hash
    assert sealed(replace(found, by_hand=(other,), hash="")).hash != found.hash


def test_the_hash_of_a_secret_is_not_one_of_its_value() -> None:
    def secret(value: str, version: str) -> dict[str, Any]:
        metadata = {"name": "web", "uid": "1", "resourceVersion": version}
        return {"kind": "Secret", "metadata": metadata, "data": {"key": value}}

    assert fingerprint(None, secret("one", "5")) == fingerprint(None, secret("two", "5"))
    assert fingerprint(None, secret("one", "5")) != fingerprint(None, secret("one", "6"))


def tampered(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "image": "web:evil"}


def older(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "version": 0}


def shorter(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "live"}


def listed(document: dict[str, Any]) -> list[Any]:
    return [document]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (tampered, "its hash is wrong"),
        (older, "version"),
        (shorter, "no plan"),
        (listed, "no plan"),
    ],
)
def test_a_plan_that_is_not_as_it_was_written_is_refused(bench: Bench, tmp_path: Path, spoil: Any, words: str) -> None:
    path = tmp_path / "plan.json"
    save_plan(planned(bench), path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(InvalidInput, match=words):
        load_plan(path)


@pytest.mark.parametrize("text", ["", "[1", "{}"])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"While reading .*plan\.json"):
        load_plan(tmp_path / "plan.json")


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        load_plan(tmp_path / "plan.json")


# -- what moved


def test_nothing_moved_where_nothing_did(released: Bench) -> None:
    require_unchanged(planned(released), planned(released))


def edit_values(bench: Bench) -> None:
    bench.values("dev", "text: b\n")


def edit_chart(bench: Bench) -> None:
    (bench.root / "charts/web/templates").mkdir()
    (bench.root / "charts/web/templates/new.yaml").write_text("a: b\n")


def edit_source(bench: Bench) -> None:
    bench.images.source = "two"


def release_again(bench: Bench) -> None:
    bench.helm.upgrade("web", "web-dev", bench.root, {"image": {"repository": "web", "tag": "1.0.0-one"}}, {})


def scale_by_hand(bench: Bench) -> None:
    bench.live.edit("deployment/web", lambda body: body["spec"].update(replicas=5), "kubectl-scale")


def delete_by_hand(bench: Bench) -> None:
    bench.world.objects.pop(("", "ConfigMap", "web-dev", "web"))


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (edit_values, "the values"),
        (edit_chart, "the chart"),
        (edit_source, "the image: web:1.0.0-one -> web:1.0.0-two"),
        (release_again, "the revision: 1 -> 2"),
        (scale_by_hand, "deployment/web spec.replicas (kubectl-scale)"),
        (delete_by_hand, "configmap/web is gone"),
    ],
)
def test_what_moved_is_named(released: Bench, move: Any, words: str) -> None:
    before = planned(released)
    move(released)
    now = planned(released)
    assert words in changed_since(before, now)
    with pytest.raises(StalePlan) as caught:
        require_unchanged(before, now)
    assert words in caught.value.detail
    assert caught.value.exit_code == 4


def test_a_secret_that_moved_is_named(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "extra: aHVudGVyMg==\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    before = planned(bench)
    bench.live.edit("secret/web", lambda body: body["data"].update(key="c2VzYW1l"))
    assert changed_since(before, planned(bench)) == ("secret/web data.key (kubectl-edit)",)


def test_replicas_that_nobody_planned_are_an_autoscalers_to_move(released: Bench) -> None:
    live = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5, "paused": True}}
    assert list(fingerprint({"spec": {}}, live)) == ["kind", "metadata.name", "spec.paused"]
    assert "spec.replicas" in fingerprint({"spec": {"replicas": 1}}, live)
