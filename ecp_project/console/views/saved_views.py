"""Pages of saved views: keep one, and what an owner may do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console import saved_views
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse


def overview(request: HttpRequest) -> HttpResponse:
    views = saved_views.request_views(request)
    context = admin.site.each_context(request) | {
        "title": _("Saved views"),
        "own": [view for view in views if view.owner_id == request.user.pk],
        "shared": [view for view in views if view.owner_id != request.user.pk],
    }
    return TemplateResponse(request, "console/saved_views.html", context)


def save(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    try:
        view = saved_views.savedview_save(
            viewer=request_viewer(request),
            owner=user,
            name=request.POST.get("name", ""),
            path=request.POST.get("path", ""),
            query=request.POST.get("query", ""),
            is_shared="shared" in request.POST,
            now=utc_now(),
        )
    except EcpError as problem:
        return refusal(request, problem)
    messages.success(request, _("Saved: %(name)s") % {"name": view.name})
    return HttpResponseRedirect(view.address)


def change(request: HttpRequest, view_id: UUID) -> HttpResponse:
    user: Any = request.user
    try:
        done = _act(user, view_id, request.POST.get("act", ""), request.POST.get("name", ""))
    except EcpError as problem:
        return refusal(request, problem)
    messages.success(request, done)
    return HttpResponseRedirect(reverse("admin:saved_views"))


def _act(user: Any, view_id: UUID, act: str, name: str) -> str:
    match act:
        case "rename":
            view = saved_views.savedview_rename(owner=user, view_id=view_id, name=name)
            return _("Renamed: %(name)s") % {"name": view.name}
        case "share" | "unshare":
            view = saved_views.savedview_share(owner=user, view_id=view_id, is_shared=act == "share")
            return (_("Shared with the team: %(name)s") if act == "share" else _("Yours alone: %(name)s")) % {
                "name": view.name
            }
        case "default" | "undefault":
            view = saved_views.savedview_default(owner=user, view_id=view_id, is_default=act == "default")
            return (
                _("The list opens with: %(name)s") if act == "default" else _("No default any more: %(name)s")
            ) % {"name": view.name}
        case "delete":
            view = saved_views.savedview_delete(owner=user, view_id=view_id)
            return _("Deleted: %(name)s") % {"name": view.name}
        case _:
            saved_views.savedview_own(owner=user, view_id=view_id)  # what is another's is 404 in any case
            raise BadRequest(
                "bad_value", "act is one of: rename, share, unshare, default, undefault, delete."
            )
