"""The setting `health`: what a node answers to probes, over real sockets, and what clients cannot do to it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import selectors
import socket
import stat
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from health_probes import ask, connect, read_all
from network_helpers import SECRET, until

from trio_mp import ConfigurationError, open_node
from trio_mp._node import probe_server
from trio_mp._node.health import Health, HealthListener, open_health
from trio_mp._peers.standing import Standing
from trio_mp._ports.blocked import Blocked
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.sockets import SocketListener, SocketTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")

PATIENCE = 15.0


def count_files() -> int:
    """How many files and sockets this process has open; 0 where nobody says."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208


class Loop:
    """What a watchdog says of the loop."""

    def __init__(self) -> None:
        self.now: Blocked | None = None
        self.is_broken = False

    def blocked(self) -> Blocked | None:
        if self.is_broken:
            raise LookupError("of our own")
        return self.now


@pytest.fixture
def loop() -> Loop:
    return Loop()


@asynccontextmanager
async def answering(address: str, loop: Loop, standing: Standing | None = None) -> AsyncGenerator[str]:
    """Answer probes for the length of the block; gives the address."""
    if standing is None:
        standing = Standing()
        standing.start()
    found = await open_health(parse_address(address), Health(standing, loop.blocked, PATIENCE), "n")
    try:
        yield found.addresses[0]
    finally:
        found.close()


# What it says --------------------------------------------------------------------------------------------------------


