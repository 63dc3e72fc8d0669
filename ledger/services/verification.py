"""Verify the database against its own bytes, with the verifier that strangers use (LEDGER section 15).

`verify_log` reads a whole log in one snapshot. `Pass` is one way over a range of entries, which the slices of
a kept run (`verification_runs`) share with it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.signing import b64url, b64url_decode
from ledger.core.columns import Columns, columns_of
from ledger.core.entry import EntrySyntax, leaf_hash, parse_entry
from ledger.core.tiles import TILE_WIDTH, TileBuilder, tile_root
from ledger.core.verify.stream import AgentKey as AnnouncedKey
from ledger.core.verify.stream import LogVerifier
from ledger.keys import verifiers
from ledger.models import POSITIONS_PER_LOG, AgentKey, Checkpoint, Entry, Log, SealedPart, Tile
from ledger.selectors.proofs import newest_checkpoint, tile_source
from ledger.services.projections import projection_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.db.models import QuerySet

    from ledger.core.entry import Entry as ParsedEntry
    from ledger.core.merkle import Frontier
    from ledger.core.note import Verifier
    from ledger.core.verify.report import Report
    from ledger.services.outside import Outside

FETCH = 2_000
ROWS_SQL = """
SELECT seq, uid, kind, agent, action, zone, risk, level, bypassed, rcvd, late, entry, leaf_hash
FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id
"""


class NoPublicKey(LookupError):
    """No ledger key is configured yet: run `manage.py ledger_keygen`."""


def verify_log(
    *,
    log: Log,
    signatures: bool = True,
    projections: bool = False,
    outside: Outside | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """Read every entry again in one snapshot.

    Bytes, hashes, chain, tree, tiles, checkpoints, columns, head, keys.
    `projections` compares the search projection and the erased parts too, `outside` the checkpoints that are
    kept elsewhere. Raises NoPublicKey.
    """
    verifier = key_of(log)
    with snapshot():
        size, tip = head_of(log)
        stored = list(notes_of(log, Q()))
        known = set(stored)
        elsewhere = [note for note in outside.notes if note not in known] if outside else []
        run = Pass(log, LogVerifier(verifier, [*stored, *elsewhere], signatures=signatures))
        run.feed(None, size, progress)
        run.check_tiles()
        run.check_registry()
        if projections:
            run.check_projections()
        if outside is not None:
            run.check_outside(outside)
        report = run.verifier.finish(head=(size, tip))
    if outside is not None and not outside.newest_size and report.ok:
        report = replace(report, incomplete=f"{outside.place} holds no checkpoint of this log")
    progress(size, size)
    return report


def key_of(log: Log) -> Verifier:
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)
    if not keys:
        raise NoPublicKey(str(NoPublicKey.__doc__))
    return keys[-1]


@contextmanager
def snapshot(access: str = "READ ONLY") -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, {access}")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


def head_of(log: Log) -> tuple[int, bytes]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT size, tip FROM ledger_head WHERE log_id = %s", (log.id,))
        size, tip = cursor.fetchone()
    return int(size), bytes(tip)


def notes_of(log: Log, sizes: Q) -> Iterator[str]:
    rows = Checkpoint.objects.filter(sizes, log=log).order_by("size").values_list("note", flat=True)
    yield from rows.iterator()


class Pass:
    """One way over entries of a log in the database, and what only the database has beside them."""

    def __init__(self, log: Log, verifier: LogVerifier, first: int = 0) -> None:
        self.log, self.verifier = log, verifier
        self._base, self._first = log.id * POSITIONS_PER_LOG, first
        self._builder = TileBuilder.restore(first, tile_source(log.id)) if first else TileBuilder()
        self._tiles: dict[tuple[int, int], bytes] = {}  # digests, as a long log has many

    def feed(self, end: int | None, total: int, progress: Callable[[int, int], None]) -> None:
        """Every stored row from the first to `end`; without an end beyond the head too.

        An entry that stands there is a finding, not a secret.
        """
        limit = self._base + (POSITIONS_PER_LOG if end is None else end)
        verifier = self.verifier
        with connection.connection.cursor("ledger_verify", binary=True) as rows:
            rows.itersize = FETCH
            rows.execute(ROWS_SQL, (self._base + self._first, limit))
            for row in rows:
                raw, leaf = bytes(row[11]), bytes(row[12])
                entry = verifier.feed(raw, leaf)
                if entry is not None and _differs(row, entry):
                    verifier.findings.add(
                        "projection_mismatch",
                        seq=min(row[0], entry.seq),
                        detail="a column differs from the bytes beside it",
                    )
                # A tampered column may hold anything; a tile is made of hashes.
                sound = leaf if len(leaf) == len(self._digest(b"")) else self._digest(b"\0" + raw)
                for tile in self._builder.append(sound):
                    self._tiles[tile.level, tile.index] = self._digest(tile.data)
                if verifier.checked.entries % FETCH == 0:
                    progress(self._first + verifier.checked.entries, total)

    @staticmethod
    def _digest(data: bytes) -> bytes:
        return sha256(data).digest()

    def check_tiles(self) -> None:
        """Stored tiles against those of the entries. Told only where no entry explains the difference."""
        signed = newest_checkpoint(self.log.id)
        if self.verifier.findings or signed is None:
            return
        for level in sorted({level for level, _ in self._tiles}):
            wanted = {index: digest for (at, index), digest in self._tiles.items() if at == level}
            rows = Tile.objects.filter(log=self.log, level=level, idx__gte=min(wanted), idx__lte=max(wanted))
            for index, data, root in rows.values_list("idx", "data", "root").iterator(chunk_size=256):
                self.verifier.checked.tiles += 1
                digest = wanted.pop(index)
                if digest != self._digest(bytes(data)) or tile_root(bytes(data)) != bytes(root):
                    self._wrong_tile(level, index, "the stored tile is not that of the entries")
            for index in wanted:
                if (index + 1) * TILE_WIDTH ** (level + 1) <= signed.size:
                    self._wrong_tile(level, index, "the tile is missing, though a checkpoint covers it")

    def _wrong_tile(self, level: int, index: int, detail: str) -> None:
        self.verifier.findings.add("root_mismatch", detail=f"tile {level}/{index}: {detail}")

    def check_registry(self) -> None:
        """Registered keys must be those that the organisation's logs announced, and revoked as they say."""
        told: dict[str, tuple[int | None, str]] = {}
        revoked: dict[str, int | None] = {}
        for entry_id, stmt in statements_of(
            Entry.objects.filter(log_id__in=logs_of(self.log), kind="ecp.key/1")
        ):
            is_here = self._base <= entry_id < self._base + POSITIONS_PER_LOG
            seq, kid = entry_id - self._base if is_here else None, str(stmt.get("kid"))
            if stmt.get("event") == "revoked":
                revoked.setdefault(kid, seq)
            else:
                told.setdefault(kid, (seq, str(stmt.get("public_key"))))
        rows = AgentKey.objects.filter(agent__organisation_id=self.log.organisation_id).order_by("kid")
        for kid, public_key, revoked_at in rows.values_list("kid", "public_key", "revoked_at"):
            if kid not in told:
                self._wrong_key(kid, None, "a registered agent key was never announced by an ecp.key/1 entry")
            elif told[kid][1] != b64url(bytes(public_key)):
                self._wrong_key(kid, told[kid][0], "the registered key is not the announced one")
            elif kid in revoked and revoked_at is None:
                self._wrong_key(kid, revoked[kid], "the registered key is valid, though the log revoked it")

    def _wrong_key(self, kid: str, seq: int | None, detail: str) -> None:
        self.verifier.findings.add("registry_mismatch", seq=seq, found=kid, detail=detail)

    def check_projections(self) -> None:
        """The search projection, and parts that are back though an entry erased them."""
        add = self.verifier.findings.add
        for seq, detail in projection_differences(self.log):
            add("projection_mismatch", seq=seq, detail=detail)
        erased: dict[tuple[UUID, str], int] = {}
        for entry_id, stmt in statements_of(Entry.objects.filter(log=self.log, kind="ecp.erasure/1")):
            for part in stmt.get("parts", ()):
                erased[UUID(part["id"]), part["ptr"]] = entry_id - self._base
        uids = {uid for uid, _ in erased}
        # Logs of one organisation share its data subjects: an erasure may name parts of the prior log.
        there = SealedPart.objects.filter(log_id__in=logs_of(self.log), uid__in=uids)
        for part in there.order_by("uid", "ptr").values_list("uid", "ptr"):
            if part in erased:
                detail = f"the sealed part {part[1]} of {part[0]} is stored, though this entry erased it"
                add("projection_mismatch", seq=erased[part], detail=detail)

    def check_outside(self, outside: Outside) -> None:
        """A checkpoint that others hold and the database has lost, while its entries are there.

        Only the newest counts: a crash between writing it outside and storing it leaves one behind, and the
        next checkpoint takes its place. Entries that are missing themselves are the verifier's finding.
        """
        signed = newest_checkpoint(self.log.id)
        size = signed.size if signed else 0
        if size < outside.newest_size <= self._first + self.verifier.checked.entries:
            self.verifier.findings.add(
                "truncated",
                seq=size,
                expected=f"a checkpoint of size {outside.newest_size}",
                found=f"size {size}",
                detail=f"{outside.place} holds a newer checkpoint than the database",
            )


