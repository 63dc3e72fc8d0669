"""Checkpoints kept elsewhere: files, and addresses that are honest, slow, dead, or lie."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.management import CommandError, call_command
from prometheus_client import REGISTRY

from ecp_project.api.outbound import GuardedTransport
from ecp_project.kernel.clock import utc_now
from ledger import checkpointer as checkpointers
from ledger import modes, sequencer
from ledger.checkpointer import Checkpointer, HighWaterMark
from ledger.core.note import Checkpoint as SignedSize
from ledger.core.note import sign_checkpoint
from ledger.keys import signer
from ledger.models import Checkpoint, Guard, Log
from ledger.sinks import Courier, FileSink, HttpsSink, anchor_of, sinks_of, wait_for_one
from tests.ledger.test_append import decision, post
from tests.running_ledger import SEED
from tests.security.peers import Peer, certificate, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.test import Client

    from ledger.sinks import Sink
    from tests.people import People

NAME = "anchors.acme-pay.com"


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Shelf:
    """An address that keeps checkpoints, as somebody else would build it; it can be out of order."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.statuses: list[int] = []  # answers to come instead of the right ones
        self.delay_s = 0.0
        self.tamper: Callable[[dict[str, Any]], Any] = lambda line: line

    def speak(self, connection: socket.socket, peer: Peer) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        head, _, body = data.partition(b"\r\n\r\n")
        peer.requests.append(head)
        time.sleep(self.delay_s)
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        if self.statuses:
            self.answer(connection, self.statuses.pop(0), b"")
        elif method == "POST":
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65_536)
            self.lines.append(json.loads(body))
            self.answer(connection, 201, b"")
        else:
            (origin,) = parse_qs(urlsplit(target).query)["origin"]
            mine = [line for line in self.lines if line["origin"] == origin]
            newest = max(mine, key=lambda line: int(line["size"]), default=None)
            told = b"" if newest is None else json.dumps(self.tamper(newest)).encode()
            self.answer(connection, 404 if newest is None else 200, told)

    @staticmethod
    def answer(connection: socket.socket, status: int, body: bytes) -> None:
        connection.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.fixture
def people(people: People, checkpointer: Checkpointer) -> People:
    """The checkpointer of the fixture gives its place to those of this file."""
    checkpointer.close()
    return people


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def address(shelf: Shelf) -> Iterator[str]:
    with listening(shelf.speak) as peer:
        yield f"http://127.0.0.1:{peer.port}/checkpoints"


@contextmanager
def signing(tmp_path: Path, *sinks: Sink) -> Iterator[Checkpointer]:
    made = Checkpointer(
        connect=lambda: sequencer.connect("checkpointer"),
        signer=lambda origin: signer(SEED, origin),
        sinks=sinks,
        high_water=HighWaterMark(tmp_path / "far" / "high-water.json"),
        clock=utc_now,
    )
    (tmp_path / "far").mkdir(exist_ok=True)
    try:
        yield made
    finally:
        made.stop()


def failures(sink: Sink) -> float:
    name = "ecp_ledger_checkpoint_publish_failures_total"
    return REGISTRY.get_sample_value(name, {"sink": sink.name}) or 0.0


def signed_size(people: People) -> int:
    newest = Checkpoint.objects.filter(log=people.log).order_by("-size").first()
    return newest.size if newest else 0


def line_of(origin: str, size: int, root: bytes, **changed: Any) -> dict[str, Any]:
    note = sign_checkpoint(SignedSize(origin, size, root), signer(SEED, origin))
    line = {"origin": origin, "size": size, "root": root.hex(), "note": note, "at": "now"}
    return line | {"system_identifier": 1, "timeline": 1} | changed


