"""Console pages of the ledger: decision log, record, registry. Entries are read and annotated, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ecp_project.api.authentication import Principal
from ecp_project.api.permissions import SCOPES
from ecp_project.api.problems import refusal
from ecp_project.kernel import errors
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound, Unavailable
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.panels import PanelContext
from ledger.changelist import ConsoleModelAdmin, ReadOnlyAdmin, request_viewer
from ledger.keys import verifiers
from ledger.listpage import address, facets_context, list_context, parameters_of, with_fields
from ledger.models import (
    AgentKey,
    ApiKey,
    Decision,
    Entry,
    ErasureRequest,
    Membership,
    Organisation,
    Role,
)
from ledger.recordpage import NoteForm, kinds_for, public_path, told
from ledger.selectors.entries import OrgScope
from ledger.selectors.facets import facet_names, facets_of
from ledger.selectors.integrity import entry_verdict, verdict_document
from ledger.selectors.lists import entry_list, list_head
from ledger.selectors.proofs import proof_text
from ledger.selectors.records import entry_before, entry_seen, record_of
from ledger.services.annotations import annotation_add
from ledger.services.erasure import erasure_approve
from ledger.services.identities import apikey_create, apikey_revoke

if TYPE_CHECKING:  # Django's classes take their parameter in the type checker only
    from collections.abc import Callable, Sequence

    from django.db.models import QuerySet
    from django.urls import URLPattern

    _ApiKeyModelForm = forms.ModelForm[ApiKey]
    _MembershipModelForm = forms.ModelForm[Membership]
else:
    _ApiKeyModelForm = _MembershipModelForm = forms.ModelForm

MAX_ID_DIGITS = 18


class EntriesAdmin(ReadOnlyAdmin):
    """A list of a log and its records; own pages, as the stock list counts rows and discovers values."""

    organisation_path = "log__organisation"
    only_decisions = False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _only_reads(request)
        viewer, list_url = request_viewer(request), request.path
        try:
            given = parameters_of(request)
            if (merged := with_fields(given)) is not None:
                return HttpResponseRedirect(f"{list_url}?{merged}")
            page = entry_list(
                viewer=viewer, parameters=given, only_decisions=self.only_decisions, now=utc_now()
            )
        except EcpError as problem:
            return refusal(request, problem)
        is_counted = "facets" in given and page.problem is None
        facets = facets_of(page=page, viewer=viewer) if is_counted else facet_names(page)
        asks = is_counted or page.problem is not None
        context = self.admin_site.each_context(request) | {
            "title": self.title,
            "opts": self.opts,
            "request_id": request.META.get("ecp.request_id", ""),
            "facets_url": "" if asks else f"{list_url}facets/?{address(page, page.query)}&as_of={page.as_of}",
            **list_context(page),
            **facets_context(page, facets, list_url),
            "may_export": viewer.may_export(page.log.organisation_id),
            "export_address": f"?{address(page, page.query)}&as_of={page.as_of}",
            **(extra_context or {}),
        }
        status = page.problem.status if page.problem else None
        return TemplateResponse(request, "console/entry_list.html", context, status=status)

    def facets_view(self, request: HttpRequest) -> HttpResponse:
        """Counts beside the list as a fragment, as of the size that the list shows."""
        _only_reads(request)
        viewer, list_url = request_viewer(request), request.path.removesuffix("facets/")
        try:
            page = list_head(
                viewer=viewer,
                parameters=parameters_of(request),
                only_decisions=self.only_decisions,
                now=utc_now(),
            )
        except EcpError as problem:
            return refusal(request, problem)
        context = facets_context(page, facets_of(page=page, viewer=viewer), list_url)
        return TemplateResponse(request, "console/_facets.html", context)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        facets = path("facets/", self.admin_site.admin_view(self.facets_view), name=f"{name}_facets")
        return [facets, *self._record_urls(name), *super().get_urls()]

    def _record_urls(self, name: str) -> list[URLPattern]:
        return [
            path(
                f"<path:object_id>/{part}/",
                self.admin_site.admin_view(getattr(self, f"{part}_view")),
                name=f"{name}_{part}",
            )
            for part in ("annotate", "verify", "raw", "previous", "proof")
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        del form_url, extra_context
        _only_reads(request)
        try:
            return self._page(request, object_id, NoteForm(id_=new_uuid7(utc_now())))
        except EcpError as problem:
            return refusal(request, problem)

    def annotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A note, correction or outcome; what cannot be taken comes back in the form (CONSOLE section 5)."""
        if request.method != "POST":
            return HttpResponseRedirect("../change/#notes")
        form = NoteForm.of(request)
        try:
            entry = self._entry(request, object_id)
            principal = _principal(request, entry)
            receipt = annotation_add(
                entry=entry,
                document=form.document,
                principal=principal,
                actor=f"staff:{principal.pseudonym}",
                now=utc_now(),
            )
        except (BadRequest, Unavailable) as problem:
            form.problem = problem
            return self._page(request, object_id, form)
        except EcpError as problem:
            return refusal(request, problem)
        said = _("Recorded at position %(seq)s. It joins the timeline within seconds.")
        messages.success(request, said % {"seq": f"{receipt.stored.seq:,}"})
        return HttpResponseRedirect("../change/#notes")

    def verify_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The ticks alone: a part of the page, or `ecp.verify/1` for programs."""
        _only_reads(request)
        try:
            entry = self._entry(request, object_id)
        except EcpError as problem:
            return refusal(request, problem)
        verdict = entry_verdict(entry)
        if request.accepts("text/html"):
            return TemplateResponse(request, "console/_verdict.html", {"verdict": verdict})
        return JsonResponse(verdict_document(entry=entry, verdict=verdict, now=utc_now()))

    def raw_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._download(request, object_id, lambda entry: bytes(entry.entry), "entry.json")

    def previous_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._download(request, object_id, entry_before, "previous.json")

    def proof_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def made(entry: Entry) -> bytes:
            return proof_text(log=entry.log, seq=entry.seq).encode()

        return self._download(request, object_id, made, "tlog-proof")

    def _download(
        self, request: HttpRequest, object_id: str, made: Callable[[Entry], bytes], ending: str
    ) -> HttpResponse:
        """Public bytes as a file, never as something that a browser would draw."""
        _only_reads(request)
        try:
            entry = self._entry(request, object_id)
            answer = HttpResponse(made(entry), content_type="application/octet-stream")
        except EcpError as problem:
            return refusal(request, problem)
        answer.headers["Content-Disposition"] = (
            f'attachment; filename="{entry.log.slug}-{entry.seq}.{ending}"'
        )
        return answer

    def _entry(self, request: HttpRequest, object_id: str) -> Entry:
        return entry_seen(
            viewer=request_viewer(request),
            entry_id=_id_or_404(object_id),
            only_decisions=self.only_decisions,
        )

    def _page(self, request: HttpRequest, object_id: str, form: NoteForm) -> HttpResponse:
        viewer = request_viewer(request)
        before = request.GET.get("lines_before")
        record = record_of(
            viewer=viewer,
            entry_id=_id_or_404(object_id),
            only_decisions=self.only_decisions,
            before=None if before is None else _id_or_404(before),
        )
        entry, organisation_id = record.entry, record.entry.log.organisation_id
        form.kinds = kinds_for(viewer.roles[organisation_id])
        context = self.admin_site.each_context(request) | {
            "title": record.what,
            "opts": self.opts,
            "list_title": self.title,
            "record": record,
            "may_export": viewer.may_export(organisation_id),
            "timeline": told(record),
            "verdict": entry_verdict(entry) if request.GET.get("verify") else None,
            "leaf_hash": bytes(entry.leaf_hash).hex(),
            "vkeys": [key.vkey for key in verifiers(settings.ECP_LOG_PUBLIC_KEYS, entry.log.origin)],
            "base_url": settings.ECP_BASE_URL,
            "public_path": public_path(entry),
            "note": form,
            "about": PanelContext(
                OrgScope(organisation_id, viewer.agents.get(organisation_id)),
                entry.log_id,
                entry.id,
                None,
                None,
                utc_now(),
            ),
        }
        status = form.problem.status if form.problem else 200
        page = TemplateResponse(request, "console/record.html", context, status=status)
        if form.problem and form.problem.retry_after:
            page.headers["Retry-After"] = str(form.problem.retry_after)
        return page

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """An entry has no history: what happened since stands on its page."""
        del request, object_id, extra_context
        raise Http404


def _principal(request: HttpRequest, entry: Entry) -> Principal:
    """The person as the services know callers; 403 for roles that write nothing beside a record."""
    viewer, organisation_id = request_viewer(request), entry.log.organisation_id
    role = viewer.roles[organisation_id]
    if not kinds_for(role):
        raise errors.PermissionDenied(
            "role_missing", "notes are written by auditors, operators and manufacturers"
        )
    return Principal(
        kind="staff",
        organisation_id=organisation_id,
        user_id=request.user.pk,
        roles=frozenset({role}),
        pseudonym=viewer.pseudonyms[organisation_id],
    )


def _id_or_404(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS):
        raise NotFound("not_found", "there is no such record")
    return int(text)


def _only_reads(request: HttpRequest) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise PermissionDenied


@admin.register(Decision)
class DecisionAdmin(EntriesAdmin):
    only_decisions = True
    title = _("Decisions")


@admin.register(Entry)
class EntryAdmin(EntriesAdmin):
    title = _("All entries")


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
