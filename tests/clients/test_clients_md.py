"""docs/CLIENTS.md: its settings and bounds are those of the code. tests/docs runs its examples."""

from __future__ import annotations

import inspect

import pytest

from ecp_client import AsyncLedger, Ledger
from ecp_client.queue import MEMORY_BYTES, MEMORY_LINES
from ecp_client.sender import FIRST_PAUSE_S, LONGEST_PAUSE_S, REJECTED_BYTES
from tests.docs.documents import read, table

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("client", [Ledger, AsyncLedger])
def test_settings_are_those_of_the_code(client: type) -> None:
    parameters = list(inspect.signature(client).parameters.values())[2:]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    documented = {
        row[0]: eval(row[1].strip("`"))  # noqa: S307 - our own document
        for row in table(read("docs/CLIENTS.md"), "argument")
    }
    assert documented == {parameter.name: parameter.default for parameter in parameters}


def test_bounds_in_the_document_are_those_of_the_code() -> None:
    text = read("docs/CLIENTS.md")
    assert f"{MEMORY_LINES:,} lines and {MEMORY_BYTES >> 20} MiB" in text
    assert f"after {FIRST_PAUSE_S} s, growing to {LONGEST_PAUSE_S:.0f} s" in text
    assert f"up to {REJECTED_BYTES >> 20} MiB" in text
