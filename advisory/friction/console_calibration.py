"""Page `friction/calibration/`, and the mark of a decision whose link to an advice does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisory.friction.models import LinkFault, ReasonCode, Verdict
from advisory.friction.selectors.advice import advice_link_of
from advisory.friction.selectors.calibration import PERIOD, calibration
from ecp_project.kernel.panels import Page, Panel, Slot, registry
from ledger.models import Entry
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from advisory.friction.core.calibration import RuleFigures, Share
    from ecp_project.kernel.panels import PanelContext

MOST = 5_000  # a page answers within two seconds
WIDTH, HEIGHT = 120, 24  # of a drawing
RANGES = (("now-7d", gettext_lazy("7 days")), ("now-30d", gettext_lazy("30 days")))
FLAGS = {
    "always_bypassed": gettext_lazy("Nearly always bypassed"),
    "never_fires": gettext_lazy("Never applies"),
    "always_fires": gettext_lazy("Nearly always applies"),
    "noisy": gettext_lazy("Applies often, and outcomes do not differ"),
    "stale_pending": gettext_lazy("Steps wait for people for more than 7 days"),
}


def calibration_page(about: PanelContext) -> dict[str, Any]:
    until = about.until or about.now
    since = about.since or until - PERIOD
    found = calibration(
        scope=OrgScope(about.scope.organisation_id), since=since, until=until, now=about.now, most=MOST
    )
    return {
        "found": found,
        "ranges": RANGES,
        "rows": [_row(figures) for figures in found.rules],
    }


def _row(figures: RuleFigures) -> dict[str, Any]:
    lift = figures.lift
    return {
        "figures": figures,
        "flags": [FLAGS[name] for name in figures.flags],
        "bypass": _drawn(figures.bypass_rate),
        "quick": _percent(figures.quick_share),
        "median_minutes": None if figures.median_s is None else f"{figures.median_s / 60:.1f}",
        "reasons": _named(figures.codes, ReasonCode),
        "verdicts": _named(figures.verdicts, Verdict),
        "fired_badly": _percent(figures.adverse_when_fired),
        "badly_otherwise": _percent(figures.adverse_otherwise),
        "lift": None
        if lift is None
        else _("%(lift).2f (%(low).2f to %(high).2f)")
        % {"lift": lift.milli / 1_000, "low": lift.low / 1_000, "high": lift.high / 1_000},
    }


def _percent(share: Share) -> str:
    """`12 % of 40`, or nothing where there is nobody to count."""
    if share.ppm is None:
        return ""
    return _("%(percent).0f %% of %(of)s") % {"percent": share.ppm / 10_000, "of": f"{share.of:,}"}


def _drawn(share: Share) -> dict[str, Any]:
    """The share as a line within its interval, drawn from 0 to 100 per cent; the words say the same."""
    if share.ppm is None:
        return {"text": ""}
    low, high = (part * WIDTH // 1_000_000 for part in share.interval)
    place = share.ppm * WIDTH // 1_000_000
    words = _("%(share)s; 95 %% interval %(low).0f to %(high).0f %%") % {
        "share": _percent(share),
        "low": share.interval[0] / 10_000,
        "high": share.interval[1] / 10_000,
    }
    return {
        "text": words,
        "area": f"M{low} 6H{max(high, low + 1)}V18H{low}Z",
        "line": f"M{place} 2V22",
        "base": f"M0 {HEIGHT}H{WIDTH}",
        "width": WIDTH,
        "height": HEIGHT,
    }


def _named(counts: dict[str, int], words: type[ReasonCode | Verdict]) -> list[tuple[str, int]]:
    return [(str(words(code).label), count) for code, count in sorted(counts.items())]


def advice_link(about: PanelContext) -> dict[str, Any] | None:
    """Nothing for a decision without such a flag."""
    if about.entry_id is None:
        return None
    uid = Entry.objects.filter(pk=about.entry_id).values_list("uid", flat=True).first()
    if uid is None:
        return None
    found = advice_link_of(scope=OrgScope(about.scope.organisation_id), decision_id=uid)
    if found is None:
        return None
    return {"advice_id": found.advice_id, "fault": LinkFault(found.fault).label}


registry.add(
    Page(
        "friction/calibration/",
        gettext_lazy("Calibration"),
        "friction.calibration",
        40,
        "auditor",
        "console/friction_calibration.html",
        calibration_page,
    )
)
registry.add(
    Panel(Slot.RECORD_ADVICE, "friction.advice_link", 30, "", "console/friction_link.html", advice_link)
)
