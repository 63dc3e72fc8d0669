"""One ASCII JSON object a line, whatever is in the text; no message of an exception (OPERATIONS section 9)."""  # noqa: E501 - one sentence

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.observability.logging import described, render

pytestmark = pytest.mark.unit

SECRET = "canary-explanation"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    written = capsys.readouterr()
    assert written.out == ""
    return [json.loads(line) for line in written.err.splitlines()]


@given(st.text())
def test_any_text_is_one_ascii_line_that_brings_it_back(text: str) -> None:
    line = render(None, "info", {"event": "x", "said": text})
    assert line.isascii()
    assert line.isprintable() or "\x7f" in line
    assert "\n" not in line
    assert json.loads(line)["said"] == text


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x1b[31mred", "a\u2028b", "a\u2029b", '{"event":"fake"}', "\x00"]
)
def test_text_cannot_begin_a_second_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("test").warning("named", said=text)
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["said"]) == ("named", "warning", text)


def test_leading_members_are_fixed_and_time_is_utc_in_milliseconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    structlog.get_logger("test").info("named", b=1, a=2)
    (line,) = lines(capsys)
    assert list(line) == ["ts", "level", "event", "logger", "version", "b", "a"]
    assert len(line["ts"]) == len("2026-01-01T00:00:00.000Z")
    assert line["ts"].endswith("Z")


def test_lines_of_libraries_have_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("some.library").warning("went %s", "wrong\nway")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["message"]) == (
        "library_message",
        "some.library",
        "went wrong\nway",
    )


def test_debug_lines_are_dropped_at_level_info(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("test").debug("named")
    logging.getLogger("some.library").debug("named")
    assert lines(capsys) == []


def test_exception_is_told_by_type_and_place_and_not_by_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise KeyError(SECRET)  # noqa: TRY301 - raised to be caught below
        except KeyError as error:
            raise ValueError(SECRET) from error
    except ValueError as error:
        structlog.get_logger("test").error("named", exc_info=error)
        logging.getLogger("some.library").exception("named")
    ours, library = lines(capsys)
    for line in (ours, library):
        assert line["exception"]["type"] == "ValueError"
        assert line["exception"]["cause"]["type"] == "KeyError"
        assert "test_logging.py" in line["exception"]["frames"][-1]
        assert SECRET not in json.dumps(line)


def test_state_of_a_database_error_is_told() -> None:
    class FullDiskError(Exception):
        sqlstate = "53100"

    assert described(FullDiskError(SECRET))["sqlstate"] == "53100"


def test_object_that_is_no_json_is_told_by_its_type_alone() -> None:
    class Secretive:
        def __repr__(self) -> str:
            return SECRET

    assert json.loads(render(None, "info", {"event": "x", "thing": Secretive()}))["thing"] == "Secretive"
