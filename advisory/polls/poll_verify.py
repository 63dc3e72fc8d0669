"""Check a poll's proof: `python poll_verify.py PROOF.json [--json] [--vkey FILE]`.

One file, standard library only, so that it can lie in an evidence pack and be read in an hour. It shares no
code with the service that wrote the proof. The first check that fails decides:

    question_hash  frame_hash  commitment  seed  allocation  sample       -> <check>_mismatch
    for each answer: response_duplicate, response_not_in_sample, response_hash_mismatch, signature_invalid
    responses_root  tally                                                 -> <check>_mismatch
    with --vkey: receipt_invalid, entry_mismatch, order_mismatch

Without --vkey the verdict is only that the draw is consistent in itself: whoever wrote the proof could have
made all of it up. With the log's verifier key, taken from elsewhere, the proof is bound to the log.

Exit status: 0 all checks passed, 1 one failed, 2 usage or unreadable input.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

USAGE = "usage: poll_verify.py PROOF.json [--json] [--vkey FILE]"
VERSION = "ecp.poll.proof/1"
MAX_PATH = 63


class Mismatch(Exception):
    """The check that failed, as the result code names it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Unreadable(Exception):
    """The input is no proof."""


def fail(code: str, detail: str) -> NoReturn:
    raise Mismatch(code, detail)


def canonical(value: Any) -> bytes:
    """RFC 8785 for what proofs hold: no floats, ASCII names."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- Ed25519, RFC 8032 section 5.1

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, P - 2, P) % P
Point = tuple[int, int, int, int]
IDENTITY: Point = (0, 1, 1, 0)


def decompress(encoded: bytes) -> Point | None:
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(encoded) != 32 or y >= P:  # noqa: PLR2004 - bytes of a point
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * ROOT_OF_MINUS_ONE % P
        if (v * x * x - u) % P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(p: Point, q: Point) -> Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def base_point() -> Point:
    point = decompress(BASE_Y.to_bytes(32, "little"))
    assert point is not None
    return point


def sound_point(encoded: bytes) -> Point | None:
    """A point that every implementation reads alike: canonical, and not of an order that divides 8."""
    point = decompress(encoded)
    return None if point is None or same(multiply(8, point), IDENTITY) else point


def good_by_hand(public_key: bytes, signature: bytes, message: bytes) -> bool:
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    a_point, r_point = sound_point(public_key), sound_point(r)
    if a_point is None or r_point is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L
    return same(multiply(s, base_point()), add(r_point, multiply(k, a_point)))


def good_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Strict Ed25519: the pre-check above, then the library where there is one."""
    if len(public_key) != 32 or len(signature) != 64:  # noqa: PLR2004 - bytes of a key and a signature
        return False
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - absent on a bare Python
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - as above
            Ed25519PublicKey,
        )
    except ImportError:
        return good_by_hand(public_key, signature, message)
    if sound_point(public_key) is None or sound_point(signature[:32]) is None:
        return False
    if int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- the draw


