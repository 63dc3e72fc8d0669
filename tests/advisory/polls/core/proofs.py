"""A proof made from seeds, with its receipts in a small signed log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from advisory.polls.core import answers, sampling
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.signing import public_from_seed
from ledger.core.entry import genesis, splice
from ledger.core.merkle import inclusion_proof, leaf_hash, root_of
from ledger.core.note import Checkpoint, Signer, sign_checkpoint
from ledger.core.proof import format_proof

ORIGIN = "ecp.example/log/acme"
SIGNER = Signer(ORIGIN, bytes(range(32)))
POLL = "0199f3c0-0000-7000-8000-000000000001"
OPTIONS = ["support", "oppose", "abstain"]
QUESTION = "Should refund batch 88 go out tonight?"
QUORUM = {"min_responses": 3, "min_response_rate_pct": 30}
FRAME = [(f"bot-{number:02}", "eu" if number < 9 else "us") for number in range(15)]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Leaves:
    """Nodes of a small tree, folded from its leaves."""

    def __init__(self, hashes: list[bytes]) -> None:
        self.hashes = hashes

    def node(self, level: int, index: int) -> bytes:
        return root_of(self.hashes[index << level : (index + 1) << level])


@dataclass
class SmallLog:
    entries: list[bytes]

    def add(self, v: str, **members: Any) -> bytes:
        seq = len(self.entries)
        stmt = {
            "v": v,
            "id": f"0199f3c0-0000-7000-8000-{seq + 256:012x}",
            "org": "acme",
            "ts": format_time(START),
            **members,
        }
        prev = leaf_hash(self.entries[-1]) if self.entries else genesis(ORIGIN)
        rcvd = format_time(START + timedelta(seconds=seq))
        self.entries.append(
            splice(origin=ORIGIN, prev=prev, rcvd=rcvd, seq=seq, sigs=b"[]", stmt=encode(stmt))
        )
        return self.entries[-1]

    def receipt(self, seq: int) -> dict[str, str]:
        hashes = [leaf_hash(entry) for entry in self.entries]
        size = len(hashes)
        note = sign_checkpoint(Checkpoint(ORIGIN, size, root_of(hashes)), SIGNER)
        path = inclusion_proof(seq, size, Leaves(hashes))
        return {"entry": self.entries[seq].decode(), "tlog_proof": format_proof(seq, path, note)}


def agent_seed(agent_id: str) -> bytes:
    return sha256(agent_id.encode()).digest()


def signed(agent_id: str, number: int, question_hash: str, **changes: Any) -> dict[str, Any]:
    payload = {
        "schema": answers.SCHEMA,
        "poll_id": POLL,
        "question_hash": question_hash,
        "invitation_id": f"inv-{number}",
        "agent_id": agent_id,
        "choice": OPTIONS[number % 3],
        "confidence_pct": 70,
        "rationale": "",
        "answered_at": "2026-03-02T10:00:00Z",
        "nonce": f"{number:032x}",
    } | changes
    return {
        "payload": payload,
        "response_sha256": answers.response_sha256(payload),
        "public_key": public_from_seed(agent_seed(agent_id)).hex(),
        "signature": answers.sign_answer(agent_seed(agent_id), payload).hex(),
    }


def make_proof(*, gap: int = 1, drawn_first: bool = False) -> dict[str, Any]:
    """A sound proof; `gap` notes stand between commitment and input, one is right."""
    secret = bytes(range(32))
    frame = sampling.make_frame(FRAME)
    question_hash = sampling.question_hash(QUESTION, OPTIONS)
    log = SmallLog([])
    log.add("ecp.decision/1", explanation="An entry that stood there before.")
    committed_at = len(log.entries)
    strata = [
        {"stratum": name, "size": size, "n": sampling.allocate(frame.sizes, 6)[name]}
        for name, size in sorted(frame.sizes.items())
    ]
    log.add(
        "ecp.poll.committed/1",
        poll_id=POLL, question_hash=question_hash, options=OPTIONS, frame_hash=frame.hash, frame_size=15,
        strata=strata, n=6, commitment=sampling.commitment(secret), quorum=QUORUM, estimator="srs",
        confidence_pct=95,
    )  # fmt: skip
    for _ in range(gap):
        log.add("ecp.annotation/1", text="The log was quiet.")
    input_at = len(log.entries)
    raw = log.add("ecp.annotation/1", text="The log was quiet, second note.")
    public_input = sampling.ledger_input(input_at, leaf_hash(raw))
    found = sampling.draw(poll_id=POLL, frame=frame, n=6, secret=secret, public_input=public_input)
    drawn_at = len(log.entries)
    log.add(
        "ecp.poll.drawn/1",
        poll_id=POLL, secret=secret.hex(), public_input=public_input, seed=found.seed.hex(),
        sample_hash=found.sample_hash,
    )  # fmt: skip
    responses = [signed(agent, number, question_hash) for number, agent in enumerate(found.sample[:5])]
    root = answers.responses_root([one["response_sha256"] for one in responses])
    tally = {"support": 2, "oppose": 2, "abstain": 1}
    closed_at = len(log.entries)
    log.add(
        "ecp.poll.closed/1",
        poll_id=POLL, responses_root=root,
        tally=[{"option": option, "count": tally[option]} for option in OPTIONS],
    )  # fmt: skip
    places = {"committed": committed_at, "input": input_at, "drawn": drawn_at, "closed": closed_at}
    if drawn_first:
        places["drawn"], places["closed"] = places["closed"], places["drawn"]
    return {
        "v": "ecp.poll.proof/1",
        "poll_id": POLL,
        "question": QUESTION,
        "options": OPTIONS,
        "question_hash": question_hash,
        "n": 6,
        "confidence_pct": 95,
        "estimator": "srs",
        "quorum": QUORUM,
        "frame": [list(row) for row in frame.rows],
        "frame_hash": frame.hash,
        "commitment": sampling.commitment(secret),
        "secret_hex": secret.hex(),
        "public_input": public_input,
        "seed": found.seed.hex(),
        "strata": {
            one.name: {
                "N": one.size,
                "n": len(one.selected),
                "selected": [place.agent_id for place in one.selected],
            }
            for one in found.strata
        },
        "sample": list(found.sample),
        "sample_hash": found.sample_hash,
        "responses": responses,
        "responses_root": root,
        "tally": tally,
        "drawn": 6,
        "answered": 5,
        "receipts": {name: log.receipt(place) for name, place in places.items()},
    }
