"""Links, names of files and modules, quoted contracts, ADRs: what the documents point to exists."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.documents import PROJECT, blocks, documents, prose, read, sections

pytestmark = pytest.mark.unit
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PARTS = ("Context", "Decision", "Consequences", "Alternatives")
ADRS = sorted((PROJECT / "docs" / "adr").glob("[0-9]*.md"))
FIRST = {"0001", "0002", "0003", "0006", "0007", "0009", "0010", "0012", "0013", "0014"}


def relative(file: Path) -> str:
    return str(file.relative_to(PROJECT))


def anchor(title: str) -> str:
    """The anchor that GitHub makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("file", documents(), ids=relative)
def test_every_internal_link_leads_somewhere(file: Path) -> None:
    for target in LINK.findall(prose(file.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        place = (file.parent / name).resolve() if name else file
        assert place.exists(), target
        if fragment and place.suffix == ".md":
            assert fragment in {anchor(row.title) for row in sections(place.read_text("utf-8"))}, target


@pytest.mark.parametrize("file", documents(), ids=relative)
def test_every_file_that_is_named_exists(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    folders = "ecp_project|ledger|tests|docs|schema|config|deploy|requirements|templates"
    for named in re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w)", text):
        assert (PROJECT / named).exists(), named


@pytest.mark.parametrize("file", documents(), ids=relative)
def test_every_module_that_is_run_exists(file: Path) -> None:
    for name in re.findall(r"python -m ((?:ecp_project|ledger)[\w.]*)", file.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(name), name


def test_every_document_that_the_code_speaks_of_exists() -> None:
    folders = ("ecp_project", "ledger", "tests", "deploy", "templates")
    files = [file for name in folders for file in (PROJECT / name).rglob("*") if file.suffix != ".pyc"]
    for file in [*files, PROJECT / "Makefile"]:
        if not file.is_file():
            continue
        for named in re.findall(rb"\b(docs/[A-Z_]+\.md)\b", file.read_bytes()):
            assert (PROJECT / named.decode()).exists(), f"{relative(file)} names {named.decode()}"


def test_no_document_under_docs_is_left_out_of_the_readme() -> None:
    text = read("README.md") + read("docs/ARCHITECTURE.md") + read("docs/adr/README.md")
    linked = {Path(target.partition("#")[0]).name for target in LINK.findall(text)}
    assert {file.name for file in PROJECT.glob("docs/**/*.md")} - linked <= {"README.md"}


def test_architecture_md_quotes_the_import_contracts_as_they_are() -> None:
    quoted = next(block for block in blocks(read("docs/ARCHITECTURE.md")) if block.language == "toml")
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]
    assert tomllib.loads(quoted.text)["tool"]["importlinter"] == contracts


@pytest.mark.parametrize("file", ADRS, ids=lambda file: file.stem)
def test_each_adr_has_its_parts(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    rows = sections(text)
    assert re.fullmatch(rf"{file.stem[:4]} [A-Z].{{10,}}", rows[0].title)
    status = r"Status: (proposed|accepted|superseded by \d{4}) {6}Date: \d{4}-\d{2}-\d{2}\n"
    assert re.match(status, rows[0].text.strip() + "\n")
    assert tuple(row.title for row in rows[1:]) == PARTS
    assert all(len(row.text.strip()) > 100 for row in rows[1:])
    alternatives = re.findall(r"^- \*\*.+?\*\*.*?: .{10,}", rows[4].text, re.MULTILINE)
    assert len(alternatives) == rows[4].text.count("\n- ")
    assert f"]({file.name})" in read("docs/adr/README.md")


def test_the_first_adrs_are_there() -> None:
    assert {file.stem[:4] for file in ADRS} >= FIRST
