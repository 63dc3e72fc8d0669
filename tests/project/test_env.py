"""Typed readers refuse what they cannot read, and name the variable (OPERATIONS section 3)."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project import env
from ecp_project.env import EnvError, Rate

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.unit

NAME = "ECP_TEST_VARIABLE"
HOME = Path("/var/lib/ecp")


def reader(read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return lambda: read(NAME, *arguments, **options)


@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        ("x", reader(env.text), "x"),
        (None, reader(env.text, "y"), "y"),
        ("", reader(env.text, "y"), "y"),
        ("1", reader(env.boolean, default=False), True),
        ("TRUE", reader(env.boolean, default=False), True),
        ("off", reader(env.boolean, default=True), False),
        (None, reader(env.boolean, default=True), True),
        ("0", reader(env.integer, 5), 0),
        (None, reader(env.integer, 5), 5),
        ("65535", reader(env.integer, 5, minimum=1, maximum=65535), 65535),
        ("b", reader(env.choice, "a", ("a", "b")), "b"),
        (" a , ,b", reader(env.items), ["a", "b"]),
        (None, reader(env.items, "c,d"), ["c", "d"]),
        (None, reader(env.path, HOME), HOME),
        ("/a/b", reader(env.path, HOME), Path("/a/b")),
        ("10.0.0.0/8,fd00::/8", reader(env.networks), [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]),
        ("8443, 9443", reader(env.ports), [8443, 9443]),
        ("100/s burst 200", reader(env.rate, "1/s"), Rate(100.0, 200)),
        ("10/min", reader(env.rate, "1/s"), Rate(10 / 60, 10)),
        (None, reader(env.rate, "36/h"), Rate(0.01, 36)),
    ],
)
def test_value_is_read(
    monkeypatch: pytest.MonkeyPatch, value: str | None, read: Callable[[], Any], expected: Any
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert read() == expected


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, reader(env.text)),
        ("", reader(env.secret)),
        ("ture", reader(env.boolean, default=False)),
        ("2", reader(env.boolean, default=False)),
        (" 5", reader(env.integer, 1)),
        ("-5", reader(env.integer, 1)),
        ("1_000", reader(env.integer, 1)),
        ("٣", reader(env.integer, 1)),
        ("5.0", reader(env.integer, 1)),
        ("99999999999", reader(env.integer, 1)),
        ("0", reader(env.integer, 1, minimum=1)),
        ("65536", reader(env.integer, 1, maximum=65535)),
        ("c", reader(env.choice, "a", ("a", "b"))),
        ("10.0.0.1/8", reader(env.networks)),
        ("everything", reader(env.networks)),
        ("0", reader(env.ports)),
        ("70000", reader(env.ports)),
        ("http", reader(env.ports)),
        ("100", reader(env.rate, "1/s")),
        ("0/s", reader(env.rate, "1/s")),
        ("100/s burst 0", reader(env.rate, "1/s")),
        ("100 / s", reader(env.rate, "1/s")),
    ],
)
def test_value_that_cannot_be_read_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None, read: Callable[[], Any]
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value)
    with pytest.raises(EnvError, match=NAME):
        read()


def test_secret_comes_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    assert env.secret(NAME) == "from the file"
    file.write_text("a,b ,\n")
    assert env.secret_items(NAME) == ["a", "b"]


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_secret_file_that_holds_nothing_readable_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    with pytest.raises(EnvError, match=f"{NAME}_FILE"):
        env.secret(NAME)


def test_secret_from_two_places_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, "x")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "secret"))
    with pytest.raises(EnvError, match="both set"):
        env.secret(NAME)


def test_environment_chooses_the_settings_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_ENV", "production")
    assert env.settings_module() == "ecp_project.settings.production"
    monkeypatch.setenv("ECP_ENV", "staging")
    with pytest.raises(EnvError, match="ECP_ENV"):
        env.settings_module()
