"""What the sender makes of each answer, against a server that gives it on purpose."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ecp_client import InvalidInput, Ledger, NotInTime, Refused, Rejection, Signer, Unavailable, sender
from tests.clients.conftest import KEY, PLAIN
from tests.clients.scripted import CUT, NDJSON, Reply, Scripted, Told, per_line, problem, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecp_client import SyncHandle

pytestmark = pytest.mark.unit
SOON_S = 10.0


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as found:
        yield found


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(sender, "LONGEST_AUTH_PAUSE_S", 0.05)


@pytest.fixture
def ledger(server: Scripted, make_ledger: Callable[..., Ledger]) -> Ledger:
    return make_ledger(server.url)


def recorded(ledger: Ledger, count: int) -> list[SyncHandle]:
    return ledger.batch([PLAIN] * count)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_lines_travel_in_batches_of_a_thousand_in_order(ledger: Ledger, server: Scripted) -> None:
    handles = recorded(ledger, 2300)
    assert ledger.flush(SOON_S)
    assert [len(told.ids) for told in server.posts] == [1000, 1000, 300]
    assert [uid for told in server.posts for uid in told.ids] == [handle.id for handle in handles]
    assert {handle.state for handle in handles} == {"delivered"}
    first = server.posts[0]
    assert first.path == "/api/v1/decisions/batch/"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.headers["content-type"] == NDJSON


def test_a_batch_stays_below_five_mebibytes(ledger: Ledger, server: Scripted) -> None:
    ledger.batch([PLAIN | {"context": {"log": "x" * 30_000}}] * 400)
    assert ledger.flush(SOON_S)
    assert len(server.posts) == 3
    assert all(len(told.body) <= 5 * 2**20 for told in server.posts)


@pytest.mark.parametrize(
    "answer",
    [
        CUT,
        Reply(502, b"<html>", "text/html"),
        Reply(200, b"<html>", "text/html"),
        Reply(200, b'{"line":1,"status":201}\n'),
        problem(503, "ledger_halted"),
        problem(503, "outcome_unknown"),
        problem(500, "internal_error"),
        Reply(301, b"", "text/html", (("Location", "/elsewhere/"),)),
        Reply(404, b"nothing here", "text/plain"),
    ],
)
def test_what_may_pass_is_sent_again_unchanged(ledger: Ledger, server: Scripted, answer: Reply) -> None:
    server.answers = [answer, answer]
    handles = recorded(ledger, 3)
    until(lambda: len(server.posts) == 3)
    until(lambda: handles[-1].state == "delivered")
    assert len({told.body for told in server.posts}) == 1
    assert {told.path for told in server.told} == {"/api/v1/decisions/batch/"}  # no redirect is followed
    assert ledger.stats().retries == 2
    assert ledger.stats().rejected == 0


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(ledger: Ledger, server: Scripted, status: int) -> None:
    code = "rate_limited" if status == 429 else "ledger_busy"
    server.answers = [problem(status, code, Retry_After="1")]
    handle = ledger.record(**PLAIN)
    until(lambda: server.posts)
    ledger.flush(0)  # hurries, yet not past what the ledger asked for
    until(lambda: handle.state == "delivered")
    first, second = server.posts
    assert 0.9 < second.at - first.at < 3


def test_pauses_grow(ledger: Ledger, server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 5)
    server.answers = [CUT] * 4
    handle = ledger.record(**PLAIN)
    until(lambda: handle.state == "delivered")
    pauses = [later.at - earlier.at for earlier, later in zip(server.posts, server.posts[1:], strict=False)]
    assert pauses[3] > 2 * pauses[0]
    assert pauses[3] >= 0.2


def test_refused_lines_are_put_aside_and_the_others_are_stored(
    server: Scripted, make_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    told: list[Rejection] = []
    ledger = make_ledger(server.url, on_rejected=told.append)
    handles = ledger.batch([PLAIN | {"context": {"number": number}} for number in range(4)])
    bad = handles[1].id
    server.always = lambda request: per_line(
        request, lambda record: (409, "id_reused") if record["id"] == bad else (201, "")
    )
    assert ledger.flush(SOON_S)
    assert [handle.state for handle in handles] == ["delivered", "rejected", "delivered", "delivered"]
    assert (handles[1].problem or {})["code"] == "id_reused"
    assert [(one.id, one.problem["code"], one.record["context"]) for one in told] == [
        (bad, "id_reused", {"number": 1})
    ]
    kept = tmp_path / "queue" / "rejected.ndjson"
    assert [json.loads(line)["record"]["id"] for line in kept.read_text().splitlines()] == [bad]
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="id_reused"):
        handles[1].receipt()
    assert (ledger.stats().delivered, ledger.stats().rejected) == (3, 1)


def test_a_line_that_must_wait_is_not_overtaken(ledger: Ledger, server: Scripted) -> None:
    handles = recorded(ledger, 5)
    waiting = handles[2].id

    def one_waits(told: Told) -> Reply:
        return per_line(
            told, lambda record: (503, "outcome_unknown") if record["id"] == waiting else (201, "")
        )

    server.answers = [one_waits]
    assert ledger.flush(SOON_S)
    assert [told.ids for told in server.posts] == [
        [handle.id for handle in handles],
        [handle.id for handle in handles[2:]],
    ]


@pytest.mark.parametrize("too_large", [problem(413, "batch_too_large"), Reply(413, b"", "text/html")])
def test_a_batch_that_is_too_large_is_halved(ledger: Ledger, server: Scripted, too_large: Reply) -> None:
    server.always = lambda told: too_large if len(told.ids) > 30 else stored(told)
    handles = recorded(ledger, 100)
    until(lambda: handles[-1].state == "delivered")
    assert [len(told.ids) for told in server.posts[:3]] == [100, 50, 25]
    done = [uid for told in server.posts if len(told.ids) <= 30 for uid in told.ids]
    assert done == [handle.id for handle in handles]


def test_the_one_line_that_makes_a_request_fail_is_found_and_put_aside(
    ledger: Ledger, server: Scripted
) -> None:
    handles = recorded(ledger, 20)
    bad = handles[7].id
    server.always = lambda told: problem(400, "malformed_json") if bad in told.ids else stored(told)
    until(lambda: handles[-1].state == "delivered")
    assert [handle.state for handle in handles].count("rejected") == 1
    assert handles[7].state == "rejected"


@pytest.mark.parametrize(("status", "code"), [(401, "credentials_invalid"), (403, "scope_missing")])
def test_a_key_that_is_not_taken_keeps_the_queue_and_is_told_once(
    ledger: Ledger, server: Scripted, caplog: pytest.LogCaptureFixture, status: int, code: str
) -> None:
    server.answers = [problem(status, code)] * 5
    handle = ledger.record(**PLAIN)
    until(lambda: handle.state == "delivered")
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage().count(code) for record in said] == [1]
    assert ledger.stats().rejected == 0


def test_nothing_that_is_said_or_shown_holds_the_key_or_private_values(
    ledger: Ledger, server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [CUT, problem(401, "credentials_invalid"), problem(503, "ledger_busy")]
    server.always = lambda told: per_line(told, lambda _: (400, "bad_value"))
    ledger.batch([PLAIN | {"context": {"iban": "secret-of-a-person"}}] * 2)
    ledger.record(action="x", explanation="short", context={"iban": "secret-of-a-person"})
    assert ledger.flush(SOON_S)
    shown = f"{caplog.text}{ledger!r}{ledger.access!r}{ledger.stats()}"
    assert KEY not in shown
    assert KEY[13:] not in shown
    assert "secret-of-a-person" not in caplog.text


def test_an_annotation_goes_behind_its_decision_and_alone(ledger: Ledger, server: Scripted) -> None:
    first = ledger.record(**PLAIN)
    note = ledger.annotate(first.id, "outcome", "Twelve lamps were sold.", "success")
    second = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    paths = [told.path for told in server.posts]
    assert paths == [
        "/api/v1/decisions/",
        f"/api/v1/decisions/{first.id}/annotations/",
        "/api/v1/decisions/",
    ]
    assert server.posts[1].records == [
        {"id": note.id, "kind": "outcome", "text": "Twelve lamps were sold.", "status": "success"}
    ]
    assert second.state == "delivered"


def test_an_annotation_of_an_unknown_decision_is_put_aside(ledger: Ledger, server: Scripted) -> None:
    server.answers = [problem(404, "not_found")]
    note = ledger.annotate("019b0a2c-4e00-7000-8000-000000000003", "note", "Nobody has heard of it.")
    after = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    assert (note.state, after.state) == ("rejected", "delivered")


def test_the_agent_is_learnt_from_the_key_and_remembered(
    server: Scripted, make_ledger: Callable[..., Ledger]
) -> None:
    agents = Reply(200, json.dumps({"results": [{"slug": "pricing-bot"}]}).encode(), "application/json")
    server.always = lambda told: agents if told.method == "GET" else stored(told)
    ledger = make_ledger(server.url, agent=None)
    handles = ledger.batch([PLAIN, PLAIN | {"agent": "other-bot"}])
    assert ledger.flush(SOON_S)
    assert [record["agent"] for record in server.posts[0].records] == ["pricing-bot", "other-bot"]
    assert [handle.id for handle in handles] == server.posts[0].ids
    ledger.close()
    again = make_ledger(server.url, agent=None)
    again.record(**PLAIN)
    assert again.flush(SOON_S)
    assert [told.method for told in server.told].count("GET") == 1


def test_without_an_agent_the_lines_wait_until_one_can_be_learnt(
    server: Scripted, make_ledger: Callable[..., Ledger]
) -> None:
    both = [{"slug": "pricing-bot"}, {"slug": "other-bot"}]

    def answer(told: Told) -> Reply:
        return stored(told) if told.method == "POST" else Reply(
            200, json.dumps({"results": both}).encode(), "application/json"
        )  # fmt: skip

    server.always = answer
    ledger = make_ledger(server.url, agent=None)
    handle = ledger.record(**PLAIN)
    until(lambda: ledger.stats().last_problem == "missing_field")
    assert handle.state == "queued"
    both.pop()
    until(lambda: handle.state == "delivered")


def test_signed_lines_are_never_sent_by_a_client_without_signer(
    server: Scripted, make_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    signing = make_ledger(signer=Signer(bytes(32)))
    handle = signing.record(**PLAIN)
    signing.close()
    plain = make_ledger(server.url)
    plain.record(**PLAIN)
    assert plain.flush(SOON_S)
    assert [uid for told in server.posts for uid in told.ids if uid == handle.id] == []
    kept = json.loads((tmp_path / "queue" / "rejected.ndjson").read_text())
    assert (kept["problem"]["code"], kept["record"]["id"]) == ("signer_missing", handle.id)


def test_record_never_raises_and_tells_why(
    make_ledger: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Rejection] = []

    def angry(rejection: Rejection) -> None:
        told.append(rejection)
        raise RuntimeError("the agent's own fault")

    ledger = make_ledger(on_rejected=angry)
    handle = ledger.record(action="price.change", explanation="short")
    assert handle.state == "not_kept"
    assert (handle.problem or {})["code"] == "explanation_too_short"
    assert [one.problem["code"] for one in told] == ["explanation_too_short"]
    assert "explanation_too_short" in caplog.text
    states = [one.state for one in ledger.batch([PLAIN, {"action": "x"}, 7])]  # type: ignore[list-item]  # a mistake
    assert states == ["queued", "not_kept", "not_kept"]
    assert ledger.annotate("x", "note", "This is long enough.").state == "not_kept"
    with pytest.raises(Refused):
        handle.receipt()


def test_strict_raises_at_the_call(make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(strict=True)
    with pytest.raises(InvalidInput, match="explanation_too_short"):
        ledger.record(action="price.change", explanation="short")
    with pytest.raises(ValueError, match="integer_out_of_range"):
        ledger.record(**PLAIN, context={"n": 2**60})
    assert ledger.stats().refused == 2


def test_the_same_complaint_is_logged_once_a_minute(
    make_ledger: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make_ledger()
    for _ in range(50):
        ledger.record(action="price.change", explanation="short")
    assert caplog.text.count("explanation_too_short") == 1
    assert ledger.stats().refused == 50


def test_recording_does_not_wait_for_a_slow_server(ledger: Ledger, server: Scripted) -> None:
    release = threading.Event()

    def slow(told: Told) -> Reply:
        release.wait(SOON_S)
        return stored(told)

    server.always = slow
    ledger.record(**PLAIN)
    until(lambda: server.posts)
    started = time.monotonic()
    recorded(ledger, 500)
    handle = ledger.record(**PLAIN)
    assert time.monotonic() - started < 1
    with pytest.raises(NotInTime):
        handle.receipt(timeout=0.05)
    release.set()
    assert ledger.flush(SOON_S)


def test_waiting_forms_try_again_and_then_raise(server: Scripted, make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(server.url, timeout_s=2.0)
    server.answers = [CUT, problem(503, "ledger_busy", Retry_After="1")]
    receipt = ledger.record_now(**PLAIN)
    assert len({told.body for told in server.posts}) == 1
    assert (receipt.id, receipt.status, receipt.is_signed) == (server.posts[0].ids[0], "logged", False)
    server.answers = [problem(409, "id_reused")]
    with pytest.raises(Refused, match="id_reused"):
        ledger.record_now(**PLAIN)
    server.always = lambda _: problem(503, "ledger_halted", Retry_After="60")
    with pytest.raises(Unavailable) as caught:
        ledger.record_now(**PLAIN)
    assert caught.value.retry_after == 60
    with pytest.raises(InvalidInput):
        ledger.record_now(action="price.change", explanation="short")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://ledger.example", KEY), ("https://ada:pass@ledger.example", KEY), ("ledger.example", KEY),
        ("https://ledger.example/?x=1", KEY), ("https://ledger.example", "line\nbreak"),
    ],
)  # fmt: skip
def test_addresses_and_keys_that_cannot_be_meant_are_refused(
    make_ledger: Callable[..., Ledger], url: str, key: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_ledger(url, key)
    assert key not in str(caught.value)


def test_a_key_over_plain_http_is_warned_of(
    make_ledger: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    make_ledger("http://ledger.example")
    assert "unencrypted" in caplog.text


def test_a_certificate_that_nobody_vouches_for_gets_neither_key_nor_record(
    make_ledger: Callable[..., Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Scripted(tls=context) as server:
        ledger = make_ledger(server.url)
        handle = ledger.record(**PLAIN)
        until(lambda: ledger.stats().last_problem == "no_answer")
        assert (handle.state, server.told) == ("queued", [])
        ledger.close()

        # the same server, trusted: the address of this machine leaves the environment aside
        monkeypatch.setattr(
            httpx, "create_ssl_context", lambda **_: ssl.create_default_context(cafile=certificate)
        )
        assert make_ledger(server.url).flush(SOON_S)
        assert server.posts[0].ids == [handle.id]


def self_signed(folder: Path) -> Path:
    """Key and certificate for this machine's address, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(),
                                now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )  # fmt: skip
    file = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file
