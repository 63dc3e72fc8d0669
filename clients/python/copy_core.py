"""Copy the parts of ECP's kernel and ledger core that the client needs: `python clients/python/copy_core.py`.

The client runs without ECP installed, yet must check and sign by the very same rules. So it carries a copy of
those modules in which only the imports differ. With `--check` nothing is written; the exit code is 1 when the
copy differs from what would be written.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
TARGET = HERE / "src" / "ecp_client" / "_core"
PACKAGES = {"ecp_project.kernel": "kernel", "ledger.core": "ledger"}
MODULES = {
    "ecp_project/kernel": ("canonical", "clock", "errors", "ids", "signing"),
    "ledger/core": (
        "decision", "entry", "fields", "merkle", "note", "proof", "sealing", "statement", "summary", "tiles",
        "verify/evidence", "verify/report", "verify/run", "verify/sources",
    ),
}  # fmt: skip
IMPORT = re.compile(r"^(\s*)from (ecp_project\.kernel|ledger\.core)\b", re.MULTILINE)


def rewritten(text: str) -> str:
    """The module's text with its imports turned to the copy."""
    return IMPORT.sub(lambda found: f"{found[1]}from ecp_client._core.{PACKAGES[found[2]]}", text)


def wanted() -> dict[Path, str]:
    """Path below the target -> text of each file of the copy."""
    files = {Path(name): "" for name in ("__init__.py", "kernel/__init__.py", "ledger/__init__.py")}
    files[Path("ledger/verify/__init__.py")] = ""
    for folder, names in MODULES.items():
        package = PACKAGES[folder.replace("/", ".")]
        for name in names:
            source = f"{folder}/{name}.py"
            head = f"# A copy of {source}, made by clients/python/copy_core.py; change it there.\n"
            text = (PROJECT / source).read_text(encoding="utf-8")
            files[Path(package, f"{name}.py")] = head + rewritten(text)
    return files


def differences(target: Path = TARGET) -> list[str]:
    """Name the files that are missing, differ, or should not be there."""
    files = wanted()
    present = {path.relative_to(target) for path in target.rglob("*.py")}
    wrong = {path for path in present & files.keys() if (target / path).read_text("utf-8") != files[path]}
    return sorted(str(path) for path in wrong | (present ^ files.keys()))


def write(target: Path = TARGET) -> None:
    files = wanted()
    for path in target.rglob("*.py"):
        if path.relative_to(target) not in files:
            path.unlink()
    for path, text in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Copy ECP's core into the Python client.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the copy is out of date")
    if not parser.parse_args().check:
        write()
        return 0
    found = differences()
    for name in found:
        sys.stderr.write(f"_core/{name} differs from its source: make client-core\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
