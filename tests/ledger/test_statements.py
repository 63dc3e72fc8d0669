"""Statements that a client builds and signs: taken untouched, or refused with the member that is wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connections

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.errors import NotFound
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.signing import b64url, kid_of, verify
from ledger.core.entry import parse_entry, signed_message
from ledger.core.proof import verify_proof
from ledger.keys import verifiers
from ledger.models import Agent, AgentKey, Entry
from ledger.services.agentkeys import agent_key_revoke
from ledger.services.identities import apikey_create
from ledger.services.ledger import TransparencyLedger
from ledger.services.projections import project_search
from ledger.services.verification import verify_log
from tests.ledger.signing import (
    JSON,
    NDJSON,
    Pen,
    annotation_statement,
    decision_statement,
    key_statement,
    pen,
    registered,
    results,
    signed_body,
)
from tests.people import Machine, machine

if TYPE_CHECKING:
    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db
URL = "/api/v1/logs/acme/entries/"


def send(client: Client, people: People, body: bytes, content_type: str = JSON, **headers: Any) -> Any:
    return client.post(URL, body, content_type=content_type, **people.ada_agent.headers, **headers)


def refusal(answer: Any) -> tuple[int, str, str | None]:
    document = answer.json()
    return answer.status_code, document["code"], document.get("pointer")


@pytest.fixture
def quill(people: People) -> Pen:
    """The registered key of Ada's agent; its announcement is entry 0."""
    return registered(people.ada_agent.agent, people.log)[0]


# --- taken
def test_statement_bytes_and_signature_are_kept_and_verify_offline(
    client: Client, people: People, quill: Pen, checkpointer: Checkpointer, settings: Any
) -> None:
    stmt = decision_statement(explanation="Preis gesenkt: Größe XL liegt seit 90 Tagen 📦.")
    answer = send(client, people, quill.body(stmt))
    assert (answer.status_code, answer.json()["seq"]) == (201, 1), answer.content
    assert answer.json()["status"] == "logged"
    checkpointer.turn()
    path = f"/api/v1/decisions/{stmt['id']}"
    raw = client.get(f"{path}/public/", **people.ada_agent.headers).content
    entry = parse_entry(raw)
    assert entry.stmt_raw == encode(stmt)
    (signature,) = entry.sigs
    message = signed_message(people.log.origin, entry.stmt_raw)
    assert verify(quill.public_key, signature.sig, message)
    proof = client.get(f"{path}/receipt/", **people.ada_agent.headers | {"HTTP_ACCEPT": "text/plain"})
    vkey = verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0]
    assert verify_proof(proof.content.decode(), raw, vkey).size == 2
    report = verify_log(log=people.log)
    assert report.ok, report.findings
    assert report.checked.signatures == 2


def test_signed_decision_is_found_like_any_other(client: Client, people: People, quill: Pen) -> None:
    stmt = decision_statement(risk="high", zone="operator")
    send(client, people, quill.body(stmt))
    entry = Entry.objects.get(uid=stmt["id"])
    assert (entry.agent, entry.action, entry.risk, entry.zone) == (
        "pricing-bot", "price.change", "high", "operator",
    )  # fmt: skip
    listed = client.get("/api/v1/decisions/?agent=pricing-bot", **people.ada_agent.headers).json()
    assert [row["id"] for row in listed["results"]] == [stmt["id"]]


def test_same_statement_again_is_200_other_bytes_are_409(client: Client, people: People, quill: Pen) -> None:
    stmt = decision_statement()
    first, again = send(client, people, quill.body(stmt)), send(client, people, quill.body(stmt))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["leaf_hash"] == first.json()["leaf_hash"]
    other = send(client, people, quill.body(stmt | {"explanation": "Something else was decided here."}))
    assert refusal(other) == (409, "id_reused", "/id")
    assert other.json()["stmt_digest"] == first.json()["stmt_digest"]


def test_four_signatures_are_taken_five_are_not(client: Client, people: People, quill: Pen) -> None:
    second, _ = registered(people.ada_agent.agent, people.log, 2)
    stmt = decision_statement()
    sigs = [quill.sig(stmt), second.sig(stmt)] * 2
    assert refusal(send(client, people, signed_body(stmt, *sigs, quill.sig(stmt)))) == (
        400,
        "bad_value",
        "/sigs",
    )
    assert send(client, people, signed_body(stmt, *sigs)).status_code == 201


