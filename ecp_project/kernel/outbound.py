"""The guard of every outbound request (SECURITY section 6): pure checks, the resolver is handed in.

`check_url` judges text alone and asks nobody. `resolve` asks the resolver once and lets a target pass only
when every address is public. The tables are our own: `ipaddress.is_global` calls NAT64 and 6to4 forms of
loopback addresses global and changes between Python versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048
HTTPS_PORT = 443
MAX_PORT = 65_535
MAX_HOST = 253

_BLOCKED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_BLOCKED_V6: Final = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_METADATA_V4: Final = IPv4Address("169.254.169.254")
_METADATA_V6: Final = IPv6Address("fd00:ec2::254")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})  # upper half of the interface identifier, RFC 5214

_FORBIDDEN_TEXT = re.compile(r"[^\x21-\x7e]|\\")
# scheme, bracketed literal, name or dotted literal, port; then path and query
_URL = re.compile(r"(https?)://(?:\[([^\]]*)\]|([^][/?#:@]+))(?::([^/?#@]*))?(?:[/?][^#]*)?\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_V6_LETTERS = re.compile(r"[0-9a-f:.]+\Z")
_CANONICAL_V4 = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}\Z")
_RESERVED_ENDINGS = frozenset(
    (
        "localhost",
        "local",
        "internal",
        "invalid",
        "test",
        "example",
        "onion",
        "arpa",
        "home",
        "lan",
        "corp",
        "alt",
    )
)


class Refused(Exception):
    """The guard says no; `reason` is a word for metrics, the text says what was wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A URL whose text has passed; `address` is set when the host is an address literal."""

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None


def check_url(
    url: str,
    *,
    allowed_ports: Collection[int] = (),
    allowed_networks: Collection[Network] = (),
    allow_loopback_http: bool = False,
) -> Target:
    """Judge the text of the URL and of its host (steps 1 and 2), address literals included."""
    match = _URL.match(url) if 0 < len(url) <= MAX_URL and not _FORBIDDEN_TEXT.search(url) else None
    if match is None:
        raise Refused(
            "text", f"write https://host/path in at most {MAX_URL} characters, no user and no fragment"
        )
    scheme, literal, name, port_text = match.groups()
    address = _literal(name if literal is None else literal, bracketed=literal is not None)
    port = _port(port_text, scheme)
    if scheme == "http":
        if not (allow_loopback_http and (name == "localhost" or (address and address.is_loopback))):
            raise Refused("scheme", "a delivery address starts with https://")
    elif port != HTTPS_PORT and port not in allowed_ports:
        raise Refused("port", f"port {port} is not allowed")
    elif address is None:
        _check_name(name)
    else:
        check_address(address, allowed_networks=allowed_networks)
    return Target(url, scheme, name if literal is None else literal, port, address)


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return HTTPS_PORT if scheme == "https" else 80
    if not _PORT.match(text) or int(text) > MAX_PORT:
        raise Refused("port", "the port is not a number from 1 to 65535")
    return int(text)


def _literal(host: str, *, bracketed: bool) -> Address | None:
    if bracketed:
        if not _V6_LETTERS.match(host):  # neither zone id nor capitals
            raise Refused("host", "the host is no lower-case IPv6 address")
        try:
            return IPv6Address(host)
        except AddressValueError as error:
            raise Refused("host", "the host is no IPv6 address") from error
    if _CANONICAL_V4.match(host):
        try:
            return IPv4Address(host)
        except AddressValueError as error:
            raise Refused("host", "the host is no IPv4 address") from error
    return None


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > MAX_HOST or len(labels) < 2 or not all(_LABEL.match(label) for label in labels):  # noqa: PLR2004 - name and top level
        raise Refused("host", "the host is no lower-case name of at least two labels, and no plain address")
    last = labels[-1]
    # a last label that a resolver may read as a number makes the whole name an address (127.1, 0x7f.1)
    if last.startswith("0x") or not any(letter.isalpha() for letter in last):
        raise Refused("host", "the host looks like a number")
    if last in _RESERVED_ENDINGS:
        raise Refused("host", f"names under .{last} are not public")


def _is_metadata(address: Address) -> bool:
    """Tell a cloud's metadata service, also inside an IPv6 form that carries an IPv4 address."""
    if isinstance(address, IPv4Address):
        return address == _METADATA_V4
    number = int(address)
    if address in _SIX_TO_FOUR:
        return (number >> 80) & 0xFFFF_FFFF == int(_METADATA_V4)
    # mapped, compatible, NAT64 and ISATAP keep the IPv4 address in the last 32 bits
    carries = (
        address in _MAPPED
        or address in _COMPATIBLE
        or any(address in network for network in _NAT64)
        or _is_isatap(address)
    )
    return address == _METADATA_V6 or (carries and number & 0xFFFF_FFFF == int(_METADATA_V4))


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _BLOCKED_V4)
    return (
        address.scope_id is None
        and address in _PUBLIC_V6
        and not any(address in network for network in _BLOCKED_V6)
        and not _is_isatap(address)
    )


def check_address(address: Address, *, allowed_networks: Collection[Network] = ()) -> None:
    """Step 3 for one address. `allowed_networks` may open private networks, never a metadata service."""
    if _is_metadata(address):
        raise Refused("metadata", "the address belongs to a cloud's metadata service")
    if _is_public(address):
        return
    if getattr(address, "scope_id", None) is None and any(address in network for network in allowed_networks):
        return
    raise Refused("address", "the address is not public")


def resolve(
    target: Target,
    resolver: Callable[[str, int], Collection[str]],
    *,
    allowed_networks: Collection[Network] = (),
    allow_loopback_http: bool = False,
) -> Address:
    """Step 3: the one address to connect to. Every address that the name has must pass."""
    found = [str(target.address)] if target.address is not None else list(resolver(target.host, target.port))
    if not found:
        raise Refused("resolve", "the host has no address")
    addresses = [_read(text) for text in found]
    dev_http = target.scheme == "http" and allow_loopback_http
    for address in addresses:
        if not (dev_http and address.is_loopback):
            check_address(address, allowed_networks=allowed_networks)
    return addresses[0]


def _read(text: str) -> Address:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except ValueError as error:
        raise Refused("resolve", "the resolver gave something that is no address") from error
