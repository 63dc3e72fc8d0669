"""No stored byte is signed unread: what changes before the signature stops the log (LEDGER section 10)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from psycopg.errors import DataCorrupted

from ecp_project.kernel.canonical import encode
from ledger.checkpointer import BYTES_SQL, HighWaterMark, ReadbackMismatch
from ledger.core.entry import parse_entry, splice
from ledger.core.merkle import leaf_hash
from ledger.core.note import Checkpoint
from ledger.services.tampering.kinds import BASE
from ledger.services.tampering.scratch import (
    INSERT_SQL,
    checkpointer,
    clone,
    copied_log,
    lift_guards,
    row_of,
    scratch_copy,
    standing_in,
    superuser_connect,
)
from ledger.services.verification import verify_log
from tests.databases import TEMPLATE
from tests.ledger.core.sample_log import ORIGIN, START, decision, sample_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoDbBlocker

    from ledger.services.tampering.scratch import Copy
    from tests.databases import Cluster

    Spoil = Callable[[psycopg.Connection[Any], int], None]

pytestmark = pytest.mark.db

BEHIND = 3  # entries behind the newest checkpoint


def next_entries(last: bytes, count: int) -> Iterator[bytes]:
    """Sound entries behind `last`."""
    entry = parse_entry(last)
    for seq in range(entry.seq + 1, entry.seq + 1 + count):
        stmt = encode(decision(100 + seq))
        raw = splice(origin=entry.log, prev=leaf_hash(last), rcvd=entry.rcvd, seq=seq, sigs=b"[]", stmt=stmt)
        last = raw
        yield raw


def append(connection: psycopg.Connection[Any], first: int, count: int) -> None:
    """As the sequencer does it, with every trigger in place."""
    entries = list(next_entries(entry_at(connection, BASE + first - 1), count))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(INSERT_SQL, [row_of(raw) for raw in entries])
        cursor.execute("UPDATE ledger_head SET size = size + %s, tip = %s", (count, leaf_hash(entries[-1])))


@pytest.fixture(autouse=True)
def _open_database(database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    del database_name
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def copy(database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Copy]:
    """A signed log with three entries more."""
    del database_name  # it made the template
    with (
        django_db_blocker.unblock(),
        scratch_copy(origin=ORIGIN, entries=sample_log(5).entries, now=START, template=TEMPLATE) as made,
    ):
        with superuser_connect(made.database) as connection:
            append(connection, made.size, BEHIND)
        yield made


@pytest.fixture
def grown(copy: Copy) -> Iterator[str]:
    """A clone of it, and its sink and high-water mark as they were afterwards."""
    kept = {file: file.read_bytes() for file in copy.folder.iterdir()}
    with clone(copy) as database:
        yield database
    for file, content in kept.items():
        file.write_bytes(content)


def entry_at(connection: psycopg.Connection[Any], entry_id: int) -> bytes:
    row = connection.execute("SELECT entry FROM ledger_entry WHERE id = %s", (entry_id,)).fetchone()
    assert row is not None
    return bytes(row[0])


def put(connection: psycopg.Connection[Any], entry_id: int, raw: bytes, *, with_hash: bool = False) -> None:
    assert raw != entry_at(connection, entry_id)
    row = connection.execute("SELECT leaf_hash FROM ledger_entry WHERE id = %s", (entry_id,)).fetchone()
    assert row is not None
    leaf = leaf_hash(raw) if with_hash else row[0]
    connection.execute(
        "UPDATE ledger_entry SET entry = %s, leaf_hash = %s WHERE id = %s", (raw, leaf, entry_id)
    )


def flip_a_bit(connection: psycopg.Connection[Any], entry_id: int) -> None:
    raw = bytearray(entry_at(connection, entry_id))
    raw[raw.index(b"Decision")] ^= 1
    put(connection, entry_id, bytes(raw))


def change(old: bytes, new: bytes, *, with_hash: bool = True) -> Spoil:
    def spoil(connection: psycopg.Connection[Any], entry_id: int) -> None:
        put(connection, entry_id, entry_at(connection, entry_id).replace(old, new, 1), with_hash=with_hash)

    return spoil


def change_prev(connection: psycopg.Connection[Any], entry_id: int) -> None:
    raw = entry_at(connection, entry_id)
    prev = parse_entry(raw).prev.hex().encode()
    put(connection, entry_id, raw.replace(prev, prev[::-1], 1), with_hash=True)


def statement(text: str) -> Spoil:
    def spoil(connection: psycopg.Connection[Any], entry_id: int) -> None:
        assert connection.execute(text, (entry_id,)).rowcount == 1

    return spoil


SPOILED: dict[str, tuple[Spoil, str]] = {
    "a bit of the bytes": (flip_a_bit, "leaf hash and bytes differ"),
    "the leaf hash": (
        statement("UPDATE ledger_entry SET leaf_hash = sha256('x') WHERE id = %s"),
        "leaf hash and bytes differ",
    ),
    "bytes that are no entry": (change(b'{"log"', b'{"lag"'), "the envelope is not that of an entry"),
    "another position": (change(b'"seq":22,', b'"seq":23,'), "another log or position"),
    "another log": (change(b"/log/sample", b"/log/simple"), "another log or position"),
    "another predecessor": (change_prev, "prev is not the leaf hash before it"),
    "a time before the last": (change(b'"rcvd":"20', b'"rcvd":"19'), "rcvd runs backwards"),
    "another statement id": (
        statement("UPDATE ledger_entry SET uid = gen_random_uuid() WHERE id = %s"),
        "a column differs",
    ),
    "another agent beside it": (
        statement("UPDATE ledger_entry SET agent = 'somebody' WHERE id = %s"),
        "a column differs",
    ),
    "another time beside it": (
        statement("UPDATE ledger_entry SET rcvd = rcvd + interval '1 us' WHERE id = %s"),
        "a column differs",
    ),
    "late beside it": (statement("UPDATE ledger_entry SET late = true WHERE id = %s"), "a column differs"),
    "a decision without its agent": (change(b'"agent":"bot.a",', b""), "lacks a member of its kind"),
    "nothing at all": (statement("DELETE FROM ledger_entry WHERE id = %s"), "another log or position"),
}


def sizes_signed(copy: Copy, database: str) -> tuple[list[int], list[int]]:
    """Sizes of the checkpoints in the database, and of those in the sink."""
    with superuser_connect(database) as connection:
        rows = connection.execute("SELECT size FROM ledger_checkpoint ORDER BY size").fetchall()
    lines = copy.anchors.read_text(encoding="utf-8").splitlines()
    return [size for (size,) in rows], [json.loads(line)["size"] for line in lines]


def assert_refused(copy: Copy, database: str, sentence: str) -> ReadbackMismatch:
    """Nothing new is signed or published, the log is halted and says why, and so it stays."""
    before = sizes_signed(copy, database)
    counted = REGISTRY.get_sample_value("ecp_ledger_readback_mismatch_total") or 0
    with checkpointer(copy, database) as process:
        with pytest.raises(ReadbackMismatch, match=sentence) as refused:
            process.turn()
        assert REGISTRY.get_sample_value("ecp_ledger_readback_mismatch_total") == counted + 1
        with superuser_connect(database) as connection:
            state = connection.execute("SELECT mode, verdict FROM ledger_log, ledger_guard").fetchone()
        assert state == ("halt", "readback_mismatch")
    with checkpointer(copy, database) as process, pytest.raises(ReadbackMismatch):
        process.turn()  # as after a restart by the supervisor
    assert sizes_signed(copy, database) == before
    return refused.value


def test_sound_entries_are_signed(copy: Copy, grown: str) -> None:
    """The refusals below mean something only if the same entries, unspoiled, are signed."""
    with checkpointer(copy, grown) as process:
        assert process.turn() == 1
    sizes = [copy.old_size, copy.size, copy.size + BEHIND]
    assert sizes_signed(copy, grown) == (sizes, sizes)


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED.values(), ids=SPOILED)
def test_what_was_changed_before_the_reading_is_not_signed(
    copy: Copy, grown: str, spoil: Spoil, sentence: str
) -> None:
    bad = copy.size + 1
    with superuser_connect(grown) as superuser, superuser.transaction():
        lift_guards(superuser)
        spoil(superuser, BASE + bad)
    assert assert_refused(copy, grown, sentence).seq == bad


class Meanwhile(psycopg.Cursor[Any]):
    """A cursor before whose second reading of the entries something happens."""

    happens: ClassVar[Callable[[], None]]

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        if query == BYTES_SQL:
            Meanwhile.happens()
        return super().execute(query, *args, **kwargs)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (flip_a_bit, "leaf hash differs on the second reading"),
        (change(b"Decision", b"Revision"), "the root differs on the second reading"),
        (statement("DELETE FROM ledger_entry WHERE id = %s"), "the root differs on the second reading"),
    ],
    ids=["a bit", "bytes and hash", "deleted"],
)
def test_what_changes_between_the_readings_is_not_signed(
    copy: Copy, grown: str, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, sentence: str
) -> None:
    def happens() -> None:
        with superuser_connect(grown) as superuser, superuser.transaction():
            # Constraints stay, so that no lock waits for the reader: the bytes are changed beneath them.
            superuser.execute("SET LOCAL ecp.migration = 'tampering'")
            superuser.execute("SET LOCAL session_replication_role = replica")
            spoil(superuser, BASE + copy.size + 1)

    with superuser_connect(grown) as superuser, superuser.transaction():
        lift_guards(superuser)
    monkeypatch.setattr(Meanwhile, "happens", happens, raising=False)
    before = sizes_signed(copy, grown)
    with checkpointer(copy, grown) as process:
        process._live_connection().cursor_factory = Meanwhile
        with pytest.raises(ReadbackMismatch, match=sentence):
            process.turn()
    assert sizes_signed(copy, grown) == before


def test_stored_tile_that_differs_is_not_signed_and_not_replaced(copy: Copy, grown: str) -> None:
    with superuser_connect(grown) as superuser:
        append(superuser, copy.size + BEHIND, 256)
        superuser.execute(
            "INSERT INTO ledger_tile (log_id, level, idx, data, root) VALUES (1, 0, 0, %s, sha256('x'))",
            (bytes(8192),),
        )
        assert_refused(copy, grown, "tile 0/0 differs")
        found = superuser.execute("SELECT data FROM ledger_tile").fetchall()
    assert [bytes(data) for (data,) in found] == [bytes(8192)]


def test_tiles_of_a_refused_round_do_not_stay(copy: Copy, grown: str) -> None:
    with superuser_connect(grown) as superuser:
        append(superuser, copy.size + BEHIND, 256)
        with superuser.transaction():
            lift_guards(superuser)
            flip_a_bit(superuser, BASE + copy.size + BEHIND + 250)
        assert_refused(copy, grown, "leaf hash and bytes differ")
        assert superuser.execute("SELECT count(*) FROM ledger_tile").fetchone() == (0,)


@pytest.mark.parametrize(("more", "root"), [(0, bytes(32)), (1, bytes(32))], ids=["another root", "smaller"])
def test_key_signs_no_fork_and_no_smaller_size(copy: Copy, grown: str, more: int, root: bytes) -> None:
    mark = HighWaterMark(copy.folder / "high-water.json")
    mark.raise_to(copy.origin, Checkpoint(copy.origin, copy.size + BEHIND + more, root))
    assert_refused(copy, grown, "the key has signed size")


# --- a real bit on the disk (M24)


@pytest.fixture
def flipped(copy: Copy, grown: str, cluster: Cluster) -> Iterator[str]:
    """A database whose file has one bit flipped beneath PostgreSQL, in an entry that is not signed yet."""
    name = f"{grown}_disk"
    with cluster.connect() as admin, cluster.connect(grown) as source:
        query = "SELECT pg_relation_filepath('ledger_entry'), current_setting('data_directory')"
        relation, folder = source.execute(query).fetchone() or ("", "")
        source.close()
        if not os.access(folder, os.W_OK):
            pytest.skip("the files of this database server are out of reach")
        names = sql.Identifier(name), sql.Identifier(grown)
        # The files are copied as files, so no page of the new database is in memory yet.
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER ecp_owner").format(*names)
        )
        try:
            oid = admin.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone()
            assert oid is not None
            flip_on_disk(Path(folder) / "base" / str(oid[0]) / Path(relation).name, copy.size + 1)
            yield name
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))


def flip_on_disk(file: Path, seq: int) -> None:
    text = f"Decision {100 + seq}.".encode()
    pages = bytearray(file.read_bytes())
    assert pages.count(text) == 1
    pages[pages.index(text)] ^= 1
    file.write_bytes(pages)


def checksums_are_on(cluster: Cluster) -> bool:
    with cluster.connect() as admin:
        return admin.execute("SHOW data_checksums").fetchone() == ("on",)


def test_flipped_bit_on_disk_meets_the_checksum_first(copy: Copy, flipped: str, cluster: Cluster) -> None:
    if not checksums_are_on(cluster):
        pytest.skip("this database server has no data checksums")
    before = sizes_signed(copy, flipped)
    with checkpointer(copy, flipped) as process, pytest.raises(DataCorrupted, match="invalid page"):
        process.turn()
    assert sizes_signed(copy, flipped) == before


def test_flipped_bit_on_disk_without_a_checksum_is_found_and_not_signed(copy: Copy, flipped: str) -> None:
    with superuser_connect("postgres") as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET ignore_checksum_failure = on").format(sql.Identifier(flipped))
        )
    assert assert_refused(copy, flipped, "leaf hash and bytes differ").seq == copy.size + 1
    with standing_in(flipped, copy.keys):
        report = verify_log(log=copied_log())
    assert (report.kind, report.first_bad_seq) == ("leaf_mismatch", copy.size + 1)