def allocate(sizes: dict[str, int], n: int) -> dict[str, int]:
    total = sum(sizes.values())
    n = min(n, total)
    quota = {name: Fraction(n * size, total) for name, size in sizes.items()}
    given = {name: quota[name].numerator // quota[name].denominator for name in sizes}
    names = sorted(sizes, key=lambda name: name.encode())
    if n >= len(names):
        given = {name: max(1, number) for name, number in given.items()}
    while sum(given.values()) > n:
        over = max(given[name] - quota[name] for name in names if given[name] > 1)
        given[[x for x in names if given[x] > 1 and given[x] - quota[x] == over][-1]] -= 1
    while sum(given.values()) < n:
        under = min(given[name] - quota[name] for name in names if given[name] < sizes[name])
        given[next(x for x in names if given[x] < sizes[x] and given[x] - quota[x] == under)] += 1
    return given


def ranked(seed: bytes, stratum: str, agents: list[str]) -> list[str]:
    """By ticket: the first are the sample, the rest in this order the reserve."""
    tickets = {a: hmac.digest(seed, f"{stratum}\x1f{a}".encode(), "sha256").hex() for a in agents}
    return sorted(agents, key=lambda agent: (tickets[agent], agent))


def check_draw(proof: dict[str, Any]) -> None:
    question = {"options": proof["options"], "question": proof["question"]}
    if sha256_hex(canonical(question)) != proof["question_hash"]:
        fail("question_hash_mismatch", "the hash is not that of question and options")
    frame = [[str(agent), str(stratum)] for agent, stratum in proof["frame"]]
    ordered = sorted(frame, key=lambda row: row[0].encode())
    if len({row[0] for row in frame}) != len(frame) or sha256_hex(canonical(ordered)) != proof["frame_hash"]:
        fail("frame_hash_mismatch", "the hash is not that of the frame, or an agent is in it twice")
    secret = bytes.fromhex(proof["secret_hex"])
    if sha256_hex(b"ECP-POLL-COMMIT-v1\n" + secret) != proof["commitment"]:
        fail("commitment_mismatch", "the secret is not the one that was committed to")
    lines = ("ECP-POLL-SEED-v1", proof["poll_id"], proof["frame_hash"], secret.hex(), proof["public_input"])
    seed = hashlib.sha256("\n".join(lines).encode()).digest()
    if seed.hex() != proof["seed"]:
        fail("seed_mismatch", "the seed does not follow from poll, frame, secret and public input")
    strata: dict[str, list[str]] = {}
    for agent, stratum in ordered:
        strata.setdefault(stratum, []).append(agent)
    given = allocate({name: len(agents) for name, agents in strata.items()}, proof["n"])
    told = {name: (one["N"], one["n"]) for name, one in proof["strata"].items()}
    if told != {name: (len(agents), given[name]) for name, agents in strata.items()}:
        fail("allocation_mismatch", "the sample is shared out over the strata in another way")
    sample: list[str] = []
    for name, agents in strata.items():
        chosen = ranked(seed, name, agents)[: given[name]]
        if proof["strata"][name].get("selected", chosen) != chosen:
            fail("sample_mismatch", f"stratum {name or '(all)'}: other agents have the smallest tickets")
        sample += chosen
    sample.sort(key=lambda agent: agent.encode())
    if proof["sample"] != sample or sha256_hex(canonical(sample)) != proof["sample_hash"]:
        fail("sample_mismatch", "the sample is not the one that the seed draws")


# --- the answers


def exchanges(proof: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Who was gone, who of the reserve was asked instead, and who was passed over before him; in order."""
    stratum_of, seed = {str(a): str(stratum) for a, stratum in proof["frame"]}, bytes.fromhex(proof["seed"])
    asked, ever, found = set(proof["sample"]), set(proof["sample"]), []
    reserves: dict[str, list[str]] = {}
    for one in proof.get("replaced", []):
        gone, by = one["gone"], one["by"]
        if gone not in asked:
            fail("sample_mismatch", f"{gone} was not asked, so nobody stands in for it")
        stratum = stratum_of[gone]
        if stratum not in reserves:
            agents = [agent for agent, name in stratum_of.items() if name == stratum]
            reserves[stratum] = ranked(seed, stratum, agents)[proof["strata"][stratum]["n"] :]
        reserve = reserves[stratum]
        if by in ever or by not in reserve:
            fail("sample_mismatch", f"{by} is not of the reserve for {gone}")
        found.append((gone, by, [agent for agent in reserve[: reserve.index(by)] if agent not in asked]))
        asked = asked - {gone} | {by}
        ever.add(by)
    return found


def asked_in_the_end(proof: dict[str, Any]) -> set[str]:
    asked = set(proof["sample"])
    for gone, by, _ in exchanges(proof):
        asked = asked - {gone} | {by}
    return asked


def check_answers(proof: dict[str, Any]) -> dict[str, int]:
    seen: set[str] = set()
    sample = asked_in_the_end(proof)
    counts = dict.fromkeys(proof["options"], 0)
    manual = 0
    hashes = []
    for answer in proof["responses"]:
        payload = answer["payload"]
        agent = payload["agent_id"]
        if agent in seen:
            fail("response_duplicate", f"{agent} is counted twice")
        seen.add(agent)
        if agent not in sample:
            fail("response_not_in_sample", f"{agent} was not drawn")
        raw = canonical(payload)
        is_of_this_poll = (payload["poll_id"], payload["question_hash"]) == (
            proof["poll_id"],
            proof["question_hash"],
        )
        if sha256_hex(raw) != answer["response_sha256"] or not is_of_this_poll:
            fail("response_hash_mismatch", f"the answer of {agent} is another one, or one to another poll")
        if answer["public_key"] is None:
            manual += 1
        elif not good_signature(
            bytes.fromhex(answer["public_key"]),
            bytes.fromhex(answer["signature"]),
            b"ECP-POLL-RESPONSE-v1\n" + raw,
        ):
            fail("signature_invalid", f"the answer of {agent} does not carry its signature")
        hashes.append(bytes.fromhex(answer["response_sha256"]))
        counts[payload["choice"]] = counts.get(payload["choice"], 0) + 1
    if tree_root([hashlib.sha256(b"\0" + one).digest() for one in hashes]).hex() != proof["responses_root"]:
        fail("responses_root_mismatch", "the root is not that of these answers in this order")
    tally = dict.fromkeys(proof["options"], 0) | proof["tally"]
    is_complete = proof["answered"] == len(hashes) and proof["drawn"] == len(proof["sample"])
    if tally != counts or not is_complete:
        fail("tally_mismatch", "the counts are not those of the answers")
    return {"answers": len(hashes), "manual": manual}


def tree_root(nodes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 over leaf hashes."""
    if not nodes:
        return hashlib.sha256(b"").digest()
    while len(nodes) > 1:
        pairs = [
            hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(nodes[::2], nodes[1::2], strict=False)
        ]
        nodes = pairs + nodes[len(pairs) * 2 :]
    return nodes[0]


# --- the log: C2SP tlog-proof over a signed note


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        fail("receipt_invalid", "base64 that is not the one spelling of its bytes")
    return data


def read_vkey(text: str) -> tuple[str, bytes, bytes]:
    match = re.fullmatch(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text.strip())
    data = base64.b64decode(match[3]) if match else b""
    if match is None or len(data) != 33 or data[0] != 1:  # noqa: PLR2004 - type and key
        raise Unreadable("the verifier key is not one of type 0x01")
    name, key = match[1], data[1:]
    identity = hashlib.sha256(name.encode() + b"\n\1" + key).digest()[:4]
    if identity.hex() != match[2]:
        raise Unreadable("the verifier key's id is not that of the key")
    return name, identity, key


def checkpoint_of(note: str, vkey: tuple[str, bytes, bytes]) -> tuple[int, bytes]:
    """Size and root that the log's key signed."""
    name, identity, key = vkey
    text, blank, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) != 3 or lines[0] != name or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):  # noqa: PLR2004 - origin, size, root
        fail("receipt_invalid", "the checkpoint is not one of this log")
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if dash != "\u2014" or signer != name:
            continue
        data = unbase64(encoded)
        if data[:4] == identity and good_signature(key, data[4:], f"{text}\n".encode()):
            return int(lines[1]), unbase64(lines[2])
    fail("receipt_invalid", "the checkpoint is not signed by the key")


