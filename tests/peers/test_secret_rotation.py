"""Several secrets at once: the first proves, each is accepted, so a secret can be replaced node by node."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, open_test_node, warnings_in

OLD, NEW, OTHER = "the secret of last year", "the secret of this year", "the secret of somebody"
STEPS = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
"""What one node is given, one restart after the other; each of them can talk to its neighbours in this list."""


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "seed, dialler", [(STEPS[i], STEPS[j]) for i, j in itertools.product(range(4), repeat=2) if abs(i - j) <= 1]
)
async def test_neighbouring_steps_of_a_rotation_talk(
    autojump_clock: trio.testing.MockClock, seed: tuple[str, ...], dialler: tuple[str, ...], encryption: bool
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", secret=seed, encryption=encryption) as a,
        open_test_node(network, "b", seeds=["a"], secret=dialler, encryption=encryption) as b,
    ):
        inbox, back = Inbox(a), Inbox(b)
        b.send(inbox.port, "there")
        await inbox.wait(1)
        a.send(back.port, "back")
        await back.wait(1)


@pytest.mark.parametrize("seed, dialler", [((OLD,), (NEW,)), ((OLD, OTHER), (NEW,)), ((NEW,), (OLD, OTHER))])
async def test_without_a_secret_in_common_nobody_talks(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    seed: tuple[str, ...],
    dialler: tuple[str, ...],
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", secret=seed) as a,
        open_test_node(network, "b", seeds=["a"], secret=dialler, connect_timeout=20) as b,
    ):
        port = a.port()
        reason = await b.wait_death(port)
        assert reason[0] == "transport_error"
        assert not a.peers
        assert not b.peers
        assert any("the other side has another secret than ours" in line for line in warnings_in(caplog))
        assert any("is the secret the same on both sides?" in line for line in warnings_in(caplog))


async def test_a_secret_is_replaced_without_anybody_being_left_out(autojump_clock: trio.testing.MockClock) -> None:
    """Three nodes, restarted one after the other for each step: at every moment all that are up can talk."""
    network = FakeNetwork()
    names = ["a", "b", "c"]
    stages = dict.fromkeys(names, 0)
    for stage in range(1, len(STEPS)):
        for name in names:
            stages[name] = stage
            async with (
                open_test_node(network, "a", secret=STEPS[stages["a"]]) as a,
                open_test_node(network, "b", seeds=["a"], secret=STEPS[stages["b"]]) as b,
                open_test_node(network, "c", seeds=["a", "b"], secret=STEPS[stages["c"]]) as c,
            ):
                for one, other in itertools.permutations((a, b, c), 2):
                    assert await one.call(other.id, "info") == (other.id,)
