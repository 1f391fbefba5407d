"""The pins of toolchain/ agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from releaser.adapters.engine import Engine
from releaser.adapters.process import Process
from releaser.adapters.toolchain import POD_NETWORK, Toolchain
from releaser.adapters.tools import Tools
from tests.conftest import ROOT
from tests.fakes import Recorder

TOOLCHAIN = ROOT / "toolchain"
GO_MOD = (TOOLCHAIN / "go.mod").read_text()


@pytest.fixture
def toolchain() -> Toolchain:
    process = Process(Recorder())
    return Toolchain(process, Tools(process), Engine(process, TOOLCHAIN), TOOLCHAIN)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("KUBERNETES", "k8s.io/kubernetes"),
        ("MINIKUBE", "k8s.io/minikube"),
        ("HELM", "helm.sh/helm/v4"),
        ("CRICTL", "sigs.k8s.io/cri-tools"),
        ("METRICS_SERVER", "sigs.k8s.io/metrics-server"),
    ],
)
def test_what_is_told_as_a_version_is_what_is_compiled(toolchain: Toolchain, name: str, module: str) -> None:
    assert re.search(rf"^\s{re.escape(module)} {re.escape(toolchain.versions[name])}$", GO_MOD, re.MULTILINE)


def test_every_patched_module_is_the_one_that_go_mod_selects() -> None:
    for module in tomllib.loads((TOOLCHAIN / "patches.toml").read_text())["module"]:
        assert re.search(rf"^\s{re.escape(module['path'])} {re.escape(module['version'])}( |$)", GO_MOD, re.MULTILINE)
        assert module["why"]


def test_all_k8s_io_libraries_are_kubernetes_own_of_that_version(toolchain: Toolchain) -> None:
    library = toolchain.versions["KUBERNETES"].replace("v1.", "v0.")
    replaced = re.findall(r"^replace (k8s\.io/\S+) => (\S+) (\S+)$", GO_MOD, re.MULTILINE)
    assert len(replaced) > 20
    assert all(path == target and version == library for path, target, version in replaced)


def test_a_changed_pin_changes_the_key_of_what_is_built(tmp_path: Path) -> None:
    keys = set()
    for text in ("a", "b"):
        (tmp_path / "go.mod").write_text(text)
        process = Process(Recorder())
        keys.add(Toolchain(process, Tools(process), Engine(process, tmp_path), tmp_path).key)
    assert len(keys) == 2


def test_the_pod_network_runs_from_an_image_that_every_node_has(toolchain: Toolchain) -> None:
    manifest = toolchain.local_node.pod_network.read_text()
    [network] = [each for each in yaml.safe_load_all(manifest) if each["kind"] == "DaemonSet"]
    [container] = network["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (f"docker.io/{POD_NETWORK}", "Never")
    assert {"operator": "Exists"} in network["spec"]["template"]["spec"]["tolerations"]


def test_the_pod_network_has_the_ranges_that_minikube_gives_to_pods_and_services() -> None:
    """https://github.com/kubernetes/minikube: cni.DefaultPodCIDR and constants.DefaultServiceCIDR."""
    text = (TOOLCHAIN / "node" / "pod-network.yaml").read_text()
    ranges = re.findall(r"- name: (\w+_CIDR)\n\s+value: (\S+)", text)
    assert ranges == [("POD_CIDR", "10.244.0.0/16"), ("SERVICE_CIDR", "10.96.0.0/12")]
