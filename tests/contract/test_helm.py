"""What flows rely on of Helm: the fake and the real one must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from releaser.adapters.cluster import Cluster
from releaser.adapters.helm import Helm as RealHelm
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import InvalidInput, Refused
from releaser.flows.ports import Helm, Records
from releaser.objects import parse_manifest
from tests.fakes import FakeCluster, FakeHelm, Recorder, World


@dataclass
class Side:
    helm: Helm
    records: Records
    namespace: str
    chart: Path

    def upgrade(self, values: dict[str, object], **labels: str) -> int:
        return self.helm.upgrade("web", self.namespace, self.chart, values, labels)

    def statuses(self) -> list[tuple[int, str]]:
        return [(each.number, each.status) for each in self.helm.history("web", self.namespace)]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """One ConfigMap; `refused` makes the API server refuse it, any other value is unknown."""
    files = {
        "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "values.yaml": "text: a\nrefused: false\n",
        "values.schema.json": '{"additionalProperties": false, "properties": {"text": {}, "refused": {}}}',
        "templates/web.yaml": """\
            apiVersion: v1
            kind: ConfigMap
            metadata:
              name: {{ .Release.Name }}
              labels:
                refused: {{ ternary "not a label" "" .Values.refused | quote }}
            data:
              text: {{ .Values.text }}
            """,
    }
    for name, text in files.items():
        path = tmp_path / "web" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "web"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def side(request: pytest.FixtureRequest, chart: Path) -> Iterator[Side]:
    if request.param == "fake":
        world = World()
        yield Side(FakeHelm(world), FakeCluster(world), "test", chart)
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    process = Process(Recorder())
    helm = RealHelm(process, Tools(process), cluster.context)
    yield Side(helm, cluster, request.getfixturevalue("namespace"), chart)


def test_an_unknown_release_has_no_history_and_no_labels(side: Side) -> None:
    assert side.helm.history("web", side.namespace) == ()
    assert side.records.revision_labels(side.namespace, "web") == {}


def test_each_upgrade_is_a_revision_and_supersedes_the_one_before(side: Side) -> None:
    assert [side.upgrade({"text": text}) for text in ("a", "b", "b")] == [1, 2, 3]
    assert side.statuses() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]


def test_labels_stay_with_their_revision_when_it_is_superseded(side: Side) -> None:
    side.upgrade({}, a="1")
    side.records.label_revision(side.namespace, "web", 1, {"releaser/verdict": "good.1"})
    side.upgrade({}, a="2")
    labels = side.records.revision_labels(side.namespace, "web")
    assert (labels[1]["a"], labels[1]["releaser/verdict"], labels[2]["a"]) == ("1", "good.1", "2")


def test_a_rollback_is_a_new_revision_that_knows_its_target_and_copies_its_labels(side: Side) -> None:
    side.upgrade({"text": "a"}, a="1")
    side.upgrade({"text": "b"}, a="2")
    side.helm.rollback("web", side.namespace, 1)
    newest = side.helm.history("web", side.namespace)[-1]
    assert (newest.number, newest.status, newest.rollback_of) == (3, "deployed", 1)
    assert side.records.revision_labels(side.namespace, "web")[3]["a"] == "1"


def test_values_that_the_chart_refuses_leave_no_trace(side: Side) -> None:
    with pytest.raises(InvalidInput) as caught:
        side.upgrade({"unknownKey": True})
    assert "unknownKey" in caught.value.detail
    assert side.statuses() == []


def test_an_object_that_the_api_server_refuses_leaves_a_failed_revision(side: Side) -> None:
    side.upgrade({})
    with pytest.raises(InvalidInput):
        side.upgrade({"refused": True})
    assert side.statuses()[-1] == (2, "failed")
    side.helm.rollback("web", side.namespace, 1)
    assert side.statuses()[-1] == (3, "deployed")


def text_of(manifest: str) -> str:
    [found] = [each for each in parse_manifest(manifest, "any") if each.ref == "configmap/web"]
    return str(found.body["data"]["text"])


def test_each_revision_keeps_its_manifest_and_its_values(side: Side) -> None:
    side.upgrade({})
    side.upgrade({"text": "b"})
    side.helm.rollback("web", side.namespace, 1)
    assert [text_of(side.helm.manifest("web", side.namespace, number)) for number in (1, 2, 3)] == ["a", "b", "a"]
    assert [side.helm.values("web", side.namespace, number) for number in (1, 2, 3)] == [{}, {"text": "b"}, {}]


def test_a_revision_that_is_not_there_has_no_manifest_and_no_values(side: Side) -> None:
    for ask in (side.helm.manifest, side.helm.values):
        with pytest.raises(Refused, match="no revision 1"):
            ask("web", side.namespace, 1)


def test_rendering_tells_what_an_upgrade_would_send_and_does_nothing(side: Side) -> None:
    assert text_of(side.helm.render("web", side.namespace, side.chart, {"text": "b"})) == "b"
    assert side.statuses() == []
    side.upgrade({"text": "b"})
    assert text_of(side.helm.render("web", side.namespace, side.chart, {})) == "a"
    assert side.statuses() == [(1, "deployed")]


def test_rendering_refuses_values_as_an_upgrade_does(side: Side) -> None:
    with pytest.raises(InvalidInput) as caught:
        side.helm.render("web", side.namespace, side.chart, {"unknownKey": True})
    assert "unknownKey" in caught.value.detail


def test_an_uninstalled_release_has_no_history(side: Side) -> None:
    side.upgrade({})
    side.helm.uninstall("web", side.namespace)
    side.helm.uninstall("web", side.namespace)  # and once more is no error
    assert side.helm.history("web", side.namespace) == ()


def test_a_chart_without_tests_passes_them(side: Side) -> None:
    side.upgrade({})
    assert side.helm.test("web", side.namespace, 30).passed
