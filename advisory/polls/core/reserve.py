"""The note that the log keeps when an agent of the reserve is asked instead of one that is gone.

Its id follows from poll and agent, so that it is found again and cannot be written twice; its text says
everything that the verifier compares: who was gone, who is asked, and who was passed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecp_project.kernel.ids import derived_uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MAX_PASSED = 50  # the names of so many fit into one note
_SAID = "was de-registered before the question reached it"
_EXCHANGE = re.compile(rf"(\S+) {_SAID}: (\S+), next in the reserve of its stratum, is asked instead\.")


def note_id(*, poll_id: str, committed_at: datetime, gone: str) -> str:
    return derived_uuid7(committed_at, f"ecp-poll-reserve\n{poll_id}\n{gone}".encode())


def note_text(*, gone: str, by: str, passed: Sequence[str]) -> str:
    said = f"{gone} {_SAID}: {by}, next in the reserve of its stratum, is asked instead."
    return f"{said} Passed over, as not active: {', '.join(passed)}." if passed else said


def exchange_of(text: str) -> tuple[str, str]:
    """Who was gone and who was asked instead, out of such a text."""
    match = _EXCHANGE.match(text)
    assert match is not None, text
    return match[1], match[2]
