"""`TransparencyLedger`: what API, console, tasks and commands call (LEDGER section 1)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import psycopg
from django.db import connection, transaction

from ecp_project.api.metrics import SIGNATURE_FAILURES
from ecp_project.kernel.canonical import (
    MAX_DEPTH,
    MAX_STATEMENT_BYTES,
    encode,
    parse_document,
    parse_statement,
)
from ecp_project.kernel.clock import format_time, parse_time
from ecp_project.kernel.errors import (
    BadRequest,
    EcpError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    TooLarge,
)
from ecp_project.kernel.signing import b64url_decode, verify
from ledger import metrics, sequencer
from ledger.core import proof as proofs
from ledger.core import statement as statements
from ledger.core.columns import DECISION, columns_of
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord, lint
from ledger.core.entry import parse_entry, signed_message, stmt_digest
from ledger.core.fields import under
from ledger.core.merkle import inclusion_proof
from ledger.models import Agent, AgentKey, AgentStatus, Entry, Log
from ledger.rows import LogRef, Work
from ledger.selectors.entries import agent_status
from ledger.selectors.proofs import SignedSize, newest_checkpoint, reader
from ledger.sequencer import Outcome, Stored
from ledger.services.policies import policy_for
from ledger.services.sealing import request_mac, seal_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ecp_project.api.authentication import Principal
    from ledger.rows import KeyRow, SealedRow

MAX_SIGNATURES = 4
MAX_SIGNED_BYTES = 65_536
POLL_S = 0.05

# Building is pure Python under the interpreter's lock: several requests building at once only slow each other
# down.
_build_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where one statement stands; `document` is `ecp.receipt/1`."""

    stored: Stored
    document: dict[str, Any]

    @property
    def is_replay(self) -> bool:
        return self.stored.is_replay


