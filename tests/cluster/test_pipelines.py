"""The pipelines of docs/ci/ release, with an account that has the rights of docs/access/ and no others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests import pages
from tests.cluster import pipelines
from tests.cluster import site as sites
from tests.cluster.account import Account, account
from tests.cluster.site import Site
from tests.conftest import ROOT
from tests.fakes import Recorder

# several releases in a row
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Site]:
    with sites.site(tmp_path_factory.mktemp("pipelines") / "project", cluster) as made:
        yield made


@pytest.fixture(scope="module")
def deployer(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(site, tmp_path_factory.mktemp("account") / "kubeconfig") as made:
        yield made


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The environment of a job, releaser on PATH. Nobody's kubeconfig is in it."""
    tools = Tools(Process(Recorder()))
    made = pages.environment(tmp_path / "bin", [tools.path(name) for name in ("helm", "kubectl")], [sys.executable])
    (tmp_path / "nobody").write_text("")
    return made | {
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(tmp_path / "nobody"),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(tmp_path / "github-env"),
    }


def test_github_s_jobs_bring_a_change_to_dev_and_the_same_image_to_prod(
    site: Site, deployer: Account, runner: dict[str, str]
) -> None:
    secrets = {"KUBECONFIG_DATA": deployer.kubeconfig.read_text()}

    for script in pipelines.github(secrets):
        pipelines.run(script, site.root, runner)

    [dev], [prod] = site.history("dev"), site.history("prod")
    assert (dev["verdict"], prod["verdict"]) == ("good", "good")
    assert prod["entry"]["image_id"] == dev["entry"]["image_id"]
    assert prod["entry"]["promoted_from"] == "dev r1"


def test_gitlab_s_jobs_release_to_prod_what_the_plan_says(
    site: Site, deployer: Account, runner: dict[str, str]
) -> None:
    site.values("prod", app={"greeting": "By GitLab"})

    for script in pipelines.gitlab({"KUBECONFIG": str(deployer.kubeconfig)}):
        pipelines.run(script, site.root, runner)

    newest = site.history("prod")[0]
    assert (newest["verdict"], newest["entry"]["verb"]) == ("good", "deploy")
    assert newest["entry"]["plan"]


def test_the_role_alone_is_enough_to_release_and_to_go_back_where_there_is_no_node_port(
    site: Site, deployer: Account
) -> None:
    deployer.lose_cluster_role()
    kubeconfig = {"KUBECONFIG": str(deployer.kubeconfig)}
    assert site.run("deploy", "prod", "--yes", environment=kubeconfig).code == 0
    good = site.history("prod")[0]["number"]
    site.edit("values-prod.yaml", "environment: prod", "environment: live")  # prod refuses faults
    site.values("prod", faults={"crashAtStart": True})

    failed = site.run("deploy", "prod", "--yes", environment=kubeconfig)

    assert (failed.code, failed.error["cause"]) == (6, "crash at start"), failed.stderr
    assert "forbidden" not in failed.stderr.lower(), failed.stderr
    newest, broken, *_ = site.history("prod")
    assert (newest["verdict"], newest["content"]) == ("good", good)
    assert broken["verdict"] == "failed"


def test_the_account_may_nothing_elsewhere(site: Site, deployer: Account) -> None:
    core = client.CoreV1Api(
        config.new_client_from_config(config_file=str(deployer.kubeconfig), context=site.cluster.context)
    )

    for forbidden in (
        lambda: core.list_namespaced_secret("kube-system"),
        lambda: core.create_namespace({"metadata": {"name": "theirs"}}),
    ):
        with pytest.raises(ApiException, match="Forbidden"):
            forbidden()
