"""All orders in which a small network can form: every interleaving of dialling, delivering, losing and closing.

The network, and what the runtime does in it, are those of `membership_model`; `test_membership` tries larger ones.
"""

from __future__ import annotations

import pytest
from directory_model import DirectoryNetwork
from membership_explorer import explore
from membership_model import Network

from trio_mp._protocol.membership import written

pytestmark = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "seeds, budget",
    [
        pytest.param({"a": "", "b": "a"}, 3, id="a seed, a node, and three accidents"),
        pytest.param({"a": "b", "b": "a"}, 2, id="two seeds that name each other, and two accidents"),
        pytest.param({"a": "a", "b": "a"}, 2, id="its own seed, a node, and two accidents"),
        pytest.param({"a": "", "b": "a", "c": "a"}, 1, id="a seed, two nodes, and an accident"),
        pytest.param({"a": "", "b": "", "c": "ab"}, 0, id="two seeds that only a third node knows"),
        pytest.param({"a": "b", "b": "a", "c": "ab"}, 0, id="two seeds that name each other, and a node"),
    ],
)
def test_a_network_forms_in_every_order(seeds: dict[str, str], budget: int) -> None:
    network = Network()
    for node_id, named in seeds.items():
        network.start(node_id, frozenset(named))
    states = explore(network, budget)
    print(f"{states:,} states")
    # One in which nothing happens would be as it should, too.
    assert states > 50


@pytest.mark.parametrize(
    "names, enough, budget, draining",
    [
        pytest.param("ab", 3, 1, "", id="two nodes that all write themselves, and an accident"),
        pytest.param("ab", 1, 2, "", id="two nodes of which one is enough, and two accidents"),
        pytest.param("abc", 1, 0, "", id="three nodes of which one is enough"),
        pytest.param("ab", 3, 1, "a", id="two nodes of which one drains, and an accident"),
        pytest.param("ab", 3, 0, "ab", id="two nodes that drain"),
        pytest.param("ab", 1, 1, "ab", id="two nodes of which one is enough, which drain, and an accident"),
        pytest.param("abc", 1, 0, "a", id="three nodes of which one is enough, and one drains"),
    ],
)
def test_nodes_that_only_know_a_directory_find_each_other_in_every_order(
    monkeypatch: pytest.MonkeyPatch, names: str, enough: int, budget: int, draining: str
) -> None:
    monkeypatch.setattr(written, "ENOUGH", enough)
    network = DirectoryNetwork()
    for name in names:
        network.start_unwritten(name, may_drain=name in draining)
    states = explore(network, budget)
    print(f"{states:,} states")
    assert states > 50