class TransparencyLedger:
    """One log. Cheap to make; holds no connection and no state besides what it was given."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.ref = LogRef(log.id, log.origin)

    # --- append
    def append(self, record: DecisionRecord, *, principal: Principal, now: datetime) -> Receipt:
        """Record one decision; returns once it is durable."""
        with sequencer.batcher.building():
            refuse_unsigned(principal)
            status = principal.agent_status
            if principal.agent_slug != record.agent:
                status = agent_status(organisation_id=self.log.organisation_id, slug=record.agent)
            refuse_agent(principal, {record.agent: status}, record.agent)
            work = self._work(record, principal=principal, now=now)
        started = time.perf_counter()
        outcome = sequencer.batcher.submit(self.ref, [work])[0]
        metrics.APPEND_SECONDS.labels(path="single").observe(time.perf_counter() - started)
        return self._receipt(self._counted(warned(outcome, work), work.kind))

    def append_many(self, lines: Sequence[bytes], *, principal: Principal, now: datetime) -> list[Outcome]:
        """Record the good lines of a batch in one transaction; one outcome per line, in order."""
        refuse_unsigned(principal)

        def build(line: bytes, agents: dict[str, str]) -> Work:
            record = DecisionRecord.from_document(parse_document(line, private=PRIVATE_MEMBERS))
            if record.id is None:
                raise BadRequest("missing_field", "each line of a batch needs an id", pointer="/id")
            refuse_agent(principal, agents, record.agent)
            return self._work(record, principal=principal, now=now)

        return self._append_lines(lines, build)

    def append_signed(self, bodies: Sequence[bytes], *, principal: Principal, now: datetime) -> list[Outcome]:
        """Take client-built statements with their signatures, byte for byte (LEDGER section 6)."""
        keys: dict[str, AgentKey] = {}
        decided: dict[str, str] = {}

        def build(body: bytes, agents: dict[str, str]) -> Work:
            said = signed_statement(body, self.log)
            return self._signed_work(*said, agents, keys, decided, principal=principal, now=now)

        return self._append_lines(bodies, build)

    def append_one_signed(
        self, stmt: dict[str, Any], sigs: list[Any], raw: bytes, *, principal: Principal, now: datetime
    ) -> Receipt:
        """Take one signed statement as `signed_statement` read it."""
        with sequencer.batcher.building():
            work = self._signed_work(stmt, sigs, raw, self._agents(), {}, {}, principal=principal, now=now)
        started = time.perf_counter()
        outcome = sequencer.batcher.submit(self.ref, [work])[0]
        metrics.APPEND_SECONDS.labels(path="single").observe(time.perf_counter() - started)
        return self._receipt(self._counted(outcome, work.kind))

    def append_statement(
        self,
        stmt: dict[str, Any],
        *,
        now: datetime,
        sigs: Sequence[Mapping[str, str]] = (),
        parts: Sequence[SealedRow] = (),
        keys: Sequence[KeyRow] = (),
    ) -> Receipt:
        """Add a statement of any other kind inside the caller's transaction (LEDGER section 9.5).

        Call it last: the head lock is held until the caller commits. `sigs` were checked by the caller;
        `parts` and `keys` are those of `seal_parts`, to whose commitments the statement holds.
        """
        assert connection.in_atomic_block, "append_statement joins a transaction; open one first"
        statements.validate(stmt)
        work = plain_work(stmt)
        work.sigs = encode(list(sigs))
        work.parts, work.keys = parts, keys
        # Django's own cursors bind on the client, which cannot carry binary values.
        try:
            with psycopg.Cursor(connection.connection) as cursor:
                outcome = sequencer.append(cursor, self.ref, [work], now=now)[0]
        except psycopg.Error as error:
            raise sequencer.batcher.problem(error) from error
        if isinstance(outcome, EcpError):
            raise outcome
        transaction.on_commit(lambda: count_entries(self.log.slug, work.kind))
        return self._receipt(outcome)

    def append_together(self, works: Sequence[Work]) -> list[Stored]:
        """Add statements of other kinds with the rows that stand beside them, in one transaction.

        It is the batcher's, which other requests share: for what is asked often. `works` are those of
        `plain_work` for valid statements; the first one that is refused raises.
        """
        started = time.perf_counter()
        outcomes = sequencer.batcher.submit(self.ref, works)
        metrics.APPEND_SECONDS.labels(path="single").observe(time.perf_counter() - started)
        return [self._counted(outcome, work.kind) for outcome, work in zip(outcomes, works, strict=True)]

    def _append_lines(
        self, lines: Sequence[bytes], build: Callable[[bytes, dict[str, str]], Work]
    ) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(lines)
        works: list[Work] = []
        places: list[int] = []
        agents = self._agents()
        with _build_lock:
            for place, line in enumerate(lines):
                try:
                    works.append(build(line, agents))
                    places.append(place)
                except EcpError as problem:
                    outcomes[place] = problem
        if works:
            started = time.perf_counter()
            stored = sequencer.batcher.submit(self.ref, works, is_batch=True)
            metrics.APPEND_SECONDS.labels(path="batch").observe(time.perf_counter() - started)
            kinds: Counter[str] = Counter()
            for place, work, outcome in zip(places, works, stored, strict=True):
                outcomes[place] = warned(outcome, work)
                kinds[work.kind] += isinstance(outcome, Stored) and not outcome.is_replay
            for kind, number in kinds.items():
                count_entries(self.log.slug, kind, number)
        return [outcome for outcome in outcomes if outcome is not None]

    def _agents(self) -> dict[str, str]:
        rows = Agent.objects.filter(organisation_id=self.log.organisation_id)
        return dict(rows.values_list("slug", "status"))

    def _work(self, record: DecisionRecord, *, principal: Principal, now: datetime) -> Work:
        organisation = self.log.organisation
        policy = policy_for(organisation.context_policy, record.action)
        built = record.to_statement(
            org=organisation.slug,
            policy=policy,
            now=now,
            via=principal.via(),
        )
        stmt = built.stmt
        uid = UUID(stmt["id"])
        parts, keys = (
            seal_parts(
                origin=self.log.origin,
                organisation=organisation.slug,
                uid=uid,
                parts=built.parts,
                data_subject=record.data_subject,
                data_subjects=record.data_subjects or {},
                now=now,
            )
            if built.parts
            else ((), ())
        )
        columns = columns_of(stmt)
        return Work(
            uid,
            built.raw,
            columns.kind,
            parse_time(stmt["ts"]),
            agent=columns.agent,
            action=columns.action,
            zone=columns.zone,
            risk=columns.risk,
            level=columns.level,
            bypassed=columns.bypassed,
            request_mac=request_mac(record.canonical(), now),
            parts=parts,
            keys=keys,
            warnings=tuple(lint(record, policy)),
        )

    def _signed_work(  # noqa: PLR0917 - private step of both ways in
        self,
        stmt: dict[str, Any],
        sigs: list[Any],
        raw: bytes,
        agents: dict[str, str],
        keys: dict[str, AgentKey],
        decided: dict[str, str],
        *,
        principal: Principal,
        now: datetime,
    ) -> Work:
        """`keys` and `decided` (id -> agent) are what the lines of one request have in common."""
        if stmt["v"] == "ecp.key/1":
            detail = "a statement about keys is sent alone, as application/json"
            raise BadRequest("bad_value", detail, pointer="/stmt/v")
        agent = stmt["agent"] if "agent" in stmt else stmt["actor"].removeprefix("agent:")
        refuse_agent(principal, agents, agent, at="/stmt/agent" if "agent" in stmt else "/stmt/actor")
        check_signatures(sigs, self.log, agent, signed_message(self.log.origin, raw), keys, now)
        if stmt["v"] == DECISION:
            decided[stmt["id"]] = agent
        elif stmt["v"] == "ecp.annotation/1":
            self._refuse_foreign_target(stmt["target"], agent, decided)
        work = plain_work(stmt, raw)
        work.sigs = encode(sigs)
        return work

    def _refuse_foreign_target(self, target: str, agent: str, decided: Mapping[str, str]) -> None:
        """An agent annotates its own decisions, also those of this request; others do not exist for it."""
        stored = Entry.objects.filter(log_id=self.log.id, uid=target).values_list("agent").first()
        if (decided.get(target) if stored is None else stored[0]) != agent:
            raise NotFound("not_found", "there is no such record", pointer="/stmt/target")

    # --- read
    def get(self, uid: UUID) -> Entry:
        entry: Entry | None = Entry.objects.filter(log_id=self.log.id, uid=uid).first()
        if entry is None:
            raise NotFound("not_found", "there is no such record")
        return entry

    def receipt(self, uid: UUID) -> Receipt:
        """The best receipt there is: with a proof once a checkpoint covers the entry."""
        entry = self.get(uid)
        digest = stmt_digest(parse_entry(bytes(entry.entry)).stmt_raw)
        stored = Stored(entry.uid, entry.seq, entry.rcvd, bytes(entry.leaf_hash), digest, is_replay=False)
        return self._receipt(stored, newest_checkpoint(self.log.id))

    def wait_signed(self, stored: Stored, seconds: float) -> Receipt:
        """The receipt once it is signed, or what there is after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            signed = newest_checkpoint(self.log.id)
            if (signed is not None and signed.size > stored.seq) or time.monotonic() >= deadline:
                return self._receipt(stored, signed)
            time.sleep(POLL_S)

    def _receipt(self, stored: Stored, signed: SignedSize | None = None) -> Receipt:
        proof = None
        if signed is not None and signed.size > stored.seq:
            hashes = inclusion_proof(stored.seq, signed.size, reader(self.log.id, signed.size, stored.seq))
            proof = proofs.format_proof(stored.seq, hashes, signed.note)
        document = proofs.receipt(
            status="logged" if proof is None else "signed",
            log=self.log.origin,
            id=str(stored.uid),
            seq=stored.seq,
            rcvd=format_time(stored.rcvd),
            leaf_hash=stored.leaf_hash,
            stmt_digest=stored.stmt_digest,
            entry_url=f"/api/v1/decisions/{stored.uid}/",
            checkpoint_size=signed.size if proof is not None and signed is not None else None,
            tlog_proof=proof,
        )
        return Receipt(stored, document)

    def _counted(self, outcome: Outcome, kind: str) -> Stored:
        if isinstance(outcome, EcpError):
            raise outcome
        if not outcome.is_replay:
            count_entries(self.log.slug, kind)
        return outcome


