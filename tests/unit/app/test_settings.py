from __future__ import annotations

from pathlib import Path

import pytest

from app import __version__
from app.settings import Faults, Settings, SettingsError, Web

KEY = "k" * 16


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    return str(caught.value)


def test_an_empty_environment_gives_a_working_development_service() -> None:
    settings = Settings.from_environ({})
    assert (settings.environment, settings.version, settings.log_level) == ("dev", __version__, "info")
    assert settings.greeting == "Hello from Kubernetes"
    assert settings.faults == Faults()
    assert settings.web == Web(8080, 2, 4, 25, 30, 5)
    assert settings.pod.name
    assert len(settings.secret_key) >= 16
    assert settings.metrics_directory is None


def test_every_variable_is_heard() -> None:
    settings = Settings.from_environ(
        {
            "APP_ENVIRONMENT": "staging-2",
            "APP_VERSION": "2.0.0-rc.1+build.5",
            "APP_REVISION": "sha256:0123",
            "APP_GREETING": "Grüß Gott",
            "APP_LOG_LEVEL": "warning",
            "APP_SECRET_KEY": KEY,
            "POD_NAME": "p",
            "POD_NAMESPACE": "ns",
            "NODE_NAME": "n",
            "POD_TEMPLATE_HASH": "7c9d8f6b5d",
            "FAULT_NEVER_READY": "true",
            "FAULT_CRASH_AT_START": "true",
            "FAULT_CRASH_AFTER_SECONDS": "1.5",
            "FAULT_ERROR_RATE": "0.25",
            "FAULT_LATENCY_SECONDS": "2",
            "FAULT_MEMORY_GROWTH_BYTES_PER_SECOND": "1048576",
            "WEB_PORT": "9000",
            "WEB_WORKERS": "3",
            "WEB_THREADS": "8",
            "WEB_GRACEFUL_TIMEOUT_SECONDS": "11",
            "WEB_TIMEOUT_SECONDS": "12",
            "WEB_KEEP_ALIVE_SECONDS": "13",
            "PROMETHEUS_MULTIPROC_DIR": "/tmp/metrics",
        }
    )
    assert (settings.environment, settings.version) == ("staging-2", "2.0.0-rc.1+build.5")
    assert settings.revision == "sha256:0123"
    assert (settings.greeting, settings.log_level, settings.secret_key) == ("Grüß Gott", "warning", KEY)
    assert vars(settings.pod) == {"name": "p", "namespace": "ns", "node": "n", "template_hash": "7c9d8f6b5d"}
    assert settings.faults == Faults(True, True, 1.5, 0.25, 2.0, 1048576)
    assert settings.web == Web(9000, 3, 8, 11, 12, 13)
    assert settings.metrics_directory == Path("/tmp/metrics")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENVIRONMENT", "Prod"),
        ("APP_ENVIRONMENT", "dev\n"),
        ("APP_VERSION", "1.0 beta"),
        ("APP_VERSION", "x" * 129),
        ("APP_GREETING", "two\nlines"),
        ("APP_GREETING", "x" * 201),
        ("APP_GREETING", "not \udcff utf-8"),
        ("APP_LOG_LEVEL", "verbose"),
        ("APP_SECRET_KEY", "short"),
        ("POD_NAME", "a\x00b"),
        ("FAULT_NEVER_READY", "yes"),
        ("FAULT_CRASH_AT_START", "1"),
        ("FAULT_CRASH_AFTER_SECONDS", "-1"),
        ("FAULT_CRASH_AFTER_SECONDS", "nan"),
        ("FAULT_ERROR_RATE", "1.01"),
        ("FAULT_ERROR_RATE", "inf"),
        ("FAULT_LATENCY_SECONDS", "1s"),
        ("FAULT_MEMORY_GROWTH_BYTES_PER_SECOND", "1.5e+06"),
        ("WEB_PORT", "0"),
        ("WEB_PORT", "65536"),
        ("WEB_PORT", "tcp://10.0.0.1:80"),
        ("WEB_WORKERS", "0"),
        ("WEB_WORKERS", "\u0662"),
        ("WEB_THREADS", "4.0"),
        ("WEB_GRACEFUL_TIMEOUT_SECONDS", " 25"),
        ("WEB_TIMEOUT_SECONDS", "+30"),
        ("WEB_KEEP_ALIVE_SECONDS", "0"),
        ("PROMETHEUS_MULTIPROC_DIR", "metrics"),
        ("PROMETHEUS_MULTIPROC_DIR", ""),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_variable(name: str, value: str) -> None:
    message = refusal(**{name: value})
    assert name in message
    assert message.isprintable()


def test_all_problems_are_told_at_once() -> None:
    message = refusal(WEB_PORT="x", APP_LOG_LEVEL="loud", FAULT_ERROR_RATE="2")
    assert message.startswith("3 environment variables are wrong: ")
    assert "WEB_PORT='x': allowed is a whole number from 1 to 65535" in message
    assert "APP_LOG_LEVEL='loud': allowed is one of debug, info, warning, error" in message
    assert "FAULT_ERROR_RATE='2': allowed is a number from 0 to 1" in message


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_environ({"WEB_PORT": "", "APP_GREETING": "", "FAULT_ERROR_RATE": ""}).web.port == 8080


def test_a_long_wrong_value_is_cut_in_the_message() -> None:
    assert len(refusal(APP_GREETING="x" * 10_000)) < 400


def test_prod_needs_a_secret_key() -> None:
    assert "APP_SECRET_KEY is not set" in refusal(APP_ENVIRONMENT="prod")
    assert Settings.from_environ({"APP_ENVIRONMENT": "prod", "APP_SECRET_KEY": KEY}).secret_key == KEY


def test_a_secret_key_appears_neither_in_messages_nor_in_the_representation() -> None:
    assert "tooshort" not in refusal(APP_SECRET_KEY="tooshort")
    assert KEY not in repr(Settings.from_environ({"APP_SECRET_KEY": KEY}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAULT_NEVER_READY", "true"),
        ("FAULT_CRASH_AT_START", "true"),
        ("FAULT_CRASH_AFTER_SECONDS", "5"),
        ("FAULT_ERROR_RATE", "0.01"),
        ("FAULT_LATENCY_SECONDS", "0.1"),
        ("FAULT_MEMORY_GROWTH_BYTES_PER_SECOND", "1"),
    ],
)
def test_prod_refuses_every_fault(name: str, value: str) -> None:
    message = refusal(APP_ENVIRONMENT="prod", APP_SECRET_KEY=KEY, **{name: value})
    assert f"{name}: fault switches are refused when APP_ENVIRONMENT=prod" in message


def test_prod_takes_faults_that_are_off() -> None:
    off = {"FAULT_NEVER_READY": "false", "FAULT_ERROR_RATE": "0", "FAULT_CRASH_AFTER_SECONDS": "0.0"}
    assert Settings.from_environ({"APP_ENVIRONMENT": "prod", "APP_SECRET_KEY": KEY} | off).faults == Faults()
