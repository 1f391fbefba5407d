"""The settings of older pods stay in the release as long as a ReplicaSet needs them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.api_server import against, owned, serving
from tests.chart.conftest import Render
from tests.chart.helm import Object, Rendered

OLD = "flask-hello-0123abcd"
DATA = {"APP_ENVIRONMENT": "dev", "APP_GREETING": "as it was"}
RELEASE = {"app.kubernetes.io/name": "flask-hello", "app.kubernetes.io/instance": "flask-hello"}


def settings(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned(name), "data": data}


def replica_set(*config_maps: str, labels: dict[str, str] | None = RELEASE, name: str = "flask-hello-1") -> Object:
    """With a container that reads these ConfigMaps, and a Secret as any container may."""
    sources: list[Any] = [{"secretRef": {"name": "other"}}, *({"configMapRef": {"name": each}} for each in config_maps)]
    metadata: Object = {"name": name, "namespace": "default"} | ({"labels": labels} if labels is not None else {})
    containers = [{"name": "web", "envFrom": sources}, {"name": "beside"}]
    spec = {"template": {"spec": {"containers": containers}}}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}


def kept(rendered: Rendered) -> list[Object]:
    """ConfigMaps beside the one that new pods read."""
    [source] = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    return [o for o in rendered.of("ConfigMap") if o["metadata"]["name"] != source["configMapRef"]["name"]]


def rendered_beside(render: Render, *objects: Object) -> Rendered:
    with serving(*objects) as url:
        return render(more=against(url))


def test_settings_that_a_replica_set_needs_stay_as_they_are(render: Render) -> None:
    rendered = rendered_beside(render, settings(OLD, DATA), replica_set(OLD))
    [old] = kept(rendered)
    assert (old["apiVersion"], old["kind"]) == ("v1", "ConfigMap")
    assert (old["metadata"]["name"], old["data"], old["immutable"]) == (OLD, DATA, True)
    assert old["metadata"]["labels"] == rendered.one("Service")["metadata"]["labels"]


def test_settings_that_several_replica_sets_need_stay_once(render: Render) -> None:
    older = settings("flask-hello-89abcdef", DATA | {"APP_GREETING": "as it was before"})
    both = replica_set(OLD), replica_set(OLD, "flask-hello-89abcdef", name="flask-hello-2")
    rendered = rendered_beside(render, settings(OLD, DATA), older, *both)
    assert {o["metadata"]["name"] for o in kept(rendered)} == {OLD, "flask-hello-89abcdef"}
    assert len(kept(rendered)) == 2


def test_settings_that_no_replica_set_needs_go(render: Render) -> None:
    assert kept(rendered_beside(render, settings(OLD, DATA), replica_set())) == []


def test_the_settings_of_now_are_made_once(render: Render) -> None:
    now = render().settings
    name = now["metadata"]["name"]
    rendered = rendered_beside(render, settings(name, {"APP_ENVIRONMENT": "changed by hand"}), replica_set(name))
    assert [o["data"] for o in rendered.of("ConfigMap")] == [now["data"]]


def test_settings_that_are_gone_are_not_made_up(render: Render) -> None:
    assert kept(rendered_beside(render, replica_set(OLD))) == []


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(RELEASE | {"app.kubernetes.io/instance": "another"}, id="another release's"),
        pytest.param(RELEASE | {"app.kubernetes.io/name": "another"}, id="another chart's"),
        pytest.param(None, id="nobody's"),
    ],
)
def test_settings_of_other_replica_sets_are_left_alone(render: Render, labels: dict[str, str] | None) -> None:
    assert kept(rendered_beside(render, settings(OLD, DATA), replica_set(OLD, labels=labels))) == []
