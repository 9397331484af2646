"""What Prometheus is asked, and what its answers are taken for."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ondeploy.analysis import Counts
from ondeploy.ports import Answer, NoData
from ondeploy.prometheus import PrometheusMetrics, counts_in, query_for, version_pattern
from ondeploy.settings import Prometheus
from tests.fakes import GREEN, make_settings


class OneAnswer:
    """A prober that gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
        self.asked.append(url)
        return self.answer

    def until(self, problem: Callable[[], str], limit: float) -> str:
        raise NotImplementedError


def series(kind: str, instance: str, value: object) -> dict[str, Any]:
    """One series of an answer."""
    return {"metric": {"ondeploy": kind, "instance": instance}, "value": [1700000000, str(value)]}


def success(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer of the query API."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(found)}, **more}


def counts(answer: Answer) -> Mapping[str, Counts] | NoData:
    """What is made of an HTTP answer."""
    return PrometheusMetrics(make_settings(), OneAnswer(answer)).counts(GREEN, "v1.2.3")


@pytest.mark.parametrize(
    ("version", "same", "other"),
    [
        ("v1.2.3", ["v1.2.3", "1.2.3"], ["v1x2.3", "v1.2.30", "vv1.2.3", ""]),
        ("1.2.3-rc.1", ["1.2.3-rc.1", "v1.2.3-rc.1"], ["1.2.3-rcx1"]),
        ("v", ["v", ""], ["vv"]),
        ("2025_10", ["2025_10"], ["2025-10"]),
    ],
)
def test_a_version_matches_itself_with_or_without_its_v(
    version: str, same: list[str], other: list[str]
) -> None:
    """Dots are dots, and nothing else of the version is special to Prometheus."""
    pattern = json.loads(f'"{version_pattern(version)}"')  # PromQL's strings unescape like JSON's
    assert all(re.fullmatch(pattern, each) for each in same)
    assert not any(re.fullmatch(pattern, each) for each in other)


def test_the_query_asks_for_one_color_and_version() -> None:
    """Requests, errors and age are one query, so that they speak of the same moment."""
    query = query_for(Prometheus(), GREEN, "v1.2")
    assert query.count('http_requests_total{color="green",version=~"v?1\\\\.2"') == 3
    assert query.count('status=~"5.."') == 1
    assert "{color}" not in query
    assert "{version}" not in query


def test_the_users_own_selectors_are_filled_in() -> None:
    """Braces of PromQL stay what they are."""
    options = Prometheus(requests='r{c="{color}"}', errors='e{v="{version}",x=~"a{2}"}')
    assert '(e{v="v?1",x=~"a{2}"})' in query_for(options, GREEN, "1")


def test_one_request_is_enough() -> None:
    """The query goes to the configured address, properly quoted."""
    prober = OneAnswer(Answer(200, 0, json.dumps(success())))
    PrometheusMetrics(make_settings(), prober).counts(GREEN, "v1")
    [url] = prober.asked
    assert url.startswith("http://127.0.0.1:9090/api/v1/query?")
    assert parse_qs(urlsplit(url).query)["query"] == [query_for(Prometheus(), GREEN, "v1")]


def test_counters_per_instance() -> None:
    """An instance without errors has none; errors without requests are no instance."""
    body = success(
        series("total", "a", 100),
        series("total", "b", 7),
        series("bad", "a", 3),
        series("age", "a", 2),
        series("age", "b", 1),
    )
    assert counts_in(body, 15) == {"a": Counts(100, 3), "b": Counts(7, 0)}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (success(), "no requests of this release were scraped yet"),
        (success(series("bad", "a", 1)), "no requests of this release"),
        (success(series("total", "a", "NaN"), series("age", "a", 1)), "NaN or Inf"),
        (success(series("total", "a", "+Inf"), series("age", "a", 1)), "NaN or Inf"),
        (
            success(series("total", "a", 1), series("bad", "a", "NaN"), series("age", "a", 1)),
            "NaN",
        ),
        (success(series("total", "a", 1), series("age", "a", 16)), "the last scrape is 16 s old"),
        (success(series("total", "a", 1)), "s old"),
        (
            success(series("total", "a", 1), series("age", "a", 1), warnings=["partial"]),
            "Prometheus warns: partial",
        ),
        ({"status": "error", "error": "parse error"}, "refused the query: parse error"),
        ({}, "refused the query"),
    ],
)
def test_what_is_no_plain_number_is_no_data(body: dict[str, Any], words: str) -> None:
    """Nothing that is odd is taken for good."""
    found = counts_in(body, 15)
    assert isinstance(found, NoData)
    assert words in found.reason


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "",
        "[]",
        "null",
        '"text"',
        '{"status": "success"}',
        '{"status": "success", "data": {"result": [{}]}}',
        '{"status": "success", "data": {"result": [{"metric": {"ondeploy": "x"}}]}}',
        json.dumps(success(series("total", "a", "many"))),
    ],
)
def test_whatever_answers_at_its_address(body: str) -> None:
    """A proxy's page or another service's JSON is missing data, not a crash of the release."""
    found = counts(Answer(502, 0.1, body))
    assert isinstance(found, NoData)
    assert "502" in found.reason


def test_a_prometheus_that_is_down_is_no_data() -> None:
    """The reason has the words of the connection."""
    found = counts(Answer(0, 2.0, problem="connection refused"))
    assert found == NoData("Prometheus does not answer: connection refused")


def test_a_stack_without_prometheus_has_no_data() -> None:
    """`prometheus: null` is never asked."""
    metrics = PrometheusMetrics(make_settings(prometheus=None), OneAnswer(Answer(200, 0)))
    assert isinstance(metrics.counts(GREEN, "v1"), NoData)


def test_one_stale_instance_is_enough() -> None:
    """The oldest scrape counts: a replica that nobody hears of is not covered by the others."""
    body = success(
        series("total", "a", 100),
        series("total", "b", 7),
        series("age", "a", 2),
        series("age", "b", 40),
    )
    assert counts_in(body, 15) == NoData("the last scrape is 40 s old")


def test_probes_and_scrapes_are_no_visitors() -> None:
    """What asks for /health all day must not make a bad release look good."""
    query = query_for(Prometheus(), GREEN, "v1")
    for label in ("handler", "path"):
        assert query.count(f'{label}!~"/health|/ready|/metrics"') == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, 0), ""),
        (Answer(503, 0), "Prometheus at http://127.0.0.1:9090 answers 503"),
        (
            Answer(0, 0, problem="refused"),
            "Prometheus at http://127.0.0.1:9090 does not answer: refused",
        ),
    ],
)
def test_a_prometheus_is_asked_whether_it_is_ready(answer: Answer, words: str) -> None:
    """The problem has the address, so that a wrong one is seen at once."""
    prober = OneAnswer(answer)
    assert PrometheusMetrics(make_settings(), prober).problem() == words
    assert prober.asked == ["http://127.0.0.1:9090/-/ready"]


def test_no_prometheus_is_no_problem() -> None:
    """`prometheus: null` is a choice, and nothing is asked."""
    prober = OneAnswer(Answer(0, 0, problem="refused"))
    assert PrometheusMetrics(make_settings(prometheus=None), prober).problem() == ""
    assert prober.asked == []
