"""Prometheus: raw counters as of the last scrape, or the reason why there are none.

Counters and not rate(): a series that is born at 50 reads 0 in rate(), and raw counts are what the
judge wants. All three queries are one, so that they speak of the same moment. An instance is as old
as its newest series: those that Prometheus knew before it was restarted linger for five minutes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ondeploy.analysis import Counts
from ondeploy.model import Color
from ondeploy.ports import NoData, Prober
from ondeploy.settings import Prometheus, Settings

STALE_SCRAPES = 3

QUERY = (
    'label_replace(sum by (instance) ({requests}), "ondeploy", "total", "", "")'
    ' or label_replace(sum by (instance) ({errors}), "ondeploy", "bad", "", "")'
    " or label_replace("
    'min by (instance) (time() - timestamp({requests})), "ondeploy", "age", "", "")'
)


class PrometheusMetrics:
    """The Prometheus of one stack."""

    def __init__(self, settings: Settings, prober: Prober) -> None:
        self.settings = settings
        self.prober = prober

    def problem(self) -> str:
        """Why Prometheus cannot be asked; "" if it can, or if none is configured."""
        options = self.settings.prometheus
        if options is None:
            return ""
        answer = self.prober.get(f"{options.url}/-/ready", timeout=options.timeout_seconds)
        if answer.status == 200:
            return ""
        said = f"answers {answer.status}" if answer.status else f"does not answer: {answer.problem}"
        return f"Prometheus at {options.url} {said}"

    def counts(self, color: Color, version: str) -> Mapping[str, Counts] | NoData:
        """Requests and errors of a release per instance, cumulative; NoData says why none."""
        options = self.settings.prometheus
        if options is None:
            return NoData("no Prometheus is configured")
        query = query_for(options, color, version)
        url = f"{options.url}/api/v1/query?{urlencode({'query': query})}"
        answer = self.prober.get(url, timeout=options.timeout_seconds)
        if answer.status == 0:
            return NoData(f"Prometheus does not answer: {answer.problem}")
        try:
            return counts_in(json.loads(answer.body), STALE_SCRAPES * options.scrape_seconds)
        except (ValueError, LookupError, TypeError, AttributeError):
            return NoData(f"Prometheus answered {answer.status} in a form that it never uses")


def query_for(options: Prometheus, color: Color, version: str) -> str:
    """The one query, with the release's color and version filled in."""
    pattern = version_pattern(version)
    filled = {
        "requests": options.requests.replace("{color}", color).replace("{version}", pattern),
        "errors": options.errors.replace("{color}", color).replace("{version}", pattern),
    }
    return QUERY.format(**filled)


def version_pattern(version: str) -> str:
    """A PromQL regex, escaped for its string: the version with or without its leading v."""
    bare = version.removeprefix("v")
    return "v?" + re.escape(bare).replace("\\-", "-").replace("\\", "\\\\")


def counts_in(body: Mapping[str, Any], oldest: float) -> Mapping[str, Counts] | NoData:
    """What an answer of the query API says; anything but plain numbers is no data."""
    if body.get("status") != "success":
        return NoData(f"Prometheus refused the query: {body.get('error', 'no reason given')}")
    if body.get("warnings"):
        return NoData(f"Prometheus warns: {body['warnings'][0]}")
    found: dict[str, dict[str, float]] = {"total": {}, "bad": {}, "age": {}}
    for series in body["data"]["result"]:
        kind, instance = series["metric"]["ondeploy"], series["metric"].get("instance", "")
        found[kind][instance] = float(series["value"][1])
    if not found["total"]:
        return NoData("no requests of this release were scraped yet")
    if any(not math.isfinite(value) for group in found.values() for value in group.values()):
        return NoData("Prometheus answered NaN or Inf")
    age = max(found["age"].values(), default=math.inf)
    if age > oldest:
        return NoData(f"the last scrape is {age:.0f} s old")
    return {
        instance: Counts(total, found["bad"].get(instance, 0.0))
        for instance, total in found["total"].items()
    }
