"""What flows rely on of live objects: the fake and the real ones must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.live import LiveObjects
from releaser.flows.ports import Live
from releaser.objects import Body, KubeObject, as_released, managers, parse_manifest
from tests.fakes import FakeLive, World

MANIFEST = """\
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
data:
  text: a
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 0
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: web:1
"""
Edit = Callable[[str, dict[str, Any]], None]


@dataclass
class Side:
    """`edit` lays a patch over a live object, as somebody would by hand."""

    live: Live
    edit: Edit
    namespace: str

    def objects(self, manifest: str = MANIFEST) -> tuple[KubeObject, ...]:
        return as_released(parse_manifest(manifest, self.namespace), "web", self.namespace)

    def made(self) -> tuple[KubeObject, KubeObject]:
        """The manifest's objects, live."""
        config, deployment = self.objects()
        for each in (config, deployment):
            self.live.restore(self.live.compare(each))
        return config, deployment

    def differences(self, *objects: KubeObject) -> dict[str, tuple[Any, Any]]:
        found = [each for one in objects for each in self.live.compare(one).differences]
        return {f"{each.object_ref} {each.address}".strip(): (each.wanted, each.live) for each in found}


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        fake = FakeLive(World())

        def edit_fake(ref: str, patch: Body) -> None:
            fake.edit(ref, lambda body: _lay(body, patch), "OpenAPI-Generator")

        yield Side(fake, edit_fake, "test")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    namespace: str = request.getfixturevalue("namespace")
    core, apps = client.CoreV1Api(cluster._api), client.AppsV1Api(cluster._api)

    def edit_real(ref: str, patch: Body) -> None:
        kind, _, name = ref.partition("/")
        patching = {"configmap": core.patch_namespaced_config_map, "deployment": apps.patch_namespaced_deployment}
        patching[kind](name, namespace, patch)

    yield Side(LiveObjects(cluster.context), edit_real, namespace)


def _lay(body: Body, patch: Body) -> None:
    for key, value in patch.items():
        if isinstance(value, dict):
            _lay(body[key], value)
        elif value is None:
            del body[key]
        else:
            body[key] = value


def test_what_is_not_there_is_none_and_one_difference(side: Side) -> None:
    config, _ = side.objects()
    assert side.live.get(config) is None
    assert list(side.differences(config)) == ["configmap/web"]


def test_a_restored_object_is_as_its_manifest_says(side: Side) -> None:
    config, deployment = side.made()
    body = side.live.get(config)
    assert body is not None and body["data"] == {"text": "a"}
    assert side.differences(config, deployment) == {}


def test_changed_added_and_removed_fields_differ_and_are_put_right(side: Side) -> None:
    config, deployment = side.made()
    side.edit("configmap/web", {"data": {"text": None, "more": "x"}})
    side.edit("deployment/web", {"spec": {"minReadySeconds": 3}})
    found = side.differences(config, deployment)
    assert set(found) == {"configmap/web data.text", "configmap/web data.more", "deployment/web spec.minReadySeconds"}
    assert found["configmap/web data.text"][0] == "a" and found["configmap/web data.more"][1] == "x"
    for each in (config, deployment):
        side.live.restore(side.live.compare(each))
    assert side.differences(config, deployment) == {}


def test_who_edited_a_field_is_known_until_it_is_put_right(side: Side) -> None:
    _, deployment = side.made()
    side.edit("deployment/web", {"spec": {"replicas": 0, "minReadySeconds": 3}})
    body = side.live.get(deployment)
    assert body is not None
    assert [owner.manager for owner in managers(body, "spec.minReadySeconds")] == ["OpenAPI-Generator"]


def test_owned_objects_are_those_of_the_release_and_of_the_kinds_named(side: Side) -> None:
    config, deployment = side.made()
    assert {each.ref for each in side.live.owned("web", side.namespace, [config, deployment])} == {
        "configmap/web",
        "deployment/web",
    }
    assert [each.identity for each in side.live.owned("web", side.namespace, [config])] == [config.identity]
    assert side.live.owned("other", side.namespace, [config, deployment]) == ()


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(side: Side) -> None:
    config, _ = side.made()
    side.live.delete(config)
    side.live.delete(config)
    assert side.live.get(config) is None


def test_a_prediction_tells_what_helm_would_make_and_makes_nothing(side: Side) -> None:
    config, deployment = side.made()
    new_config, new_deployment = side.objects(MANIFEST.replace("text: a", "text: b").replace("web:1", "web:2"))
    predicted = side.live.predict(new_config)
    assert predicted.predicted is not None and predicted.predicted["data"] == {"text": "b"}
    assert side.live.predict(new_deployment).refused == ()
    assert side.differences(config, deployment) == {}


def test_what_is_not_there_is_predicted_as_new(side: Side) -> None:
    config, _ = side.objects()
    predicted = side.live.predict(config)
    assert predicted.live is None and predicted.predicted is not None and predicted.refused == ()


def test_a_field_that_cannot_change_is_named(side: Side) -> None:
    side.made()
    _, other = side.objects(MANIFEST.replace("app: web", "app: other"))
    assert "spec.selector" in {each.address for each in side.live.predict(other).refused}
    compared = side.live.compare(other)
    assert "spec.selector" in {each.address for each in compared.refused}
    assert "deployment/web spec.selector.matchLabels.app" in side.differences(other)


def test_a_cluster_has_an_identity_of_its_own(side: Side) -> None:
    assert side.live.cluster_uid() == side.live.cluster_uid() != ""
