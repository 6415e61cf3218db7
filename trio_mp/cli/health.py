"""`trio-mp health`: ask a node of this machine whether it is ready, or whether it lives. Joins nothing.

A probe runs every few seconds, so this imports as little as it can: no Trio; and the file of profiles is read only
if neither the command line nor the variable names the address.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import socket
import threading
import time
from typing import Any, NoReturn

from .._transport.addresses import Address, TCPAddress, UnixAddress, parse_address
from .exits import CANNOT_JOIN, NO, OK, TIME_RAN_OUT, USAGE, CommandFailed
from .output import Output
from .sockets import check_unix_sockets

VARIABLE = "TRIO_MP_HEALTH"

LONGEST = 64 * 1024
"""The longest answer that is read, in bytes."""

_EVERYWHERE = {"*": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - they are asked, not listened on
_STATUS = re.compile(rb"HTTP/1\.\d (\d{3}) [^\r\n]*\r?\n")


def health(arguments: argparse.Namespace) -> int:
    """Run `trio-mp health`; returns its exit status.

    Raises:
      ConfigurationError: the address is none, or the settings cannot be read.
      CommandFailed: nobody answers, or there is nobody to ask.
    """
    question = "live" if arguments.live else "ready"
    address = _find_address(arguments)
    status, line = ask(address, f"/{question}", arguments.timeout)
    Output(arguments).row({question: status == 200, "text": line}, line)
    return OK if status == 200 else NO


def _find_address(arguments: argparse.Namespace) -> Address:
    given = arguments.address or os.environ.get(VARIABLE)
    place = "ADDRESS" if arguments.address else VARIABLE
    if given:
        address = parse_address(given, setting=place)
    else:
        found = _configured(arguments.profile)
        if found is None:
            raise CommandFailed(
                USAGE,
                f"health: expected an address, got none; give ADDRESS, or {VARIABLE}, or a profile with the setting"
                " health: what a program itself says is not known here",
            )
        address = parse_address(found[0], setting=found[1])
    if isinstance(address, TCPAddress) and address.port == 0:
        raise CommandFailed(
            USAGE, f"health: expected an address with the number of a port, got {address}; the node's log has it"
        )
    return address


def _configured(profile: str | None) -> tuple[object, str] | None:
    """The setting of the profile, and its place; None if there is none."""
    from .._profiles.finding import read_configuration  # with tomllib, and the table of all settings
    from .._profiles.gathering import Request, gather  # as well

    environ = os.environ
    merged = gather(Request(profile or True, frozenset(), {}), environ, lambda: read_configuration(environ))
    given = merged.chosen.get("health")
    return (given.value, given.source) if given is not None and given.value is not None else None


def ask(address: Address, path: str, seconds: float) -> tuple[int, str]:
    """Ask for a path over HTTP; returns the status and the first line of the answer.

    Args:
      address: where the node answers.
      path: what is asked.
      seconds: how long the whole may take: looking up the name, dialling all of its addresses, and the answer.

    Raises:
      CommandFailed: there is no answer, or none of a node's.
    """
    ends = time.monotonic() + seconds
    try:
        with _connect(address, ends) as connected:
            connected.settimeout(max(0.001, ends - time.monotonic()))
            connected.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) <= LONGEST:
                connected.settimeout(max(0.001, ends - time.monotonic()))
                part = connected.recv(LONGEST)
                if not part:
                    break
                answer += part
    except TimeoutError:
        raise CommandFailed(TIME_RAN_OUT, f"no answer at {address}") from None
    except OSError as error:
        raise CommandFailed(CANNOT_JOIN, f"nobody answers at {address}: {error.strerror or error}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    found = _STATUS.match(head + b"\r\n")
    if found is None or int(found[1]) not in (200, 503):
        _refuse(address, head)
    return int(found[1]), body.decode(errors="replace").partition("\n")[0].rstrip("\r")


def _connect(address: Address, ends: float) -> socket.socket:
    """Connect with the first place that answers; each gets an equal part of the time that is left. Raises `OSError`."""
    places = _find_places(address, ends)
    failure: OSError | None = None
    for left, (family, place) in zip(range(len(places), 0, -1), places, strict=True):
        try:
            connected = socket.socket(family)
        except OSError as error:
            # Such as an address of IPv6 on a machine without that.
            failure = error
            continue
        try:
            connected.settimeout(max(0.001, (ends - time.monotonic()) / left))
            connected.connect(place)
        except OSError as error:
            failure = error
            connected.close()
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise failure or OSError("the name has no address")


def _find_places(address: Address, ends: float) -> list[tuple[int, Any]]:
    """Return the family and the address of each socket that an address may stand for. Raises `OSError`."""
    if isinstance(address, UnixAddress):
        check_unix_sockets(str(address))
        return [(socket.AF_UNIX, address.path)]
    host = _EVERYWHERE.get(address.host, address.host)
    found: list[tuple[int, Any]] = []
    failures: list[OSError] = []

    def look_up() -> None:
        try:
            for family, *_, place in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM):
                found.append((family, place))
        except UnicodeError as error:
            failures.append(OSError(errno.EINVAL, f"expected a host name: {error}"))
        except OSError as error:
            failures.append(error)

    # In a thread, which nobody waits for when the time is up: a name server that is away is asked for half a minute.
    asking = threading.Thread(target=look_up, daemon=True)
    asking.start()
    asking.join(max(0.0, ends - time.monotonic()))
    if asking.is_alive():
        raise TimeoutError
    if failures:
        raise failures[0]
    return found


def _refuse(address: Address, head: bytes) -> NoReturn:
    first = head.partition(b"\r\n")[0][:80].decode(errors="backslashreplace")
    raise CommandFailed(
        CANNOT_JOIN, f"expected the answer of a node at {address}, got {first!r}: is this another program's address?"
    )
