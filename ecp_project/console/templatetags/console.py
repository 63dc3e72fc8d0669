"""Filters and tags of the templates: instants, numbers, hidden characters and hashes shown; panels drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from ecp_project.console.views.panels import columns, drawn, guarded
from ecp_project.console.views.panels import seen as seen_panels
from ecp_project.kernel.panels import PanelContext, Slot, registry
from ecp_project.kernel.privacy import opener
from ledger.changelist import request_viewer
from ledger.listpage import links_of
from ledger.selectors.actwords import act_in_words, short_ids
from ledger.selectors.entries import OrgScope
from ledger.sentences import actor_in_words

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from django.http import HttpRequest
    from django.template import Context

    from ecp_project.console.views.panels import Column
    from ledger.models import Log
    from ledger.selectors.lists import Page

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
    named = (
        (days, gettext("%(number)d d")),
        (hours, gettext("%(number)d h")),
        (minutes, gettext("%(number)d min")),
        (rest, gettext("%(number)d s")),
    )
    shown = [text % {"number": number} for number, text in named if number]
    return " ".join(shown[:2]) or named[-1][1] % {"number": 0}


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


@register.filter
def actor(code: str) -> str:
    """Who speaks in the log: an agent, a member by the start of the pseudonym, a part of the system."""
    return actor_in_words({"actor": code})


register.filter(act_in_words)
register.filter(short_ids)


@register.simple_tag(takes_context=True)
def list_columns(context: Context, page: Page) -> list[Column]:
    """Columns that apps add to this page of a list, each asked once for the page."""
    request = context["request"]
    found = seen_panels(Slot.LIST_COLUMN, _roles(request, page.log))
    if not found or not page.rows:
        return []
    about = _about(request, page.log, page.now)
    return columns(request, found, replace(about, entry_ids=[row.entry.pk for row in page.rows]))


@register.simple_tag(takes_context=True)
def list_facets(context: Context, page: Page) -> list[dict[str, Any]]:
    """Facets that apps add: values that narrow the list, without counts."""
    request, made = context["request"], []
    for panel in seen_panels(Slot.LIST_FACET, _roles(request, page.log)):
        load = partial(panel.load, _about(request, page.log, page.now))
        found: Any = guarded(request, panel.key, load, None)
        if found:
            made.append({"title": found["title"], "links": links_of(page, found["key"], found["values"])})
    return made


@register.filter
def cell(column: Column, entry_id: int) -> SafeString:
    return column.cells.get(entry_id, SafeString(""))


@register.simple_tag(takes_context=True)
def nav_panels(context: Context) -> list[SafeString]:
    """Links that apps add below the navigation's groups."""
    request, frame = context["request"], context.get("frame")
    if not registry.panels(Slot.NAV) or not frame or frame.log is None:
        return []
    return drawn(request, Slot.NAV, _about(request, frame.log, context["now"]), _roles(request, frame.log))


def _about(request: HttpRequest, log: Log, now: datetime) -> PanelContext:
    organisation_id, viewer = log.organisation_id, request_viewer(request)
    scope = OrgScope(organisation_id, viewer.agents.get(organisation_id))
    return PanelContext(
        scope, log.pk, None, None, None, now,
        role=viewer.roles[organisation_id], actor=viewer.actor(organisation_id),
    )  # fmt: skip


def _roles(request: HttpRequest, log: Log) -> set[str]:
    return {request_viewer(request).roles[log.organisation_id]}


@register.simple_tag(takes_context=True)
def panels(context: Context, slot: str, about: PanelContext | None) -> SafeString:
    """What installed apps show in this place; nothing where the page is about no record."""
    if about is None:
        return SafeString("")
    viewer = request_viewer(context["request"])
    role = viewer.roles.get(about.scope.organisation_id, "")
    asks = opener(context["request"], about.scope.organisation_id)
    boxes = drawn(context["request"], Slot(slot), replace(about, role=role, opening=asks), {role})
    return format_html_join("", "{}", ((box,) for box in boxes))
