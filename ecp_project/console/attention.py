"""What waits for a person, over all logs of a viewer (CONSOLE section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ecp_project.console.links import ledger_url
from ledger.models import POSITIONS_PER_LOG, Entry, Mode, Role, Verification
from ledger.selectors.subjects import erasures_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ledger.selectors.console import LogState, Viewer

UNSIGNED_TOO_LONG = timedelta(seconds=60)
SEARCH_TOO_LATE = timedelta(seconds=10)
SEARCH_TOO_FAR = 100
MOST = 1_000


@dataclass(frozen=True, slots=True)
class Item:
    """One line: what is the matter, where to look, and whether it is a breach or only waits."""

    text: str
    url: str
    is_alarm: bool


def attention(*, viewer: Viewer, states: Sequence[LogState], now: datetime) -> list[Item]:
    """Alarms first; an empty list means that nothing waits."""
    received = _received(states)
    failed = _failed_verifications(states)
    items = [
        *(item for state in states for item in _of_log(state, failed, received, now)),
        *_erasures(viewer),
    ]
    return sorted(items, key=lambda item: not item.is_alarm)


def _received(states: Sequence[LogState]) -> dict[int, datetime]:
    """Time of receipt of the first unsigned and of the first unsearched entry of each log, by entry id."""
    ids = [
        state.log.pk * POSITIONS_PER_LOG + seq
        for state in states
        for seq in (state.signed_size, state.searched_size)
        if seq < state.log.head.size
    ]
    return dict(Entry.objects.filter(id__in=ids).values_list("id", "rcvd")) if ids else {}


def _failed_verifications(states: Sequence[LogState]) -> dict[int, Verification]:
    """The newest finished verification of each log, where it failed."""
    ended = Verification.objects.filter(log__in=[state.log.pk for state in states], ok__isnull=False)
    newest = ended.order_by("log_id", "-started_at").distinct("log_id")
    return {run.log_id: run for run in newest if run.ok is False}


def _of_log(
    state: LogState, failed: dict[int, Verification], received: dict[int, datetime], now: datetime
) -> Iterator[Item]:
    log = state.log
    named = {"org": log.organisation.title or log.organisation.slug}
    place = ledger_url(log)
    base = log.pk * POSITIONS_PER_LOG
    if log.pk in failed:
        bad = failed[log.pk].first_bad_seq
        where = "" if bad is None else _(" First bad position: %(seq)s.") % {"seq": f"{bad:,}"}
        yield Item(_("%(org)s: the last verification failed.") % named + where, place, is_alarm=True)
    if log.mode != Mode.ACTIVE:
        mode = named | {"mode": log.get_mode_display()}
        yield Item(
            _("%(org)s: the ledger is %(mode)s and takes no new entries.") % mode, place, is_alarm=True
        )
    unsigned = received.get(base + state.signed_size)
    if unsigned is not None and now - unsigned > UNSIGNED_TOO_LONG:
        text = ngettext(
            "%(org)s: %(count)s entry waits for a checkpoint since %(at)s UTC.",
            "%(org)s: %(count)s entries wait for a checkpoint since %(at)s UTC.",
            state.waiting,
        )
        told = named | {"count": f"{state.waiting:,}", "at": f"{unsigned:%Y-%m-%d %H:%M}"}
        yield Item(text % told, place, is_alarm=True)
    behind = log.head.size - state.searched_size
    unsearched = received.get(base + state.searched_size)
    if behind > SEARCH_TOO_FAR or (unsearched is not None and now - unsearched > SEARCH_TOO_LATE):
        text = ngettext(
            "%(org)s: search is %(count)s entry behind.",
            "%(org)s: search is %(count)s entries behind.",
            behind,
        )
        url = f"{reverse('admin:ledger_entry_changelist')}?log={log.slug}"
        yield Item(text % (named | {"count": f"{behind:,}"}), url, is_alarm=False)


def _erasures(viewer: Viewer) -> Iterator[Item]:
    readers = viewer.organisations_as(Role.OPERATOR, Role.ADMIN)
    if not readers:
        return
    slugs = erasures_waiting(organisation_ids=readers).values_list("log__slug", flat=True)[:MOST]
    if waiting := len(slugs):
        text = ngettext("%(count)d erasure awaits approval.", "%(count)d erasures await approval.", waiting)
        url = f"{reverse('admin:data_subjects')}?{urlencode({'log': slugs[0]})}#erasures"
        yield Item(text % {"count": waiting}, url, is_alarm=False)
