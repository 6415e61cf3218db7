"""TCP and Unix sockets: what the operating system adds."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import AsyncGenerator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, Inbox, Notices

from trio_mp import ConfigurationError, open_node
from trio_mp._transport import sockets
from trio_mp._transport.addresses import TCPAddress, UnixAddress, parse_address
from trio_mp._transport.pipe import Listener, Pipe
from trio_mp._transport.sockets import SocketPipe, SocketTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")


@pytest.fixture
def unix_path(short_directory: Path) -> Path:
    return short_directory / "s"


@contextlib.asynccontextmanager
async def listening(address: str) -> AsyncGenerator[list[Listener], None]:
    listeners = await SocketTransport().listen(parse_address(address))
    try:
        yield listeners
    finally:
        for listener in listeners:
            await listener.aclose()


async def pair(listener: Listener) -> tuple[Pipe, Pipe]:
    dialled = await SocketTransport().dial(parse_address(listener.address))
    return dialled, await listener.accept()


async def read(pipe: Pipe, size: int) -> bytes:
    data = b""
    while len(data) < size:
        await pipe.wait_readable()
        data += pipe.receive_nowait(size - len(data)) or b""
    return data


@pytest.fixture(params=["unix", "tcp"])
def any_address(request: pytest.FixtureRequest, unix_path: Path) -> str:
    if request.param == "tcp":
        request.getfixturevalue("require_tcp")
        return "127.0.0.1:0"
    return f"unix:{unix_path}"


async def test_bytes_travel(any_address: str) -> None:
    async with listening(any_address) as (listener,):
        one, other = await pair(listener)
        assert one.receive_nowait(10) is None
        assert one.send_nowait(b"hello") == 5
        assert await read(other, 5) == b"hello"
        assert other.send_nowait(memoryview(b"back")) == 4
        assert await read(one, 4) == b"back"
        one.send_eof()
        await other.wait_readable()
        assert other.receive_nowait(10) == b""
        other.send_nowait(b"still")
        assert await read(one, 5) == b"still"
        for pipe in (one, other):
            pipe.close()
            pipe.close()


async def test_bytes_are_received_into_a_buffer(any_address: str) -> None:
    async with listening(any_address) as (listener,):
        one, other = await pair(listener)
        buffer = memoryview(bytearray(8))
        assert other.receive_into_nowait(buffer) is None
        one.send_nowait(b"hello")
        await other.wait_readable()
        assert other.receive_into_nowait(buffer[1:5]) == 4
        assert other.receive_into_nowait(buffer[5:]) == 1
        assert bytes(buffer) == b"\0hello\0\0"
        one.close()
        await other.wait_readable()
        assert other.receive_into_nowait(buffer) == 0
        other.close()


async def test_a_full_pipe_waits(any_address: str) -> None:
    async with listening(any_address) as (listener,):
        one, other = await pair(listener)
        sent = 0
        while count := one.send_nowait(b"x" * 65536):
            sent += count
        with trio.move_on_after(0) as scope:
            await one.wait_writable()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.wait_writable)
            assert await read(other, sent) == b"x" * sent
        assert one.send_nowait(b"y")
        one.close()
        other.close()


async def test_a_closed_pipe(any_address: str) -> None:
    async with listening(any_address) as (listener,):
        one, other = await pair(listener)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def closed_meanwhile() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await one.wait_readable()

            await trio.testing.wait_all_tasks_blocked()
            one.close()
        for wait in (one.wait_readable, one.wait_writable):
            with pytest.raises(trio.ClosedResourceError):
                await wait()
        with pytest.raises(OSError, match="descriptor"):
            one.send_nowait(b"x")
        await other.wait_readable()
        assert other.receive_nowait(1) == b""

        async def write_on() -> None:
            while True:
                other.send_nowait(b"x")
                await trio.lowlevel.checkpoint()

        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await write_on()
        other.close()


def test_a_signal_is_no_error() -> None:
    """Only Windows and odd systems say so; it means that there is nothing now."""

    class Interrupted:
        def setblocking(self, flag: bool) -> None:
            assert not flag

        def send(self, data: bytes) -> int:
            raise InterruptedError

        def recv(self, maximum: int) -> bytes:
            raise InterruptedError

        def recv_into(self, buffer: memoryview) -> int:
            raise InterruptedError

    pipe = SocketPipe(Interrupted(), "x")  # type: ignore[arg-type]
    assert pipe.send_nowait(b"x") == 0
    assert pipe.receive_nowait(1) is None
    assert pipe.receive_into_nowait(memoryview(bytearray(1))) is None


class Others:
    """Counts the passes in which another task ran."""

    def __init__(self) -> None:
        self.passes = 0

    async def run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.passes += 1


class TestBusyPolling:
    async def test_what_is_there_is_found_without_a_wait(
        self, any_address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "POLL_TURN", 1000.0)
        async with listening(any_address) as (listener,):
            one, other = await pair(listener)
            one.busy_poll = 0.001
            await one_answer(one, other)
            done = []

            async def note() -> None:
                done.append(True)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(note)
                other.send_nowait(b"x")
                await read(one, 1)
                # Another could have run, and did not: nothing was waited for.
                assert not done
            one.close()
            other.close()

    async def test_others_run_all_the_same(self, any_address: str) -> None:
        async with listening(any_address) as (listener,):
            one, other = await pair(listener)
            one.busy_poll = 0.001
            others = Others()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(others.run)
                answers = 0
                while others.passes < 5:
                    other.send_nowait(b"x")
                    await read(one, 1)
                    answers += 1
                    # Each takes a microsecond at least: that many are hundreds of turns.
                    assert answers < 500_000
                nursery.cancel_scope.cancel()
            one.close()
            other.close()

    async def test_it_is_cancelled_within_a_turn(self, any_address: str) -> None:
        async with listening(any_address) as (listener,):
            one, other = await pair(listener)
            one.busy_poll = 0.001
            with trio.CancelScope() as scope:
                scope.cancel()
                while True:
                    other.send_nowait(b"x")
                    await read(one, 1)
            assert scope.cancelled_caught
            one.close()
            other.close()

    async def test_nothing_there_is_waited_for(
        self, any_address: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        polls = 0

        class Counting:
            def __init__(self) -> None:
                self.real = poll()
                self.register = self.real.register

            def poll(self, timeout: int) -> Any:
                nonlocal polls
                polls += 1
                return self.real.poll(timeout)

        poll = select.poll
        monkeypatch.setattr(select, "poll", Counting)
        async with listening(any_address) as (listener,):
            one, other = await pair(listener)
            one.busy_poll = 1e-9

            async def wait() -> None:
                await one.wait_readable()

            for _ in range(200):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    await trio.testing.wait_all_tasks_blocked()
                    other.send_nowait(b"x")
                assert one.receive_nowait(1) == b"x"
            # In vain before 1, 2, 4, … waits, at last every 65th; and each time it was looked twice, or a little more.
            assert 10 <= polls <= 50
            one.close()
            with pytest.raises(trio.ClosedResourceError):
                await one.wait_readable()
            other.close()

    @pytest.mark.parametrize("encryption", [True, False])
    async def test_two_nodes_that_poll(self, any_address: str, encryption: bool) -> None:
        settings: Any = {"secret": SECRET, "encryption": encryption, "busy_poll": 0.0005}
        async with (
            open_node("a", binds=[any_address], **settings) as a,
            open_node("b", binds=(), seeds=[a.binds[0]], **settings) as b,
        ):
            port = a.port()
            port.on("ask")(lambda number, reply: a.send(reply, number))
            for number in range(300):
                assert await b.call(port, "ask", number) == (number,)


async def one_answer(one: Pipe, other: Pipe) -> None:
    """Get over the first wait: others run in that."""
    other.send_nowait(b"x")
    await read(one, 1)


# TCP -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("require_tcp")
@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="no such limit here")
async def test_the_kernel_takes_a_large_message_at_once() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        for pipe in await pair(listener):
            assert isinstance(pipe, SocketPipe)
            assert pipe._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 1024 * 1024
            pipe.close()


@pytest.mark.usefixtures("require_tcp")
async def test_any_free_port() -> None:
    for text in ("127.0.0.1:0", "127.0.0.1:*", "*:0", "*:*"):
        async with listening(text) as listeners:
            assert listeners
            for listener in listeners:
                address = parse_address(listener.address)
                assert isinstance(address, TCPAddress)
                assert address.port > 0
            # Whoever is told these addresses can use them.
            port = parse_address(listeners[0].address).port  # type: ignore[union-attr]
            one = await SocketTransport().dial(TCPAddress("127.0.0.1", port))
            other = await listeners[0].accept()
            assert one.peer_address == f"127.0.0.1:{port}"
            assert other.peer_address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:"))
            one.close()
            other.close()


@pytest.mark.usefixtures("require_tcp")
async def test_delays_are_off() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        for pipe in await pair(listener):
            assert isinstance(pipe, SocketPipe)
            assert pipe._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            pipe.close()


@pytest.mark.usefixtures("require_tcp")
async def test_a_port_that_is_taken_is_named() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        with pytest.raises(OSError, match=f"cannot listen on {listener.address}") as caught:
            await SocketTransport().listen(parse_address(listener.address))
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_host_that_does_not_exist_is_named() -> None:
    for host in ("no.such.host.invalid", "x" * 70, "a..b", "é" * 64):
        with pytest.raises((OSError, ConfigurationError), match=host[:20]):
            await SocketTransport().listen(TCPAddress(host, 0))
        with pytest.raises(OSError, match=r".+"):
            await SocketTransport().dial(TCPAddress(host, 4040))


@pytest.mark.usefixtures("require_tcp")
async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=r".+"):
        await SocketTransport().dial(TCPAddress("127.0.0.1", port))


def reset(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()


@pytest.mark.usefixtures("require_tcp")
async def test_a_connection_that_is_gone_before_it_is_accepted() -> None:
    async with listening("127.0.0.1:0") as (listener,):
        address = parse_address(listener.address)
        assert isinstance(address, TCPAddress)
        for _ in range(3):
            reset(socket.create_connection((address.host, address.port)))
        one = await SocketTransport().dial(address)
        one.send_nowait(b"x")
        data = b""
        while not data:
            other = await listener.accept()
            with contextlib.suppress(OSError):
                await other.wait_readable()
                data = other.receive_nowait(1) or b""
            other.close()
        assert data == b"x"
        one.close()


@pytest.mark.usefixtures("require_tcp")
async def test_a_connection_that_is_gone_as_soon_as_it_was_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is closed, not left to the garbage collector."""
    streams: list[trio.SocketStream] = []
    open_stream = trio.open_tcp_stream

    async def gone_at_once(*arguments: Any, **settings: Any) -> trio.SocketStream:
        stream = await open_stream(*arguments, **settings)
        reset(server.accept()[0])
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
        streams.append(stream)
        return stream

    monkeypatch.setattr(trio, "open_tcp_stream", gone_at_once)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match=r".+"):
        await SocketTransport().dial(TCPAddress(*server.getsockname()))
    assert streams[0].socket.fileno() == -1


