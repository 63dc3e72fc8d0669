"""The 25 kinds of tampering of LEDGER section 15, each as a superuser would do it, with what must be found.

Every function works in one transaction on a clone whose triggers and constraints are lifted. `n` is the
position of a signed decision in the middle; where another position is spoiled the kind names it.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ecp_project.kernel import signing
from ledger.core.entry import parse_entry, splice
from ledger.core.merkle import leaf_hash
from ledger.core.note import Checkpoint, sign_checkpoint, split_note
from ledger.keys import signer
from ledger.models import POSITIONS_PER_LOG
from ledger.services.tampering.scratch import INSERT_SQL, LOG_ID, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from ledger.core.entry import Entry
    from ledger.services.tampering.scratch import Copy

BASE = LOG_ID * POSITIONS_PER_LOG
Judge = Literal["verify", "guard", "audit"]


class Victim:
    """A clone under a superuser's hand."""

    def __init__(self, connection: psycopg.Connection[Any], copy: Copy) -> None:
        self.connection, self.copy = connection, copy
        self.n = copy.target

    def run(self, statement: str, *parameters: Any) -> None:
        cursor = self.connection.execute(statement, parameters or None)
        assert cursor.rowcount, f"nothing was tampered with: {statement}"

    def entry(self, seq: int) -> bytes:
        row = self.connection.execute(
            "SELECT entry FROM ledger_entry WHERE id = %s", (BASE + seq,)
        ).fetchone()
        assert row is not None, f"the copy has no entry {seq}"
        return bytes(row[0])

    def put(self, seq: int, raw: bytes, *, leaf: bytes | None = None) -> None:
        """Other bytes at a position; the leaf hash stays unless another one is given."""
        assert raw != self.entry(seq), f"the bytes at {seq} are the same"
        self.run("UPDATE ledger_entry SET entry = %s WHERE id = %s", raw, BASE + seq)
        if leaf is not None:
            self.run("UPDATE ledger_entry SET leaf_hash = %s WHERE id = %s", leaf, BASE + seq)

    def replaced(self, seq: int, old: bytes, new: bytes) -> bytes:
        raw = self.entry(seq)
        assert old in raw, f"entry {seq} does not hold {old!r}"
        return raw.replace(old, new, 1)

    def move_head(self, size: int) -> None:
        tip = leaf_hash(self.entry(size - 1))
        self.run("UPDATE ledger_head SET size = %s, tip = %s", size, tip)

    def cut(self, size: int) -> None:
        """Entries from `size` on vanish, from head and search too."""
        self.run("DELETE FROM ledger_entry WHERE id >= %s", BASE + size)
        self.run("DELETE FROM ledger_entrysearch WHERE entry_id >= %s", BASE + size)
        self.run("UPDATE ledger_cursor SET next_seq = least(next_seq, %s)", size)
        self.move_head(size)

    def append(self, raw: bytes) -> None:
        self.run(INSERT_SQL, *row_of(raw))


@dataclass(frozen=True, slots=True)
class Tampering:
    """`kind` is what the database's verifier must say, `exported` the offline one over an export.

    An empty `exported` means that entries and checkpoints alone do not show it, `place` gives the position.
    """

    number: str
    title: str
    apply: Callable[[Victim], None]
    kind: str
    exported: str = ""
    place: Callable[[Copy], int | None] = lambda copy: copy.target
    exported_place: Callable[[Copy], int | None] | None = None
    judge: Judge = "verify"
    has_range: bool = False  # only roots disagree: the range between two checkpoints is the place


def _nowhere(_copy: Copy) -> None:
    return None


def _other_byte(victim: Victim) -> None:
    victim.put(victim.n, victim.replaced(victim.n, b"Approved", b"Approred"))


def _column(victim: Victim) -> None:
    victim.run("UPDATE ledger_entry SET agent = 'somebody-else' WHERE id = %s", BASE + victim.n)


