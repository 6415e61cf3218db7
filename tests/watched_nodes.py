"""Nodes in a network in memory, watched by the oracle of the promise, and what tests ask and hear of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from fake_network import place
from network_watch import watched

from trio_mp import Node
from trio_mp._peers.network import Network
from trio_mp._peers.peer import Peer
from trio_mp._settings.environment import Environment
from trio_mp._transport.pipe import Transport
from trio_mp.lowlevel import open_node_in

SECRET = "a secret for the tests"

T = TypeVar("T")


async def at_once(function: Callable[[], T]) -> T:
    """Run a function that blocks here and now: while a thread runs, a clock that jumps would jump."""
    await trio.lowlevel.checkpoint()
    return function()


def open_test_node(
    network: Transport,
    node_id: str,
    *,
    seeds: Iterable[str] = (),
    listen: bool = True,
    fairness_clock: Callable[[], float] | None = None,
    **settings: Any,
) -> AbstractAsyncContextManager[Node]:
    """A node that listens at `place(node_id)`, has the nodes of those IDs as seeds, and no encryption by default.

    All nodes of one network are watched by one oracle; see `network_watch`.
    """
    if "secret_file" not in settings:
        settings.setdefault("secret", SECRET)
    settings.setdefault("encryption", False)
    settings.setdefault("binds", (place(node_id),) if listen else ())
    settings["seeds"] = tuple(seed if ":" in seed else place(seed) for seed in seeds)
    environment = Environment(transport=network, jitter=lambda: 0.5, in_thread=at_once)
    if fairness_clock is not None:
        environment = dataclasses.replace(environment, fairness_clock=fairness_clock)
    return watched(network, open_node_in(environment, node_id, **settings))


@asynccontextmanager
async def open_pair(
    network: Transport, first: str = "a", second: str = "b", **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes with a connection; the second has the first as its seed. The greater ID decides."""
    async with (
        open_test_node(network, first, **settings) as one,
        open_test_node(network, second, seeds=[first], **settings) as two,
    ):
        await until(lambda: one.peers == (second,) and two.peers == (first,))
        yield one, two


async def until(condition: Callable[[], object], seconds: float = 1000.0) -> None:
    """Wait, by Trio's clock, until something is true. For tests with a clock that jumps."""
    end = trio.current_time() + seconds
    while not condition():
        assert trio.current_time() < end, "it never came true"
        await trio.sleep(0.005)


def network_of(node: Node) -> Network:
    network = node._runtime.network
    assert network is not None
    return network


def peer_of(node: Node, node_id: str) -> Peer:
    """What a node keeps about another."""
    return network_of(node).peers[node_id]


class Inbox:
    """A port that keeps what it gets.

    Attributes:
      messages: in the order of their arrival.
    """

    def __init__(self, node: Node) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.port = node.port(self._take)
        self._changed = trio.lowlevel.ParkingLot()

    def _take(self, *message: Any) -> None:
        self.messages.append(message)
        self._changed.unpark_all()

    async def wait(self, count: int) -> list[tuple[Any, ...]]:
        """Wait until so many have come."""
        while len(self.messages) < count:
            await self._changed.park()
        return self.messages


class Notices:
    """A monitor's callback that keeps the reasons it is called with."""

    def __init__(self) -> None:
        self.reasons: list[tuple[Any, ...]] = []
        self._changed = trio.lowlevel.ParkingLot()

    def __call__(self, *reason: Any) -> None:
        self.reasons.append(reason)
        self._changed.unpark_all()

    async def wait(self) -> tuple[Any, ...]:
        while not self.reasons:
            await self._changed.park()
        return self.reasons[0]


def warnings_in(caplog: pytest.LogCaptureFixture, minimum: int = logging.WARNING) -> list[str]:
    """What this package logged at this level or above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.split(".")[0] == "trio_mp" and record.levelno >= minimum
    ]
