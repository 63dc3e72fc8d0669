r"""CSV that a spreadsheet opens without executing anything in it (SECURITY section 7, CONSOLE section 12).

RFC 4180 with every field quoted, UTF-8, CRLF. A text is cut into parts at `;`, tab, CR and LF, since a
spreadsheet may split there too, and each part that it could take for a formula gets one apostrophe in front.
Parts that begin with an apostrophe get one as well, so taking one from each part restores the text exactly.
Integers, truth values and instants are written by us and stay as they are.

CSV is a lossy view for spreadsheets: it says nothing of types, and it shows chosen columns. NDJSON is exact.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from ecp_project.kernel.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = str | int | bool | datetime | None

_SEPARATOR = re.compile(r"([;\t\r\n])")
# What programs skip before they look for a formula: blanks, invisible characters, quotes.
_RISKY = re.compile("[|%']|[ \u00a0\u200b-\u200d\u2060\ufeff'\"]*[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def defended(text: str) -> str:
    """Text that no spreadsheet takes for a formula, whole or split at its separators."""
    # A separator in first place leaves no part before it that could be judged.
    first = "'" if text[:1] in {"\t", "\r", "\n"} else ""
    return first + "".join(f"'{part}" if _RISKY.match(part) else part for part in _SEPARATOR.split(text))


def restored(text: str) -> str:
    """What `defended` was given."""
    return "".join(part.removeprefix("'") for part in _SEPARATOR.split(text))


def csv_field(value: Value) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return '"true"' if value else '"false"'
    if isinstance(value, datetime):
        return f'"{format_time(value)}"'
    text = defended(value) if isinstance(value, str) else str(value)
    return '"' + text.replace('"', '""') + '"'


def csv_row(values: Iterable[Value]) -> bytes:
    return (",".join(map(csv_field, values)) + "\r\n").encode()