def _leaf_hash(victim: Victim) -> None:
    victim.run("UPDATE ledger_entry SET leaf_hash = sha256('x') WHERE id = %s", BASE + victim.n)


def _prev(victim: Victim) -> None:
    prev = parse_entry(victim.entry(victim.n)).prev.hex().encode()
    victim.put(victim.n, victim.replaced(victim.n, prev, sha256(prev).hexdigest().encode()))


def _entry_and_leaf_hash(victim: Victim) -> None:
    raw = victim.replaced(victim.n, b"Approved", b"Declined")
    victim.put(victim.n, raw, leaf=leaf_hash(raw))


def _respliced(entry: Entry, prev: bytes, seq: int) -> bytes:
    return splice(
        origin=entry.log, prev=prev, rcvd=entry.rcvd, seq=seq, sigs=entry.sigs_raw, stmt=entry.stmt_raw,
        spooled_at=entry.spooled_at,
    )  # fmt: skip


def _suffix(victim: Victim) -> None:
    """The thorough one: a decision loses its signature and says another thing, and every hash follows."""
    entry = parse_entry(victim.entry(victim.n))
    stmt = entry.stmt_raw.replace(b"Approved", b"Declined")
    raw = splice(origin=entry.log, prev=entry.prev, rcvd=entry.rcvd, seq=victim.n, sigs=b"[]", stmt=stmt)
    victim.put(victim.n, raw, leaf=leaf_hash(raw))
    for seq in range(victim.n + 1, victim.copy.size):
        raw = _respliced(parse_entry(victim.entry(seq)), leaf_hash(raw), seq)
        victim.put(seq, raw, leaf=leaf_hash(raw))
    victim.move_head(victim.copy.size)
    victim.run("DELETE FROM ledger_entrysearch")
    victim.run("DELETE FROM ledger_cursor")  # the worker writes the search projection anew


def _delete(victim: Victim) -> None:
    victim.run("DELETE FROM ledger_entry WHERE id = %s", BASE + victim.n)


def _tail(victim: Victim) -> None:
    victim.cut(victim.copy.size - 3)


def _insert(victim: Victim) -> None:
    """A new entry takes the place, and all behind it move up by one."""
    raw = _respliced(parse_entry(victim.entry(victim.n - 1)), leaf_hash(victim.entry(victim.n - 1)), victim.n)
    victim.run(
        "UPDATE ledger_entry SET id = -id - 1, seq = seq + 1 WHERE id >= %s", BASE + victim.n
    )  # through negative ids, as each row's new id is still its neighbour's
    victim.run("UPDATE ledger_entry SET id = -id WHERE id < 0")
    victim.append(raw)


def _swap(victim: Victim) -> None:
    first, second = victim.entry(victim.n), victim.entry(victim.n + 1)
    victim.put(victim.n, second, leaf=leaf_hash(second))
    victim.put(victim.n + 1, first, leaf=leaf_hash(first))


def _twice(victim: Victim) -> None:
    size = victim.copy.size
    last = victim.entry(size - 1)
    again = parse_entry(victim.entry(victim.n))._replace(rcvd=parse_entry(last).rcvd)
    victim.append(_respliced(again, leaf_hash(last), size))
    victim.move_head(size + 1)


def _renumber(victim: Victim) -> None:
    old, new = (f'"seq":{seq},'.encode() for seq in (victim.n, victim.n + 1))
    victim.put(victim.n, victim.replaced(victim.n, old, new))


def _signature(victim: Victim) -> None:
    other = parse_entry(victim.entry(victim.n + 1)).sigs_raw
    victim.put(victim.n, victim.replaced(victim.n, parse_entry(victim.entry(victim.n)).sigs_raw, other))


def _signer(victim: Victim) -> None:
    kid = parse_entry(victim.entry(victim.n)).sigs[0].kid
    stranger = signing.kid_of(signing.public_from_seed(sha256(b"stranger").digest()))
    victim.put(victim.n, victim.replaced(victim.n, kid.encode(), stranger.encode()))


