"""Shared dialogues over HTTP: the batch cases, and the bad-input corpus as far as it concerns the ledger."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Head
from ledger.services.identities import apikey_create, apikey_revoke
from tests.people import People, machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.db

# SECURITY names the fault, the wire carries LEDGER's code for it (README of the design).
LEDGER_CODES = {
    ("malformed_json", "too_deep"): {"too_deep"},
    ("malformed_json", "duplicate_key"): {"duplicate_key"},
    ("malformed_json", "not_object"): {"wrong_type"},
    ("not_canonical", "character"): {"bad_text"},
    ("not_canonical", "nfc"): {"text_not_nfc"},
    ("not_canonical", "number"): {"malformed_json", "integer_out_of_range", "number_not_integer"},
    ("validation_failed", "type"): {"wrong_type"},
    ("validation_failed", "length"): {"bad_value"},
    ("unknown_key", None): {"unknown_field"},
}


def size_of(people: People) -> int:
    return Head.objects.get(log=people.log).size


def test_batch_dialogue(client: Client, people: People, shared: Path) -> None:
    dialogue = json.loads((shared / "vectors/ledger/cases/batch.json").read_text())
    for case in dialogue["cases"]:
        before = size_of(people)
        lines = case.get("lines")
        if lines is None:
            lines = [
                json.dumps({"id": new_uuid7(utc_now()), "agent": "pricing-bot", "action": "price.change",
                            "explanation": f"Item {number} is cheaper elsewhere."})
                for number in range(case["generate"]["count"])
            ]  # fmt: skip
        body = case["body"].encode() if "body" in case else "\n".join(lines).encode()
        answer = client.post(
            "/api/v1/decisions/batch/",
            body,
            content_type=case.get("content_type", "application/x-ndjson"),
            # The test client leaves the type out of an empty request.
            CONTENT_TYPE=case.get("content_type", "application/x-ndjson"),
            **people.ada_agent.headers,
        )
        assert answer.status_code == case["status"], (case["name"], answer.content[:400])
        if "type" in case:
            assert answer.json()["type"] == case["type"], case["name"]
        if "code" in case:
            assert answer.json()["code"] == case["code"], case["name"]
        assert size_of(people) - before == case.get("grown", 0), case["name"]
        got = [json.loads(line) for line in answer.content.splitlines()] if "results" in case else []
        for result, wanted in zip(got, case.get("results", []), strict=True):
            for name, value in wanted.items():
                assert result.get(name) == value, (case["name"], result)


def corpus(shared: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (shared / "vectors/security/cases.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_bad_input_corpus(  # noqa: C901 - one story: fill in, send, judge
    client: Client, people: People, shared: Path
) -> None:
    wrong: list[tuple[Any, ...]] = []
    stored = client.post(
        "/api/v1/decisions/",
        json.dumps(
            {"agent": "pricing-bot", "action": "price.change", "explanation": "An entry to look for."}
        ),
        content_type="application/json",
        **people.ada_agent.headers,
    ).json()
    other = client.post(
        "/api/v1/decisions/",
        json.dumps({"agent": "eve-bot", "action": "price.change", "explanation": "An entry of strangers."}),
        content_type="application/json",
        **people.eve_agent.headers,
    ).json()
    machine(people.acme, "colleague-bot")
    now = utc_now()
    expired = apikey_create(
        organisation=people.acme, agent=None, scopes=["decisions:read"], now=now - timedelta(days=91)
    )
    revoked = apikey_create(organisation=people.acme, agent=None, scopes=["decisions:read"], now=now)
    apikey_revoke(key=revoked.row, now=now)
    staff = Client()
    staff.force_login(people.ada)
    for number, case in enumerate(corpus(shared)):
        tokens = {
            "MIN": '"agent":"pricing-bot","action":"price.change"',
            "LINE": json.dumps({"id": new_uuid7(utc_now()), "agent": "pricing-bot", "action": "price.change",
                                "explanation": "One good line of a batch."}),
            "AGENT_MIN": f'"slug":"agent-{number}"',
            "ENDPOINT": "endpoint",
            "AGENT_ID": "slug",
            "AGENT_REST": '"title":"An agent"',
            "DECISION": stored["id"],
            "LOG": "acme",
            "KEY": people.ada_agent.key,
            "KEY_PREFIX": people.ada_agent.key[4:12],
            "KEY_CUT": people.ada_agent.key[:-1],
            "KEY_EXPIRED": expired.text,
            "KEY_REVOKED": revoked.text,
            "OTHER_DECISION": other["id"],
            "OTHER_DECISION_UPPER": other["id"].upper(),
            "OTHER_AGENT": "eve-bot",
            "COLLEAGUE_AGENT": "colleague-bot",
        }  # fmt: skip

        def filled(text: str, tokens: dict[str, str] = tokens) -> str:
            for name, value in tokens.items():
                if name != "LINE":
                    text = text.replace("{{" + name + "}}", value)
            while "{{LINE}}" in text:
                line = json.loads(tokens["LINE"]) | {"id": new_uuid7(utc_now())}
                text = text.replace("{{LINE}}", json.dumps(line), 1)
            return text

        body = filled(case["body"]).encode("utf-8", "surrogatepass") if "body" in case else b""
        if "body_b64" in case:
            body = base64.b64decode(case["body_b64"])
            for name in ("MIN",):
                body = body.replace(b"{{MIN}}", tokens[name].encode())
        headers: dict[str, Any] = {
            f"HTTP_{name.upper().replace('-', '_')}": filled(value)
            for name, value in case.get("headers", {}).items()
        }
        content_type = headers.pop("HTTP_CONTENT_TYPE", "application/json")
        caller = client
        if case["auth"] == "agent":
            headers = people.ada_agent.headers | headers
        elif case["auth"].startswith("staff:"):
            caller = staff
        before = size_of(people)
        answer = caller.generic(
            case["method"], filled(case["path"]), body, content_type=content_type, **headers
        )
        grown = size_of(people) - before
        told = (case["id"], answer.status_code, answer.content[:200])
        if answer.status_code not in case["status"]:
            wrong.append(told)
            continue
        if answer.status_code >= 400:
            if not answer.headers["Content-Type"].startswith("application/problem+json"):
                wrong.append((*told, "no problem document"))
            elif "code" in case:
                codes = LEDGER_CODES.get((case["code"], case.get("reason")), {case["code"]})
                if answer.json()["code"] not in codes:
                    wrong.append((*told, f"wanted {codes}"))
        is_append = (case["method"], case["path"]) == ("POST", "/api/v1/decisions/")
        if is_append and grown != (answer.status_code == 201):
            wrong.append((*told, f"grew by {grown}"))
    assert not wrong, "\n".join(map(str, wrong))
