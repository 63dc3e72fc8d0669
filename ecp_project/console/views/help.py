"""Shortcuts and the words of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.http import HttpRequest

SHORTCUTS = (
    ("?", _("this page")),
    ("/", _("to the look-up field")),
    ("j", _("next row of a list")),
    ("k", _("row before")),
    ("Enter", _("open the row")),
    ("x", _("select the row, where rows can be selected")),
    ("v", _("verify the record")),
    ("e", _("export the list")),
    ("[", _("record or page before")),
    ("]", _("record or page after")),
    ("Esc", _("close, or leave a field")),
)
GLOSSARY = (
    (_("Decision"), _("What an agent did or is about to do, with its reason in plain words. One line of the log.")),
    (_("Entry"), _("Any line of the log: a decision, a note, a correction, an act of staff, a key.")),
    (_("Position"), _("The place of an entry in its log, counted from 0. No position is ever given out twice.")),
    (_("Checkpoint"), _("A signature over the whole log up to a size, about once a second. Whoever keeps one can later show any change.")),
    (_("Signed, logged"), _("Signed: a checkpoint covers the entry. Logged: it is stored, and the next checkpoint will cover it.")),
    (_("Verify"), _("Everything is computed again from the stored bytes and compared with what was signed.")),
    (_("Advice"), _("A service suggests steps before an action: low, medium or high. It never blocks; nobody is bound by it.")),
    (_("Bypass"), _("An agent acted despite advice. The bypass is recorded with its reason; that is no finding against anybody.")),
    (_("Zone"), _("Whose behaviour a decision is attributed to: manufacturer, operator, or uncertain. No finding of liability.")),
    (_("Sealed"), _("Private context of a decision. The log holds a commitment to it; the value lies encrypted beside it and can be erased.")),
    (_("Reveal session"), _("Auditors and operators read sealed values after giving a reason, in one browser, for eight hours at most. The reason, and the hash of the list of records opened, stand on the log.")),
    (_("Data subject, handle"), _("A person whom a decision is about, and the name by which agents speak of that person. The ledger keeps a keyed digest of it, never the handle.")),
    (_("Context policy"), _("The rules that say what every reader of the log sees of a decision's context. All else is sealed.")),
    (_("Erasure"), _("The key of a sealed value is deleted, asked for by one person and approved by another. All proofs stay valid.")),
    (_("As of position"), _("Figures count everything below this position; they follow the log within about a minute.")),
    (_("Halted"), _("The ledger takes no new entries, for a fault or by a person's decision. Everything recorded can be read and verified.")),
)  # fmt: skip


def page(request: HttpRequest) -> TemplateResponse:
    context = admin.site.each_context(request)
    places = [place for group in context["navigation"] for place in group.places if place.key]
    return TemplateResponse(
        request,
        "console/help.html",
        context | {"title": _("Help"), "shortcuts": SHORTCUTS, "glossary": GLOSSARY, "places": places},
    )
