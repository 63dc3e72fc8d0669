"""Drawing what apps contribute. A panel that fails is a box that says so; the page stays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from ecp_project.console.metrics import PANEL_FAILURES
from ecp_project.kernel.panels import registry

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

    from ecp_project.kernel.panels import Panel, PanelContext, Slot

PATIENCE_S = 2
PATIENCE_SQL = f"SET LOCAL statement_timeout = '{PATIENCE_S}s'"
FAILED = "console_panel_failed"
_log = structlog.get_logger("ecp.console")


class TooSlow(Exception):
    """The panel took longer than a reader should wait for it."""


def may_see(panel: Panel, roles: Collection[str]) -> bool:
    return not panel.permission or any(role in roles for role in panel.permission.split())


def drawn(
    request: HttpRequest, slot: Slot, context: PanelContext, roles: Collection[str]
) -> list[SafeString]:
    """Every panel of the slot that the reader may see and that has something to show."""
    panels = [panel for panel in registry.panels(slot) if may_see(panel, roles)]
    return [html for panel in panels if (html := draw(request, panel, context))]


def draw(request: HttpRequest, panel: Panel, context: PanelContext) -> SafeString:
    """HTML of one panel; empty when it has nothing to show."""
    try:
        return _draw(request, panel, context)
    except Exception as error:  # noqa: BLE001 - the outermost edge of a panel: the page stays, whatever it was
        PANEL_FAILURES.labels(panel=panel.key).inc()
        _log.error(FAILED, panel=panel.key, exc_info=error)
        shown = {"request_id": request.META.get("ecp.request_id", "")}
        return render_to_string("console/_panel_failed.html", shown)


def _draw(request: HttpRequest, panel: Panel, context: PanelContext) -> SafeString:
    started = time.monotonic()
    # A query that fails takes back this transaction only; what the page reads later is untouched.
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(PATIENCE_SQL)
        found = panel.load(context)
        html = SafeString("") if found is None else render_to_string(panel.template, dict(found), request)
    seconds = time.monotonic() - started
    if seconds > PATIENCE_S:
        raise TooSlow(f"{seconds:.1f} s")
    return html
