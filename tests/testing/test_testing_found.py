"""What the simulated network has found in the product, each reduced to a small test."""

from __future__ import annotations

import trio

from trio_mp import Monitor
from trio_mp.testing import SimulatedNetwork, simulate


def test_a_monitor_set_anew_while_the_node_closes_fires_or_is_refused() -> None:
    """Found by seed 0 of the hammer: nothing fired it, nobody was told."""

    async def scenario(network: SimulatedNetwork) -> None:
        monitors: list[Monitor] = []
        refused: list[Exception] = []

        async with network.open_node("b") as b:
            port = b.port(print)
            async with network.open_node("a", seeds=["b"]) as a:

                def fired(*_: object) -> None:
                    if len(monitors) < 10:
                        try:
                            monitors.append(a.monitor(str(port), fired))
                        except trio.ClosedResourceError as error:
                            refused.append(error)

                monitors.append(a.monitor(str(port), fired))
                await trio.sleep(1)
        assert all(monitor.reason is not None for monitor in monitors)

    simulate(scenario)


def test_a_monitor_of_the_node_itself_set_anew_while_it_closes_fires_or_is_refused() -> None:
    """As the one above; found by looking at its mend."""

    async def scenario(network: SimulatedNetwork) -> None:
        monitors: list[Monitor] = []
        refused: list[Exception] = []

        async with network.open_node("a") as a:

            def fired(*_: object) -> None:
                try:
                    monitors.append(a.monitor("a", fired))
                except trio.ClosedResourceError as error:
                    refused.append(error)

            monitors.append(a.monitor("a", fired))
        assert all(monitor.reason is not None for monitor in monitors)

    simulate(scenario)
