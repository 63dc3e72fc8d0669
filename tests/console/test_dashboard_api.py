"""The dashboard API: figures equal the entries, within the caller's scope, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from ecp_project.console import dashboard
from ecp_project.console.rollups import keep_up
from ecp_project.kernel.clock import format_time, parse_time, utc_now
from ecp_project.kernel.panels import Panel, PanelContext, Registry, Slot
from ledger.models import Membership, Role
from tests.console.desk import annotation, decision, record, signed_in
from tests.factories.entries import announced_key
from tests.people import machine, person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.people import People

pytestmark = pytest.mark.db
API = "/api/v1/dashboard/"
BYPASSED = {
    "advice_id": "019aaaaa-0000-7000-8000-000000000001", "level": "high", "bypassed": True,
    "bypass_reason": "The offer ended within the hour.",
}  # fmt: skip


@pytest.fixture
def acme(people: People) -> People:
    """Four decisions and a note at Acme, one decision at Umbra, all counted."""
    machine(people.acme, "stock-bot")
    made = record(
        people.log,
        decision(),
        decision(risk="high"),
        decision(risk="critical", advisory=BYPASSED),
        decision(agent="stock-bot", action="order.place"),
    )
    record(people.log, annotation(made[0], "Sales of the lamp rose within a week."))
    record(people.other_log, decision(agent="eve-bot"))
    for log in (people.log, people.other_log):
        keep_up(log_id=log.id)
    return people


def asked(who: Any, name: str, **query: str) -> dict[str, Any]:
    answer = who.get(f"{API}{name}/", query)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def refused(who: Any, name: str, **query: str) -> tuple[int, str]:
    answer = who.get(f"{API}{name}/", query)
    return answer.status_code, answer.json()["code"]


def series(document: Mapping[str, Any]) -> dict[str, int]:
    return {row["name"]: sum(row["values"]) for row in document["series"]}


def test_summary_tells_totals_of_the_range(acme: People) -> None:
    found = asked(signed_in(acme.ben), "summary")
    assert found["v"] == "ecp.dashboard/1"
    assert found["as_of"] == {"log": "acme", "size": 5}
    assert len(found["buckets"]) == 1
    assert series(found) == {"decisions": 4, "high_risk": 2, "bypassed": 1, "agents": 2}


@pytest.mark.parametrize("since", ["now-1h", "now-24h", "now-7d", "now-30d", "now-400d"])
def test_flow_counts_every_decision_once_at_any_width_of_bucket(acme: People, since: str) -> None:
    found = asked(signed_in(acme.ben), "decision-flow", since=since)
    assert series(found)["decisions"] == 4
    assert {len(row["values"]) for row in found["series"]} == {len(found["buckets"])}
    assert found["buckets"] == sorted(found["buckets"])


def test_flow_puts_decisions_into_the_bucket_of_their_receipt(acme: People) -> None:
    before = utc_now()
    found = asked(signed_in(acme.ben), "decision-flow", since="now-1h")
    (values,) = [row["values"] for row in found["series"] if row["name"] == "decisions"]
    filled = [start for start, count in zip(found["buckets"], values, strict=True) if count]
    assert all(before - timedelta(minutes=3) < parse_time(start) <= before for start in filled)


def test_flow_before_the_first_decision_is_empty(acme: People) -> None:
    found = asked(signed_in(acme.ben), "decision-flow", since="2020-01-01", until="2020-01-02")
    assert series(found)["decisions"] == 0
    assert len(found["buckets"]) == 96


def test_flow_falls_back_to_hours_where_too_much_would_be_counted(
    acme: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "MAX_FINE", 2)
    found = asked(signed_in(acme.ben), "decision-flow", since="now-1h")
    assert len(found["buckets"]) <= 2
    assert series(found)["decisions"] == 4


def test_flow_marks_changes_of_keys(acme: People) -> None:
    announced_key(acme.log)
    record(acme.log, decision())
    keep_up(log_id=acme.log.id)
    assert series(asked(signed_in(acme.ben), "decision-flow")) == {"decisions": 5, "mode": 0, "key": 1}


def test_agents_come_most_active_first_with_at_most_24_points(acme: People) -> None:
    found = asked(signed_in(acme.ben), "agent-activity")
    assert [(row["name"], sum(row["values"])) for row in found["series"]] == [
        ("pricing-bot", 3), ("stock-bot", 1),
    ]  # fmt: skip
    assert len(found["buckets"]) == 24


def test_figures_state_how_far_they_count(acme: People) -> None:
    record(acme.log, decision())
    found = asked(signed_in(acme.ben), "decision-flow")
    assert (found["as_of"]["size"], series(found)["decisions"]) == (5, 4)
    keep_up(log_id=acme.log.id)
    found = asked(signed_in(acme.ben), "decision-flow")
    assert (found["as_of"]["size"], series(found)["decisions"]) == (6, 5)


# --- who


def test_a_key_sees_its_own_agent_and_a_manufacturer_the_assigned_ones(acme: People) -> None:
    maker = person("mia", acme.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(acme.acme.agents.get(slug="stock-bot"))
    key = Client(headers={"authorization": f"Bearer {acme.ada_agent.key}"})
    for who, agent, count in ((key, "pricing-bot", 3), (signed_in(maker), "stock-bot", 1)):
        assert series(asked(who, "summary"))["decisions"] == count
        assert series(asked(who, "agent-activity")) == {agent: count}
        for since in ("now-1h", "now-7d"):
            assert series(asked(who, "decision-flow", since=since)) == {"decisions": count}


def test_a_manufacturer_without_agents_sees_nothing(acme: People) -> None:
    maker = signed_in(person("mia", acme.acme, Role.MANUFACTURER))
    assert series(asked(maker, "decision-flow")) == {"decisions": 0}
    assert asked(maker, "agent-activity")["series"] == []


def test_another_organisation_s_log_is_404_and_one_s_own_is_the_default(acme: People) -> None:
    eve = signed_in(acme.eve)
    assert asked(eve, "summary")["as_of"]["log"] == "umbra"
    for name in ("summary", "decision-flow", "agent-activity"):
        assert refused(eve, name, log="acme") == (404, "not_found")
        assert refused(eve, name, log="no-such-log") == (404, "not_found")


def test_a_key_without_the_scope_is_refused(acme: People) -> None:
    bare = machine(acme.acme, "bare-bot", ("ledger:read",))
    assert refused(Client(headers={"authorization": f"Bearer {bare.key}"}), "summary") == (
        403,
        "scope_missing",
    )


# --- what it refuses


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"since": "now-401d"}, 422, "range_too_large"),
        ({"since": "2020-01-01"}, 422, "range_too_large"),
        ({"since": "now", "until": "now-1h"}, 400, "bad_value"),
        ({"since": "last week"}, 400, "bad_value"),
        ({"bucket": "1m"}, 400, "unknown_key"),
    ],
)
@pytest.mark.parametrize("name", ["summary", "decision-flow", "agent-activity", "zone-split"])
def test_wrong_ranges(acme: People, name: str, query: dict[str, str], status: int, code: str) -> None:
    assert refused(signed_in(acme.ben), name, **query) == (status, code)


@pytest.mark.parametrize("name", ["zone-split", "bypass-rate", "friction-heatmap", "polls", "nonsense"])
def test_chart_of_an_app_that_is_not_installed_is_404(acme: People, name: str) -> None:
    assert refused(signed_in(acme.ben), name) == (404, "not_found")


def test_chart_of_an_installed_app_is_served_from_its_panel(
    acme: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[PanelContext] = []

    def load(about: PanelContext) -> dict[str, object]:
        seen.append(about)
        return {"buckets": ["2026-03-31"], "series": [{"name": "operator", "values": [7]}], "words": "Seven."}

    registry = Registry()
    registry.add(Panel(Slot.OVERVIEW_CHART, "firewall.zone_split", 1, "", "none.html", load))
    monkeypatch.setattr(dashboard, "registry", registry)
    found = asked(signed_in(acme.ben), "zone-split", since="2026-03-01", until="2026-03-03")
    assert found == {
        "v": "ecp.dashboard/1",
        "as_of": {"log": "acme", "size": 5},
        "buckets": ["2026-03-31"],
        "series": [{"name": "operator", "values": [7]}],
    }
    (about,) = seen
    assert (about.scope.organisation_id, about.log_id) == (acme.acme.pk, acme.log.pk)
    assert about.since is not None
    assert format_time(about.since) == "2026-03-01T00:00:00.000000Z"
    assert refused(signed_in(acme.ben), "bypass-rate") == (404, "not_found")
