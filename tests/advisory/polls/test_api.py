"""Polls over HTTP: one whole poll, the inbox, files, schedules, and the disclaimer in all of them."""

from __future__ import annotations

import csv
import io
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from advisory.polls.models import PollInvitation, PollSchedule
from ecp_project.api import throttling
from ecp_project.env import Rate
from ecp_project.kernel.canonical import encode
from ledger.models import Agent, Membership
from tests.advisory.polls.test_lifecycle import statements
from tests.console.desk import staff_acts
from tests.factories.polls import BODY, Story, asked_agents, brought_to, signed_answer
from tests.ledger.signing import registered

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
JSON = "application/json"
POLLS = "/api/v1/polls/"


def staff(people: People) -> Client:
    client = Client()
    client.force_login(people.ada)
    return client


def send(client: Client, url: str, body: Any = None, **headers: Any) -> Any:
    raw = b"" if body is None else encode(body)
    return client.post(url, raw, content_type=JSON, **headers)


def test_draft_is_made_and_walked_by_its_links(people: People) -> None:
    asked_agents(people, 9)
    client = staff(people)
    made = send(client, POLLS, BODY)
    assert made.status_code == 201, made.content
    document = made.json()
    assert made.headers["Location"] == f"{POLLS}{document['id']}/"
    assert (document["state"], document["frame_size"]) == ("draft", None)
    assert set(document["links"]) == {"commit", "cancel"}
    committed = send(client, document["links"]["commit"])
    assert committed.status_code == 200
    assert (committed.json()["state"], committed.json()["frame_size"]) == ("committed", 9)
    early = send(client, committed.json()["links"]["draw"])
    assert (early.status_code, early.json()["code"]) == (409, "poll_state")
    assert int(early.headers["Retry-After"]) > 0
    refused = send(client, committed.json()["links"]["cancel"], {"reason": "no"})
    assert (refused.status_code, refused.json()["code"], refused.json()["pointer"]) == (
        400, "value_invalid", "/reason",
    )  # fmt: skip
    cancelled = send(client, committed.json()["links"]["cancel"], {"reason": "Asked too early."})
    assert (cancelled.json()["state"], cancelled.json()["links"]) == ("cancelled", {})
    assert statements("ecp.poll.committed/1")[0]["actor"].startswith("staff:")


def test_list_has_pages_and_states(people: People) -> None:
    for _ in range(3):
        Story(people)
    client = staff(people)
    first = client.get(POLLS, {"page_size": "2"}).json()
    second = client.get(POLLS, {"page_size": "2", "cursor": first["next"]}).json()
    assert [len(first["results"]), len(second["results"]), second["next"]] == [2, 1, None]
    assert len({one["id"] for one in first["results"] + second["results"]}) == 3
    assert client.get(POLLS, {"state": "open"}).json()["results"] == []
    assert client.get(POLLS, {"state": "ajar"}).status_code == 400
    assert client.get(POLLS, {"mood": "good"}).json()["code"] == "unknown_key"


def test_creation_is_limited_for_each_organisation(people: People, settings: Any) -> None:
    settings.ECP_RATES = settings.ECP_RATES | {"poll": Rate(1 / 3600, 1)}
    throttling.reset()
    client = staff(people)
    assert send(client, POLLS, BODY).status_code == 201
    answer = send(client, POLLS, BODY)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    throttling.reset()


