"""Addresses as people write them."""

from __future__ import annotations

import pytest

from trio_mp import ConfigurationError
from trio_mp._transport.addresses import DEFAULT_PORT, UNIX_PATH_LIMIT, TCPAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    "text, address",
    [
        ("host", TCPAddress("host", DEFAULT_PORT)),
        ("host:", TCPAddress("host", DEFAULT_PORT)),
        ("host:4041", TCPAddress("host", 4041)),
        ("host:0", TCPAddress("host", 0)),
        ("host:*", TCPAddress("host", 0)),
        ("*", TCPAddress("*", DEFAULT_PORT)),
        ("*:*", TCPAddress("*", 0)),
        ("*:65535", TCPAddress("*", 65535)),
        ("127.0.0.1:80", TCPAddress("127.0.0.1", 80)),
        ("[::1]:80", TCPAddress("::1", 80)),
        ("[::1]", TCPAddress("::1", DEFAULT_PORT)),
        ("[fe80::1%eth0]:0", TCPAddress("fe80::1%eth0", 0)),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
        ("unix:relative path", UnixAddress("relative path")),
        ("unix:/with:colon", UnixAddress("/with:colon")),
        ("unix:" + "x" * UNIX_PATH_LIMIT, UnixAddress("x" * UNIX_PATH_LIMIT)),
    ],
)
def test_what_is_an_address(text: str, address: object) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


EXPECTED = {
    "not an address": "expected 'host:port' or 'unix:PATH', got ",
    "not a TCP port": "expected a TCP port ",
    "not a": "expected 'host:port' ",
}


@pytest.mark.parametrize(
    "text, part",
    [
        ("", "not an address"),
        (":4040", "not an address"),
        ("::1", "not an address"),
        ("a:b:c", "not an address"),
        ("two words:1", "not an address"),
        ("/run/app.sock", "not an address"),
        ("[]:1", "not an address"),
        ("host:port", "not a TCP port"),
        ("host:65536", "not a TCP port"),
        ("host:-1", "not a TCP port"),
        ("host:٣", "not a TCP port"),
        ("host:1 ", "not a TCP port"),
        ("[::1]x", "not a"),
        ("[::1", "not a"),
        ("unix:", "path of a socket"),
        ("unix:/a\0b", "path of a socket"),
        ("unix:" + "x" * (UNIX_PATH_LIMIT + 1), str(UNIX_PATH_LIMIT)),
        ("unix:" + "ü" * 60, "120"),
    ],
)
def test_what_is_not_an_address_says_so(text: str, part: str) -> None:
    part = EXPECTED.get(part, part)
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text, setting="binds")
    assert str(caught.value).startswith("binds: ")
    assert part in str(caught.value)


@pytest.mark.parametrize("value", [None, 4040, b"host:1", ["host:1"]])
def test_an_address_is_a_str(value: object) -> None:
    with pytest.raises(TypeError, match="seeds: expected a str "):
        parse_address(value, setting="seeds")
