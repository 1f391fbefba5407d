"""Where the requests of a release are counted: a Prometheus, or else its own pods."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import requests
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.errors import EnvironmentUnfit
from releaser.traffic import BUCKET, PROBES, REQUESTS, Counts, Traffic, counts, rates, traffic

WINDOW_SECONDS = 300
"""What Prometheus is asked about."""
BETWEEN_SECONDS = 1.0
"""From a pod's first reading to its second."""
_AT_ONCE = 16
_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class PrometheusTraffic:
    """The rates that a Prometheus has, by its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def read(self, namespace: str, job: str, pods: Sequence[str], seconds: float) -> Traffic:
        """Raises EnvironmentUnfit where it doesn't answer in time or has nothing of the release."""
        series = f'job="{job}",namespace="{namespace}",route!~"{"|".join(PROBES)}"'
        window = f"[{WINDOW_SECONDS}s]"
        queries = {
            "requests": f"sum by (pod) (rate({REQUESTS}{{{series}}}{window}))",
            "errors": f'sum by (pod) (rate({REQUESTS}{{{series},status=~"5.."}}{window}))',
            "buckets": f"sum by (pod, le) (rate({BUCKET}{{{series}}}{window}))",
        }
        doing = f"asking Prometheus at {self._url}"
        answers, failures = _all(queries, lambda name: self._query(queries[name], seconds), seconds)
        if len(answers) < len(queries):
            raise EnvironmentUnfit(f"While {doing}: {next(iter(failures.values()))}")
        requested = {labels.get("pod", ""): value for labels, value in answers["requests"]}
        if not requested:
            raise EnvironmentUnfit(f"While {doing}: it has no requests of job {job} in namespace {namespace}")
        failed = {labels.get("pod", ""): value for labels, value in answers["errors"]}
        buckets: dict[str, dict[float, float]] = {}
        for labels, value in answers["buckets"]:
            buckets.setdefault(labels.get("pod", ""), {})[float(labels.get("le", "inf"))] = value
        each = {pod: Counts(rate, failed.get(pod, 0.0), buckets.get(pod, {})) for pod, rate in requested.items()}
        return traffic(f"Prometheus at {self._url}", WINDOW_SECONDS, each)

    def _query(self, expression: str, seconds: float) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each series. Raises OSError (which requests' errors are) or ValueError."""
        answer = requests.get(f"{self._url}/api/v1/query", params={"query": expression}, timeout=seconds)
        document = answer.json()
        if not isinstance(document, dict) or document.get("status") != "success":
            said = document.get("error", "") if isinstance(document, dict) else ""
            raise ValueError(f"it answered {answer.status_code} {said}".rstrip())
        found: list[dict[str, Any]] = document["data"]["result"]
        return [(each["metric"], value) for each in found if math.isfinite(value := float(each["value"][1]))]


class PodsTraffic:
    """What the pods count themselves: their /metrics, through the API server, twice."""

    def __init__(self, api: client.ApiClient, between_seconds: float = BETWEEN_SECONDS) -> None:
        self._core = client.CoreV1Api(api)
        self._between_seconds = between_seconds

    def read(self, namespace: str, job: str, pods: Sequence[str], seconds: float) -> Traffic:
        """Raises EnvironmentUnfit where no pod tells its counters twice in time."""
        end = time.monotonic() + seconds
        doing = "reading the pods' metrics"
        if not pods:
            raise EnvironmentUnfit(f"While {doing}: no pod is ready")
        room = max(0.1, (seconds - self._between_seconds) / 2)
        before, failures = _all(pods, lambda pod: self._counts(namespace, pod, room), room)
        if not before:
            raise EnvironmentUnfit(f"While {doing}: {next(iter(failures.values()))}")
        time.sleep(self._between_seconds)
        left = max(0.1, end - time.monotonic())
        after, more = _all(list(before), lambda pod: self._counts(namespace, pod, left), left)
        each = {pod: rates(before[pod][1], count, at - before[pod][0]) for pod, (at, count) in after.items()}
        failures |= more
        if not each:
            raise EnvironmentUnfit(f"While {doing}: {next(iter(failures.values()))}")
        note = "; ".join(f"{pod}: {why}" for pod, why in sorted(failures.items()))
        source = "1 pod" if len(each) == 1 else f"{len(each)} pods"
        return traffic(source, self._between_seconds, each, note)

    def _counts(self, namespace: str, pod: str, seconds: float) -> tuple[float, Counts]:
        """When it answered (time.monotonic), and what. Raises ValueError, OSError, ApiException or an urllib3 error."""
        # without a port the API server takes the container's first
        response = self._core.connect_get_namespaced_pod_proxy_with_path(
            pod, namespace, "metrics", _preload_content=False, _request_timeout=seconds
        )
        text = response.read().decode()
        at = time.monotonic()
        if response.status >= 400:
            raise ValueError(f"the API server said {response.status} {response.reason}")
        return at, counts(text)


def _all(
    keys: Sequence[_Key] | Mapping[_Key, object], ask: Callable[[_Key], _Answer], seconds: float
) -> tuple[dict[_Key, _Answer], dict[_Key, str]]:
    """Ask about all keys at once: the answers that come in time, and why the others don't."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    asked = {key: pool.submit(ask, key) for key in keys}
    wait(asked.values(), timeout=seconds)
    # Not joined: a thread may sit in a look-up of a name, which nothing bounds.
    pool.shutdown(wait=False, cancel_futures=True)
    answers: dict[_Key, _Answer] = {}
    failures: dict[_Key, str] = {}
    for key, future in asked.items():
        if not future.done() or future.cancelled():
            failures[key] = f"no answer within {seconds:.1f} s"
            continue
        match future.exception():
            case None:
                answers[key] = future.result()
            case requests.Timeout() | urllib3.exceptions.TimeoutError():
                failures[key] = f"no answer within {seconds:.1f} s"
            case ApiException() as exc:
                failures[key] = f"the API server said {exc.status} {exc.reason}"
            case requests.exceptions.SSLError() as exc:
                failures[key] = f"TLS fails: {exc}"[:100]
            case requests.ConnectionError() | urllib3.exceptions.HTTPError():
                failures[key] = "nothing answers there"
            case OSError() | ValueError() | LookupError() | TypeError() as exc:  # not what was asked for
                failures[key] = f"{exc}"[:100]
            case exc:
                raise exc
    return answers, failures
