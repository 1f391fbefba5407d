"""Settings of the service, read from environment variables and checked before anything starts.

    APP_ENVIRONMENT                     dev | prod | any name like [a-z][a-z0-9-]*    default dev
    APP_VERSION                         what /version says                            default the package's version
    APP_REVISION                        the image that runs, by tag or digest         default ""
    APP_GREETING                        one printable line                            default "Hello from Kubernetes"
    APP_LOG_LEVEL                       debug | info | warning | error                default info
    APP_SECRET_KEY                      signs the session cookie, shared by all pods  required when prod, else random
    POD_NAME, POD_NAMESPACE, NODE_NAME  from the downward API                         default host name, "", ""
    POD_TEMPLATE_HASH                   from the downward API: names the ReplicaSet   default ""
    FAULT_*                             see Faults; refused when prod                 default off
    WEB_*                               see Web                                       see Web
    PROMETHEUS_MULTIPROC_DIR            where workers share metrics                   default unset: one process only

A variable that is set to an empty string counts as unset, because that is what an empty value in a chart becomes;
PROMETHEUS_MULTIPROC_DIR is the exception, for prometheus_client itself reads it as set.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from app import __version__

PROD = "prod"
LOG_LEVELS = ("debug", "info", "warning", "error")
SECRET_KEY_MIN_LENGTH = 16
SHOWN_VALUE_LENGTH = 60


class SettingsError(ValueError):
    """Every problem with the environment variables at once, as one line."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        count = "1 environment variable is" if len(problems) == 1 else f"{len(problems)} environment variables are"
        super().__init__(f"{count} wrong: {'; '.join(problems)}. Correct the values of the release and deploy again.")
        self.problems = problems


@dataclass(frozen=True)
class Faults:
    """Switches that make a release fail on purpose. All off by default; none is accepted when APP_ENVIRONMENT=prod."""

    never_ready: bool = False
    crash_at_start: bool = False
    crash_after_seconds: float = 0.0
    error_rate: float = 0.0
    latency_seconds: float = 0.0
    memory_growth_bytes_per_second: int = 0

    def switched_on(self) -> tuple[str, ...]:
        """Names of the environment variables whose fault is on."""
        return tuple(f"FAULT_{name.upper()}" for name, value in vars(self).items() if value)


@dataclass(frozen=True)
class Web:
    """How gunicorn serves."""

    port: int = 8080
    workers: int = 2
    threads: int = 4
    graceful_timeout_seconds: int = 25
    timeout_seconds: int = 30
    keep_alive_seconds: int = 5


