"""Decorated calls and `with` blocks: the decision at entry, the outcome at exit, exceptions untouched."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_client import AsyncLedger, InvalidInput, Ledger
from tests.clients.conftest import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unit


class SoldOutError(Exception):
    pass


def queued(ledger: Ledger | AsyncLedger) -> list[dict[str, Any]]:
    """What waits in the queue, in order."""
    batch = ledger.queue.peek(1000, 10**7)
    return [] if batch is None else [json.loads(item.body) for item in batch.items]


@pytest.fixture
def ledger(make_ledger: Callable[..., Ledger]) -> Ledger:
    """A ledger that nobody serves: what is recorded stays in the queue."""
    return make_ledger()


def test_a_call_is_a_decision_with_an_outcome(ledger: Ledger) -> None:
    @ledger.decision(
        action="order.refund", explanation="Refunded {amount} to {order}, as {reason}.", risk="low",
        context_from=("order", "amount"),
    )  # fmt: skip
    def refund(order: str, amount: float, reason: str = "it was lost") -> str:
        """Pay it back."""
        return f"{order}: {amount}, {reason}"

    assert refund("A-17", amount=9.5) == "A-17: 9.5, it was lost"
    assert (refund.__name__, refund.__doc__) == ("refund", "Pay it back.")
    decision, outcome = queued(ledger)
    assert decision["explanation"] == "Refunded 9.5 to A-17, as it was lost."
    assert (decision["context"], decision["risk"]) == ({"order": "A-17", "amount": 9.5}, "low")
    assert (outcome["target"], outcome["kind"], outcome["status"]) == (decision["id"], "outcome", "success")


def test_an_exception_passes_unchanged_and_only_its_type_is_told(ledger: Ledger) -> None:
    error = SoldOutError("secret of a customer")

    @ledger.decision(action="order.refund", explanation=lambda order: f"Refunded order {order} at once.")
    def refund(order: str) -> None:
        raise error if order else AssertionError

    with pytest.raises(SoldOutError) as caught:
        refund("A-17")
    assert caught.value is error
    decision, outcome = queued(ledger)
    assert decision["explanation"] == "Refunded order A-17 at once."
    assert "context" not in decision
    assert (outcome["status"], outcome["text"]) == ("failure", "The action ended with SoldOutError.")
    assert "secret" not in json.dumps(outcome)


def test_coroutines_are_decorated_alike_and_a_cancelled_one_is_unknown(ledger: Ledger) -> None:
    @ledger.decision(action="order.refund", explanation="Refunded the order after {seconds} seconds.")
    async def refund(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    async def both() -> str:
        task = asyncio.create_task(refund(60))
        done = await refund(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return done

    assert asyncio.run(both()) == "done"
    found = queued(ledger)
    assert sorted(one["status"] for one in found if "status" in one) == ["success", "unknown"]
    assert [one["text"] for one in found if one.get("status") == "unknown"] == [
        "The action ended with CancelledError."
    ]


def test_a_block_can_say_how_it_ended(ledger: Ledger) -> None:
    with ledger.deciding(**PLAIN) as decision:
        decision.outcome("partial", "Three of five labels were changed.")
    first, outcome = queued(ledger)
    assert decision.id == first["id"] == outcome["target"]
    assert (outcome["status"], outcome["text"]) == ("partial", "Three of five labels were changed.")


def test_a_record_that_fails_does_not_keep_the_action_from_happening(ledger: Ledger) -> None:
    @ledger.decision(action="order.refund", explanation="Refunded {nothing_of_that_name}.")
    def refund() -> str:
        return "done"

    assert refund() == "done"
    with ledger.deciding(action="order.refund", explanation="short") as decision:
        assert decision.handle is not None
        assert decision.handle.state == "not_kept"
    assert queued(ledger) == []
    assert ledger.stats().refused == 2


def test_strict_keeps_an_unexplained_action_from_starting(make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(strict=True)

    @ledger.decision(action="order.refund", explanation="short")
    def refund() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(InvalidInput):
        refund()


def test_what_cannot_be_decorated_is_refused_when_it_is(ledger: Ledger) -> None:
    def rows() -> Iterator[int]:
        yield 1

    decorate = ledger.decision(action="a.b", explanation="Rows were read one by one.", context_from=("no",))
    with pytest.raises(TypeError, match="generator"):
        decorate(rows)
    with pytest.raises(TypeError, match="no argument no"):
        decorate(lambda order: order)