def check_receipt(receipt: dict[str, Any], vkey: tuple[str, bytes, bytes]) -> dict[str, Any]:
    """Prove the entry under its checkpoint and give its content."""
    raw = receipt["entry"].encode()
    head, _, note = receipt["tlog_proof"].partition("\n\n")
    lines = head.split("\n")
    if len(lines) > MAX_PATH + 2 or lines[0] != "c2sp.org/tlog-proof@v1":
        fail("receipt_invalid", "not a tlog-proof")
    match = re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[1])
    if match is None:
        fail("receipt_invalid", "the proof names no position")
    size, root = checkpoint_of(note, vkey)
    index, path = int(match[1]), [unbase64(line) for line in lines[2:]]
    if path_root(index, size, hashlib.sha256(b"\0" + raw).digest(), path) != root:
        fail("receipt_invalid", f"the entry at position {index} is not under the checkpoint")
    entry: dict[str, Any] = json.loads(raw)
    if entry["seq"] != index or entry["log"] != vkey[0]:
        fail("receipt_invalid", "the entry stands at another position or in another log")
    return entry | {"leaf_hash": sha256_hex(b"\0" + raw)}


def path_root(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes | None:
    """RFC 9162 section 2.1.3.2; None when the path has not the length that the tree demands."""
    if not 0 <= index < size:
        return None
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        at, last = at >> 1, last >> 1
    return node if last == 0 else None


SAID = {
    "committed": (
        "ecp.poll.committed/1",
        ("poll_id", "options", "question_hash", "frame_hash", "commitment", "n", "confidence_pct",
         "estimator", "quorum"),
    ),
    "drawn": ("ecp.poll.drawn/1", ("poll_id", "secret", "public_input", "seed", "sample_hash")),
    "closed": ("ecp.poll.closed/1", ("poll_id", "responses_root", "tally")),
}  # fmt: skip


def check_log(proof: dict[str, Any], vkey: tuple[str, bytes, bytes]) -> None:
    uses_log = proof["public_input"].startswith("ledger:")
    needed = ["committed", *(["input"] if uses_log else []), "drawn", "closed"]
    entries = read_receipts(proof.get("receipts") or {}, needed, vkey)
    check_contents(proof, entries)
    if uses_log:
        seen = entries["input"]
        if proof["public_input"] != f"ledger:{seen['seq']}:{seen['leaf_hash']}":
            fail("entry_mismatch", "the public input is not that entry")
        if seen["seq"] != entries["committed"]["seq"] + 2:
            fail("order_mismatch", "the public input is not the second entry after the commitment")
    places = [entries[name]["seq"] for name in needed]
    places[-1:-1] = check_notes(proof, entries["drawn"]["stmt"]["id"], vkey)
    if places != sorted(set(places)):
        fail("order_mismatch", "the entries do not follow each other as the poll went")


def check_notes(proof: dict[str, Any], drawn_id: str, vkey: tuple[str, bytes, bytes]) -> list[int]:
    """Say where the log tells of each exchange: whom the operator called gone stands there for all to see."""
    expected = exchanges(proof)
    names = [f"replaced {number}" for number in range(len(expected))]
    given = (proof.get("receipts") or {}).get("replaced") or []
    entries = read_receipts(dict(zip(names, given, strict=False)), names, vkey)
    for name, (gone, by, passed) in zip(names, expected, strict=True):
        text = f"{gone} was de-registered before the question reached it: {by}, next in the reserve"
        text += " of its stratum, is asked instead."
        if passed:
            text += f" Passed over, as not active: {', '.join(passed)}."
        meant = {"v": "ecp.annotation/1", "kind": "note", "actor": "system:polls", "target": drawn_id}
        stmt = entries[name]["stmt"]
        if any(stmt.get(member) != value for member, value in {**meant, "text": text}.items()):
            fail("entry_mismatch", f"the note on {gone} says something else than the proof")
    return [entries[name]["seq"] for name in names]


def read_receipts(
    receipts: dict[str, Any], needed: list[str], vkey: tuple[str, bytes, bytes]
) -> dict[str, dict[str, Any]]:
    entries = {}
    for name in needed:
        if name not in receipts:
            fail("receipt_invalid", f"the receipt of the {name} entry is missing")
        try:
            entries[name] = check_receipt(receipts[name], vkey)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            fail("receipt_invalid", f"the receipt of the {name} entry cannot be read: {error}")
    return entries


def check_contents(proof: dict[str, Any], entries: dict[str, dict[str, Any]]) -> None:
    meant = proof | {
        "secret": proof["secret_hex"],
        "tally": [{"option": option, "count": proof["tally"].get(option, 0)} for option in proof["options"]],
    }
    for name, (kind, members) in SAID.items():
        stmt = entries[name]["stmt"]
        if stmt["v"] != kind or any(stmt.get(member) != meant[member] for member in members):
            fail("entry_mismatch", f"the {name} entry says something else than the proof")
    strata = sorted(proof["strata"].items(), key=lambda item: item[0].encode())
    sizes = [{"stratum": name, "size": one["N"], "n": one["n"]} for name, one in strata]
    if entries["committed"]["stmt"].get("strata") != sizes:
        fail("entry_mismatch", "the committed entry names other strata")


# --- command


def verify(proof: Any, vkey: str | None = None) -> dict[str, Any]:
    """Give the verdict: `result`, `ok`, `detail`, and what was counted."""
    key = None if vkey is None else read_vkey(vkey)
    if not isinstance(proof, dict) or proof.get("v") != VERSION:
        raise Unreadable(f"not a document of {VERSION}")
    try:
        check_draw(proof)
        counted = check_answers(proof)
        if key is not None:
            check_log(proof, key)
    except Mismatch as mismatch:
        return {"v": "ecp.poll.verdict/1", "ok": False, "result": mismatch.code, "detail": mismatch.detail}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"a member is missing or of another type: {error}") from error
    bound = (
        "the draw is consistent and bound to the log"
        if key is not None
        else "the draw is consistent, but not bound to a log: give the log's key with --vkey"
    )
    return {"v": "ecp.poll.verdict/1", "ok": True, "result": "ok", "detail": bound} | counted


def main(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    words = [word for word in arguments if word != "--json"]
    vkey_file = None
    if "--vkey" in words:
        at = words.index("--vkey")
        vkey_file = words[at + 1] if at + 1 < len(words) else ""
        del words[at : at + 2]
    if len(words) != 1 or vkey_file == "" or words[0].startswith("-"):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        vkey = None if vkey_file is None else Path(vkey_file).read_text(encoding="utf-8")
        verdict = verify(json.loads(Path(words[0]).read_text(encoding="utf-8")), vkey)
    except (OSError, ValueError, RecursionError, Unreadable) as error:
        sys.stderr.write(f"cannot read: {error}\n")
        return 2
    line = json.dumps(verdict) if as_json else f"{verdict['result']}: {verdict['detail']}"
    sys.stdout.write(line + "\n")
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
