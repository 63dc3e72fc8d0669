"""Console pages of who acts and who may: organisations, memberships and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ecp_project.api.permissions import SCOPES
from ecp_project.kernel.clock import utc_now
from ledger.changelist import REGISTRY_READERS, ConsoleModelAdmin, ReadOnlyAdmin
from ledger.core.summary import PolicyError
from ledger.models import AgentKey, ApiKey, Membership, Organisation, Role
from ledger.services.identities import apikey_create, apikey_revoke
from ledger.services.policies import choice_checked

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    _ApiKeyModelForm = forms.ModelForm[ApiKey]
    _MembershipModelForm = forms.ModelForm[Membership]
    _OrganisationModelForm = forms.ModelForm[Organisation]
else:
    _ApiKeyModelForm = _MembershipModelForm = _OrganisationModelForm = forms.ModelForm


@admin.register(AgentKey)
class AgentKeyAdmin(ReadOnlyAdmin):
    readers = REGISTRY_READERS
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
    readers = REGISTRY_READERS
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


class OrganisationForm(_OrganisationModelForm):
    def clean_context_policy(self) -> dict[str, str]:
        try:
            chosen = self.cleaned_data["context_policy"]
            return choice_checked({} if chosen is None else chosen)
        except PolicyError as error:
            raise forms.ValidationError(str(error), code="bad_value") from error


@admin.register(Organisation)
class OrganisationAdmin(ConsoleModelAdmin):
    form = OrganisationForm
    readers = (Role.VIEWER, *REGISTRY_READERS)  # the choice of policies is not for manufacturers
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
    readers = REGISTRY_READERS
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
