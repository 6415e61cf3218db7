"""A small server of HTTP for probes: one thread, and a bound for all that clients can cost.

The thread never waits for the loop of Trio, so it answers while that stands. It waits for no single client either: it
asks all sockets at once. The server of the standard library waits for one client at a time, or has a thread for each.
"""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable

from .._events import fields

CLIENTS = 32
"""How many connections are open at once. One more ends the oldest."""

SECONDS = 5.0
"""How long a connection may take in all, in seconds."""

LINGER = 1.0
"""How long an answered connection is read on, in seconds. Closed with something unread, it would be reset, and the
client might lose the answer."""

HEAD = 8192
"""The longest head of a request, in bytes."""

MOST = 65536
"""How many bytes are read from a client in all, those behind its request among them."""

AT_ONCE = 100
WINDOW = 1.0
"""How many connections are accepted in so many seconds. More wait in the backlog: a flood shall not keep the loop of
Trio from the interpreter lock."""

PAUSE = 0.5
"""How long nothing is accepted when the process has no file descriptor left, in seconds."""

BACKLOG = 128

_TEXTS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
# No two parts of it that may be of any length can take the same bytes: else a long line would take very long.
_REQUEST = re.compile(rb"([A-Za-z]{1,20}) (/[^\s?#]*)(?:[?#]\S*)? HTTP/1\.[01]\r?\n")

log = logging.getLogger("trio_mp")


class _Client:
    """One connection: what it has sent so far, what it is still to be sent, and when it ends."""

    __slots__ = ("answered", "connected", "ends", "read", "received", "unsent")

    def __init__(self, connected: socket.socket, ends: float) -> None:
        self.connected = connected
        self.ends = ends
        self.received = b""
        self.read = 0
        self.unsent = b""
        self.answered = False


