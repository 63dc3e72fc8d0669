"""What the console's admin pages share: rows of one's own organisations, forms for those who run them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.forms import Media
from django.http import Http404
from django.utils.html import format_html

from ecp_project.api.methods import READING, not_allowed
from ecp_project.api.problems import refusal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError, Unavailable
from ledger.models import Organisation, Role
from ledger.selectors.console import Viewer, viewer_of
from ledger.services.staff import act_record

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Iterable, Mapping, Sequence

    from django.db.models import ForeignKey, ManyToManyField, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

# Who reads agents' registration, keys and members (SECURITY section 2).
REGISTRY_READERS = (Role.AUDITOR, Role.OPERATOR, Role.ADMIN)
LAST_LOG = "ecp.log"  # in the session: slug of the log that the person looked at last
# Of the request: slug of the log, or id of the organisation, that a page is about, whatever its address says.
PAGE_LOG, PAGE_ORGANISATION = "ecp.page_log", "ecp.page_organisation"
REFUSED = "ecp.refused"  # of the request: why the log took nothing, while the form is shown again
PAGE_LOGS = "ecp.page_logs"  # of the request: the logs that the person sees, where a page has read them


def request_viewer(request: HttpRequest) -> Viewer:
    """The person's memberships, read once a request: the frame of a page asks for each item of the menu."""
    viewer: Viewer | None = request.META.get("ecp.viewer")
    if viewer is None:
        last = str(request.session.get(LAST_LOG, ""))
        viewer = request.META["ecp.viewer"] = replace(viewer_of(request.user), log=last)
    return viewer


def refusing(form: type[Any], problem: EcpError) -> type[Any]:
    """The same form, which says at its top why what it holds was not taken."""

    def clean(self: Any) -> Any:
        found = form.clean(self)
        said = format_html("{}. {} <code>{}</code>", problem.title, problem.detail, problem.code)
        self.add_error(None, ValidationError(said, code=problem.code))
        return found

    return type(form.__name__, (form,), {"clean": clean})


class ConsoleModelAdmin(_ModelAdmin):
    """Rows of the organisations that the person is a member of; changes are for the managers of those.

    Superusers too act only inside organisations of which they are members (SECURITY section 2).
    """

    organisation_path = "organisation"
    readers: Sequence[str] = tuple(Role.values)
    managers: Sequence[str] = (Role.ADMIN,)
    fixed_fields: Sequence[str] = ()  # given once, when the row is made
    title: StrOrPromise = ""
    show_full_result_count = False  # a second count, of what the filter leaves out

    def managed(self, request: HttpRequest) -> frozenset[int]:
        return request_viewer(request).organisations_as(*self.managers)

    def read(self, request: HttpRequest) -> frozenset[int]:
        return request_viewer(request).organisations_as(*self.readers)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self._rows_of(request, self.read(request))

    def _rows_of(self, request: HttpRequest, organisation_ids: Iterable[int]) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        own = (f"{self.organisation_path}__in", list(organisation_ids))
        return rows.filter(Q(own))  # the name is a constant of the class

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """404 for another organisation's object and for one that never was, whatever the person may do.

        403 for an object of an organisation in which the person's role reads no such thing.
        """
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            return found
        unread = request_viewer(request).roles.keys() - self.read(request)
        try:
            is_own = bool(unread) and self._rows_of(request, unread).filter(pk=object_id).exists()
        except (ValidationError, ValueError):  # no id of such a row at all
            is_own = False
        if is_own:
            raise PermissionDenied
        raise Http404

    def organisation_of(self, obj: Any) -> Organisation:
        for name in self.organisation_path.split("__"):
            obj = obj if name == "pk" else getattr(obj, name)
        assert isinstance(obj, Organisation)
        return obj

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(self.read(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj  # get_object has refused what this person does not read
        return bool(self.read(request))

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
        if request.method not in READING:  # the menu of actions is all that a list takes
            if not self.actions:
                return not_allowed(request, "GET")
            if not self.get_actions(request):
                raise PermissionDenied
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
        except Unavailable as problem:
            # Nothing was changed; the form comes again with what was written, as one filled in wrongly.
            request.META[REFUSED] = problem
            page = super().changeform_view(request, object_id, form_url, extra_context)
            page.status_code = problem.status
            if problem.retry_after:
                page.headers["Retry-After"] = str(problem.retry_after)
            return page
        except EcpError as problem:
            return refusal(request, problem)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except EcpError as problem:
            return refusal(request, problem)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        form = super().get_form(request, obj, change=change, **kwargs)
        problem: EcpError | None = request.META.get(REFUSED)
        return form if problem is None else refusing(form, problem)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in READING:
            return not_allowed(request, "GET")
        return super().history_view(request, object_id, extra_context)

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
        detail = {"fields": " ".join(sorted(fields))}
        self._record(request, obj, verb="register" if is_new else "change", detail=detail)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        self._record(request, obj, verb="delete")

    def _record(
        self, request: HttpRequest, obj: Any, *, verb: str, detail: Mapping[str, str | int] | None = None
    ) -> None:
        organisation = self.organisation_of(obj)
        act_record(
            organisation=organisation,
            actor=self.actor(request, organisation),
            action=f"{self.opts.model_name}.{verb}",
            object_=self.object_name(obj),
            now=utc_now(),
            detail=detail,
        )


class ReadOnlyAdmin(ConsoleModelAdmin):
    """Nobody adds, changes or deletes here, superusers included."""

    actions = None
    managers = ()
