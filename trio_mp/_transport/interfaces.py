"""The IP addresses of this machine."""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address


class _InterfaceAddress(ctypes.Structure):
    """The beginning of C's `struct ifaddrs`, which is the same on all systems that have it."""

    _fields_ = (
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_uint),
        ("address", ctypes.c_void_p),
    )


# Where the address is in a `sockaddr`, and how long it is.
_PLACES: dict[int, tuple[int, int]] = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}


def interface_hosts() -> list[str]:
    """The IP addresses of all interfaces that mean something to another machine. Asks only the kernel.

    That leaves out loopback, and addresses of IPv6 that hold on one wire only. The list is empty where the C library
    cannot say, as on Windows: the standard library of Python has no such question.
    """
    found = [ip_address(host) for host in _all_addresses()]
    usable = [host for host in found if not (host.is_loopback or host.is_link_local or host.is_unspecified)]
    return list(dict.fromkeys(map(str, usable)))


def is_own_host(host: str) -> bool:
    """Whether an IP address is one of this machine's: of an interface, or loopback. Asks only the kernel."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback:
        # All of 127.0.0.0/8 is, though only the first has an entry.
        return True
    if sys.platform == "win32":
        # A socket cannot be bound to an address of another machine.
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, 0))
            except OSError:
                return False
            return True
    return address.packed in _all_addresses()


def _all_addresses() -> list[bytes]:
    library = None if sys.platform == "win32" else ctypes.CDLL(None)
    first = ctypes.c_void_p()
    if library is None or library.getifaddrs(ctypes.byref(first)):
        return []
    try:
        return list(_addresses(first.value))
    finally:
        library.freeifaddrs(first)


def _addresses(entry: int | None) -> Iterator[bytes]:
    while entry:
        one = _InterfaceAddress.from_address(entry)
        if one.address:
            # The family is a number of two bytes on Linux; elsewhere the first of them is a length.
            header = ctypes.string_at(one.address, 2)
            family = int.from_bytes(header, sys.byteorder) if sys.platform == "linux" else header[1]
            if family in _PLACES:
                offset, size = _PLACES[family]
                yield ctypes.string_at(one.address + offset, size)
        entry = one.next
