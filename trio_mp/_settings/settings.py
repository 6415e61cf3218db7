"""The settings of a node, checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from .._errors import ConfigurationError
from .._ids import check_node_id
from .._protocol.handshake.auth import MINIMUM_SECRET
from .._protocol.handshake.handshake import MINIMUM_LIMIT
from .._transport.addresses import Address, TCPAddress, parse_address
from .._transport.certificate_files import Certificate

UnmonitoredDeath = Literal["log", "raise"]


MAXIMUM_POLL = 0.001
"""The longest time for which a connection may be polled, in seconds."""


class SettingArguments(TypedDict, total=False):
    """The settings of `open_node`, with the types that they are given in."""

    binds: Iterable[str] | None
    seeds: Iterable[str]
    secret: str | bytes | Iterable[str | bytes] | None
    certificate: Certificate | None
    encryption: bool
    heartbeat: float
    connect_timeout: float
    idle_timeout: float
    handshake_timeout: float
    shutdown_timeout: float
    busy_poll: float
    queue_limit: int
    message_limit: int
    mailbox_limit: int
    mailbox_size_limit: int
    port_limit: int
    monitor_limit: int
    unmonitored_death: UnmonitoredDeath
    spawn_modules: Iterable[str]
    share_logs: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a node; times in seconds, sizes in bytes."""

    node_id: str | None = None
    binds: tuple[Address, ...] | None = None
    seeds: tuple[Address, ...] = ()
    secret: tuple[bytes, ...] = ()
    certificate: Certificate | None = None
    encryption: bool = True
    heartbeat: float = 5.0
    connect_timeout: float = 30.0
    idle_timeout: float = 600.0
    handshake_timeout: float = 10.0
    shutdown_timeout: float = 5.0
    busy_poll: float = 0.0
    queue_limit: int = 256 * 1024 * 1024
    message_limit: int = 64 * 1024 * 1024
    mailbox_limit: int = 1_000_000
    mailbox_size_limit: int = 256 * 1024 * 1024
    port_limit: int = 100_000
    monitor_limit: int = 1_000_000
    unmonitored_death: UnmonitoredDeath = "log"
    spawn_modules: tuple[str, ...] = ()
    share_logs: bool = True

    @property
    def networked(self) -> bool:
        """Whether the node has a network at all."""
        return bool(self.binds or self.seeds)


def check_settings(node_id: str | None, arguments: SettingArguments) -> Settings:
    """The settings in these arguments.

    Raises:
      TypeError: an unknown setting, or a value of a wrong type.
      ConfigurationError: a value that cannot work; the text names the setting.
    """
    given: dict[str, Any] = dict(arguments)
    unknown = sorted(set(given) - set(SettingArguments.__annotations__))
    if unknown:
        known = ", ".join(sorted(SettingArguments.__annotations__))
        named = ", ".join(f"{name}{_nearest(name)}" for name in unknown)
        raise TypeError(f"open_node() has no setting {named}; its settings are {known}")
    checked: dict[str, Any] = {name: _CHECKS[name](name, value) for name, value in given.items()}
    if node_id is not None and node_id != "anon/":
        checked["node_id"] = check_node_id(node_id)
    settings = Settings(**checked)
    _check_together(settings)
    return settings


def _nearest(name: str) -> str:
    known = ["node_id", "profile", *SettingArguments.__annotations__]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def _check_together(settings: Settings) -> None:
    if settings.networked and not settings.secret and settings.certificate is None:
        raise ConfigurationError(
            "secret: a node with binds or seeds needs one, or a certificate: there is no unauthenticated network."
            " Give every node the same secret of at least 16 random bytes"
        )
    if settings.certificate is not None and not settings.encryption:
        raise ConfigurationError("encryption: certificates are part of TLS; leave encryption on, or certificate away")
    if 3 * settings.heartbeat >= settings.connect_timeout:
        raise ConfigurationError(
            f"heartbeat: three of {settings.heartbeat:g} s must be under the connect_timeout"
            f" of {settings.connect_timeout:g} s; lower the one or raise the other"
        )
    if settings.message_limit > settings.queue_limit // 4:
        raise ConfigurationError(
            f"message_limit: {settings.message_limit} bytes are more than a quarter of the queue_limit"
            f" of {settings.queue_limit}"
        )


def _addresses(name: str, value: object) -> tuple[Address, ...]:
    return tuple(parse_address(text, setting=name) for text in _strings(name, value))


