"""What frames every page: navigation, and the state of the log in the footer (CONSOLE section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import OuterRef, Subquery
from django.urls import Resolver404, resolve, reverse
from django.utils.translation import gettext_lazy as _

from ecp_project.kernel.panels import registry
from ledger.models import Checkpoint, Log, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django_stubs_ext import StrOrPromise

    from ledger.selectors.console import Viewer


@dataclass(frozen=True, slots=True)
class Place:
    """A link of the navigation; `key` is the second key of its shortcut, after g."""

    url: str
    title: StrOrPromise
    key: str = ""
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    title: StrOrPromise
    places: Sequence[Place]


# Paths below /console/. What is not installed, or not for this reader, is left out.
WATCH = (("", _("Overview"), "o"), ("analytics/", _("Analytics"), ""), ("reviews/", _("Reviews"), ""))
RECORD = (
    ("ledger/decision/", _("Decisions"), "d"),
    ("ledger/entry/", _("All entries"), "l"),
    ("ledger/staffaction/", _("Staff actions"), ""),
    ("ledger/agent/", _("Agents"), "a"),
    ("data-subjects/", _("Data subjects"), ""),
    ("context-policy/", _("Context policy"), ""),
    ("ledger/erasurerequest/", _("Erasures"), ""),
)
PROVE = (
    ("integrity/", _("Integrity"), ""),
    ("evidence/", _("Evidence"), ""),
    ("exports/", _("Exports"), ""),
)
# Pages that not every role may open (SECURITY section 2).
ONLY_FOR = {
    "data-subjects/": frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN}),
    "context-policy/": frozenset({Role.VIEWER, Role.AUDITOR, Role.OPERATOR, Role.ADMIN}),
}
ADVICE_KEYS = {"friction/": "f", "polls/": "p", "firewall/": "z", "consortium/": "c"}


def navigation(
    *, apps: Sequence[Mapping[str, Any]], roles: Iterable[str], managed: Iterable[str], path: str
) -> list[Group]:
    """Groups that have something to show.

    `apps` is what the admin lets this reader see; `managed` are the lists of all models, seen or not: among
    those a path counts only when the reader sees it.
    """
    home = reverse("admin:index")
    seen = {
        model["admin_url"]: model["name"] for app in apps for model in app["models"] if model["admin_url"]
    }
    own = set(roles)
    hidden = set(managed) - seen.keys()
    hidden |= {home + below for below, readers in ONLY_FOR.items() if not own & readers}

    def there(rows: Iterable[tuple[str, StrOrPromise, str]]) -> Iterator[Place]:
        for below, title, key in rows:
            url = home + below
            if url not in hidden and (url in seen or _has_page(url)):
                yield Place(url, title, key, is_current=url == path if not below else path.startswith(url))

    advice = [
        (page.path, str(page.title), ADVICE_KEYS.get(page.path, ""))
        for page in registry.pages()
        if not page.permission or own & set(page.permission.split())
    ]
    groups = [
        Group(_("Watch"), list(there(WATCH))),
        Group(_("Record"), list(there(RECORD))),
        Group(_("Advice"), list(there(advice))),
        Group(_("Prove"), list(there(PROVE))),
    ]
    named = {place.url for group in groups for place in group.places}
    rest = [(url.removeprefix(home), title, "") for url, title in seen.items() if url not in named]
    groups.append(Group(_("Set up"), list(there(rest))))
    return [group for group in groups if group.places]


def _has_page(url: str) -> bool:
    """The admin answers every address; those it does not know with its last view."""
    try:
        return resolve(url).func.__name__ != "catch_all_view"
    except Resolver404:
        return False


def footer_log(*, viewer: Viewer, slug: str) -> Log | None:
    """The log that the page is about, else the viewer's first, with its newest checkpoint; one query."""
    signed = Checkpoint.objects.filter(log_id=OuterRef("pk")).order_by("-size")[:1]
    rows = Log.objects.filter(organisation_id__in=viewer.roles).select_related("head")
    rows = rows.annotate(
        signed_size=Subquery(signed.values("size")), signed_at=Subquery(signed.values("created"))
    )
    found = list(rows.order_by("id"))
    return next((log for log in found if log.slug == slug), found[0] if found else None)
