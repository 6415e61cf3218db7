"""What the settings of a node may be: one function for each kind of value.

Each function takes the name of a setting and what the program gave for it, and returns the value that the node works
with. It raises `TypeError` for a value of a wrong type, and `ConfigurationError` for a value that cannot work. The
text begins with the name of the setting.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .._errors import ConfigurationError
from .._ids import check_node_id
from .._protocol.handshake.auth import MINIMUM_SECRET
from .._protocol.handshake.greeting import MINIMUM_LIMIT
from .._transport.addresses import (
    Address,
    BindAddress,
    SeedAddress,
    TCPAddress,
    can_be_dialled,
    parse_address,
    parse_bind,
    parse_seed,
)
from .._transport.certificate_files import Certificate

UnmonitoredDeath = Literal["log", "raise"]
InspectionLevel = Literal["off", "read", "act"]

SERVICE_FUNCTION = "main"
"""The function that is the service of a module if the setting names the module alone."""

_SERVICE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::([A-Za-z_]\w*))?", re.ASCII)

_WITH_PORT = re.compile(r":(?:\d+|\*)$", re.ASCII)

MAXIMUM_POLL = 0.001
"""The longest time for which a connection may be polled, in seconds."""


def strings(name: str, value: object) -> tuple[str, ...]:
    """Check that a value is several str, in a list or another iterable."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        hint = f"; write [{value!r}]" if isinstance(value, str) else ""
        raise TypeError(f"{name}: expected a tuple or list of str, got {value!r}{hint}")
    found = tuple(value)
    for index, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}]: expected a str, got {text!r}")
    return found


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """A function that a node starts as a service, and the arguments that it gets after the node.

    Attributes:
      module: the name of the module.
      function: the name of the function in the module.
      arguments: what the function gets after the node.
    """

    module: str
    function: str
    arguments: tuple[object, ...] = ()