async def test_a_listener_that_is_out_of_files(
    any_address: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with listening(any_address) as (listener,):
        accept = trio.SocketListener.accept
        failures = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS]

        async def fail(self: trio.SocketListener) -> trio.SocketStream:
            if failures:
                await trio.lowlevel.checkpoint()
                raise OSError(failures.pop(), "out of something")
            return await accept(self)

        monkeypatch.setattr(trio.SocketListener, "accept", fail)
        one, other = await pair(listener)
        assert not failures
        one.close()
        other.close()
        failures.append(errno.EBADF)
        with pytest.raises(OSError, match="out of something"):
            await listener.accept()


# Unix sockets --------------------------------------------------------------------------------------------------------


async def test_a_unix_socket_is_private_and_removed(unix_path: Path) -> None:
    async with listening(f"unix:{unix_path}") as (listener,):
        assert stat.S_IMODE(unix_path.stat().st_mode) == 0o600
        assert listener.address == f"unix:{unix_path}"
        one, other = await pair(listener)
        assert one.peer_address == f"unix:{unix_path}"
        assert other.peer_address == "unix:"
        one.close()
        other.close()
    assert not unix_path.exists()


async def test_the_mask_of_the_process_is_left_alone(short_directory: Path) -> None:
    """Binding must not change it for other tasks and threads, not even for a moment, and not for ever."""
    before = os.umask(0o022)
    masks: set[int] = set()
    try:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def watch() -> None:
                while True:
                    mask = os.umask(0o022)
                    os.umask(mask)
                    masks.add(mask)
                    await trio.lowlevel.checkpoint()

            async def listen(number: int) -> None:
                async with listening(f"unix:{short_directory}/{number}"):
                    pass

            async with trio.open_nursery() as listeners:
                for number in range(10):
                    listeners.start_soon(listen, number)
            nursery.cancel_scope.cancel()
        assert os.umask(0o022) == 0o022
        assert masks == {0o022}
    finally:
        os.umask(before)


