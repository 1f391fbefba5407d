"""why: the object and the field that are meant, which values decide, since when, and who else."""

from __future__ import annotations

from typing import Any

import pytest

from releaser.deciding import Effect, deciding, dotted
from releaser.errors import InvalidInput, Refused, ReleasePending, UsageError
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.why import why
from releaser.manifests import documents, find_field, find_object
from releaser.models import Values
from releaser.objects import Leaf, Mark
from releaser.origin import Origin, Why, newest_run
from releaser.render import rendered
from tests.fakes import FakeDrafts
from tests.unit.conftest import Bench


@pytest.fixture
def released(bench: Bench, yes: Consent) -> Bench:
    """dev, released once."""
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    return bench


def ask(bench: Bench, object_name: str, field: str) -> Why:
    return why(bench.project, bench.target("dev"), FakeDrafts(), object_name, field)


def lines(found: Why) -> list[str]:
    return [str(line) for line in rendered(found)]


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_a_field_of_the_release(released: Bench) -> None:
    found = ask(released, "deployment/web", "image")
    assert (found.address, found.live) == ("spec.template.spec.containers[web].image", "web:1.0.0-one")
    assert (found.origin, found.revision) == (Origin.RELEASE, 1)
    assert [(each.address, each.place, each.effect) for each in found.values] == [
        ("image.repository", "", Effect.PART),
        ("image.tag", "", Effect.PART),
    ]
    # the fake chart has no files: then the line can't be known, only the file
    assert [each.place for each in found.written_by] == ["charts/web/templates/web.yaml"]
    assert lines(found)[3:] == [
        "live      web:1.0.0-one",
        "          as the release has it",
        "values    image.repository: web",
        "            part of it, set by releaser: the image that was built",
        "          image.tag: 1.0.0-one",
        "            part of it, set by releaser: the image that was built",
        "template  charts/web/templates/web.yaml",
        "since     revision 1",
        f"            2026-01-01 00:01:00 UTC by ann, commit {found.since.source.revision if found.since else ''}",
    ]


def test_a_field_changed_by_hand_names_who(released: Bench) -> None:
    released.live.edit("deployment/web", lambda body: body["spec"].update(replicas=5), "kubectl-scale")
    found = ask(released, "deploy", "replicas")
    assert (found.origin, found.live, found.released) == (Origin.FOREIGN, 5, 1)
    assert [owner.manager for owner in found.owners] == ["kubectl-scale"]
    assert lines(found)[2:6] == [
        "  spec.replicas",
        "live      5",
        "          not from the release, set by kubectl-scale (Update), 2026-01-01 00:00:00 UTC",
        "          the release has 1",
    ]


def test_a_field_added_by_hand(released: Bench) -> None:
    released.live.edit("deployment/web", lambda body: body["spec"].update(paused=True))
    found = ask(released, "deployment", "paused")
    assert (found.origin, found.live, found.released) == (Origin.FOREIGN, True, Mark.ABSENT)
    assert (found.values, found.written_by, found.since) == ((), (), None)


def test_an_object_that_is_gone(released: Bench) -> None:
    released.world.objects.pop(("", "ConfigMap", "web-dev", "web"))
    found = ask(released, "cm", "text")
    assert (found.origin, found.live, found.released) == (Origin.MISSING, Mark.ABSENT, "a")


def test_what_helm_itself_sets_is_said_so(released: Bench) -> None:
    found = ask(released, "configmap", "app.kubernetes.io/managed-by")
    assert (found.origin, found.live, found.values) == (Origin.RELEASE, "Helm", ())
    assert "Helm itself" in found.note and not found.undeployed


def test_a_secret_is_never_shown(bench: Bench, yes: Consent) -> None:
    bench.values("dev", "extra: aHVudGVyMg==\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, yes)
    bench.live.edit("secret/web", lambda body: body["data"].update(key="b3RoZXI="))
    found = ask(bench, "secret", "key")
    assert (found.live, found.released, found.working_tree) == (Mark.HIDDEN,) * 3
    assert (found.values[0].address, found.values[0].value) == ("extra", Mark.HIDDEN)
    assert "aHVudGVyMg" not in repr(found) and "b3RoZXI" not in repr(found)


def test_what_is_not_installed_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="not installed"):
        ask(bench, "deployment", "image")