def test_key_that_demands_signatures_takes_signed_statements_only(
    client: Client, people: People, quill: Pen
) -> None:
    issued = apikey_create(
        organisation=people.acme,
        agent=people.ada_agent.agent,
        scopes=("decisions:write",),
        now=utc_now(),
        require_signature=True,
    )
    strict = Machine(people.ada_agent.agent, issued.text)
    stmt = decision_statement()
    answer = client.post(URL, quill.body(stmt), content_type=JSON, **strict.headers)
    assert answer.status_code == 201
    record = {name: stmt[name] for name in ("agent", "action", "explanation")}
    note = {"kind": "note", "text": "An unsigned note about it."}
    line = json.dumps(record | {"id": new_uuid7(utc_now())})
    for path, body, content_type in (
        ("", json.dumps(record), JSON),
        ("batch/", line, NDJSON),
        (f"{stmt['id']}/annotations/", json.dumps(note), JSON),
    ):
        answer = client.post(f"/api/v1/decisions/{path}", body, content_type=content_type, **strict.headers)
        assert refusal(answer)[:2] == (401, "signature_required"), path


# --- refused
@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"sig": b64url(bytes(64))}, (400, "bad_signature", "/sigs/0/sig")),
        ({"sig": "not base64url!"}, (400, "bad_signature", "/sigs/0/sig")),
        ({"kid": "A" * 22}, (400, "unknown_key", "/sigs/0/kid")),
        ({"alg": "ed25519-batch"}, (400, "bad_value", "/sigs/0/alg")),
        ({"extra": "x"}, (400, "bad_value", "/sigs/0")),
    ],
)
def test_signature_object_that_is_wrong(
    client: Client, people: People, quill: Pen, changed: dict[str, str], wanted: tuple[int, str, str]
) -> None:
    stmt = decision_statement()
    assert refusal(send(client, people, signed_body(stmt, quill.sig(stmt, **changed)))) == wanted
    assert not Entry.objects.filter(uid=stmt["id"]).exists()


@pytest.mark.parametrize(("name", "value"), [("kid", 7), ("sig", 7), ("sig", None)])
def test_members_of_a_signature_that_are_no_text(
    client: Client, people: People, quill: Pen, name: str, value: Any
) -> None:
    stmt = decision_statement()
    code, pointer = ("unknown_key", "/sigs/0/kid") if name == "kid" else ("bad_signature", "/sigs/0/sig")
    assert refusal(send(client, people, signed_body(stmt, quill.sig(stmt) | {name: value}))) == (
        400, code, pointer,
    )  # fmt: skip


def test_signature_over_other_bytes_or_for_another_log_is_refused(
    client: Client, people: People, quill: Pen
) -> None:
    stmt = decision_statement()
    other_bytes = quill.sig(stmt | {"explanation": "Raised the price of the lamp by 5 %."})
    other_log = Pen(quill.seed, people.other_log.origin).sig(stmt)
    for sig in (other_bytes, other_log):
        answer = send(client, people, signed_body(stmt, sig))
        assert refusal(answer) == (400, "bad_signature", "/sigs/0/sig")
    # The second signature counts as much as the first.
    answer = send(client, people, signed_body(stmt, quill.sig(stmt), other_log))
    assert refusal(answer) == (400, "bad_signature", "/sigs/1/sig")


def test_key_counts_within_its_time_only(client: Client, people: People) -> None:
    now = utc_now()
    early, _ = registered(people.ada_agent.agent, people.log, 2, valid_from=now + timedelta(hours=1))
    late, _ = registered(
        people.ada_agent.agent,
        people.log,
        3,
        valid_from=now - timedelta(days=2),
        valid_until=now - timedelta(days=1),
    )
    gone, key = registered(people.ada_agent.agent, people.log, 4)
    agent_key_revoke(key=key, actor="system:test", reason="The laptop was stolen.", now=utc_now())
    for made in (early, late, gone):
        answer = send(client, people, made.body(decision_statement()))
        assert refusal(answer) == (400, "key_not_valid", "/sigs/0/kid")


