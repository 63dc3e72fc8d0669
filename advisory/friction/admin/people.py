"""Who holds which duty, and where notifications go; kept by admins, each change on record (FRICTION 10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.forms import ModelForm
from django.utils.translation import gettext_lazy as _

from advisory.friction.models import FrictionDuty, NotificationTarget, TargetKind
from ecp_project.kernel.outbound import Refused, check_url
from ledger.changelist import ConsoleModelAdmin
from ledger.models import Membership

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    _TargetForm = ModelForm[NotificationTarget]
else:
    _TargetForm = ModelForm


@admin.register(FrictionDuty)
class DutyAdmin(ConsoleModelAdmin):
    title = _("Duties")
    list_display = ("label", "member", "organisation")
    fields = ("organisation", "label", "member")
    fixed_fields = ("organisation",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A duty can be given back; what was done under it stays on the log."""
        return self.has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        """Several at once would leave no act of each on record."""
        del request
        return {}

    def offered(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        if db_field.name == "member":
            rows = Membership.objects.filter(organisation_id__in=self.managed(request))
            return rows.select_related("user", "organisation").order_by("user__username")
        return super().offered(db_field, request)

    def object_name(self, obj: FrictionDuty) -> str:
        """With the holder's pseudonym, since several people may hold one duty."""
        return f"frictionduty:{obj.label}:{obj.member.pseudonym}"


class TargetForm(_TargetForm):
    """An address that a message could go to; the guard looks at it again before each delivery."""

    def clean(self) -> dict[str, Any] | None:
        found = super().clean()
        values = self.cleaned_data
        kind, address = values.get("kind"), values.get("address")
        if kind == TargetKind.MAIL and address:
            try:
                validate_email(address)
            except ValidationError as problem:
                self.add_error("address", problem)
        elif kind == TargetKind.WEBHOOK and address:
            try:
                check_url(
                    address,
                    allowed_ports=settings.ECP_AGENT_ALLOWED_PORTS,
                    allowed_networks=settings.ECP_AGENT_ALLOWED_NETS,
                )
            except Refused as refused:
                self.add_error("address", str(refused))
        return found


@admin.register(NotificationTarget)
class TargetAdmin(ConsoleModelAdmin):
    title = _("Notification targets")
    form = TargetForm
    list_display = ("name", "kind", "active", "organisation")
    list_filter = ("kind", "active")
    fields = ("organisation", "name", "kind", "address", "active")
    fixed_fields = ("organisation", "name")
