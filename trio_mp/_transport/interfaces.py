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
    """The addresses of all interfaces, without those that mean nothing to another machine. Asks only the kernel.

    Left out are loopback, and those of IPv6 that hold on one wire only. There are none where the C library has no such
    question, as on Windows; the standard library has not.
    """
    library = None if sys.platform == "win32" else ctypes.CDLL(None)
    first = ctypes.c_void_p()
    if library is None or library.getifaddrs(ctypes.byref(first)):
        return []
    try:
        found = [ip_address(host) for host in _addresses(first.value)]
    finally:
        library.freeifaddrs(first)
    usable = [host for host in found if not (host.is_loopback or host.is_link_local or host.is_unspecified)]
    return list(dict.fromkeys(map(str, usable)))


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
