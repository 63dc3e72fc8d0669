"""What waits for a person in the base product: tabs of the reviews page (CONSOLE section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.kernel.panels import Panel, Slot, registry
from ledger.models import Verification
from ledger.selectors.subjects import erasures_waiting
from ledger.sentences import actor_in_words

if TYPE_CHECKING:
    from ecp_project.kernel.panels import PanelContext

MOST = 200
TEMPLATE = "console/_review.html"


def failed_verification(about: PanelContext) -> dict[str, Any]:
    """The newest finished run of the log, while it is one that failed: a later sound run settles it."""
    runs = Verification.objects.filter(log_id=about.log_id, ok__isnull=False)
    run = runs.select_related("log").order_by("-started_at").first()
    items = []
    if run is not None and run.ok is False:
        place = (
            "" if run.first_bad_seq is None else _(" at position %(seq)s") % {"seq": f"{run.first_bad_seq:,}"}
        )
        text = _("The stored ledger does not verify%(place)s: find out why, then verify again") % {
            "place": place
        }
        items.append({
            "text": text,
            "url": f"{reverse('admin:integrity')}?{urlencode({'log': run.log.slug})}#runs",
            "due_at": run.ended_at or run.started_at,
        })  # fmt: skip
    return {"title": _("Failed verifications"), "items": items}


def erasures(about: PanelContext) -> dict[str, Any]:
    """Erasures that somebody asked for and nobody has approved, the oldest first."""
    rows = erasures_waiting(organisation_ids=[about.scope.organisation_id]).filter(log_id=about.log_id)
    rows = rows.select_related("log")[:MOST]
    return {
        "title": _("Erasures awaiting approval"),
        "items": [
            {
                "text": _("%(what)s, asked for by %(who)s. Basis: %(basis)s")
                % {
                    "what": _("Erasure of one record's private values")
                    if row.uid
                    else _("Erasure of a person's private values"),
                    "who": actor_in_words({"actor": row.requested_by}),
                    "basis": _(row.get_basis_display()),
                },
                "url": f"{reverse('admin:data_subjects')}?{urlencode({'log': row.log.slug})}#erasures",
                "due_at": row.requested_at,
            }
            for row in rows
        ],
    }


registry.add(
    Panel(
        Slot.REVIEW,
        "ledger.failed_verifications",
        10,
        "auditor operator admin",
        TEMPLATE,
        failed_verification,
    )
)
registry.add(Panel(Slot.REVIEW, "ledger.erasures", 60, "operator admin", TEMPLATE, erasures))
