"""Proofs from stored rows: right, and with all tiles in one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ledger.core.merkle import verify_consistency, verify_inclusion
from ledger.selectors import proofs
from tests.factories.entries import decision_lines, record

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.people import People

pytestmark = pytest.mark.db

COUNT = 300  # a full tile, the part of one, and one of roots


@pytest.fixture
def log(people: People, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> Log:
    """300 signed entries, whose tiles nobody can look up one by one."""
    record(people.log, decision_lines(COUNT))
    checkpointer.turn()

    def refuse(level: int, index: int, width: int) -> NoReturn:
        raise AssertionError((level, index, width))

    monkeypatch.setattr(proofs, "tile_source", lambda _log_id: refuse)
    return people.log


def hashes(found: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(one) for one in found["hashes"]]


@pytest.mark.parametrize("size", [COUNT, 257, 256, 100, 1])
def test_inclusion_is_proved_from_one_look_up(log: Log, size: int) -> None:
    for index in {0, size // 2, size - 1}:
        found = proofs.inclusion(log=log, index=index, size=size)
        leaf, root = (bytes.fromhex(found[name]) for name in ("leaf_hash", "root"))
        verify_inclusion(index=index, size=size, leaf=leaf, proof=hashes(found), root=root)


@pytest.mark.parametrize(("old", "new"), [(1, COUNT), (100, 257), (256, COUNT), (255, 256), (COUNT, COUNT)])
def test_growth_is_proved_from_one_look_up(log: Log, old: int, new: int) -> None:
    found = proofs.consistency(log=log, old=old, new=new)
    old_root, new_root = (bytes.fromhex(found[name]) for name in ("old_root", "new_root"))
    verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=hashes(found))
