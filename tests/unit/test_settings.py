from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from releaser.errors import InvalidInput, UsageError
from releaser.settings import load_project


def write(root: Path, text: str) -> None:
    (root / "releaser.yaml").write_text(dedent(text))


def test_environments_are_the_values_files(root: Path) -> None:
    project = load_project(root)
    assert [environment.name for environment in project.environments] == ["dev", "prod"]
    assert project.environment("prod").protected
    assert not project.environment("dev").protected
    assert project.environment("dev").namespace == "web-dev"


def test_without_releaser_yaml_the_chart_names_the_release_and_minikube_is_the_context(root: Path) -> None:
    (root / "releaser.yaml").unlink()
    project = load_project(root)
    assert project.release == "web"
    assert project.environment("dev").context == "minikube"
    assert project.environment("prod").protected


def test_an_unknown_environment_names_the_known_ones_and_the_one_meant(root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_project(root).environment("prd")
    assert 'did you mean "prod"?' in caught.value.message
    assert "dev, prod" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("relaese: web\n", ["releaser.yaml:1:1", '"relaese"', 'did you mean "release"?']),
        (
            """\
            environments:
              dev:
                contxt: fake
            """,
            ["releaser.yaml:3:5", '"contxt"', 'did you mean "context"?'],
        ),
        (
            """\
            environments:
              dev:
                protected: perhaps
            """,
            ["releaser.yaml:3:5", "perhaps"],
        ),
        ("release: Not_A_Name\n", ["releaser.yaml:1:1", "Not_A_Name"]),
        (
            """\
            environments:
              stagng:
                context: fake
            """,
            ["releaser.yaml:2:3", "values-stagng.yaml"],
        ),
        ("release: web\nrelease: web\n", ["releaser.yaml:2:1", "stands twice"]),
        ("release: [web\n", ["releaser.yaml:2:1"]),
        ("- release\n", ["releaser.yaml:1:1", "a mapping is wanted"]),
    ],
)
def test_a_mistake_in_releaser_yaml_is_shown_with_its_place(root: Path, text: str, words: list[str]) -> None:
    write(root, text)
    with pytest.raises(InvalidInput) as caught:
        load_project(root)
    for word in words:
        assert word in caught.value.message
    assert caught.value.exit_code == 3


def test_an_environment_may_name_the_prometheus_that_watches_it(root: Path) -> None:
    write(root, "environments: {dev: {prometheus: {url: 'http://prometheus.example:9090/prometheus'}}}\n")
    project = load_project(root)
    assert project.environment("dev").prometheus_url == "http://prometheus.example:9090/prometheus"
    assert project.environment("prod").prometheus_url == ""


@pytest.mark.parametrize("prometheus", ["{url: prometheus:9090}", "{}", "{url: 'http://p/?x'}", "{uri: 'http://p'}"])
def test_what_is_no_address_of_a_prometheus_is_told_with_its_place(root: Path, prometheus: str) -> None:
    write(root, f"environments:\n  dev:\n    prometheus: {prometheus}\n")
    with pytest.raises(InvalidInput, match=r"releaser\.yaml:3:"):
        load_project(root)


def test_a_project_without_a_chart_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="charts"):
        load_project(tmp_path)


def test_a_project_that_is_no_directory_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_project(tmp_path / "nowhere")


# -- registry ----------------------------------------------------------------------------------------------------------

BY_REGISTRY = """\
environments:
  prod:
    delivery: registry
    registry:
      repository: registry.example:5000/team/web
      createPullSecret: true
"""


def test_an_environment_may_deliver_by_a_registry(root: Path) -> None:
    (root / "releaser.yaml").write_text(BY_REGISTRY)
    registry = load_project(root).environment("prod").registry
    assert registry is not None
    assert (registry.repository, registry.create_pull_secret) == ("registry.example:5000/team/web", True)
    assert load_project(root).environment("dev").registry is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    delivery: registry\n", "", "need each other"),
        ("    registry:\n", "    probe: {}\n    x:\n", 'unknown key "x"'),
        ("createPullSecret", "createPullsecret", 'did you mean "createPullSecret"'),
        (
            "      createPullSecret: true\n",
            "      createPullSecret: true\n      pullSecret: mine\n",
            "pullSecret names",
        ),
        ("registry.example:5000/team/web", "registry.example", "HOST[:PORT]/PATH"),
        ("registry.example:5000/team/web", "registry.example/team/web:tag", "HOST[:PORT]/PATH"),
    ],
)
def test_settings_of_a_registry_that_do_not_fit_are_told(root: Path, old: str, new: str, told: str) -> None:
    assert old in BY_REGISTRY
    (root / "releaser.yaml").write_text(BY_REGISTRY.replace(old, new))
    with pytest.raises(InvalidInput) as caught:
        load_project(root)
    assert told in f"{caught.value.message} {caught.value.detail}"
    assert "releaser.yaml:" in caught.value.message


def test_live_code_is_a_directory_of_the_project_and_patterns(root: Path) -> None:
    (root / "app" / "parts").mkdir(parents=True)
    for name in ("pages.py", "parts/menu.py", "requirements.lock"):
        (root / "app" / name).write_text(name)
    path = root / "releaser.yaml"
    path.write_text(path.read_text() + "dev: {live: {from: app, to: /srv/app, files: ['*.py']}}\n")
    live = load_project(root).live_code
    assert live is not None and live.target == "/srv/app"
    assert live.files() == {"pages.py": b"pages.py", "parts/menu.py": b"parts/menu.py"}
    assert live.has(root / "app" / "gone.py") and not live.has(root / "app" / "requirements.lock")
    assert not live.has(root / "other.py")


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ("{from: ap, to: /srv/app}", ["releaser.yaml", "ap is not a directory"]),
        ("{from: app, to: srv}", ["releaser.yaml", "absolute path in the container"]),
        ("{form: app, to: /srv/app}", ['"form"', 'did you mean "from"?']),
    ],
)
def test_wrong_live_code_is_told_with_its_place(root: Path, live: str, words: list[str]) -> None:
    (root / "app").mkdir()
    path = root / "releaser.yaml"
    path.write_text(path.read_text() + f"dev:\n  live: {live}\n")
    with pytest.raises(InvalidInput) as caught:
        load_project(root)
    told = f"{caught.value.message} {caught.value.detail}"
    assert all(word in told for word in words), told
