"""Reading the documents: their tables, sections, fenced blocks and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
OURS = ("ecp_project", "ledger", "advisory", "firewall", "consortium")
_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and where the text stands in the document."""

    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it up to the next heading of any level."""

    level: int
    title: str
    text: str


def documents() -> list[Path]:
    """Every Markdown file that readers are pointed to."""
    return sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


def every_text() -> Iterator[tuple[str, str]]:
    """Name and text of every document."""
    for file in documents():
        yield str(file.relative_to(PROJECT)), file.read_text(encoding="utf-8")


@cache
def read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(match[1], match[2], match.start(2), match.end(2)) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def sections(text: str) -> list[Section]:
    """Headings outside fenced blocks, each with its own text, fenced blocks included."""
    fenced = [(match.start(), match.end()) for match in _FENCE.finditer(text)]
    found = [
        match
        for match in _HEADING.finditer(text)
        if not any(start <= match.start() < end for start, end in fenced)
    ]
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Section(len(match[1]), match[2].strip(), text[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    ]


def section(text: str, title: str) -> str:
    """The text of the section of that title, its subsections included."""
    rows = sections(text)
    place = next(number for number, row in enumerate(rows) if row.title == title)
    below = []
    for row in rows[place + 1 :]:
        if row.level <= rows[place].level:
            break
        below.append(row.text)
    return "\n".join([rows[place].text, *below])


def table(text: str, first: str) -> list[list[str]]:
    """Rows of the table whose first column has that title, without backquotes round a whole cell."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            next(lines)
            break
    else:
        raise AssertionError(f"no table with the first column {first!r}")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        rows.append([re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in cells])
    return rows
