"""What apps contribute to the console's pages (CONSOLE section 9).

An app's `panels.py` registers its panels and pages when the console starts. An app that is left out of
INSTALLED_APPS is never imported, so nothing of it remains on any page. No framework is known here: the
console draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


class Slot(Enum):
    """A place on a page."""

    NAV = "nav"
    OVERVIEW_TILE = "overview_tile"
    OVERVIEW_CHART = "overview_chart"
    ATTENTION = "attention"
    LIST_COLUMN = "list_column"
    LIST_FACET = "list_facet"
    QUERY_KEY = "query_key"
    RECORD_ADVICE = "record_advice"
    RECORD_RESPONSIBILITY = "record_responsibility"
    TIMELINE = "timeline"
    REVIEW = "review"
    AGENT = "agent"


class Scope(Protocol):
    """What the reader may see; the ledger's `OrgScope` is one."""

    @property
    def organisation_id(self) -> int: ...

    @property
    def agents(self) -> frozenset[str] | None: ...


@dataclass(frozen=True, slots=True)
class PanelContext:
    """What a panel is about: a log, perhaps one of its entries, perhaps a range of time."""

    scope: Scope
    log_id: int
    entry_id: int | None
    since: datetime | None
    until: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Panel:
    """One box, tile, column or line. `load` gives what `template` shows; None: draw nothing.

    `permission` names the roles that see it, parted by blanks; "" is any staff.
    """

    slot: Slot
    key: str  # "firewall.zone_split", unique
    order: int
    permission: str
    template: str
    load: Callable[[PanelContext], Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of its own at `/console/<path>`, with the members of a panel; `title` may be a lazy text."""

    path: str  # "firewall/"
    title: object
    key: str
    order: int
    permission: str
    template: str
    load: Callable[[PanelContext], Mapping[str, object] | None]


class DuplicateKey(ValueError):
    """Two panels or pages bear the same name."""


class Registry:
    """Panels and pages by key; filled once at the start of a process."""

    def __init__(self) -> None:
        self._panels: dict[str, Panel] = {}
        self._pages: dict[str, Page] = {}

    def add(self, contributed: Panel | Page) -> None:
        if contributed.key in self._panels or contributed.key in self._pages:
            raise DuplicateKey(f"{contributed.key} is registered twice")
        if isinstance(contributed, Page):
            self._pages[contributed.key] = contributed
        else:
            self._panels[contributed.key] = contributed

    def panels(self, slot: Slot) -> list[Panel]:
        """Those of a place, in their order."""
        found = (panel for panel in self._panels.values() if panel.slot is slot)
        return sorted(found, key=lambda panel: (panel.order, panel.key))

    def panel(self, key: str) -> Panel | None:
        return self._panels.get(key)

    def pages(self) -> list[Page]:
        return sorted(self._pages.values(), key=lambda page: (page.order, page.key))


registry = Registry()
