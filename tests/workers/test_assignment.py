"""Which worker gets a task: the rules."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trio_mp._workers.assignment import AHEAD, MOST_AHEAD, SOON, Durations, HasLoad, Load, least_busy

TASKS = st.one_of(st.none(), st.just(math.inf), st.floats(0, 0.1))


class Fake(HasLoad):
    def __init__(self, *tasks: float | None) -> None:
        self.load = Load()
        for seconds in tasks:
            self.load.add(seconds)


@pytest.mark.parametrize(
    "tasks, has_room",
    [
        ([], True),
        ([None] * 1000, True),
        ([math.inf], False),
        ([SOON], False),
        ([SOON * 0.99], True),
        ([SOON * 0.5, SOON * 0.4], False),
        ([AHEAD * 0.4] * 2, True),
        ([AHEAD * 0.4] * 3, False),
        ([AHEAD * 0.4, math.inf], False),
        ([0.0] * (MOST_AHEAD - 1), True),
        ([0.0] * MOST_AHEAD, False),
    ],
)
def test_short_tasks_are_sent_ahead_and_long_ones_are_not(tasks: list[float | None], has_room: bool) -> None:
    assert Fake(*tasks).load.has_room is has_room


@given(st.lists(TASKS), st.lists(TASKS))
def test_what_is_added_and_removed_leaves_nothing(kept: list[float | None], removed: list[float | None]) -> None:
    load, expected = Fake(*kept, *removed).load, Fake(*kept).load
    for seconds in removed:
        load.remove(seconds)
    assert (load.tasks, load.sync_tasks) == (expected.tasks, expected.sync_tasks)
    assert load.seconds == pytest.approx(expected.seconds)
    for seconds in kept:
        load.remove(seconds)
    assert (load.tasks, load.sync_tasks, load.seconds, load.has_room) == (0, 0, 0.0, True)


@given(st.lists(st.lists(TASKS, max_size=4), max_size=5), st.booleans())
def test_the_least_busy_is_the_first_that_has_the_fewest_tasks_and_room(
    loads: list[list[float | None]], sync: bool
) -> None:
    workers = [Fake(*tasks) for tasks in loads]
    chosen = least_busy(workers, sync=sync)
    allowed = [worker for worker in workers if not sync or worker.load.has_room]
    if chosen is None:
        assert not allowed
    else:
        fewest = min(worker.load.tasks for worker in allowed)
        assert chosen is next(worker for worker in allowed if worker.load.tasks == fewest)


def test_a_function_takes_what_it_took_lately() -> None:
    durations = Durations()
    assert durations.of("f") == math.inf
    durations.learn("f", 0.001)
    assert durations.of("f") == 0.001
    durations.learn("f", 1.0)
    assert durations.of("f") == 1.0
    for _ in range(100):
        durations.learn("f", 0.001)
    assert durations.of("f") == pytest.approx(0.001, rel=0.01)
    assert durations.of("g") == math.inf


def test_what_is_slow_once_is_believed_for_a_while() -> None:
    durations = Durations()
    durations.learn("f", 0.1)
    durations.learn("f", 0.0)
    assert durations.of("f") > SOON
