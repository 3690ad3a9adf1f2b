"""Which addresses and URLs outgoing requests may have: the whole table, no network."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from voiceplatform.base import egress
from voiceplatform.base.egress import EgressPolicy, EgressRefused, addresses_for, destination

pytestmark = pytest.mark.unit

NOBODY = EgressPolicy()

FORBIDDEN = [
    ("0.0.0.0", "unspecified"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "private"),
    ("100.100.100.200", "private"),  # a cloud's metadata, in the carrier-grade range
    ("169.254.169.254", "link-local"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("198.18.0.1", "private"),
    ("192.0.2.1", "private"),
    ("224.0.0.1", "multicast"),
    ("240.0.0.1", "private"),
    ("255.255.255.255", "private"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::127.0.0.1", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("2002:7f00:1::", "loopback"),
    ("2002:a00:1::1", "private"),
    ("2001:0:4136:e378:8000:63bf:f5ff:fffe", "private"),  # Teredo around 10.0.0.1
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("ff02::1", "multicast"),
    ("2001:db8::1", "private"),
    ("::ffff:0:127.0.0.1", "loopback"),
    ("::ffff:0:10.0.0.1", "private"),
    ("64:ff9b:1::a00:1", "private"),  # a site's own NAT64
    ("fec0::1", "private"),
    ("3fff::1", "private"),
    ("5f00::1", "private"),
]


@pytest.mark.parametrize(("address", "cause"), FORBIDDEN, ids=[pair[0] for pair in FORBIDDEN])
def test_addresses_that_are_not_public_are_refused(address: str, cause: str) -> None:
    with pytest.raises(EgressRefused, match=cause) as refusal:
        NOBODY.allowed("tools.example.com", [address])
    text = str(refusal.value)
    assert "tools.example.com" in text
    assert "Fix: " in text
    assert "EGRESS_ALLOW" in text


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_let_through(address: str) -> None:
    assert NOBODY.allowed("tools.example.com", [address]) == [address]


def test_of_several_addresses_only_the_public_ones_are_used() -> None:
    mixed = ["127.0.0.1", "8.8.8.8", "fd00::1", "8.8.4.4"]
    assert NOBODY.allowed("tools.example.com", mixed) == ["8.8.8.8", "8.8.4.4"]


def test_a_network_opens_its_addresses_only() -> None:
    policy = EgressPolicy.of(["10.1.2.0/24", "fd00::/8", "127.0.0.5"])
    assert policy.allowed("x", ["10.1.2.9"]) == ["10.1.2.9"]
    assert policy.allowed("x", ["fd00::7"]) == ["fd00::7"]
    assert policy.allowed("x", ["127.0.0.5"]) == ["127.0.0.5"]
    assert policy.allowed("x", ["::ffff:10.1.2.9"]) == ["::ffff:10.1.2.9"]
    for address in ("10.1.3.1", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(EgressRefused):
            policy.allowed("x", [address])


def test_a_host_name_opens_that_name_only() -> None:
    policy = EgressPolicy.of(["Tools.Internal."])
    assert policy.allowed("tools.internal", ["10.0.0.1"]) == ["10.0.0.1"]
    assert policy.allowed("TOOLS.internal.", ["10.0.0.1"]) == ["10.0.0.1"]
    for host in ("a.tools.internal", "tools.internal.evil.example", "10.0.0.1"):
        with pytest.raises(EgressRefused):
            policy.allowed(host, ["10.0.0.1"])


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1", "0", "::1"]
)
def test_every_spelling_of_a_loopback_address_is_seen_through(host: str) -> None:
    with pytest.raises(EgressRefused, match="loopback|unspecified"):
        asyncio.run(addresses_for(host, 80, rules=NOBODY))


def test_a_name_that_leads_inside_is_refused() -> None:
    with pytest.raises(EgressRefused, match="link-local"):
        asyncio.run(
            addresses_for(
                "rebound.example.com", 80, rules=NOBODY, resolve=lambda *_: ["169.254.169.254"]
            )
        )


def test_a_name_that_nobody_may_have_does_not_resolve() -> None:
    with pytest.raises(OSError, match="host name"):
        asyncio.run(addresses_for("a" * 70 + ".example.com", 80, rules=NOBODY))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tools.example.com/x",
        "//tools.example.com",
        "ftp://tools.example.com/",
        "file:///etc/passwd",
        "gopher://tools.example.com/",
        "javascript:alert(1)",
        "http://",
        "https:///path",
        "http://[::1",
        "http://tools.example.com:99999/",
        "http://tools.example.com:port/",
        "http://tools.example.com\\@internal/",
        "http://tools.example.com/a b",
        "http://tools.example.com/\r\nX: y",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused, match="Fix: "):
        destination(url)


def test_a_url_keeps_everything_but_its_fragment() -> None:
    found = destination("HTTPS://Tools.example.com:8443/a%2Fb/?q=%20x&y#part")
    assert found.url == "https://tools.example.com:8443/a%2Fb/?q=%20x&y"
    assert found.host == "tools.example.com"
    assert found.authorization == ""
    assert destination("http://[2606:4700::1111]:80/").url == "http://[2606:4700::1111]:80/"


def test_credentials_in_a_url_are_sent_not_dropped() -> None:
    found = destination("https://me%40x:pa%3Ass@tools.example.com/hook")
    assert found.url == "https://tools.example.com/hook"
    scheme, _, coded = found.authorization.partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(coded) == b"me@x:pa:ss"


def test_nothing_secret_is_shown() -> None:
    url = "https://me:hidden-1@tools.example.com/hidden-2?token=hidden-3"
    assert "hidden" not in repr(destination(url))
    for bad in ("ftp" + url[5:], url + "\n", url.replace("example.com", "example.com:port")):
        with pytest.raises(EgressRefused) as refusal:
            destination(bad)
        assert "hidden" not in str(refusal.value)


def test_the_policy_is_the_settings(settings: object) -> None:
    settings.EGRESS_ALLOW = ["10.0.0.0/8"]  # type: ignore[attr-defined]
    assert egress.policy().allowed("x", ["10.9.9.9"]) == ["10.9.9.9"]
    settings.EGRESS_ALLOW = []  # type: ignore[attr-defined]
    with pytest.raises(EgressRefused):
        egress.policy().allowed("x", ["10.9.9.9"])


@pytest.mark.parametrize("entries", ["", "10.0.0.0/8, tools.internal ,fd00::/8,localhost,::1"])
def test_egress_allow_is_read_from_the_environment(
    entries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voiceplatform import settings as module

    monkeypatch.setenv("EGRESS_ALLOW", entries)
    monkeypatch.setattr(module, "STANDINS", False)
    wanted = [part.strip() for part in entries.split(",") if part]
    assert module._egress_allow() == wanted
    monkeypatch.setattr(module, "STANDINS", True)
    assert module._egress_allow() == [*wanted, "127.0.0.0/8"]


@pytest.mark.parametrize(
    "entry", ["10.0.0.1/8", "10.0.0.0/33", "http://tools.internal", "a:80", "*", "300.1.1.1"]
)
def test_egress_allow_refuses_what_it_cannot_read(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voiceplatform import env
    from voiceplatform import settings as module

    monkeypatch.setenv("EGRESS_ALLOW", f"tools.internal,{entry}")
    with pytest.raises(env.EnvError, match="EGRESS_ALLOW.*Fix: "):
        module._egress_allow()


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://x.example.com/", True),
        ("HTTPS://x.example.com/", True),
        ("http://x.example.com/", False),
        ("http://tools.internal:8080/", True),
        ("http://10.1.2.3/", True),
        ("http://10.9.9.9/", False),
        ("ftp://tools.internal/", False),
    ],
)
def test_an_address_that_is_entered_is_encrypted_or_trusted(
    url: str, fits: bool, settings: Any
) -> None:
    settings.EGRESS_ALLOW = ["10.1.2.0/24", "tools.internal"]
    if fits:
        assert egress.encrypted(url).url
        return
    with pytest.raises(EgressRefused, match="Fix: write https://"):
        egress.encrypted(url)
