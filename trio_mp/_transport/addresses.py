"""Addresses as people write them: `unix:PATH` and `host:port`; some more are binds alone, or seeds alone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import TypeAlias

from .._errors import ConfigurationError

DEFAULT_PORT = 4040
"""The TCP port where an address names none."""

UNIX_PATH_LIMIT = 103
"""The longest path of a Unix socket, in bytes: 103 on macOS, 107 on Linux."""

_ENDS_IN_A_NUMBER = re.compile(r"(?:[^:]*\.)?(?:\d+|0x[0-9a-f]*)\.?", re.IGNORECASE)
"""A host that resolvers read as an IPv4 address, and no name of DNS ends so: the rule of the URL standard."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The address of a Unix socket.

    Attributes:
      path: the path of the socket in the file system.
    """

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """The address of a TCP socket.

    Attributes:
      host: a host name or IP address; to listen on every interface, `*`.
      port: the number of the TCP port; to listen on any free one, 0.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class InheritedBind:
    """Listening sockets that whoever has started this process has opened for it, as `fd:3` or `fd:api`.

    Attributes:
      name: the number of the descriptor, or the name that systemd gives the sockets.
    """

    name: str

    def __str__(self) -> str:
        return f"fd:{self.name}"


Address: TypeAlias = UnixAddress | TCPAddress
"""Where a node listens, or is dialled."""

BindAddress: TypeAlias = Address | InheritedBind
"""Where a node is told to listen."""


@dataclass(frozen=True, slots=True)
class ServiceSeed:
    """A name of DNS whose SRV records say where seeds listen, as `srv:_app._tcp.example.org`.

    Attributes:
      name: the name, as it is looked up.
    """

    name: str

    def __str__(self) -> str:
        return f"srv:{self.name}"


@dataclass(frozen=True, slots=True)
class DirectorySeed:
    """A directory in which nodes write where they listen, as `dir:/shared/job-42`.

    Attributes:
      path: the path of the directory in the file system.
    """

    path: str

    def __str__(self) -> str:
        return f"dir:{self.path}"


SeedAddress: TypeAlias = Address | ServiceSeed | DirectorySeed
"""What leads to seeds: the address of one, a host name of several, or a place that names them."""


def parse_address(text: object, *, setting: str = "address") -> Address:
    """The address in a text.

    Args:
      text: `unix:PATH`, `host:port`, `[IPv6 address]:port`, or a host alone for the default port; to listen, also `*`
        for all interfaces, and port `0` or `*` for any free one. A port alone is no address.
      setting: the place that an error names, such as the name of a setting.

    Raises:
      TypeError, ConfigurationError: `text` is no address.
    """
    if not isinstance(text, str):
        raise TypeError(f"{setting}: expected a str such as 'unix:/run/app.sock' or 'host:4040', got {text!r}")
    if text.startswith("unix:"):
        return _unix_address(text[5:], setting)
    only, kind = ("bind", "fd:") if text.startswith("fd:") else ("seed", _kind_of_seed(text))
    if kind:
        raise ConfigurationError(
            f"{setting}: expected 'host:port' or 'unix:PATH', got {text!r}; only a {only} can be a {kind!r}"
        )
    host, port = _split_host(text)
    if host in {"", "unix", "fd"} or any(character.isspace() or character in "/[]" for character in host):
        raise ConfigurationError(f"{setting}: expected 'host:port' or 'unix:PATH', got {text!r}{_hint(text)}")
    if _ENDS_IN_A_NUMBER.fullmatch(host) and not _is_ipv4(host):
        # Resolvers would take 4041 for 0.0.15.201, and 0 for this machine: a node would dial that for ever.
        raise ConfigurationError(
            f"{setting}: expected a host name or an IP address, got {text!r}{_hint_for_number(host, port)}"
        )
    if port in {"", "*"}:
        return TCPAddress(host, 0 if port else DEFAULT_PORT)
    # The length is looked at first, because Python refuses to read a number of some thousand digits.
    if not (port.isascii() and port.isdigit() and len(port) < 10 and int(port) < 65536):
        raise ConfigurationError(
            f"{setting}: expected a TCP port (a number from 0 to 65535, or '*'), got {port!r} in {text!r}{_hint(text)}"
        )
    return TCPAddress(host, int(port))