def warned(outcome: Outcome, work: Work) -> Outcome:
    """Tell the sender what the lint says of an accepted record, a repeated one too."""
    if work.warnings and isinstance(outcome, Stored):
        return replace(outcome, warnings=work.warnings)
    return outcome


def plain_work(stmt: dict[str, Any], raw: bytes | None = None) -> Work:
    """Work for a statement without private parts."""
    columns = columns_of(stmt)
    return Work(
        UUID(stmt["id"]),
        encode(stmt) if raw is None else raw,
        columns.kind,
        parse_time(stmt["ts"]),
        agent=columns.agent,
        action=columns.action,
        zone=columns.zone,
        risk=columns.risk,
        level=columns.level,
        bypassed=columns.bypassed,
    )


def signed_statement(body: bytes, log: Log) -> tuple[dict[str, Any], list[Any], bytes]:
    """Statement, signatures (not yet checked) and statement bytes of `{"sigs":[..],"stmt":{..}}`."""
    document = parse_statement(body, max_bytes=MAX_SIGNED_BYTES, max_depth=MAX_DEPTH + 1)
    for name in document:
        if name not in {"sigs", "stmt"}:
            raise BadRequest("unknown_field", f"{name} is not a member", pointer=f"/{name}")
    for name, kind, words in (("sigs", list, "an array"), ("stmt", dict, "an object")):
        if name not in document:
            raise BadRequest("missing_field", f"{name} is missing", pointer=f"/{name}")
        if type(document[name]) is not kind:
            raise BadRequest("wrong_type", f"{name} must be {words}", pointer=f"/{name}")
    stmt = document["stmt"]
    raw = encode(stmt)
    if len(raw) > MAX_STATEMENT_BYTES:
        detail = f"the statement has {len(raw):,} bytes, at most {MAX_STATEMENT_BYTES:,} are allowed"
        raise TooLarge("too_large", detail, pointer="/stmt")
    try:
        statements.validate(stmt, signed_path=True)
    except BadRequest as error:
        raise under("stmt", error) from None
    if stmt["org"] != log.organisation.slug:
        raise BadRequest("org_mismatch", f"the log belongs to {log.organisation.slug}", pointer="/stmt/org")
    return stmt, document["sigs"], raw


