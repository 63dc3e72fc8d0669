"""Run the `sh` and `python` blocks of a document, in order and in one shell, and compare what they print.

A fenced block without a language, `json` or `ndjson` right behind a block that runs is its expected output.
Ids, hashes, times, signatures and keys differ from run to run, and positions with what else the log has
taken: two of one form are equal. `…` stands for anything. With ECP_UPDATE_DOCS=1 the shown outputs are
written anew instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.docs.documents import PROJECT, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

RUN = {"sh", "python"}
SHOWN = {"", "json", "ndjson"}
LONGEST_SHOWN, SHOWN_OF_LONG = 100, 60
UPDATES = os.environ.get("ECP_UPDATE_DOCS") == "1"
# Forms of text that no two runs share, the longer ones first.
FORMS = (
    ("vkey", r"[a-z0-9./-]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}"),
    ("api key", r"ecp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}"),
    ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("time", r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z"),
    ("hash", r"\b[0-9a-f]{64}\b"),
    ("request id", r"\b[0-9a-f]{32}\b"),
    ("base64", r"(?<!\\)[A-Za-z0-9+/_-]{43,}={0,2}"),
    ("key prefix", r"(?<=\"id\": \")[a-z0-9]{8}(?=\")"),
    ("kid", r"\b[A-Za-z0-9_-]{22}(?= of)"),
    ("position", r"(?<=\"seq\":)\s*\d+|(?<=size\":)\s*\d+"),
    ("position", r"(?<=\bstored at )\d+|(?<=\bposition )\d+|(?<=\bat size )\d+|(?<=\bindex )\d+"),
    ("count", r"\b\d+ (?=entr|link|signature|checkpoint)"),
    ("seconds", r"\b[0-9]+\.[0-9]+ s\b"),
)


def masked(text: str) -> str:
    for name, form in FORMS:
        text = re.sub(form, f"<{name}>", text)
    return text


def pretty(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_shown(language: str, printed: str) -> str:
    """What was printed, laid out as the document lays it out."""
    if language == "json":
        return pretty(json.loads(printed)) + "\n"
    return printed.rstrip("\n") + "\n" if printed else ""


def shortened(text: str) -> str:
    """Long strings inside JSON are cut for readers, where one has lines behind a line."""

    def cut(match: re.Match[str]) -> str:
        kept = match[1][:SHOWN_OF_LONG]
        lines, newline, _ = kept.rpartition(r"\n")
        return f'"{lines}{newline}…"' if newline else f'"{kept}…"'

    return re.sub(rf'"([^"\n]{{{LONGEST_SHOWN},}})"', cut, text)


def agrees(shown: str, printed: str) -> bool:
    wanted = ".*?".join(re.escape(part) for part in masked(shown).split("…"))
    return re.fullmatch(wanted, masked(printed), re.DOTALL) is not None


@dataclass(slots=True)
class Shell:
    """A shell in a folder that looks like a checkout, so that examples write their files elsewhere."""

    folder: Path
    surroundings: Mapping[str, str]
    between: Callable[[], None]

    def run(self, document: Path) -> None:
        """Run all blocks of the document; AssertionError tells which one printed something else."""
        self._make_checkout()
        text = document.read_text(encoding="utf-8")
        found, changes = blocks(text), []
        script = subprocess.Popen(
            ["sh"],  # noqa: S607 - the shell of the readers
            cwd=self.folder, env=dict(self.surroundings), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            for number, block in enumerate(found):
                if block.language not in RUN:
                    continue
                printed = self._answer(script, block, number)
                following = found[number + 1] if number + 1 < len(found) else None
                # only blank space between them: the shown block is this one's output
                if following and following.language in SHOWN and not _between(text, block, following):
                    actual = as_shown(following.language, printed)
                    if UPDATES or not agrees(following.text, actual):
                        changes.append((following, block, actual))
        finally:
            script.communicate(timeout=10)
        self._settle(document, text, changes)

    def _answer(self, script: subprocess.Popen[str], block: Block, number: int) -> str:
        assert script.stdin is not None
        assert script.stdout is not None
        out, err = self.folder / f".out-{number}", self.folder / f".err-{number}"
        body = block.text
        if block.language == "python":
            (self.folder / f".example-{number}.py").write_text(body, encoding="utf-8")
            body = f".venv/bin/python .example-{number}.py\n"
        self.between()
        script.stdin.write(f"{{\n{body}}} > {out} 2> {err}\nprintf '%s\\n' $?\n")
        script.stdin.flush()
        status = script.stdout.readline().strip()
        assert status == "0", f"{body}\nended with {status}:\n{err.read_text(encoding='utf-8')}"
        return out.read_text(encoding="utf-8")

    @staticmethod
    def _settle(document: Path, text: str, changes: list[tuple[Block, Block, str]]) -> None:
        if UPDATES:
            for shown, _, actual in reversed(changes):
                text = text[: shown.start] + shortened(actual) + text[shown.end :]
            document.write_text(text, encoding="utf-8")
            return
        for shown, block, actual in changes:
            raise AssertionError(f"{document.name}:\n{block.text}\nprints\n{actual}\nbut shows\n{shown.text}")

    def _make_checkout(self) -> None:
        for name in (
            "manage.py", "advisory", "ledger", "ecp_project", "config", "templates", "schema", "examples",
        ):  # fmt: skip
            (self.folder / name).symlink_to(PROJECT / name)
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, start in (("python", ""), ("ecp", "-m ecp_client.command")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n', encoding="utf-8")
            program.chmod(0o755)


def _between(text: str, block: Block, following: Block) -> str:
    return re.sub(r"```[a-z]*\n", "", text[block.end : following.start].removeprefix("```\n")).strip()


def has_curl() -> bool:
    return shutil.which("curl") is not None
