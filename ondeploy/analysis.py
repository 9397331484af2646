"""The judge: counts in, verdict out. Pure; it may look after every scrape and keeps its promise.

The absolute test asks: is the share of bad requests above the limit p0? Every interval with n new
requests, e of them bad, multiplies the evidence for an alternative p > p0

    by  (p/p0)^e ((1-p)/(1-p0))^(n-e)

which has mean at most 1 while the true share is at most p0. The evidence is a mixture over
alternatives p = p0 x {1.5, 2, 3, 5, 10, 30} below 1, and over the interval k = 1, 2, ... in which
the release turned bad, with weight 1/(k(k+1)): a release that was good for minutes has not earned
credit to be bad with. A mixture of nonnegative supermartingales that start at 1 is one too, so by
Ville's inequality P(evidence ever reaches 1/alpha) <= alpha however often one looks.

Sources: Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences" (Ann. Stat. 2021); Grünwald, de Heide & Koolen, "Safe Testing" (JRSS-B 2024); Shin,
Ramdas & Rinaldo, "E-detectors" (NEJSDS 2024) for the mixture over starts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ALTERNATIVES = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Verdict(StrEnum):
    """What the evidence says so far."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Counts:
    """Requests, and how many of them were bad."""

    total: float
    bad: float


@dataclass(frozen=True)
class AbsoluteTest:
    """Evidence that the share of bad requests exceeds `limit`, with false-alarm bound `alpha`."""

    limit: float
    alpha: float
    total: float = 0.0
    bad: float = 0.0
    intervals: int = 0
    log_sums: tuple[float, ...] = ()
    """Per alternative: log of the weighted evidence of all starts so far."""

    @property
    def alternatives(self) -> tuple[float, ...]:
        return tuple(p for factor in ALTERNATIVES if (p := self.limit * factor) < 1)

    def add(self, counts: Counts) -> AbsoluteTest:
        """The test after one more interval; an interval without requests is none."""
        if counts.total <= 0:
            return self
        k = self.intervals + 1
        log_weight = -math.log(k * (k + 1))
        sums = self.log_sums or (-math.inf,) * len(self.alternatives)
        return AbsoluteTest(
            self.limit,
            self.alpha,
            self.total + counts.total,
            self.bad + counts.bad,
            k,
            tuple(
                log_add(log_sum, log_weight) + self._log_factor(p, counts)
                for p, log_sum in zip(self.alternatives, sums, strict=True)
            ),
        )

    def _log_factor(self, p: float, counts: Counts) -> float:
        good = max(counts.total - counts.bad, 0.0)
        worse = counts.bad * math.log(p / self.limit)
        return worse + good * (math.log1p(-p) - math.log1p(-self.limit))

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the evidence; it condemns at `log_bound`."""
        not_started = -math.log(self.intervals + 1)
        if not self.log_sums:
            return 0.0
        mixed = -math.log(len(self.log_sums))
        for log_sum in self.log_sums:
            not_started = log_add(not_started, log_sum + mixed)
        return not_started

    @property
    def log_bound(self) -> float:
        return -math.log(self.alpha)

    @property
    def exceeded(self) -> bool:
        return self.log_evidence >= self.log_bound

    @property
    def share(self) -> float | None:
        """Share of bad requests; None without any request."""
        return self.bad / self.total if self.total > 0 else None


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without leaving the logarithms."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


@dataclass(frozen=True)
class Reading:
    """Cumulative counters per instance, turned into what is new since the baseline.

    A counter below its last value was reset: all it shows is new. An instance that was not in the
    baseline started from 0.
    """

    last: Mapping[str, Counts] = field(default_factory=dict)

    def grown(self, now: Mapping[str, Counts]) -> set[str]:
        """The instances that counted requests since the last reading."""
        before = {name: self.last.get(name, Counts(0, 0)).total for name in now}
        return {name for name, counts in now.items() if counts.total != before[name]}

    def new(self, now: Mapping[str, Counts]) -> tuple[Reading, Counts]:
        total = bad = 0.0
        for instance, counts in now.items():
            before = self.last.get(instance, Counts(0, 0))
            if counts.total < before.total:
                before = Counts(0, 0)
            total += counts.total - before.total
            bad += max(counts.bad - before.bad, 0.0)
        return Reading({**self.last, **now}), Counts(total, bad)


def judge_bake(
    test: AbsoluteTest, elapsed: float, needed: float, min_requests: int, data_ok: bool
) -> Verdict:
    """FAIL as soon as the bound is reached; PASS at the end of the time, on enough good requests.

    `elapsed` and `needed` are seconds. `data_ok` says that the last reading is a current one:
    without it nothing passes, whatever was counted before.
    """
    if test.exceeded:
        return Verdict.FAIL
    enough = data_ok and test.total >= min_requests and elapsed >= needed
    if enough and test.share is not None and test.share <= test.limit:
        return Verdict.PASS
    return Verdict.INCONCLUSIVE


def explain(test: AbsoluteTest) -> str:
    """The numbers behind a verdict, for people."""
    if test.share is None:
        return "no request counted yet"
    bound = math.exp(test.log_bound)
    return (
        f"{test.bad:.0f} of {test.total:.0f} requests failed ({100 * test.share:.2f} %, "
        f"limit {100 * test.limit:g} %; evidence {strength(test)} of {bound:.3g})"
    )


def strength(test: AbsoluteTest) -> str:
    """The evidence as a number that a person can take in."""
    if test.log_evidence > math.log(10_000):
        return "over 10000"
    return f"{math.exp(test.log_evidence):.2g}"
