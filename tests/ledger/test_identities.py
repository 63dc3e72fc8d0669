"""Organisations, agents, API keys, signing keys: what is refused, what races, what the log tells."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db import connections

from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Invalid, Unavailable
from ecp_project.kernel.signing import b64url_decode, kid_of, public_from_seed, sign, verify
from ledger.core.entry import parse_entry, signed_message
from ledger.models import Agent, AgentKey, ApiKey, Entry, Head, Log, Organisation
from ledger.services.agentkeys import agent_key_add, agent_key_revoke
from ledger.services.identities import (
    MAX_KEYS_PER_AGENT,
    agent_create,
    apikey_create,
    apikey_revoke,
    organisation_create,
)
from ledger.services.operations import mode_switch
from ledger.services.verification import verify_log
from tests.ledger.signing import JSON, Pen, decision_statement, pen, registered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def statements(log: Log, kind: str) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=log, kind=kind).order_by("seq").values_list("entry", flat=True)
    return [parse_entry(bytes(raw)).stmt for raw in rows]


def halt(log: Log) -> None:
    mode_switch(log=log, to="halt", reason="The auditor is here.", actor="system:shell", now=utc_now())


# --- signing keys
def test_key_is_announced_with_its_row_and_signed_by_itself(
    people: People, checkpointer: Checkpointer
) -> None:
    now = utc_now()
    made, row = registered(people.ada_agent.agent, people.log, valid_until=now + timedelta(days=30))
    (entry,) = Entry.objects.filter(kind="ecp.key/1")
    parsed = parse_entry(bytes(entry.entry))
    stmt = parsed.stmt
    assert (stmt["event"], stmt["holder"], stmt["actor"]) == ("added", "agent:pricing-bot", "system:test")
    assert (stmt["kid"], b64url_decode(stmt["public_key"])) == (row.kid, bytes(row.public_key))
    assert stmt["valid_until"] == format_time(now + timedelta(days=30))
    (signature,) = parsed.sigs
    assert verify(made.public_key, signature.sig, signed_message(people.log.origin, parsed.stmt_raw))
    checkpointer.turn()
    assert verify_log(log=people.log).ok


def test_key_that_nobody_proves_to_hold_is_not_registered(people: People) -> None:
    with pytest.raises(BadRequest) as refused:
        agent_key_add(
            agent=people.ada_agent.agent,
            public_key=public_from_seed(bytes([1]) * 32),
            valid_from=utc_now(),
            valid_until=None,
            actor="system:test",
            prove=lambda message: sign(bytes([2]) * 32, message),
            now=utc_now(),
        )
    assert refused.value.code == "bad_signature"
    assert not AgentKey.objects.exists()
    assert not Entry.objects.exists()


def add(people: People, **members: Any) -> AgentKey:
    seed, now = bytes([1]) * 32, utc_now()
    arguments: dict[str, Any] = {
        "agent": people.ada_agent.agent,
        "public_key": public_from_seed(seed),
        "valid_from": now,
        "valid_until": None,
        "actor": "system:test",
        "prove": lambda message: sign(seed, message),
        "now": now,
    }
    return agent_key_add(**arguments | members)


@pytest.mark.parametrize("weak", [b"", bytes(31), bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_weak_key_is_refused(people: People, weak: bytes) -> None:
    with pytest.raises(BadRequest, match="key_weak") as refused:
        add(people, public_key=weak)
    assert refused.value.pointer == "/public_key"


def test_validity_must_end_after_it_begins(people: People) -> None:
    now = utc_now()
    with pytest.raises(BadRequest, match="must be after valid_from") as refused:
        add(people, valid_from=now, valid_until=now)
    assert refused.value.pointer == "/valid_until"


def test_same_key_twice_is_a_conflict_also_for_another_agent(people: People) -> None:
    add(people)
    for agent in (people.ada_agent.agent, people.eve_agent.agent):
        with pytest.raises(Conflict, match="registered already"):
            add(people, agent=agent)
    assert Entry.objects.filter(kind="ecp.key/1").count() == 1


def test_halted_log_registers_and_revokes_no_key(people: People) -> None:
    key = add(people)
    halt(people.log)
    with pytest.raises(Unavailable, match="ledger_halted"):
        registered(people.ada_agent.agent, people.log, 2)
    with pytest.raises(Unavailable, match="ledger_halted"):
        agent_key_revoke(key=key, actor="system:test", reason="Lost.", now=utc_now())
    assert list(AgentKey.objects.values_list("kid", "revoked_at")) == [(key.kid, None)]


def test_revocation_is_told_once(people: People, checkpointer: Checkpointer) -> None:
    key, now = add(people), utc_now()
    assert agent_key_revoke(key=key, actor="system:test", reason="The laptop was stolen.", now=now)
    assert agent_key_revoke(key=key, actor="system:test", reason="Once more.", now=now) is None
    added, revoked = statements(people.log, "ecp.key/1")
    assert (revoked["event"], revoked["reason"]) == ("revoked", "The laptop was stolen.")
    assert (revoked["kid"], revoked["public_key"]) == (added["kid"], added["public_key"])
    key.refresh_from_db()
    assert (key.revoked_at, key.revoked_reason) == (now, "The laptop was stolen.")
    checkpointer.turn()
    assert verify_log(log=people.log).ok


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_commands_make_and_revoke_a_key_that_signs(client: Client, people: People, tmp_path: Path) -> None:
    file = tmp_path / "pricing-bot.key"
    command = ("agentkey_create", "--org", "acme", "--agent", "pricing-bot", "--to", str(file))
    assert "is announced" in run(*command, "--days", "30")
    assert file.stat().st_mode & 0o777 == 0o400
    seed = b64url_decode(file.read_text().strip())
    made = Pen(seed, people.log.origin)
    headers = people.ada_agent.headers
    url = "/api/v1/logs/acme/entries/"
    answer = client.post(url, made.body(decision_statement()), content_type=JSON, **headers)
    assert answer.status_code == 201, answer.content
    revocation = ("agentkey_revoke", "--reason", "It is not needed.", "--", made.kid)
    assert "recorded at position 2" in run(*revocation)
    assert "revoked before" in run(*revocation)
    answer = client.post(url, made.body(decision_statement()), content_type=JSON, **headers)
    assert answer.json()["code"] == "key_not_valid"


def test_key_whose_id_begins_with_a_dash_is_revoked_like_any_other(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = people.ada_agent.agent
    number = next(n for n in count(1) if pen(people.log, n).kid.startswith("-"))
    _, key = registered(agent, people.log, number)
    execute_from_command_line(["manage.py", "agentkey_revoke", key.kid, "--reason", "It leaked."])
    assert f"{key.kid} is revoked" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        execute_from_command_line(["manage.py", "agentkey_revoke", "--reason", "It leaked.", "-" + "x" * 21])
    assert "there is no key -xxx" in capsys.readouterr().err


def test_commands_say_what_is_wrong_and_leave_no_key_behind(people: People, tmp_path: Path) -> None:
    file = tmp_path / "new.key"
    for command, sentence in (
        (("agentkey_create", "--org", "acme", "--agent", "nobody", "--to", str(file)), "has no agent"),
        (("agentkey_create", "--org", "nobody", "--agent", "x", "--to", str(file)), "no organisation"),
        (("agentkey_create", "--org", "acme", "--agent", "pricing-bot", "--to", str(file), "--days", "0"),
         "must be after"),
        (("agentkey_revoke", "A" * 22, "--reason", "Unknown to us."), "there is no key"),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=sentence):
            run(*command)
        assert not file.exists()
    file.write_text("mine")
    with pytest.raises(CommandError, match="cannot be made"):
        run("agentkey_create", "--org", "acme", "--agent", "pricing-bot", "--to", str(file))
    assert file.read_text() == "mine"
    halt(people.log)
    other = tmp_path / "halted.key"
    with pytest.raises(CommandError, match="no entries are taken"):
        run("agentkey_create", "--org", "acme", "--agent", "pricing-bot", "--to", str(other))
    assert not other.exists()
    row = AgentKey.objects.create(
        agent=people.ada_agent.agent, kid=kid_of(b"x"), public_key=bytes(32), valid_from=utc_now()
    )
    with pytest.raises(CommandError, match="no entries are taken"):
        run("agentkey_revoke", row.kid, "--reason", "The log is halted.")


# --- API keys
def test_key_and_its_revocation_are_staff_acts_that_hold_no_secret(people: People) -> None:
    now = utc_now()
    issued = apikey_create(
        organisation=people.acme,
        agent=people.ada_agent.agent,
        scopes=("ledger:read", "decisions:read"),
        now=now,
        actor="staff:" + str(people.ada.memberships.get().pseudonym),
    )
    for _ in range(2):
        apikey_revoke(key=issued.row, now=now, actor="system:shell")
    created, revoked = statements(people.log, "ecp.staff/1")
    assert (created["action"], revoked["action"]) == ("apikey.create", "apikey.revoke")
    assert created["object"] == revoked["object"] == f"apikey:{issued.row.prefix}"
    assert created["actor"].startswith("staff:")
    assert created["detail"] == {
        "agent": "pricing-bot",
        "scopes": "decisions:read ledger:read",
        "expires_at": format_time(now + timedelta(days=90)),
    }
    secret = issued.text.rpartition("_")[2]
    assert not any(secret.encode() in bytes(raw) for raw in Entry.objects.values_list("entry", flat=True))


def test_revoked_key_in_use_is_told_once_and_refused_always(client: Client, people: People) -> None:
    issued = apikey_create(organisation=people.acme, agent=None, scopes=("ledger:read",), now=utc_now())
    headers: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {issued.text}"}
    assert client.get("/api/v1/logs/", **headers).status_code == 200
    apikey_revoke(key=issued.row, now=utc_now())
    halt(people.log)
    assert client.get("/api/v1/logs/", **headers).status_code == 401  # nothing can be recorded
    mode_switch(log=people.log, to="active", reason="All is well.", actor="system:shell", now=utc_now())
    wrong: dict[str, Any] = {
        "HTTP_AUTHORIZATION": f"Bearer {issued.text[:-1]}{'A' if issued.text[-1] != 'A' else 'B'}"
    }
    bodies = [client.get("/api/v1/logs/", **with_key) for with_key in (wrong, headers, headers)]
    assert {answer.status_code for answer in bodies} == {401}
    assert len({json.dumps(answer.json() | {"request_id": ""}) for answer in bodies}) == 1
    (told,) = statements(people.log, "ecp.staff/1")
    assert (told["action"], told["object"]) == (
        "apikey.use_after_revocation", f"apikey:{issued.row.prefix}",
    )  # fmt: skip


def test_refused_act_leaves_neither_row_nor_entry(people: People) -> None:
    halt(people.log)
    before = ApiKey.objects.count()
    with pytest.raises(Unavailable):
        apikey_create(
            organisation=people.acme, agent=None, scopes=("export",), now=utc_now(), actor="system:shell"
        )
    with pytest.raises(Unavailable):
        agent_create(organisation=people.acme, slug="late-bot", actor="system:shell", now=utc_now())
    assert ApiKey.objects.count() == before
    assert not Agent.objects.filter(slug="late-bot").exists()


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"scopes": ()}, "name at least one scope"),
        ({"scopes": ("ledger:read", "world:rule")}, "unknown scope world:rule"),
        ({"life": timedelta(0)}, "1 to 400 days"),
        ({"life": timedelta(days=401)}, "1 to 400 days"),
    ],
)
def test_key_that_is_refused(people: People, members: dict[str, Any], sentence: str) -> None:
    arguments: dict[str, Any] = {
        "organisation": people.acme, "agent": None, "scopes": ("export",), "now": utc_now(),
    }  # fmt: skip
    with pytest.raises(Invalid, match=sentence):
        apikey_create(**arguments | members)


def test_key_speaks_for_no_agent_of_another_organisation(people: People) -> None:
    with pytest.raises(Invalid, match="another organisation"):
        apikey_create(
            organisation=people.acme, agent=people.eve_agent.agent, scopes=("export",), now=utc_now()
        )


def at_once(act: Callable[[int], object], times: int) -> list[object]:
    def guarded(number: int) -> object:
        try:
            return act(number)
        except EcpError as problem:
            return problem.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(guarded, range(times)))


def test_eleventh_key_is_refused_also_when_many_ask_at_once(people: People) -> None:
    agent, now = people.ada_agent.agent, utc_now()
    for _ in range(MAX_KEYS_PER_AGENT - 2):  # one is there, one is left
        apikey_create(organisation=people.acme, agent=agent, scopes=("export",), now=now)
    answers = at_once(
        lambda _: apikey_create(organisation=people.acme, agent=agent, scopes=("export",), now=now), 5
    )
    assert answers.count("id_reused") == 4
    oldest = ApiKey.objects.filter(agent=agent).order_by("id").first()
    assert oldest is not None
    apikey_revoke(key=oldest, now=now)
    apikey_create(organisation=people.acme, agent=agent, scopes=("export",), now=now)
    assert ApiKey.objects.filter(agent=agent, revoked_at__isnull=True).count() == MAX_KEYS_PER_AGENT


# --- agents and organisations
def test_agent_registered_over_http_is_a_staff_act(client: Client, people: People) -> None:
    client.force_login(people.ada)
    answer = client.post("/api/v1/agents/", json.dumps({"slug": "new-bot"}), content_type=JSON)
    assert answer.status_code == 201, answer.content
    (told,) = statements(people.log, "ecp.staff/1")
    assert (told["action"], told["object"]) == ("agent.register", "agent:new-bot")
    assert told["actor"] == f"staff:{people.ada.memberships.get().pseudonym}"


def test_agent_is_registered_once_also_when_many_ask_at_once(people: People) -> None:
    answers = at_once(
        lambda _: agent_create(organisation=people.acme, slug="new-bot", actor="system:shell", now=utc_now()),
        5,
    )
    assert answers.count("id_reused") == 4
    assert len(statements(people.log, "ecp.staff/1")) == 1
    assert agent_create(organisation=people.other, slug="new-bot").slug == "new-bot"


@pytest.mark.parametrize("slug", ["", "a", "Upper", "-x", "x y", "x" * 65, "ö-bot", "bot\n"])
def test_slug_that_is_none(people: People, slug: str) -> None:
    with pytest.raises(Invalid) as refused:
        agent_create(organisation=people.acme, slug=slug)
    assert refused.value.pointer == "/slug"
    with pytest.raises(Invalid):
        organisation_create(slug=slug, title="", now=utc_now())


def test_organisation_comes_with_an_empty_log_once(people: People) -> None:
    organisation, log = organisation_create(slug="third", title="", now=utc_now())
    assert (organisation.title, log.origin.endswith("/log/third"), log.is_public) == ("third", True, False)
    assert Head.objects.get(log=log).size == 0
    answers = at_once(lambda _: organisation_create(slug="fourth", title="", now=utc_now()), 4)
    assert answers.count("id_reused") == 3
    with pytest.raises(Conflict):
        organisation_create(slug="acme", title="", now=utc_now())
    assert Organisation.objects.count() == Log.objects.count() == 4
    del people


def test_acts_before_the_log_is_open_are_the_set_up(checkpointer: Checkpointer) -> None:
    """A log that the checkpointer has never seen takes nothing, and the first keys are made before that."""
    run("org_create", "acme")
    run("agent_create", "pricing-bot", "--org", "acme")
    run("apikey_create", "--org", "acme", "--agent", "pricing-bot")
    assert not Entry.objects.exists()
    checkpointer.turn()
    run("apikey_create", "--org", "acme", "--agent", "pricing-bot")
    run("agent_create", "second-bot", "--org", "acme")
    log = Log.objects.get()
    assert [stmt["action"] for stmt in statements(log, "ecp.staff/1")] == ["apikey.create", "agent.register"]
    assert {stmt["actor"] for stmt in statements(log, "ecp.staff/1")} == {"system:shell"}
