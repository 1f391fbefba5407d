"""Objects field by field: addresses, differences, secrets, owners."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from releaser.errors import InvalidInput
from releaser.expected import keep, replacement
from releaser.objects import (
    Comparison,
    FieldDifference,
    FieldOwner,
    KubeObject,
    Mark,
    Refusal,
    as_released,
    at,
    differences,
    leaves,
    managers,
    masked,
    parse_manifest,
)

MANIFEST = """\
---
# Source: web/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
    - port: 80
---
# Source: web/templates/empty.yaml
---
# Source: web/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  namespace: elsewhere
data: {}
"""


def config_map(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data}


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


# -- manifests


def test_a_manifest_is_a_sequence_of_objects_in_its_order() -> None:
    found = [(each.ref, each.api_version, each.namespace) for each in parse_manifest(MANIFEST, "here")]
    assert found == [("service/web", "v1", "here"), ("configmap/web", "v1", "elsewhere")]


def test_the_items_of_a_list_are_objects_of_their_own() -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [config_map()]})
    assert [each.ref for each in parse_manifest(text, "here")] == ["configmap/web"]


@pytest.mark.parametrize("text", ["just text", "kind: ConfigMap\n", "a: [", "apiVersion: v1\nkind: X\nmetadata: {}\n"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="While reading a manifest"):
        parse_manifest(text, "here")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *[("2026-01-01", "2026-01-01"), ("1:30", "1:30"), ("0644", 420), ("0x1F", 31), ("1e3", 1000.0), ("1.5", 1.5)],
        *[("1.10.0", "1.10.0"), ("yes", True), ("~", None), ("12", 12)],
    ],
)
def test_scalars_mean_what_they_mean_to_helm(written: str, meant: object) -> None:
    [one] = parse_manifest(f"apiVersion: v1\nkind: X\nmetadata: {{name: x}}\nvalue: {written}\n", "here")
    assert one.body["value"] == meant and type(one.body["value"]) is type(meant)


def test_a_released_object_carries_what_helm_adds() -> None:
    [one] = as_released(parse_manifest(json.dumps(config_map()), "here"), "rel", "here")
    assert one.body["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "Helm"}
    assert one.body["metadata"]["annotations"] == {
        "meta.helm.sh/release-name": "rel",
        "meta.helm.sh/release-namespace": "here",
    }


# -- addresses


@pytest.mark.parametrize(
    ("body", "address"),
    [
        ({"spec": {"replicas": 0}}, "spec.replicas"),
        ({"spec": {"containers": [{"name": "web", "image": 0}]}}, "spec.containers[web].image"),
        ({"spec": {"ports": [{"port": 0}]}}, "spec.ports[0].port"),
        ({"metadata": {"annotations": {"checksum/config": 0}}}, 'metadata.annotations["checksum/config"]'),
        ({"data": {"app.yaml": 0}}, 'data["app.yaml"]'),
        ({"data": {'a"]b': 0}}, r'data["a\"]b"]'),
        ({"app.yaml": {"": 0}}, '["app.yaml"][""]'),
        ({"args": [[0]]}, "args[0][0]"),
    ],
)
def test_an_address_is_written_and_found_again(body: dict[str, Any], address: str) -> None:
    assert leaves(body)[address] == 0
    assert at(body, address) == 0


def test_items_without_names_of_their_own_are_counted() -> None:
    for names in (["a", "a"], ["a", ""], ["a", 1]):
        assert list(leaves([{"name": name} for name in names])) == ["[0].name", "[1].name"]


def test_empty_maps_and_lists_are_leaves() -> None:
    assert leaves({"emptyDir": {}, "args": [], "nothing": None}) == {"emptyDir": {}, "args": [], "nothing": None}


def test_what_is_not_there_is_told_from_a_null() -> None:
    assert at({"a": None}, "a") is None
    assert at({"a": None}, "b") is Mark.ABSENT
    assert at({"a": [1]}, "a[1]") is Mark.ABSENT


@pytest.mark.parametrize("address", ["a[", "a..b", "."])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="not the address of a field"):
        at({"a": {"b": 1}}, address)


# -- differences


def test_only_leaves_that_differ_are_told() -> None:
    wanted, live = config_map(same="1", changed="1", gone="1"), config_map(same="1", changed="2", new="3")
    assert differences(wanted, live) == (
        FieldDifference("configmap/web", "data.changed", "1", "2"),
        FieldDifference("configmap/web", "data.gone", "1", Mark.ABSENT),
        FieldDifference("configmap/web", "data.new", Mark.ABSENT, "3"),
    )


def test_what_the_api_server_writes_itself_is_no_difference() -> None:
    live = {**config_map(), "status": {"seen": 1}}
    live["metadata"] = {**live["metadata"], "uid": "1", "resourceVersion": "2", "generation": 3, "managedFields": [{}]}
    assert differences(config_map(), live) == ()


def test_true_is_not_one() -> None:
    assert len(differences(config_map(a=True), config_map(a=1))) == 1


def test_an_empty_map_that_was_filled_is_told_once() -> None:
    assert [each.address for each in differences(config_map(), config_map(a="1"))] == ["data.a"]
    assert [each.address for each in differences(config_map(a="1"), config_map())] == ["data.a"]


def test_a_reordered_list_of_named_items_is_the_same() -> None:
    one, two = {"name": "a", "value": "1"}, {"name": "b", "value": "2"}
    assert differences(deployment(env=[one, two]), deployment(env=[two, one])) == ()


def compared(wanted: dict[str, Any], live: dict[str, Any] | None, **more: Any) -> tuple[FieldDifference, ...]:
    return Comparison(KubeObject("v1", wanted["kind"], "here", "web", wanted), live, **more).differences


def test_an_object_that_is_not_there_is_one_difference() -> None:
    assert compared(config_map(), None) == (FieldDifference("configmap/web", "", Mark.PRESENT, Mark.ABSENT),)


def test_a_refused_field_differs_though_it_is_expected_as_it_is() -> None:
    wanted, live = deployment(selector={"app": "new"}), deployment(selector={"app": "old"})
    found = compared(wanted, live, expected=live, refused=(Refusal("spec.selector", "immutable", "spec.selector"),))
    assert found == (FieldDifference("deployment/web", "spec.selector.app", "new", "old"),)


def test_without_the_api_servers_word_only_the_manifests_fields_count() -> None:
    wanted, live = deployment(replicas=1), deployment(replicas=2, defaulted=True)
    assert [each.address for each in compared(wanted, live, inexact="forbidden")] == ["spec.replicas"]


# -- secrets


@pytest.mark.parametrize(
    ("ref", "address", "value", "hidden"),
    [
        ("secret/web", "data.anything", "eA==", True),
        ("secret/web", "stringData.anything", "x", True),
        ("secret/web", "type", "Opaque", False),
        ("secret/web", 'metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]', "{}", True),
        ("deployment/web", "spec.template.spec.containers[web].env[DB_PASSWORD].value", "x", True),
        ("deployment/web", "spec.template.spec.containers[web].env[DB_HOST].value", "x", False),
        ("deployment/web", "spec.template.spec.containers[web].env[URL].value", "postgres://u:p@db/x", True),
        ("deployment/web", "spec.template.spec.containers[web].args[0]", "--db-password=hunter2", True),
        ("deployment/web", "spec.c[web].env[API_TOKEN].valueFrom.secretKeyRef.name", "web", False),
        ("deployment/web", "spec.c[web].env[API_TOKEN].valueFrom.secretKeyRef.key", "token", False),
        ("deployment/web", "spec.template.spec.automountServiceAccountToken", False, False),
        ("deployment/web", "spec.template.spec.volumes[v].secret.secretName", "web", False),
        ("deployment/web", 'spec.template.metadata.annotations["checksum/secret"]', "abc", False),
        ("configmap/web", "data.GITHUB_TOKEN", "x", True),
        ("configmap/web", 'data["app.properties"]', "a=1\ndb.password = x\n", True),
        ("", "app.secretKey", "x", True),
        ("", "app.existingSecret", "web", False),
        ("", "apiKey", 7, True),
        ("", "replicaCount", 7, False),
    ],
)
def test_secret_values_are_known(ref: str, address: str, value: object, hidden: bool) -> None:
    [found] = masked([FieldDifference(ref or "values/web", address, value, "other" if value != "other" else "more")])
    assert (found.wanted is Mark.HIDDEN) is hidden
    assert (found.live is Mark.CHANGED) is hidden


def test_a_secret_that_appears_or_goes_is_seen_to_but_not_read() -> None:
    new = FieldDifference("secret/web", "data.key", Mark.ABSENT, "eA==")
    gone = FieldDifference("secret/web", "data.key", "eA==", Mark.ABSENT)
    assert [(each.wanted, each.live) for each in masked([new, gone])] == [
        (Mark.ABSENT, Mark.HIDDEN),
        (Mark.HIDDEN, Mark.ABSENT),
    ]


def test_a_text_that_turns_secret_only_live_is_hidden_on_both_sides() -> None:
    [found] = masked([FieldDifference("configmap/web", "data.x", "plain", "password=hunter2")])
    assert (found.wanted, found.live) == (Mark.HIDDEN, Mark.CHANGED)


# -- owners


def owned(**fields: Any) -> dict[str, Any]:
    body = deployment(
        replicas=2,
        containers=[{"name": "web", "image": "a", "args": ["x"]}, {"name": "side", "image": "b"}],
        finalizers=["one"],
    )
    times = {"helm": "2026-01-01T00:00:00Z", "kubectl-edit": "2026-01-02T00:00:00Z"}
    body["metadata"]["managedFields"] = [
        {"manager": name, "operation": "Update", "time": times[name], "fieldsV1": {"f:spec": fields[key]}}
        for key, name in (("helm", "helm"), ("hand", "kubectl-edit"))
        if key in fields
    ]
    return body


def names(body: dict[str, Any], address: str) -> list[str]:
    return [owner.manager for owner in managers(body, address)]


def test_a_field_is_its_owners_and_the_newest_comes_first() -> None:
    body = owned(helm={"f:replicas": {}}, hand={"f:replicas": {}})
    assert managers(body, "spec.replicas")[0] == FieldOwner("kubectl-edit", "Update", datetime(2026, 1, 2, tzinfo=UTC))
    assert names(body, "spec.replicas") == ["kubectl-edit", "helm"]


def test_list_items_are_found_by_their_keys() -> None:
    body = owned(
        helm={"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}},
        hand={"f:containers": {'k:{"name":"side"}': {".": {}, "f:image": {}}}, "f:finalizers": {'v:"one"': {}}},
    )
    assert names(body, "spec.containers[web].image") == ["helm"]
    assert names(body, "spec.containers[side].image") == ["kubectl-edit"]
    assert names(body, "spec.containers[side]") == ["kubectl-edit"]
    assert names(body, "spec.finalizers[0]") == ["kubectl-edit"]
    assert names(body, "spec.containers[web].args[0]") == []


def test_what_is_inside_an_atomic_field_is_owned_with_it() -> None:
    body = owned(hand={"f:containers": {'k:{"name":"web"}': {"f:args": {}}}})
    assert names(body, "spec.containers[web].args[0]") == ["kubectl-edit"]


def test_a_field_that_is_not_there_is_nobodys() -> None:
    assert names(owned(helm={"f:paused": {}}), "spec.paused") == []


# -- what a live object should be


def test_a_replacement_keeps_what_is_not_the_manifests_business() -> None:
    live = deployment(replicas=5)
    live["metadata"] |= {
        "uid": "1",
        "resourceVersion": "2",
        "ownerReferences": [{"uid": "3"}],
        "finalizers": ["theirs"],
        "annotations": {"deployment.kubernetes.io/revision": "4", "by-hand": "x"},
    }
    body = replacement(deployment(), {**live, "status": {"ready": 1}})
    assert body["metadata"] == {
        "name": "web",
        "uid": "1",
        "resourceVersion": "2",
        "ownerReferences": [{"uid": "3"}],
        "finalizers": ["theirs"],
        "annotations": {"deployment.kubernetes.io/revision": "4"},
    }
    assert body["spec"] == {"replicas": 5}
    assert body["status"] == {"ready": 1}


def test_replicas_that_the_manifest_names_are_its_own() -> None:
    assert replacement(deployment(replicas=1), deployment(replicas=5))["spec"] == {"replicas": 1}


def test_a_service_keeps_the_address_that_it_was_given() -> None:
    live = {"kind": "Service", "metadata": {}, "spec": {"clusterIP": "10.0.0.1", "type": "NodePort"}}
    service = {"kind": "Service", "metadata": {}, "spec": {"type": "ClusterIP"}}
    outside = {"kind": "Service", "metadata": {}, "spec": {"type": "ExternalName", "externalName": "x"}}
    assert replacement(service, live)["spec"] == {"type": "ClusterIP", "clusterIP": "10.0.0.1"}
    assert replacement(outside, live)["spec"] == {"type": "ExternalName", "externalName": "x"}


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("spec.selector", "spec.selector"),
        ("spec.containers[0].image", "spec.containers[web].image"),
        ("spec.containers[5].image", "spec.containers"),
        ("metadata.annotations[a/b]", 'metadata.annotations["a/b"]'),
        ("spec.absent.below", "spec.absent"),
    ],
)
def test_a_refused_field_is_put_back_and_named(field: str, address: str) -> None:
    live = deployment(selector={"app": "old"}, containers=[{"name": "web", "image": "old"}], absent={"below": "old"})
    live["metadata"]["annotations"] = {"a/b": "old"}
    wanted = deployment(selector={"app": "new"}, containers=[{"name": "web", "image": "new"}])
    wanted["metadata"]["annotations"] = {"a/b": "new"}
    assert keep(wanted, live, field) == address
    assert at(wanted, address) == at(live, address)
