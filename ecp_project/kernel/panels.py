"""What apps contribute to the console's pages (CONSOLE section 9).

An app's `panels.py` registers its panels and pages when the console starts. An app that is left out of
INSTALLED_APPS is never imported, so nothing of it remains on any page. No framework is known here: the
console draws. What `load` answers in each slot; None always means that there is nothing to show:

| slot | told besides log, scope and time | answers |
|---|---|---|
| `NAV` | nothing | what the template shows, a link |
| `OVERVIEW_TILE`, `OVERVIEW_CHART`, `ATTENTION` | the range of the page | what the template shows |
| `RECORD_ADVICE`, `RECORD_RESPONSIBILITY`, `TIMELINE` | `entry_id` | what the template shows |
| `AGENT` | a `scope` of this one agent, and the range | what the template shows |
| `REVIEW` | nothing | `title`; `items`, each with `text`, `url` and perhaps `due_at`; perhaps `next_due_at` |
| `LIST_COLUMN` | `entry_ids` of the page | `title`; `cells`: entry id -> what the template shows |
| `LIST_FACET` | nothing | `key` of a term, `title`, `values` that can be chosen |
| `QUERY_KEY` | `values` of a term | `uids`: ids of the decisions that the term finds |

The key of a `QUERY_KEY` ends in the key of the term: "polls.poll" is written `poll:` in a query. One that
ends in `has_` and a word adds this word to those of `has:`, as "polls.has_poll" does. A `REVIEW` without a
template of its own names "console/_review.html"; facets and query keys have no template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from ecp_project.kernel.privacy import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from ecp_project.kernel.privacy import Opening

HAS = "has_"


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
    """What a panel is about: a log, perhaps one of its entries or several, perhaps a range of time.

    `values` are those of a term of a query, `given` the parameters of a page that it has asked for. `role`
    and `actor` say who reads: the role in this organisation, and the name under which the log knows the
    person; both are empty where a program asks. `opening` is asked before private values of an entry are
    shown.
    """

    scope: Scope
    log_id: int
    entry_id: int | None
    since: datetime | None
    until: datetime | None
    now: datetime
    entry_ids: Sequence[int] = ()
    values: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    actor: str = ""
    opening: Callable[[UUID], Opening] = sealed


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
    """A page of its own at `/console/<path>`, with the members of a panel; `title` may be a lazy text.

    `parameters` names what its address may hold beside `log`, `since` and `until`. With `act` the page takes
    a form from the roles in `writers`: the answer is the address to go on to, or what the template shows
    instead, with the `problem` for which the form was not taken. Pages that are `is_listed` stand in the
    navigation; one without `has_frame` is a whole document, as a sheet for printing is.
    """

    path: str  # "firewall/"
    title: object
    key: str
    order: int
    permission: str
    template: str
    load: Callable[[PanelContext], Mapping[str, object] | None]
    parameters: Sequence[str] = ()
    act: Callable[[PanelContext, Mapping[str, str]], str | Mapping[str, object]] | None = None
    writers: str = ""
    is_listed: bool = True
    has_frame: bool = True


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

    def query_keys(self) -> dict[str, Panel]:
        """Panels behind the keys of a query that apps understand."""
        found = {panel.key.rpartition(".")[2]: panel for panel in self.panels(Slot.QUERY_KEY)}
        return {key: panel for key, panel in found.items() if not key.startswith(HAS)}

    def has_values(self) -> dict[str, Panel]:
        """Panels behind the words that apps add to those of `has:`."""
        found = {panel.key.rpartition(".")[2]: panel for panel in self.panels(Slot.QUERY_KEY)}
        return {key.removeprefix(HAS): panel for key, panel in found.items() if key.startswith(HAS)}

    def page_at(self, path: str) -> Page | None:
        return next((page for page in self._pages.values() if page.path == path), None)

    def pages(self) -> list[Page]:
        return sorted(self._pages.values(), key=lambda page: (page.order, page.key))


registry = Registry()
