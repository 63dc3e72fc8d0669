"""The verifier in one file, for evidence packs: `verify.py` needs Python and `cryptography`, nothing else.

The modules that `python -m ledger.core.verify` loads stand in the file word for word, each line behind `#| `,
so that a reader finds the code that is published and no copy of it can drift. A short loader on top reads
them back from there.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

ENTRANCE = "ledger.core.verify.command"
OURS = ("ecp_project", "ledger")
_LOADER = '''#!/usr/bin/env python3
"""Verifies the evidence pack in this folder. Needs Python 3.11 or newer and the package `cryptography`.

    python verify.py                                    the pack, by the key that it brings itself
    python verify.py pack . --vkey FILE                 by a key that you got elsewhere: do this
    python verify.py --help                             all commands of the verifier

Exit codes: 0 verified, 1 verification failed, 2 usage or unreadable input, 3 evidence incomplete.

This is the offline verifier of ECP in one file. Its modules stand below, each line behind `#| `.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path

SOURCES: dict[str, list[str]] = {}
for _line in Path(__file__).read_text(encoding="utf-8").split("\\n"):
    if _line.startswith("#= "):
        _lines = SOURCES.setdefault(_line[3:], [])
    elif _line.startswith("#|"):
        _lines.append(_line[3:])


class Bundled(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules below, and no others."""

    def find_spec(self, name, path=None, target=None):
        if name not in SOURCES:
            return None
        is_package = any(other.startswith(name + ".") for other in SOURCES)
        return importlib.util.spec_from_loader(name, self, is_package=is_package)

    def exec_module(self, module):
        name = module.__name__
        text = "\\n".join(SOURCES[name]) + "\\n"
        exec(compile(text, f"verify.py: {name}", "exec"), module.__dict__)


sys.dont_write_bytecode = True
sys.meta_path.insert(0, Bundled())

if __name__ == "__main__":
    from ledger.core.verify.command import main

    sys.exit(main(sys.argv[1:] or ["pack", str(Path(__file__).resolve().parent)]))
'''


@lru_cache(maxsize=1)
def verifier_file() -> bytes:
    """The bytes of `verify.py`; the same for the same sources."""
    parts = [_LOADER]
    for name, text in sorted(_sources().items()):
        lines = [f"#| {line}" if line else "#|" for line in text.removesuffix("\n").split("\n")]
        parts.append("\n".join([f"\n#= {name}", *lines]) + "\n")
    return "".join(parts).encode()


def _sources() -> dict[str, str]:
    """Module name -> source of all that the command imports from us, packages included."""
    found: dict[str, str] = {}
    waiting = [ENTRANCE]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _file_of(name)
        if path is None:  # not a module but a name in one
            continue
        found[name] = path.read_text(encoding="utf-8")
        waiting += _imported(found[name])
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return found


def _file_of(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # what stands before the last point is a module, no package
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imported(text: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.split(".")[0] in OURS]
    return names