def test_agent_reads_its_inbox_and_answers(people: People) -> None:
    Agent.objects.filter(pk=people.ada_agent.agent.pk).update(accepts_polls=True)
    pen, _ = registered(people.ada_agent.agent, people.log)
    story = brought_to(people, "open", n=1)
    client, headers = Client(), people.ada_agent.headers
    assert client.get(f"{POLLS}inbox/", **people.eve_agent.headers).json() == {"results": []}
    (invitation,) = client.get(f"{POLLS}inbox/", {"wait": "3"}, **headers).json()["results"]
    assert invitation["agent_id"] == "pricing-bot"
    assert sorted(invitation["options"]) == ["abstain", "oppose", "support"]
    row = PollInvitation.objects.select_related("agent", "poll").get()
    assert row.state == "delivered"
    answer = signed_answer(row, seed=pen.seed)
    first = send(client, invitation["answer_url"], answer, **headers)
    assert (first.status_code, first.json()["duplicate"]) == (201, False)
    again = send(client, invitation["answer_url"], answer, **headers)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    foreign = send(client, invitation["answer_url"], answer, **people.eve_agent.headers)
    assert foreign.status_code == 404
    for raw, code in ((b"{", "malformed_json"), (b'{"a": 1}', "not_canonical"), (b"{}", "schema_invalid")):
        broken = client.post(invitation["answer_url"], raw, content_type=JSON, **headers)
        assert (broken.status_code, broken.json()["code"]) == (400, code)
    assert client.get(f"{POLLS}inbox/", **headers).json()["results"] == []
    assert client.get(f"{POLLS}inbox/", {"wait": "26"}, **headers).status_code == 400
    open_results = staff(people).get(f"{POLLS}{story.id}/results/")
    assert (open_results.status_code, open_results.json()["code"]) == (409, "poll_open")
    assert "closes_at" in open_results.json()


def test_agent_declines(people: People) -> None:
    Agent.objects.filter(pk=people.ada_agent.agent.pk).update(accepts_polls=True)
    story = brought_to(people, "open", n=1)
    body = {"declined": "yes", "invitation_id": str(story.invitations()[0].id)}
    answer = send(Client(), f"{POLLS}{story.id}/responses/", body, **people.ada_agent.headers)
    assert answer.json() == {"declined": "yes"}
    assert story.invitations()[0].state == "declined"


