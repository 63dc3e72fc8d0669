"""`python -m ledger.core.verify`: commands, exit codes, what it needs and what it tells."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.signing import b64url, kid_of, public_from_seed
from ledger.core.export import write_log
from ledger.core.merkle import EMPTY_ROOT, Frontier, inclusion_proof
from ledger.core.note import COSIGNATURE, Checkpoint, Signer, make_vkey, open_checkpoint, sign_checkpoint
from ledger.core.proof import format_proof
from ledger.core.proof import receipt as make_receipt
from ledger.core.sealing import commitment
from ledger.core.tiles import TileReader
from ledger.core.verify.command import FAILED, INCOMPLETE, SOUND, USAGE, main
from tests.ledger.core.sample_log import AGENT_SEED, SampleLog, decision, sample_log
from tests.shared import PROJECT, shared_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unit

WITNESS = Signer("witness.test/w", b"\x03" * 32)


class Place:
    """A folder with everything a stranger would have been handed about one log."""

    def __init__(self, root: Path, log: SampleLog) -> None:
        self.root, self.log = root, log
        self.vkey = log.write_vkey(root / "log.vkey")
        self.export = log.write_export(root / "export.ndjson")
        self.directory = root / "log"
        write_log(self.directory, log.entries, log.notes[-1])
        self.old = self.file("old", log.notes[0])
        self.new = self.file("new", log.notes[-1])
        self.entry = self.file("entry", log.entries[6] + b"\n")
        self.note = log.notes[-1] + WITNESS.cosign(log.notes[-1].partition("\n\n")[0] + "\n", seconds=9)
        reader = TileReader(len(log.entries), lambda _level, _index, _width: b"".join(log.leaves))
        self.proof_text = format_proof(6, inclusion_proof(6, len(log.entries), reader), self.note)
        self.proof = self.file("6.tlog-proof", self.proof_text)
        self.witness = self.file("witness.vkey", make_vkey(WITNESS.name, WITNESS.public_key, COSIGNATURE))

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, sample_log(20, signed=[3], checkpoints=[9]))


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def last(*arguments: object) -> dict[str, Any]:
        run(*arguments, "--json")
        document: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return document

    return last


# --- each command on honest evidence


def test_honest_evidence_is_sound(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    key = ("--vkey", place.vkey)
    for arguments in (
        ("checkpoint", place.new, *key),
        ("receipt", place.proof, "--entry", place.entry, *key),
        ("receipt", place.proof, "--entry", place.entry, *key, "--witness", place.witness, "--quorum", 1),
        ("consistency", place.old, place.new, "--log", place.directory, *key),
        ("export", place.export, *key, "--checkpoint", place.old),
        ("log", place.directory, *key, "--signatures"),
        ("log", place.directory, *key, "--since", place.old),
        ("rebuild", place.export, "--to", place.root / "again", "--diff", place.directory),
    ):
        assert run(*arguments) == SOUND, arguments[0]
        out = capsys.readouterr().out
        assert "SOUND: " in out
        assert place.log.origin in out


def test_json_is_the_whole_report(place: Place, report: Any) -> None:
    document = report("export", place.export, "--vkey", place.vkey)
    assert list(document) == [
        "v", "ok", "origin", "size", "root", "checked", "kind", "kinds", "first_bad_seq", "bad_range",
        "findings", "seconds",
    ]  # fmt: skip
    assert document["checked"] == {"entries": 20, "links": 20, "signatures": 2, "checkpoints": 1, "tiles": 0}


def test_agent_keys_are_taken_as_anchors(place: Place) -> None:
    public_key = public_from_seed(AGENT_SEED)
    good = place.file("keys.json", json.dumps({kid_of(public_key): b64url(public_key)}))
    assert run("export", place.export, "--vkey", place.vkey, "--keys", good) == SOUND
    assert run("export", place.export, "--vkey", place.vkey, "--keys", place.file("none", "{}")) == FAILED


# --- failure


def test_failure_names_place_expected_and_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.export.write_bytes(place.log.export().replace(b"Decision 7.", b"Decision 8."))
    assert run("export", place.export, "--vkey", place.vkey) == FAILED
    out = capsys.readouterr().out
    assert "FAILED: the log does not verify: chain_break, first at position 7." in out
    assert "expected" in out
    assert place.log.leaves[7].hex() in out


def test_checkpoint_of_another_key_fails(place: Place) -> None:
    other = place.file("other.vkey", Signer(place.log.origin, b"\x09" * 32).vkey)
    assert run("checkpoint", place.new, "--vkey", other) == FAILED


@pytest.mark.parametrize("old", [b"Decision 6.", b'"seq":6'])
def test_receipt_for_other_entry_bytes_fails(place: Place, old: bytes) -> None:
    place.file("entry", place.log.entries[6].replace(old, old.replace(b"6", b"5")))
    assert run("receipt", place.proof, "--entry", place.entry, "--vkey", place.vkey) == FAILED


def test_receipt_for_bytes_that_are_no_entry_fails(place: Place) -> None:
    place.file("entry", b"no entry")
    assert run("receipt", place.proof, "--entry", place.entry, "--vkey", place.vkey) == FAILED


def test_receipt_of_another_log_fails(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = SampleLog("ecp.test/log/other")
    for seq in range(20):
        other.append(decision(seq))
    other.checkpoint()
    there = Place(tmp_path_factory.mktemp("other"), other)
    assert run("receipt", there.proof, "--entry", there.entry, "--vkey", place.vkey) == FAILED


def test_missing_witness_is_incomplete_evidence(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("receipt", place.proof, "--entry", place.entry, "--vkey", place.vkey, "--quorum", 1)
    assert run(*arguments) == INCOMPLETE
    assert "INCOMPLETE: 0 of the 1 demanded witnesses" in capsys.readouterr().out


def receipt_document(place: Place, **changes: Any) -> str:
    entry = place.log.entries[6]
    stmt_start = entry.index(b'"stmt":') + 7
    document = make_receipt(
        status="signed",
        log=place.log.origin,
        id="019b0a2c-4e00-7000-8000-000000000006",
        seq=6,
        rcvd="2026-03-02T09:00:00.006000Z",
        leaf_hash=place.log.leaves[6],
        stmt_digest="sha256:" + hashlib.sha256(entry[stmt_start : -len(b',"v":"ecp.entry/1"}')]).hexdigest(),
        checkpoint_size=20,
        tlog_proof=place.proof_text,
        entry_url="/x",
    )
    return json.dumps({**document, **changes})


def test_receipt_document_is_checked_member_by_member(place: Place, report: Any) -> None:
    good = place.file("receipt.json", receipt_document(place))
    arguments = ("--entry", place.entry, "--vkey", place.vkey)
    assert run("receipt", good, *arguments) == SOUND
    for name in ("log", "id", "seq", "rcvd", "leaf_hash", "stmt_digest"):
        bad = place.file("receipt.json", receipt_document(place, **{name: "else"}))
        assert report("receipt", bad, *arguments)["kind"] == "leaf_mismatch"


def test_receipt_names_the_size_of_its_own_checkpoint(place: Place, report: Any) -> None:
    bad = place.file("receipt.json", receipt_document(place, checkpoint_size=21))
    document = report("receipt", bad, "--entry", place.entry, "--vkey", place.vkey)
    assert (document["kind"], document["first_bad_seq"]) == ("root_mismatch", 6)


def unsigned_receipt(place: Place, **changes: Any) -> Path:
    document = json.loads(receipt_document(place, status="logged", **changes))
    del document["tlog_proof"], document["checkpoint_size"]
    return place.file("receipt.json", json.dumps(document))


def test_receipt_from_before_signing_is_incomplete_evidence(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--entry", place.entry, "--vkey", place.vkey)
    assert run("receipt", unsigned_receipt(place), *arguments) == INCOMPLETE
    assert "INCOMPLETE: the receipt holds no proof" in capsys.readouterr().out
    assert run("receipt", unsigned_receipt(place, leaf_hash="else"), *arguments) == FAILED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tlog_proof":7}', "[" * 100_000])
def test_text_that_is_no_receipt_fails(place: Place, text: str) -> None:
    bad = place.file("receipt.json", text)
    assert run("receipt", bad, "--entry", place.entry, "--vkey", place.vkey) == FAILED


# --- consistency


def test_growth_without_a_key_is_incomplete(place: Place) -> None:
    assert run("consistency", place.old, place.new, "--log", place.directory) == INCOMPLETE


@pytest.mark.parametrize(
    ("size", "kind"), [(9, "root_mismatch"), (20, "fork"), (30, "truncated"), (0, "root_mismatch")]
)
def test_checkpoint_that_is_not_on_the_way_is_found(place: Place, report: Any, size: int, kind: str) -> None:
    forged = place.file(
        "forged", sign_checkpoint(Checkpoint(place.log.origin, size, bytes(32)), place.log.signer)
    )
    arguments = ("consistency", forged, place.new, "--log", place.directory, "--vkey", place.vkey)
    assert report(*arguments)["kind"] == kind


def test_growth_from_the_empty_log_needs_no_proof(place: Place) -> None:
    empty = SampleLog()
    old = place.file("empty", empty.checkpoint())
    assert run("consistency", old, place.new, "--log", place.directory, "--vkey", place.vkey) == SOUND


def test_checkpoints_of_two_logs_are_not_compared(place: Place, report: Any) -> None:
    other = SampleLog("ecp.test/log/other")
    old = place.file("other", other.checkpoint())
    assert report("consistency", old, place.new, "--log", place.directory)["kind"] == "origin_mismatch"
    bad = place.file("bad", "bad")
    assert report("consistency", bad, place.new, "--log", place.directory)["kind"] == "checkpoint_signature"


# --- lists


def listed(place: Place, positions: list[int], **changes: Any) -> Path:
    lines = b"".join(place.log.entries[position] + b"\n" for position in positions)
    then = open_checkpoint(place.log.notes[0], place.log.verifier)
    manifest = {
        "as_of": {"log": place.log.origin, "root": then.root.hex(), "size": then.size},
        "bytes": len(lines),
        "checkpoint": place.log.notes[0],
        "count": len(positions),
        "log": place.log.origin,
        "sha256": hashlib.sha256(lines).hexdigest(),
        "v": "ecp.list/1",
        **changes,
    }
    return place.file("list.ndjson", lines + encode(manifest) + b"\n")


def test_filtered_list_is_sound(place: Place) -> None:
    arguments = ("--log", place.directory, "--vkey", place.vkey)
    assert run("list", listed(place, [1, 3, 8]), *arguments) == SOUND
    assert run("list", listed(place, []), *arguments) == SOUND


@pytest.mark.parametrize(
    ("positions", "changes", "kind"),
    [
        ([3, 1], {}, "seq_duplicate"),
        ([3, 3], {}, "seq_duplicate"),
        ([1], {"count": 2}, "truncated"),
        ([1], {"bytes": 2}, "truncated"),
        ([1], {"sha256": "0" * 64}, "entry_syntax"),
        ([1], {"log": "else"}, "origin_mismatch"),
        ([1], {"v": "ecp.list/2"}, "truncated"),
        ([1], {"checkpoint": "else"}, "checkpoint_signature"),
        ([1], {"as_of": None}, "root_mismatch"),
        ([1], {"as_of": {"root": "00", "size": 9}}, "root_mismatch"),
        ([1], {"as_of": {"root": "00", "size": -1}}, "root_mismatch"),
        ([1], {"as_of": {"root": "00", "size": "9"}}, "root_mismatch"),
    ],
)
def test_list_that_does_not_fit_is_found(
    place: Place, report: Any, positions: list[int], changes: dict[str, Any], kind: str
) -> None:
    path = listed(place, positions, **changes)
    assert report("list", path, "--log", place.directory, "--vkey", place.vkey)["kind"] == kind


def as_of(place: Place, size: int) -> dict[str, Any]:
    frontier = Frontier()
    for leaf in place.log.leaves[:size]:
        frontier.append(leaf)
    return {"log": place.log.origin, "root": frontier.root().hex(), "size": size}


def test_list_put_to_a_tree_between_two_checkpoints_is_sound(place: Place, report: Any) -> None:
    arguments = ("--log", place.directory, "--vkey", place.vkey)
    for size in range(4, len(place.log.entries) + 1):
        path = listed(place, [1, 3], as_of=as_of(place, size), checkpoint=place.log.notes[-1])
        assert report("list", path, *arguments)["findings"] == []


def test_list_put_to_a_tree_that_its_checkpoint_does_not_cover_is_found(place: Place, report: Any) -> None:
    size = open_checkpoint(place.log.notes[0], place.log.verifier).size + 1
    path = listed(place, [1], as_of=as_of(place, size))
    document = report("list", path, "--log", place.directory, "--vkey", place.vkey)
    assert document["kind"] == "root_mismatch"


def test_list_with_an_entry_beyond_its_tree_is_found(place: Place, report: Any) -> None:
    path = listed(place, [1, 3], as_of=as_of(place, 3))
    document = report("list", path, "--log", place.directory, "--vkey", place.vkey)
    assert (document["kind"], document["first_bad_seq"]) == ("truncated", 3)


def test_list_put_to_an_empty_log_is_sound(place: Place, report: Any) -> None:
    nothing = sign_checkpoint(Checkpoint(place.log.origin, 0, EMPTY_ROOT), place.log.signer)
    path = listed(place, [], as_of=as_of(place, 0), checkpoint=nothing)
    arguments = ("--log", place.directory, "--vkey", place.vkey)
    assert report("list", path, *arguments)["findings"] == []
    other = sign_checkpoint(Checkpoint(place.log.origin, 0, bytes(32)), place.log.signer)
    path = listed(place, [], as_of=as_of(place, 0), checkpoint=other)
    assert report("list", path, *arguments)["kind"] == "root_mismatch"


def test_line_that_is_not_the_logs_own_is_found(place: Place, report: Any) -> None:
    place.log.entries[3] = place.log.entries[3].replace(b"Decision 3.", b"Decision 4.")
    path = listed(place, [1, 3])
    document = report("list", path, "--log", place.directory, "--vkey", place.vkey)
    assert (document["kind"], document["first_bad_seq"]) == ("leaf_mismatch", 3)


def test_list_beyond_the_log_is_found(place: Place, report: Any) -> None:
    longer = sample_log(30)
    path = place.file("list.ndjson", longer.entries[25] + b"\n")
    document = report("list", path, "--log", place.directory, "--vkey", place.vkey)
    assert (document["kind"], document["first_bad_seq"]) == ("truncated", 25)


def test_list_with_a_line_that_is_no_entry_is_found(place: Place, report: Any) -> None:
    path = place.file("list.ndjson", b'{"log":1}\n')
    assert report("list", path, "--log", place.directory, "--vkey", place.vkey)["kinds"] == [
        "entry_syntax",
        "truncated",
    ]


def test_list_under_a_checkpoint_that_the_log_does_not_continue_is_found(place: Place, report: Any) -> None:
    for size, kind in ((9, "root_mismatch"), (40, "truncated")):
        forged = sign_checkpoint(Checkpoint(place.log.origin, size, bytes(32)), place.log.signer)
        path = listed(place, [1], checkpoint=forged, as_of={"root": "00" * 32, "size": size})
        assert report("list", path, "--log", place.directory, "--vkey", place.vkey)["kind"] == kind


# --- openings


def sealed_entry(place: Place) -> Path:
    ptr, uid = "/context/amount", "019b0a2c-4e00-7000-8000-000000000000"
    log = SampleLog()
    log.append(decision(0, sealed=[{"c": commitment(b"\x11" * 32, uid, ptr, b"349.99"), "ptr": ptr}]))
    return place.file("sealed", log.entries[0])


@pytest.mark.parametrize("r", ["11" * 32, b64url(b"\x11" * 32)])
@pytest.mark.parametrize("value", [{"value": 349.99}, {"value_jcs": "349.99"}])
def test_disclosed_value_opens_its_commitment(place: Place, r: str, value: dict[str, Any]) -> None:
    part = place.file("part", json.dumps({"ptr": "/context/amount", "r": r, **value}))
    assert run("opening", "--entry", sealed_entry(place), "--part", part) == SOUND


@pytest.mark.parametrize(
    "part",
    [
        {"ptr": "/context/amount", "r": "11" * 32, "value": 350},
        {"ptr": "/context/other", "r": "11" * 32, "value": 349.99},
        {"ptr": "/context/amount", "r": "22" * 32, "value": 349.99},
        {"ptr": "/context/amount", "r": "11", "value": 349.99},
        {"ptr": "/context/amount", "value": 349.99},
        {"ptr": "/context/amöunt", "r": "11" * 32, "value": 349.99},
        {"ptr": 7, "r": 7, "value": None},
        [],
    ],
)
def test_other_values_do_not_open_it(place: Place, part: Any) -> None:
    path = place.file("part", json.dumps(part))
    assert run("opening", "--entry", sealed_entry(place), "--part", path) == FAILED


def test_golden_parts_open(place: Place) -> None:
    golden = shared_path("vectors/ledger/golden")
    entry = place.file("golden", (golden / "entries.ndjson").read_bytes().split(b"\n")[2])
    for part in json.loads((golden / "sealed.json").read_text())["parts"]:
        assert run("opening", "--entry", entry, "--part", place.file("part", json.dumps(part))) == SOUND


# --- usage


def test_unreadable_input_is_not_a_failed_verification(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = place.root / "empty"
    empty.mkdir()
    for arguments in (
        ("checkpoint", place.root / "absent", "--vkey", place.vkey),
        ("checkpoint", place.new, "--vkey", place.file("no.vkey", "nothing")),
        ("checkpoint", place.file("latin", b"\xff"), "--vkey", place.vkey),
        ("log", place.root / "absent", "--vkey", place.vkey),
        ("log", empty, "--vkey", place.vkey),
        ("export", place.export, "--vkey", place.vkey, "--keys", place.file("keys", "[]")),
        ("export", place.export, "--vkey", place.vkey, "--keys", place.file("keys", '{"x":"AAAA"}')),
        ("opening", "--entry", place.file("bad", "bad"), "--part", place.new),
    ):
        assert run(*arguments) == USAGE, arguments
        assert capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["checkpoint"], ["export", "x"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == USAGE
    assert "usage:" in capsys.readouterr().err


def test_long_work_shows_how_far_it_is_where_somebody_watches(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run("log", place.directory, "--vkey", place.vkey) == SOUND
    assert "20 of 20 entries" in capsys.readouterr().err


# --- a log behind an address


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., SimpleHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def address(place: Place) -> Iterator[str]:
    with serving(partial(Quiet, directory=str(place.directory))) as where:
        yield where


def test_log_behind_an_address_verifies(place: Place, address: str) -> None:
    assert run("log", address, "--vkey", place.vkey, "--signatures") == SOUND
    (place.directory / "tile/entries/000.p/20").unlink()
    assert run("log", address, "--vkey", place.vkey) == FAILED


class Packed(SimpleHTTPRequestHandler):
    """Serves everything compressed, `torn` or `broken` as its class says."""

    torn = False
    broken = False

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        self.send_response(500 if self.broken else 200)
        data = gzip.compress(path.read_bytes())
        body = data[:-9] if self.torn and "entries" in self.path else data
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize(
    ("members", "outcome"), [({}, SOUND), ({"torn": True}, FAILED), ({"broken": True}, USAGE)]
)
def test_compressed_answers_are_unpacked(place: Place, members: dict[str, bool], outcome: int) -> None:
    handler = partial(type("Handler", (Packed,), members), directory=str(place.directory))
    with serving(handler) as address:
        assert run("log", address, "--vkey", place.vkey) == outcome


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Serve these bytes to whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


GZIP = b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["foreign", "long", "torn"],
)
def test_answer_that_is_not_http_is_unreadable(place: Place, answer: bytes) -> None:
    with answering(answer) as address:
        assert run("log", address, "--vkey", place.vkey) == USAGE


@pytest.mark.parametrize(
    "packed",
    [b"no gzip", gzip.compress(b"a" * 99)[:15], gzip.compress(b"a")[:10] + b"\7"],
    ids=["foreign", "cut", "broken"],
)
@pytest.mark.parametrize("command", ["log", "list"])
def test_checkpoint_that_cannot_be_unpacked_fails(place: Place, packed: bytes, command: str) -> None:
    with answering(GZIP + packed) as address:
        arguments = {"log": (address,), "list": (listed(place, [1]), "--log", address)}[command]
        assert run(command, *arguments, "--vkey", place.vkey) == FAILED


@pytest.mark.parametrize("address", ["http://[::1", "http://a b/", "http://127.0.0.1:port/"])
def test_address_that_cannot_be_is_unreadable(place: Place, address: str) -> None:
    assert run("log", address, "--vkey", place.vkey) == USAGE


def test_address_without_a_log_is_unreadable(place: Place, address: str) -> None:
    assert run("log", address + "nothing", "--vkey", place.vkey) == USAGE


# --- what it needs

WITHOUT_OTHERS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        allowed = sys.stdlib_module_names | {"cryptography", "_cffi_backend", "cffi", "ledger", "ecp_project"}
        if name.partition(".")[0] not in allowed:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from ledger.core.verify.command import main
code = main(sys.argv[1:])
foreign = {name.partition(".")[0] for name in sys.modules} & {"django", "orjson", "rfc8785", "psycopg"}
sys.exit(code or bool(foreign))
"""


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_module_runs_as_a_command(place: Place) -> None:
    done = python("-m", "ledger.core.verify", "log", place.directory, "--vkey", place.vkey)
    assert (done.returncode, done.stderr) == (SOUND, "")


def test_import_loads_no_django() -> None:
    code = "import sys, ledger.core.verify, ledger.core.verify.command; sys.exit('django' in sys.modules)"
    assert python("-c", code).returncode == 0


@pytest.mark.parametrize("command", ["export", "log", "receipt"])
def test_verifier_runs_with_cryptography_alone(place: Place, command: str) -> None:
    target = {"export": place.export, "log": place.directory, "receipt": place.proof}[command]
    more = ["--entry", place.entry] if command == "receipt" else []
    done = python("-c", WITHOUT_OTHERS, command, target, "--vkey", place.vkey, *more)
    assert done.returncode == SOUND, done.stderr