def test_key_of_another_agent_is_unknown(client: Client, people: People, quill: Pen) -> None:
    colleague = machine(people.acme, "refund-bot")
    foreign, _ = registered(people.eve_agent.agent, people.other_log, 5)
    theirs, _ = registered(colleague.agent, people.log, 6)
    stmt = decision_statement()
    for made in (theirs, Pen(foreign.seed, people.log.origin)):
        assert refusal(send(client, people, made.body(stmt))) == (400, "unknown_key", "/sigs/0/kid")
    # And the agent in the statement is the one that the API key speaks for.
    answer = send(client, people, theirs.body(decision_statement(agent="refund-bot")))
    assert refusal(answer) == (403, "agent_not_allowed", "/stmt/agent")
    del quill


def test_suspended_agent_signs_nothing(client: Client, people: People, quill: Pen) -> None:
    Agent.objects.filter(pk=people.ada_agent.agent.pk).update(status="suspended")
    answer = send(client, people, quill.body(decision_statement()))
    assert refusal(answer) == (403, "agent_not_allowed", "/stmt/agent")


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({"via": {"method": "session", "id": "x"}}, (400, "unknown_field", "/stmt/via")),
        ({"org": "umbra"}, (400, "org_mismatch", "/stmt/org")),
        ({"explanation": "short"}, (400, "explanation_too_short", "/stmt/explanation")),
        ({"explanation": None}, (400, "wrong_type", "/stmt/explanation")),
        ({"risk": "extreme"}, (400, "bad_value", "/stmt/risk")),
        ({"mood": "good"}, (400, "unknown_field", "/stmt/mood")),
        ({"v": "ecp.decision/2"}, (400, "bad_value", "/stmt/v")),
        ({"v": 1}, (400, "wrong_type", "/stmt/v")),
        ({"id": "019B0A2C-4E00-7000-8000-000000000003"}, (400, "bad_value", "/stmt/id")),
        ({"ts": "2026-03-02T09:00:00Z"}, (400, "bad_value", "/stmt/ts")),
    ],
)
def test_statement_rules_hold_on_the_signed_path(
    client: Client, people: People, quill: Pen, members: dict[str, Any], wanted: tuple[int, str, str]
) -> None:
    assert refusal(send(client, people, quill.body(decision_statement(**members)))) == wanted


def test_kinds_that_the_server_writes_are_signed_by_no_agent(
    client: Client, people: People, quill: Pen
) -> None:
    now = format_time(utc_now())
    common = {"id": new_uuid7(utc_now()), "org": "acme", "ts": now, "actor": "agent:pricing-bot"}
    for stmt in (
        common | {"v": "ecp.mode/1", "from": "halt", "to": "active", "since": now, "reason": "All is well."},
        common | {"v": "ecp.staff/1", "action": "agent.register", "object": "agent:pricing-bot"},
        common | {"v": "ecp.gap/1", "from": now, "to": now, "reason": "Nothing happened here."},
        common | {"v": "ecp.erasure/1", "basis": "legal_order", "requested_at": now, "run": common["id"],
                  "part": 1, "of": 1, "parts": [{"id": common["id"], "ptr": "/context/name"}]},
    ):  # fmt: skip
        assert refusal(send(client, people, quill.body(stmt))) == (400, "bad_value", "/stmt/v"), stmt


def test_frame_around_the_statement(client: Client, people: People, quill: Pen) -> None:
    stmt = decision_statement()
    sig = quill.sig(stmt)
    for body, wanted in (
        (b"", (400, "malformed_json", None)),
        (b"[]", (400, "wrong_type", "")),
        (encode({"stmt": stmt}), (400, "missing_field", "/sigs")),
        (encode({"sigs": [sig]}), (400, "missing_field", "/stmt")),
        (encode({"sigs": sig, "stmt": stmt}), (400, "wrong_type", "/sigs")),
        (encode({"sigs": [sig], "stmt": "x"}), (400, "wrong_type", "/stmt")),
        (encode({"note": 1, "sigs": [sig], "stmt": stmt}), (400, "unknown_field", "/note")),
        (signed_body(stmt), (400, "bad_value", "/sigs")),
        (signed_body(stmt, "x"), (400, "bad_value", "/sigs/0")),
        (json.dumps({"sigs": [sig], "stmt": stmt}).encode(), (400, "not_canonical", "")),
        (signed_body(stmt, sig) + b"\n", (400, "not_canonical", "")),
        (b" " * 65_537, (413, "body_too_large", None)),
    ):
        answer = send(client, people, body)
        assert refusal(answer)[:2] == wanted[:2], (body[:80], answer.content)
        assert (refusal(answer)[2] or "") == (wanted[2] or ""), (body[:80], answer.content)
    assert send(client, people, signed_body(stmt, sig), "text/plain").status_code == 415


