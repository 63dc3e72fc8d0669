"""Panels as an optional app would contribute them, for the length of a test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecp_project.kernel.panels import Page, Panel, Slot, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ecp_project.kernel.panels import PanelContext

TEMPLATE = "stub/panel.html"


def stub(
    load: Callable[[PanelContext], Mapping[str, object] | None],
    *,
    slot: Slot = Slot.RECORD_ADVICE,
    key: str = "stub.box",
    order: int = 1,
    permission: str = "",
    template: str = TEMPLATE,
) -> Panel:
    return Panel(slot, key, order, permission, template, load)


@contextmanager
def contributed(*added: Panel | Page) -> Iterator[None]:
    panels, pages = dict(registry._panels), dict(registry._pages)
    try:
        for panel_or_page in added:
            registry.add(panel_or_page)
        yield
    finally:
        registry._panels.clear()
        registry._panels.update(panels)
        registry._pages.clear()
        registry._pages.update(pages)