class ProbeServer:
    """Answers requests in a thread of its own, from `start` to `stop`.

    Args:
      listening: sockets that listen; they are closed at the end, and where this or `start` fails.
      answer: called in the thread with the path of a request; returns a status of HTTP and one line, or None if there
        is nothing at that path.
      node_id: the ID of the node that the answers are about, for the names in logs.

    Raises:
      OSError: the system has no file descriptor left, or no memory.
    """

    def __init__(
        self,
        listening: Iterable[socket.socket],
        answer: Callable[[str], tuple[int, str] | None],
        node_id: str = "",
    ) -> None:
        self._listening = tuple(listening)
        self._answer = answer
        self._node_id = node_id
        # In the order in which they came: the oldest is the first to leave.
        self._clients: dict[_Client, None] = {}
        with contextlib.ExitStack() as failing:
            for one in self._listening:
                failing.callback(one.close)
            self._selector = failing.enter_context(selectors.DefaultSelector())
            self._waker, self._woken = socket.socketpair()
            failing.pop_all()
        self._stopping = False
        self._has_failed = False
        # Until when nothing is accepted; when the window began in which connections are counted; how many there were.
        self._resumes: float | None = None
        self._window, self._accepted = 0.0, 0
        self._thread = threading.Thread(target=self._run, name=f"{node_id}: health", daemon=True)

    def start(self) -> None:
        """Begin to answer. Not a checkpoint. After an exception all is closed.

        Raises:
          OSError: the system has no memory left.
          RuntimeError: the process can have no more threads.
        """
        try:
            for one in self._listening:
                one.setblocking(False)
            self._selector.register(self._woken, selectors.EVENT_READ)
            self._thread.start()
        except BaseException:
            self._close_all()
            self._waker.close()
            raise

    def stop(self) -> None:
        """Close all sockets, and wait for the thread, which waits for nobody. Not a checkpoint."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        self._thread.join(SECONDS)
        self._waker.close()

    # The thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._resume()
            while not self._stopping:
                for key, _ in self._selector.select(self._patience(time.monotonic())):
                    self._turn(key.fileobj, key.data)
                self._end_late(time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must not end without a word
            self._complain("an error in this program has ended the answers to probes", error)
        finally:
            self._close_all()

    def _close_all(self) -> None:
        for client in tuple(self._clients):
            self._drop(client)
        self._selector.close()
        for one in (*self._listening, self._woken):
            one.close()

    def _turn(self, ready: object, client: _Client | None) -> None:
        if client is None:
            if isinstance(ready, socket.socket) and ready is not self._woken:
                self._accept(ready)
            return
        if client not in self._clients:
            # Dropped for a newcomer in this turn.
            return
        try:
            self._serve(client)
        except OSError:
            self._drop(client)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others want an answer, too
            self._complain("an error in this program, when a probe was answered", error)
            self._drop(client)

    def _complain(self, text: str, error: Exception) -> None:
        if not self._has_failed:
            # Once: a client that comes again and again shall fill no disk.
            self._has_failed = True
            log.error(text, exc_info=error, extra=fields("own_error", self._node_id))

    def _patience(self, now: float) -> float | None:
        """How long nothing has to be done, in seconds; None if only clients can change that."""
        if self._resumes is not None and self._resumes <= now:
            self._resume()
        times = [client.ends for client in self._clients]
        times += [self._resumes] if self._resumes is not None else []
        return max(0.0, min(times) - now) if times else None

    def _resume(self) -> None:
        self._resumes = None
        for one in self._listening:
            self._selector.register(one, selectors.EVENT_READ)

    def _pause(self, until: float) -> None:
        self._resumes = until
        for one in self._listening:
            self._selector.unregister(one)

    def _accept(self, listening: socket.socket) -> None:
        now = time.monotonic()
        if self._resumes is not None:
            # Another listening socket has just used up the window.
            return
        if now - self._window >= WINDOW:
            self._window, self._accepted = now, 0
        if self._accepted >= AT_ONCE:
            self._pause(self._window + WINDOW)
            return
        try:
            connected, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:
            self._pause(now + PAUSE)
            return
        self._accepted += 1
        if len(self._clients) >= CLIENTS:
            self._drop(next(iter(self._clients)))
        client = _Client(connected, now + SECONDS)
        try:
            connected.setblocking(False)
            self._selector.register(connected, selectors.EVENT_READ, client)
        except OSError:
            connected.close()
            self._pause(now + PAUSE)
            return
        self._clients[client] = None

    def _serve(self, client: _Client) -> None:
        """Read and write what is possible now. Raises `OSError` if the connection is over."""
        if client.unsent:
            self._send(client)
            return
        with contextlib.suppress(BlockingIOError, InterruptedError):
            found = client.connected.recv(4096)
            client.read += len(found)
            if not found or client.read > MOST:
                self._drop(client)
            elif not client.answered:
                client.received += found
                self._read(client)

    def _read(self, client: _Client) -> None:
        head = client.received
        if b"\r\n\r\n" not in head and b"\n\n" not in head:
            if len(head) > HEAD:
                self._reply(client, 400, "expected a shorter request")
            return
        request = _REQUEST.match(head)
        if request is None:
            self._reply(client, 400, "expected a request of HTTP/1.1")
            return
        method, path = request[1], request[2].decode("ascii", "replace")
        if method not in (b"GET", b"HEAD"):
            self._reply(client, 405, "expected GET")
            return
        status, line = self._answer(path) or (404, "expected /ready or /live")
        self._reply(client, status, line, body=method == b"GET")

    def _reply(self, client: _Client, status: int, line: str, *, body: bool = True) -> None:
        content = f"{line}\n".encode(errors="backslashreplace")
        head = (
            f"HTTP/1.1 {status} {_TEXTS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        client.unsent = head.encode() + (content if body else b"")
        client.answered = True
        self._send(client)

    def _send(self, client: _Client) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            client.unsent = client.unsent[client.connected.send(client.unsent) :]
        if client.unsent:
            self._selector.modify(client.connected, selectors.EVENT_WRITE, client)
            return
        client.connected.shutdown(socket.SHUT_WR)
        client.ends = min(client.ends, time.monotonic() + LINGER)
        self._selector.modify(client.connected, selectors.EVENT_READ, client)

    def _end_late(self, now: float) -> None:
        for client in [one for one in self._clients if one.ends <= now]:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        # It is not there any more where the system had no memory to change what it is waited for.
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connected)
        client.connected.close()