async def test_a_stale_socket_is_replaced(unix_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(unix_path))
    stale.listen()
    stale.close()
    assert unix_path.exists()
    async with listening(f"unix:{unix_path}") as (listener,):
        for pipe in await pair(listener):
            pipe.close()
    assert not unix_path.exists()


async def test_a_live_socket_is_refused_and_left_alone(unix_path: Path) -> None:
    async with listening(f"unix:{unix_path}") as (listener,):
        with pytest.raises(OSError, match=f"cannot listen on unix:{unix_path}") as caught:
            await SocketTransport().listen(UnixAddress(str(unix_path)))
        assert caught.value.errno == errno.EADDRINUSE
        for pipe in await pair(listener):
            pipe.close()


async def test_two_nodes_that_find_the_same_stale_socket(unix_path: Path) -> None:
    """One gets it, the other is refused; it must not take away the new one."""
    for _ in range(20):
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(unix_path))
        stale.close()
        outcomes: list[object] = []

        async def listen(outcomes: list[object] = outcomes) -> None:
            try:
                outcomes.append((await SocketTransport().listen(UnixAddress(str(unix_path))))[0])
            except OSError as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
        listeners = [outcome for outcome in outcomes if isinstance(outcome, Listener)]
        try:
            assert len(listeners) == 1, "two believe that they listen there"
        finally:
            for listener in listeners:
                await listener.aclose()


