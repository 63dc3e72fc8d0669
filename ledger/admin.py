"""Console pages of the ledger: decision log, record, registry, ledgers. Entries can be read, nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from ecp_project.api.permissions import SCOPES
from ecp_project.api.problems import refusal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.keys import verifiers
from ledger.models import Agent, AgentKey, ApiKey, Decision, Entry, Log, Membership, Organisation, Role
from ledger.selectors import console
from ledger.selectors.integrity import entry_verdict
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.identities import apikey_create
from ledger.services.sealing import open_parts

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from django.db.models import QuerySet

    from ledger.core.note import Verifier

    _ModelAdmin = admin.ModelAdmin[Any]
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _ModelAdmin = admin.ModelAdmin
    _ApiKeyModelForm = forms.ModelForm


class ScopedAdmin(_ModelAdmin):
    """Rows of the organisations that the person is a member of; changes are for admins of those."""

    organisation_path = "organisation"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        viewer = console.viewer_of(request.user)
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.filter(**{f"{self.organisation_path}__in": list(viewer.roles)})  # a constant of the class

    def has_module_permission(self, request: HttpRequest) -> bool:
        return admin.site.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj
        return admin.site.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return Role.ADMIN in console.viewer_of(request.user).roles.values()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj
        return self.has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False


class ReadOnlyAdmin(ScopedAdmin):
    """Nobody adds, changes or deletes here, superusers included."""

    actions = None

    @property
    def media(self) -> forms.Media:
        """None: these pages need no script of the stock admin."""
        return forms.Media()

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    organisation_path = "log__organisation"
    only_decisions = False
    title = "All entries"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        viewer = console.viewer_of(request.user)
        parameters = {name: str(value) for name, value in request.GET.items()}
        try:
            page = console.entry_list(
                viewer=viewer, parameters=parameters, only_decisions=self.only_decisions
            )
        except EcpError as problem:
            return refusal(request, problem)
        if page.q:
            hit = console.direct_hit(viewer=viewer, text=page.q, log=page.log)
            if hit is not None:
                return HttpResponseRedirect(self._record_url(hit.id))
        context = self.admin_site.each_context(request) | {
            "title": self.title,
            "opts": self.opts,
            "page": page,
            "rows": [(row, self._record_url(row.entry.id)) for row in page.rows],
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
        viewer = console.viewer_of(request.user)
        if not object_id.isdecimal() or len(object_id) > 18:  # noqa: PLR2004 - digits of a bigint
            raise Http404
        try:
            record = console.record_of(viewer=viewer, entry_id=int(object_id))
        except EcpError as problem:
            return refusal(request, problem)
        entry = record.entry
        parts = []
        if record.sealed and viewer.may_open(entry.log.organisation_id):
            opened = open_parts(log_id=entry.log_id, origin=entry.log.origin, uid=entry.uid)
            parts = [
                (part.ptr, json.dumps(json.loads(part.value_jcs), ensure_ascii=False, indent=1))
                for part in opened
            ]
        gone = [ptr for ptr in record.sealed if ptr not in {shown for shown, _ in parts}]
        context = self.admin_site.each_context(request) | {
            "title": record.stmt.get("action", entry.kind),
            "opts": self.opts,
            "record": record,
            "parts": parts,
            "gone": gone,
            "may_open": viewer.may_open(entry.log.organisation_id),
            "verdict": entry_verdict(entry) if request.GET.get("verify") else None,
            "leaf_hash": bytes(entry.leaf_hash).hex(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "console/record.html", context)

    def _record_url(self, entry_id: int) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[entry_id])


@admin.register(Decision)
class DecisionAdmin(EntryAdmin):
    only_decisions = True
    title = "Decisions"


@admin.register(Log)
class LogAdmin(ReadOnlyAdmin):
    """The ledger page: what is stored, what is signed, and whether it takes entries."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        viewer = console.viewer_of(request.user)
        logs = []
        for log in console.logs_for(viewer):
            last = log.verifications.order_by("-started_at").first()
            keys: list[Verifier] = verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)
            logs.append((log, newest_checkpoint(log.id), last, [key.vkey for key in keys]))
        context = self.admin_site.each_context(request) | {
            "title": "Ledgers",
            "opts": self.opts,
            "logs": logs,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "console/ledgers.html", context)


@admin.register(Organisation)
class OrganisationAdmin(ScopedAdmin):
    organisation_path = "pk"
    list_display = ("title", "slug", "created_at")
    readonly_fields = ("slug", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False


@admin.register(Agent)
class AgentAdmin(ScopedAdmin):
    list_display = ("slug", "title", "organisation", "status", "owner")
    search_fields = ("slug", "title")
    readonly_fields = ("created_at",)


@admin.register(AgentKey)
class AgentKeyAdmin(ReadOnlyAdmin):
    organisation_path = "agent__organisation"
    list_display = ("kid", "agent", "valid_from", "valid_until", "revoked_at")
    fields = ("kid", "agent", "valid_from", "valid_until", "revoked_at", "revoked_reason")


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    list_display = ("user", "organisation", "role")
    readonly_fields = ("pseudonym",)


class ApiKeyForm(_ApiKeyModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {what}") for name, what in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = ApiKey
        fields = ("organisation", "agent", "title", "scopes", "require_signature")


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    form = ApiKeyForm
    list_display = ("prefix", "organisation", "agent", "title", "expires_at", "last_used_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A key is issued or revoked, never edited."""
        del request, obj
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        del change
        issued = apikey_create(
            organisation=obj.organisation,
            agent=obj.agent,
            scopes=form.cleaned_data["scopes"],
            title=obj.title,
            require_signature=obj.require_signature,
            now=utc_now(),
        )
        obj.pk = issued.row.pk
        obj.prefix = issued.row.prefix
        messages.warning(request, f"The key, shown this once: {issued.text}")
