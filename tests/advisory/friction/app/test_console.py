"""Friction's pages of the console: what they show, who acts on them, and what each act leaves on the log."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from advisory.friction.models import (
    FrictionAdvice,
    FrictionBypass,
    FrictionRuleSetVersion,
    StandingBypass,
    VersionState,
)
from ecp_project.kernel.clock import utc_now
from ledger.models import Entry
from tests.advisory.friction.world import DF1, SHIPPED, activate

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
FRICTION = "/console/friction/"
ADVICE = f"{FRICTION}frictionadvice/"
BYPASSES = f"{FRICTION}frictionbypass/"
STANDING = f"{FRICTION}standingbypass/"
RULES = f"{FRICTION}frictionrulesetversion/"
MODE = f"{FRICTION}frictionmode/"
REASON = {"reason_code": "time_critical", "reason_text": "Cut-off at the bank is in four minutes."}
SECOND = SHIPPED.replace(b"\nversion: 1\n", b"\nversion: 2\n").replace(b"points: 35", b"points: 36")


def text(world: World, role: str, path: str) -> str:
    answer = world.client(role).get(path)
    assert answer.status_code == 200, (path, answer.status_code, answer.content[:2_000])
    found: str = answer.content.decode()
    return found


def bypassed(world: World, proposal: dict[str, Any] | None = None) -> tuple[dict[str, Any], FrictionBypass]:
    advice = world.ask(proposal).json()
    made = world.post(f"advice/{advice['id']}/bypass/", {"steps": "all"} | REASON).json()
    return advice, FrictionBypass.objects.get(pk=made["id"])


# --- pages


def test_a_page_below_that_of_friction_is_the_only_place_marked(world: World) -> None:
    for path, title in (
        (FRICTION, "Friction"),
        (ADVICE, "Friction"),
        (f"{FRICTION}calibration/", "Calibration"),
    ):
        found = re.findall(r'aria-current="page">([^<]*)</a></li>', text(world, "auditor", path))
        assert found == [title], path


def test_the_page_of_friction_names_the_rules_in_force_and_what_each_does(world: World) -> None:
    bypassed(world)
    page = text(world, "viewer", FRICTION)
    version = FrictionRuleSetVersion.objects.get()
    for told in (version.sha256, "ecp-default", "PAY-100", str(version.entry), "100.0 %"):
        assert told in page, told


def test_without_rules_the_page_says_how_to_get_some(bare_world: World) -> None:
    assert "No rules are in force" in text(bare_world, "viewer", FRICTION)


def test_advice_is_explained_first_then_steps_facts_and_every_comparison(world: World) -> None:
    advice, _ = bypassed(world)
    page = text(world, "auditor", f"{ADVICE}{advice['id']}/change/")
    order = [
        DF1["explanation"], "PAY-100</bdi></strong> (+35)", "Suggested steps", "four minutes", "Facts and where",
        "body:/context/amount_minor", "Every comparison", "≥ 1000000",
    ]  # fmt: skip
    places = [page.index(told) for told in order]
    assert places == sorted(places)


def test_the_list_is_walked_by_key_and_narrowed_by_what_happened(world: World) -> None:
    advice, _ = bypassed(world)
    quiet = DF1 | {"action": "report.write", "context": DF1["context"] | {"environment": "staging"}}
    for _ in range(51):
        world.ask(quiet)
    first = text(world, "viewer", ADVICE)
    assert first.count("frictionadvice/0") == 50
    older = first.partition("?log=acme&amp;before=")[2].partition('"')[0]
    rest = text(world, "viewer", f"{ADVICE}?before={older}")
    assert rest.count("frictionadvice/0") == 2
    for query in ("level=high", "bypassed=true", "rule=PAY-100", "level=high&agent=pay-agent-3"):
        found = text(world, "viewer", f"{ADVICE}?{query}")
        assert (found.count("frictionadvice/0"), advice["id"] in found) == (1, True), query
    assert "No advice fits" in text(world, "viewer", f"{ADVICE}?undeclared=true")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("level=odd", b"bad_value"),
        ("bypassed=maybe", b"bad_value"),
        ("rule=x", b"bad_value"),
        ("before=1", b"invalid_cursor"),
        ("colour=red", b"unknown_key"),
        ("agent=%00", b"bad_value"),
        ("level=low&level=high", b"bad_value"),
    ],
)
def test_a_bad_address_is_told_as_such(world: World, query: str, code: bytes) -> None:
    answer = world.client("viewer").get(f"{ADVICE}?{query}")
    assert (answer.status_code, code in answer.content) == (400, True)


def test_what_belongs_to_another_organisation_is_not_there(world: World) -> None:
    advice, bypass = bypassed(world)
    version = FrictionRuleSetVersion.objects.get()
    stranger = world.client("stranger")
    for path in (f"{ADVICE}{advice['id']}/", f"{BYPASSES}{bypass.pk}/", f"{RULES}{version.pk}/"):
        assert stranger.get(f"{path}change/").status_code == 404
        assert stranger.post(f"{path}change/").status_code == 404
    assert advice["id"] not in stranger.get(ADVICE).content.decode()


# --- panels


def test_the_record_tells_its_advice_and_what_became_of_it(world: World) -> None:
    advice, _ = bypassed(world)
    uid = world.decide(
        {"advice_id": advice["id"], "level": "high", "bypassed": True, "bypass_reason": REASON["reason_text"]}
    )
    world.reconcile()
    steps = ", ".join(str(step["n"]) for step in advice["steps"])  # one more outside staffed hours
    for entry in Entry.objects.filter(uid__in=(uid, advice["id"])):
        kind = "decision" if entry.action else "entry"
        page = text(world, "viewer", f"/console/ledger/{kind}/{entry.pk}/change/")
        assert "PAY-100</bdi></strong> (+35)" in page
        assert f"Bypassed steps {steps}, pay-agent-3" in page
        assert "Review due" in page


def test_entries_and_acts_of_friction_are_called_by_words(world: World) -> None:
    """Neither by the name of their kind nor by the code of the act."""
    uid = world.ask().json()["id"]
    proposed = Entry.objects.filter(kind="ecp.staff/1").order_by("id").first()
    for entry, title in (
        (Entry.objects.get(uid=uid), "Friction advice"),
        (proposed, "Proposed a version of a rule set"),
    ):
        assert entry is not None
        page = text(world, "admin", f"/console/ledger/entry/{entry.pk}/change/")
        assert f"<title>{title} | " in page


def test_the_overview_counts_bypasses_and_names_reviews_that_are_late(world: World) -> None:
    world.ask()
    _, bypass = bypassed(world)
    FrictionBypass.objects.filter(pk=bypass.pk).update(review_due_at=utc_now() - timedelta(minutes=1))
    page = text(world, "auditor", "/console/?full=1")
    for told in ("Advice bypassed", "1 of 2", "payment.transfer", "1 bypass waits for its review longer"):
        assert told in page, told


def test_dashboard_serves_bypass_rates_and_the_heat_map(world: World) -> None:
    world.ask()
    bypassed(world)
    client = world.client("viewer")
    rates = client.get("/api/v1/dashboard/bypass-rate/").json()
    series = {row["name"]: row["values"] for row in rates["series"]}
    assert (series["high.advised"], series["high.bypassed"], series["high.share_milli"]) == ([2], [1], [500])
    assert series["high.low_milli"][0] < 500 < series["high.high_milli"][0]
    assert series["low.share_milli"] == [None]
    heat = client.get("/api/v1/dashboard/friction-heatmap/").json()
    assert heat["buckets"] == ["payment.transfer"]
    assert {"name": "high.advised", "values": [2]} in heat["series"]


def test_decisions_are_found_by_the_rule_that_applied(world: World) -> None:
    advice = world.ask().json()
    uid = world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})
    world.decide()
    world.reconcile()
    page = text(world, "viewer", "/console/ledger/decision/?q=rule:PAY-100")
    assert page.count('class="when"') == 1
    assert str(Entry.objects.get(uid=uid).pk) in page
    assert 'class="when"' not in text(world, "viewer", "/console/ledger/decision/?q=rule:SOC-100")
    assert 'class="when"' not in text(world, "viewer", "/console/ledger/decision/?q=rule:x")


# --- acts


def test_an_auditor_gives_a_verdict_once_and_it_leaves_the_inbox(world: World) -> None:
    _, bypass = bypassed(world)
    path = f"{BYPASSES}{bypass.pk}/change/"
    tab = "/console/reviews/?tab=friction.bypass_reviews"
    auditor = world.client("auditor")
    assert str(bypass.pk) in auditor.get(tab).content.decode()
    assert auditor.post(path, {"verdict": "fine"}).status_code == 400
    assert world.client("operator").post(path, {"verdict": "justified"}).status_code == 403
    assert auditor.post(path, {"verdict": "justified", "note": "The bank confirms it."}).status_code == 302
    assert str(bypass.pk) not in auditor.get(tab).content.decode()
    assert b"state_invalid" in auditor.post(path, {"verdict": "unjustified"}).content
    [noted] = world.statements("ecp.annotation/1")
    assert noted["text"] == "review: justified (The bank confirms it.)"
    assert "Justified" in text(world, "viewer", f"{BYPASSES}?review=done")
    assert "No bypass fits" in text(world, "viewer", f"{BYPASSES}?review=overdue")


def test_a_standing_bypass_counts_down_and_is_ended_by_hand(world: World) -> None:
    operator = world.client("operator")
    form = {"reason": "The whole team is watching.", "hours": "2", "agents": "pay-agent-3, refund-bot"}
    assert world.client("admin").post(STANDING, form).status_code == 403
    for wrong, code in (
        ({"hours": "9"}, b"expiry_too_far"),
        ({"reason": "short"}, b"bypass_reason_too_short"),
    ):
        refused = operator.post(STANDING, form | wrong)
        assert (refused.status_code, code in refused.content) == (400, True)
    assert operator.post(STANDING, form).status_code == 302
    page = text(world, "operator", STANDING)
    assert "agent:pay-agent-3" in page
    assert "1 h 59 min left" in page
    row = StandingBypass.objects.get()
    operator.post(STANDING, {"end": str(row.pk)})
    assert "ended by a person" in text(world, "auditor", STANDING)
    assert operator.post(STANDING, {"end": "x"}).status_code == 400


def test_a_file_is_proposed_by_one_person_and_put_in_force_by_another(world: World) -> None:
    operator, admin = world.client("operator"), world.client("admin")
    bad = operator.post(RULES, {"source": SHIPPED.replace(b"points: 35", b"points: yes").decode()})
    assert (bad.status_code, b"ruleset_invalid" in bad.content, b"Line " in bad.content) == (400, True, True)
    sent = operator.post(RULES, {"file": SimpleUploadedFile("rules.yml", SECOND)})
    assert sent.status_code == 302, sent.content
    draft = FrictionRuleSetVersion.objects.get(state=VersionState.DRAFT)
    path = f"{RULES}{draft.pk}/change/"
    old = FrictionRuleSetVersion.objects.get(state=VersionState.ACTIVE)
    compared = text(world, "viewer", f"{path}?against={old.pk}")
    assert "<del><bdi>35</bdi></del>" in compared
    assert "<ins><bdi>36</bdi></ins>" in compared
    assert operator.post(path, {"to": "active", "reason": "agreed in the meeting"}).status_code == 403
    assert admin.post(path, {"to": "active", "reason": "short"}).status_code == 400
    assert admin.post(path, {"to": "active", "reason": "agreed in the meeting"}).status_code == 302
    old.refresh_from_db()
    draft.refresh_from_db()
    assert (old.state, draft.state) == ("retired", "active")
    assert b"state_invalid" in admin.post(path, {"to": "draft", "reason": "agreed in the meeting"}).content


def test_a_dry_run_shows_every_comparison_and_records_nothing(world: World) -> None:
    version = FrictionRuleSetVersion.objects.get()
    size = Entry.objects.count()
    # Reversible, as what is not asks for more outside the hours of work.
    nearly = DF1 | {"context": DF1["context"] | {"affected_people": 99, "reversible": True}}
    answer = world.client("viewer").post(
        f"{RULES}try/", {"version": str(version.pk), "proposal": json.dumps(nearly)}
    )
    page = answer.content.decode()
    for told in (
        "Nothing was recorded",
        "35 points",
        "Moves 2500000 EUR",
        "PAY-100",
        "SOC-100 (affected_people)",
        "≥ 1000000",
    ):
        assert told in page, told
    for wrong in ("{", '{"action": 1}', "[]"):
        refused = world.client("viewer").post(f"{RULES}try/", {"version": str(version.pk), "proposal": wrong})
        assert refused.status_code == 400, wrong
    assert world.client("viewer").post(f"{RULES}try/", {"version": "x", "proposal": "{}"}).status_code == 400
    assert (Entry.objects.count(), FrictionAdvice.objects.count()) == (size, 0)


def test_an_admin_switches_the_mode_with_a_reason_and_agents_are_told_nothing(world: World) -> None:
    admin = world.client("admin")
    assert admin.post(MODE, {"to": "observer", "reason": "short"}).status_code == 400
    form = {"to": "observer", "reason": "first weeks: see what would be suggested"}
    assert world.client("operator").post(MODE, form).status_code == 403
    assert admin.post(MODE, form).status_code == 302
    assert "Observer mode" in text(world, "viewer", FRICTION)
    assert world.ask().json()["level"] is None
    [switched] = [stmt for stmt in world.statements("ecp.mode/1") if stmt["dimension"] == "advisory"]
    assert (switched["from"], switched["to"], switched["reason"]) == ("friction", "observer", form["reason"])


def test_rules_past_their_day_ask_for_attention(bare_world: World) -> None:
    old = SHIPPED.replace(b"  - id: PAY-100\n", b'  - id: PAY-100\n    review_by: "2026-01-31"\n')
    assert old != SHIPPED
    activate(bare_world.people, old)
    page = text(bare_world, "admin", "/console/?full=1")
    assert "1 rule in force is past the day" in page
    assert "due for another look" in text(bare_world, "admin", FRICTION)
