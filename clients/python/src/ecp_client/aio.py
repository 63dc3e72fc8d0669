"""`AsyncLedger`: the client for asyncio.

`record`, `batch` and `annotate` wait for nothing and are no coroutines.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any, Self

from ecp_client import advice as asking
from ecp_client import direct, polls
from ecp_client.calls import Outcome, Receipt, public, receipt
from ecp_client.recorder import Handle, Recorder
from ecp_client.transport import AsyncHttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Literal, Unpack

    from ecp_client.advice import Advice, Bypass, ReasonCode, StepResult
    from ecp_client.polls import Invitation, PollReceipt
    from ecp_client.records import RecordFields

_LOOK_S = 0.02


class AsyncHandle(Handle):
    __slots__ = ()

    async def receipt(self, timeout: float = 10.0, *, signed: bool = True) -> Receipt:  # noqa: ASYNC109 - as the sync form
        """Wait for delivery and for the signed receipt; NotInTime, or Refused when it was rejected."""
        self._check_kept()
        deadline = time.monotonic() + timeout
        recorder: Any = self._recorder
        # A thread settles the lines, and an asyncio.Event would have to know this loop.
        while recorder.queue.settled < self._number and time.monotonic() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK_S)
        found: Receipt = await recorder.http.hold(self._receipt_steps(deadline, signed=signed))
        return found


class AsyncLedger(Recorder[AsyncHandle]):
    """As `Ledger`. The connections of its waiting forms belong to the loop that used them first."""

    handle = AsyncHandle
    _http: AsyncHttp | None

    async def record_now(self, *, wait_signed: float = 0, **fields: Unpack[RecordFields]) -> Receipt:
        """Record one decision and wait for its receipt, up to `wait_signed` seconds for a signed one."""
        return await self.http.hold(direct.record(self, fields, wait_signed))

    async def batch_now(
        self, records: Iterable[Mapping[str, Any]], *, wait_signed: float = 0
    ) -> list[Outcome]:
        """Record many decisions and wait until each is stored or refused."""
        return await self.http.hold(direct.batch(self, records, wait_signed))

    async def annotate_now(self, id: str, kind: str, text: str, status: str | None = None) -> Receipt:  # noqa: A002 - the member's name
        return await self.http.hold(direct.annotate(self, id, kind, text, status))

    async def receipt(self, id: str, *, signed_within: float = 10.0) -> Receipt:  # noqa: A002 - the member's name
        """The receipt of an entry; with `signed_within` 0 as it is now, else one that is signed."""
        return await self.http.hold(receipt(id, signed_within, self.timeout_s))

    async def public(self, id: str) -> bytes:  # noqa: A002 - the member's name
        """The exact bytes of an entry, which `verify_receipt` takes."""
        return await self.http.hold(public(id, self.timeout_s))

    # --- advice

    async def advice(
        self, *, previous: str | None = None, dry_run: bool = False, **fields: Unpack[RecordFields]
    ) -> Advice:
        """Ask how careful an act should be; see `Ledger.advice`."""
        return await self.http.hold(asking.ask(self, fields, previous, dry_run=dry_run))

    async def advice_now(self, id: str) -> Advice:  # noqa: A002 - the member's name
        """An advice with all that has become of it."""
        return await self.http.hold(asking.look(id, self.timeout_s))

    async def bypass(
        self,
        id: str,  # noqa: A002 - the member's name
        steps: Sequence[int] | Literal["all"],
        *,
        reason_code: ReasonCode,
        reason: str,
    ) -> Bypass:
        """Say that steps of an advice are not followed, and why. It is on record before this returns."""
        return await self.http.hold(asking.bypass(id, steps, reason_code, reason, self.timeout_s))

    async def step_outcome(
        self,
        id: str,  # noqa: A002 - the member's name
        n: int,
        outcome: StepResult,
        *,
        note: str | None = None,
        evidence_url: str | None = None,
    ) -> None:
        """Report on one step of an advice."""
        await self.http.hold(asking.report(id, n, outcome, note, evidence_url))

    async def await_change(self, advice: Advice, timeout: float = 60.0) -> Advice | None:  # noqa: ASYNC109 - as the sync form
        """The advice as soon as more has become of it, or None after `timeout` seconds."""
        return await self.http.hold(asking.await_change(advice, timeout, self.timeout_s))

    async def watch_advice(
        self,
        advice: Advice,
        changed: Callable[[Advice], Awaitable[object] | object],
        *,
        timeout: float = 3_600.0,  # noqa: ASYNC109 - as the sync form
    ) -> Advice:
        """Call (and await) `changed` at each change until it returns True or the time is over.

        Returns the advice as it is then. Run as a task it holds up nothing; cancelling the task ends it.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            found = await self.await_change(advice, left)
            if found is None:
                break
            advice = found
            said = changed(advice)
            if (await said if inspect.isawaitable(said) else said) is True:
                break
        return advice

    # --- polls

    async def poll_inbox(self, *, wait: float = 0) -> list[Invitation]:
        """Questions that wait for this agent's answer; an empty inbox is watched for `wait` seconds."""
        return await self.http.hold(polls.inbox(wait, self.timeout_s))

    async def poll_answer(
        self,
        invitation: Invitation,
        choice: str,
        *,
        confidence_pct: int,
        rationale: str = "",
        model_id: str | None = None,
        model_version: str | None = None,
    ) -> PollReceipt:
        """Answer a question, signed with this agent's key. Nobody reads it before the poll closes."""
        members = {
            "confidence_pct": confidence_pct,
            "rationale": rationale,
            "model_id": model_id,
            "model_version": model_version,
        }
        return await self.http.hold(polls.answer(self, invitation, choice, members))

    async def poll_decline(self, invitation: Invitation) -> None:
        """Refuse to answer: told apart from silence, and not asked again."""
        await self.http.hold(polls.decline(invitation, self.timeout_s))

    @property
    def http(self) -> AsyncHttp:
        """Connections of the waiting forms; those of the sender are its own."""
        if self._http is None:
            self._http = AsyncHttp(self.access)
        return self._http

    def _start(self) -> None:
        super()._start()
        self._http = None

    async def flush(self, timeout: float = 10.0) -> bool:  # noqa: ASYNC109 - as the sync form
        """Wait until everything queued is delivered or rejected; whether it is, after the time."""
        return await asyncio.to_thread(self._flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as the sync form
        """Flush for `timeout` (else `flush_at_exit_s`) and stop; what remains waits on the disk."""
        done = await asyncio.to_thread(self._close, timeout)
        if self._http is not None:
            await self._http.close()
            self._http = None
        return done

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
