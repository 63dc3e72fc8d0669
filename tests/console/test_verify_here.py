"""verify.js against the worked example of CONSOLE section 6, with the core verifier as the second opinion."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from ledger.core.entry import genesis, leaf_hash
from ledger.core.merkle import ProofInvalid, node_hash, verify_inclusion
from ledger.core.note import Checkpoint, Signer, Verifier, open_checkpoint, split_note
from ledger.core.proof import parse_proof
from tests.installation import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.console.browser import Browser

pytestmark = pytest.mark.e2e

ORIGIN = "ledger.example/acme/main"
VKEY = "ledger.example/acme/main+8833bfcf+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
LEAF = "87408bf611dfc8643d7022600fd67e44d4bbea0955c8aae422da64ba8e905bd3"
PROOF = """\
c2sp.org/tlog-proof@v1
index 2
XTA9Xe4u86nBTaXnDhOedbwFeQv22W2AcUa5vNlUEao=
uk0cXutg+6uBoLOcGSj12d7kDXtcrvBn/yJSPHeWVUU=
FWkJhaGMSFY1begzgik5vBSz/+ojB07FKa80iLHI+yY=

ledger.example/acme/main
5
B6BnG53H2Kw8bQ9/dl2hwbukQSZ+ed56uDyRecj40pg=

