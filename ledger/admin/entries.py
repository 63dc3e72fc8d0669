"""Console pages of the log: decisions, all entries, a record. Entries are read and annotated, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ecp_project.api.authentication import Principal
from ecp_project.api.methods import READING, not_allowed, takes
from ecp_project.api.problems import refusal
from ecp_project.kernel import errors
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound, Unavailable
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.panels import PanelContext
from ledger.changelist import PAGE_LOG, PAGE_LOGS, ReadOnlyAdmin, request_viewer
from ledger.keys import verifiers
from ledger.listpage import address, facets_context, list_context, parameters_of, with_fields
from ledger.models import Decision, Entry, StaffAction
from ledger.recordpage import NoteForm, kinds_for, public_path, told
from ledger.selectors.actwords import act_in_words
from ledger.selectors.entries import OrgScope
from ledger.selectors.facets import facet_names, facets_of
from ledger.selectors.integrity import entry_verdict, verdict_document
from ledger.selectors.lists import entry_list, list_head
from ledger.selectors.proofs import proof_text
from ledger.selectors.records import entry_before, entry_seen, record_of
from ledger.selectors.staffacts import STAFF, staff_acts
from ledger.services.annotations import annotation_add

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.urls import URLPattern

    from ledger.selectors.lists import Page
    from ledger.selectors.records import Record

MAX_ID_DIGITS = 18


class EntriesAdmin(ReadOnlyAdmin):
    """A list of a log and its records; own pages, as the stock list counts rows and discovers values."""

    organisation_path = "log__organisation"
    only_decisions = False
    kind = ""  # of all entries of the list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in READING:
            return not_allowed(request, "GET")
        viewer, list_url = request_viewer(request), request.path
        try:
            given = parameters_of(request)
            if (merged := with_fields(given)) is not None:
                return HttpResponseRedirect(f"{list_url}?{merged}")
            page = entry_list(
                viewer=viewer,
                parameters=given,
                only_decisions=self.only_decisions,
                now=utc_now(),
                kind=self.kind,
            )
        except EcpError as problem:
            return refusal(request, problem)
        request.META[PAGE_LOG], request.META[PAGE_LOGS] = page.log.slug, page.state.logs
        is_counted = "facets" in given and page.problem is None and not self.kind
        facets = facets_of(page=page, viewer=viewer) if is_counted else facet_names(page)
        asks = is_counted or page.problem is not None or bool(self.kind)
        context = self.admin_site.each_context(request) | {
            "title": self.title,
            "opts": self.opts,
            "request_id": request.META.get("ecp.request_id", ""),
            "facets_url": "" if asks else f"{list_url}facets/?{address(page, page.query)}&as_of={page.as_of}",
            "may_export": viewer.may_export(page.log.organisation_id),
            "export_address": f"?{address(page, page.query)}&as_of={page.as_of}",
            **list_context(page),
            **facets_context(page, facets, list_url),
            **self.more_context(page),
            **(extra_context or {}),
        }
        status = page.problem.status if page.problem else None
        return TemplateResponse(request, "console/entry_list.html", context, status=status)

    def more_context(self, page: Page) -> dict[str, Any]:
        """What the rows of this list need beside the page."""
        del page
        return {}

    def facets_view(self, request: HttpRequest) -> HttpResponse:
        """Counts beside the list as a fragment, as of the size that the list shows."""
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
        counts = self.admin_site.admin_view(takes("GET")(self.facets_view))
        facets = path("facets/", counts, name=f"{name}_facets")
        return [facets, *self._record_urls(name), *super().get_urls()]

    def _record_urls(self, name: str) -> list[URLPattern]:
        reading = dict.fromkeys(("verify", "raw", "previous", "proof"), ("GET",))
        return [
            path(
                f"<path:object_id>/{part}/",
                self.admin_site.admin_view(takes(*methods)(getattr(self, f"{part}_view"))),
                name=f"{name}_{part}",
            )
            for part, methods in {"annotate": ("GET", "POST"), **reading}.items()
        ]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Entry:
        """For the stock pages, which all refuse: what is not there to be seen is 404 there too."""
        del from_field
        try:
            return self._entry(request, object_id)
        except NotFound:
            raise Http404 from None

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        del form_url, extra_context
        if request.method not in READING:
            self.get_object(request, object_id)
            raise PermissionDenied  # of the right to change one, which nobody has
        try:
            return self._page(request, object_id, NoteForm(id_=new_uuid7(utc_now())))
        except EcpError as problem:
            return refusal(request, problem)

    def annotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A note, correction or outcome; what cannot be taken comes back in the form (CONSOLE section 5)."""
        form = NoteForm.of(request)
        try:
            entry = self._entry(request, object_id)
            if request.method != "POST":
                return HttpResponseRedirect("../change/#notes")
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
            kind=self.kind,
        )

    def _page(self, request: HttpRequest, object_id: str, form: NoteForm) -> HttpResponse:
        viewer = request_viewer(request)
        before = request.GET.get("lines_before")
        record = record_of(
            viewer=viewer,
            entry_id=_id_or_404(object_id),
            only_decisions=self.only_decisions,
            before=None if before is None else _id_or_404(before),
            kind=self.kind,
        )
        entry, organisation_id = record.entry, record.entry.log.organisation_id
        request.META[PAGE_LOG] = entry.log.slug
        form.kinds = kinds_for(viewer.roles[organisation_id])
        context = self.admin_site.each_context(request) | {
            "title": _heading(record),
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
                role=viewer.roles[organisation_id],
                actor=viewer.actor(organisation_id),
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


def _heading(record: Record) -> str:
    """The action of a decision is the agent's word; what other entries are is said in the reader's."""
    if record.entry.action:
        return record.what
    act = record.stmt.get("action") if record.stmt and record.entry.kind == STAFF else None
    return capfirst(act_in_words(str(act)) if act else gettext(record.what))


def _id_or_404(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS):
        raise NotFound("not_found", "there is no such record")
    return int(text)


@admin.register(Decision)
class DecisionAdmin(EntriesAdmin):
    only_decisions = True
    title = _("Decisions")


@admin.register(Entry)
class EntryAdmin(EntriesAdmin):
    title = _("All entries")


@admin.register(StaffAction)
class StaffActionAdmin(EntriesAdmin):
    """What staff did. Who sees assigned agents alone sees none of it."""

    kind = STAFF
    title = _("Staff actions")

    def more_context(self, page: Page) -> dict[str, Any]:
        entries = [row.entry for row in page.rows]
        same = urlencode({"log": page.log.slug, "q": f"kind:{STAFF}"})
        return {
            "acts": staff_acts(organisation_id=page.log.organisation_id, entries=entries),
            "may_export": False,  # the list of all entries does that, narrowed to this kind
            "all_entries": f"{reverse('admin:ledger_entry_changelist')}?{same}",
        }
