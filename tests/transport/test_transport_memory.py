"""Pipes in memory: they must behave as sockets do."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from trio_mp._transport.addresses import UnixAddress, parse_address
from trio_mp._transport.memory import MemoryTransport, memory_pipe_pair

HERE = parse_address("unix:/here")


async def test_bytes_travel_in_order() -> None:
    one, other = memory_pipe_pair("one", "other", capacity=10)
    assert (one.peer_address, other.peer_address) == ("other", "one")
    assert other.receive_nowait(10) is None
    assert one.send_nowait(b"0123456789ab") == 10
    assert one.send_nowait(b"ab") == 0
    assert other.receive_nowait(4) == b"0123"
    assert one.send_nowait(memoryview(b"abcdef")) == 4
    assert other.receive_nowait(100) == b"456789abcd"
    assert other.send_nowait(bytearray(b"back")) == 4
    assert one.receive_nowait(100) == b"back"


async def test_bytes_are_received_into_a_buffer() -> None:
    one, other = memory_pipe_pair()
    buffer = memoryview(bytearray(8))
    assert other.receive_into_nowait(buffer) is None
    one.send_nowait(b"hello")
    assert other.receive_into_nowait(buffer[1:5]) == 4
    assert other.receive_into_nowait(buffer[5:]) == 1
    assert bytes(buffer) == b"\0hello\0\0"
    one.close()
    assert other.receive_into_nowait(buffer) == 0


async def test_waiting(autojump_clock: trio.testing.MockClock) -> None:
    one, other = memory_pipe_pair(capacity=4)
    with trio.testing.assert_checkpoints():
        await one.wait_writable()
    one.send_nowait(b"1234")
    with trio.testing.assert_checkpoints():
        await other.wait_readable()
    with trio.move_on_after(1) as scope:
        await one.wait_writable()
    assert scope.cancelled_caught
    with trio.move_on_after(1) as scope:
        await one.wait_readable()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.wait_writable)
        nursery.start_soon(one.wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        other.receive_nowait(1)
        other.send_nowait(b"x")


async def test_half_closing() -> None:
    one, other = memory_pipe_pair()
    one.send_nowait(b"last")
    one.send_eof()
    assert other.receive_nowait(10) == b"last"
    await other.wait_readable()
    assert other.receive_nowait(10) == b""
    assert other.send_nowait(b"still") == 5
    assert one.receive_nowait(10) == b"still"
    with pytest.raises(BrokenPipeError):
        one.send_nowait(b"more")
    one.close()
    with pytest.raises(BrokenPipeError):
        other.send_nowait(b"too late")


async def test_closing_with_unread_input_resets() -> None:
    one, other = memory_pipe_pair()
    one.send_nowait(b"unread")
    other.send_nowait(b"gone")
    other.close()
    await one.wait_readable()
    await one.wait_writable()
    with pytest.raises(ConnectionResetError):
        one.receive_nowait(10)
    with pytest.raises(OSError, match="closed"):
        one.send_nowait(b"x")


async def test_a_closed_pipe(autojump_clock: trio.testing.MockClock) -> None:
    one, _ = memory_pipe_pair(capacity=1)
    one.send_nowait(b"x")
    async with trio.open_nursery() as nursery:

        async def closed_meanwhile(wait: object) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wait()  # type: ignore[operator]

        nursery.start_soon(closed_meanwhile, one.wait_readable)
        nursery.start_soon(closed_meanwhile, one.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        one.close()
    one.close()
    for call in (lambda: one.send_nowait(b"x"), lambda: one.receive_nowait(1), one.send_eof):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == errno.EBADF
    for wait in (one.wait_readable, one.wait_writable):
        with pytest.raises(trio.ClosedResourceError):
            await wait()


async def test_listening_and_dialling(autojump_clock: trio.testing.MockClock) -> None:
    transport = MemoryTransport()
    with pytest.raises(ConnectionRefusedError, match="nobody listens on unix:/here"):
        await transport.dial(HERE)
    (listener,) = await transport.listen(HERE)
    assert listener.address == "unix:/here"
    with pytest.raises(OSError, match="cannot listen on unix:/here"):
        await transport.listen(HERE)
    dialled = await transport.dial(HERE)
    accepted = await listener.accept()
    assert dialled.peer_address == "unix:/here"
    assert accepted.peer_address == "dialler"
    dialled.send_nowait(b"hello")
    assert accepted.receive_nowait(10) == b"hello"
    with trio.move_on_after(1) as scope:
        await listener.accept()
    assert scope.cancelled_caught
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await transport.dial(HERE)
    (again,) = await transport.listen(HERE)
    await again.aclose()


async def test_a_place_that_does_not_accept_is_full_at_last() -> None:
    transport = MemoryTransport()
    (listener,) = await transport.listen(HERE)
    pipes = [await transport.dial(HERE) for _ in range(64)]
    with pytest.raises(ConnectionRefusedError, match="does not accept"):
        await transport.dial(HERE)
    await listener.accept()
    pipes.append(await transport.dial(HERE))
    assert len(pipes) == 65


async def test_closing_a_listener_ends_what_nobody_accepted(autojump_clock: trio.testing.MockClock) -> None:
    """As an operating system does: whoever dialled must not wait for ever."""
    transport = MemoryTransport()
    (listener,) = await transport.listen(HERE)
    pipe = await transport.dial(HERE)
    await listener.aclose()
    with trio.fail_after(10):
        await pipe.wait_readable()
    try:
        assert pipe.receive_nowait(1) == b""
    except ConnectionResetError:
        pass


async def test_closing_a_listener_twice_leaves_its_successor_alone() -> None:
    transport = MemoryTransport()
    (listener,) = await transport.listen(HERE)
    await listener.aclose()
    (successor,) = await transport.listen(UnixAddress("/here"))
    await listener.aclose()
    await transport.dial(HERE)
    await successor.accept()