def test_statement_has_its_own_limit_of_bytes(client: Client, people: People, quill: Pen) -> None:
    long = [{"option": "ö" * 200, "reason": "ß" * 500} for _ in range(16)]
    stmt = decision_statement(alternatives=long, explanation="ü" * 4_000)
    assert len(encode(stmt)) < 49_152
    assert send(client, people, quill.body(stmt)).status_code == 201
    wide = [{"option": "字" * 200, "reason": "字" * 500} for _ in range(16)]
    stmt = decision_statement(alternatives=wide, explanation="字" * 4_000)
    subject = {"type": "order", "ref": "字" * 128}
    stmt |= {"subject": subject, "advisory": advisory("字" * 2_000)}
    assert 49_152 < len(encode(stmt)) < 65_000
    assert refusal(send(client, people, quill.body(stmt))) == (413, "too_large", "/stmt")


def advisory(reason: str) -> dict[str, Any]:
    return {
        "advice_id": new_uuid7(utc_now()), "level": "high", "bypassed": True, "bypass_reason": reason,
    }  # fmt: skip


def test_stranger_does_not_find_the_log_and_scope_counts(client: Client, people: People, quill: Pen) -> None:
    body = quill.body(decision_statement())
    answer = client.post(URL, body, content_type=JSON, **people.eve_agent.headers)
    assert refusal(answer)[:2] == (404, "not_found")
    reader = apikey_create(organisation=people.acme, agent=None, scopes=("ledger:read",), now=utc_now())
    headers = Machine(people.ada_agent.agent, reader.text).headers
    assert refusal(client.post(URL, body, content_type=JSON, **headers))[:2] == (403, "scope_missing")
    assert refusal(client.post(URL, body, content_type=JSON))[:2] == (401, "credentials_missing")
    client.force_login(people.ada)
    assert refusal(client.post(URL, body, content_type=JSON))[:2] == (403, "role_missing")


def test_idempotency_key_repeats_the_id_or_is_refused(client: Client, people: People, quill: Pen) -> None:
    stmt = decision_statement()
    answer = send(client, people, quill.body(stmt), HTTP_IDEMPOTENCY_KEY=new_uuid7(utc_now()))
    assert refusal(answer) == (400, "idempotency_mismatch", "/stmt/id")
    answer = send(client, people, quill.body(stmt), HTTP_IDEMPOTENCY_KEY=f'"{stmt["id"]}"')
    assert answer.status_code == 201


# --- annotations by signature
def test_agent_annotates_its_own_decisions_by_signature(client: Client, people: People, quill: Pen) -> None:
    stmt = decision_statement()
    send(client, people, quill.body(stmt))
    answer = send(client, people, quill.body(annotation_statement(stmt["id"])))
    assert answer.status_code == 201, answer.content
    project_search(log_id=people.log.id)
    found = client.get(f"/api/v1/decisions/{stmt['id']}/annotations/", **people.ada_agent.headers).json()
    assert [row["statement"]["text"] for row in found["results"]] == ["Sales rose within the week."]


def test_other_targets_and_actors_do_not_exist_for_it(client: Client, people: People, quill: Pen) -> None:
    colleague = machine(people.acme, "refund-bot")
    theirs, _ = registered(colleague.agent, people.log, 6)
    stmt = decision_statement(agent="refund-bot")
    client.post(URL, theirs.body(stmt), content_type=JSON, **colleague.headers)
    for target in (stmt["id"], new_uuid7(utc_now())):
        answer = send(client, people, quill.body(annotation_statement(target)))
        assert refusal(answer) == (404, "not_found", "/stmt/target")
    for actor in ("agent:refund-bot", f"staff:{people.ada.memberships.get().pseudonym}", "system:ledger"):
        answer = send(client, people, quill.body(annotation_statement(stmt["id"], actor=actor)))
        assert refusal(answer) == (403, "agent_not_allowed", "/stmt/actor")


