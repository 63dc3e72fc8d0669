r"""The draw of a poll, byte by byte (POLLS section 2): whoever has the proof computes the same sample.

    frame_hash   SHA-256(canonical JSON of [[agent_id, stratum], ..] sorted by agent_id)
    commitment   SHA-256("ECP-POLL-COMMIT-v1\n" || secret)
    seed         SHA-256("ECP-POLL-SEED-v1\n" poll_id "\n" frame_hash "\n" secret hex "\n" public_input)
    ticket       hex HMAC-SHA-256(seed, stratum || 0x1F || agent_id)
    sample_hash  SHA-256(canonical JSON of the sorted sample)

The secret is committed to before the public input exists, so neither alone decides. Within a stratum the
smallest tickets are drawn; taking an agent out of the frame leaves the order of the others as it was.
"""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.errors import BadRequest, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_FRAME = 5_000
SECRET_BYTES = 32
STRATUM_SEPARATOR = "|"
UNIT_SEPARATOR = b"\x1f"

Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """Everybody who could be asked, in the order that is hashed."""

    rows: tuple[Row, ...]

    @property
    def hash(self) -> str:
        return digest([list(row) for row in self.rows])

    @property
    def sizes(self) -> dict[str, int]:
        return dict(Counter(stratum for _, stratum in self.rows))


@dataclass(frozen=True, slots=True)
class Place:
    """An agent's place in its stratum's order."""

    agent_id: str
    ticket: str


@dataclass(frozen=True, slots=True)
class DrawnStratum:
    name: str
    size: int
    selected: tuple[Place, ...]
    reserve: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    frame_hash: str
    seed: bytes
    strata: tuple[DrawnStratum, ...]
    sample: tuple[str, ...]
    sample_hash: str


def digest(value: object) -> str:
    return sha256(encode(value)).hexdigest()


def question_hash(question: str, options: Sequence[str]) -> str:
    return digest({"options": list(options), "question": question})


def make_frame(rows: Iterable[Row]) -> Frame:
    """Sort the rows; refuse nobody, too many, and anybody named twice."""
    ordered = sorted(rows, key=lambda row: row[0].encode())
    if not ordered:
        raise Invalid("frame_empty", "no active agent that accepts polls matches")
    if len(ordered) > MAX_FRAME:
        raise Invalid("frame_too_large", f"{len(ordered):,} agents match, at most {MAX_FRAME:,} are allowed")
    for before, after in pairwise(ordered):
        if before[0] == after[0]:
            raise BadRequest("frame_duplicate", f"{after[0]} is in the frame twice")
    return Frame(tuple(ordered))


def commitment(secret: bytes) -> str:
    return sha256(b"ECP-POLL-COMMIT-v1\n" + secret).hexdigest()


def ledger_input(seq: int, leaf_hash: bytes) -> str:
    """Public input taken from the log: an entry that nobody knew when the secret was committed to."""
    return f"ledger:{seq}:{leaf_hash.hex()}"


def seed_of(*, poll_id: str, frame_hash: str, secret: bytes, public_input: str) -> bytes:
    lines = ("ECP-POLL-SEED-v1", poll_id, frame_hash, secret.hex(), public_input)
    return sha256("\n".join(lines).encode()).digest()


def allocate(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """Share n out over the strata in proportion to their sizes; each that can gets at least one."""
    total = sum(sizes.values())
    n = min(n, total)
    quotas = {name: Fraction(n * size, total) if total else Fraction(0) for name, size in sizes.items()}
    filled = [name for name in sorted(sizes, key=str.encode) if sizes[name]]
    given = {name: int(quota) for name, quota in quotas.items()}
    if n >= len(filled):
        for name in filled:
            given[name] = max(1, given[name])
    while sum(given.values()) > n:
        # On equal excess the greatest name gives; `max` keeps the first of equals, so it walks backwards.
        givers = (name for name in reversed(filled) if given[name] > 1)
        given[max(givers, key=lambda name: given[name] - quotas[name])] -= 1
    while sum(given.values()) < n:
        takers = (name for name in filled if given[name] < sizes[name])
        given[min(takers, key=lambda name: given[name] - quotas[name])] += 1
    return given


def srs_is_fair(sizes: Mapping[str, int], n: int) -> bool:
    """Whether a draw over these strata may be read as a simple random sample of the whole frame.

    Rounding up a tiny stratum makes its agents weigh many times too much (POLLS section 5).
    """
    filled = {name: size for name, size in sizes.items() if size}
    if len(filled) <= 1:
        return True
    total = sum(filled.values())
    n = min(n, total)
    given = allocate(filled, n)
    return all(n * size >= total and abs(given[name] - Fraction(n * size, total)) < 1
               for name, size in filled.items())  # fmt: skip


def ticket(seed: bytes, stratum: str, agent_id: str) -> str:
    return hmac.digest(seed, stratum.encode() + UNIT_SEPARATOR + agent_id.encode(), "sha256").hex()


def draw(*, poll_id: str, frame: Frame, n: int, secret: bytes, public_input: str) -> Draw:
    frame_hash = frame.hash
    seed = seed_of(poll_id=poll_id, frame_hash=frame_hash, secret=secret, public_input=public_input)
    given = allocate(frame.sizes, n)
    places: dict[str, list[Place]] = {name: [] for name in given}
    for agent_id, stratum in frame.rows:
        places[stratum].append(Place(agent_id, ticket(seed, stratum, agent_id)))
    strata = []
    for name in sorted(places, key=str.encode):
        order = sorted(places[name], key=lambda place: (place.ticket, place.agent_id))
        taken = given[name]
        strata.append(DrawnStratum(name, len(order), tuple(order[:taken]), tuple(order[taken:])))
    sample = sorted((place.agent_id for one in strata for place in one.selected), key=str.encode)
    return Draw(frame_hash, seed, tuple(strata), tuple(sample), digest(sample))


def option_order(*, seed: bytes, agent_id: str, options: Sequence[str]) -> list[str]:
    """Order in which one agent reads the options, so that no option is always the first."""
    key = hmac.digest(seed, b"order" + UNIT_SEPARATOR + agent_id.encode(), "sha256")
    return sorted(options, key=lambda option: (hmac.digest(key, option.encode(), "sha256").hex(), option))
