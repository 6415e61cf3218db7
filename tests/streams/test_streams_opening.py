"""StreamClient a byte stream, who dials whom, and how it ends when something goes wrong."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    RawPeer,
    network_of,
    open_pair,
    open_test_node,
    place,
    requests_in,
    until,
    warnings_in,
)
from stream_helpers import MODULE, NOTES, open_ends, receive_all, receive_line, receive_until_broken

from trio_mp import Node, PortDied, open_node
from trio_mp._protocol.handshake.events import LinkReceived
from trio_mp._protocol.wire import codec
from trio_mp._transport.addresses import Address, parse_address


async def nowhere(_node_id: str) -> tuple[Address, ...]:
    return ()


@asynccontextmanager
async def pair(
    network: FakeNetwork, *, listed: bool = False, **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes: b has dialled a. They do not ask the network where the other listens, unless it is `listed`."""
    async with open_pair(network, **{"spawn_modules": [MODULE], **settings}) as nodes:
        for node in nodes if not listed else ():
            node._streams.look_up = nowhere
        yield nodes


def nothing_is_left(*nodes: Node) -> bool:
    """Whether no port is alive, and no stream is being set up."""
    return all(
        not node._lifecycle.ports
        and not node._lifecycle.unwinding
        and not node._streams._pending._pending
        and not node._streams._pending._expected
        for node in nodes
    )


either_opens = pytest.mark.parametrize("opener", ["a", "b"], ids=["the dialled opens", "the dialler opens"])


# What goes well --------------------------------------------------------------------------------------------------


@either_opens
async def test_the_node_that_knows_an_address_dials(autojump_clock: trio.testing.MockClock, opener: str) -> None:
    network = FakeNetwork()
    async with pair(network) as nodes:
        here, there = nodes if opener == "a" else nodes[::-1]
        async with here.open_stream(there.id, f"{MODULE}:echoes") as stream:
            await stream.send_all(b"there and back")
            assert await stream.receive_some() == b"there and back"
            # a listens where b has dialled it, and b knows nothing else of a, nor a of b.
            assert network.dialled == {place("a"): 2}
            assert len(network.live) == 2
            assert here.peers == (there.id,)
        await until(lambda: len(network.live) == 1)
        assert nothing_is_left(here, there)


async def test_a_node_is_dialled_where_the_network_says_that_it_listens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with pair(network, listed=True) as (a, _):
        await trio.sleep(1)
        async with a.open_stream("b", f"{MODULE}:echoes") as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        assert network.dialled == {place("a"): 1, place("b"): 1}


async def test_the_function_gets_what_it_is_given_behind_the_messages(autojump_clock: trio.testing.MockClock) -> None:
    NOTES.clear()
    async with pair(FakeNetwork()) as (_, b):
        noting = b.spawn("a", f"{MODULE}:notes")
        b.send(noting, "note", 1)
        async with b.open_stream(noting, f"{MODULE}:says_where_it_is", 1, "two") as stream:
            assert await receive_line(stream) == "('a', (1, 'two'), [1])"
            port = await receive_line(stream)
            b.send(port, "to its port")
            assert await receive_line(stream) == "('to its port',)"
            assert await stream.receive_some() == b""
            assert await b.wait_death(port) in {(), ("no_such_port", f"there is no port {port}")}


async def test_to_the_own_node_as_well() -> None:
    NOTES.clear()
    async with open_node("a", spawn_modules=[MODULE]) as a:
        noting = a.spawn("a", f"{MODULE}:notes")
        a.send(noting, "note", 1)
        async with a.open_stream("a", f"{MODULE}:says_where_it_is", object) as stream:
            assert await receive_line(stream) == f"('a', ({object!r},), [1])"
            port = await receive_line(stream)
            a.send(port, "to its port")
            assert await receive_line(stream) == "('to its port',)"
            assert await stream.receive_some() == b""


