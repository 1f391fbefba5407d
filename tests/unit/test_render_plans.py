"""plan and drift as people read them, within 80 columns."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

from releaser.console import Output, Printer
from releaser.objects import FieldOwner, Mark
from releaser.plans import Action, Drift, DriftedField, ObjectChange, Plan, PlannedField

HAND = FieldOwner("kubectl-edit", "Update", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
LONG = "spec.template.spec.containers[a-very-long-container-name].env[A_VERY_LONG_VARIABLE_NAME].value"
FIELDS = (
    DriftedField("deployment/web", "spec.replicas", 2, 5, (HAND,)),
    DriftedField("deployment/web", LONG, "x" * 200, Mark.ABSENT, ()),
    DriftedField("secret/web", "data.key", Mark.HIDDEN, Mark.CHANGED, (HAND,)),
    DriftedField("configmap/web", "", Mark.PRESENT, Mark.ABSENT, ()),
    DriftedField("service/stray", "", Mark.ABSENT, Mark.PRESENT, ()),
)


def shown(result: object, output: Output = Output.TEXT) -> list[str]:
    stdout = StringIO()
    Printer(output, stdout=stdout, stderr=StringIO()).result(result)
    return stdout.getvalue().splitlines()


def drift(*fields: DriftedField, fixed: bool = False) -> Drift:
    return Drift("dev", "web", "web-dev", 3, fields, fixed)


def plan(*changes: ObjectChange, by_hand: tuple[DriftedField, ...] = ()) -> Plan:
    return Plan("dev", "fake", "uid", "web-dev", "web", 3, "web:1-a", "", "c", "v", "m", {}, changes, by_hand)


def test_drift_is_a_list_of_fields_by_object() -> None:
    lines = shown(drift(*FIELDS))
    assert lines[:4] == [
        "web in web-dev, revision 3: 5 fields differ",
        "deployment/web",
        "  spec.replicas",
        "    wanted 2, live 5  by kubectl-edit, 2026-01-02 03:04:05 UTC",
    ]
    assert "    wanted (hidden), live (hidden, changed)" in lines
    assert lines[-5:] == [
        "configmap/web",
        "  the whole object is missing",
        "service/stray",
        "  belongs to no revision",
        "next:  releaser drift dev --fix",
    ]
    assert max(map(len, lines)) <= 80


def test_no_drift_is_one_line() -> None:
    assert shown(drift()) == ["web in web-dev: as revision 3 has it"]
    assert "again as the release has it" in shown(drift(FIELDS[0], fixed=True))[0]


def test_a_plan_is_a_list_of_signed_objects_and_their_counts() -> None:
    lines = shown(
        plan(
            ObjectChange("configmap/new", Action.CREATE, (PlannedField("data.a", Mark.ABSENT, "b"),)),
            ObjectChange(
                "deployment/web",
                Action.CHANGE,
                (PlannedField("spec.template.spec.containers[web].image", "web:1-a", "web:1-b"),),
                restarts=True,
            ),
            ObjectChange("secret/web", Action.CHANGE, (PlannedField("data.key", Mark.HIDDEN, Mark.CHANGED),)),
            ObjectChange("service/old", Action.DELETE),
            ObjectChange("deployment/b", Action.CHANGE, (PlannedField(LONG, "x" * 90, "y\n"),), False, ("spec.sel",)),
            ObjectChange("service/web", Action.UNCHANGED),
            by_hand=(FIELDS[0],),
        )
    )
    assert lines[:9] == [
        "web in web-dev (context fake), revision 3",
        "image web:1-a",
        "+ configmap/new",
        "~ deployment/web  restarts its pods",
        "  spec.template.spec.containers[web].image: web:1-a -> web:1-b",
        "~ secret/web",
        "  data.key: (hidden, changed)",
        "- service/old",
        "! deployment/b",
    ]
    assert lines[9] == "  ! spec.sel can't be changed"
    assert "changed by hand since the last release:" in lines
    assert lines[-1] == "plan: 1 to create, 3 to change, 1 to delete, 1 unchanged"
    assert max(map(len, lines)) <= 80


def test_json_has_every_value_whole() -> None:
    text = "\n".join(shown(drift(*FIELDS), Output.JSON))
    assert "x" * 200 in text and '"live": "(absent)"' in text and '"manager": "kubectl-edit"' in text
