"""Filters of pages with figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

if TYPE_CHECKING:
    from datetime import datetime

register = template.Library()
# Up to this many seconds an age is told in that unit.
_UNITS = ((120, 1, "s"), (120 * 60, 60, "min"), (48 * 3600, 3600, "h"))


@register.filter
def age(at: datetime, now: datetime) -> str:
    """`5 s`, `12 min`, `3 h`, `4 d`: how long ago that was, in whole units."""
    seconds = max(0, int((now - at).total_seconds()))
    for limit, unit, name in _UNITS:
        if seconds < limit:
            return f"{seconds // unit} {name}"
    return f"{seconds // 86_400} d"
