"""Acts of an operator: who may act, what is done, and that the node logs each of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Notices, open_pair, warnings_in

from trio_mp import CallError, Inspector, Port


async def waits_in_a_nursery(port: Port) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_for_ever)
        await waits_for_ever()


async def waits_for_ever() -> None:
    await trio.sleep_forever()


ACTS: dict[str, Callable[[Inspector], Awaitable[object]]] = {
    "kill": lambda inspector: inspector.kill(1, "enough"),
    "stacks": lambda inspector: inspector.stacks(1),
    "stacks of all": lambda inspector: inspector.tasks(stacks=True),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_who_may_only_read_cannot_act(
    act: Callable[[Inspector], Awaitable[object]], autojump_clock: trio.testing.MockClock, caplog: Any
) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        port = b.start_port(waits_for_ever_with)
        assert (await a.inspect("b").ports()).ports[0].number == 1
        for _ in range(3):
            with pytest.raises(CallError, match=r"needs inspect='act' on b, whose .* `inspect` is 'read'") as raised:
                await act(a.inspect("b"))
            assert raised.value.type_name == "refused"
        assert port.alive
        (warning,) = warnings_in(caplog)
        assert warning.startswith("an inspection by a is refused: ")


async def waits_for_ever_with(port: Port) -> None:
    await waits_for_ever()


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_each_act_is_logged_with_the_node_of_the_operator(
    act: Callable[[Inspector], Awaitable[object]], autojump_clock: trio.testing.MockClock, caplog: Any
) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        ports = [b.start_port(waits_in_a_nursery) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        await a.inspect("b").ports(by="age")
        caplog.clear()
        await act(a.inspect("b"))
        (record,) = [record for record in caplog.records if record.name == "trio_mp.inspect"]
        assert record.levelno == logging.WARNING
        assert record.getMessage().startswith(("a kills the port 1, b#", "a looks at the stacks of "))
        if "the port 1" in record.getMessage():
            assert ports[0] in record.getMessage()


async def test_an_operator_kills_a_port_by_its_number(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        notices, port = Notices(), b.start_port(waits_in_a_nursery)
        b.monitor(port, notices)
        inspector = a.inspect("b")
        (view,) = (await inspector.ports()).ports
        assert view.id == port
        await inspector.kill(view.number, "enough", 3)
        assert not port.alive
        assert await notices.wait() == ("enough", 3)
        with pytest.raises(CallError) as raised:
            await inspector.kill(view.number)
        assert raised.value.type_name == "gone"
        for number, error in ((0, ValueError), (2**63, ValueError), ("1", TypeError), (True, TypeError)):
            with pytest.raises(error):
                await inspector.kill(number)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"reason\[0\]"):
            await inspector.kill(1, object())
        with pytest.raises(ValueError, match="expected a reason of at most 1000 values"):
            await inspector.kill(1, ["x"] * 1000)


async def test_stacks_show_where_tasks_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        b.start_port(waits_in_a_nursery)
        b.port(print)
        await trio.testing.wait_all_tasks_blocked()
        inspector = a.inspect("b")
        await inspector.ports(by="age")
        stacks = await inspector.stacks(1)
        assert stacks.count("most recent call last") == 2
        assert "nursery.start_soon" not in stacks
        assert stacks.count("await trio.sleep_forever()") == 2
        assert await inspector.stacks(2) == ""
        tree = await inspector.tasks(stacks=True)
        (task,) = [task for task in tree.children if task.port == 1]
        assert "in waits_in_a_nursery" in (task.stack or "")
        (child,) = task.children
        assert child.name == f"{__name__}:waits_for_ever"
        assert "await trio.sleep_forever()" in (child.stack or "")
