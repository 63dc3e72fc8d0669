"""Console pages of the ledger: decision log, record, registry, ledgers. Entries can be read, nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ecp_project.api.permissions import SCOPES
from ecp_project.api.problems import refusal
from ecp_project.kernel import outbound
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError
from ledger.changelist import ConsoleModelAdmin, ReadOnlyAdmin, request_viewer
from ledger.core.columns import DECISION
from ledger.keys import verifiers
from ledger.models import (
    Agent,
    AgentKey,
    ApiKey,
    Decision,
    Entry,
    ErasureRequest,
    Log,
    Membership,
    Organisation,
    Role,
)
from ledger.selectors import console
from ledger.selectors.integrity import entry_verdict
from ledger.selectors.proofs import newest_checkpoint
from ledger.selectors.records import record_of
from ledger.services.erasure import erasure_approve
from ledger.services.identities import apikey_create, apikey_revoke
from ledger.services.sealing import open_parts

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

    from ledger.selectors.records import Record

    _AgentModelForm = forms.ModelForm[Agent]
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
    _MembershipModelForm = forms.ModelForm[Membership]
else:
    _AgentModelForm = _ApiKeyModelForm = _MembershipModelForm = forms.ModelForm

MAX_ID_DIGITS = 18
FILTER_LABELS = {
    "q": _("words"),
    "agent": _("agent"),
    "kind": _("kind"),
    "zone": _("zone"),
    "level": _("advice"),
    "bypassed": _("bypassed"),
    "since": _("received since"),
    "until": _("received before"),
}


def record_url(entry: Entry) -> str:
    page = "decision" if entry.kind == DECISION else "entry"
    return reverse(f"admin:ledger_{page}_change", args=[entry.pk])


def parameters_of(request: HttpRequest) -> dict[str, str]:
    """The parameters of the address, each once (SECURITY section 5.3)."""
    for name, values in request.GET.lists():
        if len(values) > 1:
            raise BadRequest("bad_value", f"{name[:64]} is given twice")
    return {name: str(value) for name, value in request.GET.items()}


class EntriesAdmin(ReadOnlyAdmin):
    """A list of a log and its records; own pages, as the stock list counts rows and discovers values."""

    organisation_path = "log__organisation"
    only_decisions = False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _only_reads(request)
        viewer = request_viewer(request)
        try:
            given = parameters_of(request)
            hit = console.direct_hit(viewer=viewer, text=given.get("q", ""), slug=given.get("log", ""))
            if hit is not None:
                return HttpResponseRedirect(record_url(hit))
            page = console.entry_list(viewer=viewer, parameters=given, only_decisions=self.only_decisions)
        except EcpError as problem:
            return refusal(request, problem)
        own: dict[str, Any] = {"log": page.log.slug} | dict(page.filters)
        context = self.admin_site.each_context(request) | {
            "title": self.title,
            "opts": self.opts,
            "page": page,
            "rows": [(row, record_url(row.entry)) for row in page.rows],
            "older": page.older and urlencode(own | page.older),
            "newer": page.newer and urlencode(own | page.newer),
            "chips": _chips(page.log.slug, page.filters),
            "zones": console.ZONES,
            "levels": console.LEVELS,
            "may_export": viewer.may_export(page.log.organisation_id),
            "export_address": "?" + urlencode(own | {"as_of": page.as_of}),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "console/entry_list.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        del form_url
        _only_reads(request)
        viewer = request_viewer(request)
        if not (object_id.isascii() and object_id.isdecimal() and len(object_id) <= MAX_ID_DIGITS):
            raise Http404
        try:
            record = record_of(viewer=viewer, entry_id=int(object_id), only_decisions=self.only_decisions)
        except EcpError as problem:
            return refusal(request, problem)
        may_open = viewer.may_open(record.entry.log.organisation_id)
        context = self.admin_site.each_context(request) | {
            "title": record.what,
            "opts": self.opts,
            "list_title": self.title,
            "record": record,
            "may_open": may_open,
            "may_export": viewer.may_export(record.entry.log.organisation_id),
            "parts": _private_parts(record) if may_open else [],
            "timeline": [(line, record_url(line.entry)) for line in record.timeline],
            "verdict": entry_verdict(record.entry) if request.GET.get("verify") else None,
            "leaf_hash": bytes(record.entry.leaf_hash).hex(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "console/record.html", context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """An entry has no history: what happened since stands on its page."""
        del request, object_id, extra_context
        raise Http404


def _only_reads(request: HttpRequest) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise PermissionDenied


def _chips(slug: str, filters: Mapping[str, str]) -> list[tuple[Any, str, str]]:
    """Each active filter with the address of the list without it."""
    return [
        (
            FILTER_LABELS[name],
            value,
            urlencode({"log": slug} | {other: filters[other] for other in filters if other != name}),
        )
        for name, value in filters.items()
    ]


def _private_parts(record: Record) -> list[tuple[str, str | None, Any]]:
    """Pointer, value (None when it is gone or does not open), time of its erasure."""
    entry = record.entry
    try:
        opened = open_parts(log_id=entry.log_id, origin=entry.log.origin, uid=entry.uid)
    except ValueError:
        opened = []
    values = {part.ptr: _readable(json.loads(part.value_jcs)) for part in opened}
    return [(ptr, values.get(ptr), record.erased.get(ptr)) for ptr in record.sealed]


def _readable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@admin.register(Decision)
class DecisionAdmin(EntriesAdmin):
    only_decisions = True
    title = _("Decisions")


@admin.register(Entry)
class EntryAdmin(EntriesAdmin):
    title = _("All entries")


@admin.register(Log)
class LogAdmin(ReadOnlyAdmin):
    """The ledger page: what is stored, what is signed, and whether it takes entries."""

    title = _("Ledgers")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _only_reads(request)
        logs = []
        for state in console.logs_for(request_viewer(request)):
            last = state.log.verifications.order_by("-started_at").first()
            keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, state.log.origin)
            logs.append((state, newest_checkpoint(state.log.pk), last, [key.vkey for key in keys]))
        context = self.admin_site.each_context(request) | {
            "title": self.title,
            "opts": self.opts,
            "logs": logs,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "console/ledgers.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """All there is to see of a log stands on the ledger page."""
        del form_url, extra_context
        log = self.get_object(request, object_id)
        if log is None:
            raise Http404
        return HttpResponseRedirect(f"{reverse('admin:ledger_log_changelist')}#{log.slug}")


@admin.register(ErasureRequest)
class ErasureRequestAdmin(ConsoleModelAdmin):
    """Requests for erasure; an admin approves what another person asked for (LEDGER section 14)."""

    organisation_path = "log__organisation"
    title = _("Erasures")
    readers = (Role.OPERATOR, Role.ADMIN)
    list_display = ("record", "log", "basis", "requested_at", "requested_by", "state")
    list_display_links = None
    list_select_related = ("log",)
    ordering = ("-requested_at",)
    actions = ("approve",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        own = request_viewer(request).organisations_as(*self.readers)
        return super().get_queryset(request).filter(log__organisation_id__in=own)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request_viewer(request).organisations_as(*self.readers))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request  # asked for through the API, by the id of the decision
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return bool(self.managed(request))

    @admin.display(description=_("Record"))
    def record(self, row: ErasureRequest) -> str:
        if row.uid is None:
            return str(_("all records of a data subject"))
        address = f"{reverse('admin:ledger_entry_changelist')}?{urlencode({'q': str(row.uid)})}"
        return format_html('<a class="hash" href="{}">{}</a>', address, row.uid)

    @admin.display(description=_("State"))
    def state(self, row: ErasureRequest) -> str:
        if row.run:
            return str(_("erased"))
        if row.approved_at:
            return str(_("approved, erased with the next daily run"))
        return str(_("waits for an admin who did not ask for it"))

    @admin.action(description=_("Approve selected erasures; they cannot be undone"), permissions=["approve"])
    def approve(self, request: HttpRequest, rows: QuerySet[ErasureRequest]) -> None:
        own = rows.filter(log__organisation_id__in=self.managed(request), approved_by="")
        for row in own.select_related("log__organisation"):
            actor = self.actor(request, row.log.organisation)
            try:
                erasure_approve(request=row, approved_by=actor, now=utc_now())
            except EcpError as problem:
                messages.error(request, f"{row.uid or row}: {problem.detail}")
            else:
                messages.success(request, _("Approved: %(record)s") % {"record": row.uid or row})


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
    list_display = ("slug", "title", "organisation", "status", "owner", "created_at")
    list_filter = ("status",)
    search_fields = ("slug", "title", "owner")
    search_help_text = _("Finds agents by slug, title or owner.")
    readonly_fields = ("created_at",)
    ordering = ("organisation__title", "slug")

    def has_change_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """Operators register agents; only admins change them (SECURITY section 2)."""
        admins = request_viewer(request).organisations_as(Role.ADMIN)
        return bool(admins) if obj is None else obj.organisation_id in admins


@admin.register(AgentKey)
class AgentKeyAdmin(ReadOnlyAdmin):
    organisation_path = "agent__organisation"
    title = _("Agent keys")
    list_display = ("kid", "agent", "valid_from", "valid_until", "revoked_at")
    search_fields = ("kid", "agent__slug")
    search_help_text = _("Finds keys by key id or agent.")
    fields = ("kid", "agent", "valid_from", "valid_until", "revoked_at", "revoked_reason")
    ordering = ("agent__slug", "-valid_from")


class ApiKeyForm(_ApiKeyModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {what}") for name, what in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The least that the agent needs; a key cannot be changed later."),
    )

    class Meta:
        model = ApiKey
        fields = ("organisation", "agent", "title", "scopes", "require_signature")

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        agent, organisation = found.get("agent"), found.get("organisation")
        if agent and organisation and agent.organisation_id != organisation.pk:
            self.add_error("agent", _("This agent belongs to another organisation."))
        return found


@admin.register(ApiKey)
class ApiKeyAdmin(ConsoleModelAdmin):
    """A key is issued, shown once and revoked, never edited."""

    form = ApiKeyForm
    title = _("API keys")
    list_display = ("prefix", "organisation", "agent", "title", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("organisation", "agent")  # by itself Django follows no key that may be empty
    search_fields = ("prefix", "title", "agent__slug")
    search_help_text = _("Finds keys by prefix, title or agent.")
    ordering = ("-created_at",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(self.managed(request))

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        del request
        if obj is None:
            return ApiKeyForm.Meta.fields
        return (*ApiKeyForm.Meta.fields, "created_at", "expires_at", "last_used_at", "revoked_at")

    @admin.action(description=_("Revoke selected keys"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        own = rows.filter(organisation_id__in=self.managed(request), revoked_at__isnull=True)
        own = own.select_related("organisation", "agent")
        for key in own:
            apikey_revoke(key=key, now=utc_now(), actor=self.actor(request, key.organisation))
        messages.success(
            request, _("Revoked: %(count)d. No request with them is answered any more.") % {"count": len(own)}
        )

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        del change
        issued = apikey_create(
            organisation=obj.organisation,
            agent=obj.agent,
            scopes=form.cleaned_data["scopes"],
            title=obj.title,
            require_signature=obj.require_signature,
            now=utc_now(),
            actor=self.actor(request, obj.organisation),
        )
        obj.pk = issued.row.pk
        obj.prefix = issued.row.prefix
        messages.warning(request, _("The key, shown this once: %(text)s") % {"text": issued.text})

    def record_act(self, request: HttpRequest, obj: Any, *, fields: Sequence[str], is_new: bool) -> None:
        """`apikey_create` has done that."""


@admin.register(Organisation)
class OrganisationAdmin(ConsoleModelAdmin):
    organisation_path = "pk"
    title = _("Organisations")
    list_display = ("title", "slug", "created_at")
    ordering = ("title",)
    fields = ("slug", "title", "context_policy", "created_at")
    readonly_fields = ("slug", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request  # its log comes with it: manage.py org_create
        return False

    def object_name(self, obj: Organisation) -> str:
        return f"organisation:{obj.slug}"


class MembershipForm(_MembershipModelForm):
    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        chosen = found.get("organisation")
        organisation_id = chosen.pk if chosen else self.instance.organisation_id
        if any(agent.organisation_id != organisation_id for agent in found.get("agents") or ()):
            self.add_error("agents", _("Choose agents of the same organisation."))
        return found


@admin.register(Membership)
class MembershipAdmin(ConsoleModelAdmin):
    form = MembershipForm
    title = _("Memberships")
    list_display = ("user", "organisation", "role", "created_at")
    fields = ("user", "organisation", "role", "agents", "pseudonym", "created_at")
    readonly_fields = ("pseudonym", "created_at")
    fixed_fields = ("user", "organisation")
    ordering = ("organisation__title", "user__username")

    def object_name(self, obj: Membership) -> str:
        return f"membership:{obj.pseudonym}"

    def offered(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        if db_field.name != "user":
            return super().offered(db_field, request)
        managed = self.managed(request)
        near = Q(memberships__organisation_id__in=managed) | Q(memberships__isnull=True)
        people = get_user_model().objects.filter(near, is_staff=True, is_active=True)
        return people.distinct().order_by("username")
