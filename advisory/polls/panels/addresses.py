"""Addresses of the pages of polls, and the log that they all speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from advisory.polls import selectors
from ecp_project.kernel.errors import NotFound
from ledger.models import Log, Mode
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from collections.abc import Callable

    from advisory.polls.models import Poll
    from ecp_project.kernel.panels import PanelContext

LIST, POLL, NEW, STEP = "polls/", "polls/poll/", "polls/new/", "polls/step/"
BY_HAND, SCHEDULES, SHEET = "polls/by-hand/", "polls/schedules/", "polls/sheet/"
TREND = "polls/trend/"


def links(about: PanelContext) -> Callable[..., str]:
    """Addresses of pages with the log in each: a link works for whoever has several organisations, too."""
    slug = Log.objects.values_list("slug", flat=True).get(pk=about.log_id)
    home = reverse("admin:index")

    def to(path: str, **query: object) -> str:
        return f"{home}{path}?{urlencode({'log': slug} | query)}"

    return to


def url(path: str, about: PanelContext, **query: object) -> str:
    return links(about)(path, **query)


def record_url(uid: UUID | None) -> str:
    return "" if uid is None else reverse("admin:record", args=[uid])


def id_given(text: str) -> UUID:
    """Read an id of an address; what is none belongs to nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("not_found", "there is no such poll") from None


def scope_of(about: PanelContext) -> OrgScope:
    return OrgScope(about.scope.organisation_id, about.scope.agents)


def poll_named(about: PanelContext) -> Poll:
    return selectors.poll_of(scope=scope_of(about), poll_id=id_given(about.given.get("poll", "")))


def is_taking(about: PanelContext) -> bool:
    """Whether the log takes entries now; forms that write are switched off while it does not."""
    return Log.objects.filter(pk=about.log_id, mode=Mode.ACTIVE).exists()
