"""Console pages of who acts and who may: organisations, memberships, keys, requests for erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ecp_project.api.permissions import SCOPES
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.changelist import ConsoleModelAdmin, ReadOnlyAdmin, request_viewer
from ledger.models import AgentKey, ApiKey, ErasureRequest, Membership, Organisation, Role
from ledger.services.erasure import erasure_approve
from ledger.services.identities import apikey_create, apikey_revoke

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    _ApiKeyModelForm = forms.ModelForm[ApiKey]
    _MembershipModelForm = forms.ModelForm[Membership]
else:
    _ApiKeyModelForm = _MembershipModelForm = forms.ModelForm


@admin.register(ErasureRequest)
class ErasureRequestAdmin(ConsoleModelAdmin):
    """Requests for erasure; an admin approves what another person asked for (LEDGER section 14)."""

    organisation_path = "log__organisation"
    title = _("Erasures")
    readers = (Role.OPERATOR, Role.ADMIN)
    list_display = ("record", "log", "basis", "requested_at", "requested_by", "state")
    list_display_links = None
    fields = readonly_fields = list_display
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
        return format_html(
            '<a class="hash" href="{}">{}</a>', reverse("admin:record", args=[row.uid]), row.uid
        )

    @admin.display(description=_("State"))
    def state(self, row: ErasureRequest) -> str:
        if row.withdrawn_at:
            return str(_("withdrawn"))
        if row.run:
            return str(_("erased"))
        if row.approved_at:
            return str(_("approved, erased with the next daily run"))
        return str(_("waits for an admin who did not ask for it"))

    @admin.action(description=_("Approve selected erasures; they cannot be undone"), permissions=["approve"])
    def approve(self, request: HttpRequest, rows: QuerySet[ErasureRequest]) -> None:
        own = rows.filter(log__organisation_id__in=self.managed(request), approved_by="", withdrawn_by="")
        for row in own.select_related("log__organisation"):
            actor = self.actor(request, row.log.organisation)
            try:
                erasure_approve(request=row, approved_by=actor, now=utc_now())
            except EcpError as problem:
                messages.error(request, f"{row.uid or row}: {problem.detail}")
            else:
                messages.success(request, _("Approved: %(record)s") % {"record": row.uid or row})


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
