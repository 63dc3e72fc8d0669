"""Rule sets over REST: proposed by one person, put in force by another, kept as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import InternalError, ProgrammingError, transaction

from advisory.friction.models import FrictionRuleSetVersion
from tests.advisory.friction.rulefile import HEAD, rule, rulefile
from tests.advisory.friction.world import SHIPPED, activate

if TYPE_CHECKING:
    from django.http import HttpResponse

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

YAML = {"content_type": "application/yaml"}
REASON = "agreed in the risk meeting"


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def propose(world: World, source: bytes = SHIPPED, path: str = "rulesets/") -> HttpResponse:
    answer: HttpResponse = world.post(path, source, "operator", **YAML)
    return answer


def state(world: World, to: str, *, number: int = 1, members: dict[str, Any] | None = None) -> Any:
    body = {"to": to, "reason": REASON} | (members or {})
    return world.post(f"rulesets/ecp-default/versions/{number}/state/", body, "admin")


def test_a_file_is_proposed_activated_and_advises(bare_world: World) -> None:
    told = propose(bare_world).json()  # type: ignore[attr-defined]  # of the test client
    assert (told["state"], told["version"]) == ("draft", 1)
    assert {warning["code"] for warning in told["warnings"]} == set()
    assert bare_world.ask().json()["ruleset"] is None
    active = state(bare_world, "active").json()
    assert active["state"] == "active"
    assert bare_world.ask().json()["ruleset"]["hash"] == active["hash"] == told["hash"]
    [stmt] = bare_world.statements("ecp.friction.ruleset/1")
    assert (stmt["actor"], stmt["approver"]) == (told["proposed_by"], active["activated_by"])
    assert (stmt["from_state"], stmt["to_state"], stmt["reason"]) == ("draft", "active", REASON)
    acts = [act["action"] for act in bare_world.statements("ecp.staff/1")]
    assert acts == ["friction.ruleset_propose"]


def test_activating_retires_the_version_before_it(world: World) -> None:
    propose(world, SHIPPED.replace(b"version: 1", b"version: 2"))
    assert state(world, "active", number=2).status_code == 200
    rows = world.get("rulesets/", "viewer").json()["results"]
    assert [(row["version"], row["state"]) for row in rows] == [(2, "active"), (1, "retired")]
    moves = [(s["ruleset"]["version"], s["to_state"]) for s in world.statements("ecp.friction.ruleset/1")]
    assert moves == [(1, "active"), (1, "retired"), (2, "active")]
    assert refusal(state(world, "active", number=1)) == (409, "state_invalid")


@pytest.mark.parametrize(
    ("before", "to", "allowed"),
    [
        ("draft", "shadow", True), ("draft", "retired", True), ("draft", "draft", False), ("shadow", "active", True),
        ("shadow", "retired", True), ("shadow", "draft", False), ("active", "shadow", True), ("active", "retired", True),
        ("active", "active", False), ("retired", "active", False), ("retired", "shadow", False),
    ],
)  # fmt: skip
def test_states_follow_the_design(bare_world: World, before: str, to: str, allowed: bool) -> None:  # noqa: FBT001 - a column of the table
    propose(bare_world)
    if before != "draft":
        assert state(bare_world, before).status_code == 200
    answer = state(bare_world, to)
    assert answer.status_code == (200 if allowed else 409), answer.content
    if not allowed:
        assert refusal(answer) == (409, "state_invalid")


def test_whoever_proposed_does_not_decide(bare_world: World) -> None:
    propose(bare_world)
    membership = bare_world.staff["operator"].memberships.get()
    membership.role = "admin"
    membership.save()
    bare_world.staff["admin"] = bare_world.staff["operator"]
    assert refusal(state(bare_world, "active")) == (403, "four_eyes")
    assert FrictionRuleSetVersion.objects.get().state == "draft"
    assert bare_world.statements("ecp.friction.ruleset/1") == []


@pytest.mark.parametrize(
    ("members", "refused"),
    [({"reason": "short"}, (400, "bad_value")), ({"to": "live"}, (400, "value_invalid")), ({"more": 1}, (400, "unknown_field"))],
)  # fmt: skip
def test_a_bad_change_of_state_is_refused(
    bare_world: World, members: dict[str, Any], refused: tuple[int, str]
) -> None:
    propose(bare_world)
    assert refusal(state(bare_world, "active", members=members)) == refused


@pytest.mark.parametrize("number", [1, 2])
def test_a_version_must_be_greater_than_the_last(bare_world: World, number: int) -> None:
    propose(bare_world, SHIPPED.replace(b"version: 1", b"version: 2"))
    again = propose(bare_world, SHIPPED.replace(b"version: 1", b"version: %d" % number))
    assert refusal(again) == (409, "version_exists")


def test_a_bad_file_leaves_nothing_behind(bare_world: World) -> None:
    for path in ("rulesets/", "rulesets/validate/"):
        answer = propose(bare_world, SHIPPED.replace(b"points: 35", b"points: 3.5"), path)
        assert refusal(answer) == (400, "ruleset_invalid")
        [error] = answer.json()["errors"]  # type: ignore[attr-defined]  # of the test client
        assert (error["code"], error["rule"]) == ("yaml_value_type", "PAY-100")
    assert FrictionRuleSetVersion.objects.count() == 0
    assert refusal(propose(bare_world, b"x" * 300_000)) == (413, "body_too_large")
    assert refusal(bare_world.post("rulesets/", {"schema": 1}, "operator")) == (415, "unsupported_media_type")
    assert refusal(propose(bare_world, b"\xff")) == (400, "ruleset_invalid")


def test_validating_stores_nothing_and_warns(bare_world: World) -> None:
    answer = propose(bare_world, rulefile(rule()).encode(), "rulesets/validate/").json()  # type: ignore[attr-defined]  # of the test client
    assert answer["valid"] is True
    assert {warning["code"] for warning in answer["warnings"]} == {"field_unused", "points_idle"}
    assert FrictionRuleSetVersion.objects.count() == 0


def test_a_version_is_read_as_it_was_imported(world: World) -> None:
    raw = world.get("rulesets/ecp-default/versions/1/?format=yaml", "viewer")
    assert raw.content == SHIPPED
    assert raw.headers["Content-Type"].startswith("application/yaml")
    assert world.get("rulesets/ecp-default/versions/1/", "viewer").json()["source_yaml"] == SHIPPED.decode()
    for path in ("ecp-default/versions/9/", "other/versions/1/", "ecp-default/versions/x/"):
        assert refusal(world.get(f"rulesets/{path}", "viewer")) == (404, "not_found")
    assert world.get("rulesets/ecp-default/versions/1/?format=json", "viewer").status_code == 400


def test_two_versions_are_compared(world: World) -> None:
    propose(world, SHIPPED.replace(b"version: 1", b"version: 2").replace(b"points: 35", b"points: 36"))
    told = world.get("rulesets/ecp-default/versions/2/diff/?against=1", "viewer").json()
    assert told["changed"] == {"PAY-100": [{"path": "points", "old": 35, "new": 36}]}
    assert [change["path"] for change in told["outside"]] == ["version"]
    assert world.get("rulesets/ecp-default/versions/2/diff/", "viewer").status_code == 400


def test_organisations_do_not_see_each_others_rules(world: World) -> None:
    assert world.get("rulesets/", "stranger").json()["results"] == []
    assert refusal(world.get("rulesets/ecp-default/versions/1/", "stranger")) == (404, "not_found")


@pytest.mark.parametrize(
    "change", [{"source_yaml": "x"}, {"sha256": "sha256:" + "0" * 64}, {"state": "draft"}, {"version": 9}]
)
def test_what_was_activated_cannot_be_changed_in_the_database(world: World, change: dict[str, Any]) -> None:
    assert world.get("rulesets/", "viewer").json()["results"][0]["state"] == "active"
    with pytest.raises((InternalError, ProgrammingError)), transaction.atomic():
        FrictionRuleSetVersion.objects.update(**change)
    with pytest.raises((InternalError, ProgrammingError)), transaction.atomic():
        FrictionRuleSetVersion.objects.all().delete()
    assert FrictionRuleSetVersion.objects.get().source_yaml == SHIPPED.decode()


def test_one_version_is_in_force_in_each_organisation(world: World) -> None:
    other = rulefile(rule(), head=HEAD.replace("id: tiny", "id: other"))
    activate(world.people, other.encode())
    assert FrictionRuleSetVersion.objects.get(state="active").ruleset.slug == "other"
