"""Fixtures of the chart's tests: real programs, no cluster. HELM and HELM3 name other binaries than those built here.

A program that is missing is an error, not a skip; `make checks` builds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from checks.build import program
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.chart.helm import CHART, CI_VALUES, ROOT, Helm, Refused, Rendered
from tests.chart.schemas import Kubeconform
from tests.fakes import Recorder

__all__ = ["CHART", "CI_VALUES", "ROOT", "Refusal", "Render"]

Render = Callable[..., Rendered]
Refusal = Callable[..., str]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without Helm 4 this is an error, not a skip, and says that `releaser up` builds one."""
    executable = os.environ.get("HELM") or Tools(Process(Recorder())).path("helm")
    return Helm(str(executable), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def helm3(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    executable = os.environ.get("HELM3") or program("helm3")
    return Helm(str(executable), tmp_path_factory.mktemp("helm3"))


@pytest.fixture(scope="session")
def kubeconform(tmp_path_factory: pytest.TempPathFactory) -> Kubeconform:
    return Kubeconform(program("kubeconform"), tmp_path_factory.mktemp("schemas"))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """render(values=FILE, sets={"image.tag": "x"}, release=..., namespace=...)"""
    return helm.render


@pytest.fixture(scope="session")
def refused(helm: Helm) -> Refusal:
    """As render, but returns what helm says when it refuses, and fails the test if it doesn't."""

    def refused(**given: object) -> str:
        try:
            helm.render(**given)  # type: ignore[arg-type]
        except Refused as refusal:
            return str(refusal)
        pytest.fail(f"helm accepts {given}")

    return refused