async def test_many_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork(), encryption=True) as (a, b), trio.open_nursery() as nursery:

        async def exchange(node: Node, to: str, number: int) -> None:
            data = b"%d" % number * 100_000
            async with node.open_stream(to, f"{MODULE}:echoes") as stream, trio.open_nursery() as inner:

                @inner.start_soon
                async def send() -> None:
                    await stream.send_all(data)
                    await stream.send_eof()

                assert await receive_all(stream) == data

        for number in range(10):
            nursery.start_soon(exchange, a, "b", number)
            nursery.start_soon(exchange, b, "a", number)


async def test_the_side_that_cannot_dial_is_dialled(autojump_clock: trio.testing.MockClock) -> None:
    """The opener knows an address that is of no use, and the other node knows a good one."""
    network = FakeNetwork()
    async with pair(network) as (a, b):
        network.refusing.add(place("a"))
        network_of(a).addresses_of = lambda node_id: [parse_address(place(node_id))]  # type: ignore[method-assign]
        async with b.open_stream("a", f"{MODULE}:echoes") as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        assert network.dialled == {place("a"): 2, place("b"): 1}


async def test_several_addresses_are_tried(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        addresses = [parse_address(name) for name in ("unix:/nobody", place("b"), place("a"))]
        network_of(b).addresses_of = lambda node_id: addresses  # type: ignore[method-assign]
        async with b.open_stream("a", f"{MODULE}:echoes") as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        # b itself was among them, and did not take itself for a.
        assert network.dialled == {place("a"): 2, place("b"): 1, "unix:/nobody": 1}
        await until(lambda: nothing_is_left(a, b))


async def test_a_node_that_is_not_connected_yet_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def use() -> None:
            async with b.open_stream("a", f"{MODULE}:echoes") as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"
            nursery.cancel_scope.cancel()

        await trio.sleep(10)
        async with open_test_node(network, "a", spawn_modules=[MODULE]):
            await trio.sleep_forever()


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, text",
    [
        (f"{MODULE}:missing", "has no missing on a"),
        (f"{MODULE}:not_spawnable", "is not @spawnable on a"),
        (f"{MODULE}:is_not_async", "is not async"),
        ("network_helpers:installs_a_handler", "is not one of the spawn_modules of a"),
    ],
)
async def test_a_function_that_may_not_be_had(
    autojump_clock: trio.testing.MockClock, function: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(FakeNetwork()) as (a, b):
        for node in (b, a):
            if node is a and "spawn_modules" in text:
                # To the own node any function of an imported module may be given.
                continue
            with pytest.raises(PortDied, match=text) as caught:
                async with node.open_stream("a", function):
                    pytest.fail("it was opened")
            assert caught.value.reason[0] == "spawn_failed"
        await until(lambda: nothing_is_left(a, b))
        assert any(text in line for line in warnings_in(caplog))


async def test_mistakes_of_the_caller(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (a, b):
        mistakes: list[tuple[type[Exception], str, tuple[Any, ...]]] = [
            (ValueError, "expected the name of a function", ("a", "no function")),
            (TypeError, "expected the name of a function", ("a", 7)),
            (ValueError, "expected a port ID", ("no node", "m:f")),
            (TypeError, r"arguments\[1\]", ("a", "m:f", 1, {1})),
        ]
        for error, text, arguments in mistakes:
            with pytest.raises(error, match=text):
                async with b.open_stream(*arguments):
                    pytest.fail("it was opened")
        assert nothing_is_left(a, b)
    with pytest.raises(trio.ClosedResourceError):
        async with b.open_stream("a", f"{MODULE}:echoes"):
            pytest.fail("it was opened")
    async with open_node("c") as alone:
        with pytest.raises(RuntimeError, match="has no network"):
            async with alone.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")


async def test_streams_count_as_ports_that_were_spawned(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork(), port_limit=2) as (a, b):
        async with open_ends(b, "a") as ends:
            await ends.make()
            await ends.make()
            with pytest.raises(PortDied, match="b has 2 ports on this node, the limit"):
                await ends.make()
        for port in tuple(a._lifecycle.ports.values()):
            port.kill()
        await until(lambda: nothing_is_left(a, b))
        async with open_ends(b, "a") as ends:
            await ends.make()


@either_opens
async def test_if_neither_can_dial_the_other_the_error_says_what_was_tried(
    autojump_clock: trio.testing.MockClock, opener: str
) -> None:
    network = FakeNetwork()
    async with pair(network) as nodes:
        here, there = nodes if opener == "a" else nodes[::-1]
        network.refusing.add(place("a"))
        with pytest.raises(OSError, match=f"no byte stream with {there.id}") as caught:
            async with here.open_stream(there.id, f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        refused, unknown = f"{place('a')}: nobody listens on {place('a')}", "no address of that node is known"
        ours, theirs = (unknown, refused) if opener == "a" else (refused, unknown)
        assert f"dialled from here: {ours}; from there: {theirs}" in str(caught.value)
        await until(lambda: nothing_is_left(here, there))


async def test_it_does_not_take_longer_than_a_handshake_may(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        network.dialling = 1000
        start = trio.current_time()
        with pytest.raises(OSError, match="no answer within 5"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        assert trio.current_time() - start < 10.1
        await until(lambda: nothing_is_left(a, b))


async def test_a_stream_is_not_there_in_time_because_the_process_stood_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    settings: dict[str, Any] = {"spawn_modules": [MODULE], "handshake_timeout": 1.0}
    async with open_test_node(network, "a", **settings), open_test_node(network, "b", seeds=["a"], **settings) as b:
        await until(lambda: b.peers)
        look_up = b._streams.look_up

        async def slow(node_id: str) -> tuple[Address, ...]:
            found = await look_up(node_id)
            autojump_clock.jump(1.1)
            return found

        b._streams.look_up = slow
        with pytest.raises(OSError, match="no byte stream with a"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")


async def test_a_handshake_that_gets_stuck_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        network.prepare = lambda wire: wire.stall()
        start = trio.current_time()
        with pytest.raises(OSError, match="no byte stream with a"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        assert trio.current_time() - start < 10.1
        await until(lambda: nothing_is_left(a, b) and len(network.live) == 1)


async def test_the_node_is_lost_while_the_stream_is_opened(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b), trio.open_nursery() as nursery:
        network.dialling = 3

        @nursery.start_soon
        async def cut() -> None:
            await trio.sleep(1)
            network.refusing.add(place("a"))
            network.wires[0].reset()

        start = trio.current_time()
        with pytest.raises(PortDied) as caught:
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        assert caught.value.reason[:2] == ("transport_error", "a")
        assert trio.current_time() - start == pytest.approx(1, abs=0.1)
        network.refusing.clear()
        await until(lambda: nothing_is_left(a, b))


async def test_a_node_that_is_never_reached(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"]) as b:
        with pytest.raises(PortDied, match="no connection within 30 s"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")


@pytest.mark.parametrize("after", [0.0, 1.0, 3.0, 3.5])
async def test_cancelled_while_opening_it_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock, after: float
) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b):
        network.dialling = 3
        network.prepare = lambda wire: setattr(wire.there, "delay", 1.0)
        with trio.move_on_after(after) as scope:
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        assert scope.cancelled_caught
        # And does so soon: not only when the other node is tired of waiting.
        await until(lambda: nothing_is_left(a, b) and len(network.live) == 1, 3)


async def test_cancelled_before_a_local_one_has_begun() -> None:
    async with open_node("a", spawn_modules=[MODULE]) as a:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with a.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        await trio.testing.wait_all_tasks_blocked()
        assert not a._lifecycle.ports


# How it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [True, False], ids=["here", "there"])
async def test_a_function_that_raises_breaks_the_stream(
    autojump_clock: trio.testing.MockClock, local: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(FakeNetwork()) as (a, b):
        node = a if local else b
        async with node.open_stream("a", f"{MODULE}:fails", 10) as stream:
            await trio.sleep(1)
            assert await receive_until_broken(stream, "the port there has died: die: ValueError: as asked") == b"x" * 10
        assert any("the function of a byte stream failed" in line for line in warnings_in(caplog, logging.ERROR))
        async with node.open_stream("a", f"{MODULE}:ends_and_fails") as stream:
            await trio.sleep(1)
            # What was really ended has ended, whatever came later.
            assert await receive_all(stream) == b"all"


@pytest.mark.parametrize("local", [True, False], ids=["here", "there"])
@pytest.mark.parametrize("how", ["exception", "cancellation"])
async def test_a_block_that_is_left_otherwise_breaks_the_stream(
    autojump_clock: trio.testing.MockClock, local: bool, how: str
) -> None:
    async with pair(FakeNetwork()) as (a, b):
        node = a if local else b
        inbox = Inbox(node)

        async def leave() -> None:
            async with node.open_stream("a", f"{MODULE}:counts", inbox.port) as stream:
                await stream.send_all(b"x" * 1000)
                if how == "exception":
                    raise KeyError("not well")
                await trio.sleep_forever()

        if how == "exception":
            with pytest.raises(KeyError, match="not well"):
                await leave()
        else:
            with trio.move_on_after(1):
                await leave()
        [(what, _)] = await inbox.wait(1)
        assert what == "broken"


async def test_leaving_the_block_ends_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (_, b):
        inbox = Inbox(b)
        async with b.open_stream("a", f"{MODULE}:counts", inbox.port) as stream:
            await stream.send_all(b"x" * 1000)
        assert await inbox.wait(1) == [("ended", 1000)]


async def test_killing_the_port_breaks_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with pair(FakeNetwork()) as (a, b), b.open_stream("a", f"{MODULE}:sends_and_waits", 10) as stream:
        assert await stream.receive_some() == b"x" * 10
        (port,) = a._lifecycle.ports.values()
        port.kill("why", "not")
        await trio.sleep(1)
        await receive_until_broken(stream, "the port there has died: why: not")


@pytest.mark.parametrize("encryption", [True, False])
async def test_a_node_that_is_gone_without_a_word(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    network = FakeNetwork()
    async with pair(network, encryption=encryption) as (_, b), open_ends(b, "a") as ends:
        ours, theirs = await ends.make()
        await ours.send_all(b"x")
        await theirs.send_all(b"y")
        await trio.sleep(1)
        network.refusing.add(place("a"))
        for wire in network.wires:
            wire.cut()
        start = trio.current_time()
        assert await receive_until_broken(ours, "nothing was heard from the other side") == b"y"
        assert await receive_until_broken(theirs, "nothing was heard from the other side") == b"x"
        # Three heartbeats, one more until that is judged, half of one for the check, and the grace.
        assert trio.current_time() - start < 3 * 5 + 5 + 2.5 + 5


async def test_a_stream_outlives_the_connection_of_messages(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (_, b), b.open_stream("a", f"{MODULE}:echoes") as stream:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        network.wires[0].reset()
        for _ in range(10):
            await trio.sleep(2)
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"


async def test_what_a_node_has_sent_and_ended_is_not_lost_when_it_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b:
        async with open_test_node(network, "a", spawn_modules=[MODULE]):
            await until(lambda: b.peers)
            stack = b.open_stream("a", f"{MODULE}:sends", 10_000)
            stream = await stack.__aenter__()
            await until(lambda: network.live[1].back.ended)
        await trio.sleep(1)
        assert not b.peers
        assert await receive_all(stream) == b"x" * 10_000
        await stack.__aexit__(None, None, None)


@either_opens
async def test_the_other_node_closes(autojump_clock: trio.testing.MockClock, opener: str) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"], spawn_modules=[MODULE]) as b:
        async with open_test_node(network, "a", spawn_modules=[MODULE]) as a:
            await until(lambda: b.peers and a.peers)
            ends = open_ends(*((a, "b") if opener == "a" else (b, "a")))
            made = await ends.__aenter__()
            ours, theirs = await made.make()
            here, there = (ours, theirs) if opener == "b" else (theirs, ours)
            await there.send_all(b"x")
        # Within the shutdown_timeout, though the stream was in use.
        assert trio.current_time() < 6
        assert await receive_until_broken(here) == b"x"
        with pytest.raises(trio.ClosedResourceError):
            await there.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await there.receive_some()
        await ends.__aexit__(None, None, None)


# Who may bring what ----------------------------------------------------------------------------------------------


async def expecting(network: FakeNetwork, a: Node, opener: RawPeer, function: str = "echoes") -> str:
    """Have the node expect a stream of this peer; its token."""
    token = "tokentokentoken0"
    name = opener.name_to_spawn(1)
    from_peer: list[Any] = ["", "stream", name, token, f"{MODULE}:{function}"]
    opener.session.send(frame_of(from_peer))
    while not any(message[1:2] == ("stream_ready",) for message in opener.messages):
        await opener.step()
    return token


def frame_of(*messages: list[Any]) -> bytearray:
    data = codec.open_frame()
    for name, *rest in messages:
        codec.append_message(data, name, tuple(rest))
    codec.close_frame(data, len(messages))
    return data


def bring(network: FakeNetwork, token: str, node_id: str = "Z", **settings: Any) -> RawPeer:
    """A peer that brings a stream to node a."""
    peer = RawPeer(network.connect(place("a")).dialler, node_id, **settings)
    peer.session.want_stream(token)
    return peer


async def refusal_of(peer: RawPeer) -> str:
    while peer.refused is None and not peer.ended:
        await peer.step()
    return peer.refused or "closed"


async def test_only_the_node_that_has_asked_may_bring_a_stream_and_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[MODULE]) as a:
        # "Z" is smaller than "a", which decides.
        opener = RawPeer(network.connect(place("a")).dialler, "Z")
        await opener.adopt()
        token = await expecting(network, a, opener)
        ours = opener.incarnation
        peers: list[RawPeer] = []
        for node_id, incarnation, said in [
            ("Z", ours, "tokentokentoken1"),
            ("Y", ours, token),
            ("Z", "anotherrunofit00", token),
        ]:
            peers.append(bring(network, said, node_id, incarnation=incarnation))
            assert await refusal_of(peers[-1]) == "no such stream"
        stranger = bring(network, token, incarnation=ours, secret="another secret, but long enough")
        assert await refusal_of(stranger) == "closed"
        for peer in peers:
            peer.pipe.close()
        await until(lambda: sum("for which nobody waits" in line for line in warnings_in(caplog)) == 3)
        # None of that has used it up.
        good = bring(network, token, incarnation=ours)
        await good.reach(LinkReceived)
        again = bring(network, token, incarnation=ours)
        assert await refusal_of(again) == "no such stream"
        good.session.accept()
        good.session.send(b"\0\0\0\3abc\0\0\0\0")
        await good.flush()
        await good.step()
        assert good.session.hand_over()[1] == b"\0\0\0\3abc"
        assert a.peers == ("Z",)


async def test_an_invented_stream_is_refused_and_a_flood_of_them_is_logged_now_and_then(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a"):
        for _ in range(60):
            assert await refusal_of(bring(network, "tokentokentoken0")) == "no such stream"
        assert len(warnings_in(caplog)) < 30


async def test_a_stream_that_was_given_up_is_not_expected_any_more(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[MODULE]) as a:
        opener = RawPeer(network.connect(place("a")).dialler, "Z")
        await opener.adopt()
        token = await expecting(network, a, opener)
        await trio.sleep(10.1)
        assert await refusal_of(bring(network, token, incarnation=opener.incarnation)) == "no such stream"
        assert nothing_is_left(a)


async def test_a_peer_that_says_about_streams_what_it_likes(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", spawn_modules=[MODULE]) as a:
        opener = RawPeer(network.connect(place("a")).dialler, "Z")
        await opener.adopt()
        await expecting(network, a, opener)
        other = RawPeer(network.connect(place("a")).dialler, "Y")
        await other.adopt()
        name = opener.name_to_spawn(1)
        for peer in (other, opener):
            unknown = name[:-1] + "7"
            peer.session.send(
                frame_of(["", "stream_ready", name], ["", "stream_ready", unknown], ["", "stream_dial", unknown])
            )
            await peer.flush()
        other.session.send(frame_of(["", "stream_dial", name]))
        await other.flush()
        await trio.sleep(1)
        assert len(a._streams._pending._pending) == 1
        # The one that has asked: it is dialled in vain, for it has no address.
        opener.session.send(frame_of(["", "mon1", name], ["", "stream_dial", name], ["", "stream_dial", name]))
        await opener.flush()
        while not any(message[1:2] == ("kil0",) for message in opener.messages):
            await opener.step()
        assert ("", "kil0", name, "stream_failed", "no address of that node is known") in opener.messages
        assert nothing_is_left(a)


async def test_who_is_dialled_for_a_stream_must_be_the_one_it_was_agreed_on_with(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with pair(network) as (a, b), open_test_node(network, "c", spawn_modules=[MODULE]) as c:
        address = parse_address(place("c"))
        network_of(b).addresses_of = lambda node_id: [address]  # type: ignore[method-assign]
        with pytest.raises(OSError, match="expected a, got c"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        # Nothing was proven to it.
        assert b"hmac_sha256;" not in bytes(network.wires[-1].there.sent).split(b"\n", 2)[2]
        await until(lambda: nothing_is_left(a, b, c))


async def test_who_is_dialled_for_a_stream_must_be_the_run_it_was_agreed_on_with(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that has restarted, or a second process with its ID, knows nothing of the stream."""
    network = FakeNetwork()
    elsewhere = "unix:/fake/elsewhere"
    second = open_test_node(network, "a", binds=[elsewhere], spawn_modules=[MODULE])
    async with pair(network) as (a, b), second as other:
        network_of(b).addresses_of = lambda node_id: [parse_address(elsewhere)]  # type: ignore[method-assign]
        with pytest.raises(OSError, match="expected the run of a that agreed on the stream, got another one"):
            async with b.open_stream("a", f"{MODULE}:echoes"):
                pytest.fail("it was opened")
        assert b"hmac_sha256;" not in bytes(network.wires[-1].there.sent).split(b"\n", 2)[2]
        await until(lambda: nothing_is_left(a, b, other))


async def test_what_is_said_for_a_stream_on_the_wire(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with pair(network) as (_, b):
        async with b.open_stream("a", f"{MODULE}:echoes") as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        await until(lambda: len(network.live) == 1)
        [request] = [message for message in requests_in(network.wires[0].there.sent) if message[1:2] == ("stream",)]
        [ready] = [message for message in requests_in(network.wires[0].back.sent) if message[1:2] == ("stream_ready",)]
        _, _, name, token, *rest = request
        assert rest == [f"{MODULE}:echoes"]
        assert ready == ("", "stream_ready", name)
        there, back = bytes(network.wires[1].there.sent), bytes(network.wires[1].back.sent)
        assert there.split(b"\n")[0].endswith(f";stream={token}".encode())
        assert there.endswith(b"\nok\n\0\0\0\1x\0\0\0\0")
        assert b"stream=" not in back
        assert back.endswith(b"\nlink\n\0\0\0\1x\0\0\0\0")