def services(name: str, value: object) -> tuple[ServiceReference, ...]:
    """Read the references of services: each a str, or a list or tuple of one and of arguments."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        hint = f"; write [{value!r}]" if isinstance(value, str) else ""
        raise TypeError(f"{name}: expected a tuple or list of services, got {value!r}{hint}")
    return tuple(
        each if isinstance(each, ServiceReference) else _service(f"{name}[{index}]", each)
        for index, each in enumerate(value)
    )


def _service(name: str, value: object) -> ServiceReference:
    reference, *arguments = value if isinstance(value, list | tuple) and value else (value,)
    if not isinstance(reference, str):
        raise TypeError(f"{name}: expected 'package.module:function', or a list of it and of arguments, got {value!r}")
    found = _SERVICE.fullmatch(reference)
    if found is None:
        raise ConfigurationError(
            f"{name}: expected the name of a module, or of a function, 'package.module:function', got {reference!r}"
        )
    return ServiceReference(found[1], found[2] or SERVICE_FUNCTION, tuple(arguments))


def addresses(name: str, value: object) -> tuple[Address, ...]:
    """Parse several addresses."""
    return tuple(parse_address(text, setting=name) for text in strings(name, value))


def binds(name: str, value: object) -> tuple[BindAddress, ...] | None:
    """Parse addresses to listen on. None leaves it to the node where to listen."""
    return None if value is None else tuple(parse_bind(text, setting=name) for text in strings(name, value))


def seeds(name: str, value: object) -> tuple[SeedAddress, ...]:
    """Parse seeds. Those that are addresses must be ones that can be dialled."""
    found = tuple(_of_this_host(parse_seed(text, setting=name)) for text in strings(name, value))
    for address in found:
        if isinstance(address, TCPAddress) and address.port == 0:
            raise ConfigurationError(
                f"{name}: expected addresses that can be dialled, got {str(address)!r}, on which one can only listen;"
                " give the number of a port"
            )
    return found


def advertised(name: str, value: object) -> tuple[Address, ...]:
    """Parse the addresses that others are told, each of which must be one that they can dial."""
    found = addresses(name, value)
    for address in found:
        if not can_be_dialled(address):
            raise ConfigurationError(
                f"{name}: expected addresses that others can dial, got {str(address)!r}, on which one can only listen;"
                " give the host and the port by which they reach this node"
            )
    return found


def _of_this_host(seed: SeedAddress) -> SeedAddress:
    """A seed as it can be dialled: `*`, which only a listener can use, becomes `localhost`."""
    return TCPAddress("localhost", seed.port) if isinstance(seed, TCPAddress) and seed.host == "*" else seed


def health(name: str, value: object) -> Address | None:
    """Parse the address at which a node answers probes; None if it answers nowhere."""
    if value is None:
        return None
    found = parse_address(value, setting=name)
    if isinstance(found, TCPAddress) and not _WITH_PORT.search(str(value)):
        raise ConfigurationError(f"{name}: expected 'unix:PATH' or an address with a port, 'host:port', got {value!r}")
    return found


def secrets(name: str, value: object) -> tuple[bytes, ...]:
    """Check one secret, or several; None for no secret. No error shows a secret, because errors end in logs."""
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        return (_secret(name, value),)
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name}: expected a str or bytes, or a tuple of those, got a {type(value).__name__}")
    if not value:
        kind = type(value).__name__
        raise ConfigurationError(f"{name}: expected at least one, got an empty {kind}; give one, or None")
    return tuple(_secret(f"{name}[{index}]", secret) for index, secret in enumerate(value))


def _secret(name: str, value: object) -> bytes:
    if not isinstance(value, str | bytes):
        raise TypeError(f"{name}: expected a str or bytes, got a {type(value).__name__}")
    try:
        secret = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{name}: expected text that has a UTF-8 encoding, got a lone surrogate in it; give bytes"
        ) from None
    if len(secret) < MINIMUM_SECRET:
        raise ConfigurationError(
            f"{name}: expected at least {MINIMUM_SECRET} bytes, got {len(secret)};"
            " print a good secret with `openssl rand -hex 16`"
        )
    return secret


def path(name: str, value: object) -> str | None:
    """Check that a value is the path of a file, or None."""
    if value is None:
        return None
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(found, str):
        raise TypeError(f"{name}: expected the path of a file, a str or an os.PathLike[str], got {value!r}")
    if not found or "\0" in found:
        raise ConfigurationError(f"{name}: expected the path of a file, got {found!r}")
    return found


def certificate(name: str, value: object) -> Certificate | None:
    """Check that a value is a certificate, or None."""
    if value is not None and not isinstance(value, Certificate):
        raise TypeError(f"{name}: expected a trio_mp.Certificate(chain, key, authority), got {value!r}")
    return value


def seconds(name: str, value: object) -> float:
    """Check a time, in seconds: a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number of seconds, got {value!r}")
    if not 0 < value < math.inf:
        raise ConfigurationError(f"{name}: expected a finite number of seconds above 0, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigurationError(f"{name}: expected a number of seconds, got one too large for a float") from None


def optional_seconds(name: str, value: object) -> float | None:
    """Check a time, in seconds, or None for no limit."""
    return None if value is None else seconds(name, value)


def heartbeat(name: str, value: object) -> float:
    """Check the interval of heartbeats, in seconds: the protocol allows 0.1 to 60."""
    found = seconds(name, value)
    if not 0.1 <= found <= 60:
        raise ConfigurationError(f"{name}: expected 0.1 to 60 seconds, got {value!r}")
    return found


def busy_poll(name: str, value: object) -> float:
    """Check the time for which a connection is polled, in seconds: a longer one would stall other tasks."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    found = seconds(name, value)
    if found > MAXIMUM_POLL:
        raise ConfigurationError(f"{name}: expected 0 to {MAXIMUM_POLL:g} seconds, got {value!r}")
    return found


def count(name: str, value: object) -> int:
    """Check a number of things or of bytes: an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an int, got {value!r}")
    if value < 1:
        raise ConfigurationError(f"{name}: expected at least 1, got {value!r}")
    return value


def message_limit(name: str, value: object) -> int:
    """Check the limit of a message, in bytes: the protocol has a least one, which all nodes take."""
    size = count(name, value)
    if size < MINIMUM_LIMIT:
        raise ConfigurationError(f"{name}: expected at least {MINIMUM_LIMIT} bytes, got {size}")
    return size


def flag(name: str, value: object) -> bool:
    """Check that a value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def unmonitored_death(name: str, value: object) -> UnmonitoredDeath:
    """Check what is to happen when a port dies of an exception and nobody monitors it."""
    if value not in get_args(UnmonitoredDeath):
        raise ConfigurationError(f"{name}: expected 'log' or 'raise', got {value!r}")
    return value  # type: ignore[return-value]


def inspection_level(name: str, value: object) -> InspectionLevel:
    """Check what other nodes may see of a node."""
    if value not in get_args(InspectionLevel):
        raise ConfigurationError(f"{name}: expected 'off', 'read' or 'act', got {value!r}")
    return value  # type: ignore[return-value]


def node_ids(name: str, value: object) -> tuple[str, ...]:
    """Check that a value is several node IDs, in a list or another iterable."""
    found = strings(name, value)
    for index, node_id in enumerate(found):
        try:
            check_node_id(node_id)
        except ValueError as error:
            raise ConfigurationError(f"{name}[{index}]: {error}") from None
    return found
