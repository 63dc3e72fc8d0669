"""Pages and fragments of installed apps, served under the console's own permission (CONSOLE section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import register_converter, reverse
from django.utils.translation import gettext as _

from ecp_project.api.methods import READING, not_allowed
from ecp_project.api.problems import refusal
from ecp_project.console.views.desk import desk_of
from ecp_project.console.views.panels import FETCHED, draw, may_see
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError, NotFound, PermissionDenied
from ecp_project.kernel.panels import Page, registry
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from ecp_project.console.views.desk import Desk
    from ecp_project.kernel.panels import Panel


class PageConverter:
    """Matches the paths of registered pages and no others, so that all other addresses stay what they are."""

    regex = r"[a-z0-9][a-z0-9_/-]*/"

    def to_python(self, path: str) -> Page:
        page = registry.page_at(path)
        if page is None:
            raise ValueError(path)  # Django's way of saying: not this route
        return page

    def to_url(self, page: Page) -> str:
        return page.path


register_converter(PageConverter, "contributed")


def page(request: HttpRequest, contributed: Page) -> HttpResponse:
    if contributed.act is None and request.method not in READING:
        return not_allowed(request, "GET")
    status = 200
    try:
        desk = _desk(request, contributed, *contributed.parameters)
        if request.method == "POST":
            found = _acted(request, contributed, desk)
            if isinstance(found, str):
                return HttpResponseRedirect(found)
            problem = found.get("problem")
            status = problem.status if isinstance(problem, EcpError) else 200
            body = render_to_string(contributed.template, dict(found), request)
        else:
            body = draw(request, contributed, desk.about, passing=(EcpError,))
    except EcpError as refused:
        return refusal(request, refused)
    if not contributed.has_frame:
        return HttpResponse(body, status=status)
    context = admin.site.each_context(request) | {"title": contributed.title, "body": body, "desk": desk}
    return TemplateResponse(request, "console/contributed.html", context, status=status)


def _acted(request: HttpRequest, contributed: Page, desk: Desk) -> str | Mapping[str, object]:
    """Hand the form over; what the app refuses in the form itself comes back with it."""
    assert contributed.act is not None, contributed.key
    if desk.role not in contributed.writers.split():
        raise PermissionDenied("role_missing", _("This form is for other roles."))
    form = {name: value for name, value in request.POST.items() if isinstance(value, str)}
    form.pop("csrfmiddlewaretoken", None)
    return contributed.act(desk.about, form)


def panel(request: HttpRequest, key: str) -> HttpResponse:
    """One part of the overview by itself; 204 when it has nothing to show."""
    try:
        found = registry.panel(key)
        if found is None or found.slot not in FETCHED:
            raise NotFound("not_found", _("There is no such part; the app that had it may be gone."))
        desk = _desk(request, found)
        html = draw(request, found, desk.about, f"{reverse('admin:index')}?{desk.query}")
    except EcpError as problem:
        return refusal(request, problem)
    return HttpResponse(html) if html else HttpResponse(status=204)


def _desk(request: HttpRequest, contributed: Page | Panel, *parameters: str) -> Desk:
    viewer = request_viewer(request)
    desk = desk_of(request, viewer, utc_now(), parameters)
    if desk is None:
        raise NotFound("not_found", _("Your organisation has no log yet."))
    if not may_see(contributed, {desk.role}):
        raise PermissionDenied("role_missing", _("This part is for other roles."))
    return desk