async def test_what_a_node_says_from_its_first_service_to_its_end(bind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_mp")
    begun: list[tuple[int, str]] = []
    async with open_node("n", health=bind, services=["health_probes:ask_while_starting"], context=begun) as node:
        (address,) = node._runtime.probed_at
        assert f"the node answers probes at {address}" in [record.getMessage() for record in caplog.records]
        assert begun == [(503, "services are starting\n")]
        assert ask(address, "/ready") == (200, "ready\n")
        assert ask(address, "/live") == (200, "live\n")
        assert ask(address, "/live?verbose=1") == (200, "live\n")
        assert ask(address, "/ready", "HEAD") == (200, "")
        assert ask(address, "/ready", "POST")[0] == 405
        assert ask(address, "/")[0] == 404
        assert ask(address, "/ready/../live")[0] == 404
        node._runtime.standing.begin_draining()
        assert ask(address, "/ready") == (503, "draining\n")
        assert ask(address, "/live") == (200, "live\n")
        closing: list[tuple[int, str]] = []
        node.monitor(node.port(), lambda *_: closing.append(ask(address, "/ready")))
    assert closing == [(503, "closing\n")]
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        connect(address)
    assert not bind.startswith("unix:") or not Path(bind[5:]).exists()
    assert not [thread for thread in threading.enumerate() if "health" in thread.name]


async def test_a_node_without_its_network_lives_and_is_not_ready(short_directory: Path) -> None:
    where, seed = f"unix:{short_directory}/health", f"unix:{short_directory}/s"
    async with open_node(seeds=[seed], secret=SECRET, health=where) as node:
        await until(lambda: node._runtime.network and node._runtime.network.failures)
        assert ask(where, "/ready") == (503, f"not attached: {seed}: No such file or directory\n")
        assert ask(where, "/live") == (200, "live\n")
        async with open_node(binds=[seed], secret=SECRET):
            await node.wait_attached()
            assert ask(where, "/ready") == (200, "ready\n")


async def test_a_node_that_waits_for_its_network_before_its_services_says_so(short_directory: Path) -> None:
    where, seed = f"unix:{short_directory}/health", f"unix:{short_directory}/s"
    begun: list[tuple[int, str]] = []
    settings: dict[str, Any] = {"services": ["health_probes:ask_while_starting"], "context": begun}

    async def run() -> None:
        async with open_node(seeds=[seed], secret=SECRET, health=where, attach_timeout=30, **settings):
            assert begun == [(503, "services are starting\n")]
            assert ask(where, "/ready") == (200, "ready\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until((short_directory / "health").exists)
        await until(lambda: ask(where, "/ready") == (503, f"not attached: {seed}: No such file or directory\n"))
        assert ask(where, "/live") == (200, "live\n")
        assert not begun
        async with open_node(binds=[seed], secret=SECRET, profile=False):
            await until(lambda: not nursery.child_tasks)


async def test_a_loop_that_stands_is_neither_live_nor_ready(short_directory: Path, loop: Loop) -> None:
    async with answering(f"unix:{short_directory}/s", loop) as address:
        loop.now = Blocked(PATIENCE - 0.1, "app.py:40, in take")
        assert ask(address, "/live") == (200, "live\n")
        loop.now = Blocked(18.2, "app.py:40, in take")
        for path in ("/live", "/ready"):
            assert ask(address, path) == (503, "blocked 18.2 s at app.py:40, in take\n")
        # As a file may be called that is not named in UTF-8.
        loop.now = Blocked(18.2, "\udcff.py:40")
        assert ask(address, "/live") == (503, "blocked 18.2 s at \\udcff.py:40\n")
        loop.now = None
        assert ask(address, "/ready") == (200, "ready\n")


# Clients -------------------------------------------------------------------------------------------------------------


async def test_silent_clients_keep_nobody_from_an_answer(
    bind: str, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "AT_ONCE", 10_000)
    async with answering(bind, loop) as address:
        silent = [connect(address) for _ in range(3 * probe_server.CLIENTS)]
        try:
            for one in silent[::2]:
                with contextlib.suppress(OSError):
                    one.sendall(b"GET /ready HTT")
            for _ in range(10):
                assert ask(address, "/ready") == (200, "ready\n")
        finally:
            for one in silent:
                one.close()


async def test_a_slow_client_is_left_after_its_time(bind: str, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "SECONDS", 0.05)
    async with answering(bind, loop) as address:
        with connect(address) as silent:
            assert read_all(silent) == b""
        assert ask(address, "/ready") == (200, "ready\n")


async def test_a_client_that_goes_on_after_its_answer_gets_the_answer_and_is_left(bind: str, loop: Loop) -> None:
    async with answering(bind, loop) as address:
        with connect(address) as talker:
            talker.sendall(b"POST /ready HTTP/1.1\r\n\r\n" + b"x" * 20_000)
            # To its end, and no reset, by which another system than this one loses the answer.
            answer = b"".join(iter(lambda: talker.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 405 ")
            assert answer.endswith(b"\r\n\r\nexpected GET\n")
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                talker.sendall(b"x" * 100_000_000)


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n",
        b"GET ready HTTP/1.1\r\n\r\n",
        b"GET /ready HTTP/2\r\n\r\n",
        b"GET /ready\r\n\r\n",
        b"GET  /ready HTTP/1.1\r\n\r\n",
        b"x" * (probe_server.HEAD + 5000),
    ],
    ids=["empty", "tls", "no-slash", "version", "old", "spaces", "endless"],
)
async def test_what_is_no_request_is_answered_and_ended(short_directory: Path, loop: Loop, sent: bytes) -> None:
    async with answering(f"unix:{short_directory}/s", loop) as address:
        with connect(address) as connected:
            connected.sendall(sent)
            assert read_all(connected).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert ask(address, "/ready") == (200, "ready\n")


def test_a_long_line_that_is_no_request_takes_no_time() -> None:
    """A pattern whose parts can share the same bytes in many ways would look at it for seconds, and stop all else."""
    begun = time.thread_time()
    for line in (b"GET /" + b"a" * 60_000, b"GET /" + b"?" * 60_000, b"GET /a?" + b"a " * 30_000):
        assert probe_server._REQUEST.match(line + b"\r\n\r\n") is None
    assert time.thread_time() - begun < 1
    found = probe_server._REQUEST.match(b"GET /ready?verbose#x HTTP/1.1\r\n")
    assert found is not None
    assert found[2] == b"/ready"


async def test_a_request_may_come_byte_by_byte_and_end_before_its_answer(short_directory: Path, loop: Loop) -> None:
    async with answering(f"unix:{short_directory}/s", loop) as address:
        with connect(address) as slow:
            for byte in b"GET /live HTTP/1.0\n\n":
                slow.sendall(bytes([byte]))
            assert read_all(slow).endswith(b"\r\n\r\nlive\n")
        for sent in (b"", b"GET", b"GET /live HTTP/1.1\r\n\r\n"):
            for _ in range(20):
                connected = connect(address)
                connected.sendall(sent)
                connected.close()
        assert ask(address, "/ready") == (200, "ready\n")


async def test_a_flood_is_taken_up_slowly_and_nobody_is_lost(
    short_directory: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "AT_ONCE", 5)
    monkeypatch.setattr(probe_server, "WINDOW", 0.2)
    async with answering(f"unix:{short_directory}/s", loop) as address:
        begun = time.monotonic()
        for _ in range(7):
            assert ask(address, "/live") == (200, "live\n")
        assert time.monotonic() - begun >= 0.2


async def test_without_a_file_descriptor_it_waits_and_goes_on(
    short_directory: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "PAUSE", 0.05)
    async with answering(f"unix:{short_directory}/s", loop) as address:
        failures = [0]
        accept = socket.socket.accept

        def fail(one: socket.socket) -> object:
            if failures[0] < 3:
                failures[0] += 1
                raise OSError(24, "Too many open files")
            return accept(one)

        monkeypatch.setattr(socket.socket, "accept", fail)
        begun = time.monotonic()
        assert ask(address, "/live") == (200, "live\n")
        assert failures == [3]
        assert time.monotonic() - begun >= 3 * 0.05


async def test_an_error_of_ours_costs_one_client_and_one_line(
    short_directory: Path, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(f"unix:{short_directory}/s", loop) as address:
        loop.is_broken = True
        for _ in range(3):
            with connect(address) as connected:
                connected.sendall(b"GET /live HTTP/1.1\r\n\r\n")
                assert read_all(connected) == b""
        loop.is_broken = False
        assert ask(address, "/live") == (200, "live\n")
    assert [record.getMessage() for record in caplog.records] == ["an error in this program, when a probe was answered"]


# Where it listens ----------------------------------------------------------------------------------------------------


async def test_only_this_user_may_ask_at_a_unix_socket(short_directory: Path, loop: Loop) -> None:
    async with answering(f"unix:{short_directory}/s", loop):
        assert stat.S_IMODE((short_directory / "s").stat().st_mode) == 0o600


async def test_the_socket_of_a_dead_process_is_replaced_and_a_live_one_is_not(
    short_directory: Path, loop: Loop
) -> None:
    path = short_directory / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with answering(f"unix:{path}", loop) as address:
        assert ask(address, "/live") == (200, "live\n")
        with pytest.raises(OSError, match=rf"^\[Errno \d+\] health: cannot listen on unix:{path}: something listens"):
            async with open_node(health=f"unix:{path}", binds=[f"unix:{short_directory}/n"], secret=SECRET):
                raise AssertionError("it must not open")
        assert not (short_directory / "n").exists(), "nothing is left of the node"
        # Another's file in its place is not removed.
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


async def test_a_node_that_cannot_listen_leaves_nothing(short_directory: Path) -> None:
    (short_directory / "n").write_text("no socket")
    where = short_directory / "s"
    with pytest.raises(OSError, match=r"cannot listen on unix:.*/n: there is a file of that name"):
        async with open_node(health=f"unix:{where}", binds=[f"unix:{short_directory}/n"], secret=SECRET):
            raise AssertionError("it must not open")
    assert not where.exists()
    assert not [thread for thread in threading.enumerate() if "health" in thread.name]


async def test_without_a_thread_nothing_of_the_node_is_left(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = count_files()
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        async with open_node(health=f"unix:{short_directory}/s"):
            raise AssertionError("it must not open")
    assert count_files() == before
    assert list(short_directory.iterdir()) == []


class Failing:
    """A function that fails when it is called for the nth time, as one does when the system has no memory for more."""

    def __init__(
        self, real: Callable[..., Any], at: int, before: Callable[..., object] = lambda *_, **__: None
    ) -> None:
        self._real = real
        self._left = at
        # What it does before it fails.
        self._before = before

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self._before(*arguments, **named)
            raise OSError(12, "Cannot allocate memory")
        return self._real(*arguments, **named)

    def __get__(self, one: object, kind: type) -> Callable[..., Any]:
        return functools.partial(self, one)


OPENING: list[tuple[object, str, int]] = [
    (selectors, "DefaultSelector", 1),
    (socket, "socketpair", 1),
    (selectors.DefaultSelector, "register", 1),
    (SocketListener, "take_socket", 1),
    (SocketListener, "take_socket", 2),
    (socket.socket, "setblocking", 1),
]


@pytest.mark.parametrize("place, name, at", OPENING, ids=[f"{name}-{at}" for _, name, at in OPENING])
async def test_what_fails_while_it_opens_leaves_no_socket_and_no_file(
    short_directory: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, place: object, name: str, at: int
) -> None:
    before = count_files()
    addresses = [parse_address(f"unix:{short_directory}/{file}") for file in "ab"]
    listeners = [one for address in addresses for one in await SocketTransport().listen(address)]
    monkeypatch.setattr(place, name, Failing(getattr(place, name), at))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        HealthListener(
            [one for one in listeners if isinstance(one, SocketListener)],
            Health(Standing(), loop.blocked, PATIENCE),
            "n",
        )
    monkeypatch.undo()
    assert count_files() == before
    assert list(short_directory.iterdir()) == []


async def test_a_socket_that_cannot_listen_is_closed(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = count_files()
    (listener,) = await SocketTransport().listen(parse_address(f"unix:{short_directory}/s"))
    assert isinstance(listener, SocketListener)
    monkeypatch.setattr(socket.socket, "listen", Failing(socket.socket.listen, 1))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        listener.take_socket(1)
    assert count_files() == before
    listener.remove_file()


async def test_an_open_node_names_the_setting_when_its_answers_cannot_begin(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "DefaultSelector", Failing(selectors.DefaultSelector, 1))
    with pytest.raises(OSError, match=r"^\[Errno 12\] health: Cannot allocate memory$"):
        async with open_node(health=f"unix:{short_directory}/s"):
            raise AssertionError("it must not open")


@pytest.mark.parametrize("name, at", [("register", 3), ("modify", 1)])
async def test_a_client_that_cannot_be_waited_for_costs_no_other_its_answer(
    short_directory: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    monkeypatch.setattr(probe_server, "PAUSE", 0.01)
    before = count_files()
    kind = selectors.DefaultSelector
    # The first two that are registered are the waker and the listening socket.
    failing = Failing(getattr(kind, name), at)
    if name == "modify":
        # As the real one does when the system refuses: what it was to change is not waited for any more.
        failing = Failing(kind.modify, at, lambda selector, one, *_: selector.unregister(one))
    monkeypatch.setattr(kind, name, failing)
    async with answering(f"unix:{short_directory}/s", loop) as address:
        # It is closed at once, perhaps before it has asked.
        with connect(address) as unlucky, contextlib.suppress(OSError):
            unlucky.sendall(b"GET /live HTTP/1.1\r\n\r\n")
            read_all(unlucky)
        assert ask(address, "/live") == (200, "live\n")
    assert count_files() == before


async def test_all_sockets_are_closed(bind: str, loop: Loop) -> None:
    before = count_files()
    async with answering(bind, loop) as address:
        clients = [connect(address) for _ in range(5)]
        assert ask(address, "/live") == (200, "live\n")
    for one in clients:
        assert read_all(one) == b""
        one.close()
    assert count_files() == before


async def test_all_addresses_of_a_name_answer(require_tcp: None, loop: Loop) -> None:
    found = await open_health(parse_address("localhost:0"), Health(Standing(), loop.blocked, PATIENCE), "n")
    try:
        assert found.addresses
        for address in found.addresses:
            assert ask(address, "/live") == (200, "live\n")
            assert ask(address, "/ready") == (503, "services are starting\n")
    finally:
        found.close()


@pytest.mark.parametrize("crash", [False, True], ids=["raised", "cancelled"])
async def test_it_is_closed_however_the_node_ends(short_directory: Path, crash: bool) -> None:
    path = short_directory / "s"
    with contextlib.suppress(LookupError), trio.CancelScope() as scope:
        async with open_node(health=f"unix:{path}"):
            assert path.exists()
            if crash:
                scope.cancel()
                await trio.sleep(1)
            raise LookupError
    assert not path.exists()


# The setting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["127.0.0.1", "*", "[::1]", "host:", "unix:", "/run/s", "host:99999", ""])
async def test_what_is_no_address_to_answer_at(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^health: expected "):
        async with open_node(health=value):
            raise AssertionError("it must not open")


async def test_of_a_process_the_first_node_takes_it_from_outside_and_no_tool_does(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_MP_HEALTH", f"unix:{short_directory}/s")
    async with open_node() as first, open_node() as second:
        assert ask(f"unix:{short_directory}/s", "/live") == (200, "live\n")
        for node, answers in ((first, True), (second, False)):
            assert (node._runtime.settings.health is not None) == answers
    where = f"unix:{short_directory}/n"
    async with (
        open_node(binds=[where], secret=SECRET, profile=False),
        open_node(seeds=[where], secret=SECRET, tool=True) as tool,
    ):
        assert tool._runtime.settings.health is None
