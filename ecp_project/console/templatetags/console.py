"""Filters of the templates: instants in UTC, grouped numbers, text with its hidden characters shown."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

MINUTE, HOUR, DAY = 60, 3_600, 86_400
register = template.Library()
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
def seen(text: str) -> str:
    """Text with bidirectional controls as visible marks; escaping stays with the template."""
    return _BIDI_CONTROL.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))
