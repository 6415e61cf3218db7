"""An interrupt at any place of what a program's own task runs leaves the node as it should be."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest
import trio
from network_helpers import FakeNetwork, open_pair, peer_of
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import open_node
from trio_mp._peers.peer import Peer
from trio_mp._ports.backlog import Backlog
from trio_mp._ports.mailbox import Mailbox, Receiver
from trio_mp._ports.port import Port

RECEIVING = (Port.receive, Receiver.receive, Mailbox._wait, Backlog.pop_first)


class Interrupts:
    """Interrupts this process at the so-manieth place of some functions; `came` says whether there is such a place."""

    def __init__(self, place: int, functions: tuple[Callable[..., Any], ...]) -> None:
        self.came = False
        self._left = place
        self._codes: set[CodeType] = {function.__code__ for function in functions}

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._stepped if frame.f_code in self._codes else None

    def _stepped(self, frame: FrameType, event: str, argument: object) -> Any:
        self._left -= 1
        if not self._left:
            self.came = True
            signal.raise_signal(signal.SIGINT)
        return self._stepped

    @contextmanager
    def armed(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)


def run(main: Callable[[], Any]) -> None:
    # Who was started in the background ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("waits", [False, True])
def test_an_interrupt_while_a_message_is_received_loses_none_and_wakes_nobody_later(waits: bool) -> None:
    async def main() -> None:
        async with open_node() as node, node.open_port() as port:
            if waits:
                node.send_after(1, port, 0)
            else:
                node.send(port, 0)
                await wait_all_tasks_blocked()
            received: list[int] = []
            interrupted = False
            try:
                with interrupts.armed():
                    received += await port.receive()
                await trio.lowlevel.checkpoint()
            except KeyboardInterrupt:
                interrupted = True
            # Another wait: it is not the message that may end it.
            await trio.sleep(2)
            node.send(port, 1)
            while 1 not in received:
                received += await port.receive()
            assert received == [0, 1]
            assert interrupted == interrupts.came

    place = 0
    interrupts = Interrupts(0, RECEIVING)
    while not place or interrupts.came:
        place += 1
        interrupts = Interrupts(place, RECEIVING)
        run(main)
    assert place > 10


def test_an_interrupt_of_a_flush_leaves_nothing_unwritten() -> None:
    async def main() -> None:
        async with open_pair(FakeNetwork()) as (one, two):
            inbox: list[int] = []
            port = str(two.port(inbox.append))
            one.send(port, 1)
            await wait_all_tasks_blocked()
            one.send(port, 2)
            interrupted = False
            try:
                with interrupts.armed():
                    peer_of(one, "b").flush()
                await trio.lowlevel.checkpoint()
            except KeyboardInterrupt:
                interrupted = True
            await wait_all_tasks_blocked()
            assert inbox == [1, 2]
            assert interrupted == interrupts.came

    place = 0
    interrupts = Interrupts(0, (Peer.flush,))
    while not place or interrupts.came:
        place += 1
        interrupts = Interrupts(place, (Peer.flush,))
        run(main)
    assert place > 3