async def test_a_file_that_is_no_socket_is_left_alone(unix_path: Path) -> None:
    unix_path.write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        await SocketTransport().listen(UnixAddress(str(unix_path)))
    assert unix_path.read_text() == "precious"
    unix_path.unlink()
    unix_path.symlink_to("nowhere")
    with pytest.raises(OSError, match="no socket"):
        await SocketTransport().listen(UnixAddress(str(unix_path)))


async def test_a_directory_that_does_not_exist_is_named(short_directory: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on unix:.*nowhere"):
        await SocketTransport().listen(UnixAddress(f"{short_directory}/nowhere/s"))
    with pytest.raises(OSError, match=r".+"):
        await SocketTransport().dial(UnixAddress(f"{short_directory}/nowhere/s"))


async def test_a_path_that_somebody_took_over_is_left_to_them(unix_path: Path) -> None:
    (first,) = await SocketTransport().listen(UnixAddress(str(unix_path)))
    unix_path.unlink()
    async with listening(f"unix:{unix_path}") as (second,):
        await first.aclose()
        assert unix_path.exists()
        for pipe in await pair(second):
            pipe.close()


async def test_a_path_that_is_gone_at_closing(unix_path: Path) -> None:
    async with listening(f"unix:{unix_path}"):
        unix_path.unlink()


async def test_a_path_that_is_too_long_is_a_clear_error(short_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="binds: expected at most 103 bytes in the path of a Unix socket"):
        async with open_node(binds=[f"unix:{short_directory}/{'x' * 120}"], secret=SECRET):
            raise AssertionError("it cannot listen there")


# Nodes on real sockets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", [True, False], ids=["encrypted", "plain"])
async def test_two_nodes(any_address: str, encryption: bool) -> None:
    with trio.fail_after(60):
        async with open_node("a", binds=[any_address], secret=SECRET, encryption=encryption) as a:
            inbox = Inbox(a)
            async with open_node("b", seeds=a.binds, secret=SECRET, encryption=encryption) as b:
                assert await b.call("a", "info") == ("a",)
                assert a.peers == ("b",)
                port, told = b.port(), Notices()
                a.monitor(port, told)
                for number in range(1000):
                    b.send(inbox.port, number, b"x" * 5000)
                assert await a.call("b", "info") == ("b",)
                b.kill(port, "x")
                assert await told.wait() == ("x",)
                await inbox.wait(1000)
                # On leaving: five megabytes that have not been written yet.
                for number in range(1000, 2000):
                    b.send(inbox.port, number, b"x" * 5000)
            await inbox.wait(2000)
            assert [number for number, _ in inbox.messages] == list(range(2000))
            assert not a.peers


@pytest.mark.parametrize("encryption", [True, False], ids=["encrypted", "plain"])
async def test_a_large_queue_and_a_slow_reader_on_real_sockets(any_address: str, encryption: bool) -> None:
    """Both have unread input when one of them leaves; nothing may be reset."""
    with trio.fail_after(60):
        async with open_node("a", binds=[any_address], secret=SECRET, encryption=encryption) as a:
            inbox = Inbox(a)
            async with open_node("b", seeds=a.binds, secret=SECRET, encryption=encryption, shutdown_timeout=50) as b:
                assert await b.call("a", "info") == ("a",)
                sink = b.port(lambda *_: None)
                chatty = a.port(lambda *_: a.send(sink, b"y" * 1000))
                for number in range(4000):
                    b.send(chatty, number)
                    b.send(inbox.port, number, b"x" * 2000)
            await inbox.wait(4000)
            assert [number for number, _ in inbox.messages] == list(range(4000))


async def test_a_node_whose_block_is_cancelled_leaves_no_socket_file(unix_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_node(binds=[f"unix:{unix_path}"], secret=SECRET):
            assert unix_path.exists()
            scope.cancel()
            await trio.sleep_forever()
    assert not unix_path.exists()


async def test_a_bind_that_fails_names_its_address_and_leaves_nothing(short_directory: Path) -> None:
    good, bad = f"unix:{short_directory}/good", f"unix:{short_directory}/nowhere/bad"
    with pytest.raises(OSError, match=r"cannot listen on unix:.*/bad"):
        async with open_node(binds=[good, bad], secret=SECRET):
            raise AssertionError("it cannot listen there")
    assert not (short_directory / "good").exists()


async def test_a_seed_whose_name_makes_no_sense(autojump_clock: trio.testing.MockClock) -> None:
    for seed in ("a..b", "x" * 70 + ":1"):
        try:
            async with open_node(seeds=[seed], secret=SECRET):
                await trio.sleep(1)
        except ConfigurationError as error:
            assert "seeds" in str(error)  # noqa: PT017


@pytest.mark.parametrize("seed", ["*:0", "*:*", "127.0.0.1:0", "127.0.0.1:*"])
def test_an_address_only_to_listen_on_is_no_seed(seed: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="seeds"):
            async with open_node(seeds=[seed], secret=SECRET):
                pass

    trio.run(main)


def test_the_addresses_of_this_machine() -> None:
    hosts = SocketTransport().own_hosts()
    assert len(set(hosts)) == len(hosts)
    for host in map(ip_address, hosts):
        assert not host.is_loopback
        assert not host.is_link_local
        # Nobody can do that at an address of another machine.
        with socket.socket(socket.AF_INET if host.version == 4 else socket.AF_INET6) as one:
            one.bind((str(host), 0))
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        try:
            # Sends nothing.
            one.connect(("198.51.100.1", 9))
        except OSError:
            return
        assert one.getsockname()[0] in hosts


async def test_a_platform_without_unix_sockets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an error as of any other address that cannot be used, and not as an error in the package."""
    monkeypatch.delattr(socket, "AF_UNIX")
    wanted = f"expected a platform with Unix sockets, got {sys.platform}$"
    with pytest.raises(OSError, match=f"cannot listen on unix:/run/s: {wanted}"):
        await SocketTransport().listen(parse_address("unix:/run/s"))
    with pytest.raises(OSError, match=wanted):
        await SocketTransport().dial(parse_address("unix:/run/s"))