# --- batches
def test_lines_are_judged_alone_and_the_good_ones_are_neighbours(
    client: Client, people: People, quill: Pen
) -> None:
    stored = decision_statement()
    send(client, people, quill.body(stored))
    good, noted = decision_statement(), decision_statement()
    wrong = decision_statement()
    lines = [
        quill.body(good),
        signed_body(wrong, quill.sig(good)),
        quill.body(stored),
        b"",
        quill.body(noted),
        quill.body(annotation_statement(noted["id"])),
        quill.body(annotation_statement(wrong["id"])),
        quill.body(key_statement("rotated", pen(people.log, 9))),
        quill.body(good | {"explanation": "The same id, but something else."}),
    ]
    answer = send(client, people, b"\n".join(lines), NDJSON)
    assert answer.status_code == 207
    told = [(line["status"], line.get("seq", line.get("code"))) for line in results(answer)]
    assert told == [
        (201, 2),
        (400, "bad_signature"),
        (200, 1),
        (400, "malformed_json"),
        (201, 3),
        (201, 4),
        (404, "not_found"),
        (400, "bad_value"),
        (409, 2),
    ]
    assert [line["line"] for line in results(answer)] == list(range(1, 10))
    again = send(client, people, b"\n".join([lines[0], lines[4], lines[5]]), NDJSON)
    assert again.status_code == 200
    assert [(line["status"], line["replayed"], line["seq"]) for line in results(again)] == [
        (200, True, 2),
        (200, True, 3),
        (200, True, 4),
    ]


def test_target_that_only_this_batch_would_have_made_must_be_the_agents_own(
    client: Client, people: People, quill: Pen
) -> None:
    """The id of a colleague's record, sent as one's own decision, opens no way to annotate it."""
    colleague = machine(people.acme, "refund-bot")
    theirs, _ = registered(colleague.agent, people.log, 6)
    stmt = decision_statement(agent="refund-bot")
    client.post(URL, theirs.body(stmt), content_type=JSON, **colleague.headers)
    lines = [quill.body(decision_statement(id=stmt["id"])), quill.body(annotation_statement(stmt["id"]))]
    answer = send(client, people, b"\n".join(lines), NDJSON)
    assert [line["status"] for line in results(answer)] == [409, 404]


def test_equal_statements_at_once_make_one_entry(client: Client, people: People, quill: Pen) -> None:
    body = quill.body(decision_statement())

    def post(_number: int) -> int:
        try:
            return int(send(client, people, body).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(post, range(24)))
    assert statuses == [200] * 23 + [201]


# --- keys that agents change themselves
def test_agent_rotates_its_key_and_revokes_the_old_one(
    client: Client, people: People, quill: Pen, checkpointer: Checkpointer
) -> None:
    fresh = pen(people.log, 7)
    rotated = key_statement("rotated", fresh, valid_until=format_time(utc_now() + timedelta(days=90)))
    body = signed_body(rotated, quill.sig(rotated), fresh.sig(rotated))
    answer = send(client, people, body)
    assert (answer.status_code, answer.json()["seq"]) == (201, 1), answer.content
    row = AgentKey.objects.get(kid=fresh.kid)
    assert (bytes(row.public_key), row.agent.slug) == (fresh.public_key, "pricing-bot")
    assert format_time(row.valid_until) == rotated["valid_until"]  # type: ignore[arg-type]  # set just before
    assert send(client, people, fresh.body(decision_statement())).status_code == 201
    revoked = key_statement("revoked", quill, reason="Replaced by a new one.")
    first, again = (send(client, people, quill.body(revoked)) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200), again.content
    assert again.json()["seq"] == first.json()["seq"] == 3
    assert AgentKey.objects.get(kid=quill.kid).revoked_reason == "Replaced by a new one."
    answer = send(client, people, quill.body(decision_statement()))
    assert refusal(answer) == (400, "key_not_valid", "/sigs/0/kid")
    assert send(client, people, body).status_code == 200  # a late repeat of the rotation too
    checkpointer.turn()
    assert verify_log(log=people.log).ok


def test_rotation_needs_the_old_and_the_new_key(client: Client, people: People, quill: Pen) -> None:
    fresh, foreign = pen(people.log, 7), pen(people.log, 8)
    stmt = key_statement("rotated", fresh)
    for sigs, wanted in (
        ([quill.sig(stmt)], (400, "bad_signature", "/sigs")),
        ([fresh.sig(stmt)], (400, "bad_signature", "/sigs")),
        ([fresh.sig(stmt), fresh.sig(stmt)], (400, "bad_signature", "/sigs")),
        ([fresh.sig(stmt), foreign.sig(stmt)], (400, "unknown_key", "/sigs/1/kid")),
        ([quill.sig(stmt), fresh.sig(stmt, sig=b64url(bytes(64)))], (400, "bad_signature", "/sigs/1/sig")),
    ):
        assert refusal(send(client, people, signed_body(stmt, *sigs))) == wanted
    assert not AgentKey.objects.filter(kid=fresh.kid).exists()
    assert Entry.objects.count() == 1


