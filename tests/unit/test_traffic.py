"""Rates, errors and latency from counters, where they are read, and what is said when they can't be."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from releaser.adapters.traffic import PodsTraffic, PrometheusTraffic
from releaser.errors import EnvironmentUnfit
from releaser.flows.deploy import deploy
from releaser.flows.guard import Consent
from releaser.flows.look import status
from releaser.flows.traffic import DEADLINE_SECONDS, traffic
from releaser.traffic import Counts, Traffic, counts, quantile, rates, total
from tests.unit.conftest import Bench

INF = math.inf
EXPOSITION = """\
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/",status="200"} 90.0
http_requests_total{method="GET",route="/",status="500"} 6.0
http_requests_total{method="GET",route="unmatched",status="404"} 4.0
http_requests_total{method="GET",route="/readyz",status="503"} 1000.0
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.1",method="GET",route="/"} 80.0
http_request_duration_seconds_bucket{le="1.0",method="GET",route="/"} 95.0
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/"} 96.0
http_request_duration_seconds_bucket{le="0.1",method="GET",route="unmatched"} 4.0
http_request_duration_seconds_bucket{le="1.0",method="GET",route="unmatched"} 4.0
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="unmatched"} 4.0
http_request_duration_seconds_bucket{le="0.1",method="GET",route="/readyz"} 0.0
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/readyz"} 1000.0
http_requests_in_progress 1.0
"""


# -- counters ----------------------------------------------------------------------------------------------------------


def test_probes_are_nobodys_requests_and_only_5xx_are_errors() -> None:
    assert counts(EXPOSITION) == Counts(100, 6, {0.1: 84, 1.0: 99, INF: 100})


def test_what_has_no_such_counters_says_so() -> None:
    with pytest.raises(ValueError, match="there is no http_requests_total"):
        counts("go_goroutines 7\n")


def test_rates_are_what_came_in_between() -> None:
    before, after = Counts(100, 6, {0.1: 80, INF: 100}), Counts(120, 7, {0.1: 90, 0.5: 4, INF: 120})
    assert rates(before, after, 2.0) == Counts(10, 0.5, {0.1: 5, 0.5: 2, INF: 10})
    assert rates(before, after, 2.0).error_ratio == 0.05


def test_counters_that_began_anew_count_from_zero() -> None:
    assert rates(Counts(100, 6, {INF: 100}), Counts(30, 3, {INF: 30}), 1.0) == Counts(30, 3, {INF: 30})


def test_pods_are_summed_bucket_by_bucket() -> None:
    both = total([Counts(1, 0, {0.1: 1, INF: 1}), Counts(3, 2, {0.1: 1, 1.0: 2, INF: 3})])
    assert both == Counts(4, 2, {0.1: 2, 1.0: 2, INF: 4})


@pytest.mark.parametrize(
    ("share", "seconds"),
    # promql/promqltest/testdata/histograms.test of Prometheus has this histogram and these answers.
    [(0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1.0, 1.0)],
)
def test_a_quantile_is_what_prometheus_says(share: float, seconds: float) -> None:
    assert quantile({0.1: 5, 0.2: 7, 1.0: 11, INF: 12}, share) == pytest.approx(seconds)


def test_a_quantile_in_the_first_bucket_begins_at_zero_and_one_beyond_all_bounds_is_the_last_bound() -> None:
    assert quantile({0.1: 100, INF: 100}, 0.95) == pytest.approx(0.095)
    assert quantile({0.1: 10, 30.0: 10, INF: 100}, 0.95) == 30.0


def test_a_bucket_that_lags_behind_the_one_below_it_counts_as_much() -> None:
    assert quantile({0.1: 5, 0.2: 4, 1.0: 10, INF: 10}, 0.5) == pytest.approx(0.1)


@pytest.mark.parametrize("buckets", [{}, {0.1: 0, INF: 0}, {INF: 3}, {0.1: 1, 1.0: 2}])
def test_without_requests_or_buckets_there_is_no_quantile(buckets: dict[float, float]) -> None:
    assert quantile(buckets, 0.95) is None


def test_without_requests_there_is_no_error_ratio() -> None:
    assert Counts(0, 0, {}).error_ratio is None


# -- where they are read -----------------------------------------------------------------------------------------------

Answer = tuple[int, str]


@contextmanager
def answering(answer: Callable[[str], Answer]) -> Iterator[str]:
    """An HTTP server here that answers each path with a status and a text."""

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, text = answer(self.path)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vector(*samples: tuple[dict[str, str], str]) -> Answer:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in samples]
    return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def prometheus(path: str) -> Answer:
    [query] = parse_qs(urlsplit(path).query)["query"]
    assert 'job="web",namespace="web-dev",route!~"/livez|/readyz"' in query
    if "_bucket" in query:
        return vector(
            ({"pod": "a", "le": "0.1"}, "5"),
            ({"pod": "a", "le": "1"}, "10"),
            ({"pod": "a", "le": "+Inf"}, "10"),
        )
    if "5.." in query:
        return vector(({"pod": "a"}, "1"))
    return vector(({"pod": "a"}, "10"), ({"pod": "b"}, "10"), ({"pod": "c"}, "NaN"))


def test_a_prometheus_knows_the_rates_of_the_last_minutes_by_pod() -> None:
    with answering(prometheus) as url:
        known = PrometheusTraffic(f"{url}/").read("web-dev", "web", ("a", "b"), 30)
    assert (known.source, known.window_seconds) == (f"Prometheus at {url}", 300)
    assert (known.requests_per_second, known.error_ratio, known.p95_seconds) == (20, 0.05, pytest.approx(0.91))
    assert [(pod.name, pod.requests_per_second, pod.error_ratio) for pod in known.pods] == [
        ("a", 10, 0.1),
        ("b", 10, 0),
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (vector(), "it has no requests of job web in namespace web-dev"),
        ((503, '{"status": "error", "error": "still starting"}'), "it answered 503 still starting"),
        ((200, "[]"), "it answered 200"),
        ((200, "<html>a login page</html>"), "Expecting value"),
        ((200, '{"status": "success", "data": {}}'), "result"),
        ((200, '{"status": "success", "data": []}'), "indices"),
    ],
)
def test_a_prometheus_that_does_not_know_says_why(answer: Answer, words: str) -> None:
    with answering(lambda _: answer) as url, pytest.raises(EnvironmentUnfit, match=words) as caught:
        PrometheusTraffic(url).read("web-dev", "web", (), 30)
    assert f"asking Prometheus at {url}" in str(caught.value)


def test_a_prometheus_that_is_not_there_or_does_not_answer_in_time_is_told() -> None:
    with answering(prometheus) as gone:
        pass
    with pytest.raises(EnvironmentUnfit, match="nothing answers there"):
        PrometheusTraffic(gone).read("web-dev", "web", (), 30)
    never = threading.Event()
    with answering(lambda _: (never.wait(30), (200, ""))[1]) as slow:
        with pytest.raises(EnvironmentUnfit, match=r"no answer within 0\.2 s"):
            PrometheusTraffic(slow).read("web-dev", "web", (), 0.2)
        never.set()


def pods_of(url: str) -> PodsTraffic:
    return PodsTraffic(client.ApiClient(client.Configuration(host=url)), between_seconds=0.05)


@dataclass
class Pods:
    """An API server that passes /metrics of pods on: each reading finds as much more as the exposition has."""

    silent: Sequence[str] = ()
    readings: dict[str, int] = field(default_factory=dict)

    def __call__(self, path: str) -> Answer:
        prefix, _, pod = path.removesuffix("/proxy/metrics").rpartition("/")
        assert (prefix, path.endswith("/proxy/metrics")) == ("/api/v1/namespaces/web-dev/pods", True)
        if pod in self.silent:
            return 403, "{}"
        self.readings[pod] = self.readings.get(pod, 0) + 1
        lines = [line.rpartition(" ") for line in EXPOSITION.splitlines() if not line.startswith("#")]
        return 200, "\n".join(f"{name} {float(value) * self.readings[pod]}" for name, _, value in lines)


def test_pods_are_read_twice_through_the_api_server() -> None:
    pods = Pods()
    with answering(pods) as url:
        known = pods_of(url).read("web-dev", "web", ("a", "b"), 30)
    assert pods.readings == {"a": 2, "b": 2}
    assert (known.source, known.error_ratio, known.note) == ("2 pods", pytest.approx(0.06), "")
    assert known.p95_seconds == pytest.approx(quantile({0.1: 84, 1.0: 99, INF: 100}, 0.95))
    assert known.requests_per_second == pytest.approx(sum(pod.requests_per_second for pod in known.pods))
    assert [pod.name for pod in known.pods] == ["a", "b"]


def test_a_pod_that_does_not_tell_is_named_and_the_others_count() -> None:
    with answering(Pods(silent=["b"])) as url:
        known = pods_of(url).read("web-dev", "web", ("a", "b"), 30)
    assert [pod.name for pod in known.pods] == ["a"]
    assert (known.source, known.note) == ("1 pod", "b: the API server said 403 Forbidden")


def test_where_no_pod_tells_its_counters_it_is_said_why() -> None:
    with (
        answering(Pods(silent=["a"])) as url,
        pytest.raises(EnvironmentUnfit, match="the API server said 403 Forbidden"),
    ):
        pods_of(url).read("web-dev", "web", ("a",), 30)
    with answering(lambda _: (200, "up 1\n")) as url, pytest.raises(EnvironmentUnfit, match="no http_requests_total"):
        pods_of(url).read("web-dev", "web", ("a",), 30)
    with pytest.raises(EnvironmentUnfit, match="no pod is ready"):
        pods_of("http://127.0.0.1:1").read("web-dev", "web", (), 30)


# -- the first source that knows ---------------------------------------------------------------------------------------


@dataclass
class Source:
    """Knows, or says why not."""

    answer: Traffic | EnvironmentUnfit
    asked: list[tuple[str, str, tuple[str, ...], float]] = field(default_factory=list)

    def read(self, namespace: str, job: str, pods: Sequence[str], seconds: float) -> Traffic:
        self.asked.append((namespace, job, tuple(pods), seconds))
        if isinstance(self.answer, EnvironmentUnfit):
            raise self.answer
        return self.answer


def test_the_first_source_that_knows_is_taken_and_why_one_before_did_not_is_noted() -> None:
    known = Traffic("2 pods", 1.0, 3.0, note="b: gone")
    silent, pods, never = Source(EnvironmentUnfit("While asking: silence")), Source(known), Source(known)
    found = traffic([silent, pods, never], "web-dev", "web", ("a",))
    assert (found.source, found.note) == ("2 pods", "asking: silence; b: gone")
    assert never.asked == []


def test_sources_share_the_deadline() -> None:
    silent, pods = Source(EnvironmentUnfit("no")), Source(EnvironmentUnfit("nor here"))
    assert traffic([silent, pods], "web-dev", "web", ()) == Traffic(note="no; nor here")
    assert 0 < silent.asked[0][3] < DEADLINE_SECONDS / 2 < pods.asked[0][3] <= DEADLINE_SECONDS


def test_a_status_asks_about_the_pods_that_serve(bench: Bench) -> None:
    deploy(bench.project, bench.target("dev"), bench.workshop, Consent(True, None))
    source = Source(Traffic("2 pods", 1.0, 3.0))
    shown = status(bench.target("dev"), [source])
    assert shown.traffic == source.answer
    [(namespace, job, pods, _)] = source.asked
    assert (namespace, job) == ("web-dev", "web")
    assert pods == tuple(pod.name for pod in shown.pods if pod.ready)


def test_where_nothing_is_installed_nobody_is_asked(bench: Bench) -> None:
    source = Source(Traffic("2 pods", 1.0, 3.0))
    assert status(bench.target("dev"), [source]).traffic is None
    assert source.asked == []
