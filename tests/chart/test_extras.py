"""The preflight Job and objects of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.conftest import CHART, ROOT, Render
from tests.chart.helm import Object

FULL = CHART / "ci" / "full-values.yaml"


def preflight(render: Render, **sets: object) -> Object:
    return render(sets={"preflight.enabled": True} | sets).one("Job")


def container(job: Object) -> Object:
    return dict(job["spec"]["template"]["spec"]["containers"][0])


def test_there_is_no_preflight_unless_asked_for(render: Render) -> None:
    assert render().of("Job") == []


def test_the_preflight_never_runs_before_a_rollback(render: Render) -> None:
    """A pre-rollback hook that fails leaves the release in pending-rollback."""
    annotations = preflight(render)["metadata"]["annotations"]
    assert annotations == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }


def test_the_preflight_ends_at_its_first_failure_and_in_time(render: Render) -> None:
    spec = preflight(render, **{"rollout.progressDeadlineSeconds": 77})["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 77, 86400)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_preflight_uses_nothing_that_the_release_has_yet_to_make(render: Render) -> None:
    rendered = render(sets={"preflight.enabled": True, "secret.secretKey": "a-key-of-my-own-choice"})
    pod = rendered.one("Job")["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert "envFrom" not in pod["containers"][0]
    assert all("valueFrom" not in variable for variable in pod["containers"][0]["env"])
    assert "a-key-of-my-own-choice" not in str(rendered.one("Job"))


def test_the_preflight_tries_exactly_the_new_settings(render: Render) -> None:
    sets = {"preflight.enabled": True, "app.greeting": "Costs $(APP_VERSION) and $5", "gunicorn.workers": 3}
    rendered = render(sets=sets)
    given = {v["name"]: v["value"] for v in container(rendered.one("Job"))["env"]}
    key = given.pop("APP_SECRET_KEY")
    assert len(key) >= 16
    # Kubernetes reads $$( in a variable as $(, and takes a ConfigMap as it is
    assert {name: value.replace("$$(", "$(") for name, value in given.items()} == rendered.settings["data"]
    assert given["APP_GREETING"] == "Costs $$(APP_VERSION) and $5"


def test_the_preflight_tries_a_secret_of_ones_own(render: Render) -> None:
    job = preflight(render, **{"secret.create": False, "secret.existingSecret": "mine"})
    [key] = [v for v in container(job)["env"] if v["name"] == "APP_SECRET_KEY"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "mine", "key": "APP_SECRET_KEY"}}


@pytest.mark.parametrize(("workers", "code"), [("2", 0), ("0", 78)])
def test_the_preflights_command_refuses_what_the_service_would_refuse(
    render: Render, tmp_path: Path, workers: str, code: int
) -> None:
    given = {v["name"]: v["value"] for v in container(preflight(render))["env"]} | {"WEB_WORKERS": workers}
    env, unset, gunicorn, check, config = container(preflight(render))["command"]
    assert (env, unset, gunicorn, check) == ("env", "--unset=PROMETHEUS_MULTIPROC_DIR", "gunicorn", "--check-config")
    assert config == "--config=/srv/app/gunicorn.conf.py"  # where the Dockerfile puts app/gunicorn.conf.py
    finished = subprocess.run(
        [env, unset, sys.executable, "-m", gunicorn, check, f"--config={ROOT / 'app' / 'gunicorn.conf.py'}"],
        env=given | {"PATH": "/usr/bin:/bin", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "absent")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == code, finished.stderr
    assert code == 0 or "WEB_WORKERS" in finished.stderr


def test_no_service_and_no_budget_takes_the_preflight_for_a_server(render: Render) -> None:
    rendered = render(sets={"preflight.enabled": True})
    labels = rendered.one("Job")["spec"]["template"]["metadata"]["labels"]
    assert not rendered.one("Service")["spec"]["selector"].items() <= labels.items()


def test_objects_of_ones_own_are_templates_and_carry_the_releases_labels(render: Render) -> None:
    objects = {o["metadata"]["name"]: o for o in render(FULL, release="hello").of("ConfigMap")}
    extra = objects["hello-flask-hello-extra"]
    assert extra["data"] == {"environment": "staging"}
    assert extra["metadata"]["labels"]["app.kubernetes.io/instance"] == "hello"
    assert extra["metadata"]["labels"]["app.kubernetes.io/component"] == "extra"
    assert objects["hello-labelled"]["metadata"]["labels"]["example/team"] == "greeters"
    assert objects["hello-labelled"]["metadata"]["labels"]["app.kubernetes.io/instance"] == "hello"
