"""Whether a node is ready: what is said of it, in which order, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_mp._peers.standing import LONGEST, SHOWN, Standing


async def test_without_a_network_it_is_attached_at_once_and_ready_when_services_have_started() -> None:
    standing = Standing()
    assert standing.attached.is_set()
    assert standing.why_not_ready() == standing.status() == "services are starting"
    standing.start()
    assert standing.why_not_ready() == ""
    assert standing.status() == "without a network"


STEPS: list[tuple[Callable[[Standing], object], str, str]] = [
    (lambda one: one.attach("s"), "services are starting", "services are starting"),
    (lambda one: one.start(), "", "attached to s"),
    (lambda one: one.detach(), "looking for another global node", "looking for another global node"),
    (lambda one: one.attach("t"), "", "attached to t"),
    (lambda one: one.attach(""), "", "a global node"),
    (lambda one: one.begin_draining(), "draining", "draining"),
    (lambda one: one.attach("t"), "draining", "draining"),
    (lambda one: one.begin_closing(failed=False), "closing", "closing"),
    (lambda one: one.start(), "closing", "closing"),
]


async def test_what_is_said_at_each_step_and_the_observers_are_told_once_of_each_change() -> None:
    standing = Standing({})
    heard: list[str] = []
    standing.observers.append(lambda: heard.append(standing.status()))
    expected: list[str] = []
    for step, why_not, status in STEPS:
        before = standing.status()
        step(standing)
        assert standing.why_not_ready() == why_not
        assert standing.status() == status
        expected += [status] if status != before else []
    assert heard == expected
    assert standing.attached.is_set(), "it was attached once"


async def test_before_it_is_attached_it_says_what_is_wrong_at_each_seed() -> None:
    failures: dict[str, str] = {}
    standing = Standing(failures)
    standing.start()
    heard: list[str] = []
    standing.observers.append(lambda: heard.append(standing.status()))
    assert standing.why_not_ready() == "not attached: no seed has answered yet"
    failures["s:1"] = "Connection refused"
    failures["t:2"] = "no answer within 10 s"
    standing.detach()
    assert standing.why_not_ready() == "not attached: s:1: Connection refused; t:2: no answer within 10 s"
    assert heard == [standing.why_not_ready()]
    standing.attach("s")
    standing.detach()
    assert standing.why_not_ready().startswith("looking for another global node: s:1: Connection refused; t:2")


async def test_who_waits_to_be_attached_before_its_services_start_does_not_say_that_they_start() -> None:
    standing = Standing({"s:1": "Connection refused"})
    heard: list[str] = []
    standing.observers.append(lambda: heard.append(standing.status()))
    with standing.waits_to_attach():
        assert standing.why_not_ready() == standing.status() == "not attached: s:1: Connection refused"
        standing.attach("s")
        assert standing.why_not_ready() == standing.status() == "services are starting"
        standing.detach()
        assert standing.why_not_ready() == "services are starting"
    assert standing.why_not_ready() == "services are starting"
    standing.attach("s")
    standing.start()
    assert heard == ["not attached: s:1: Connection refused", "services are starting", "attached to s"]


async def test_what_a_drain_waits_for_is_part_of_the_status() -> None:
    standing = Standing()
    standing.start()
    standing.unfinished = lambda: "3 calls, 1 mailbox"
    standing.begin_draining()
    assert (standing.why_not_ready(), standing.status()) == ("draining", "draining: 3 calls, 1 mailbox")
    standing.drained = True
    assert standing.status() == "drained"
    assert standing.why_not_ready() == "draining"


async def test_the_observers_of_a_node_that_has_drained_are_told_that_it_stops() -> None:
    """A service manager has to hear of it, and the text does not change."""
    heard: list[bool] = []
    standing = Standing()
    standing.begin_draining()
    standing.observers.append(lambda: heard.append(standing.stopping))
    standing.begin_stopping()
    assert heard == [True]
    other = Standing()
    other.observers.append(lambda: heard.append(other.stopping))
    other.begin_stopping()
    assert heard == [True], "the drain that follows changes the text"
    other.begin_draining()
    assert heard == [True, True]


async def test_what_others_have_written_cannot_break_the_line_or_make_it_long() -> None:
    failures = {f"unix:/run/{number}\n": "\x1b[2J\u202e no\r\n" + "x" * 10_000 for number in range(SHOWN + 7)}
    standing = Standing(failures)
    standing.start()
    why = standing.why_not_ready()
    assert why.isprintable()
    assert why.endswith("and 7 more")
    assert len(why) < (SHOWN + 1) * (LONGEST + 10)


class Changing(dict[str, str]):
    """What is wrong at seeds, as another thread sees it: one more fails between two looks at it."""

    def items(self) -> Any:
        for one in super().items():
            self[f"seed {len(self)}"] = "no"
            yield one


async def test_another_thread_may_ask_while_seeds_fail() -> None:
    standing = Standing(Changing({"seed 0": "no", "seed 1": "no"}))
    standing.start()
    assert standing.why_not_ready() == "not attached: seed 0: no; seed 1: no"


async def test_who_waits_for_it_is_told_when_it_is_attached(autojump_clock: trio.testing.MockClock) -> None:
    standing = Standing({})
    with trio.move_on_after(5) as scope:
        await standing.wait_attached("n")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(standing.wait_attached, "n")
        await trio.testing.wait_all_tasks_blocked()
        standing.changed()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        standing.attach("s")
    standing.begin_closing(failed=False)
    # Attached is attached.
    await standing.wait_attached("n")


async def test_who_waits_for_it_is_told_when_the_node_closes(autojump_clock: trio.testing.MockClock) -> None:
    standing = Standing({})

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match="node n closes"):
            await standing.wait_attached("n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        standing.begin_closing(failed=False)