@dataclass(frozen=True)
class Pod:
    """Where this process runs, as Kubernetes calls it."""

    name: str = ""
    namespace: str = ""
    node: str = ""
    template_hash: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything that the service can be told; built by `from_environ`, in tests directly."""

    environment: str = "dev"
    version: str = __version__
    revision: str = ""
    greeting: str = "Hello from Kubernetes"
    log_level: str = "info"
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    pod: Pod = Pod()
    faults: Faults = Faults()
    web: Web = Web()
    metrics_directory: Path | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check. Raises SettingsError that names every wrong variable."""
        read = _Reader(environ)
        environment = read.matching(
            "APP_ENVIRONMENT", "dev", r"[a-z][a-z0-9-]{0,62}", "lower-case letters, digits and '-', a letter first"
        )
        faults = Faults(
            never_ready=read.flag("FAULT_NEVER_READY"),
            crash_at_start=read.flag("FAULT_CRASH_AT_START"),
            crash_after_seconds=read.decimal("FAULT_CRASH_AFTER_SECONDS", 86_400),
            error_rate=read.decimal("FAULT_ERROR_RATE", 1),
            latency_seconds=read.decimal("FAULT_LATENCY_SECONDS", 300),
            memory_growth_bytes_per_second=read.integer("FAULT_MEMORY_GROWTH_BYTES_PER_SECOND", 0, 0, 1 << 30),
        )
        if environment == PROD and faults.switched_on():
            read.problem(f"{', '.join(faults.switched_on())}: fault switches are refused when APP_ENVIRONMENT=prod")
        settings = cls(
            environment=environment,
            version=read.matching(
                "APP_VERSION",
                __version__,
                r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}",
                "letters, digits and '._+-', up to 128",
            ),
            revision=read.line("APP_REVISION", "", 256),
            greeting=read.line("APP_GREETING", cls.greeting, 200),
            log_level=read.choice("APP_LOG_LEVEL", cls.log_level, LOG_LEVELS),
            secret_key=read.secret_key("APP_SECRET_KEY", required=environment == PROD),
            pod=Pod(
                name=read.line("POD_NAME", socket.gethostname(), 253),
                namespace=read.line("POD_NAMESPACE", "", 63),
                node=read.line("NODE_NAME", "", 253),
                template_hash=read.line("POD_TEMPLATE_HASH", "", 63),
            ),
            faults=faults,
            web=Web(
                port=read.integer("WEB_PORT", Web.port, 1, 65_535),
                workers=read.integer("WEB_WORKERS", Web.workers, 1, 64),
                threads=read.integer("WEB_THREADS", Web.threads, 1, 256),
                graceful_timeout_seconds=read.integer(
                    "WEB_GRACEFUL_TIMEOUT_SECONDS", Web.graceful_timeout_seconds, 1, 3_600
                ),
                timeout_seconds=read.integer("WEB_TIMEOUT_SECONDS", Web.timeout_seconds, 1, 3_600),
                keep_alive_seconds=read.integer("WEB_KEEP_ALIVE_SECONDS", Web.keep_alive_seconds, 1, 3_600),
            ),
            metrics_directory=read.directory("PROMETHEUS_MULTIPROC_DIR"),
        )
        if read.problems:
            raise SettingsError(tuple(read.problems))
        return settings


@cache
def load_settings() -> Settings:
    """This process's settings, read once.

    gunicorn's master calls it before it forks, so that all workers share one random secret key.
    """
    return Settings.from_environ(os.environ)


class _Reader:
    """Reads variables one by one and collects what is wrong instead of stopping at the first problem."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def matching(self, name: str, default: str, pattern: str, allowed: str) -> str:
        value = self._environ.get(name) or default
        if re.fullmatch(pattern, value, re.ASCII):
            return value
        self._refuse(name, value, allowed)
        return default

    def line(self, name: str, default: str, max_length: int) -> str:
        value = self._environ.get(name) or default
        if value.isprintable() and len(value) <= max_length:
            return value
        self._refuse(name, value, f"one line of printable characters, up to {max_length}")
        return default

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        return self.matching(name, default, "|".join(choices), f"one of {', '.join(choices)}")

    def flag(self, name: str) -> bool:
        return self.choice(name, "false", ("true", "false")) == "true"

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self._environ.get(name) or str(default)
        if re.fullmatch(r"[0-9]{1,12}", value, re.ASCII) and low <= int(value) <= high:
            return int(value)
        self._refuse(name, value, f"a whole number from {low} to {high}")
        return default

    def decimal(self, name: str, high: float) -> float:
        value = self._environ.get(name) or "0"
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if 0 <= number <= high:
            return number
        self._refuse(name, value, f"a number from 0 to {high:g}")
        return 0.0

    def secret_key(self, name: str, *, required: bool) -> str:
        value = self._environ.get(name, "")
        if not value and required:
            self.problem(f"{name} is not set: required when APP_ENVIRONMENT=prod, for all pods must sign with one key")
        elif value and len(value) < SECRET_KEY_MIN_LENGTH:
            # The value itself is a secret: only its length may appear in a log.
            self.problem(f"{name} has {len(value)} characters: needs {SECRET_KEY_MIN_LENGTH} or more")
        return value or secrets.token_urlsafe(32)

    def directory(self, name: str) -> Path | None:
        value = self._environ.get(name)
        if value is None:
            return None
        if not value.startswith("/") or not value.isprintable():
            self._refuse(name, value, "an absolute path, or no such variable at all")
        return Path(value)

    def _refuse(self, name: str, value: str, allowed: str) -> None:
        shown = value if len(value) <= SHOWN_VALUE_LENGTH else value[:SHOWN_VALUE_LENGTH] + "..."
        self.problem(f"{name}={shown!r}: allowed is {allowed}")
