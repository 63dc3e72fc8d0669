"""The decisions that the load client sends: 415 bytes each, and the same with a private context."""

from __future__ import annotations

from tests.perf.client import new_id, request

LINES = 500
_START = b'{"id":"%s","agent":"load-bot","action":"price.update","risk":"low",'
_END = (
    b'"explanation":"Lowered the price of the winter jacket by 12 %%, because stock is above plan and two '
    b"competitors in the same city went below us within the last week; the margin stays above the floor that "
    b'the category manager set for this season of the year."'
    b',"model":{"name":"pricing-model","version":"2026-02"}}'
)
_CONTEXT = (
    b'"context":{"sku":"WJ-10442","old_price":129.9,"new_price":114.3,"store":"Utrecht 3","stock":812},'
)
PUBLIC = _START + _END
PRIVATE = _START + _CONTEXT + _END
EXPLAINED = "PUBLIC is 415 bytes as JSON; PRIVATE adds a context of five members, each sealed on its own."


def single(key: str, path: str = "/api/v1/decisions/") -> bytes:
    return request("POST", path, key, PUBLIC % new_id())


def batch(key: str, line: bytes = PUBLIC, lines: int = LINES) -> bytes:
    body = b"\n".join([line % new_id() for _ in range(lines)])
    return request("POST", "/api/v1/decisions/batch/", key, body, "application/x-ndjson")
