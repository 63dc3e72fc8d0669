"""The context-policy page: what everybody may read of a record, and a preview of one (CONSOLE section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ecp_project.api.problems import refusal
from ecp_project.kernel.errors import BadRequest, EcpError, Invalid, PermissionDenied, TooLarge
from ledger.changelist import PAGE_LOG, PAGE_LOGS, request_viewer
from ledger.models import Role
from ledger.recordpage import record_url
from ledger.selectors.console import log_state
from ledger.selectors.policies import policy_change
from ledger.selectors.records import value_in_words
from ledger.services.policies import policies_chosen, record_preview

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    from ledger.services.policies import Chosen, Field

READERS = frozenset({Role.VIEWER, Role.AUDITOR, Role.OPERATOR, Role.ADMIN})
EXAMPLE = """{
  "agent": "refund-bot",
  "action": "refund.grant",
  "explanation": "The parcel was lost, so the customer gets the money back.",
  "context": {"amount_eur": 349.99, "channel": "chat", "customer": "Erika Mustermann"},
  "data_subject": "customer-88213"
}"""
FORMS: Mapping[str, StrOrPromise] = {
    "full": gettext_lazy("in full"),
    "band": gettext_lazy("a band in which the number lies"),
    "size": gettext_lazy("how long it is, not what it says"),
    "date": gettext_lazy("a part of the date"),
    "category": gettext_lazy("a word of a fixed list, else “other”"),
    "name": gettext_lazy("its name only"),
    "counted": gettext_lazy("how many there are, without names"),
    "sealed": gettext_lazy("that it exists"),
    "dropped": gettext_lazy("nothing; it only chooses the key, and a keyed digest of it finds the key again"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A field of the previewed record in words."""

    name: str
    form: StrOrPromise
    shown: str
    state: StrOrPromise


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force, its rules in words."""

    chosen: Chosen
    rules: list[tuple[str, str]]


def page(request: HttpRequest) -> HttpResponse:
    """GET: what is in force. POST: what would become of a pasted record; nothing is recorded."""
    viewer = request_viewer(request)
    given = request.POST if request.method == "POST" else request.GET
    try:
        if not viewer.organisations_as(*READERS):
            raise PermissionDenied("role_missing", _("This page is not for manufacturers."))
        state = log_state(viewer, given.get("log", ""))
        request.META[PAGE_LOG], request.META[PAGE_LOGS] = state.log.slug, state.logs
        if viewer.roles[state.log.organisation_id] not in READERS:
            raise PermissionDenied("role_missing", _("This page is not for manufacturers."))
    except EcpError as problem:
        return refusal(request, problem)
    organisation = state.log.organisation
    changed = policy_change(organisation=organisation)
    text = given.get("record", EXAMPLE) if request.method == "POST" else EXAMPLE
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": _("Context policy"),
        "log": state.log,
        "organisation": organisation,
        "policies": [Policy(row, list(_rules(row))) for row in policies_chosen(organisation.context_policy)],
        "changed": changed,
        "changed_url": record_url(changed) if changed else "",
        "text": text,
    }
    status = 200
    if request.method == "POST":
        try:
            preview = record_preview(
                choice=organisation.context_policy, raw=text.encode(errors="surrogatepass")
            )
        except (BadRequest, TooLarge, Invalid) as problem:
            context["problem"], status = problem, problem.status
        except ImproperlyConfigured as error:  # the choice names a policy that the file does not have
            context["problem"], status = BadRequest("bad_value", str(error), pointer="/action"), 400
        else:
            context |= {
                "preview": preview,
                "rows": [_row(field) for field in preview.fields],
                "warnings": preview.warnings,
            }
    return TemplateResponse(request, "console/context_policy.html", context, status=status)


def _row(field: Field) -> Row:
    shown = "" if field.form in {"name", "sealed", "dropped"} else value_in_words(field.shown)
    state = _("sealed") if field.is_sealed else _("not stored") if field.form == "dropped" else _("public")
    return Row(field.name, FORMS[field.form], shown, state)


def _rules(chosen: Chosen) -> Iterator[tuple[str, str]]:
    """Name of a context field, and what the rule does, in a sentence."""
    if chosen.policy is None:
        return
    for name, rule in sorted(chosen.policy.rules.items()):
        yield name, _rule(rule)


def _rule(rule: Mapping[str, Any]) -> str:
    action = rule["action"]
    if action == "band" and rule.get("edges"):
        edges = ", ".join(str(edge) for edge in rule["edges"])
        return _("The band is shown, with edges at %(edges)s; the number is sealed.") % {"edges": edges}
    if action == "category":
        words = ", ".join(rule["values"])
        said = _("Shown if it is one of: %(words)s. Else “other” is shown and the text is sealed.")
        return said % {"words": words}
    if action == "date":
        precision = {"year": _("year"), "month": _("month"), "day": _("day")}[rule["precision"]]
        return _("The date is shown to the %(precision)s; the rest is sealed.") % {"precision": precision}
    return {
        "keep": _("Shown in full if it is short and has at most eight digits, else sealed."),
        "band": _("The band between two powers of ten is shown; the number is sealed."),
        "seal": _("Only that there is a value is shown; it is sealed."),
        "auto": _("Treated like a field without a rule."),
    }[action]