def _binds(name: str, value: object) -> tuple[Address, ...] | None:
    return None if value is None else _addresses(name, value)


def _seeds(name: str, value: object) -> tuple[Address, ...]:
    addresses = tuple(map(_of_this_host, _addresses(name, value)))
    for address in addresses:
        if isinstance(address, TCPAddress) and address.port == 0:
            raise ConfigurationError(f"{name}: one can listen on {address}, but not dial it: give the number of a port")
    return addresses


def _of_this_host(seed: Address) -> Address:
    """A seed as it can be dialled: where one listens on all interfaces, this host is reached by its own name."""
    return TCPAddress("localhost", seed.port) if isinstance(seed, TCPAddress) and seed.host == "*" else seed


def _strings(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        hint = f"; write [{value!r}]" if isinstance(value, str) else ""
        raise TypeError(f"{name}: a tuple or list of str is wanted, not {value!r}{hint}")
    strings = tuple(value)
    for text in strings:
        if not isinstance(text, str):
            raise TypeError(f"{name}: a tuple or list of str is wanted; {text!r} is none")
    return strings


def _secrets(name: str, value: object) -> tuple[bytes, ...]:
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        return (_secret(name, value),)
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name}: a str or bytes is wanted, or a tuple of those, not a {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"{name}: an empty tuple; give at least one, or None")
    return tuple(_secret(f"{name}[{index}]", secret) for index, secret in enumerate(value))


def _secret(name: str, value: object) -> bytes:
    if not isinstance(value, str | bytes):
        raise TypeError(f"{name}: a str or bytes is wanted, not a {type(value).__name__}")
    try:
        secret = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name}: text with a lone surrogate has no UTF-8; give bytes") from None
    if len(secret) < MINIMUM_SECRET:
        # The secret itself is not named in the text: it would end in a log.
        raise ConfigurationError(f"{name}: {len(secret)} bytes are too short; at least {MINIMUM_SECRET} are needed,"
            " such as `openssl rand -hex 16` prints")
    return secret


def _certificate(name: str, value: object) -> Certificate | None:
    if value is not None and not isinstance(value, Certificate):
        raise TypeError(f"{name}: a trio_mp.Certificate(chain, key, authority) is wanted, not {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: a number of seconds is wanted, not {value!r}")
    if not 0 < value < math.inf:
        raise ConfigurationError(f"{name}: a number of seconds above 0 is wanted, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigurationError(f"{name}: a number of seconds is wanted, not one so large") from None


def _heartbeat(name: str, value: object) -> float:
    seconds = _seconds(name, value)
    if not 0.1 <= seconds <= 60:
        raise ConfigurationError(f"{name}: between 0.1 and 60 seconds are wanted, not {value!r}")
    return seconds


def _busy_poll(name: str, value: object) -> float:
    if value == 0 and not isinstance(value, bool):
        return 0.0
    seconds = _seconds(name, value)
    if seconds > MAXIMUM_POLL:
        raise ConfigurationError(f"{name}: 0 to {MAXIMUM_POLL:g} seconds are wanted, not {value!r}")
    return seconds


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: an int is wanted, not {value!r}")
    if value < 1:
        raise ConfigurationError(f"{name}: at least 1 is wanted, not {value!r}")
    return value


def _message_limit(name: str, value: object) -> int:
    size = _count(name, value)
    if size < MINIMUM_LIMIT:
        raise ConfigurationError(f"{name}: at least {MINIMUM_LIMIT} bytes are wanted, not {size}")
    return size


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: True or False is wanted, not {value!r}")
    return value


def _unmonitored_death(name: str, value: object) -> UnmonitoredDeath:
    if value not in get_args(UnmonitoredDeath):
        raise ConfigurationError(f"{name}: 'log' or 'raise' is wanted, not {value!r}")
    return value  # type: ignore[return-value]


_CHECKS = {
    "binds": _binds,
    "seeds": _seeds,
    "secret": _secrets,
    "certificate": _certificate,
    "encryption": _flag,
    "heartbeat": _heartbeat,
    "connect_timeout": _seconds,
    "idle_timeout": _seconds,
    "handshake_timeout": _seconds,
    "shutdown_timeout": _seconds,
    "busy_poll": _busy_poll,
    "queue_limit": _count,
    "message_limit": _message_limit,
    "mailbox_limit": _count,
    "mailbox_size_limit": _count,
    "port_limit": _count,
    "monitor_limit": _count,
    "unmonitored_death": _unmonitored_death,
    "spawn_modules": _strings,
    "share_logs": _flag,
}
