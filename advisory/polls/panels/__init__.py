"""What polls add to the console: pages, a tile, a chart, what waits, lines and boxes of records."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from advisory.polls.panels import addresses, drafting, pages, parts, recurring, steps, trend
from ecp_project.kernel.panels import Page, Panel, Slot, registry

ORDER = 20  # behind friction
MAKERS = "operator admin"

registry.add(
    Page(
        addresses.LIST, _("Polls"), "polls.list", ORDER, "", "polls/list.html", pages.listed,
        ("before", "state", "schedule"),
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.POLL, _("Poll"), "polls.one", ORDER, "", "polls/poll.html", pages.poll_page,
        ("poll", "done"),
        is_listed=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.SHEET, _("Poll"), "polls.sheet", ORDER, "", "polls/sheet.html", pages.sheet, ("poll",),
        is_listed=False, has_frame=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.NEW, _("New poll"), "polls.new", ORDER, MAKERS, "polls/new.html", drafting.form,
        ("decision",), drafting.draft, MAKERS, is_listed=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.STEP, _("Confirm"), "polls.step", ORDER, MAKERS, "polls/step.html", steps.confirmation,
        ("poll", "step"), steps.take_step, MAKERS, is_listed=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.BY_HAND, _("Answers by hand"), "polls.by_hand", ORDER, "operator", "polls/by_hand.html",
        steps.by_hand, ("poll", "done"), steps.answer_by_hand, "operator", is_listed=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.SCHEDULES, _("Recurring polls"), "polls.schedules", ORDER, "operator",
        "polls/schedules.html", recurring.listed, ("done",), recurring.act, "operator", is_listed=False,
    )
)  # fmt: skip
registry.add(
    Page(
        addresses.TREND, _("Trend of a recurring poll"), "polls.trend", ORDER, "", "polls/trend.html",
        trend.trend, ("schedule",), is_listed=False,
    )
)  # fmt: skip

registry.add(Panel(Slot.OVERVIEW_TILE, "polls.open", ORDER, "", "polls/_tile.html", parts.open_polls))
registry.add(Panel(Slot.ATTENTION, "polls.closing", ORDER, "", "polls/_closing.html", parts.closing_soon))
registry.add(Panel(Slot.OVERVIEW_CHART, "polls.polls", ORDER, "", "polls/_chart.html", parts.distributions))
registry.add(Panel(Slot.RECORD_ADVICE, "polls.about", ORDER, "", "polls/_about.html", parts.about_record))
registry.add(Panel(Slot.TIMELINE, "polls.lines", ORDER, "", "polls/_lines.html", parts.lines))
registry.add(Panel(Slot.QUERY_KEY, "polls.has_poll", ORDER, "", "", parts.asked_about))
