"""Whether private values may be shown to the reader of a page now (CONSOLE section 2).

The console keeps the sessions in which people read private values for a reason, and installs how it answers
when it starts. An app that holds private values asks here, for the entry in which they are sealed, before it
shows them. Without a console nothing is open. No framework is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Opening:
    """The answer about one entry; an open one stands on the session's list already.

    `address` leads to the page where a reason is given, and from there back, or where the open session is
    ended; it is empty for whoever may not read private values.
    """

    is_open: bool = False
    address: str = ""


class Doorkeeper(Protocol):
    """Answers for the person behind a request; `uid` names an entry of the organisation."""

    def __call__(self, request: object, *, organisation_id: int, uid: UUID) -> Opening: ...


SEALED = Opening()
_installed: list[Doorkeeper] = []


def sealed(uid: UUID) -> Opening:
    """For whoever reads without a session, as programs do."""
    del uid
    return SEALED


def install(doorkeeper: Doorkeeper) -> None:
    """Called once at the start of a process; a later call takes the place of the one before."""
    _installed[:] = [doorkeeper]


def opener(request: object, organisation_id: int) -> Callable[[UUID], Opening]:
    """Asks for the person behind this request, once something private is about to be shown."""

    def opened(uid: UUID) -> Opening:
        for doorkeeper in _installed:
            return doorkeeper(request, organisation_id=organisation_id, uid=uid)
        return SEALED

    return opened
