"""What the answers of a sample say about the frame it came from (POLLS section 5).

The headline is an exact interval where there is one. Every function takes counts and gives figures; none
decides anything. Silence is never counted as an opinion: the worst-case bounds say what it could hide.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, comb, log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from ecp_project.kernel.stats import EVERYTHING, Interval, normal_quantile, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBSTANTIVE_PAIR = 2


def alpha_of(confidence_pct: int) -> Fraction:
    return 1 - Fraction(confidence_pct, 100)


# --- one option, simple random sample


@dataclass(frozen=True, slots=True)
class ExactInterval:
    """Smallest and largest number of supporters in the frame that the sample leaves plausible."""

    low: int
    high: int
    is_near_census: bool


def exact_interval(*, k: int, n: int, frame: int, alpha: Fraction) -> ExactInterval:
    """Hypergeometric interval of K, the supporters among `frame` agents of whom n were asked and k agreed.

    K stays in while neither P(X >= k | K) nor P(X <= k | K) is at most alpha/2. Both are monotonous in K, so
    each end is found by halving, and in whole numbers: no rounding decides what is inside.
    """
    if not 0 <= k <= n <= frame:
        raise AssertionError(f"{k} of {n} of {frame}")
    possible = range(k, frame - n + k + 1)
    low = possible[bisect_left(possible, 1, key=lambda have: _is_over(have, k, n, frame, alpha))]
    # The upper end is the lower end of those who did not agree.
    against = range(n - k, frame - k + 1)
    least = against[bisect_left(against, 1, key=lambda have: _is_over(have, n - k, n, frame, alpha))]
    high = frame - least
    return ExactInterval(low, high, is_near_census=low == high and n < frame)


def _is_over(have: int, k: int, n: int, frame: int, alpha: Fraction) -> bool:
    """Whether P(X >= k | have) > alpha/2; summed on the shorter side of the distribution."""
    total = comb(frame, n)
    bottom, top = max(0, n - (frame - have)), min(n, have)
    if top - k <= k - bottom:
        count = _ways(range(k, top + 1), have, n, frame)
    else:
        count = total - _ways(range(bottom, k), have, n, frame)
    return 2 * count * alpha.denominator > alpha.numerator * total


def _ways(hits: range, have: int, n: int, frame: int) -> int:
    """Sum of C(have, x) * C(frame - have, n - x); each term from the one before by one product."""
    if not hits:
        return 0
    x = hits[0]
    term = comb(have, x) * comb(frame - have, n - x)
    count = term
    for x in hits[:-1]:
        term = term * ((have - x) * (n - x)) // ((x + 1) * (frame - have - n + x + 1))
        count += term
    return count


def effective_size(n: int, frame: int) -> float | None:
    """Size with the finite population correction; None for a census, which has no uncertainty."""
    return None if n >= frame else n * (frame - 1) / (frame - n)


def wilson_fpc(*, k: int, n: int, frame: int, confidence: float) -> Interval:
    if n == 0:
        return EVERYTHING
    size = effective_size(n, frame)
    return (k / n, k / n) if size is None else wilson(k / n, size, confidence=confidence)


def worst_case(*, k: int, drawn: int, responded: int) -> Interval:
    """Where the share could lie if all who were silent thought alike, one way or the other."""
    if responded == 0 or drawn == 0:
        return EVERYTHING
    return k / drawn, (k + drawn - responded) / drawn


def sample_size(*, frame: int, margin: float, confidence: float = 0.95, share: float = 0.5) -> int:
    """How many to ask for a margin of error, at the share that needs the most."""
    wanted = unlimited_sample_size(margin=margin, confidence=confidence, share=share)
    return min(frame, ceil(wanted / (1 + (wanted - 1) / frame)))


def unlimited_sample_size(*, margin: float, confidence: float = 0.95, share: float = 0.5) -> float:
    z = normal_quantile(confidence)
    return z * z * share * (1 - share) / (margin * margin)


# --- several options


def goodman(counts: Sequence[int], *, confidence: float) -> list[Interval]:
    """Intervals that hold for all options at once; with two options each says what the other says."""
    n = sum(counts)
    if n == 0:
        return [EVERYTHING for _ in counts]
    a = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * len(counts))) ** 2
    found = []
    for k in counts:
        half = sqrt(a * (a + 4 * k * (n - k) / n))
        found.append(
            (max(0.0, (a + 2 * k - half) / (2 * (n + a))), min(1.0, (a + 2 * k + half) / (2 * (n + a))))
        )
    return found


@dataclass(frozen=True, slots=True)
class Dissent:
    plurality_share: float
    dissent_index: float
    gini_simpson_normalised: float
    entropy_normalised: float
    margin_top_two: float


def dissent(counts: Sequence[int]) -> Dissent | None:
    """How far from agreement: 0 when all chose one option, at most 1 - 1/m."""
    n, m = sum(counts), len(counts)
    if n == 0 or m < SUBSTANTIVE_PAIR:
        return None
    shares = sorted((k / n for k in counts), reverse=True)
    return Dissent(
        plurality_share=shares[0],
        dissent_index=1 - shares[0],
        gini_simpson_normalised=(1 - sum(p * p for p in shares)) / (1 - 1 / m),
        entropy_normalised=-sum(p * log(p) for p in shares if p) / log(m) + 0.0,
        margin_top_two=shares[0] - shares[1],
    )


# --- strata


@dataclass(frozen=True, slots=True)
class Stratum:
    """N agents in the frame, n opinions from them, k for the option."""

    name: str
    N: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Stratified:
    share: float | None
    unweighted_share: float | None
    se: float | None
    n_eff: float | None
    n_eff_from: str
    interval: Interval
    collapsed: tuple[tuple[str, ...], ...] = ()
    not_represented: tuple[str, ...] = ()


def stratified(strata: Sequence[Stratum], *, confidence: float) -> Stratified:
    """Weigh each stratum by its size in the frame, whatever share of it was asked."""
    known = sorted((one for one in strata if one.N), key=lambda one: one.name.encode())
    missing = tuple(one.name for one in known if one.n == 0)
    merged, collapsed = _merged([one for one in known if one.n])
    n, k = sum(one.n for one in merged), sum(one.k for one in merged)
    frame = sum(one.N for one in merged)
    if n == 0:
        return Stratified(None, None, None, None, "none", EVERYTHING, (), missing)
    share = sum(one.N / frame * (one.k / one.n) for one in merged)
    variance = sum(_variance(one) * (one.N / frame) ** 2 for one in merged)
    share = min(1.0, share)
    if all(one.n == one.N for one in merged):
        return Stratified(share, k / n, 0.0, None, "census", (share, share), collapsed, missing)
    if variance > 0:
        n_eff, source = share * (1 - share) / variance, "variance"
    else:
        # All strata unanimous: the sample shows no spread, which is no proof that there is none.
        n_eff, source = n * (frame - 1) / (frame - n), "pooled"
    interval = wilson(share, n_eff, confidence=confidence)
    return Stratified(share, k / n, sqrt(variance), n_eff, source, interval, collapsed, missing)


def _variance(one: Stratum) -> float:
    if one.n == one.N or one.k in (0, one.n):  # asked in full, or no spread: also the one answer of a frame
        return 0.0
    p = one.k / one.n
    return (1 - one.n / one.N) * p * (1 - p) / (one.n - 1)


def _merged(strata: list[Stratum]) -> tuple[list[Stratum], tuple[tuple[str, ...], ...]]:
    """Put a stratum with one answer together with its neighbour: one answer has no spread to measure."""
    groups = [([one.name], one) for one in strata]
    while len(groups) > 1:
        at = next((i for i, (_, one) in enumerate(groups) if one.n == 1 < one.N), None)
        if at is None:
            break
        left = at if at + 1 < len(groups) else at - 1
        (names, a), (more, b) = groups[left : left + 2]
        together = Stratum(f"{a.name}+{b.name}", a.N + b.N, a.n + b.n, a.k + b.k)
        groups[left : left + 2] = [(names + more, together)]
    return [one for _, one in groups], tuple(tuple(names) for names, _ in groups if len(names) > 1)


# --- agents that share a base model


@dataclass(frozen=True, slots=True)
class Cluster:
    """Answers of the agents of one base model, `yes` of them for the option."""

    n: int
    yes: int


@dataclass(frozen=True, slots=True)
class Clusters:
    share: float | None
    clusters: int
    largest_cluster_share: float | None
    icc_anova: float | None
    design_effect: float | None
    n_eff: float | None
    interval: Interval | None
    note: str
    is_largely_one_model: bool = field(default=False)


def shared_models(groups: Sequence[Cluster], *, confidence: float) -> Clusters:
    """Correct for agents that answer alike because they are one model under many names (ANOVA estimator)."""
    groups = [one for one in groups if one.n]
    a, n, yes = len(groups), sum(one.n for one in groups), sum(one.yes for one in groups)
    if n == 0:
        return Clusters(None, 0, None, None, None, None, None, "no_answers")
    share = yes / n
    largest = max(one.n for one in groups) / n
    largely_one = largest > 1 / 2
    if a == 1:
        return Clusters(share, 1, 1.0, None, None, None, None, "one_model", largely_one)
    icc: float | None
    if all(one.n == 1 for one in groups):
        icc, effect, n_eff, note = 0.0, 1.0, float(n), "all_models_differ"
    elif yes in (0, n):
        icc, effect, n_eff, note = None, n / a, float(a), "unanimous"
    else:
        squares = sum(one.n**2 for one in groups) / n
        between = sum(one.n * (one.yes / one.n - share) ** 2 for one in groups) / (a - 1)
        within = sum(one.yes * (1 - one.yes / one.n) for one in groups) / (n - a)
        m0 = (n - squares) / (a - 1)
        spread = between + (m0 - 1) * within
        icc = max(0.0, (between - within) / spread) if spread else 0.0
        effect = max(1.0, 1 + (squares - 1) * icc)
        n_eff, note = n / effect, ""
    interval = wilson(share, n_eff, confidence=confidence)
    return Clusters(share, a, largest, icc, effect, n_eff, interval, note, largely_one)


# --- silence and quorum

SILENCE = ("unreachable", "silent", "declined", "invalid", "late")


@dataclass(frozen=True, slots=True)
class Quorum:
    min_responses: int = 5
    min_response_rate_pct: int = 30
    strata: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition of the quorum that was not met, in words for machines and its numbers."""

    condition: str
    wanted: int
    found: int
    stratum: str | None = None


def unmet(quorum: Quorum, *, drawn: int, answered: int, by_stratum: dict[str, int]) -> list[Unmet]:
    """Compare in whole numbers: 30 % of 10 is 3 and no rounding makes it 4."""
    found = []
    if answered < quorum.min_responses:
        found.append(Unmet("min_responses", quorum.min_responses, answered))
    if answered * 100 < quorum.min_response_rate_pct * drawn:
        rate = answered * 100 // drawn
        found.append(Unmet("min_response_rate_pct", quorum.min_response_rate_pct, rate))
    for name, wanted in quorum.strata:
        if by_stratum.get(name, 0) < wanted:
            found.append(Unmet("stratum_min_responses", wanted, by_stratum.get(name, 0), name))
    return found
