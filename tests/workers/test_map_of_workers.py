"""Many calls of one function: order, limits, the first failure, and what is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
import worker_functions as functions
from trio.testing import assert_checkpoints
from watched_nodes import until
from worker_helpers import open_rig


async def of(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await trio.lowlevel.checkpoint()
        yield item


async def all_of(mapping: AbstractAsyncContextManager[AsyncIterator[Any]]) -> list[Any]:
    async with mapping as results:
        return [result async for result in results]


@pytest.mark.parametrize("is_async", [False, True])
async def test_results_come_in_the_order_of_their_items(is_async: bool) -> None:
    async with open_rig() as rig:
        numbers = list(range(200))
        results = await all_of(rig.workers.map(functions.double, of([*numbers]) if is_async else numbers))
        assert results == [2 * number for number in numbers]
        assert not rig.pool._unfinished


@pytest.mark.parametrize("is_async", [False, True])
async def test_no_items_are_no_results(is_async: bool) -> None:
    async with open_rig() as rig:
        assert await all_of(rig.workers.map(functions.double, of([]) if is_async else [])) == []


@pytest.mark.parametrize("ordered, expected", [(True, [3, 1, 2]), (False, [1, 2, 3])])
async def test_results_come_as_they_are_there_if_that_is_wanted(
    ordered: bool, expected: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    async with open_rig() as rig:
        async with rig.workers.map(functions.wait, [3, 1, 2], ordered=ordered) as results:
            start = trio.current_time()
            seen = [round(trio.current_time() - start) async for _ in results]
        assert seen == ([3, 3, 3] if ordered else [1, 2, 3])


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("is_async", [False, True])
async def test_no_more_than_the_limit_are_taken(
    ordered: bool, is_async: bool, autojump_clock: trio.testing.MockClock
) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    async def numbers_async() -> AsyncIterator[int]:
        for number in numbers():
            await trio.lowlevel.checkpoint()
            yield number

    async with open_rig() as rig:
        iterable = numbers_async() if is_async else numbers()
        async with rig.workers.map(functions.wait, iterable, limit=5, ordered=ordered) as results:
            # Nobody takes results, so no more items are taken than that, however many are done.
            await trio.sleep(100)
            assert len(taken) == 5
            seen = 0
            async for _ in results:
                seen += 1
                assert len(taken) <= seen + 5
                await trio.sleep(seen % 3)
            assert seen == 30


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_first_failure_cancels_the_rest_and_is_raised_once(
    ordered: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_rig() as rig:
        kinds = ["KeyError('never')"] * 50
        kinds[3] = "ValueError('the first')"
        with pytest.raises(ValueError, match="the first") as caught:
            await all_of(rig.workers.map(functions.fail_or_wait, kinds, limit=10, ordered=ordered))
        assert caught.value.__notes__[0].startswith("in worker-")
        assert not rig.pool._unfinished


async def test_after_a_failure_there_is_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig() as rig:
        async with rig.workers.map(functions.fail_or_wait, ["ValueError(1)", "x"]) as results:
            with pytest.raises(ValueError, match="1"):
                await results.__anext__()
            with pytest.raises(StopAsyncIteration):
                await results.__anext__()
        assert not rig.pool._unfinished


async def test_a_failure_that_nobody_has_asked_for_leaves_the_block(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig() as rig:

        async def leave(error: Exception | None) -> None:
            async with rig.workers.map(functions.fail_or_wait, ["ValueError('unseen')", "one that waits"]):
                await trio.sleep(1)
                # The rest is cancelled at once, and not when somebody hears of it.
                assert not rig.pool._unfinished
                if error is not None:
                    raise error

        with pytest.raises(ValueError, match="unseen"):
            await leave(None)
        with pytest.raises(KeyError, match="of the block"):
            await leave(KeyError("of the block"))


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_failure_of_the_iterable_is_one_as_well(is_async: bool, autojump_clock: trio.testing.MockClock) -> None:
    def items() -> Iterator[int]:
        yield 1000
        raise KeyError("no more")

    async def items_async() -> AsyncIterator[int]:
        for item in items():
            await trio.lowlevel.checkpoint()
            yield item

    async with open_rig() as rig:
        start = trio.current_time()
        with pytest.raises(KeyError, match="no more"):
            await all_of(rig.workers.map(functions.wait, items_async() if is_async else items()))
        assert trio.current_time() - start < 1
        assert not rig.pool._unfinished


async def test_leaving_early_cancels_what_runs_and_waits_for_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_rig() as rig:
        paths = [str(tmp_path / str(number)) for number in range(10)]
        async with rig.workers.map(functions.say_when_cancelled, paths, limit=4):
            await until(lambda: len(list(tmp_path.glob("*.begun"))) == 4)
        assert sorted(path.name for path in tmp_path.glob("?")) == ["0", "1", "2", "3"]
        assert not rig.pool._unfinished


@pytest.mark.parametrize("is_async", [False, True])
async def test_cancelling_the_block_cancels_what_runs(
    tmp_path: Path, is_async: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_rig() as rig:
        paths: list[Any] = [str(tmp_path / str(number)) for number in range(10)]
        with trio.move_on_after(5) as scope:
            iterable = of(paths) if is_async else paths
            async with rig.workers.map(functions.say_when_cancelled, iterable, limit=4) as results:
                async for _ in results:
                    raise AssertionError("there is no result")
        assert scope.cancelled_caught
        assert len(list(tmp_path.glob("?"))) == 4
        assert not rig.pool._unfinished


async def test_a_stop_iteration_of_a_function_does_not_end_the_loop() -> None:
    async with open_rig() as rig:
        with pytest.raises(Exception, match=r"^StopAsyncIteration(\n|$)"):
            await all_of(rig.workers.map(functions.raise_one, ["StopAsyncIteration()"] * 3))


async def test_two_tasks_may_not_ask_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig() as rig, rig.workers.map(functions.wait, [5]) as results, trio.open_nursery() as nursery:
        nursery.start_soon(results.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await results.__anext__()


async def test_each_step_is_a_checkpoint() -> None:
    async with open_rig() as rig, rig.workers.map(functions.double, [1, 2]) as results:
        await trio.sleep(0.1)
        for _ in range(2):
            with assert_checkpoints():
                await results.__anext__()
        with assert_checkpoints(), pytest.raises(StopAsyncIteration):
            await results.__anext__()


async def test_an_argument_that_cannot_travel_is_a_failure() -> None:
    async with open_rig() as rig:
        for ordered in (True, False):
            with pytest.raises(TypeError, match=r"arguments\[0\]: expected what travels"):
                await all_of(rig.workers.map(functions.echo, [1, {2}, 3], ordered=ordered))


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_is_above_0(limit: int) -> None:
    async with open_rig() as rig:
        with pytest.raises(ValueError, match="a limit above 0"):
            rig.workers.map(functions.echo, [], limit=limit)


async def test_closed_workers_map_nothing() -> None:
    async with open_rig() as rig:
        rig.pool.close()
        with pytest.raises(trio.ClosedResourceError):
            await all_of(rig.workers.map(functions.echo, [1]))
