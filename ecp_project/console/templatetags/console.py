"""Filters and tags of the templates: instants, numbers, hidden characters and hashes shown; panels drawn."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from ecp_project.console.views.panels import drawn
from ecp_project.kernel.panels import Slot
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from django.template import Context

    from ecp_project.kernel.panels import PanelContext

MINUTE, HOUR, DAY = 60, 3_600, 86_400
register = template.Library()
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
# Controls that reorder the text around them: stored as they came, shown by number (SECURITY section 5.2).
_BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")


@register.filter
def utc(instant: datetime | None, precision: str = "minutes") -> SafeString | str:
    """`2026-03-31 12:00 UTC` as a `<time>`, to the minute or to the second."""
    if instant is None:
        return ""
    shown = instant.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{} UTC</time>',
        shown.isoformat(),
        shown.replace(tzinfo=None).isoformat(" ", precision),
    )


@register.filter
def ago(instant: datetime, now: datetime) -> str:
    """How long ago, in words that can be read at a glance; a day when it is long ago or still to come."""
    seconds = int((now - instant).total_seconds())
    if -MINUTE < seconds < MINUTE:
        return gettext("just now")
    if 0 < seconds < HOUR:
        return gettext("%(number)d min ago") % {"number": seconds // MINUTE}
    if 0 < seconds < DAY:
        return gettext("%(number)d h ago") % {"number": seconds // HOUR}
    if 0 < seconds < 30 * DAY:
        days = seconds // DAY
        return ngettext("%(number)d day ago", "%(number)d days ago", days) % {"number": days}
    return instant.astimezone(UTC).date().isoformat()


@register.filter
def grouped(number: int) -> str:
    """Thousands apart, as in 1,234,567."""
    return f"{number:,}"


@register.filter
def lasted(span: timedelta) -> str:
    """A span of time for people: seconds below a minute, then the two largest units."""
    seconds = int(span.total_seconds())
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    named = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{number} {unit}" for number, unit in named if number]
    return " ".join(shown[:2]) or "0 s"


@register.filter
def word(code: str) -> str:
    """A zone, a risk, a state or a problem's title in the reader's language.

    They come out of code that knows no framework, so they are looked up where they are shown.
    """
    return gettext(code) if code else ""


@register.filter
def seen(text: str) -> str:
    """Text with bidirectional controls as visible marks; escaping stays with the template."""
    return _BIDI_CONTROL.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))


@register.filter
def short(text: str) -> str:
    """Hashes in a text as 8…4; pages keep the full value beside it."""
    return _DIGEST.sub(lambda found: f"{found[0][:8]}…{found[0][-4:]}", text)


@register.simple_tag(takes_context=True)
def panels(context: Context, slot: str, about: PanelContext | None) -> SafeString:
    """What installed apps show in this place; nothing where the page is about no record."""
    if about is None:
        return SafeString("")
    viewer = request_viewer(context["request"])
    role = viewer.roles.get(about.scope.organisation_id, "")
    boxes = drawn(context["request"], Slot(slot), about, {role})
    return format_html_join("", "{}", ((box,) for box in boxes))
