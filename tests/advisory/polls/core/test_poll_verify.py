"""The verifier that stands alone: sound proofs, one tampering for each code, both Ed25519 routines."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from advisory.polls import poll_verify
from advisory.polls.core import answers
from ecp_project.kernel.signing import public_from_seed, sign
from tests.advisory.polls.core import proofs
from tests.advisory.polls.core.cases import cases
from tests.shared import PROJECT, shared_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.unit
SCRIPT = PROJECT / "advisory" / "polls" / "poll_verify.py"


@pytest.fixture(scope="module")
def sound() -> dict[str, Any]:
    return proofs.make_proof()


def result(proof: dict[str, Any], vkey: str | None = None) -> str:
    return str(poll_verify.verify(proof, vkey)["result"])


def test_proof_vectors() -> None:
    for case in cases_of_proofs():
        assert result(case["proof"]) == case["result"]


def cases_of_proofs() -> list[dict[str, Any]]:
    return cases("proofs")


def test_sound_proof_passes_and_says_what_it_is_bound_to(sound: dict[str, Any]) -> None:
    alone = poll_verify.verify(sound)
    assert (alone["result"], alone["answers"], alone["manual"]) == ("ok", 5, 0)
    assert "not bound to a log" in alone["detail"]
    assert "bound to the log" in poll_verify.verify(sound, proofs.SIGNER.vkey)["detail"]


def with_answer(proof: dict[str, Any], at: int, **changes: Any) -> None:
    """Let an agent say something else, soundly signed."""
    old = proof["responses"][at]["payload"]
    proof["responses"][at] = proofs.signed(old["agent_id"], at, proof["question_hash"], **changes)


def steal(proof: dict[str, Any]) -> None:
    outsider = next(agent for agent, _ in proof["frame"] if agent not in proof["sample"])
    proof["responses"][0] = proofs.signed(outsider, 0, proof["question_hash"])


def swap_sample(proof: dict[str, Any]) -> None:
    proof["sample"][0] = next(agent for agent, _ in proof["frame"] if agent not in proof["sample"])


def flip(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


TAMPERINGS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "question": ("question_hash_mismatch", lambda p: p.update(question="Should it go out tomorrow?")),
    "options": ("question_hash_mismatch", lambda p: p.update(options=["support", "abstain", "oppose"])),
    "agent taken out": ("frame_hash_mismatch", lambda p: p["frame"].pop()),
    "agent twice": ("frame_hash_mismatch", lambda p: p["frame"].append(p["frame"][0])),
    "stratum": ("frame_hash_mismatch", lambda p: p["frame"][0].__setitem__(1, "us")),
    "secret": ("commitment_mismatch", lambda p: p.update(secret_hex=flip(p["secret_hex"]))),
    "commitment": ("commitment_mismatch", lambda p: p.update(commitment=flip(p["commitment"]))),
    "public input": ("seed_mismatch", lambda p: p.update(public_input="ledger:9:" + "0" * 64)),
    "poll id": ("seed_mismatch", lambda p: p.update(poll_id="another")),
    "n": ("allocation_mismatch", lambda p: p.update(n=7)),
    "share of a stratum": ("allocation_mismatch", lambda p: p["strata"]["eu"].update(n=3)),
    "selected": ("sample_mismatch", lambda p: p["strata"]["eu"]["selected"].reverse()),
    "sample": ("sample_mismatch", swap_sample),
    "sample hash": ("sample_mismatch", lambda p: p.update(sample_hash=flip(p["sample_hash"]))),
    "answer twice": ("response_duplicate", lambda p: p["responses"].append(p["responses"][0])),
    "foreign answer": ("response_not_in_sample", steal),
    "choice": ("response_hash_mismatch", lambda p: p["responses"][0]["payload"].update(choice="oppose")),
    "answer to another poll": ("response_hash_mismatch", lambda p: with_answer(p, 0, poll_id="other")),
    "signature": (
        "signature_invalid",
        lambda p: p["responses"][1].update(signature=p["responses"][0]["signature"]),
    ),
    "key": ("signature_invalid", lambda p: p["responses"][1].update(public_key="01" + "00" * 31)),
    "order of the answers": ("responses_root_mismatch", lambda p: p["responses"].reverse()),
    "answer left out": ("responses_root_mismatch", lambda p: p["responses"].pop()),
    "tally": ("tally_mismatch", lambda p: p["tally"].update(support=3)),
    "invented option": ("tally_mismatch", lambda p: p["tally"].update(maybe=0)),
    "answered": ("tally_mismatch", lambda p: p.update(answered=6)),
    "drawn": ("tally_mismatch", lambda p: p.update(drawn=5)),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_tampering_has_its_code(sound: dict[str, Any], name: str) -> None:
    code, tamper = TAMPERINGS[name]
    proof = copy.deepcopy(sound)
    tamper(proof)
    assert result(proof) == code


def test_first_failing_check_decides(sound: dict[str, Any]) -> None:
    proof = copy.deepcopy(sound)
    proof["tally"]["support"] = 9
    proof["commitment"] = flip(proof["commitment"])
    assert result(proof) == "commitment_mismatch"


def test_manual_answer_has_no_signature_and_is_counted_apart(sound: dict[str, Any]) -> None:
    proof = copy.deepcopy(sound)
    proof["responses"][0].update(public_key=None, signature=None)
    assert poll_verify.verify(proof)["manual"] == 1


# --- bound to the log


def test_gap_of_one_entry_too_many_is_an_order_mismatch() -> None:
    for gap in (0, 2):
        assert result(proofs.make_proof(gap=gap), proofs.SIGNER.vkey) == "order_mismatch"


LOG_TAMPERINGS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "no receipts": ("receipt_invalid", lambda p: p.pop("receipts")),
    "one missing": ("receipt_invalid", lambda p: p["receipts"].pop("drawn")),
    "not yet signed": ("receipt_invalid", lambda p: p["receipts"]["closed"].pop("tlog_proof")),
    "entry bytes": (
        "receipt_invalid",
        lambda p: p["receipts"]["closed"].update(
            entry=p["receipts"]["closed"]["entry"].replace('"count":2', '"count":3')
        ),
    ),
    "proof of another entry": (
        "receipt_invalid",
        lambda p: p["receipts"]["closed"].update(tlog_proof=p["receipts"]["drawn"]["tlog_proof"]),
    ),
    "no proof at all": ("receipt_invalid", lambda p: p["receipts"]["input"].update(tlog_proof="")),
    "quorum lowered": ("entry_mismatch", lambda p: p["quorum"].update(min_responses=1)),
    "confidence changed": ("entry_mismatch", lambda p: p.update(confidence_pct=80)),
    "drawn entry of something else": (
        "entry_mismatch",
        lambda p: p["receipts"].update(drawn=p["receipts"]["closed"]),
    ),
    "other input": ("entry_mismatch", lambda p: p["receipts"].update(input=p["receipts"]["drawn"])),
}  # fmt: skip


@pytest.mark.parametrize("name", LOG_TAMPERINGS)
def test_each_tampering_with_the_log_has_its_code(sound: dict[str, Any], name: str) -> None:
    code, tamper = LOG_TAMPERINGS[name]
    proof = copy.deepcopy(sound)
    tamper(proof)
    assert result(proof, proofs.SIGNER.vkey) == code
    if name != "no receipts":
        assert result(proof) == "ok"  # only the log tells


def test_key_of_another_log_binds_nothing(sound: dict[str, Any]) -> None:
    from ledger.core.note import Signer  # noqa: PLC0415 - its only use

    assert result(sound, Signer(proofs.ORIGIN, bytes(32)).vkey) == "receipt_invalid"
    assert result(sound, Signer("ecp.example/log/other", bytes(range(32))).vkey) == "receipt_invalid"


# --- Ed25519 of its own


def test_own_routine_agrees_with_the_library() -> None:
    for number in range(6):
        seed, message = bytes([number]) * 32, b"message %d" % number
        key, signature = public_from_seed(seed), sign(seed, message)
        assert poll_verify.good_by_hand(key, signature, message)
        assert not poll_verify.good_by_hand(key, signature, message + b"!")
        broken = signature[:40] + bytes([signature[40] ^ 1]) + signature[41:]
        assert not poll_verify.good_by_hand(key, broken, message)


def test_both_routines_give_one_answer_on_the_edge_cases() -> None:
    folder = shared_path("vectors/ledger/third_party/ed25519")
    accepted = set(json.loads((folder / "ecp_policy.json").read_text())["accepted"])
    vectors = json.loads((folder / "ed25519vectors.json").read_text())
    chosen = [case for case in vectors if case["number"] in accepted or case["number"] % 60 == 0]
    assert len(chosen) > len(accepted)
    for case in chosen:
        key, signature = bytes.fromhex(case["key"]), bytes.fromhex(case["sig"])
        message = case["msg"].encode()
        for routine in (poll_verify.good_by_hand, poll_verify.good_signature):
            assert routine(key, signature, message) is (case["number"] in accepted), case["number"]


@pytest.mark.parametrize(
    "key", ["01" + "00" * 31, "00" * 32, "ec" + "ff" * 30 + "7f", "ff" * 32, "", "00" * 31]
)
def test_weak_and_malformed_keys_sign_nothing(key: str) -> None:
    for routine in (poll_verify.good_by_hand, poll_verify.good_signature):
        assert not routine(bytes.fromhex(key).ljust(32, b"\0")[: len(key) // 2 or 32], bytes(64), b"")


# --- as a program


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of the one file, isolated: neither this project nor its packages can be imported."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", "poll_verify.py", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, sound: dict[str, Any]) -> Path:
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "proof.json").write_text(json.dumps(sound))
    (tmp_path / "log.vkey").write_text(proofs.SIGNER.vkey + "\n")
    bad = copy.deepcopy(sound)
    bad["responses"][0]["payload"]["rationale"] = "never said"
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "other.json").write_text('{"v": "ecp.poll.proof/2"}')
    (tmp_path / "holes.json").write_text('{"v": "ecp.poll.proof/1"}')
    return tmp_path


def test_file_alone_verifies_with_the_standard_library(folder: Path) -> None:
    done = run("proof.json", "--json", "--vkey", "log.vkey", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == "ok"
    failed = run("bad.json", cwd=folder)
    assert (failed.returncode, failed.stdout.split(":")[0]) == (1, "response_hash_mismatch")


@pytest.mark.parametrize(
    "arguments",
    [(), ("proof.json", "bad.json"), ("absent.json",), ("text.json",), ("other.json",), ("holes.json",),
     ("proof.json", "--vkey"), ("proof.json", "--vkey", "proof.json"), ("--help",)],
)  # fmt: skip
def test_usage_and_unreadable_input_exit_with_2(
    arguments: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert poll_verify.main(list(arguments)) == 2


def test_answers_of_proofs_are_answers_of_the_core(sound: dict[str, Any]) -> None:
    for one in sound["responses"]:
        answers.PAYLOAD.check(one["payload"])
        assert answers.response_sha256(one["payload"]) == one["response_sha256"]
