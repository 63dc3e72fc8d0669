"""Filters of the templates: instants in UTC, grouped numbers, text with its hidden characters shown."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

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
def grouped(number: int) -> str:
    """Thousands apart, as in 1,234,567."""
    return f"{number:,}"


@register.filter
def seen(text: str) -> str:
    """Text with bidirectional controls as visible marks; escaping stays with the template."""
    return _BIDI_CONTROL.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))
