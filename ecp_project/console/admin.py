"""The agents' pages: registration beside what the agents do, which the console counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ecp_project.api.methods import READING
from ecp_project.console.agents import Figures, figures_of
from ecp_project.console.dashboard import activity_of
from ecp_project.console.figures import flow_figure
from ecp_project.console.links import decisions_url
from ecp_project.console.ranges import DAY, range_of
from ecp_project.console.recent import last_decisions
from ecp_project.console.templatetags.console import grouped
from ecp_project.console.templatetags.figures import age
from ecp_project.console.views.desk import scope_in
from ecp_project.kernel import outbound
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.panels import PanelContext
from ledger.changelist import REGISTRY_READERS, ConsoleModelAdmin, request_viewer
from ledger.models import Agent, Log, Role
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    _AgentModelForm = forms.ModelForm[Agent]
    _UserAdmin = UserAdmin[User]
else:
    _AgentModelForm = forms.ModelForm
    _UserAdmin = UserAdmin

# Django's widget for many of many is nothing that a screen reader could name; plain lists are.
admin.site.unregister([Group, User])


@admin.register(Group)
class RoleAdmin(GroupAdmin):
    filter_horizontal = ()


@admin.register(User)
class PersonAdmin(_UserAdmin):
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")  # facts, and their inputs have no names


SHOWN = 30 * DAY
DECISIONS = 10


class AgentForm(_AgentModelForm):
    def clean_endpoint(self) -> str:
        endpoint: str = self.cleaned_data["endpoint"]
        if endpoint:
            try:
                outbound.check_url(
                    endpoint,
                    allowed_ports=settings.ECP_AGENT_ALLOWED_PORTS,
                    allowed_networks=settings.ECP_AGENT_ALLOWED_NETS,
                )
            except outbound.Refused as error:
                raise forms.ValidationError(str(error), code="endpoint_forbidden") from error
        return endpoint


@admin.register(Agent)
class AgentAdmin(ConsoleModelAdmin):
    form = AgentForm
    title = _("Agents")
    managers = (Role.OPERATOR, Role.ADMIN)
    fixed_fields = ("organisation", "slug")
    list_display = ("slug", "title", "organisation", "status", "keys", "day", "month", "last_seen")
    list_select_related = ("organisation",)
    list_filter = ("status",)
    search_fields = ("slug", "title", "owner")
    search_help_text = _("Finds agents by slug, title or owner.")
    readonly_fields = ("created_at",)
    ordering = ("organisation__title", "slug")
    change_form_template = "console/agent.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Manufacturers see the agents assigned to them."""
        rows = super().get_queryset(request)
        for organisation_id, slugs in request_viewer(request).agents.items():
            rows = rows.exclude(Q(organisation_id=organisation_id) & ~Q(slug__in=slugs))
        return rows

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What an agent does is for every member, who changed its registration for those who read that."""
        if request.method in READING and not reads_registry(request, self.get_object(request, object_id)):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def has_change_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """Operators register agents; only admins change them (SECURITY section 2)."""
        admins = request_viewer(request).organisations_as(Role.ADMIN)
        return bool(admins) if obj is None else obj.organisation_id in admins

    # --- the list
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is not None:  # else an action has answered
            changelist.result_list = rows = list(changelist.result_list)
            figures = figures_of(rows, utc_now())
            for row in rows:
                row.figures = figures[row.pk]
        return response

    @admin.display(description=_("Keys"))
    def keys(self, row: Agent) -> str:
        return str(_figures(row).keys)

    @admin.display(description=_("24 h"))
    def day(self, row: Agent) -> str:
        return grouped(_figures(row).day)

    @admin.display(description=_("30 d"))
    def month(self, row: Agent) -> str:
        return grouped(_figures(row).month)

    @admin.display(description=_("Last seen, ago"))
    def last_seen(self, row: Agent) -> str:
        at = _figures(row).last_seen
        if at is None:
            return str(_("never"))
        return format_html('<time datetime="{0}" title="{0}">{1}</time>', at.isoformat(), age(at, utc_now()))

    # --- the record
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        agent = self.get_object(request, object_id)
        own = {"title": agent.title or agent.slug, "subtitle": ""} | _activity(request, agent)
        return super().change_view(request, object_id, form_url, own | (extra_context or {}))


def reads_registry(request: HttpRequest, agent: Agent) -> bool:
    return request_viewer(request).roles[agent.organisation_id] in REGISTRY_READERS


def _figures(row: Agent) -> Figures:
    found: Figures = getattr(row, "figures", Figures())
    return found


def _activity(request: HttpRequest, agent: Agent) -> dict[str, Any]:
    """What the agent's page shows beside the form; an organisation without a log has nothing to tell."""
    now = utc_now()
    log = Log.objects.filter(organisation_id=agent.organisation_id).order_by("-epoch", "id").first()
    told: dict[str, Any] = {
        "figures": figures_of([agent], now)[agent.pk],
        "reads_registry": reads_registry(request, agent),
        "signing_keys": agent.keys.order_by("-valid_from"),
        "api_keys": agent.api_keys.order_by("-created_at"),
        "log": log,
    }
    if log is None:
        return told
    scope = scope_in(request_viewer(request), log)
    chart = activity_of(scope=scope, log=log, agent=agent.slug, within=range_of(since=now - SHOWN, until=now))
    own = {agent.slug} if scope.agents is None else {agent.slug} & scope.agents
    alone = OrgScope(scope.organisation_id, frozenset(own))
    return told | {
        "about": PanelContext(alone, log.pk, None, now - SHOWN, now, now),
        "flow": flow_figure(chart, log, agent.slug),
        "decisions": last_decisions(scope=scope, log=log, number=DECISIONS, agent=agent.slug),
        "decisions_url": decisions_url(log, agent=agent.slug),
    }
