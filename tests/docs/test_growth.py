"""What one entry costs on disk, table by table: prints and checks the table of docs/STORAGE.md.

Two fresh logs take the same number of decisions over the batch path, one without private context, one with
five private members; then the checkpointer signs, the projection follows, and the relations are measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from django.db import connections
from django.db.models import Avg
from django.db.models.functions import Length

from ecp_project.api.authentication import Principal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Entry
from ledger.services import projections
from ledger.services.identities import agent_create, organisation_create
from ledger.services.ledger import TransparencyLedger
from tests.databases import remove_committed_rows
from tests.docs.documents import read, table

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.databases import Cluster

ENTRIES = 20_000
BATCH = 1_000
RECORD = {
    "agent": "pricing-bot",
    "action": "price.change",
    "explanation": "Lowered the price of the desk lamp by 5 %, because it has been in stock for 90 days.",
    "risk": "low",
}
CONTEXT = {"old_price_eur": 39.9, "new_price_eur": 37.9, "stock": 41, "channel": "web", "buyer": "store 17"}
SIZES_SQL = """
SELECT relname, pg_table_size(oid), pg_indexes_size(oid)
FROM pg_class WHERE relkind = 'r' AND relname LIKE 'ledger\\_%'
"""
Sizes = dict[str, tuple[int, int]]


def sizes() -> Sizes:
    with connections["migrator"].cursor() as cursor:
        cursor.execute(SIZES_SQL)
        return {name: (rows, indexes) for name, rows, indexes in cursor.fetchall()}


def fill(log: Log, context: dict[str, Any] | None) -> None:
    ledger, principal = TransparencyLedger(log), Principal(kind="system", organisation_id=log.organisation_id)
    for _ in range(ENTRIES // BATCH):
        now = utc_now()
        record = RECORD | ({"context": context} if context else {})
        lines = [orjson.dumps(record | {"id": new_uuid7(now)}) for _ in range(BATCH)]
        outcomes = ledger.append_many(lines, principal=principal, now=now)
        assert all(not isinstance(outcome, Exception) for outcome in outcomes)


def growth(slug: str, context: dict[str, Any] | None, checkpointer: Checkpointer) -> dict[str, list[int]]:
    """Bytes of rows and of indexes for each entry, by table; the mean entry stands under `entry bytes`."""
    organisation, log = organisation_create(slug=slug, title=slug, now=utc_now())
    agent_create(organisation=organisation, slug="pricing-bot")
    checkpointer.turn()
    before = sizes()
    fill(log, context)
    checkpointer.turn()
    while projections.project_search(log_id=log.id):
        pass
    after = sizes()
    found = {
        name: [round((now - then) / ENTRIES) for now, then in zip(after[name], before[name], strict=True)]
        for name in after
    }
    mean = Entry.objects.filter(log=log).aggregate(mean=Avg(Length("entry")))["mean"]
    return {name: values for name, values in found.items() if any(values)} | {"entry bytes": [round(mean), 0]}


@pytest.mark.perf
def test_growth_for_each_entry_is_what_storage_md_says(
    checkpointer: Checkpointer, cluster: Cluster, database_name: str
) -> None:
    remove_committed_rows(cluster, database_name, truncate=True)
    plain = growth("plain", None, checkpointer)
    sealed = growth("sealed", CONTEXT, checkpointer)
    measured = {name: [*plain.get(name, [0, 0]), *sealed[name]] for name in sealed}
    for name, values in measured.items():
        print(f"| `{name}` | " + " | ".join(map(str, values)) + " |")  # noqa: T201 - pasted into the document
    documented = {
        row[0]: list(map(int, row[1:])) for row in table(read("docs/STORAGE.md"), "bytes per entry")
    }
    assert documented.keys() == measured.keys()
    for name, values in measured.items():
        # GIN keeps what is new in a list of its own and merges it now and then, so indexes vary more.
        assert values[::2] == pytest.approx(documented[name][::2], rel=0.15, abs=12), name
        assert values[1::2] == pytest.approx(documented[name][1::2], rel=0.4, abs=12), name
