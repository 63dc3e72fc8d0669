"""Rows that go in beside an entry, and what is worked out again from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection, transaction

from advisory.friction.models import DryRunCount, FrictionAdvice
from advisory.friction.selectors.traces import trace_of
from advisory.friction.services.storing import Derived, together
from ecp_project.kernel.clock import utc_now

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db


def count(world: World, agent: str) -> dict[str, object]:
    return {
        "organisation_id": world.people.acme.id, "agent": agent, "day": utc_now().date(), "count": 1,
    }  # fmt: skip


def test_rows_of_one_model_go_in_together_and_the_first_is_told_what_was_missing(world: World) -> None:
    rows = together([(DryRunCount, count(world, name)) for name in ("one-bot", "two-bot")])
    with transaction.atomic(), psycopg.Cursor(connection.connection) as cursor:
        rows.insert(cursor, count=7)
    assert dict(DryRunCount.objects.values_list("agent", "count")) == {"one-bot": 7, "two-bot": 1}


def test_a_column_is_worked_out_from_the_row_and_from_those_that_are_stored(world: World) -> None:
    derived = Derived(
        "count",
        "(SELECT coalesce(max(count), 0) + 1 FROM friction_dryruncount WHERE agent < {agent} AND day = {day})",
    )
    with transaction.atomic(), psycopg.Cursor(connection.connection) as cursor:
        found = []
        for names in (("a-bot",), ("b-bot", "d-bot"), ("c-bot",)):
            rows = together([(DryRunCount, count(world, name)) for name in names], derived)
            assert rows.derived() is None
            rows.insert(cursor)
            found.append(rows.derived())
    assert found == [1, 2, 3]
    expected = {"a-bot": 1, "b-bot": 2, "d-bot": 1, "c-bot": 3}  # only of the first row
    assert dict(DryRunCount.objects.values_list("agent", "count")) == expected


def test_a_text_that_is_too_long_is_refused_and_not_cut(world: World) -> None:
    rows = together([(DryRunCount, count(world, "a" * 65))])
    connection.ensure_connection()
    with (
        pytest.raises(psycopg.errors.StringDataRightTruncation),
        psycopg.Cursor(connection.connection) as cursor,
    ):
        rows.insert(cursor)
    assert not DryRunCount.objects.exists()


def test_a_trace_is_worked_out_as_long_as_the_facts_are_kept(world: World) -> None:
    row = FrictionAdvice.objects.get(pk=world.ask().json()["id"])
    trace = trace_of(row)
    fired = [one["rule"] for one in trace if one["result"] is True]
    assert fired == [one["rule"] for one in row.result["fired"] if one["via"] == "match"] != []
    assert "trace" not in row.result
    row.facts[0].pop("value")  # as an observer keeps it
    assert trace_of(row) == []
    row.refresh_from_db()
    row.facts_erased_at = utc_now()
    assert trace_of(row) == []
    row.refresh_from_db()
    row.engine_version = "ecp-friction/0"
    assert trace_of(row) == []


def test_a_trace_that_was_stored_before_is_taken_out_and_nothing_else(world: World) -> None:
    row = FrictionAdvice.objects.get(pk=world.ask().json()["id"])
    before = row.result
    FrictionAdvice.objects.update(result=before | {"trace": [{"rule": "OPS-101", "leaves": []}]})
    [operation] = import_module("advisory.friction.migrations.0006_no_stored_traces").Migration.operations
    with connection.cursor() as cursor:
        cursor.execute(operation.sql)
    row.refresh_from_db()
    assert row.result == before
