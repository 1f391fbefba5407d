"""A client that tries a running service, for `helm test` and by hand: python -m app.check http://flask-hello:80

It makes GET requests to /livez, /readyz, /version, /metrics and several to /, prints one line a check and exits 0 when
all are good, else 1. It keeps the session's cookie, which finds pods that don't sign with one key. It tries again only
while no answer comes at all (the network of a new pod may need a moment); an answer is judged at once, for trying again
would hide a release that fails now and then. Standard library only.
"""

from __future__ import annotations

import argparse
import http.client
import http.cookiejar
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

RETRY_PAUSE_SECONDS = 0.5
ANSWER_MAX_BYTES = 4 * 1024 * 1024
GREETING_KEYS = ("message", "version", "environment", "pod", "namespace", "node", "visits")
METRIC = "http_requests_total"


class CheckFailed(Exception):
    """What was expected and what came instead."""


@dataclass(frozen=True)
class Expected:
    version: str | None
    environment: str | None
    message: str | None = None
    pods: int = 1

    def compare(self, said: dict[str, object], *keys: str) -> None:
        """Raises CheckFailed if the service says something else than expected under one of these keys."""
        for key in keys:
            expected = getattr(self, key)
            if expected is not None and said.get(key) != expected:
                raise CheckFailed(f"{key} is {said.get(key)!r}, expected {expected!r}")


@dataclass(frozen=True)
class Service:
    """The service at `url`, which has until `deadline` (time.monotonic) to give its answers."""

    url: str
    timeout_seconds: float
    deadline: float
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def get(self, path: str) -> str:
        """Body of a 200 answer. Raises CheckFailed."""
        # Never through a proxy that the environment names: the service is reached directly or not at all.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json, text/plain;q=0.5"})
        while True:
            try:
                with opener.open(request, timeout=self.timeout_seconds) as response:
                    return str(response.read(ANSWER_MAX_BYTES).decode())
            except urllib.error.HTTPError as error:
                with error:
                    body = error.read(300).decode(errors="replace").strip()
                raise CheckFailed(f"answered {error.code}: {body}") from error
            except UnicodeDecodeError as error:
                raise CheckFailed(f"answered something that is not UTF-8: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() + RETRY_PAUSE_SECONDS >= self.deadline:
                    raise CheckFailed(f"no answer: {error or type(error).__name__}") from error
            time.sleep(RETRY_PAUSE_SECONDS)

    def get_object(self, path: str) -> dict[str, object]:
        """The JSON object that `path` answers. Raises CheckFailed."""
        body = self.get(path)
        try:
            said = json.loads(body)
        except ValueError as error:
            raise CheckFailed(f"answered no JSON: {body[:100]!r}") from error
        if not isinstance(said, dict):
            raise CheckFailed(f"answered no JSON object: {body[:100]!r}")
        return said


def check(service: Service, expected: Expected, greetings: int) -> bool:
    """Run all checks, print a line for each; whether all were good."""

    def has_status(path: str, status: str) -> str:
        said = service.get_object(path)
        if said.get("status") != status:
            raise CheckFailed(f"status is {said.get('status')!r}, expected {status!r}")
        return status

    def says_version() -> str:
        said = service.get_object("/version")
        expected.compare(said, "version", "environment")
        return f"{said.get('version')} in {said.get('environment')}"

    def greets() -> str:
        pods: set[str] = set()
        asked = 0
        while asked < greetings or len(pods) < expected.pods:
            if asked >= greetings and time.monotonic() >= service.deadline:
                raise CheckFailed(
                    f"{asked} answers came from {len(pods)} pods, expected {expected.pods}: {_list(pods)}"
                )
            asked += 1
            said = service.get_object("/")
            missing = [key for key in GREETING_KEYS if key not in said]
            if missing:
                raise CheckFailed(f"the answer lacks {', '.join(missing)}")
            expected.compare(said, "version", "environment", "message")
            pods.add(str(said["pod"]))
            if said["visits"] != asked:
                raise CheckFailed(
                    f"visits is {said['visits']!r} on visit {asked} with one cookie: "
                    f"{_list(pods)} do not sign with the same APP_SECRET_KEY"
                )
        return f"{asked} answers from {_list(pods)}"

    def exposes_metrics() -> str:
        if METRIC not in service.get("/metrics"):
            raise CheckFailed(f"the metric {METRIC} is missing")
        return f"has {METRIC}"

    checks: list[tuple[str, Callable[[], str]]] = [
        ("/livez", lambda: has_status("/livez", "alive")),
        ("/readyz", lambda: has_status("/readyz", "ready")),
        ("/version", says_version),
        ("/", greets),
        ("/metrics", exposes_metrics),
    ]
    return all([_report(path, run) for path, run in checks])


def _list(pods: set[str]) -> str:
    return ", ".join(sorted(pods))


def _report(path: str, run: Callable[[], str]) -> bool:
    started = time.monotonic()
    try:
        result, good = run(), True
    except CheckFailed as failure:
        result, good = str(failure), False
    print(f"{'ok  ' if good else 'FAIL'} GET {path:<9} {time.monotonic() - started:6.3f} s  {result}", flush=True)
    return good


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.check", description="Try a running flask-hello.")
    parser.add_argument("url", type=_base_url, help="where it answers, such as http://flask-hello:80")
    parser.add_argument("--expect-version", metavar="V")
    parser.add_argument("--expect-environment", metavar="E")
    parser.add_argument("--expect-greeting", metavar="TEXT")
    parser.add_argument(
        "--expect-pods", type=int, default=1, metavar="N", help="different pods that must answer (default %(default)s)"
    )
    parser.add_argument(
        "--greetings", type=int, default=20, metavar="N", help="requests to / at least (default %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=5, metavar="S", help="for one request (default %(default)s s)")
    parser.add_argument(
        "--deadline",
        type=float,
        default=30,
        metavar="S",
        help="for first answers and for all pods to answer (default %(default)s s)",
    )
    options = parser.parse_args(argv)
    service = Service(options.url, options.timeout, time.monotonic() + options.deadline)
    expected = Expected(
        options.expect_version, options.expect_environment, options.expect_greeting, options.expect_pods
    )
    good = check(service, expected, options.greetings)
    return 0 if good else 1


def _base_url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not an http:// or https:// URL")
    return text.rstrip("/")


if __name__ == "__main__":
    sys.exit(main())
