"""Typed readers of environment variables (OPERATIONS section 3).

A value that cannot be read stops the start and names its variable. `secret("NAME")` also reads the file that
`NAME_FILE` names. The standard library alone is used, so that settings, server hooks and launchers share it.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

ENVIRONMENTS = ("dev", "test", "production")
_BOOLEANS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip
_RATE_RE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h)(?: burst ([1-9][0-9]{0,8}))?\Z")
_RATE_SECONDS = {"s": 1, "min": 60, "h": 3600}


class EnvError(ValueError):
    """An environment variable is missing or cannot be read."""


class Rate(NamedTuple):
    """Sustained requests per second and how many may come at once."""

    per_second: float
    burst: int


def text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, "")
    if value:
        return value
    if default is None:
        raise EnvError(f"{name} is not set")
    return default


def secret(name: str, default: str | None = None) -> str:
    """Value of `name`, or the content of the file that `name_FILE` names; both at once are refused."""
    file_name = os.environ.get(f"{name}_FILE", "")
    if not file_name:
        return text(name, default)
    if os.environ.get(name):
        raise EnvError(f"{name} and {name}_FILE are both set; keep one")
    try:
        value = Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvError(f"{name}_FILE cannot be read: {error}") from error
    if not value:
        raise EnvError(f"{name}_FILE names an empty file")
    return value


def boolean(name: str, default: bool) -> bool:  # noqa: FBT001 - a reader's default, always named by position
    value = os.environ.get(name, "")
    if not value:
        return default
    if value.lower() not in _BOOLEANS:
        raise EnvError(f"{name} is {value!r}; write 1 or 0")
    return _BOOLEANS[value.lower()]


def integer(name: str, default: int, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
    value = os.environ.get(name, "")
    if not value:
        return default
    # int() also takes blanks, underscores and foreign digits; a misspelt limit must not pass
    if not re.fullmatch(r"[0-9]{1,10}", value) or not minimum <= int(value) <= maximum:
        raise EnvError(f"{name} is {value!r}; write a whole number from {minimum} to {maximum}")
    return int(value)


def choice(name: str, default: str, options: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in options:
        raise EnvError(f"{name} is {value!r}; write one of {', '.join(options)}")
    return value


def items(name: str, default: str = "") -> list[str]:
    """Comma-separated values, blanks around them dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def secret_items(name: str) -> list[str]:
    return [part.strip() for part in secret(name, "").split(",") if part.strip()]


def path(name: str, default: Path) -> Path:
    """Read a path; a relative one counts from the working directory."""
    return Path(os.environ.get(name) or default).expanduser().absolute()


def networks(name: str, default: str = "") -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part) for part in items(name, default)]
    except ValueError as error:
        raise EnvError(f"{name}: {error}") from error


def ports(name: str) -> list[int]:
    values = items(name)
    if any(not re.fullmatch(r"[0-9]{1,5}", part) or not 1 <= int(part) <= 65535 for part in values):  # noqa: PLR2004 - the range of TCP ports
        raise EnvError(f"{name} is {','.join(values)!r}; write port numbers joined by commas")
    return [int(part) for part in values]


def rate(name: str, default: str) -> Rate:
    """`100/s burst 200`, `20/s`, `10/min`; without a burst, one period's worth may come at once."""
    value = text(name, default)
    match = _RATE_RE.match(value)
    if match is None:
        raise EnvError(f"{name} is {value!r}; write it like '100/s burst 200' or '10/min'")
    count, period, burst = int(match[1]), match[2], match[3]
    return Rate(count / _RATE_SECONDS[period], int(burst or count))


def settings_module() -> str:
    """Name the settings module that `ECP_ENV` chooses."""
    return f"ecp_project.settings.{choice('ECP_ENV', 'dev', ENVIRONMENTS)}"
