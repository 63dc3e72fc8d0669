"""What staff did, in words. The log holds codes such as `export.create`, and keeps them in every language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_stubs_ext import StrOrPromise

_words: dict[str, StrOrPromise] = {
    "agent.register": _("registered an agent"),
    "agent.change": _("changed an agent"),
    "apikey.create": _("made an API key"),
    "apikey.change": _("changed an API key"),
    "apikey.revoke": _("revoked an API key"),
    "apikey.use_after_revocation": _("refused a revoked API key"),
    "data_subject.pack": _("took an access pack"),
    "erasure.propose": _("proposed an erasure"),
    "erasure.approve": _("approved an erasure"),
    "erasure.withdraw": _("withdrew an erasure"),
    "evidence.create": _("made an evidence pack"),
    "export.create": _("took an export"),
    "log.publish": _("made the log public"),
    "log.unpublish": _("made the log private"),
    "membership.register": _("added a member"),
    "membership.change": _("changed a membership"),
    "organisation.change": _("changed the organisation"),
    "reveal.begin": _("opened private values"),
    "reveal.end": _("closed private values"),
}
_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{8}([0-9a-f]{4})\b")


def register(words: Mapping[str, StrOrPromise]) -> None:
    """What the acts of an app are called; apps say so when they start."""
    if known := words.keys() & _words.keys():
        raise AssertionError(f"acts are named twice: {sorted(known)}")
    _words.update(words)


def act_in_words(code: str) -> str:
    """The code itself where it is unknown: of a later version, or of an app that is switched off."""
    return str(_words.get(code, code))


def short_ids(text: str) -> str:
    """Ids as 8…4, as hashes are; the record of the act has them in full."""
    return _ID.sub(r"\1…\2", text)
