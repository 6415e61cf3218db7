"""The oracle that watches the tests of the network: it sees what it says that it sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from explorer.variants import ForgetsTheMonitors, with_outbox
from network_helpers import FakeNetwork, Inbox, Notices, open_pair, peer_of, until
from network_watch import SEEN

from trio_mp import Node
from trio_mp._peers import peer as peer_module
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.outbox import Outbox
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp.testing import PromiseBroken, Rule


class Altered(OutgoingQueue):
    """Does something wrong with the second message that it is given for a port."""

    def append(self, name: str, message: tuple[object, ...], limit: int) -> bool:
        if name and message == (2,):
            return self.alter(name, limit)
        return super().append(name, message, limit)

    def alter(self, name: str, limit: int) -> bool:
        raise NotImplementedError


class Drops(Altered):
    def alter(self, name: str, limit: int) -> bool:
        return False


class Repeats(Altered):
    def alter(self, name: str, limit: int) -> bool:
        super(Altered, self).append(name, (2,), limit)
        return super(Altered, self).append(name, (2,), limit)


class Forges(Altered):
    def alter(self, name: str, limit: int) -> bool:
        return super(Altered, self).append(name, ("forged",), limit)


class HoldsBack(OutgoingQueue):
    """Lets the third message overtake the second."""

    def append(self, name: str, message: tuple[object, ...], limit: int) -> bool:
        if name and message == (2,):
            return False
        is_told = super().append(name, message, limit)
        return super().append(name, (2,), limit) or is_told if message == (3,) else is_told


def with_queue(kind: type[OutgoingQueue]) -> type[Association]:
    """An association whose queue is of this kind."""

    class Queued(Outbox):
        def __init__(self, peer_id: str, queue_limit: int, message_limit: int, **options: Any) -> None:
            super().__init__(peer_id, queue_limit, message_limit, **options)
            self.queue = kind(queue_limit)

    return with_outbox(Queued)


class HasNoLimit(Outbox):
    def overflows(self) -> bool:
        self.queue_limit = 1 << 40
        return super().overflows()


async def send_three(a: Node, b: Node) -> None:
    inbox = Inbox(a)
    b.monitor(inbox.port, lambda *_: None)
    for number in (1, 2, 3):
        b.send(inbox.port, number)
    await trio.sleep(1)


async def send_three_unmonitored(a: Node, b: Node) -> None:
    inbox = Inbox(a)
    for number in (1, 2, 3):
        b.send(inbox.port, number)
    await trio.sleep(1)


async def lose_the_connection(a: Node, b: Node) -> None:
    port = a.port()
    b.monitor(port, lambda *_: None)
    await b.flush(port)
    peer = peer_of(b, "a")
    peer.execute(peer.association.lose("it must be"))
    await trio.sleep(1)


async def queue_too_much(a: Node, b: Node) -> None:
    port = a.port(lambda *_: None)
    for _ in range(100):
        b.send(port, b"x" * 60_000)


async def lie_about_a_death(a: Node, b: Node) -> None:
    inbox = Inbox(a)
    b.monitor(inbox.port, lambda *_: None)
    b.send(inbox.port, 1)
    await inbox.wait(1)
    peer_of(a, "b").send("", ("kil0", inbox.port.partition("#")[2], "die", "not at all"))
    await trio.sleep(1)


async def fire_twice(a: Node, b: Node) -> None:
    told = Notices()
    port = a.port()
    fire: Any = b.monitor(port, told)._callback
    port.kill()
    await told.wait()
    fire("die", "again")


async def run(scenario: Callable[[Node, Node], Awaitable[None]]) -> None:
    async with open_pair(FakeNetwork(), queue_limit=2**19, message_limit=2**17) as (a, b):
        await scenario(a, b)


@pytest.mark.parametrize(
    "kind, scenario, rule",
    [
        (with_queue(Drops), send_three, Rule.HOLE),
        (with_queue(Repeats), send_three, Rule.ORDER),
        (with_queue(Forges), send_three, Rule.INVENTED),
        (with_queue(HoldsBack), send_three, Rule.HOLE),
        (with_queue(HoldsBack), send_three_unmonitored, Rule.ORDER),
        (ForgetsTheMonitors, lose_the_connection, Rule.SILENCE),
        (with_outbox(HasNoLimit), queue_too_much, Rule.MEMORY),
        (Association, lie_about_a_death, Rule.FALSE_DEATH),
        (Association, fire_twice, Rule.ONCE),
    ],
)
async def test_what_is_wrong_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    kind: type[Association],
    scenario: Callable[[Node, Node], Awaitable[None]],
    rule: Rule,
) -> None:
    monkeypatch.setattr(peer_module, "Association", kind)
    with pytest.raises(PromiseBroken) as info:
        await run(scenario)
    assert info.value.rule is rule, str(info.value)


async def test_equal_messages_are_followed_as_long_as_they_can_be_told_apart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = SEEN.copy()
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(a)
        for count in (1, 2, 3):
            b.send(inbox.port, "the same")
            await inbox.wait(count)
        assert (SEEN - before)["delivered"] == 3
        assert (SEEN - before)["streams not followed"] == 0
        b.send(inbox.port, "the same")
        b.send(inbox.port, "the same")
        await inbox.wait(5)
        assert (SEEN - before)["delivered"] == 3
        assert (SEEN - before)["streams not followed"] == 1


async def test_what_is_as_it_should_be_is_seen_too(autojump_clock: trio.testing.MockClock) -> None:
    before = SEEN.copy()
    async with open_pair(FakeNetwork()) as (a, b):
        told = Notices()
        inbox = Inbox(a)
        b.monitor(inbox.port, told)
        for number in range(10):
            b.send(inbox.port, number)
        await inbox.wait(10)
        inbox.port.kill("die", "enough")
        await until(lambda: told.reasons)
    seen = SEEN - before
    assert (seen["sent"], seen["delivered"], seen["fired"]) == (10, 10, 1)
