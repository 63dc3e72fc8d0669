"""`Ledger`: the client for programs that wait by blocking."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from ecp_client import advice as asking
from ecp_client import direct, polls
from ecp_client.calls import Outcome, Receipt, public, receipt
from ecp_client.recorder import Handle, Recorder
from ecp_client.transport import Http
from ecp_client.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Literal, Unpack

    from ecp_client.advice import Advice, Bypass, ReasonCode, StepResult
    from ecp_client.polls import Invitation, PollReceipt
    from ecp_client.records import RecordFields


class SyncHandle(Handle):
    __slots__ = ()

    def receipt(self, timeout: float = 10.0, *, signed: bool = True) -> Receipt:
        """Wait for delivery and for the signed receipt; NotInTime, or Refused when it was rejected."""
        self._check_kept()
        deadline = time.monotonic() + timeout
        recorder: Any = self._recorder
        recorder.queue.wait_settled(self._number, timeout)
        found: Receipt = recorder.http.hold(self._receipt_steps(deadline, signed=signed))
        return found


class Ledger(Recorder[SyncHandle]):
    """A ledger at `url`, written to with an API key. See docs/CLIENTS.md for every argument."""

    handle = SyncHandle
    _http: Http | None

    # --- forms that wait and raise

    def record_now(self, *, wait_signed: float = 0, **fields: Unpack[RecordFields]) -> Receipt:
        """Record one decision and wait for its receipt, up to `wait_signed` seconds for a signed one."""
        return self.http.hold(direct.record(self, fields, wait_signed))

    def batch_now(self, records: Iterable[Mapping[str, Any]], *, wait_signed: float = 0) -> list[Outcome]:
        """Record many decisions and wait until each is stored or refused."""
        return self.http.hold(direct.batch(self, records, wait_signed))

    def annotate_now(self, id: str, kind: str, text: str, status: str | None = None) -> Receipt:  # noqa: A002 - the member's name
        return self.http.hold(direct.annotate(self, id, kind, text, status))

    def receipt(self, id: str, *, signed_within: float = 10.0) -> Receipt:  # noqa: A002 - the member's name
        """The receipt of an entry; with `signed_within` 0 as it is now, else one that is signed."""
        return self.http.hold(receipt(id, signed_within, self.timeout_s))

    def public(self, id: str) -> bytes:  # noqa: A002 - the member's name
        """The exact bytes of an entry, which `verify_receipt` takes."""
        return self.http.hold(public(id, self.timeout_s))

    # --- advice

    def advice(
        self, *, previous: str | None = None, dry_run: bool = False, **fields: Unpack[RecordFields]
    ) -> Advice:
        """Ask how careful an act should be; `fields` are those of the decision that may follow.

        `previous` names the advice on an earlier form of this proposal. It blocks nothing, whatever it says.
        """
        return self.http.hold(asking.ask(self, fields, previous, dry_run=dry_run))

    def advice_now(self, id: str) -> Advice:  # noqa: A002 - the member's name
        """An advice with all that has become of it."""
        return self.http.hold(asking.look(id, self.timeout_s))

    def bypass(
        self,
        id: str,  # noqa: A002 - the member's name
        steps: Sequence[int] | Literal["all"],
        *,
        reason_code: ReasonCode,
        reason: str,
    ) -> Bypass:
        """Say that steps of an advice are not followed, and why. It is on record before this returns."""
        return self.http.hold(asking.bypass(id, steps, reason_code, reason, self.timeout_s))

    def step_outcome(
        self,
        id: str,  # noqa: A002 - the member's name
        n: int,
        outcome: StepResult,
        *,
        note: str | None = None,
        evidence_url: str | None = None,
    ) -> None:
        """Report on one step of an advice."""
        self.http.hold(asking.report(id, n, outcome, note, evidence_url))

    def await_change(self, advice: Advice, timeout: float = 60.0) -> Advice | None:
        """The advice as soon as more has become of it, or None after `timeout` seconds."""
        return self.http.hold(asking.await_change(advice, timeout, self.timeout_s))

    def watch_advice(
        self, advice: Advice, changed: Callable[[Advice], object], *, timeout: float = 3_600.0
    ) -> Watch:
        """Call `changed` from a thread at each change, until it returns True, `stop`, or the time is over."""
        return Watch(self.access, advice, changed, timeout, self.timeout_s)

    # --- polls

    def poll_inbox(self, *, wait: float = 0) -> list[Invitation]:
        """Questions that wait for this agent's answer; an empty inbox is watched for `wait` seconds."""
        return self.http.hold(polls.inbox(wait, self.timeout_s))

    def poll_answer(
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
        return self.http.hold(polls.answer(self, invitation, choice, members))

    def poll_decline(self, invitation: Invitation) -> None:
        """Refuse to answer: told apart from silence, and not asked again."""
        self.http.hold(polls.decline(invitation, self.timeout_s))

    @property
    def http(self) -> Http:
        """Connections of the waiting forms; those of the sender are its own."""
        with self._http_lock:
            if self._http is None:
                self._http = Http(self.access)
            return self._http

    def _start(self) -> None:
        super()._start()
        self._http_lock = threading.Lock()
        self._http = None

    # --- end

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything queued is delivered or rejected; whether it is, after the time."""
        return self._flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Flush for `timeout` (else `flush_at_exit_s`) and stop; what remains waits on the disk."""
        done = self._close(timeout)
        if self._http is not None:
            self._http.close()
            self._http = None
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
