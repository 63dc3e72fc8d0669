"""Works for the batcher, as a service would hand them over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_annotation
from ledger.rows import LogRef
from ledger.services.ledger import plain_work

if TYPE_CHECKING:
    from ledger.rows import Work
    from tests.people import People


def ref(people: People) -> LogRef:
    return LogRef(people.log.id, people.log.origin)


def work(uid: str | None = None, text: str = "Something to remember.") -> Work:
    now = utc_now()
    stmt = build_annotation(
        id_=uid or new_uuid7(now), org="acme", ts=now, actor="system:test", kind="note",
        target=new_uuid7(now), text=text,
    )  # fmt: skip
    return plain_work(stmt)
