"""A node that is closing, and a seed that can be reached again meanwhile."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_test_node, place


@pytest.mark.parametrize("closing", ["a", "z"])
async def test_a_connection_that_comes_up_while_closing_is_closed_again_at_once(
    autojump_clock: trio.testing.MockClock, closing: str
) -> None:
    """Or the other side believes the node to be up, while every port that it has made there is not."""
    network = FakeNetwork()
    network.refusing.add(place("m"))
    reasons: list[str] = []

    async def supervise() -> None:
        while len(reasons) < 1000:
            reason = await other.wait_death(other.spawn(closing, "network_helpers:installs_a_handler"))
            reasons.append(str(reason[0]))

    async def let_in() -> None:
        await trio.sleep(1)
        network.refusing.clear()

    async with open_test_node(network, "m") as other, trio.open_nursery() as nursery:
        async with open_test_node(network, closing, seeds=["m"]) as node:
            await trio.sleep(1)
            nursery.start_soon(supervise)
            # Closing takes its time: this waits for a connection that does not come.
            node.send("gone#ABCDEFGHIJKLMNOP.1", "hello")
            nursery.start_soon(let_in)
            start = trio.current_time()
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
        nursery.cancel_scope.cancel()
    assert len(reasons) < 5