— ledger.example/acme/main iDO/z5+upC0cXv+NnBi6It3f5gXrlyjnqVILfleK\
/YOTk3ZkvpDMyrAdZvp4ZbDTZaIuRxxuBnjOfySZ6Te0CAxVvgk=
"""
ALL = {"Leaf": "pass", "Chain": "pass", "Path": "pass", "Signature": "pass"}


def example_entries() -> list[bytes]:
    made: list[bytes] = []
    prev = genesis(ORIGIN)
    for n in range(5):
        entry = (
            f'{{"log":"{ORIGIN}","prev":"{prev.hex()}","rcvd":"2026-01-01T00:00:{n:02d}.000000Z","seq":{n},'
            f'"sigs":[],"stmt":{{"n":{n},"v":"ecp.decision/1"}},"v":"ecp.entry/1"}}'
        ).encode()
        prev = leaf_hash(entry)
        made.append(entry)
    return made


@dataclass(frozen=True, slots=True)
class Case:
    """What the browser gets: bytes, proof, key, and the leaf hash that the page shows."""

    entry: bytes
    previous: bytes | None
    proof: str | None = PROOF
    vkey: str = VKEY
    leaf: str = LEAF


@pytest.fixture
def example() -> Case:
    entries = example_entries()
    assert len(entries[2]) == 217
    return Case(entries[2], entries[1])


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """An empty page with the script in it; a local file is a secure context."""
    script = (PROJECT / "ecp_project/console/static/console/verify.js").read_text(encoding="utf-8")
    (tmp_path / "verify.js").write_text(script, encoding="utf-8")
    (tmp_path / "page.html").write_text('<!doctype html><script src="verify.js"></script>', encoding="utf-8")
    browser.open((tmp_path / "page.html").as_uri())
    return browser


def as_script(case: Case) -> str:
    def array(data: bytes | None) -> str:
        return "null" if data is None else f"Uint8Array.from({list(data)})"

    texts = {"proofText": case.proof, "vkey": case.vkey, "leaf": case.leaf}
    return f"{{entry: {array(case.entry)}, previous: {array(case.previous)}, ...{json.dumps(texts)}}}"


def in_browser(page: Browser, case: Case) -> dict[str, str]:
    found: dict[str, Any] = page.run(f"ecpVerify.check({as_script(case)})")
    return {check["name"]: check["state"] for check in found["checks"]}


def in_python(case: Case) -> dict[str, str]:
    """The same four ticks by the functions of the offline verifier."""

    def state(check: Callable[[], bool]) -> str:
        try:
            return "pass" if check() else "fail"
        except ProofInvalid:
            return "fail"

    leaf = leaf_hash(case.entry)
    proof = case.proof or ""

    def path() -> bool:
        parsed = parse_proof(proof)
        signed = Checkpoint.parse(split_note(parsed.note)[0])
        verify_inclusion(
            index=parsed.index, size=signed.size, leaf=leaf, proof=parsed.hashes, root=signed.root
        )
        return bool(parsed.index == json.loads(case.entry)["seq"])

    def signature() -> bool:
        open_checkpoint(parse_proof(proof).note, Verifier(case.vkey))
        return True

    prev = json.loads(case.entry)["prev"]
    before = genesis(ORIGIN) if case.previous is None else leaf_hash(case.previous)
    return {
        "Leaf": state(lambda: leaf.hex() == case.leaf),
        "Chain": state(lambda: prev == before.hex()),
        "Path": state(path),
        "Signature": state(signature),
    }


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def with_proof(old: str, new: str) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        assert old in PROOF
        return replace(case, proof=PROOF.replace(old, new, 1))

    return change


OTHER_KEY = Signer(ORIGIN, bytes(range(1, 33))).vkey
SPARE_BITS = "B6BnG53H2Kw8bQ9/dl2hwbukQSZ+ed56uDyRecj40pg="  # the last letter before = has spare bits
CASES: dict[str, tuple[Callable[[Case], Case], dict[str, str]]] = {
    "unchanged": (lambda case: case, {}),
    "size line 5 to 6": (with_proof("main\n5\n", "main\n6\n"), {"Signature": "fail"}),
    "index 2 to 3": (with_proof("index 2", "index 3"), {"Path": "fail"}),
    "lowest bit of the fifth-last byte": (
        lambda case: replace(case, entry=flipped(case.entry, -5)),
        {"Leaf": "fail", "Path": "fail"},
    ),
    "another key": (lambda case: replace(case, vkey=OTHER_KEY), {"Signature": "fail"}),
    "entry before changed": (
        lambda case: replace(case, previous=flipped(case.previous or b"", 200)),
        {"Chain": "fail"},
    ),
    "hash of the path changed": (with_proof("XTA9Xe4u", "XTA9Xe4v"), {"Path": "fail"}),
    "a hash too many": (
        with_proof("index 2\n", "index 2\nXTA9Xe4u86nBTaXnDhOedbwFeQv22W2AcUa5vNlUEao=\n"),
        {"Path": "fail"},
    ),
    "root changed": (with_proof("B6BnG53H", "B6BnG53I"), {"Path": "fail", "Signature": "fail"}),
    "root in another base64": (
        with_proof(SPARE_BITS, SPARE_BITS.replace("pg=", "ph=")),
        {"Path": "fail", "Signature": "fail"},
    ),
    "signature changed": (with_proof("iDO/z5+upC0c", "iDO/z5+upC0d"), {"Signature": "fail"}),
    "origin changed": (with_proof("\n\nledger.example", "\n\nledger.exampla"), {"Signature": "fail"}),
    "no blank line": (with_proof("\n\n", "\n"), {"Path": "fail", "Signature": "fail"}),
    "number with a zero in front": (with_proof("main\n5", "main\n05"), {"Path": "fail", "Signature": "fail"}),
    "not a proof": (lambda case: replace(case, proof="hello"), {"Path": "fail", "Signature": "fail"}),
}


@pytest.mark.parametrize("name", CASES)
def test_browser_and_python_judge_alike(page: Browser, example: Case, name: str) -> None:
    change, expected = CASES[name]
    case = change(example)
    assert in_browser(page, case) == in_python(case) == ALL | expected
    assert page.complaints == []


def test_flipped_bit_has_the_leaf_of_the_worked_example(page: Browser, example: Case) -> None:
    case = replace(example, entry=flipped(example.entry, -5))
    found = page.run(f"ecpVerify.check({as_script(case)})")
    leaf = found["checks"][0]
    assert leaf["got"] == "7bc2dfa2e40a4399d9f9eee22bb98530617d74791dd57846f7b587c401ec7ca0"
    assert (leaf["want"], found["verdict"]) == (LEAF, "failed")


def test_first_entry_follows_from_the_name_of_the_log(page: Browser) -> None:
    first, second, *_ = example_entries()
    case = Case(first, None, proof=None, leaf=leaf_hash(first).hex())
    pending = {"Path": "pending", "Signature": "pending"}
    assert in_browser(page, case) == ALL | pending
    foreign = first.replace(b"ledger.example", b"ledger.exampla")
    case = Case(foreign, None, proof=None, leaf=leaf_hash(foreign).hex())
    assert in_browser(page, case) == ALL | pending | {"Chain": "fail"}
    case = Case(second, None, proof=None, leaf=leaf_hash(second).hex())
    assert in_browser(page, case)["Chain"] == "fail"


def test_without_a_key_the_signature_is_not_judged(page: Browser, example: Case) -> None:
    assert in_browser(page, replace(example, vkey="")) == ALL | {"Signature": "unavailable"}


def test_every_changed_byte_of_the_entry_turns_a_tick(page: Browser, example: Case) -> None:
    loop = f"""(async () => {{
        const given = {as_script(example)}, missed = [];
        for (let at = 0; at < given.entry.length; at++) {{
            const entry = given.entry.slice();
            entry[at] ^= 1;
            const found = await ecpVerify.check({{...given, entry}});
            if (found.verdict !== "failed") missed.push(at);
        }}
        return missed;
    }})()"""
    assert page.run(loop) == []


def test_every_changed_letter_of_the_proof_turns_a_tick(page: Browser, example: Case) -> None:
    loop = f"""(async () => {{
        const given = {as_script(example)}, text = given.proofText, missed = [];
        for (let at = 0; at < text.length; at++) {{
            const letter = String.fromCharCode(text.charCodeAt(at) ^ 1);
            const proofText = text.slice(0, at) + letter + text.slice(at + 1);
            const found = await ecpVerify.check({{...given, proofText}});
            if (found.verdict !== "failed") missed.push(at);
        }}
        return missed;
    }})()"""
    assert page.run(loop) == []


@pytest.mark.parametrize("shift", [31, 32, 33, 40, 52])
def test_positions_beyond_32_bits_are_halved_as_numbers(page: Browser, shift: int) -> None:
    """A path of a tree of 2^shift leaves whose siblings are all alike."""
    index = 2**shift - 2
    entry = json.dumps({"log": ORIGIN, "prev": "0" * 64}, separators=(",", ":")).encode()[:-1]
    entry += f',"rcvd":"2026-01-01T00:00:00.000000Z","seq":{index},"sigs":[],"stmt":{{}}}}'.encode()
    leaf, sibling = leaf_hash(entry), bytes(32)
    root, position = leaf, index
    for _ in range(shift):
        root = node_hash(sibling, root) if position & 1 else node_hash(root, sibling)
        position >>= 1
    signer = Signer(ORIGIN, bytes(range(32)))
    text = f"{ORIGIN}\n{2**shift}\n{base64.b64encode(root).decode()}\n"
    hashes = (base64.b64encode(sibling).decode() + "\n") * shift
    proof = f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{text}\n{signer.sign(text)}"
    states = in_browser(page, Case(entry, entry, proof, signer.vkey, leaf.hex()))
    assert states == ALL | {"Chain": "fail"}


@pytest.mark.parametrize(
    "vkey",
    [
        VKEY.replace("8833bfcf", "8833bfce"),
        VKEY.replace("+AQ", "+BA"),
        VKEY[:-1],
        VKEY + "=",
        VKEY.replace("acme", "acne"),
        "",
    ],
)
def test_a_text_that_is_no_key_is_refused(page: Browser, vkey: str) -> None:
    told = page.run(f"ecpVerify.readKey({json.dumps(vkey)}).then(() => 'taken', error => error.message)")
    assert told == "proof not valid"