def test_a_release_in_the_middle_of_an_operation_is_left_alone(released: Bench) -> None:
    released.helm.strand("web", "web-dev", "pending-upgrade")
    with pytest.raises(ReleasePending):
        ask(released, "deployment", "image")


# -- the working tree --------------------------------------------------------------------------------------------------


def test_what_is_not_deployed_is_told(released: Bench) -> None:
    released.values("dev", "text: other\n")
    found = ask(released, "configmap", "data.text")
    assert (found.live, found.undeployed, found.working_tree) == ("a", True, "other")
    assert [(each.address, each.place) for each in found.values] == [("text", "values-dev.yaml:1")]
    assert lines(found)[-2:] == ["not yet   the working tree, which is not deployed, says", "          other"]


def test_a_working_tree_that_does_not_render_is_a_note(released: Bench) -> None:
    released.values("dev", "unknownKey: 1\n")
    found = ask(released, "configmap", "data.text")
    assert (found.undeployed, found.note) == (False, "the working tree does not render: unknownKey")


def test_a_broken_chart_keeps_nobody_from_asking_what_runs(released: Bench) -> None:
    found = why(released.project, released.target("dev"), FakeDrafts(broken="no end"), "deployment", "image")
    assert (found.live, found.origin) == ("web:1.0.0-one", Origin.RELEASE)
    assert (found.values, found.written_by) == ((), ())
    assert found.note == "the working tree does not render: no end"
    assert found.since is not None and found.since.revision == 1


# -- since when --------------------------------------------------------------------------------------------------------


def test_since_is_the_oldest_of_an_unbroken_run(released: Bench, yes: Consent) -> None:
    for text in ("b", "a", "a"):
        released.values("dev", f"text: {text}\n")
        deploy(released.project, released.target("dev"), released.workshop, yes)
    since = ask(released, "configmap", "data.text").since
    assert since is not None
    assert (since.revision, since.content, since.or_earlier) == (3, 3, False)
    assert (since.source.user, since.source.commit) == ("ann", released.source.commit)


def test_a_history_that_helm_has_cut_is_no_beginning() -> None:
    assert newest_run("a", iter([(8, "a"), (7, "a")]), 9) == (7, True)
    assert newest_run("a", iter([(8, "a"), (7, "b")]), 9) == (8, False)
    assert newest_run("a", iter([(1, "a")]), 2) == (1, False)
    assert newest_run(True, iter([(1, 1)]), 2) == (2, False)


# -- what is meant -----------------------------------------------------------------------------------------------------

MANIFEST = """\
---
# Source: web/templates/cm.yaml
{apiVersion: v1, kind: ConfigMap, metadata: {name: web-2}, data: {APP_GREETING: hello}}
---
# Source: web/templates/cm.yaml
{apiVersion: v1, kind: ConfigMap, metadata: {name: web-1}, data: {APP_GREETING: before}}
---
# Source: web/templates/cm.yaml
{apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {APP_GREETING: long ago}}
---
# Source: web/templates/services.yaml
{apiVersion: v1, kind: Service, metadata: {name: one}}
---
# Source: web/templates/services.yaml
{apiVersion: v1, kind: Service, metadata: {name: two}}
---
# Source: web/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {checksum/config: abc}}
spec:
  replicas: 2
  ports: [{name: http, port: 80}, {name: more, port: 81}]
  envFrom: [{configMapRef: {name: web-2}}]
  serviceAccountName: web
"""


