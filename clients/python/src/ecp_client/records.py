"""From the arguments of `record` to the line that is queued: normalised, checked, encoded.

What is checked here is what the ledger checks of a record's public members (`_core`), so most mistakes show
at the call. Private members are sent exactly as given. What only the server can know (agents, keys, what an
id was used for) it judges later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Required, TypedDict
from unicodedata import normalize

from ecp_client._core.kernel.canonical import MAX_DOCUMENT_BYTES, parse_document
from ecp_client._core.kernel.clock import format_time
from ecp_client._core.kernel.errors import EcpError
from ecp_client._core.kernel.ids import is_uuid7
from ecp_client._core.ledger.decision import PRIVATE_MEMBERS, RECORD
from ecp_client._core.ledger.statement import ANNOTATION_STATEMENT
from ecp_client.errors import InvalidInput, problem
from ecp_client.ids import new_id

# Stands for the agent while it is still to be learnt from the API key.
_UNKNOWN_AGENT = "agent-of-the-key"
_SHOWN = ("code", "detail", "pointer")


class RecordFields(TypedDict, total=False):
    """Arguments of `record`: the members of a DecisionRecord. The last four are private."""

    action: Required[str]
    explanation: Required[str]
    agent: str | None
    id: str | None
    ts: datetime | str | None
    model: Mapping[str, str] | None
    subject: Mapping[str, str] | None
    alternatives: list[Mapping[str, str]] | None
    risk: str | None
    advisory: Mapping[str, Any] | None
    zone: str | None
    refs: list[Mapping[str, str]] | None
    context: Mapping[str, Any] | None
    explanation_detail: str | None
    data_subject: str | None
    data_subjects: Mapping[str, str] | None


class Line(NamedTuple):
    """What goes into the queue; without `has_agent` the sender still has to add the agent."""

    id: str
    body: bytes
    has_agent: bool


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def decision_line(fields: Mapping[str, Any], agent: str | None, *, thorough: bool = False) -> Line:
    """Normalise, check and encode one decision; `thorough` judges the private members as the server will."""
    document = _document(fields)
    has_agent = "agent" in document or agent is not None
    document.setdefault("agent", agent or _UNKNOWN_AGENT)
    now = time.time_ns()
    if "id" not in document:
        document["id"] = new_id(now // 1_000_000)
    elif is_uuid7(str(document["id"])):
        # Who repeats a call with the id of the first one repeats the record, its time included.
        now = int(document["id"][:8] + document["id"][9:13], 16) * 1_000_000
    document.setdefault("ts", _format_ns(now))
    try:
        RECORD.check(document)
        if not has_agent:
            del document["agent"]
        body = encoded(document)
        if thorough or len(body) > MAX_DOCUMENT_BYTES:
            parse_document(body, private=PRIVATE_MEMBERS)
    except EcpError as error:
        raise refusal(error) from None
    return Line(document["id"], body, has_agent)


def annotation_line(target: str, kind: str, text: str, status: str | None, agent: str | None) -> Line:
    """Check and encode one annotation; it has an id of its own. The agent counts where it is signed."""
    now = time.time_ns()
    document: dict[str, Any] = {"id": new_id(now // 1_000_000), "kind": kind, "text": _text(text)}
    if status is not None:
        document["status"] = status
    at = {"ts": _format_ns(now), "target": target}
    try:
        ANNOTATION_STATEMENT.check(
            document | at | {"v": "ecp.annotation/1", "org": "xx", "actor": "system:client"}
        )
    except EcpError as error:
        raise refusal(error) from None
    document |= at if agent is None else at | {"agent": agent}
    return Line(document["id"], encoded(document), has_agent=agent is not None)


def encoded(document: Mapping[str, Any]) -> bytes:
    try:
        return _encode(document).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput(problem("bad_text", "a text holds a lone surrogate")) from None
    except (TypeError, ValueError, RecursionError) as error:
        # The public members are checked by now, so it is the context.
        raise InvalidInput(problem("bad_value", str(error), pointer="/context")) from None


def refusal(error: EcpError) -> InvalidInput:
    document = error.document()
    return InvalidInput({name: document[name] for name in _SHOWN if name in document})


def _document(fields: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if type(value) is str:
            document[name] = value if value.isascii() or name in PRIVATE_MEMBERS else normalize("NFC", value)
        elif name == "context":
            document[name] = value if type(value) is dict else _as_dict(value)
        elif isinstance(value, datetime):
            document[name] = _format(value)
        else:
            document[name] = _plain(value, is_private=name in PRIVATE_MEMBERS)
    return document


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _plain(value: Any, *, is_private: bool = False) -> Any:
    """Turn string enums, tuples and other mappings into the types that JSON has; normalise public text."""
    if isinstance(value, str):
        return str.__str__(value) if is_private else _text(value)
    if isinstance(value, Mapping):
        return {name: _plain(item, is_private=is_private) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, is_private=is_private) for item in value]
    return value


def _text(value: Any) -> Any:
    return normalize("NFC", str.__str__(value)) if isinstance(value, str) else value


def _format(instant: datetime) -> str:
    if instant.tzinfo is None:
        raise InvalidInput(problem("bad_value", "the time needs a zone, as datetime.now(UTC)", pointer="/ts"))
    return format_time(instant)


def _format_ns(now: int) -> str:
    return format_time(datetime.fromtimestamp(now / 1_000_000_000, UTC))