def verifier_at(log: Log, before: Frontier, notes: Sequence[str], key: Verifier | None = None) -> LogVerifier:
    """A verifier that goes on behind the entries of the tree `before`, with the keys that they announce."""
    key = key or key_of(log)
    first, base = before.size, log.id * POSITIONS_PER_LOG
    if not first:
        return LogVerifier(key, notes, signatures=True)
    last = Entry.objects.filter(id=base + first - 1).values_list("entry", flat=True).first()
    tip = None if last is None else leaf_hash(bytes(last))
    verifier = LogVerifier(key, notes, signatures=True, first=first, tip=tip, frontier=before)
    for _, stmt in statements_of(Entry.objects.filter(id__gte=base, id__lt=base + first, kind="ecp.key/1")):
        if stmt.get("event") in {"added", "rotated"}:
            announced = AnnouncedKey(b64url_decode(stmt["public_key"]), stmt["holder"])
            verifier.keys[stmt["kid"]] = announced
    return verifier


def _differs(row: tuple[Any, ...], entry: ParsedEntry) -> bool:
    return (
        row[0] != entry.seq
        or UUID(entry.stmt["id"]) != row[1]
        or _columns(entry.stmt) != Columns(*row[2:9])
        or format_time(row[9].astimezone(UTC)) != entry.rcvd
        or entry.late != row[10]
    )


def _columns(stmt: dict[str, Any]) -> Columns | None:
    """None for a statement that lacks a member of its kind: no row can be right beside it."""
    try:
        return columns_of(stmt)
    except (KeyError, AttributeError):
        return None


def logs_of(log: Log) -> list[int]:
    """Ids of all logs of its organisation: a successor log relies on what its prior log said."""
    return list(Log.objects.filter(organisation_id=log.organisation_id).values_list("id", flat=True))


def statements_of(rows: QuerySet[Entry]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(entry id, statement) of entries that can be read; the others are findings of their own."""
    for entry_id, raw in rows.order_by("id").values_list("id", "entry").iterator(chunk_size=FETCH):
        try:
            yield entry_id, parse_entry(bytes(raw)).stmt
        except EntrySyntax:
            continue
