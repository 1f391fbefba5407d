"""The chart by plain helm, without releaser: admitted, upgraded from its previous version, and rolled back to it.

tests/chart/previous/ has the previous version as an archive, made by `releaser package`: a clone without history can
run this too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.chart.helm import CHART, CI_VALUES, Object
from tests.conftest import ROOT, make_namespace
from tests.fakes import Recorder

pytestmark = pytest.mark.cluster

[PREVIOUS] = (ROOT / "tests" / "chart" / "previous").glob("*.tgz")
RELEASE = "hello"
DEADLINE_SECONDS = 240.0
# What the ci files ask for and a cluster may lack: as much of each as the API server needs to take such an object.
CRDS = {
    "httproutes": ("gateway.networking.k8s.io", "HTTPRoute"),
    "servicemonitors": ("monitoring.coreos.com", "ServiceMonitor"),
    "prometheusrules": ("monitoring.coreos.com", "PrometheusRule"),
}
every_values = pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> Iterator[None]:
    """Makes those that are missing, and takes them away again."""
    api = client.ApiextensionsV1Api(cluster._api)
    present = {each.metadata.name for each in api.list_custom_resource_definition().items}
    made = [_crd(plural, *CRDS[plural]) for plural in CRDS if f"{plural}.{CRDS[plural][0]}" not in present]
    for each in made:
        api.create_custom_resource_definition(each)
    yield
    for each in made:
        api.delete_custom_resource_definition(each["metadata"]["name"])


def _crd(plural: str, group: str, kind: str) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    # names under k8s.io are protected
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/1923"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, context: str) -> Object:
    """The service as it is now, in the node: values that name it."""
    root = tmp_path_factory.mktemp("project")
    for name in ("app", "charts"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("Dockerfile", ".dockerignore", "values-dev.yaml"):
        shutil.copy(ROOT / name, root / name)
    (root / "releaser.yaml").write_text(yaml.safe_dump({"environments": {"dev": {"context": context}}}))
    argv = [sys.executable, "-m", "releaser", "--project", root, "--output", "json", "load", "dev"]
    finished = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    loaded = json.loads(finished.stdout)["image"]
    return {"repository": loaded["repository"], "tag": loaded["tag"], "digest": "", "pullSecrets": []}


@dataclass(frozen=True)
class Namespace:
    """A namespace of the real cluster, and plain helm and kubectl in it."""

    name: str
    context: str
    tools: Tools

    def helm(self, verb: str, *arguments: str | Path, values: Object | None = None) -> str:
        given = ["--values", "-"] if values is not None else []
        return self._run("helm", verb, *arguments, *given, "--kube-context", self.context, text=json.dumps(values))

    def kubectl(self, *arguments: str) -> str:
        return self._run("kubectl", *arguments, "--context", self.context)

    def create(self, wanted: Object, *options: str) -> str:
        argv = ("create", "--filename", "-", *options, "--context", self.context)
        return self._run("kubectl", *argv, text=json.dumps(wanted))

    def rolled_out(self) -> Object:
        """The Deployment, once its rollout is complete."""
        deployment = f"deployment/{RELEASE}-flask-hello"
        self.kubectl("rollout", "status", deployment, f"--timeout={DEADLINE_SECONDS:.0f}s")
        return dict(json.loads(self.kubectl("get", deployment, "--output", "json")))

    def objects(self) -> dict[tuple[str, str], Object]:
        """Those of the release's manifest as they are in the cluster."""
        manifest = self.helm("get", "manifest", RELEASE)
        wanted = [each for each in yaml.safe_load_all(manifest) if each]
        return {
            (each["kind"], each["metadata"]["name"]): json.loads(
                self.kubectl("get", each["kind"].lower(), each["metadata"]["name"], "--output", "json")
            )
            for each in wanted
        }

    def _run(self, tool: str, *arguments: str | Path, text: str | None = None) -> str:
        argv = [str(self.tools.path(tool)), *map(str, arguments), "--namespace", self.name]
        finished = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=DEADLINE_SECONDS + 60)
        assert finished.returncode == 0, f"{' '.join(argv)}\n{finished.stdout}{finished.stderr}"
        return finished.stdout


@pytest.fixture
def place(cluster: Cluster, context: str, core: client.CoreV1Api) -> Iterator[Namespace]:
    """Enforces `restricted` for pods, and warns of what would make others; has what ci/full-values.yaml names."""
    name = make_namespace()
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=labels)))
    for secret, data in (("session-key", {"APP_SECRET_KEY": "a-key-of-my-own-choice"}), ("registry-credentials", {})):
        metadata = client.V1ObjectMeta(name=secret)
        core.create_namespaced_secret(name, client.V1Secret(metadata=metadata, string_data=data))
    core.create_namespaced_service_account(name, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="existing")))
    yield Namespace(name, context, Tools(Process(Recorder())))
    core.delete_namespace(name)


