"""Saved views: lists that a person names, shares with the team, opens by default (CONSOLE section 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.urls import Resolver404, resolve

from ecp_project.console.models import SavedView, Scope
from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.changelist import request_viewer
from ledger.selectors.console import log_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.http import HttpRequest

    from ledger.selectors.console import Viewer

MAX_NAME = 60
MAX_QUERY = 2_000
MOST = 100  # of one person
_OF_ONE_VISIT = frozenset({"before", "after", "as_of", "facets"})


def savedview_save(
    *, viewer: Viewer, owner: User, name: str, path: str, query: str, is_shared: bool, now: datetime
) -> SavedView:
    """Keep a list under a name, without the place in it; 400 for another path and for a taken name."""
    if not is_list(path):
        raise BadRequest("bad_value", "Only lists of this console can be kept as views.")
    kept = _without_place(query)
    if SavedView.objects.filter(owner=owner)[MOST - 1 : MOST]:
        raise BadRequest("bad_value", f"You have {MOST} views; delete one first.")
    state = log_state(viewer, dict(kept).get("log", ""))
    view = SavedView(
        organisation=state.log.organisation,
        owner=owner,
        scope=Scope.TEAM if is_shared else Scope.PRIVATE,
        name=_name(name),
        path=path,
        query=urlencode(kept),
        created_at=now,
    )
    _save(view)
    return view


def savedview_rename(*, owner: User, view_id: UUID, name: str) -> SavedView:
    view = savedview_own(owner=owner, view_id=view_id)
    view.name = _name(name)
    _save(view)
    return view


def savedview_share(*, owner: User, view_id: UUID, is_shared: bool) -> SavedView:
    view = savedview_own(owner=owner, view_id=view_id)
    view.scope = Scope.TEAM if is_shared else Scope.PRIVATE
    _save(view)
    return view


def savedview_default(*, owner: User, view_id: UUID, is_default: bool) -> SavedView:
    """What the list shows when it is opened without a query; one view for each list."""
    view = savedview_own(owner=owner, view_id=view_id)
    with transaction.atomic():
        SavedView.objects.filter(owner=owner, path=view.path).update(is_default=False)
        view.is_default = is_default
        _save(view)
    return view


def savedview_delete(*, owner: User, view_id: UUID) -> SavedView:
    view = savedview_own(owner=owner, view_id=view_id)
    SavedView.objects.filter(pk=view.pk).delete()
    return view


def savedviews_for(*, viewer: Viewer, user: User) -> list[SavedView]:
    """The person's own and those that the teams share, as far as the memberships still reach."""
    seen = Q(owner=user) | Q(scope=Scope.TEAM)
    rows = SavedView.objects.filter(seen, organisation_id__in=viewer.roles)
    return list(rows.select_related("owner", "organisation").order_by("name", "created_at"))


def request_views(request: HttpRequest) -> Sequence[SavedView]:
    """The views that a page may offer, read once a request: the default and the menu both ask."""
    views: list[SavedView] | None = request.META.get("ecp.saved_views")
    if views is None:
        user: Any = request.user
        views = savedviews_for(viewer=request_viewer(request), user=user)
        request.META["ecp.saved_views"] = views
    return views


def default_address(request: HttpRequest) -> str | None:
    """Where a list that is opened without a query leads, when the person has chosen that."""
    if request.method != "GET" or request.META.get("QUERY_STRING") or not is_list(request.path):
        return None
    own = (view for view in request_views(request) if view.is_default and view.owner_id == request.user.pk)
    view = next((view for view in own if view.path == request.path and view.query), None)
    return view.address if view else None


def is_list(path: str) -> bool:
    try:
        found = resolve(path)
    except Resolver404:
        return False
    return found.namespace == "admin" and (found.url_name or "").endswith("_changelist")


def _without_place(query: str) -> list[tuple[str, str]]:
    if len(query) > MAX_QUERY or "\0" in query:
        raise BadRequest("bad_value", f"A view keeps at most {MAX_QUERY} characters of a query.")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _OF_ONE_VISIT]
    if len(urlencode(kept)) > MAX_QUERY or "\0" in urlencode(kept) or "%00" in urlencode(kept):
        raise BadRequest("bad_value", f"A view keeps at most {MAX_QUERY} characters of a query.")
    return kept


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise BadRequest("bad_value", f"A view has a name of 1 to {MAX_NAME} characters.")
    return name


def savedview_own(*, owner: User, view_id: UUID) -> SavedView:
    view = SavedView.objects.filter(pk=view_id, owner=owner).first()
    if view is None:
        raise NotFound("not_found", "there is no such view of yours")
    return view


def _save(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError as error:
        raise BadRequest("bad_value", f"You have a view {view.name!r} of this list already.") from error