def lock_head(log: Log) -> datetime:
    """Let nothing be appended before the caller commits; returns when the last entry came.

    For what must not pass an append under way. An append locks head, log and subject keys in this order, so
    whoever locks one of the others and appends afterwards takes the head first.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_rcvd FROM ledger_head WHERE log_id = %s FOR UPDATE", (log.id,))
        (last_rcvd,) = cursor.fetchone()
    return cast("datetime", last_rcvd)


def count_entries(log: str, kind: str, number: int = 1) -> None:
    metrics.ENTRIES.labels(log=log, kind=kind).inc(number)


def refuse_unsigned(principal: Principal) -> None:
    if principal.require_signature:
        raise NotAuthenticated(
            "signature_required", "this key takes signed statements only: POST /api/v1/logs/<slug>/entries/"
        )


def refuse_agent(
    principal: Principal, agents: Mapping[str, str | None], slug: str, *, at: str = "/agent"
) -> None:
    """Only a registered, active agent; a key that is bound to an agent speaks for that one alone."""
    is_bound_elsewhere = principal.agent_slug is not None and principal.agent_slug != slug
    if is_bound_elsewhere or agents.get(slug) != AgentStatus.ACTIVE:
        raise PermissionDenied(
            "agent_not_allowed", f"{slug} is no active agent that this key may speak for", pointer=at
        )


def check_signatures(  # noqa: C901, PLR0917 - the checks of section 6, one after another
    sigs: list[Any], log: Log, agent: str, message: bytes, keys: dict[str, AgentKey], now: datetime
) -> None:
    """1 to 4 signatures, each by a registered key of the agent that is valid now (LEDGER section 6)."""
    if not 1 <= len(sigs) <= MAX_SIGNATURES:
        raise BadRequest("bad_value", "1 to 4 signatures are needed", pointer="/sigs")
    for place, sig in enumerate(sigs):
        pointer = f"/sigs/{place}"
        if type(sig) is not dict or set(sig) != {"alg", "kid", "sig"}:
            raise BadRequest("bad_value", "a signature has exactly alg, kid and sig", pointer=pointer)
        if sig["alg"] != "ed25519":
            raise BadRequest("bad_value", "alg must be ed25519", pointer=f"{pointer}/alg")
        kid = sig["kid"]
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None and isinstance(kid, str):
            key = (
                AgentKey.objects.filter(kid=kid, agent__organisation_id=log.organisation_id)
                .select_related("agent")
                .first()
            )
            if key is not None:
                keys[kid] = key
        if key is None or key.agent.slug != agent:
            SIGNATURE_FAILURES.labels(reason="unknown_key").inc()
            raise BadRequest("unknown_key", f"no key of {agent} has this kid", pointer=f"{pointer}/kid")
        ends = [end for end in (key.valid_until, key.revoked_at) if end is not None]
        if now < key.valid_from or any(now >= end for end in ends):
            SIGNATURE_FAILURES.labels(reason="key_not_valid").inc()
            raise BadRequest("key_not_valid", "the key is not valid now", pointer=f"{pointer}/kid")
        try:
            signature = b64url_decode(sig["sig"]) if isinstance(sig["sig"], str) else b""
        except ValueError:
            signature = b""
        if not verify(bytes(key.public_key), signature, message):
            SIGNATURE_FAILURES.labels(reason="bad_signature").inc()
            raise BadRequest("bad_signature", "the signature does not verify", pointer=f"{pointer}/sig")