def parse_seed(text: object, *, setting: str = "seeds") -> SeedAddress:
    """The seed in a text.

    Args:
      text: `srv:NAME`, `dir:PATH`, or an address as for `parse_address`.
      setting: the place that an error names, such as the name of a setting.

    Raises:
      TypeError, ConfigurationError: `text` is no seed.
    """
    kind = _kind_of_seed(text) if isinstance(text, str) else ""
    if not kind:
        return parse_address(text, setting=setting)
    rest = str(text)[len(kind) :]
    if kind == "srv:":
        return ServiceSeed(_service_name(rest, setting))
    try:
        path = os.fsencode(rest)
    except UnicodeEncodeError:
        path = b"\0"
    if b"\0" in path:
        raise ConfigurationError(f"{setting}: expected the path of a directory behind 'dir:', got {rest!r}")
    return DirectorySeed(rest)


def parse_bind(text: object, *, setting: str = "binds") -> BindAddress:
    """The address to listen on in a text.

    Args:
      text: `fd:N`, `fd:NAME`, or an address as for `parse_address`.
      setting: the place that an error names, such as the name of a setting.

    Raises:
      TypeError, ConfigurationError: `text` is none.
    """
    if not isinstance(text, str) or not text.startswith("fd:"):
        return parse_address(text, setting=setting)
    name = text[3:]
    is_number = name.isascii() and name.isdigit()
    if not name or not name.isprintable() or ":" in name or (is_number and len(name) > 9):
        raise ConfigurationError(f"{setting}: expected the number or the name of a socket behind 'fd:', got {name!r}")
    return InheritedBind(name)


def can_be_dialled(address: Address) -> bool:
    """Whether an address says where to dial; some say only where to listen."""
    return isinstance(address, UnixAddress) or (address.host != "*" and address.port != 0)


def _kind_of_seed(text: str) -> str:
    """`srv:` or `dir:` if a text begins so; empty for all others, such as the port of a host that is called `srv`."""
    for kind in ("srv:", "dir:"):
        rest = text.removeprefix(kind)
        if rest != text and rest not in {"", "*"} and not (rest.isascii() and rest.isdigit()):
            return kind
    return ""


def _service_name(name: str, setting: str) -> str:
    """Check a name of DNS as far as one can without asking for it. The labels of services begin with `_`."""
    labels = name.removesuffix(".").split(".")
    # No punctuation beside these is in any name of a service, and some of it would be obeyed by a terminal.
    fits = [label for label in labels if 0 < len(label) <= 63 and label.replace("-", "a").replace("_", "a").isalnum()]
    if len(fits) != len(labels) or len(name) > 253:
        raise ConfigurationError(
            f"{setting}: expected a name of DNS behind 'srv:', such as '_app._tcp.example.org', got {name!r}"
        )
    return name


def _hint(text: str) -> str:
    """What the writer of a text that is no address may have meant, as the end of an error; empty if that is unclear."""
    scheme, separator, rest = text.partition("://")
    if separator:
        return f"; write it without {scheme + separator!r}: {rest.partition('/')[0]!r}"
    port = text.partition(":")[2]
    if text.startswith(("/", "./", "../")):
        return f"; write a socket's path: {'unix:' + text!r}"
    if port.startswith(("/", "./", "../")):
        return f"; write a socket's path: {'unix:' + port!r}"
    if port.endswith("/"):
        return f"; write it without the '/': {text.rstrip('/')!r}"
    if text.count(":") > 1 and "[" not in text:
        return "; write an IPv6 address in brackets: '[::1]:4040'"
    return ""


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _hint_for_number(host: str, port: str) -> str:
    """What the writer of a number in the place of a host may have meant, as the end of an error; empty if unclear."""
    if host == "0":
        return f"; did you mean {'*:' + port!r}?" if port else "; '*:0' listens at a free port"
    if not port and host.isascii() and host.isdigit() and len(host) < 6 and int(host) < 65536:
        return f"; did you mean {'*:' + host!r}?"
    return ""


def _split_host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, end, rest = text[1:].partition("]")
        if not end or (rest and not rest.startswith(":")):
            return "", ""
        return host, rest[1:]
    if text.count(":") > 1:
        return "", ""
    host, _, port = text.partition(":")
    return host, port


def _unix_address(path: str, setting: str) -> UnixAddress:
    if not path or "\0" in path:
        raise ConfigurationError(f"{setting}: expected the path of a socket behind 'unix:', got {path!r}")
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise ConfigurationError(f"{setting}: expected a path that the file system can have, got {path!r}") from None
    if size > UNIX_PATH_LIMIT:
        raise ConfigurationError(
            f"{setting}: expected at most {UNIX_PATH_LIMIT} bytes in the path of a Unix socket; {path!r} has {size}"
        )
    return UnixAddress(path)
