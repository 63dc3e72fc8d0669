"""The client against a ledger: three lines, receipts, annotations, batches, signatures, verification."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_client import (
    InvalidInput,
    Ledger,
    LogIdentity,
    NotInTime,
    Refused,
    Signer,
    command,
    verify_receipt,
)
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.signing import public_from_seed, sign
from ledger.core.note import Verifier, make_vkey
from ledger.core.verify.command import main as ecp_verify
from ledger.core.verify.evidence import check_receipt
from ledger.models import Entry
from ledger.services.agentkeys import agent_key_add
from ledger.services.identities import apikey_create
from ledger.services.verification import verify_log
from tests.clients.conftest import PLAIN
from tests.running_ledger import SEED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.served import Address

pytestmark = pytest.mark.db
SOON_S = 20.0
AGENT_SEED = bytes(range(32, 64))


def statements(uid: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(Entry.objects.get(uid=uid).entry))
    return found


def vkey_of(answering: Address) -> str:
    return make_vkey(answering.people.log.origin, public_from_seed(SEED))


@pytest.fixture
def ledger(answering: Address, make_ledger: Callable[..., Ledger]) -> Ledger:
    return make_ledger(answering.url, answering.key)


@pytest.fixture
def signing(answering: Address, make_ledger: Callable[..., Ledger], tmp_path: Path) -> Ledger:
    """Ada's agent with a registered key, read from a file as `agentkey_create` writes it."""
    signer = Signer.from_seed(AGENT_SEED)
    agent_key_add(
        agent=answering.people.ada_agent.agent, public_key=signer.public_key, valid_from=utc_now(),
        valid_until=None, actor="system:shell", prove=lambda message: sign(AGENT_SEED, message),
        now=utc_now(),
    )  # fmt: skip
    file = tmp_path / "agent.seed"
    file.write_text("ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8\n")
    return make_ledger(answering.url, answering.key, signer=Signer.from_file(file))


