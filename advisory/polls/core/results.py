"""The result of a poll as one document, with every sentence made in one place (POLLS sections 5 and 6).

Numbers are rounded here and nowhere else: six decimals in the API, the same as whole millionths in the log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from advisory.polls.core import aggregate
from advisory.polls.core.aggregate import SILENCE, SUBSTANTIVE_PAIR, Cluster, Quorum, Stratum
from advisory.polls.core.answers import ABSTAIN, substantive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecp_project.kernel.stats import Interval

DISCLAIMER = (
    "This poll is non-binding. It neither approves nor forbids any action. "
    "It describes {n} answers from {drawn} sampled agents of {N} to the stated question."
)
EXACT, STRATIFIED = "hypergeometric_exact", "stratified_wilson"
SRS = "srs"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One drawn agent: what became of the question to it. `silence` is None for a counted answer."""

    stratum: str
    choice: str | None = None
    silence: str | None = None
    base_model: str | None = None
    is_manual: bool = False
    rationale: str = ""
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was fixed at commit."""

    options: tuple[str, ...]
    strata: Mapping[str, int]
    estimator: str
    confidence_pct: int
    quorum: Quorum

    @property
    def frame_size(self) -> int:
        return sum(self.strata.values())

    @property
    def confidence(self) -> float:
        return self.confidence_pct / 100


def rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)


def ppm(number: float) -> int:
    return round(round(number, 6) * MILLION)


def disclaimer(*, answered: int, drawn: int, frame_size: int) -> str:
    return DISCLAIMER.format(n=answered, drawn=drawn, N=frame_size)


def result_of(terms: Terms, asked: Sequence[Asked]) -> dict[str, Any]:
    """Give the whole result; the same answers give the same document."""
    counts: Counter[str] = Counter(one.choice for one in asked if one.choice is not None)
    answered = sum(counts.values())
    abstained = counts[ABSTAIN]
    silence = {name: sum(one.silence == name for one in asked) for name in SILENCE}
    assert answered + sum(silence.values()) == len(asked), (answered, silence, len(asked))
    options = substantive(terms.options)
    n, frame_size = answered - abstained, terms.frame_size
    missing = aggregate.unmet(
        terms.quorum,
        drawn=len(asked),
        answered=answered,
        by_stratum=dict(Counter(one.stratum for one in asked if one.choice is not None)),
    )
    estimates = [_estimate(terms, asked, option) for option in options]
    if len(options) > SUBSTANTIVE_PAIR:
        spans = aggregate.goodman([counts[option] for option in options], confidence=terms.confidence)
        for estimate, span in zip(estimates, spans, strict=True):
            estimate["simultaneous"] = _pair(span)
    # The first of equals in the order of the options, so that a tie is told the same way each time.
    leader = max(range(len(options)), key=lambda at: (counts[options[at]], -at))
    is_tied = sum(counts[option] == counts[options[leader]] for option in options) > 1
    headline = _headline(terms, estimates[leader], n=n, drawn=len(asked), is_tied=is_tied)
    dissent = aggregate.dissent([counts[option] for option in options])
    return {
        "frame_size": frame_size,
        "drawn": len(asked),
        "answered": answered,
        "abstained": abstained,
        "n": n,
        "manual": sum(one.is_manual for one in asked),
        "tally": {option: counts[option] for option in terms.options},
        "headline": headline,
        "wilson_fpc": estimates[leader]["wilson_fpc"],
        "options": estimates,
        "dissent_index": None if dissent is None else rounded(dissent.dissent_index),
        "dissent": None if dissent is None else {k: rounded(v) for k, v in asdict(dissent).items()},
        "models": _models(asked, options[leader], terms.confidence),
        "silence": silence,
        "strata": _strata(terms, asked),
        "inconclusive": bool(missing) or n == 0,
        "unmet": [{k: v for k, v in asdict(one).items() if v is not None} for one in missing],
        "minority_report": _minority(asked, options, counts, options[leader]),
        "disclaimer": disclaimer(answered=answered, drawn=len(asked), frame_size=frame_size),
    }


def ledger_estimates(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the estimates as the closed entry holds them; of nobody there is none."""
    return [
        {
            "option": one["option"],
            "method": one["method"],
            "share_ppm": ppm(one["share"]),
            "low_ppm": ppm(one["low"]),
            "high_ppm": ppm(one["high"]),
        }
        for one in result["options"]
        if one["share"] is not None
    ]


