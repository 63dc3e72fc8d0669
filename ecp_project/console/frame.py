"""What frames every page: the log that it is about, its state, and the navigation (CONSOLE section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import OuterRef, Subquery
from django.urls import Resolver404, resolve, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ecp_project.console.stops import stop_of
from ecp_project.kernel.panels import registry
from ledger.changelist import LAST_LOG, PAGE_LOG, PAGE_LOGS, PAGE_ORGANISATION, request_viewer
from ledger.models import Checkpoint, Log, Role
from ledger.selectors.console import EXPORTERS, chosen_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from ecp_project.console.stops import Stop
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
)
PROVE = (
    ("integrity/", _("Integrity"), ""),
    ("evidence/", _("Evidence"), ""),
    ("exports/", _("Exports"), ""),
)
# Pages that show another log when their address names it, and what of their address stays then.
FOLLOWING = (
    "",
    "analytics/",
    "reviews/",
    "ledger/decision/",
    "ledger/entry/",
    "ledger/staffaction/",
    "data-subjects/",
    "context-policy/",
    "reveal/",
    "integrity/",
    "integrity/consistency/",
)
KEPT = ("q", "since", "until")
# Pages that not every role may open (SECURITY section 2).
ONLY_FOR = {
    "data-subjects/": frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN}),
    "context-policy/": frozenset({Role.VIEWER, Role.AUDITOR, Role.OPERATOR, Role.ADMIN}),
    "evidence/": EXPORTERS,
    "exports/": EXPORTERS,
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

    # The page that is looked at is one place, though another one's address begins like its own.
    inner = max(
        (page.path for page in registry.pages() if path.startswith(home + page.path)), key=len, default=""
    )

    def is_here(below: str) -> bool:
        if not below:
            return path == home
        return path.startswith(home + below) and (inner == below or not inner.startswith(below))

    def there(rows: Iterable[tuple[str, StrOrPromise, str]]) -> Iterator[Place]:
        for below, title, key in rows:
            url = home + below
            if url not in hidden and (url in seen or _has_page(url)):
                yield Place(url, title, key, is_current=is_here(below))

    advice = [
        (page.path, str(page.title), ADVICE_KEYS.get(page.path, ""))
        for page in registry.pages()
        if page.is_listed
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


@dataclass(frozen=True, slots=True)
class Frame:
    """The log that the page is about among all that the reader may choose; `stop` is why it takes nothing."""

    log: Log | None
    logs: Sequence[Log]
    stop: Stop | None
    switch_url: str
    kept: Sequence[tuple[str, str]]

    @property
    def refusal(self) -> str:
        """Why forms that would record something in the log are switched off; empty while they work."""
        return refusal_of(self.stop)


def refusal_of(stop: Stop | None) -> str:
    if stop is None:
        return ""
    return gettext(
        "Switched off while the ledger is in %(mode)s: what is done here must be recorded in it."
    ) % {"mode": stop.word}


def frame_of(*, request: HttpRequest, viewer: Viewer) -> Frame:
    """Read when a page is drawn: one query unless the page has read its logs, one more in a HALT.

    A page that is about one record says of which log it is, a form of which organisation. Any other page goes
    by the address, and without a log in it by the one looked at last.
    """
    logs = request.META.get(PAGE_LOGS) or _logs(viewer)
    wanted = request.META.get(PAGE_LOG) or request.GET.get("log", "")
    if organisation_id := request.META.get(PAGE_ORGANISATION):
        own = [log.slug for log in logs if log.organisation_id == organisation_id]
        wanted = own[-1] if own else ""
    # The address of an error page may name a log that the reader has not.
    log = chosen_log(logs, wanted, viewer.log) or chosen_log(logs, "", viewer.log)
    home = reverse("admin:index")
    contributed = (page.path for page in registry.pages() if page.is_listed)
    follows = request.path in {home + place for place in (*FOLLOWING, *contributed)}
    kept = [(name, request.GET[name]) for name in KEPT if name in request.GET] if follows else []
    return Frame(log, logs, stop_of(log) if log else None, request.path if follows else home, kept)


def _logs(viewer: Viewer) -> list[Log]:
    """With the newest checkpoint of each."""
    signed = Checkpoint.objects.filter(log_id=OuterRef("pk")).order_by("-size")[:1]
    rows = Log.objects.filter(organisation_id__in=viewer.roles)
    rows = rows.select_related("head", "organisation", "guard").annotate(
        signed_size=Subquery(signed.values("size")), signed_at=Subquery(signed.values("created"))
    )
    return list(rows.order_by("id"))


def remember_log(request: HttpRequest) -> None:
    """Keep the log of the address for pages without one; only a log that the person may see."""
    slug = request.GET.get("log", "")
    viewer = request_viewer(request)
    if not slug or slug == viewer.log or "\0" in slug:
        return
    if Log.objects.filter(slug=slug, organisation_id__in=viewer.roles).exists():
        request.session[LAST_LOG] = slug