def test_three_lines_record_a_decision(answering: Address, make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(answering.url, answering.key, agent=None)
    handle = ledger.record(
        action="price.change",
        explanation="Stock is older than 90 days, so the lamp is 5 % cheaper.",
        context={"stock": 41, "supplier": "Brightside Ltd", "old_price_eur": 39.9},
    )
    receipt = handle.receipt(SOON_S)
    assert (receipt.id, receipt.status, handle.state) == (handle.id, "signed", "delivered")
    stmt = statements(handle.id)["stmt"]
    assert (stmt["agent"], stmt["action"], stmt["org"]) == ("pricing-bot", "price.change", "acme")
    assert stmt["context_summary"]["stock"] == "10..100"
    assert b"Brightside" not in ledger.public(handle.id)


def test_every_member_arrives(ledger: Ledger) -> None:
    fields: dict[str, Any] = {
        "action": "order.refund", "explanation": "The parcel was lost, so the customer gets the money back.",
        "model": {"name": "desk", "version": "3.1"}, "subject": {"type": "order", "ref": "A-17"},
        "alternatives": [{"option": "send again", "reason": "out of stock"}], "risk": "medium",
        "advisory": {"advice_id": "019b0a2c-4e00-7000-8000-000000000009", "level": "low", "bypassed": False},
        "zone": "operator", "refs": [{"rel": "related", "id": "019b0a2c-4e00-7000-8000-000000000009"}],
        "context": {"amount_eur": 1e-7, "naïve name": [1, None, "x"]},
        "explanation_detail": "Ada Lovelace asked.",
        "data_subject": "customer-1", "data_subjects": {"/context/amount_eur": "customer-2"},
        "id": "019b0a2c-4e00-7000-8000-000000000003", "ts": "2026-03-02T09:00:01.000000Z",
    }  # fmt: skip
    receipt = ledger.record_now(**fields)
    stmt = statements(receipt.id)["stmt"]
    public = fields.keys() - {"context", "explanation_detail", "data_subject", "data_subjects"}
    assert {name: stmt[name] for name in public} == {name: fields[name] for name in public}
    assert [part["ptr"] for part in stmt["sealed"]] == [
        "/context/_other", "/context/amount_eur", "/explanation_detail"
    ]  # fmt: skip
    assert ledger.record_now(**fields).is_replay
    with pytest.raises(Refused, match="id_reused"):
        ledger.record_now(**fields | {"explanation": "Another reason altogether."})


def test_a_receipt_verifies_offline_by_this_client_and_by_ecp(
    ledger: Ledger, answering: Address, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = ledger.record_now(wait_signed=10, **PLAIN)
    assert receipt.is_signed
    entry, vkey = ledger.public(receipt.id), vkey_of(answering)
    assert verify_receipt(receipt, entry, vkey).ok
    assert verify_receipt(receipt.document["tlog_proof"], entry, vkey).ok
    assert check_receipt(json.dumps(receipt.document), entry, Verifier(vkey)).ok
    forged = entry.replace(b"5 % cheaper", b"9 % cheaper")
    assert forged != entry
    assert verify_receipt(receipt, forged, vkey).kinds == ["root_mismatch", "leaf_mismatch"][::-1]
    other = make_vkey(answering.people.log.origin, public_from_seed(bytes(32)))
    assert verify_receipt(receipt, entry, other).kinds == ["checkpoint_signature"]
    with pytest.raises(InvalidInput):
        verify_receipt(receipt, entry, "no key")
    unsigned = {name: value for name, value in receipt.document.items() if name != "tlog_proof"}

    # the command says the same as ECP's own, in the same words and with the same exit code
    files = {"json": json.dumps(receipt.document), "text": receipt.document["tlog_proof"], "vkey": vkey,
             "unsigned": json.dumps(unsigned), "garbage": "no receipt"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    (tmp_path / "entry").write_bytes(entry + b"\n")
    (tmp_path / "forged").write_bytes(forged)
    for proof, about, key, code in [
        ("json", "entry", "vkey", 0), ("text", "entry", "vkey", 0), ("json", "forged", "vkey", 1),
        ("garbage", "entry", "vkey", 1), ("unsigned", "entry", "vkey", 3), ("json", "entry", "garbage", 2),
        ("missing", "entry", "vkey", 2),
    ]:  # fmt: skip
        rest = [str(tmp_path / proof), "--entry", str(tmp_path / about), "--vkey", str(tmp_path / key)]
        assert command.main(["verify", *rest]) == code
        ours = capsys.readouterr()
        assert ecp_verify(["receipt", *rest]) == code
        theirs = capsys.readouterr()
        assert ours.out.splitlines()[2:] == theirs.out.splitlines()[2:]
        told = "cannot read the input"
        assert (told in ours.err) == (told in theirs.err) == (code == 2)
    rest = [str(tmp_path / "json"), "--entry", str(tmp_path / "entry"), "--vkey", str(tmp_path / "vkey")]
    assert command.main(["verify", *rest, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["v"] == "ecp.verify/1"
    with pytest.raises(SystemExit) as caught:
        command.main(["verify"])
    assert caught.value.code == 2


def test_a_receipt_says_what_it_is_waiting_for(ledger: Ledger) -> None:
    handle = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    assert ledger.receipt(handle.id, signed_within=0).status in {"logged", "signed"}
    assert handle.receipt(SOON_S, signed=True).is_signed
    with pytest.raises(Refused, match="not_found"):
        ledger.receipt("019b0a2c-4e00-7000-8000-00000000dead")

    def is_too_early() -> bool:
        try:
            ledger.receipt(ledger.record_now(**PLAIN).id, signed_within=0.01)
        except NotInTime:
            return True
        return False

    assert any(is_too_early() for _ in range(50))  # a checkpoint may come just in between


def test_annotations_follow_their_decision(ledger: Ledger) -> None:
    decision = ledger.record(**PLAIN)
    outcome = ledger.annotate(decision.id, "outcome", "Twelve lamps were sold within a week.", "success")
    assert ledger.flush(SOON_S)
    note = ledger.annotate_now(decision.id, "note", "The shelf label was changed by hand.")
    found = [statements(one.id) for one in (decision, outcome, note)]
    assert [entry["seq"] for entry in found] == sorted(entry["seq"] for entry in found)
    assert [entry["stmt"].get("target") for entry in found] == [None, decision.id, decision.id]
    assert (found[1]["stmt"]["status"], found[1]["stmt"]["actor"]) == ("success", "agent:pricing-bot")


def test_a_batch_tells_of_each_line(ledger: Ledger) -> None:
    records = [PLAIN | {"id": f"019b0a2c-4e00-7000-8000-00000000{number:04x}"} for number in range(1200)]
    records[7] = records[7] | {"agent": "other-bot"}
    outcomes = ledger.batch_now(records, wait_signed=10)
    assert [outcome.id for outcome in outcomes] == [record["id"] for record in records]
    refused = [outcome for outcome in outcomes if not outcome.is_stored]
    assert [(one.id, (one.problem or {})["code"]) for one in refused] == [
        (records[7]["id"], "agent_not_allowed")
    ]
    assert [outcome.is_replay for outcome in ledger.batch_now(records[:3])] == [True] * 3


def test_warnings_of_the_ledger_are_passed_on(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    fields = PLAIN | {"explanation": "Refunded, as ada@example.org asked twice for it."}
    assert "e-mail" in ledger.record_now(**fields).warnings[0]
    ledger.batch([fields, fields])
    assert ledger.flush(SOON_S)
    assert "e-mail" in caplog.text
    assert "ada@example.org" not in caplog.text


# --- signed statements


def test_signed_statements_are_taken_and_verify(signing: Ledger, answering: Address) -> None:
    handles = signing.batch([PLAIN] * 3)
    outcome = signing.annotate(handles[0].id, "outcome", "Twelve lamps were sold.", "success")
    assert signing.flush(SOON_S)
    assert [one.state for one in (*handles, outcome)] == ["delivered"] * 4
    assert signing.signer is not None
    entry = statements(handles[1].id)
    assert [sig["kid"] for sig in entry["sigs"]] == [signing.signer.kid]
    assert "via" not in entry["stmt"]
    assert statements(outcome.id)["stmt"]["actor"] == "agent:pricing-bot"
    report = verify_log(log=answering.people.log, signatures=True)
    assert report.ok, report.to_text()
    assert report.checked.signatures == 5  # with that of the key's own announcement


def test_a_signed_statement_that_is_sent_twice_is_one_entry(signing: Ledger) -> None:
    fields = PLAIN | {"id": "019b0a2c-4e00-7000-8000-000000000003", "ts": "2026-03-02T09:00:01.000000Z"}
    first = signing.record_now(wait_signed=10, **fields)
    second = signing.record_now(**fields)
    assert first.is_signed
    assert (second.is_replay, second.seq) == (True, first.seq)
    note = signing.annotate_now(first.id, "note", "The shelf label was changed by hand.")
    assert statements(note.id)["sigs"]
    assert [one.is_replay for one in signing.batch_now([fields])] == [True]


def test_nothing_private_travels_signed(signing: Ledger) -> None:
    for name, value in {"context": {"n": 1}, "explanation_detail": "x", "data_subject": "x"}.items():
        handle = signing.record(**PLAIN | {name: value})
        assert (handle.problem or {})["code"] == "private_not_signed"
        with pytest.raises(InvalidInput, match="private"):
            signing.record_now(**PLAIN | {name: value})
    assert signing.stats().recorded == 0


def test_a_key_that_may_only_write_needs_to_be_told_the_log(
    answering: Address, signing: Ledger, make_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    people = answering.people
    issued = apikey_create(
        organisation=people.acme, agent=people.ada_agent.agent, scopes=("decisions:write",), now=utc_now(),
        require_signature=True,
    )  # fmt: skip
    log = LogIdentity(people.log.slug, people.log.origin, people.acme.slug)
    blind = make_ledger(answering.url, issued.text, signer=signing.signer, queue_dir=tmp_path / "blind")
    told = make_ledger(
        answering.url, issued.text, signer=signing.signer, queue_dir=tmp_path / "told", log=log
    )
    waiting, handle = blind.record(**PLAIN), told.record(**PLAIN)
    assert told.flush(SOON_S)
    assert handle.state == "delivered"
    assert not blind.flush(0.5)
    assert (waiting.state, blind.stats().last_problem) == ("queued", "scope_missing")


def test_an_unregistered_key_is_refused_and_the_line_put_aside(
    answering: Address, make_ledger: Callable[..., Ledger]
) -> None:
    make_ledger(answering.url, answering.key).record_now(**PLAIN)  # else there is no entry to learn from
    ledger = make_ledger(answering.url, answering.key, signer=Signer(bytes(32)))
    handle = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    assert (handle.state, (handle.problem or {})["code"]) == ("rejected", "unknown_key")


def test_a_stranger_records_in_her_own_log_only(
    answering: Address, make_ledger: Callable[..., Ledger]
) -> None:
    eve = make_ledger(answering.url, answering.people.eve_agent.key, agent="pricing-bot")
    handle = eve.record(**PLAIN)
    assert eve.flush(SOON_S)
    assert (handle.problem or {})["code"] == "agent_not_allowed"


def test_signers_read_seeds_of_32_bytes_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        Signer.from_seed(bytes(31))
    (tmp_path / "seed").write_text("not base64url!")
    with pytest.raises(InvalidInput):
        Signer.from_file(tmp_path / "seed")
    signer = Signer(AGENT_SEED)
    assert repr(signer) == f"Signer(kid={signer.kid!r})"