def test_key_of_the_organisation_answers_nothing(people: People) -> None:
    from ecp_project.kernel.clock import utc_now  # noqa: PLC0415 - its only use
    from ledger.services.identities import apikey_create  # noqa: PLC0415 - as above

    issued = apikey_create(organisation=people.acme, agent=None, scopes=("polls:answer",), now=utc_now())
    answer = Client().get(f"{POLLS}inbox/", HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    assert (answer.status_code, answer.json()["code"]) == (403, "agent_not_allowed")


def test_closed_poll_in_all_its_representations(people: People) -> None:
    asked_agents(people, 9)
    story = brought_to(people, "open")
    evil = '=HYPERLINK("https://evil.example")<script>alert(1)</script>'
    rows = story.invitations()
    story.say(rows[0], rationale=evil)
    story.say(rows[1], "oppose")
    client = staff(people)
    place = f"{POLLS}{story.id}/"
    for name in ("proof", "responses"):
        assert client.get(f"{place}{name}/").json()["code"] == "poll_open"
    progress = client.get(f"{place}progress/").json()
    assert (progress["answered"], progress["drawn"]) == (2, 8)
    closed = send(client, f"{place}close/", {"reason": "Enough has been said."})
    assert closed.json()["state"] == "closed", closed.content
    result = client.get(f"{place}results/").json()
    said = result["disclaimer"]
    assert said == (
        "This poll is non-binding. It neither approves nor forbids any action. "
        "It describes 2 answers from 8 sampled agents of 9 to the stated question."
    )
    assert progress["disclaimer"].startswith("This poll is non-binding.")
    lines = client.get(f"{place}responses/").content
    assert sha256(lines).hexdigest() == statements("ecp.poll.closed/1")[0]["responses_file_sha256"]
    assert [json.loads(line)["payload"]["choice"] for line in lines.splitlines()] == ["support", "oppose"]
    table = client.get(f"{place}responses/", {"format": "csv"})
    assert table.headers["Content-Disposition"] == 'attachment; filename="poll-responses.csv"'
    read = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert {row["disclaimer"] for row in read} == {said}
    assert read[0]["rationale"] == f"'{evil}"  # no formula for a spreadsheet
    assert client.get(f"{place}responses/", {"format": "pdf"}).status_code == 400
    proof = client.get(f"{place}proof/").json()
    assert proof["answered"] == 2
    assert "operator-influenced" in proof["weakness"]
    assert result["minority_report"]["option"] == "oppose"


def test_size_helper(people: People) -> None:
    client = staff(people)
    answer = send(client, f"{POLLS}size/", {"frame_size": 200, "margin_pct": 10})
    assert answer.json() == {"frame_size": 200, "margin_pct": 10, "confidence_pct": 95, "n": 66}
    assert send(client, f"{POLLS}size/", {"frame_size": 0, "margin_pct": 10}).status_code == 400


def test_schedules_are_made_changed_and_run(people: People) -> None:
    asked_agents(people, 9)
    client = staff(people)
    body = {"title": "Weekly mood", "cron": "0 9 * * 1", "timezone": "Europe/Vienna", "template": BODY}
    made = send(client, f"{POLLS}schedules/", body)
    assert made.status_code == 201, made.content
    assert len(made.json()["next_runs"]) == 5
    place = f"{POLLS}schedules/{made.json()['id']}/"
    assert send(client, f"{POLLS}schedules/", body | {"cron": "@daily"}).json()["code"] == "cron_invalid"
    run = send(client, f"{place}run/")
    assert (run.status_code, run.json()["skipped"]) == (201, None)
    assert PollSchedule.objects.get().runs == 1
    changed = client.patch(place, json.dumps({"enabled": False}), content_type=JSON)
    assert (changed.json()["next_due_at"], changed.json()["next_runs"]) == (None, [])
    listed = client.get(f"{POLLS}schedules/").json()["results"]
    assert [one["history"][0]["poll_id"] for one in listed] == [run.json()["poll_id"]]
    poll = client.get(f"{POLLS}{run.json()['poll_id']}/").json()
    assert (poll["auto"], poll["schedule_id"]) == (True, made.json()["id"])
    acts = [(act["action"], act["object"], act.get("detail")) for act in staff_acts(people.log)]
    name = f"schedule:{made.json()['id']}"
    assert acts == [
        ("polls.schedule_create", name, None),
        ("polls.schedule_run", name, None),
        ("polls.schedule_change", name, {"fields": "enabled"}),
    ]


def test_who_opens_a_poll_is_on_record_and_the_beat_needs_no_name(people: People) -> None:
    asked_agents(people, 9)
    by_hand, by_beat = Story(people).commit().draw(), Story(people).commit().draw()
    assert send(staff(people), f"{POLLS}{by_hand.id}/open/").status_code == 200
    by_beat.open()
    [act] = staff_acts(people.log)
    actor = f"staff:{Membership.objects.get(user=people.ada).pseudonym}"
    assert (act["action"], act["object"], act["actor"]) == ("polls.open", f"poll:{by_hand.id}", actor)


def test_delivery_keys_are_public(settings: Any, tmp_path: Any) -> None:
    from ecp_project.api import delivery  # noqa: PLC0415 - its only use
    from ecp_project.kernel.clock import utc_now  # noqa: PLC0415 - as above

    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "keys" / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "keys" / "delivery-keys.json"
    assert Client().get("/.well-known/ecp-delivery-keys").json()["keys"] == []
    kid = delivery.make_key(now=utc_now())
    (key,) = Client().get("/.well-known/ecp-delivery-keys").json()["keys"]
    assert key["kid"] == kid
    with pytest.raises(FileExistsError):
        delivery.make_key(now=utc_now())


def test_agent_on_this_machine_can_be_registered_in_development_alone(people: People, settings: Any) -> None:
    client = staff(people)
    body = {"slug": "near-bot", "endpoint": "http://127.0.0.1:9801/", "accepts_polls": True}
    settings.ECP_OUTBOUND_LOOPBACK = False
    refused = send(client, "/api/v1/agents/", body)
    assert (refused.status_code, refused.json()["code"]) == (400, "endpoint_forbidden")
    settings.ECP_OUTBOUND_LOOPBACK = True
    assert send(client, "/api/v1/agents/", body).status_code == 201
    assert (
        send(client, "/api/v1/agents/", body | {"slug": "b2", "endpoint": "http://10.0.0.1/"}).status_code
        == 400
    )
