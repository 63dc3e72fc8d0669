# A copy of ledger/core/verify/report.py, made by clients/python/copy_core.py; change it there.
"""What a verification found, told as `ecp.verify/1` and as sentences for people (LEDGER section 15)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

# At one position the kind that comes first here explains the others.
KINDS = (
    "entry_syntax",
    "origin_mismatch",
    "seq_duplicate",
    "seq_gap",
    "leaf_mismatch",
    "chain_break",
    "rcvd_backwards",
    "duplicate_id",
    "key_unknown",
    "signature_invalid",
    "registry_mismatch",
    "projection_mismatch",
    "truncated",
    "fork",
    "root_mismatch",
    "checkpoint_signature",
    "head_mismatch",
)
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}
_NOWHERE = 2**63  # a finding without a position comes after every position

MAX_PER_KIND = 100


class Finding(NamedTuple):
    kind: str
    seq: int | None = None
    expected: str | None = None
    found: str | None = None
    detail: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Sort key: least position first, then the order of KINDS."""
        return (_NOWHERE if self.seq is None else self.seq, _RANK[self.kind])


@dataclass(slots=True)
class Checked:
    entries: int = 0
    links: int = 0
    signatures: int = 0
    checkpoints: int = 0
    tiles: int = 0


class Findings:
    """All kinds, the first finding, and at most a hundred of each: one deletion touches all that follows."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Finding]] = {}
        self._left_out: dict[str, int] = {}
        self.first: Finding | None = None

    def __bool__(self) -> bool:
        return self.first is not None

    def add(
        self,
        kind: str,
        *,
        seq: int | None = None,
        expected: str | None = None,
        found: str | None = None,
        detail: str = "",
    ) -> None:
        finding = Finding(kind, seq, expected, found, detail)
        if self.first is None or finding.place < self.first.place:
            self.first = finding
        kept = self._kept.setdefault(kind, [])
        if len(kept) < MAX_PER_KIND:
            kept.append(finding)
        else:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1

    @property
    def kinds(self) -> list[str]:
        return sorted(self._kept, key=_RANK.__getitem__)

    def listed(self) -> list[Finding]:
        """List findings in order of place; the last of a kind says how many more there were."""
        findings = []
        for kind, kept in self._kept.items():
            *rest, last = kept
            more = self._left_out.get(kind, 0)
            note = f"{last.detail}; {more:,} more of this kind are left out".lstrip("; ")
            findings += [*rest, last._replace(detail=note) if more else last]
        return sorted(findings, key=lambda finding: finding.place)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run; `incomplete` names missing evidence, which is neither finding nor proof."""

    origin: str
    size: int
    root: bytes | None
    checked: Checked
    findings: Findings
    seconds: float
    bad_range: tuple[int, int] | None = None
    incomplete: str = ""
    subject: str = field(default="the log")

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def kind(self) -> str | None:
        return self.findings.first.kind if self.findings.first else None

    @property
    def kinds(self) -> list[str]:
        return self.findings.kinds

    @property
    def first_bad_seq(self) -> int | None:
        return self.findings.first.seq if self.findings.first else None

    def to_document(self) -> dict[str, Any]:
        return {
            "v": "ecp.verify/1",
            "ok": self.ok,
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex() if self.root else None,
            "checked": asdict(self.checked),
            "kind": self.kind,
            "kinds": self.kinds,
            "first_bad_seq": self.first_bad_seq,
            "bad_range": list(self.bad_range) if self.bad_range else None,
            "findings": [finding._asdict() for finding in self.findings.listed()],
            "seconds": round(self.seconds, 3),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_document(), ensure_ascii=False, separators=(",", ":"))

    def to_text(self, shown: int = 10) -> str:
        lines = [f"origin   {self.origin}", f"checked  {self._counts()} in {self.seconds:.2f} s"]
        if self.root:
            lines.append(f"root     {self.root.hex()} at size {self.size:,}")
        lines.append(self.verdict())
        listed = self.findings.listed()
        for finding in listed[:shown]:
            lines += _told(finding)
        if len(listed) > shown:
            lines.append(f"  ... and {len(listed) - shown:,} more findings, all of them with --json")
        return "\n".join(lines)

    def _counts(self) -> str:
        counted = [_number_of(name, count) for name, count in asdict(self.checked).items() if count]
        return ", ".join(counted) or "nothing"

    def verdict(self) -> str:
        if self.findings.first is None:
            return (
                f"INCOMPLETE: {self.incomplete}." if self.incomplete else f"SOUND: {self.subject} verifies."
            )
        place = "" if self.first_bad_seq is None else f", first at position {self.first_bad_seq:,}"
        low, high = self.bad_range or (0, 0)
        span = f", somewhere in positions {low:,} to {high - 1:,}" if self.bad_range and not place else ""
        return f"FAILED: {self.subject} does not verify: {self.kind}{place}{span}."


def _number_of(plural: str, count: int) -> str:
    if count > 1:
        return f"{count:,} {plural}"
    return "1 entry" if plural == "entries" else f"1 {plural.removesuffix('s')}"


def _told(finding: Finding) -> list[str]:
    place = "" if finding.seq is None else f" at position {finding.seq:,}"
    lines = [f"  {finding.kind}{place}" + (f": {finding.detail}" if finding.detail else "")]
    for label, value in (("expected", finding.expected), ("found", finding.found)):
        if value is not None:
            lines.append(f"    {label:8} {value}")
    return lines