def given(path: Path, image: Object, chart_values: Object) -> Object:
    """The file's values as far as the chart knows them, the image that the node has, and no port that may be taken."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    over: Object = {"image": image, "service": {"nodePort": None}, "rollout": {"preStopSleepSeconds": 1}}
    return _known(_laid_over(values, over), chart_values)


def _laid_over(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _laid_over(base.get(key), value) for key, value in over.items()}
    return over


def _known(values: Object, chart_values: Object) -> Object:
    """Without keys that this version of the chart lacks; a map that is empty there may have any."""
    known = {key: value for key, value in values.items() if key in chart_values}
    return {
        key: _known(value, chart_values[key]) if isinstance(value, dict) and chart_values[key] else value
        for key, value in known.items()
    }


@pytest.fixture(scope="module")
def defaults(context: str) -> dict[Path, Object]:
    """The values that each version of the chart has by itself."""
    helm = Tools(Process(Recorder())).path("helm")

    def shown(chart: Path) -> Object:
        argv = [helm, "show", "values", chart]
        return dict(yaml.safe_load(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout))

    return {chart: shown(chart) for chart in (PREVIOUS, CHART)}


def test_the_previous_version_is_older() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    previous = PREVIOUS.stem.removeprefix("flask-hello-")
    assert tuple(map(int, previous.split("."))) < tuple(map(int, version.split(".")))


@every_values
def test_the_api_server_admits_every_object_under_restricted(
    place: Namespace, image: Object, defaults: dict[Path, Object], values: Path
) -> None:
    """Hooks too, which no dry run of an install sends. A warning, such as of a deprecated field, is a failure."""
    text = place.helm("template", RELEASE, CHART, values=given(values, image, defaults[CHART]))
    objects = [each for each in yaml.safe_load_all(text) if each]
    # pods are refused while their account isn't there
    for account in (each for each in objects if each["kind"] == "ServiceAccount"):
        place.create(account)
    for each in objects:
        if each["kind"] != "ServiceAccount":
            assert "(server dry run)" in place.create(each, "--dry-run=server", "--warnings-as-errors")


def test_the_api_server_refuses_what_is_not_restricted(
    place: Namespace, image: Object, defaults: dict[Path, Object]
) -> None:
    """Else the test above would show nothing."""
    text = place.helm("template", RELEASE, CHART, values=given(CI_VALUES[0], image, defaults[CHART]))
    [deployment] = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "Deployment"]
    del deployment["spec"]["template"]["spec"]["securityContext"]
    with pytest.raises(AssertionError, match='would violate PodSecurity "restricted:latest"'):
        place.create(deployment, "--dry-run=server", "--warnings-as-errors")


@every_values
def test_an_upgrade_from_the_previous_version_and_the_way_back(
    place: Namespace, image: Object, defaults: dict[Path, Object], values: Path
) -> None:
    before, after = (given(values, image, defaults[chart]) for chart in (PREVIOUS, CHART))

    place.helm("upgrade", "--install", RELEASE, PREVIOUS, values=before)
    old = place.rolled_out()
    place.helm("upgrade", RELEASE, CHART, values=after)
    new = place.rolled_out()
    assert new["spec"]["selector"] == old["spec"]["selector"]
    assert version(new) != version(old)
    place.helm("test", RELEASE)

    place.helm("upgrade", RELEASE, CHART, values=after)
    again = place.rolled_out()
    assert without_pace(again) == without_pace(new)
    assert replica_set(again) == replica_set(new), "the same input makes no new ReplicaSet"

    place.helm("rollback", RELEASE, "1")
    back = place.rolled_out()
    assert version(back) == version(old)
    assert without_pace(back) == without_pace(old)
    history = json.loads(place.helm("history", RELEASE, "--output", "json"))
    assert [(each["revision"], each["status"]) for each in history][-1] == (4, "deployed")
    # its manifest is all there, and what only the newer version made is gone
    live = place.objects()
    manifest_kinds = {kind for kind, _ in live}
    assert not manifest_kinds & {"Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule"}
    selector = f"app.kubernetes.io/instance={RELEASE}"
    for kind in ("ingress", "httproute", "servicemonitor", "prometheusrule"):
        assert place.kubectl("get", kind, "--selector", selector, "--output", "name") == ""


def version(deployment: Object) -> str:
    return str(deployment["metadata"]["labels"]["helm.sh/chart"])


def replica_set(deployment: Object) -> str:
    """The number of the ReplicaSet that the Deployment has now."""
    return str(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def without_pace(deployment: Object) -> Object:
    """The specification; an HPA may have changed the number of pods since."""
    spec = deepcopy(deployment["spec"])
    spec.pop("replicas")
    return dict(spec)
