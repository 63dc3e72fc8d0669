"""What the page of a ledger list shows beside its rows: chips, facets, times, columns, each with its address.

`q` is the only state of a filter, so every link here is the same address with a term more or less
(CONSOLE section 4.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from ecp_project.kernel.errors import BadRequest
from ledger.recordpage import record_url
from ledger.selectors.lists import COLUMNS, PAGE_SIZE, PAGE_SIZES
from ledger.selectors.query import QueryError, known_keys, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from ledger.selectors.facets import Facets
    from ledger.selectors.lists import Page
    from ledger.selectors.query import LedgerQuery, Term

KEY_LABELS: dict[str, StrOrPromise] = {
    "": _("text"),
    "agent": _("agent"),
    "organisation": _("organisation"),
    "action": _("action"),
    "kind": _("kind"),
    "zone": _("zone"),
    "friction": _("friction"),
    "bypassed": _("bypassed"),
    "seq": _("position"),
    "since": _("received since"),
    "until": _("received before"),
    "has": _("has"),
}
FACET_LABELS: dict[str, StrOrPromise] = {
    "agent": _("Agent"),
    "kind": _("Kind"),
    "friction": _("Friction"),
    "zone": _("Zone"),
    "bypassed": _("Bypassed"),
}
VALUE_LABELS: dict[str, StrOrPromise] = {"true": _("yes"), "false": _("no")}
COLUMN_LABELS: dict[str, StrOrPromise] = {
    "organisation": _("Organisation"),
    "bypassed": _("Bypassed"),
    "leaf_hash": _("Leaf hash"),
    "annotations": _("Annotations"),
}
PRESETS: tuple[tuple[str, StrOrPromise], ...] = (
    ("", _("Any time")),
    ("now-1h", _("Last hour")),
    ("now-1d", _("Last 24 hours")),
    ("now-7d", _("Last 7 days")),
    ("now-30d", _("Last 30 days")),
)
# Fields of the small forms; what they hold becomes a term of `q`.
FIELDS = ("agent", "since", "until")
_DATE = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2})?")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the page that says whether it is what the page shows already."""

    label: StrOrPromise
    address: str
    is_chosen: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Chip:
    """A term of the query with the address of the list without it."""

    label: StrOrPromise
    text: str
    negated: bool
    address: str


def parameters_of(request: HttpRequest) -> dict[str, str]:
    """The parameters of the address, each once (SECURITY section 5.3)."""
    for name, values in request.GET.lists():
        if len(values) > 1:
            raise BadRequest("bad_value", f"{name[:64]} is given twice")
    return {name: str(value) for name, value in request.GET.items()}


def with_fields(given: Mapping[str, str]) -> str | None:
    """The address with what a form's fields say written into `q`; None when there are no fields."""
    fields = [name for name in FIELDS if name in given]
    if not fields:
        return None
    kept = {name: given[name] for name in ("log", "n", "cols") if name in given}
    text = given.get("q", "")
    try:
        query = parse(text)
    except QueryError:  # the page will show what is wrong with it
        return urlencode(kept | {"q": text})
    for name in fields:
        value = given[name].strip()
        query = query.with_values(name, [value] if value else [])
    return urlencode(kept | {"q": str(query)})


def address(page: Page, query: LedgerQuery | str, **changed: Any) -> str:
    """The first page of this list with another query; log, size and columns stay as they are."""
    size = changed.get("size", page.size)
    columns = changed.get("columns", page.columns)
    parameters: dict[str, Any] = {"log": page.log.slug}
    if text := str(query):
        parameters["q"] = text
    if size != PAGE_SIZE:
        parameters["n"] = size
    if columns:
        parameters["cols"] = ",".join(columns)
    return urlencode(parameters)


def neighbour(page: Page, cursor: Mapping[str, int] | None) -> str:
    return f"{address(page, page.query)}&{urlencode(cursor)}" if cursor else ""


def chips_of(page: Page) -> list[Chip]:
    return [
        Chip(
            KEY_LABELS.get(term.key, term.key),
            _said(term),
            term.negated,
            address(page, page.query.without(term)),
        )
        for term in page.query.terms
    ]