def _estimate(terms: Terms, asked: Sequence[Asked], option: str) -> dict[str, Any]:
    said = [one for one in asked if one.choice not in (None, ABSTAIN)]
    n, k, frame = len(said), sum(one.choice == option for one in said), terms.frame_size
    answered = sum(one.choice is not None for one in asked)
    found: dict[str, Any] = {
        "option": option,
        "count": k,
        "share": rounded(k / n) if n else None,
        "low": 0.0,
        "high": 1.0,
        "wilson_fpc": _pair(aggregate.wilson_fpc(k=k, n=n, frame=frame, confidence=terms.confidence)),
        "worst_case": _pair(aggregate.worst_case(k=k, drawn=len(asked), responded=answered)),
        "marks": [],
    }
    if terms.estimator == SRS:
        found["method"] = EXACT
        if n:
            exact = aggregate.exact_interval(
                k=k, n=n, frame=frame, alpha=aggregate.alpha_of(terms.confidence_pct)
            )
            found |= {"from": exact.low, "to": exact.high}
            found |= {"low": rounded(exact.low / frame), "high": rounded(exact.high / frame)}
            found["marks"] = ["near_census"] if exact.is_near_census else []
        return found
    found["method"] = STRATIFIED
    by_stratum = [
        Stratum(
            name,
            size,
            sum(one.stratum == name for one in said),
            sum(one.stratum == name and one.choice == option for one in said),
        )
        for name, size in terms.strata.items()
    ]
    weighed = aggregate.stratified(by_stratum, confidence=terms.confidence)
    return found | {
        "share": rounded(weighed.share),
        "unweighted_share": rounded(weighed.unweighted_share),
        "low": rounded(weighed.interval[0]),
        "high": rounded(weighed.interval[1]),
        "n_eff": rounded(weighed.n_eff),
        "marks": [weighed.n_eff_from] if weighed.n_eff_from == "pooled" else [],
        "collapsed": [list(names) for names in weighed.collapsed],
        "not_represented": list(weighed.not_represented),
    }


def _headline(
    terms: Terms, estimate: Mapping[str, Any], *, n: int, drawn: int, is_tied: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "option": estimate["option"] if n else None,
        "share": estimate["share"],
        "of": terms.frame_size,
        "confidence_pct": terms.confidence_pct,
        "method": estimate["method"],
        "tied": is_tied and n > 0,
    }
    if "from" in estimate:
        found |= {"from": estimate["from"], "to": estimate["to"]}
    else:
        found |= {"low": estimate["low"], "high": estimate["high"]}
    return found | {"text": sentence(found, estimate, n=n, drawn=drawn)}


def sentence(headline: Mapping[str, Any], estimate: Mapping[str, Any], *, n: int, drawn: int) -> str:
    """Say the figure in words: what it rests on comes first, then range, frame and confidence."""
    of, confidence = headline["of"], headline["confidence_pct"]
    if n == 0:
        return (
            f"Nobody of the {drawn} agents asked gave an opinion, so nothing is known about the {of} agents."
        )
    start = "" if n == drawn else "If those who gave no opinion think like those who did, "
    option = headline["option"].replace("_", " ")
    if "from" in headline and headline["from"] == headline["to"]:
        body = f"{headline['from']} of the {of} agents would choose {option}"
        body += f" ({confidence} %)" if "near_census" in estimate["marks"] else ""
    elif "from" in headline:
        low, high = headline["from"], headline["to"]
        body = f"between {low} and {high} of the {of} agents ({confidence} %) would choose {option}"
        body = body.replace("would choose support", "would support")
    else:
        low, high = (f"{100 * headline[name]:.1f} %" for name in ("low", "high"))
        gone = estimate.get("not_represented")
        whom = f"the {of} agents" + (f" outside of {', '.join(gone)}" if gone else "")
        body = f"between {low} and {high} of {whom} ({confidence} %) would choose {option}"
    text = start + body + "."
    return text[0].upper() + text[1:]


def _models(asked: Sequence[Asked], option: str, confidence: float) -> dict[str, Any]:
    """Group by declared base model; an agent that declares none stands for itself."""
    groups: dict[str, list[bool]] = {}
    said = [one for one in asked if one.choice not in (None, ABSTAIN)]
    for number, one in enumerate(said):
        name = f"model {one.base_model}" if one.base_model else f"undeclared {number}"
        groups.setdefault(name, []).append(one.choice == option)
    found = aggregate.shared_models(
        [Cluster(len(votes), sum(votes)) for votes in groups.values()], confidence=confidence
    )
    undeclared = sum(not one.base_model for one in said)
    return {
        "groups": found.clusters,
        "largest_share": rounded(found.largest_cluster_share),
        "icc": rounded(found.icc_anova),
        "design_effect": rounded(found.design_effect),
        "n_eff": rounded(found.n_eff),
        "interval": None if found.interval is None else _pair(found.interval),
        "undeclared_share": rounded(undeclared / len(said)) if said else None,
        "largely_one_model": found.is_largely_one_model,
        "note": found.note,
    }


def _strata(terms: Terms, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    return [
        {
            "stratum": name,
            "size": size,
            "drawn": sum(one.stratum == name for one in asked),
            "answered": sum(one.stratum == name and one.choice is not None for one in asked),
        }
        for name, size in sorted(terms.strata.items(), key=lambda item: item[0].encode())
    ]


def _minority(
    asked: Sequence[Asked], options: Sequence[str], counts: Mapping[str, int], leader: str
) -> dict[str, Any] | None:
    """Quote the longest reason for the largest option that did not lead."""
    others = [option for option in options if option != leader and counts[option]]
    if not others:
        return None
    option = max(others, key=lambda one: (counts[one], -options.index(one)))
    reasons = [one for one in asked if one.choice == option and one.rationale]
    if not reasons:
        return {"option": option, "count": counts[option], "rationale": None}
    longest = max(reasons, key=lambda one: (len(one.rationale), one.agent_id))
    return {"option": option, "count": counts[option], "rationale": longest.rationale}


def _pair(span: Interval) -> list[float]:
    return [round(span[0], 6), round(span[1], 6)]
