"""Statements that the agent signs itself (LEDGER section 6), and what has to be known of the log for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ecp_client._core.kernel.canonical import encode
from ecp_client._core.kernel.errors import EcpError
from ecp_client._core.kernel.signing import KEY_BYTES, b64url, b64url_decode, kid_of, public_from_seed, sign
from ecp_client._core.ledger.entry import EntrySyntax, parse_entry, signed_message
from ecp_client._core.ledger.statement import validate
from ecp_client.calls import Call, Steps, asked
from ecp_client.errors import InvalidInput, Refused, problem
from ecp_client.lanes import make_private, write_atomically
from ecp_client.records import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


class Signer:
    """An agent's Ed25519 key. Its text form shows the key id only."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise InvalidInput(problem("bad_value", f"a seed has {KEY_BYTES} bytes, not {len(seed)}"))
        self._seed = seed
        self.public_key = public_from_seed(seed)
        self.kid = kid_of(self.public_key)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        return cls(seed)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a seed as `agentkey_create` writes it: one line of unpadded base64url."""
        text = Path(path).read_text(encoding="ascii").strip()
        try:
            return cls(b64url_decode(text))
        except ValueError:
            raise InvalidInput(
                problem("bad_value", f"{path} holds no seed of 32 bytes in base64url")
            ) from None

    def __repr__(self) -> str:
        return f"Signer(kid={self.kid!r})"

    def sign(self, message: bytes) -> bytes:
        return sign(self._seed, message)


class LogIdentity(NamedTuple):
    """The log that takes the statements: `slug` in addresses, `origin` under signatures, `org` its owner."""

    slug: str
    origin: str
    org: str


class Pins:
    """What was learnt from the API once: the agent and the log. Kept beside the queue, and not asked again.

    A server that names another origin later would otherwise get signatures for another log.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._found: dict[str, Any] = {}
        if root is not None:
            try:
                found = json.loads((root / "pins.json").read_text(encoding="utf-8"))
                self._found = found if isinstance(found, dict) else {}
            except (OSError, ValueError):
                pass

    @property
    def agent(self) -> str | None:
        return self._found.get("agent")

    @property
    def log(self) -> LogIdentity | None:
        found = self._found.get("log")
        return LogIdentity(*found) if found else None

    def pin(self, **found: Any) -> None:
        self._found |= found
        if self._root is not None:
            try:
                make_private(self._root)
                write_atomically(self._root / "pins.json", json.dumps(self._found))
            except OSError:
                pass  # asked again after the next start

    def learn_agent(self, deadline: float) -> Steps[str]:
        """The agent that the API key speaks for: a key that is bound to one sees that one alone."""
        if self.agent is not None:
            return self.agent
        answer = yield from asked(Call("GET", "/api/v1/agents/"), deadline)
        slugs = [row["slug"] for row in answer.document()["results"]]
        if len(slugs) != 1:
            detail = f"the API key sees {len(slugs)} agents: name the one that decides"
            raise Refused(problem("missing_field", detail, pointer="/agent"))
        self.pin(agent=slugs[0])
        return str(slugs[0])

    def learn_log(self, deadline: float) -> Steps[LogIdentity]:
        """The one log of the key's organisation; who owns it stands in its first entry."""
        if self.log is not None:
            return self.log
        answer = yield from asked(Call("GET", "/api/v1/logs/"), deadline)
        logs = answer.document()["results"]
        if len(logs) != 1:
            raise Refused(problem("bad_value", f"the API key sees {len(logs)} logs: name one by log="))
        slug, origin = logs[0]["slug"], logs[0]["origin"]
        answer = yield from asked(Call("GET", f"/api/v1/logs/{slug}/entries/?start=0&count=1"), deadline)
        try:
            first = parse_entry(answer.body.removesuffix(b"\n"))
        except EntrySyntax:
            raise Refused(
                problem("bad_value", "the log has no readable first entry: name it by log=")
            ) from None
        if first.log != origin:
            raise Refused(problem("bad_value", f"the first entry is of {first.log}, not of {origin}"))
        self.pin(log=[slug, origin, first.stmt["org"]])
        return LogIdentity(slug, origin, first.stmt["org"])


def named(body: bytes, agent: str) -> bytes:
    """A decision's JSON with the agent that was learnt."""
    return b'{"agent":%s,%s' % (json.dumps(agent).encode(), body[1:])


def signed(body: bytes, *, is_annotation: bool, agent: str, log: LogIdentity, signer: Signer) -> bytes:
    """`{"sigs":[..],"stmt":{..}}` of a queued line, canonical; the same line gives the same bytes."""
    stmt: dict[str, Any] = json.loads(body)
    stmt["org"] = log.org
    stmt["v"] = "ecp.annotation/1" if is_annotation else "ecp.decision/1"
    if is_annotation:
        stmt["actor"] = f"agent:{stmt.pop('agent', agent)}"
    else:
        stmt.setdefault("agent", agent)
    try:
        validate(stmt, signed_path=True)
        raw = encode(stmt)
    except EcpError as error:
        raise refusal(error) from None
    signature = b64url(signer.sign(signed_message(log.origin, raw)))
    sigs: list[Mapping[str, str]] = [{"alg": "ed25519", "kid": signer.kid, "sig": signature}]
    return b'{"sigs":%s,"stmt":%s}' % (encode(sigs), raw)