@pytest.mark.parametrize(
    ("event", "members", "wanted"),
    [
        ("added", {}, (403, "agent_not_allowed", "/stmt/event")),
        ("rotated", {"holder": "agent:refund-bot"}, (403, "agent_not_allowed", "/stmt/holder")),
        ("rotated", {"holder": "log"}, (403, "agent_not_allowed", "/stmt/holder")),
        ("rotated", {"actor": "agent:refund-bot"}, (403, "agent_not_allowed", "/stmt/actor")),
        ("rotated", {"kid": "JPbtasv-EAnAMNfKVnwzyg"}, (400, "bad_value", "/stmt/kid")),
        ("rotated", {"valid_until": None}, (400, "wrong_type", "/stmt/valid_until")),
        ("revoked", {}, (400, "unknown_key", "/stmt/kid")),
    ],
)
def test_key_statement_that_says_too_much(  # noqa: PLR0917 - fixtures and columns of the table
    client: Client,
    people: People,
    quill: Pen,
    event: str,
    members: dict[str, Any],
    wanted: tuple[int, str, str],
) -> None:
    machine(people.acme, "refund-bot")
    fresh = pen(people.log, 7)
    stmt = key_statement(event, fresh, **members)
    assert refusal(send(client, people, signed_body(stmt, quill.sig(stmt), fresh.sig(stmt)))) == wanted
    assert AgentKey.objects.count() == 1


def test_validity_that_ends_before_it_begins(client: Client, people: People, quill: Pen) -> None:
    fresh = pen(people.log, 7)
    stmt = key_statement("rotated", fresh)
    stmt["valid_until"] = stmt["valid_from"]
    answer = send(client, people, signed_body(stmt, quill.sig(stmt), fresh.sig(stmt)))
    assert refusal(answer) == (400, "bad_value", "/stmt/valid_until")


@pytest.mark.parametrize(
    "weak",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0000000000000000000000000000000000000000000000000000000000000080",
    ],
)
def test_key_of_small_order_is_registered_for_nobody(
    client: Client, people: People, quill: Pen, weak: str
) -> None:
    key = bytes.fromhex(weak)
    stmt = key_statement("rotated", pen(people.log, 7), kid=kid_of(key), public_key=b64url(key))
    answer = send(client, people, signed_body(stmt, quill.sig(stmt), quill.sig(stmt, kid=kid_of(key))))
    assert refusal(answer) == (400, "key_weak", "/stmt/public_key")


def test_key_that_somebody_has_already(client: Client, people: People, quill: Pen) -> None:
    theirs, _ = registered(people.eve_agent.agent, people.other_log, 5)
    mine = Pen(theirs.seed, people.log.origin)
    stmt = key_statement("rotated", mine)
    answer = send(client, people, signed_body(stmt, quill.sig(stmt), mine.sig(stmt)))
    assert refusal(answer) == (409, "id_reused", "/stmt/public_key")


def test_revoking_twice_with_two_statements_is_said(client: Client, people: People, quill: Pen) -> None:
    other, _ = registered(people.ada_agent.agent, people.log, 2)
    assert send(client, people, other.body(key_statement("revoked", quill))).status_code == 201
    answer = send(client, people, other.body(key_statement("revoked", quill)))
    assert refusal(answer) == (400, "key_not_valid", "/stmt/kid")


@pytest.mark.parametrize("event", ["rotated", "revoked"])
def test_equal_key_statements_at_once_make_one_entry(
    client: Client, people: People, quill: Pen, event: str
) -> None:
    target = pen(people.log, 7) if event == "rotated" else quill
    stmt = key_statement(event, target)
    sigs = [quill.sig(stmt), target.sig(stmt)] if event == "rotated" else [quill.sig(stmt)]

    def post(_number: int) -> int:
        try:
            return int(send(client, people, signed_body(stmt, *sigs)).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(post, range(12)))
    assert statuses == [200] * 11 + [201]
    assert Entry.objects.filter(log=people.log).count() == 2


def test_reading_what_is_not_there(people: People) -> None:
    with pytest.raises(NotFound, match="no such record"):
        TransparencyLedger(people.log).get(UUID(new_uuid7(utc_now())))
