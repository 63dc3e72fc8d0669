"""What the console's admin pages share: rows of one's own organisations, forms for those who run them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from django.contrib import admin
from django.db.models import Q
from django.forms import Media
from django.http import Http404

from ecp_project.api.problems import refusal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.models import Organisation, Role
from ledger.selectors.console import Viewer, viewer_of
from ledger.services.staff import act_record

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Sequence

    from django.db.models import ForeignKey, ManyToManyField, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

LAST_LOG = "ecp.log"  # in the session: slug of the log that the person looked at last
# Of the request: slug of the log, or id of the organisation, that a page is about, whatever its address says.
PAGE_LOG, PAGE_ORGANISATION = "ecp.page_log", "ecp.page_organisation"
PAGE_LOGS = "ecp.page_logs"  # of the request: the logs that the person sees, where a page has read them


def request_viewer(request: HttpRequest) -> Viewer:
    """The person's memberships, read once a request: the frame of a page asks for each item of the menu."""
    viewer: Viewer | None = request.META.get("ecp.viewer")
    if viewer is None:
        last = str(request.session.get(LAST_LOG, ""))
        viewer = request.META["ecp.viewer"] = replace(viewer_of(request.user), log=last)
    return viewer


class ConsoleModelAdmin(_ModelAdmin):
    """Rows of the organisations that the person is a member of; changes are for the managers of those.

    Superusers too act only inside organisations of which they are members (SECURITY section 2).
    """

    organisation_path = "organisation"
    managers: Sequence[str] = (Role.ADMIN,)
    fixed_fields: Sequence[str] = ()  # given once, when the row is made
    title: StrOrPromise = ""

    def managed(self, request: HttpRequest) -> frozenset[int]:
        return request_viewer(request).organisations_as(*self.managers)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        own = (f"{self.organisation_path}__in", list(request_viewer(request).roles))
        return rows.filter(Q(own))  # the name is a constant of the class

    def organisation_of(self, obj: Any) -> Organisation:
        for name in self.organisation_path.split("__"):
            obj = obj if name == "pk" else getattr(obj, name)
        assert isinstance(obj, Organisation)
        return obj

    def has_module_permission(self, request: HttpRequest) -> bool:
        return admin.site.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj  # get_queryset shows no other organisation's rows
        return admin.site.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(self.managed(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        managed = self.managed(request)
        return bool(managed) if obj is None else self.organisation_of(obj).pk in managed

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj  # what is registered stays: the log speaks of it
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = () if obj is None else self.fixed_fields
        return (*super().get_readonly_fields(request, obj), *fixed)

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any], request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self.offered(db_field, request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        kwargs["queryset"] = self.offered(db_field, request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def offered(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        """What a form lets choose, and accepts: nothing of an organisation that somebody else manages."""
        rows: QuerySet[Any] = db_field.related_model._default_manager.all()  # noqa: SLF001 - Django's name for it
        if db_field.name == "organisation":
            return rows.filter(pk__in=self.managed(request))
        if db_field.name in {"agent", "agents"}:
            return rows.filter(organisation_id__in=self.managed(request)).order_by("slug")
        raise AssertionError(f"no rule says which {db_field.name} a form may offer")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        heading: dict[str, Any] = {"title": self.title} if self.title else {}
        # A list needs nothing of jQuery and of the widgets of forms, 240 KB together.
        heading["media"] = Media(js=["admin/js/actions.js"] if self.get_actions(request) else [])
        try:
            return super().changelist_view(request, heading | (extra_context or {}))
        except EcpError as problem:  # of an action
            return refusal(request, problem)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except EcpError as problem:
            return refusal(request, problem)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("obj") is not None:
            request.META[PAGE_ORGANISATION] = self.organisation_of(kwargs["obj"]).pk
        return super().render_change_form(request, context, *args, **kwargs)

    # --- acts on record (CONSOLE section 2)
    def actor(self, request: HttpRequest, organisation: Organisation) -> str:
        return request_viewer(request).actor(organisation.pk)

    def object_name(self, obj: Any) -> str:
        """What the log calls a row, without naming a person."""
        return f"{self.opts.model_name}:{obj}"

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        super().save_related(request, form, formsets, change)
        if form.changed_data:
            self.record_act(request, form.instance, fields=form.changed_data, is_new=not change)

    def record_act(self, request: HttpRequest, obj: Any, *, fields: Sequence[str], is_new: bool) -> None:
        """One `ecp.staff/1` in the transaction of the change: when the log takes nothing, nothing changes."""
        organisation = self.organisation_of(obj)
        act_record(
            organisation=organisation,
            actor=self.actor(request, organisation),
            action=f"{self.opts.model_name}.{'register' if is_new else 'change'}",
            object_=self.object_name(obj),
            now=utc_now(),
            detail={"fields": " ".join(sorted(fields))},
        )

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> NoReturn:
        """Another organisation's object and one that never was are the same 404; stock would redirect."""
        del request, opts, object_id
        raise Http404


class ReadOnlyAdmin(ConsoleModelAdmin):
    """Nobody adds, changes or deletes here, superusers included."""

    actions = None
    managers = ()