@pytest.mark.parametrize(
    ("word", "ref"),
    [
        ("deployment/web", "deployment/web"),
        ("DEPLOY", "deployment/web"),
        ("cm", "configmap/web-2"),
        ("cm/web", "configmap/web"),
        ("cm/we", "configmap/web-2"),
        ("ConfigMap/web-1", "configmap/web-1"),
        ("svc/two", "service/two"),
    ],
)
def test_an_object_is_found_by_what_people_call_it(word: str, ref: str) -> None:
    assert find_object(word, documents(MANIFEST, "x")).object.ref == ref


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("service", "service/one, service/two"),
        ("deploymnt", 'did you mean "deployment'),
        ("svc/three", "configmap/web-2"),
        ("deploy/wep", "deployment/web"),
    ],
)
def test_an_object_that_is_not_clear_names_candidates(word: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_object(word, documents(MANIFEST, "x"))
    assert said in f"{caught.value.message} {caught.value.hint}"


DEPLOYMENT = documents(MANIFEST, "x")[-1].object.body
LIVE = {**DEPLOYMENT, "status": {"replicas": 2, "readyReplicas": 1}}


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("spec.replicas", "spec.replicas"),
        ("replicas", "spec.replicas"),
        ("readyReplicas", "status.readyReplicas"),
        ("ports[http].port", "spec.ports[http].port"),
        ("ports[1].port", "spec.ports[more].port"),
        ("[1].port", "spec.ports[more].port"),
        ("checksum/config", 'metadata.annotations["checksum/config"]'),
        ('["checksum/config"]', 'metadata.annotations["checksum/config"]'),
        ("annotations.checksum/config", 'metadata.annotations["checksum/config"]'),
        ('metadata.annotations["checksum/config"]', 'metadata.annotations["checksum/config"]'),
        ("envFrom", "spec.envFrom[0].configMapRef.name"),
    ],
)
def test_a_field_is_found_by_its_end(word: str, address: str) -> None:
    assert find_field(word, DEPLOYMENT, LIVE) == address


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("port", "spec.ports[http].port, spec.ports[more].port"),
        ("ports", "is not a field but 4 fields"),
        ("replica", 'did you mean "spec.replicas"'),
        ("spec.replicass", 'did you mean "spec.replicas"'),
        ("", "there is no field"),
    ],
)
def test_a_field_that_is_not_clear_names_candidates(word: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_field(word, DEPLOYMENT, LIVE)
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint.count(",") < 11


# -- which values ------------------------------------------------------------------------------------------------------


def traced(values: Values, field: Any) -> dict[str, Effect]:
    return {dotted(each.path): each.effect for each in deciding(values, field)}


def test_each_kind_of_decision_is_told_the_most_direct_first() -> None:
    def field(values: Values) -> Leaf:
        if not values["on"] or values["count"] < 2:
            return Mark.ABSENT
        return f"{values['name']}:{values['tag'] or 'latest'}"

    values = {"other": 1, "tag": "", "count": 3, "on": True, "name": "web", "list": ["a"]}
    assert list(traced(values, field).items()) == [
        ("name", Effect.PART),
        ("tag", Effect.INPUT),
        ("count", Effect.SWITCH),
        ("on", Effect.SWITCH),
    ]


def test_a_value_within_a_list_and_one_of_another_type() -> None:
    values = {"list": [{"a": 1}, {"a": 2}], "size": None, "map": {}}
    assert traced(values, lambda values: values["list"][1]["a"]) == {"list[1].a": Effect.VALUE}
    assert traced(values, lambda values: values["size"] or Mark.ABSENT) == {"size": Effect.VALUE}
    assert traced(values, lambda values: values["map"].get("zz", Mark.ABSENT)) == {"map": Effect.SWITCH}


def test_a_value_that_breaks_the_rendering_hides_no_other() -> None:
    def field(values: Values) -> Leaf:
        if values["type"] not in ("a", "az"):
            raise InvalidInput("refused")
        return values["type"] + values["name"]

    values = {"a": 1, "b": 2, "type": "a", "name": "web", "c": 3}
    assert traced(values, field) == {"type": Effect.PART, "name": Effect.PART}


def test_few_renderings_find_one_of_many() -> None:
    asked = 0

    def field(values: Values) -> Leaf:
        nonlocal asked
        asked += 1
        return values["v77"]

    assert traced({f"v{number}": number + 1 for number in range(100)}, field) == {"v77": Effect.VALUE}
    assert asked < 25
