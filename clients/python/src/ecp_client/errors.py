"""What can go wrong. The waiting forms raise these; `record` raises none unless the ledger is strict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Problem = Mapping[str, Any]


class EcpClientError(Exception):
    """`problem` is the RFC 9457 document of the server, or one of the same shape made by this client."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.get('code')}: {problem.get('detail')}")
        self.problem = dict(problem)

    @property
    def code(self) -> str:
        return str(self.problem.get("code"))

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again."""
        found = self.problem.get("retry_after")
        return None if found is None else float(found)


class InvalidInput(EcpClientError, ValueError):
    """The client itself refused the input; nothing was queued or sent."""


class NotQueued(EcpClientError):
    """The queue is full or closed; the decision was not kept."""


class Refused(EcpClientError):
    """The ledger refused for good; the same request would be refused again."""


class Unavailable(EcpClientError):
    """No answer, or one that asks to come back later. A retry with the same id is safe."""


class NotInTime(EcpClientError, TimeoutError):
    """It was not delivered, or not signed, within the time given. It may be later."""


def problem(code: str, detail: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "detail": detail} | more
