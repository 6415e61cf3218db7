"""What a program says about the children of a supervisor, and what it gets of it."""

# ruff: noqa: PT012 - what leaves a whole block is what some of these tests are about

from __future__ import annotations

import functools
import itertools
import logging
import math
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from network_helpers import FakeNetwork, open_test_node, warnings_in
from supervised import Crash, Story
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_mp import Backoff, Node, Port, PortDied, SupervisorFailed, current_epoch, open_node
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in

# Starts --------------------------------------------------------------------------------------------------------------


async def test_a_start_waits_and_is_a_checkpoint(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting["a"] = 3
    async with open_node() as node, node.open_supervisor() as crew:
        with assert_checkpoints():
            child = await crew.start(story.serve, "a")
        assert trio.current_time() == 3
        assert child.value == "a"
        with assert_checkpoints():
            await crew.stop(child)


async def test_nothing_is_kept_of_children_that_are_gone(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor(within=math.inf) as crew:
        for number in range(3):
            child = await crew.start(story.serve, f"{number}", restart="temporary")
            node.send(child, "crash")
            await crew.wait()
        assert crew._driver._errors == {}
        assert crew._driver._children == {}


async def test_a_start_that_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    story, unwound = Story(), []

    async def slow(_: Port, task_status: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            unwound.append(trio.current_time())

    async with open_node() as node, node.open_supervisor("one_for_all") as crew:
        await crew.start(story.serve, "a")
        with trio.move_on_after(1) as scope:
            await crew.start(slow)
        assert scope.cancelled_caught
        assert unwound == [3.0]
        assert [child.name for child in crew.children] == ["serve"]
        assert crew.restarts == 0
        assert story.take() == "+a"


async def test_a_start_is_cancelled_behind_the_children_that_were_added_later(autojump_clock: MockClock) -> None:
    ended: list[str] = []
    starts = 0

    async def crashes_once(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            task_status.started()
            await trio.sleep(1)
            raise Crash
        try:
            await trio.sleep_forever()
        finally:
            ended.append("the start")

    async def unwinds(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            ended.append("the later child")

    async with open_node() as node:
        with trio.move_on_after(10):
            async with node.open_supervisor() as crew:
                await crew.start(crashes_once)
                await crew.start(unwinds)
                await trio.sleep_forever()
    assert starts == 2
    assert ended == ["the later child", "the start"]


async def test_a_start_that_fails_while_it_is_cancelled_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(_: Port, task_status: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Crash("in its cleanup")

    async with open_node() as node, node.open_supervisor(name="team") as crew:
        with trio.move_on_after(1) as scope:
            await crew.start(slow)
        assert scope.cancelled_caught
    assert "Crash: in its cleanup" in caplog.text


async def test_a_start_that_is_cancelled_is_no_failure(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As of `Node.start`: the caller has cancelled it, and the supervisor goes on."""

    async def slow(_: Port, task_status: Any) -> None:
        await trio.sleep_forever()

    async with open_node() as node, node.open_supervisor(name="team") as crew:
        with trio.move_on_after(1) as scope:
            await crew.start(slow)
        assert scope.cancelled_caught
        assert crew.children == ()
    assert caplog.messages == []


async def test_a_child_that_is_stopped_before_it_has_started(autojump_clock: MockClock) -> None:
    async def slow(_: Port, task_status: Any) -> None:
        await trio.sleep_forever()

    async with open_node() as node, node.open_supervisor(name="team") as crew, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(trio.ClosedResourceError) as caught:
                await crew.start(slow)
            assert str(caught.value) == "supervisor team: slow was stopped before it had started"

        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        await crew.stop(crew.children[0])


async def test_a_function_that_returns_without_having_started(autojump_clock: MockClock) -> None:
    async def forget(_: Port, task_status: Any) -> None:
        pass

    async with open_node() as node, node.open_supervisor() as crew:
        with pytest.raises(RuntimeError, match="without calling task_status"):
            await crew.start(forget)


async def test_the_first_start_in_the_middle_of_a_restart_of_all(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting["c"] = 3
    async with open_node() as node, node.open_supervisor("one_for_all", backoff=None) as crew:
        a = await crew.start(story.serve, "a")
        await crew.start(story.serve, "b")
        node.send_after(1, a, "crash")
        child = await crew.start(story.serve, "c")
        assert trio.current_time() == 4, "its start was begun anew"
        assert child.restarts == 0
        assert story.take() == "+a +b -a -b +a +b +c"
        assert [each.restarts for each in crew.children] == [1, 1, 0]


async def test_a_start_that_fails_in_the_middle_of_one_for_all_counts(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor("one_for_all", backoff=None, limit=4, name="team") as crew:
                a, *_ = [await crew.start(story.serve, name) for name in "abc"]
                story.failing["b"] = 2
                node.send(a, "crash")
                await wait_all_tasks_blocked()
                assert story.take() == "+a +b +c -a -c -b +a -a +a -a +a +b +c"
                assert caplog.text.count("a start of serve-2 failed") == 2
                story.failing["b"] = 1
                node.send(a, "crash", "again")
                await trio.sleep_forever()
        assert story.take() == "-a -c -b +a -a"
    assert caught.value.children == ("serve", "serve-2")
    assert [repr(error) for error in caught.value.exceptions] == ["Crash('again')", "Crash('a start of b')"]


async def test_a_first_start_that_fails_says_it_to_the_caller_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    story.failing["a"] = 1
    async with open_node() as node, node.open_supervisor() as crew:
        with pytest.raises(Crash, match="a start of a"):
            await crew.start(story.serve, "a")
        assert crew.children == ()
        await crew.start(story.serve, "a")
    assert not warnings_in(caplog)


async def test_starts_of_several_tasks_wait_for_each_other_where_children_are_tied(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting = {"a": 5, "b": 1}
    async with open_node() as node:
        for strategy, lines in (("one_for_one", "+b +a"), ("rest_for_one", "+a +b")):
            async with node.open_supervisor(strategy) as crew, trio.open_nursery() as nursery:  # type: ignore[arg-type]
                nursery.start_soon(crew.start, story.serve, "a")
                await wait_all_tasks_blocked()
                nursery.start_soon(crew.start, story.serve, "b")
            assert story.lines[:2] == lines.split()
            story.take()


async def test_each_life_begins_with_the_same_context(autojump_clock: MockClock) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: list[str] = []

    async def look(port: Port, task_status: Any) -> None:
        seen.append(variable.get())
        variable.set("changed by a life")
        task_status.started()
        await port.receive()
        raise Crash

    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        variable.set("of the start")
        child = await crew.start(look)
        variable.set("later")
        port = node.port(lambda: node.send(child, "die"))
        node.send(port)
        await wait_all_tasks_blocked()
        assert seen == ["of the start"] * 2


# Restarts ------------------------------------------------------------------------------------------------------------


async def test_restarts_are_logged_with_count_delay_and_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    async with (
        open_node_in(Environment(jitter=lambda: 0.5)) as node,
        node.open_supervisor("one_for_all", name="team", backoff=Backoff(4, 9), within=60) as crew,
    ):
        child = await crew.start(story.serve, "a")
        await crew.start(story.serve, "b", restart="transient")
        node.send(child, "crash", "no good")
        await trio.sleep(1)
        node.kill(child)
        await trio.sleep(10)
        assert (crew.restarts, child.restarts) == (4, 2)
    lines = [line for line in caplog.messages if line.startswith("supervisor team")]
    again = "supervisor team: %s is started again after %d s, its restart number %d (%d of at most 3 within 60 s): %s"
    assert [line.partition(" (supervised.py")[0] for line in lines] == [
        "supervisor team: serve died: die: Crash: no good",
        again % ("serve", 0, 1, 1, "die: Crash: no good"),
        again % ("serve-2", 0, 1, 1, "shutdown: its supervisor has stopped it"),
        again % ("serve", 3, 2, 2, "it ended normally"),
        again % ("serve-2", 0, 2, 2, "shutdown: its supervisor has stopped it"),
    ]
    crashes = [record for record in caplog.records if record.exc_info is not None]
    assert [record.levelno for record in crashes] == [logging.WARNING]


async def test_delays_double_up_to_the_longest_and_begin_anew(autojump_clock: MockClock) -> None:
    story, delays = Story(), []
    async with (
        open_node_in(Environment(jitter=lambda: 0.0)) as node,
        node.open_supervisor(limit=99, within=100, backoff=Backoff(1, 5)) as crew,
    ):
        child = await crew.start(story.serve, "a")
        for _ in range(6):
            before = trio.current_time()
            node.send(child, "crash")
            await node.wait_death(child)
            await child.up()
            delays.append(trio.current_time() - before)
        assert delays == [0, 1, 2, 4, 5, 5]
        await trio.sleep(101)
        before = trio.current_time()
        node.send(child, "crash")
        await node.wait_death(child)
        await child.up()
        assert trio.current_time() == before


async def test_a_child_that_waits_for_its_restart_can_be_taken_out(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node:
        async with node.open_supervisor(backoff=Backoff(50, 50)) as crew:
            child = await crew.start(story.serve, "a")
            for _ in range(2):
                node.send(child, "crash")
                await wait_all_tasks_blocked()
            await crew.stop(child)
            assert trio.current_time() == 0
            await crew.wait()
        assert trio.current_time() == 0, "no timer is waited for"


# Epochs --------------------------------------------------------------------------------------------------------------


async def tell_epoch(port: Port, told: list[int | None], task_status: Any) -> None:
    told.append(current_epoch())
    task_status.started()
    await port.receive()
    raise Crash


async def run_epochs(node: Node, told: list[int | None], **settings: Any) -> None:
    async with node.open_supervisor(backoff=None, **settings) as crew:
        child = await crew.start(tell_epoch, told)
        assert child.epoch == told[-1]
        node.send(child, "die")
        await wait_all_tasks_blocked()
        assert child.epoch == told[-1]


async def test_epochs_are_the_time_of_day_and_rise_when_that_does_not(autojump_clock: MockClock) -> None:
    told: list[int | None] = []
    time_of_day = 100.0
    async with open_node_in(Environment(wall_clock=lambda: time_of_day)) as node:
        await run_epochs(node, told, name="team")
        time_of_day = 99.0
        await run_epochs(node, told, name="team")
        time_of_day = 200.0
        await run_epochs(node, told, name="team")
    assert told == [*range(100_000_000, 100_000_004), 200_000_000, 200_000_001]


async def test_supervisors_of_different_names_have_epochs_of_their_own(autojump_clock: MockClock) -> None:
    told: list[int | None] = []
    async with open_node_in(Environment(wall_clock=lambda: 1.0)) as node:
        for name in ("one", "other", None):
            await run_epochs(node, told, name=name)
    assert told == [1_000_000, 1_000_001] * 3


@pytest.mark.parametrize("waits", [False, True])
async def test_epochs_of_a_given_source(waits: bool, autojump_clock: MockClock) -> None:
    told: list[int | None] = []
    numbers = itertools.count(7, 3)

    async def next_epoch() -> int:
        await trio.sleep(2)
        return next(numbers)

    async with (
        open_node() as node,
        node.open_supervisor(backoff=None, epochs=next_epoch if waits else lambda: next(numbers)) as crew,
    ):
        child = await crew.start(tell_epoch, told)
        node.send(child, "die")
        await trio.sleep(5)
    assert told == [7, 10]


@pytest.mark.parametrize("given, text", [(7, "expected more than 7, the last of tell_epoch, got 7"), ("8", "got '8'")])
async def test_a_source_that_does_not_rise_is_a_start_that_fails(
    given: Any, text: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int | None] = []
    numbers = iter([7, given, 9])
    async with open_node() as node, node.open_supervisor(backoff=None, epochs=lambda: next(numbers)) as crew:
        child = await crew.start(tell_epoch, told)
        node.send(child, "die")
        await wait_all_tasks_blocked()
        assert child.restarts == 2
    assert told == [7, 9]
    numbers = iter(["no number"])
    async with open_node() as node, node.open_supervisor(epochs=lambda: next(numbers)) as crew:
        with pytest.raises(TypeError, match=r"supervisor of anon/.*: epochs: expected an int, got 'no number'"):
            await crew.start(tell_epoch, told)
    assert text in caplog.text


# Names ---------------------------------------------------------------------------------------------------------------


async def test_a_name_in_the_database_is_set_anew_at_each_life(autojump_clock: MockClock) -> None:
    story = Story()
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"]) as b:
        async with a.open_supervisor(backoff=Backoff(10, 10)) as crew:
            child = await crew.start(story.serve, "a", listed=("servers", "chat"))
            await trio.sleep(1)
            assert await b.database.family("servers") == {"chat": child.port}
            a.send(child, "crash")
            await trio.sleep(1)
            assert child.restarts == 1
            assert await b.database.family("servers") == {"chat": child.port}
            a.send(child, "crash")
            await trio.sleep(1)
            assert not child.running
            assert await b.database.family("servers") == {}
            await trio.sleep(10)
            assert await b.database.family("servers") == {"chat": child.port}
            found = (await b.database.family("servers"))["chat"]
            assert await b.call(found, "ask", 5) == (5, "a")
        await trio.sleep(1)
        assert await b.database.family("servers") == {}


async def test_a_child_that_ends_takes_no_name_away_from_another_one() -> None:
    # The program starts the new server first, and then stops the old one, so that there is always one.
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        old = await crew.start(story.serve, "old", listed=("servers", "chat"))
        new = await crew.start(story.serve, "new", listed=("servers", "chat"))
        assert await node.database.family("servers") == {"chat": new.port}
        await crew.stop(old)
        assert await node.database.family("servers") == {"chat": new.port}
        await crew.stop(new)
        assert await node.database.family("servers") == {}


async def test_a_name_that_the_program_has_set_meanwhile_is_its_own() -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(story.serve, "a", listed=("servers", "chat"))
        node.database.set("servers", "chat", "closed for today")
        await crew.stop(child)
        assert await node.database.family("servers") == {"chat": "closed for today"}


# Arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, kind, text",
    [
        ({"strategy": "all_for_one"}, ValueError, "strategy: expected one of 'one_for_one', .*, got 'all_for_one'"),
        ({"strategy": 3}, TypeError, "strategy: expected one of .*, got 3"),
        ({"limit": -1}, ValueError, "limit: expected a number of restarts, 0 or more, got -1"),
        ({"limit": 1.5}, TypeError, r"limit: expected a number of restarts, got 1\.5"),
        ({"limit": True}, TypeError, "limit: expected a number of restarts, got True"),
        ({"within": 0}, ValueError, "within: expected seconds, more than 0, got 0"),
        ({"within": math.nan}, ValueError, "within: expected seconds, more than 0, got nan"),
        ({"within": "5"}, TypeError, "within: expected a number of seconds, got '5'"),
        ({"backoff": 1}, TypeError, "backoff: expected a Backoff, or None for restarts without delay, got 1"),
        ({"auto_shutdown": "any"}, ValueError, "auto_shutdown: expected one of 'never', .*, got 'any'"),
        ({"name": ""}, TypeError, "name: expected a str that is not empty, or None, got ''"),
        ({"name": 5}, TypeError, "name: .*, got 5"),
        ({"epochs": 5}, TypeError, "epochs: expected a function that returns rising ints, or None, got 5"),
    ],
)
async def test_wrong_arguments_of_a_supervisor(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    async with open_node() as node:
        with pytest.raises(kind, match=rf"^open_supervisor\(\): {text}$"):
            node.open_supervisor(**arguments)


@pytest.mark.parametrize(
    "arguments, kind, text",
    [
        ({"restart": "always"}, ValueError, "restart: expected one of 'permanent', .*, got 'always'"),
        ({"restart": None}, TypeError, "restart: expected one of .*, got None"),
        ({"shutdown": -1}, ValueError, "shutdown: expected seconds, 0 or more, got -1"),
        ({"shutdown": math.nan}, ValueError, "shutdown: expected seconds, 0 or more, got nan"),
        ({"shutdown": "1"}, TypeError, "shutdown: expected a number of seconds, got '1'"),
        ({"significant": 1}, TypeError, "significant: expected True or False, got 1"),
        ({"significant": True}, ValueError, "restart: expected 'transient' or 'temporary', .*, got 'permanent', which"),
        ({"significant": True, "restart": "transient"}, ValueError, "significant: expected False, .* got True"),
        ({"listed": "family"}, TypeError, "listed: expected a tuple of a family and a key, or None, got 'family'"),
        ({"listed": ("family", 5)}, TypeError, r"listed: .*, got \('family', 5\)"),
    ],
)
async def test_wrong_arguments_of_a_child(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    async with open_node() as node, node.open_supervisor() as crew:
        with pytest.raises(kind, match=rf"^start\(\): {text}"):
            await crew.start(Story().serve, "a", **arguments)
        assert crew.children == ()


async def test_a_family_in_which_nothing_can_be_set_is_refused_at_once() -> None:
    async with open_node() as node, node.open_supervisor() as crew:
        with pytest.raises(ValueError, match=r"family: .*got 'trio_mp\.nodes'"):
            await crew.start(Story().serve, "a", listed=("trio_mp.nodes", "a"))
        with pytest.raises(ValueError, match="an entry of"):
            await crew.start(Story().serve, "a", listed=("family", "k" * 40_000))


async def test_what_is_no_async_function_is_refused() -> None:
    async def generator(port: Port) -> Any:
        yield port

    def sync(port: Port, task_status: Any) -> None:
        pass

    async with open_node() as node, node.open_supervisor() as crew:
        for wrong in (5, None, generator):
            with pytest.raises(TypeError, match=r"start\(\): expected an async function, got "):
                await crew.start(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"expected an async function, got .*sync"):
            await crew.start(sync)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "first, last, kind", [(2, 1, ValueError), (-1, 1, ValueError), (1, math.inf, ValueError), ("1", 2, TypeError)]
)
def test_a_back_off_that_cannot_be(first: Any, last: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="Backoff: "):
        Backoff(first, last)


async def test_names_of_children(autojump_clock: MockClock) -> None:
    class Server:
        async def __call__(self, port: Port, task_status: Any) -> None:
            task_status.started()
            await port.receive()

    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        first = await crew.start(story.serve, "a")
        await crew.start(functools.partial(story.serve, name="b"))
        await crew.start(Server())
        await crew.stop(first)
        await crew.start(story.serve, "a")
        assert [child.name for child in crew.children] == ["serve-2", "Server", "serve-3"]


async def test_a_child_that_is_dead_already_is_found_out(autojump_clock: MockClock) -> None:
    async def leave(_: Port, task_status: Any) -> None:
        task_status.started("gone")

    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(leave, restart="temporary")
        assert child.value == "gone"
        await crew.wait()
        with pytest.raises(PortDied, match="it ended normally"):
            await child.up()


# On a node that drains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["permanent", "transient"])
@pytest.mark.parametrize("ends", ["by itself", "by its time"])
async def test_wait_returns_when_the_drain_has_ended(restart: Any, ends: str, autojump_clock: MockClock) -> None:
    async def die(port: Port, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await port.node.draining.wait()
        raise Crash

    async def drain() -> None:
        with trio.move_on_after(5 if ends == "by its time" else 50):
            await node.drain()

    async with open_node() as node, node.open_supervisor() as crew, trio.open_nursery() as nursery:
        port = node.port()

        @port.on("work")
        async def work() -> None:
            await trio.sleep(10)

        node.send(port, "work")
        child = await crew.start(die, restart=restart)
        nursery.start_soon(drain)
        # A transient child may end for good, and whoever waits for it is perhaps what drains.
        expected = 0 if restart == "transient" else 5 if ends == "by its time" else 10
        await crew.wait()
        assert trio.current_time() == pytest.approx(expected, abs=0.2)
        with pytest.raises(PortDied):
            await child.up()
