"""Asks nodes as probes do: over HTTP, by sockets that block. The loop of Trio stands meanwhile, as it may."""

from __future__ import annotations

import contextlib
import socket

from trio_mp import Node


def connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.settimeout(10)
            connected.connect(address[5:])
        except OSError:
            connected.close()
            raise
        return connected
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), 10)


def read_all(connected: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connected.recv(65536):
            answer += part
    return answer


def ask(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask as a probe does. Blocks: the loop of Trio does not run meanwhile."""
    with connect(address) as connected:
        connected.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = read_all(connected).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def ask_while_starting(node: Node) -> None:
    """A service, which notes in the node's context what a probe is told while it starts."""
    (address,) = node._runtime.probed_at
    node.context.append(ask(address, "/ready"))
