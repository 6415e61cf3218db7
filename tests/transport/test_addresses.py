"""Addresses as people write them."""

from __future__ import annotations

import pytest

from trio_mp import ConfigurationError
from trio_mp._transport.addresses import (
    DEFAULT_PORT,
    UNIX_PATH_LIMIT,
    DirectorySeed,
    ServiceSeed,
    TCPAddress,
    UnixAddress,
    parse_address,
    parse_seed,
)


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
        ("0.0.0.0", TCPAddress("0.0.0.0", DEFAULT_PORT)),
        ("4041.example:80", TCPAddress("4041.example", 80)),
        ("1a:80", TCPAddress("1a", 80)),
        ("10.0.0.1.nip.io", TCPAddress("10.0.0.1.nip.io", DEFAULT_PORT)),
        ("[::1]:80", TCPAddress("::1", 80)),
        ("[::1]", TCPAddress("::1", DEFAULT_PORT)),
        ("[::ffff:127.0.0.1]:80", TCPAddress("::ffff:127.0.0.1", 80)),
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
        # Written out, with the default port, it would be a socket that is inherited.
        ("fd", "not an address"),
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
        # A port alone, as in a noderef of AnyEvent::MP. Resolvers take these for 0.0.0.0, 0.0.15.201 and 127.0.0.1.
        ("0", "an IP address, got '0'; '*:0' listens at a free port"),
        ("4041", "did you mean '*:4041'?"),
        ("4041:", "did you mean '*:4041'?"),
        ("99999", "got '99999'"),
        ("0:4040", "did you mean '*:4040'?"),
        ("4041:4042", "got '4041:4042'"),
        ("[4041]", "got '[4041]'"),
        ("127.1", "got '127.1'"),
        ("1.2.3.4.5:80", "got '1.2.3.4.5:80'"),
        ("256.0.0.1", "got '256.0.0.1'"),
        ("0x7f000001:80", "got '0x7f000001:80'"),
        ("127.0.0.0x1", "got '127.0.0.0x1'"),
        ("127.0.0.1.:80", "got '127.0.0.1.:80'"),
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


@pytest.mark.parametrize(
    "text, seed",
    [
        ("srv:_app._tcp.example.org", ServiceSeed("_app._tcp.example.org")),
        ("srv:example.org.", ServiceSeed("example.org.")),
        ("srv:seeds", ServiceSeed("seeds")),
        ("dir:/shared/job 42", DirectorySeed("/shared/job 42")),
        ("dir:seeds", DirectorySeed("seeds")),
        ("dir:./4040", DirectorySeed("./4040")),
        ("host:1", TCPAddress("host", 1)),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
        # Hosts may be called so, as before.
        ("srv", TCPAddress("srv", DEFAULT_PORT)),
        ("srv:", TCPAddress("srv", DEFAULT_PORT)),
        ("srv:4040", TCPAddress("srv", 4040)),
        ("dir:*", TCPAddress("dir", 0)),
    ],
)
def test_what_is_a_seed(text: str, seed: object) -> None:
    assert parse_seed(text) == seed
    assert parse_seed(str(seed)) == seed
    if isinstance(seed, ServiceSeed | DirectorySeed):
        with pytest.raises(ConfigurationError, match=r"^binds: expected .*; only a seed can be a '(srv|dir):'$"):
            parse_address(text, setting="binds")
    else:
        assert parse_address(text) == seed


@pytest.mark.parametrize(
    "text, part",
    [
        ("srv:two words", "expected a name of DNS behind 'srv:', such as '_app._tcp.example.org', got 'two words'"),
        ("srv:a..b", "expected a name of DNS behind 'srv:'"),
        ("srv:_app._tcp.example.org:4040", "expected a name of DNS behind 'srv:'"),
        ("srv:" + "a" * 64, "expected a name of DNS behind 'srv:'"),
        ("srv:" + "a." * 130, "expected a name of DNS behind 'srv:'"),
        ("dir:a\0b", "expected the path of a directory behind 'dir:'"),
        ("dir:a\ud800b", "expected the path of a directory behind 'dir:'"),
        ("host:port", "expected a TCP port "),
    ],
)
def test_what_is_no_seed_says_so(text: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_seed(text, setting="seeds")
    assert str(caught.value).startswith("seeds: ")
    assert part in str(caught.value)
    with pytest.raises(TypeError, match=r"^seeds: expected a str"):
        parse_seed(5)