def _said(term: Term) -> str:
    labels = VALUE_LABELS if term.key == "bypassed" else {}
    return ", ".join(str(labels.get(value, value)) for value in term.values)


def presets_of(page: Page) -> list[Link]:
    since, until = page.query.values("since"), page.query.values("until")
    base = page.query.with_values("until", ())
    return [
        Link(
            label,
            address(page, base.with_values("since", [value] if value else [])),
            is_chosen=not until and since == ((value,) if value else ()),
        )
        for value, label in PRESETS
    ]


def columns_of(page: Page) -> list[dict[str, Any]]:
    return [
        {
            "label": COLUMN_LABELS[name],
            "is_shown": name in page.columns,
            "address": address(
                page, page.q, columns=[c for c in COLUMNS if (c in page.columns) != (c == name)]
            ),
        }
        for name in COLUMNS
    ]


def facets_context(page: Page, facets: Facets, list_url: str) -> dict[str, Any]:
    shown = [
        {
            "key": facet.key,
            "label": FACET_LABELS[facet.key],
            "values": [
                Link(
                    VALUE_LABELS.get(value.value, value.value) if facet.key == "bypassed" else value.value,
                    address(page, value.q),
                    is_chosen=value.is_chosen,
                    count=value.count,
                )
                for value in facet.values
            ],
        }
        for facet in facets.facets
    ]
    counted = f"{address(page, page.query)}&{urlencode({'as_of': page.as_of, 'facets': 1})}"
    return {"page": page, "facets": facets, "shown_facets": shown, "counted": counted, "list_url": list_url}


def links_of(page: Page, key: str, values: Sequence[str]) -> list[Link]:
    """Values of an app's own key, each leading to the list with it, or without it where it is chosen."""
    chosen = page.query.values(key)
    return [
        Link(
            value,
            address(
                page,
                page.query.with_values(
                    key,
                    [other for other in chosen if other != value] if value in chosen else [*chosen, value],
                ),
            ),
            is_chosen=value in chosen,
        )
        for value in values
    ]


def _marked(page: Page) -> dict[str, str] | None:
    problem = page.problem
    if not isinstance(problem, QueryError):
        return None
    return {
        "before": page.q[: problem.start],
        "span": page.q[problem.start : problem.end],
        "after": page.q[problem.end :],
    }


def _time(page: Page, key: str) -> tuple[str, str]:
    """Value of a time's field, and its type: a calendar for days, plain text for everything else."""
    value = "".join(page.query.values(key))
    return value, "date" if _DATE.fullmatch(value) else "text"


def list_context(page: Page) -> dict[str, Any]:
    chips = chips_of(page)
    since, since_type = _time(page, "since")
    until, until_type = _time(page, "until")
    rows: Sequence[Any] = [(row, record_url(row.entry)) for row in page.rows]
    elsewhere = f"{reverse('admin:ledger_entry_changelist')}?{address(page, page.query)}"
    return {
        "page": page,
        "rows": rows,
        "first_seq": page.rows[0].entry.seq if rows else None,
        "last_seq": page.rows[-1].entry.seq if rows else None,
        # Only the first page of the log as it is now can gain rows at its top.
        "is_live": page.newer is None and page.as_of == page.log.head.size and page.problem is None,
        "older": neighbour(page, page.older),
        "newer": neighbour(page, page.newer),
        "chips": chips,
        "hints": [chips[place] for place in page.hints],
        "columns": columns_of(page),
        "sizes": [Link(str(n), address(page, page.q, size=n), is_chosen=n == page.size) for n in PAGE_SIZES],
        "presets": presets_of(page),
        "since": since,
        "since_type": since_type,
        "until": until,
        "until_type": until_type,
        "marked": _marked(page),
        "keys": known_keys(),
        "first_page": address(page, "" if _marked(page) else page.q),
        "elsewhere": elsewhere if page.only_decisions and page.query.values("kind") else "",
        "lookup": f"{reverse('admin:search')}?{urlencode({'log': page.log.slug, 'q': page.q})}",
    }
