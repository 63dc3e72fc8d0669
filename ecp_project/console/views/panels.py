"""Drawing what apps contribute (CONSOLE section 9). A panel that fails is a box; the page stays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import structlog
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from ecp_project.kernel.panels import Slot, registry
from ecp_project.observability.metrics import PANEL_FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from django.http import HttpRequest

    from ecp_project.kernel.panels import Page, Panel, PanelContext

PATIENCE_S = 2
PATIENCE_SQL = f"SET LOCAL statement_timeout = '{PATIENCE_S}s'"
FAILED = "console_panel_failed"
# Parts of these places are fetched after the page, each by itself, where scripts run.
FETCHED = frozenset({Slot.OVERVIEW_TILE, Slot.OVERVIEW_CHART, Slot.ATTENTION})
Found = TypeVar("Found")
Refusals = tuple[type[Exception], ...]
_log = structlog.get_logger("ecp.console")


class TooSlow(Exception):
    """The panel took longer than a reader should wait for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A panel's place on a page: drawn already, or an address to fetch it from."""

    key: str
    html: SafeString = SafeString("")  # noqa: RUF009 - no call can change it
    url: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an app adds to a page of a list: one cell for each entry that has one."""

    key: str
    title: str
    cells: Mapping[int, SafeString]


def may_see(contributed: Panel | Page, roles: Collection[str]) -> bool:
    return not contributed.permission or any(role in roles for role in contributed.permission.split())


def seen(slot: Slot, roles: Collection[str]) -> list[Panel]:
    return [panel for panel in registry.panels(slot) if may_see(panel, roles)]


def drawn(
    request: HttpRequest, slot: Slot, context: PanelContext, roles: Collection[str]
) -> list[SafeString]:
    """Every panel of the slot that the reader may see and that has something to show."""
    return [html for panel in seen(slot, roles) if (html := draw(request, panel, context))]


def parts(
    request: HttpRequest, slot: Slot, context: PanelContext, roles: Collection[str], query: Mapping[str, str]
) -> list[Part]:
    """Addresses of the panels of the slot, or with `?full=1` the panels themselves."""
    if "full" in request.GET:
        done = [Part(panel.key, draw(request, panel, context)) for panel in seen(slot, roles)]
        return [part for part in done if part.html]
    return [
        Part(panel.key, url=f"{reverse('admin:panel', args=[panel.key])}?{urlencode(query)}")
        for panel in seen(slot, roles)
    ]


def draw(
    request: HttpRequest,
    panel: Panel | Page,
    context: PanelContext,
    retry: str = "",
    passing: Refusals = (),
) -> SafeString:
    """HTML of one panel; empty when it has nothing to show, a box when it fails.

    `passing` are failures that the caller answers itself.
    """

    def load() -> SafeString:
        found = panel.load(context)
        return SafeString("") if found is None else render_to_string(panel.template, dict(found), request)

    return guarded(request, panel.key, load, failed_box(request, retry), passing)


def columns(request: HttpRequest, panels: Sequence[Panel], context: PanelContext) -> list[Column]:
    """The columns of these panels; one that fails is missing from the list, which stays."""

    def column(panel: Panel) -> Column | None:
        found = panel.load(context)
        if found is None:
            return None
        cells: Mapping[int, Mapping[str, object]] = found["cells"]  # type: ignore[assignment]  # by the contract
        shown = {id_: render_to_string(panel.template, dict(cell), request) for id_, cell in cells.items()}
        return Column(panel.key, str(found["title"]), shown)

    made = [guarded(request, panel.key, partial(column, panel), None) for panel in panels]
    return [column for column in made if column is not None]


def guarded(
    request: HttpRequest, key: str, load: Callable[[], Found], failed: Found, passing: Refusals = ()
) -> Found:
    """What `load` gives within two seconds; `failed`, a count and a line in the log when it fails."""
    try:
        return _in_time(load)
    except passing:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge of a panel: the page stays, whatever it was
        PANEL_FAILURES.labels(panel=key).inc()
        _log.error(FAILED, panel=key, request=request.META.get("ecp.request_id", ""), exc_info=error)
        return failed


def _in_time(load: Callable[[], Found]) -> Found:
    started = time.monotonic()
    # A query that fails takes back this transaction only; what the page reads later is untouched.
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(PATIENCE_SQL)
        found = load()
    seconds = time.monotonic() - started
    if seconds > PATIENCE_S:
        raise TooSlow(f"{seconds:.1f} s")
    return found


def failed_box(request: HttpRequest, retry: str = "") -> SafeString:
    """What stands in the place of a panel that failed, with the way to try again."""
    shown = {
        "request_id": request.META.get("ecp.request_id", ""),
        "retry": retry or request.get_full_path(),
    }
    return render_to_string("console/_panel_failed.html", shown)