def _checkpoint_altered(victim: Victim) -> None:
    size = victim.copy.size
    query = "SELECT note FROM ledger_checkpoint WHERE size = %s"
    row = victim.connection.execute(query, (size,)).fetchone()
    assert row is not None, "the copy was signed"
    text, _ = split_note(row[0])
    root = Checkpoint.parse(text).root
    forged = Checkpoint(victim.copy.origin, size, sha256(root).digest())
    note = row[0].replace(text, forged.text())
    victim.run("UPDATE ledger_checkpoint SET note = %s, root = %s WHERE size = %s", note, forged.root, size)


def _checkpoint_deleted(victim: Victim) -> None:
    victim.run("DELETE FROM ledger_checkpoint WHERE size = %s", victim.copy.size)


def _head(victim: Victim) -> None:
    victim.move_head(victim.copy.size - 1)


def _search(victim: Victim) -> None:
    victim.run("UPDATE ledger_entrysearch SET zone = 'manufacturer' WHERE entry_id = %s", BASE + victim.n)


def _bypass(victim: Victim) -> None:
    victim.run("DELETE FROM ledger_entrysearch WHERE entry_id = %s AND bypassed", BASE + victim.copy.bypass)


def _other_log(victim: Victim) -> None:
    origin = victim.copy.origin.encode()
    victim.put(victim.n, victim.replaced(victim.n, origin + b'"', origin + b'-other"'))


def _decomposed(victim: Victim) -> None:
    raw = victim.entry(victim.n).decode()
    victim.put(victim.n, unicodedata.normalize("NFD", raw).encode())


def _number(victim: Victim) -> None:
    victim.put(victim.n, victim.replaced(victim.n, b'"days_late":7', b'"days_late":7.0'))


def _other_public_key() -> bytes:
    return signing.public_from_seed(sha256(b"another").digest())


def _registry(victim: Victim) -> None:
    victim.run("UPDATE ledger_agentkey SET public_key = %s", _other_public_key())


def _key_entry(victim: Victim) -> None:
    first = victim.copy.own_first
    said = parse_entry(victim.entry(first)).stmt["public_key"].encode()
    victim.put(first, victim.replaced(first, said, signing.b64url(_other_public_key()).encode()))


def _rolled_back(victim: Victim) -> None:
    """As a backup from before the newest checkpoint would bring it back: sound in itself."""
    victim.cut(victim.copy.old_size)
    victim.run("DELETE FROM ledger_checkpoint WHERE size > %s", victim.copy.old_size)


def _fork(victim: Victim) -> None:
    """The holder of the key tells somebody else of other entries: a second checkpoint of the same size."""
    copy = victim.copy
    forged = Checkpoint(copy.origin, copy.size, sha256(b"another tree").digest())
    line = {"note": sign_checkpoint(forged, signer(copy.seed, copy.origin))}
    with copy.anchors.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _flipped_bit(victim: Victim) -> None:
    raw = bytearray(victim.entry(victim.n))
    raw[raw.index(b"receipt is at hand")] ^= 1
    victim.put(victim.n, bytes(raw))


def _trigger(victim: Victim) -> None:
    victim.connection.execute("ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_append_only")


def _function(victim: Victim) -> None:
    victim.connection.execute(
        "CREATE OR REPLACE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql "
        "SET search_path = pg_catalog, pg_temp AS $$BEGIN RETURN OLD; END$$"
    )


def _grant(victim: Victim) -> None:
    victim.connection.execute("GRANT UPDATE ON ledger_entry TO ecp_app")


def _owner(victim: Victim) -> None:
    victim.connection.execute("ALTER TABLE ledger_checkpoint OWNER TO ecp_app")


def _own_first(copy: Copy) -> int:
    return copy.own_first


def _size(copy: Copy) -> int:
    return copy.size


def _tail_at(copy: Copy) -> int:
    return copy.size - 3


