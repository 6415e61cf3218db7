"""Test programs on a simulated network: many nodes in one process, virtual time, and every fault of a network::

    async def scenario(network):
        async with network.open_node("a") as a:
            network.start("b", program, seeds=["a"])
            await trio.sleep(1)
            network.crash("b")
            ...

    @pytest.mark.parametrize("seed", range(100))
    def test_it(seed):
        simulate(scenario, seed=seed)

The same seed gives the same run. `Oracle` checks the promise while the simulation runs, and `python -m trio_mp.testing
hammer` tries it with many seeds.
"""

from __future__ import annotations

from ._bounds import Bounds as Bounds, Cause as Cause
from ._network import (
    Program as Program,
    SimulatedNetwork as SimulatedNetwork,
    address_of as address_of,
    open_simulated_network as open_simulated_network,
    simulate as simulate,
)
from ._oracle import Oracle as Oracle
from ._rules import PromiseBroken as PromiseBroken, Rule as Rule
from ._streams import MonitorLike as MonitorLike
from ._trace import Trace as Trace
from ._wire import Link as Link
from ._witness import Witness as Witness

__all__ = [
    "Bounds",
    "Cause",
    "Link",
    "MonitorLike",
    "Oracle",
    "Program",
    "PromiseBroken",
    "Rule",
    "SimulatedNetwork",
    "Trace",
    "Witness",
    "address_of",
    "open_simulated_network",
    "simulate",
]
