"""What friction's own pages share: whose organisation, which role, and answers to what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.kernel.errors import BadRequest, EcpError, MethodNotAllowed, NotFound, PermissionDenied
from ledger.changelist import PAGE_LOG, PAGE_LOGS, PAGE_ORGANISATION, ReadOnlyAdmin, request_viewer
from ledger.models import Log
from ledger.selectors.console import log_state
from ledger.selectors.entries import OrgScope, default_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Desk:
    """A person in one organisation.

    `log` takes what its people say about advice, its newest epoch; `slug` names the log of the page.
    """

    log: Log
    slug: str
    role: str
    actor: str
    scope: OrgScope


def desk_of(request: HttpRequest, organisation_id: int | None = None) -> Desk:
    """Of the organisation whose object the page is about, else of the log that is looked at."""
    viewer = request_viewer(request)
    if organisation_id is None:
        asked = request.POST if request.method == "POST" else request.GET
        state = log_state(viewer, asked.get("log", ""))
        request.META[PAGE_LOG], request.META[PAGE_LOGS] = state.log.slug, state.logs
        organisation_id, slug = state.log.organisation_id, state.log.slug
    else:
        request.META[PAGE_ORGANISATION] = organisation_id
        rows = Log.objects.filter(organisation_id=organisation_id).order_by("-pk")
        slug = rows.values_list("slug", flat=True).first() or ""
    scope = OrgScope(organisation_id, viewer.agents.get(organisation_id))
    log = default_log(scope=OrgScope(organisation_id))
    return Desk(log, slug, viewer.roles[organisation_id], viewer.actor(organisation_id), scope)


def only(desk: Desk, *roles: str) -> None:
    if desk.role not in roles:
        raise PermissionDenied(
            "role_missing", _("This is for other roles: %(roles)s.") % {"roles": ", ".join(roles)}
        )


def given(request: HttpRequest, *names: str) -> dict[str, str]:
    """What the address holds beside the log; each name once, empty ones left out."""
    found = {}
    for name, values in request.GET.lists():
        if name not in {"log", *names}:
            raise BadRequest("unknown_key", f"this page takes: {', '.join(('log', *names))}")
        if len(values) > 1 or "\0" in values[0]:
            raise BadRequest("bad_value", f"{name} is given twice or cannot be read")
        if values[0] and name != "log":
            found[name] = values[0]
    return found


def written(request: HttpRequest, name: str) -> str:
    """A text of a form, with line breaks as the log keeps them."""
    return request.POST.get(name, "").replace("\r\n", "\n").strip()


class FrictionAdmin(ReadOnlyAdmin):
    """Own pages at the addresses of a model; the stock list and form are not served.

    Friction's own page leads to them, so the menu of models does not.
    """

    def has_module_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def pages(self) -> Sequence[tuple[str, Callable[..., HttpResponse], str]]:
        """Route below the model's own, view, and the end of the route's name."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path(route, self.admin_site.admin_view(_answering(view)), name=f"{name}_{end}")
            for route, view, end in self.pages()
        ]

    def organisation_id_of(self, request: HttpRequest, pk: Any) -> int:
        """Of an object among those of the reader's organisations; any other is not found."""
        field = f"{self.organisation_path}_id"
        found = self.get_queryset(request).filter(pk=pk).values_list(field, flat=True).first()
        if found is None:
            raise NotFound("not_found", _("There is no such object in your organisations."))
        return int(found)

    def shown(
        self,
        request: HttpRequest,
        template: str,
        title: object,
        problem: EcpError | None = None,
        **context: Any,
    ) -> HttpResponse:
        """The page; with a problem it has the status of the problem and keeps what was written."""
        whole = self.admin_site.each_context(request) | {
            "title": title,
            "opts": self.opts,
            "problem": problem,
            "kept": request.POST if problem else {},
            **context,
        }
        return TemplateResponse(request, template, whole, status=problem.status if problem else 200)


def only_reads(request: HttpRequest) -> None:
    if request.method not in READS:
        raise MethodNotAllowed("method_not_allowed", _("This address takes GET."))


def _answering(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except EcpError as problem:
            return refusal(request, problem)

    return answered
