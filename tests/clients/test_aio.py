"""The client for asyncio does what the other does, and holds up no loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ecp_client import AsyncLedger, NotInTime, Refused, verify_receipt
from ecp_project.kernel.signing import public_from_seed
from ledger.core.note import make_vkey
from ledger.models import Entry
from tests.clients.conftest import PLAIN
from tests.running_ledger import SEED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.served import Address

SOON_S = 20.0


@pytest.mark.db
def test_the_async_client_does_the_same(answering: Address, tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with AsyncLedger(
            answering.url, answering.key, agent="pricing-bot", queue_dir=tmp_path / "queue"
        ) as ledger:
            handle = ledger.record(**PLAIN, context={"stock": 41})
            note = ledger.annotate(handle.id, "outcome", "Twelve lamps were sold.", "success")
            receipt = await handle.receipt(SOON_S)
            assert await ledger.flush(SOON_S)
            assert (receipt.is_signed, note.state) == (True, "delivered")
            now = await ledger.record_now(wait_signed=10, **PLAIN)
            entry = await ledger.public(now.id)
            vkey = make_vkey(answering.people.log.origin, public_from_seed(SEED))
            assert verify_receipt(await ledger.receipt(now.id), entry, vkey).ok
            outcomes = await ledger.batch_now([PLAIN] * 3)
            assert all(outcome.is_stored for outcome in outcomes)
            await ledger.annotate_now(now.id, "note", "The label was changed by hand.")
            with pytest.raises(Refused):
                await ledger.receipt("019b0a2c-4e00-7000-8000-00000000dead")
            async with ledger.deciding(**PLAIN):
                pass
            assert [one.state for one in ledger.batch([PLAIN] * 2)] == ["queued"] * 2
        assert ledger.stats().pending == 0
        assert ledger.record(**PLAIN).state == "not_kept"

    asyncio.run(all_of_it())
    assert Entry.objects.filter(kind="ecp.annotation/1").count() == 3


@pytest.mark.unit
def test_async_record_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        ledger = AsyncLedger("http://127.0.0.1:9", "ecp_aaaaaaaa_x", agent="bot-1", queue_dir=tmp_path,
                             flush_at_exit_s=0)  # fmt: skip
        handle = ledger.record(**PLAIN)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        with pytest.raises(NotInTime):
            await handle.receipt(0.2)
        ticking.cancel()
        assert ticks > 5
        assert not await ledger.close()

    asyncio.run(all_of_it())
