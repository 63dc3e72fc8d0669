"""docs/POLLS.md against the code: states, kinds of statements, members of a poll, results of the verifier."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from advisory.polls import poll_verify
from advisory.polls.core.bodies import POLL
from advisory.polls.core.statements import POLL_STATEMENTS
from advisory.polls.models import State
from ledger.core.statement import kind_of
from tests.docs.documents import read, section, table

pytestmark = pytest.mark.unit
DOCUMENT = "docs/POLLS.md"


def words(cells: list[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"[a-z_]+", cell)}


def test_states_are_those_of_the_model() -> None:
    assert [row[0] for row in table(section(read(DOCUMENT), "The way of a poll"), "state")] == State.values


def test_kinds_are_those_that_are_registered_and_no_agent_signs_them() -> None:
    rows = table(section(read(DOCUMENT), "Entries in the log"), "statement")
    assert [row[0] for row in rows] == [*POLL_STATEMENTS, "ecp.staff/1"]
    assert not any(kind_of(v).is_signable for v in POLL_STATEMENTS)


def test_every_member_of_a_poll_is_explained() -> None:
    rows = table(section(read(DOCUMENT), "The way of a poll"), "member")
    named = words([re.sub(r"`", " ", row[0]) for row in rows])
    assert named == {member.name for member in POLL.members}


def test_every_result_of_the_verifier_is_explained() -> None:
    rows = table(section(read(DOCUMENT), "Checking a proof"), "result")
    source = Path(poll_verify.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'fail\("([a-z_]+)"', source.replace("\n        ", ""))) | {"ok"}
    assert words([row[0] for row in rows]) == codes