def _old_size(copy: Copy) -> int:
    return copy.old_size


def _bypass_at(copy: Copy) -> int:
    return copy.bypass


# A role is the whole cluster's, so no scratch database can stage its change; the tests of the audit do.
TAMPERINGS = (
    Tampering("M1", "a byte of an entry", _other_byte, "leaf_mismatch", "chain_break"),
    Tampering("M2", "a column beside an entry", _column, "projection_mismatch"),
    Tampering("M3", "a leaf hash alone", _leaf_hash, "leaf_mismatch"),
    Tampering("M4", "prev of one entry", _prev, "leaf_mismatch", "chain_break"),
    Tampering("M5", "an entry and its leaf hash", _entry_and_leaf_hash, "chain_break", "chain_break"),
    Tampering("M6", "all entries from one on, hashes too", _suffix, "root_mismatch", "root_mismatch",
              _nowhere, has_range=True),
    Tampering("M7", "an entry deleted in the middle", _delete, "seq_gap", "seq_gap"),
    Tampering("M8", "the last entries deleted", _tail, "truncated", "truncated", _tail_at),
    Tampering("M9", "an entry inserted", _insert, "seq_duplicate", "seq_duplicate"),
    Tampering("M10", "two entries swapped", _swap, "seq_duplicate", "seq_duplicate"),
    Tampering("M11", "a record stored twice", _twice, "duplicate_id", "duplicate_id", _size),
    Tampering("M12", "a position renumbered", _renumber, "seq_gap", "seq_gap"),
    Tampering("M13", "a signature replaced", _signature, "leaf_mismatch", "chain_break"),
    Tampering("M13", "the signer's key swapped", _signer, "leaf_mismatch", "chain_break"),
    Tampering("M14", "a checkpoint altered", _checkpoint_altered, "checkpoint_signature",
              "checkpoint_signature", _nowhere),
    Tampering("M14", "the newest checkpoint deleted", _checkpoint_deleted, "truncated", "", _old_size),
    Tampering("M15", "the head row", _head, "head_mismatch", "", _nowhere),
    Tampering("M16", "a row of the search projection", _search, "projection_mismatch"),
    Tampering("M17", "the row of a bypass removed", _bypass, "projection_mismatch", "", _bypass_at),
    Tampering("M18", "an entry of another log", _other_log, "origin_mismatch", "origin_mismatch"),
    Tampering("M19", "letters decomposed (NFC to NFD)", _decomposed, "leaf_mismatch", "chain_break"),
    Tampering("M20", "a number rewritten (7 to 7.0)", _number, "entry_syntax", "entry_syntax"),
    Tampering("M21", "a registered public key replaced", _registry, "registry_mismatch", "", _own_first),
    Tampering("M21", "the public key in its entry replaced", _key_entry, "leaf_mismatch", "chain_break",
              _own_first),
    Tampering("M22", "the database rolled back to a backup", _rolled_back, "restored_behind_checkpoint",
              "truncated", _nowhere, _old_size, judge="guard"),
    Tampering("M23", "two checkpoints, one size, two roots", _fork, "fork", "fork", _nowhere),
    Tampering("M24", "a flipped bit in a stored entry", _flipped_bit, "leaf_mismatch", "chain_break"),
    Tampering("M25", "a trigger switched off", _trigger, "trigger ledger_entry.ledger_entry_append_only",
              "", _nowhere, judge="audit"),
    Tampering("M25", "a trigger's function emptied", _function, "function public.ledger_append_only()",
              "", _nowhere, judge="audit"),
    Tampering("M25", "a right granted", _grant, "table ledger_entry", "", _nowhere, judge="audit"),
    Tampering("M25", "another owner", _owner, "table ledger_checkpoint", "", _nowhere, judge="audit"),
)  # fmt: skip
NUMBERS = tuple(dict.fromkeys(tampering.number for tampering in TAMPERINGS))