# --- names
@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("s3://bucket/key", "is no sink"),
        ("file:", "is no sink"),
        ("", "is no sink"),
        ("https://127.0.0.1/x", "is refused"),
        ("https://anchors.internal/x", "is refused"),
        ("https://user:secret@anchors.example.com/x", "is refused"),
        ("https://anchors.acme-pay.com:8443/x", "is refused"),
    ],
)
def test_name_that_is_no_sink(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        list(sinks_of([name]))


@pytest.mark.unit
def test_plain_http_goes_to_this_machine_only_and_only_where_that_is_allowed(settings: Any) -> None:
    (near, far) = sinks_of(["file:/var/lib/ecp/c.ndjson", "http://127.0.0.1:9999/x"])
    assert (near.name, near.is_far, far.name, far.is_far) == ("file:c.ndjson", False, "https:127.0.0.1", True)
    with pytest.raises(ValueError, match="is refused"):
        list(sinks_of(["http://anchors.acme-pay.com/x"]))
    settings.ECP_OUTBOUND_LOOPBACK = False
    with pytest.raises(ValueError, match="is refused"):
        list(sinks_of(["http://127.0.0.1:9999/x"]))


@pytest.mark.db
@pytest.mark.usefixtures("people")
def test_checkpointer_does_not_start_with_a_sink_that_is_none(settings: Any) -> None:
    settings.ECP_CHECKPOINT_SINKS = ["ftp://somewhere/x"]
    with pytest.raises(CommandError, match="ftp://somewhere/x is no sink"):
        call_command("ledger_checkpointer", "--once")


# --- files
@pytest.mark.unit
def test_file_survives_torn_and_foreign_lines(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "c.ndjson"
    sink, origin = FileSink(file), "ecp.local/log/acme"
    assert sink.newest(origin) is None
    sink.publish(line_of(origin, 3, bytes(32)))
    with file.open("ab") as stream:
        stream.write(b'[1]\n"x"\n{"origin": "ecp.local/log/acme", "size": "many"}\n{"origin": "ecp.loc')
    sink.publish(line_of(origin, 5, bytes([1]) * 32))
    sink.publish(line_of("ecp.local/log/other", 9, bytes([2]) * 32))
    assert sink.newest(origin) == (5, bytes([1]) * 32, 1, 1)
    assert anchor_of(None, origin) is None
    assert file.read_bytes().count(b"\n") == 7


# --- addresses, honest ones
@pytest.mark.db
def test_far_sink_gets_every_growth_and_is_an_anchor(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    far = HttpsSink(address)
    with signing(tmp_path, FileSink(tmp_path / "near.ndjson"), far) as checkpointer:
        for _ in range(3):
            post(client, people, decision())
            checkpointer.turn()
        until(lambda: any(line["size"] == 3 for line in shelf.lines))
    newest = max(shelf.lines, key=lambda line: int(line["size"]))
    stored = Checkpoint.objects.get(log=people.log, size=3)
    assert (newest["origin"], newest["root"]) == (people.log.origin, bytes(stored.root).hex())
    assert newest["note"] == stored.note
    anchor = far.newest(people.log.origin)
    assert anchor is not None
    assert (anchor.size, anchor.root) == (3, bytes(stored.root))
    assert far.newest(people.other_log.origin) is None


@pytest.mark.db
def test_over_tls_the_certificate_must_fit_the_name(people: People, tmp_path: Path, shelf: Shelf) -> None:
    server, trust = certificate(tmp_path, NAME)
    _, distrust = certificate(tmp_path, "other.acme-pay.com")
    with listening(shelf.speak, tls=server) as peer:

        def over(context: Any) -> HttpsSink:
            transport = GuardedTransport(
                resolver=lambda _host, _port: ["127.0.0.1"],
                allowed_networks=(ip_network("127.0.0.0/8"),),
                allowed_ports={peer.port},
                ssl_context=context,
            )
            client = lambda: httpx.Client(transport=transport, trust_env=False)  # noqa: E731 - a factory in place
            return HttpsSink(f"https://{NAME}:{peer.port}/checkpoints?tenant=acme", client)

        line = line_of(people.log.origin, 1, bytes(32))
        with pytest.raises(OSError, match=NAME):
            over(distrust).publish(line)
        sink = over(trust)
        sink.publish(line)
        assert sink.newest(people.log.origin) == (1, bytes(32), 1, 1)
    assert shelf.lines == [line]
    assert b"GET /checkpoints?tenant=acme&origin=ecp.local%2Flog%2Facme" in peer.requests[-1]


@pytest.mark.db
def test_only_sink_being_far_publishing_waits_for_it(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    with signing(tmp_path, HttpsSink(address)) as checkpointer:
        post(client, people, decision())
        assert checkpointer.turn() == 1
        assert [line["size"] for line in shelf.lines] == [1]
        assert signed_size(people) == 1


# --- slow, failing, dead
@pytest.mark.db
def test_slow_sink_holds_up_neither_appends_nor_checkpoints(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    near, far = FileSink(tmp_path / "near.ndjson"), HttpsSink(address)
    with signing(tmp_path, near, far) as checkpointer:
        checkpointer.turn()
        shelf.delay_s = 1.5
        for size in range(1, 4):
            started = time.monotonic()
            assert post(client, people, decision()).status_code == 201
            checkpointer.turn()
            assert time.monotonic() - started < 1
            assert signed_size(people) == size
        shelf.delay_s = 0
        # What was overtaken is not sent: the newest checkpoint says all that the older ones did.
        until(lambda: shelf.lines and shelf.lines[-1]["size"] == 3)
        assert len(shelf.lines) < 3


@pytest.mark.db
def test_failed_delivery_is_counted_and_tried_again(people: People, shelf: Shelf, address: str) -> None:
    sink = HttpsSink(address)
    before = failures(sink)
    courier = Courier(sink, pauses=(0.05,))
    shelf.statuses = [500, 503, 302, 404]
    courier.send(line_of(people.log.origin, 1, bytes(32)))
    assert not courier.has_delivered(people.log.origin, 1)
    until(lambda: courier.has_delivered(people.log.origin, 1))
    assert failures(sink) - before == 4
    assert len(shelf.lines) == 1
    courier.stop()


@pytest.mark.db
def test_one_log_that_fails_lets_the_others_pass(people: People, tmp_path: Path) -> None:
    taken: list[str] = []

    class Picky:
        name, is_far = "https:picky", True

        def newest(self, origin: str) -> None:
            del origin

        def publish(self, line: dict[str, Any]) -> None:
            if line["origin"] == people.log.origin:
                raise OSError("not this one")
            taken.append(line["origin"])

    courier = Courier(Picky(), pauses=(0.01,))
    courier.send(line_of(people.log.origin, 1, bytes(32)))
    courier.send(line_of(people.other_log.origin, 1, bytes(32)))
    until(lambda: taken == [people.other_log.origin])
    courier.stop()  # gives up what nobody takes
    assert not courier.has_delivered(people.log.origin, 1)
    del tmp_path


@pytest.mark.db
def test_without_any_sink_nothing_is_published_until_one_is_back(  # noqa: PLR0917 - fixtures
    client: Client,
    people: People,
    tmp_path: Path,
    shelf: Shelf,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpointers, "FAR_WAIT_S", 0.5)
    folder = tmp_path / "full"
    folder.touch()  # no folder, so no file can be written below it
    near, far = FileSink(folder / "near.ndjson"), HttpsSink(address)
    with signing(tmp_path, near, far) as checkpointer:
        checkpointer.turn()
        post(client, people, decision())
        shelf.statuses = [500] * 50
        before = failures(near)
        with pytest.raises(OSError, match="not published"):
            checkpointer.turn()
        assert signed_size(people) == 0
        assert failures(near) > before
        shelf.statuses = []
        assert checkpointer.turn() == 1  # urgent, so the courier does not sit its pause out
        assert signed_size(people) == 1
        assert shelf.lines[-1]["size"] == 1


@pytest.mark.db
def test_sink_that_was_away_gets_the_newest_checkpoint_at_the_next_start(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    near = FileSink(tmp_path / "near.ndjson")
    with signing(tmp_path, near) as checkpointer:
        post(client, people, decision())
        checkpointer.turn()
    with signing(tmp_path, near, HttpsSink(address)) as checkpointer:
        assert checkpointer.turn() == 0
        until(lambda: shelf.lines)
    (line,) = shelf.lines
    assert (line["size"], line["note"]) == (1, Checkpoint.objects.get().note)
    with signing(tmp_path, near, HttpsSink(address)) as checkpointer:
        checkpointer.turn()
    assert len(shelf.lines) == 1  # it holds it now


@pytest.mark.unit
def test_waiting_for_nobody_ends() -> None:
    assert not wait_for_one([], "ecp.local/log/acme", 1, 0.05)


@pytest.mark.unit
def test_courier_that_never_had_anything_stops_at_once() -> None:
    Courier(FileSink.__new__(FileSink)).stop()


# --- what far sinks prove
@pytest.mark.db
def test_far_anchor_reveals_a_database_that_went_back(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    """The host is new, its file too; only the address remembers a larger tree."""
    post(client, people, decision())
    shelf.lines = [line_of(people.log.origin, 7, bytes(32))]
    modes.process.forget()
    with signing(tmp_path, FileSink(tmp_path / "new.ndjson"), HttpsSink(address)) as checkpointer:
        checkpointer.turn()
    assert Guard.objects.get(log=people.log).verdict == "restored_behind_checkpoint"
    assert Log.objects.get(pk=people.log.pk).mode == "halt"
    assert post(client, people, decision()).json()["halt_reason"] == "restored_behind_checkpoint"


@pytest.mark.db
@pytest.mark.parametrize(
    "tamper",
    [
        lambda line: line | {"size": 9_999},
        lambda line: line | {"root": "ff" * 32},
        lambda line: line | {"note": line["note"].replace("ecp.local", "ecp.evil")},
        lambda line: line | {"note": line["note"][:-9] + "AAAAAAA=\n"},
        lambda line: line | {"note": 7},
        lambda line: line | {"timeline": "first"},
        lambda line: {name: line[name] for name in line if name != "note"},
        lambda line: [line],
        lambda _line: "x",
    ],
)
def test_answer_that_our_key_did_not_sign_is_no_anchor(
    people: People, shelf: Shelf, address: str, tamper: Callable[[Any], Any]
) -> None:
    """Else whoever keeps our checkpoints could halt the log with an invented one."""
    shelf.lines = [line_of(people.log.origin, 7, bytes(32))]
    shelf.tamper = tamper
    with pytest.raises(OSError, match="answered with"):
        HttpsSink(address).newest(people.log.origin)


@pytest.mark.db
def test_unreadable_sink_halts_nothing_while_another_one_speaks(
    client: Client, people: People, tmp_path: Path, shelf: Shelf, address: str
) -> None:
    near = FileSink(tmp_path / "near.ndjson")
    with signing(tmp_path, near) as checkpointer:
        post(client, people, decision())
        checkpointer.turn()
    shelf.statuses = [500] * 50
    with signing(tmp_path, near, HttpsSink(address)) as checkpointer:
        checkpointer.turn()
        assert Guard.objects.get(log=people.log).verdict == modes.GUARD_OK
        # Two logs were opened, but an address that is away is asked once.
        asked = 50 - len(shelf.statuses)
        assert asked <= 3  # one look, and the courier with what was missed
    with signing(tmp_path, HttpsSink("http://127.0.0.1:9/nobody-listens")) as checkpointer:
        checkpointer.turn()
    assert Guard.objects.get(log=people.log).verdict == "no_anchor"
