"""Lists: declared query parameters, page sizes, signed cursors (SECURITY section 5.3)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from django.core.signing import BadSignature, Signer

from ecp_project.kernel.errors import BadRequest, UriTooLong

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TARGET = 4 * 2**10
DEFAULT_SIZE = 50
MAX_SIZE = 200
_MAX_CURSOR = 512
_MAX_PARAMETERS = 64
_SIZE_RE = re.compile(r"[1-9][0-9]{0,2}\Z")
# What no parameter of ours holds: controls, and the mark that stands for bytes which were no UTF-8.
_UNREADABLE_RE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd]")


def check_target(meta: Mapping[str, Any]) -> None:
    if len(meta.get("QUERY_STRING", "")) + len(meta.get("PATH_INFO", "")) >= MAX_TARGET:
        raise UriTooLong("uri_too_long")


def declared_parameters(meta: Mapping[str, Any], declared: Collection[str]) -> dict[str, str]:
    """Read the query, each parameter known and given once."""
    target = meta.get("QUERY_STRING", "")
    if not target:
        return {}
    try:
        pairs = parse_qsl(target, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise BadRequest("bad_value", f"At most {_MAX_PARAMETERS} query parameters are read.") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise BadRequest("unknown_key", f"A query parameter is not known; this list takes: {known}.")
        if name in values:
            raise BadRequest("bad_value", f"The query parameter {name} is given twice.")
        if _UNREADABLE_RE.search(value):
            raise (
                _bad_cursor()
                if name == "cursor"
                else BadRequest("bad_value", f"{name} holds unreadable characters.")
            )
        values[name] = value
    return values


def page_size(query: Mapping[str, str], *, default: int = DEFAULT_SIZE, maximum: int = MAX_SIZE) -> int:
    text = query.get("page_size")
    if text is None:
        return default
    if not _SIZE_RE.match(text) or int(text) > maximum:
        raise BadRequest("bad_value", f"page_size is a whole number from 1 to {maximum}.")
    return int(text)


def _bad_cursor() -> BadRequest:
    return BadRequest("invalid_cursor")


@dataclass(frozen=True, slots=True)
class CursorSeal:
    """Signs positions for one list, one set of filters and one organisation; elsewhere they are refused."""

    list_name: str
    organisation_id: int | None
    filters: Mapping[str, str]

    def _signer(self) -> Signer:
        bound = {k: v for k, v in self.filters.items() if k not in {"cursor", "page_size"}}
        text = json.dumps([self.list_name, self.organisation_id, sorted(bound.items())])
        return Signer(salt=f"ecp.cursor.{hashlib.sha256(text.encode()).hexdigest()}", sep=".")

    def write(self, position: int) -> str:
        return self._signer().sign_object(position)

    def read(self, cursor: str | None) -> int | None:
        if cursor is None:
            return None
        if len(cursor) > _MAX_CURSOR:
            raise _bad_cursor()
        try:
            position = self._signer().unsign_object(cursor)
        except (BadSignature, ValueError) as error:
            raise _bad_cursor() from error
        if type(position) is not int:
            raise _bad_cursor()
        return position
