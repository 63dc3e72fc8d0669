"""The guard's judgement of URLs and addresses, without any network (SECURITY section 6)."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.outbound import MAX_URL, Refused, check_address, check_url, resolve

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

GOOD = "https://agents.acme-pay.com/poll"


def refusal(url: str, **options: object) -> str:
    with pytest.raises(Refused) as caught:
        check_url(url, **options)  # type: ignore[arg-type]  # a table's options
    return caught.value.reason


def passes(address: str) -> bool:
    try:
        check_address(ip_address(address))
    except Refused:
        return False
    return True


def test_address_vectors(shared: Path) -> None:
    cases = json.loads((shared / "vectors/security/addresses.json").read_text())
    wrong = [case for case in cases if passes(case["address"]) != case["allowed"]]
    assert cases
    assert wrong == []


def test_url_vectors(shared: Path) -> None:
    lines = (shared / "vectors/security/cases.jsonl").read_text().splitlines()
    cases = [case for line in lines if (case := json.loads(line))["class"] == "ssrf_url"]
    assert cases
    for case in cases:
        url = case["body"].split('"{{ENDPOINT}}":"')[1].removesuffix('"}')
        if 201 in case["status"]:
            check_url(url)
        else:
            assert refusal(url), case["id"]


@pytest.mark.parametrize(
    "url",
    [
        GOOD, "https://a.co", "https://a.co?x=1", "https://xn--bcher-kva.de/", "https://8.8.8.8/", "https://a.co:443/",
        "https://[2606:4700::1111]/", "https://[2606:4700::1111]:443/x", "https://a.co/@user:x", "https://3com.com/",
    ],
)  # fmt: skip
def test_public_https_addresses_pass(url: str) -> None:
    assert check_url(url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "text"),
        (GOOD + "x" * MAX_URL, "text"),
        ("https://a.co/é", "text"),
        ("https://a.co/\t", "text"),
        ("https://a.co/\x7f", "text"),
        ("https://a.co\\@b.co/", "text"),
        ("https://user@a.co/", "text"),
        ("https://user:secret@a.co/", "text"),
        ("https://a.co/#x", "text"),
        ("HTTPS://a.co/", "text"),
        ("https:a.co", "text"),
        ("https:///a.co", "text"),
        ("//a.co/", "text"),
        ("ftp://a.co/", "text"),
        ("gopher://a.co/", "text"),
        ("https://[::1", "text"),
        ("https://[2606:4700::1111]x/", "text"),
        ("http://a.co/", "scheme"),
        ("http://127.0.0.1/", "scheme"),
        ("https://a.co:/", "port"),
        ("https://a.co:0/", "port"),
        ("https://a.co:0443/", "port"),
        ("https://a.co:65536/", "port"),
        ("https://a.co:8443/", "port"),
        ("https://A.co/", "host"),
        ("https://a.co./", "host"),
        ("https://a/", "host"),
        ("https://a..co/", "host"),
        ("https://-a.co/", "host"),
        ("https://a-.co/", "host"),
        ("https://a_b.co/", "host"),
        ("https://a%2eco/", "host"),
        ("https://" + "a" * 64 + ".co/", "host"),
        ("https://" + "a." * 130 + "co/", "host"),
        ("https://127.1/", "host"),
        ("https://0x7f.1/", "host"),
        ("https://a.0x7f/", "host"),
        ("https://2130706433/", "host"),
        ("https://0177.0.0.1/", "host"),
        ("https://1.2.3.256/", "host"),
        ("https://1.2.3.04/", "host"),
        ("https://1.2.3.4./", "host"),
        ("https://localhost/", "host"),
        ("https://[1.2.3.4]/", "host"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://[2606:4700::ABCD]/", "host"),
        ("https://[]/", "host"),
        ("https://127.0.0.1/", "address"),
        ("https://[::1]/", "address"),
        ("https://[::ffff:8.8.8.8]/", "address"),
        ("https://169.254.169.254/", "metadata"),
        ("https://[fd00:ec2::254]/", "metadata"),
        *[
            (f"https://agent.{ending}/", "host")
            for ending in [
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
            ]
        ],
    ],
)
def test_other_text_is_refused_without_asking_anybody(url: str, reason: str) -> None:
    assert refusal(url) == reason


def test_ports_and_networks_open_what_they_name() -> None:
    assert check_url("https://a.co:8443/", allowed_ports={8443}).port == 8443
    private = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert check_url("https://10.1.2.3/", allowed_networks=private).address == IPv4Address("10.1.2.3")
    assert refusal("https://11.0.0.1:8443/", allowed_networks=private) == "port"
    assert refusal("https://127.0.0.1/", allowed_networks=private) == "address"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "::169.254.169.254",
        "64:ff9b::169.254.169.254", "64:ff9b:1::169.254.169.254", "2002:a9fe:a9fe::1",
        "2606:4700::200:5efe:a9fe:a9fe", "2606:4700::5efe:169.254.169.254",
    ],
)  # fmt: skip
def test_metadata_service_stays_closed_in_all_its_forms(address: str) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    with pytest.raises(Refused) as caught:
        check_address(ip_address(address), allowed_networks=everything)
    assert caught.value.reason == "metadata"


def test_zone_id_is_refused_even_in_an_allowed_network() -> None:
    with pytest.raises(Refused):
        check_address(IPv6Address("fe80::1%eth0"), allowed_networks=[ip_network("fe80::/10")])


def test_plain_http_is_for_loopback_in_development() -> None:
    assert check_url("http://127.0.0.1:8000/x", allow_loopback_http=True).port == 8000
    assert check_url("http://localhost/", allow_loopback_http=True).port == 80
    assert check_url("http://[::1]:9/", allow_loopback_http=True).port == 9
    assert refusal("http://10.0.0.1/", allow_loopback_http=True) == "scheme"
    assert refusal("http://agents.acme-pay.com/", allow_loopback_http=True) == "scheme"
    assert refusal("https://127.0.0.1/", allow_loopback_http=True) == "address"


def test_every_address_of_a_name_must_pass() -> None:
    target = check_url(GOOD)
    assert resolve(target, lambda _host, _port: ["8.8.8.8", "2606:4700::1"]) == IPv4Address("8.8.8.8")
    for bad in ("127.0.0.1", "10.0.0.1", "::1", "fe80::1", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        with pytest.raises(Refused):
            resolve(target, lambda _host, _port, bad=bad: ["8.8.8.8", bad])  # type: ignore[misc]  # bound in a loop


@pytest.mark.parametrize("answer", [[], ["nonsense"], ["8.8.8.8", ""]])
def test_resolver_without_a_good_answer_is_a_refusal(answer: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        resolve(check_url(GOOD), lambda _host, _port: answer)
    assert caught.value.reason == "resolve"


def test_literal_is_never_asked_about() -> None:
    def asked(host: str, port: int) -> list[str]:
        raise AssertionError((host, port))

    assert resolve(check_url("https://8.8.8.8/"), asked) == IPv4Address("8.8.8.8")


def test_name_that_resolves_away_from_loopback_gets_no_plain_http() -> None:
    target = check_url("http://localhost:8000/", allow_loopback_http=True)
    assert str(resolve(target, lambda _host, _port: ["127.0.0.1"], allow_loopback_http=True)) == "127.0.0.1"
    with pytest.raises(Refused):
        resolve(target, lambda _host, _port: ["10.0.0.1"], allow_loopback_http=True)


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.co:{text}", f"https://[{text}]/"):
        try:
            target = check_url(url)
        except Refused:
            continue
        assert target.port == 443


@given(st.ip_addresses(v=4))
def test_every_public_ipv4_address_is_global_to_the_standard_library_too(address: IPv4Address) -> None:
    if passes(str(address)):
        assert address.is_global


def test_long_pathological_text_is_judged_at_once() -> None:
    for url in (
        "https://" + "a." * 1000,
        "https://" + "[" * 2000,
        "https://" + "-" * 2000,
        "https://a.co" + ":" * 2000,
    ):
        assert refusal(url)
