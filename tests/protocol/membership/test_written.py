"""Who writes itself into a directory of seeds, and whose file is removed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import pytest

from trio_mp._protocol.membership.written import ENOUGH, OLD, WrittenRun, is_needed, is_one_too_many, may_part


@pytest.mark.parametrize("age", [0, OLD, -OLD, OLD + 1, -OLD - 1])
@pytest.mark.parametrize("in_use", [True, False])
@pytest.mark.parametrize("failed", [True, False])
def test_who_may_live_and_who_is_dead(age: float, in_use: bool, failed: bool) -> None:
    one = WrittenRun("x", age=age, in_use=in_use, failed=failed)
    old = age in (OLD + 1, -OLD - 1)
    assert one.may_live == (in_use or not (failed or old))
    assert one.is_dead == (failed and old and not in_use)
    # Nobody removes the file of one that it counts.
    assert not (one.may_live and one.is_dead)


def test_how_many_are_enough() -> None:
    living = [WrittenRun(str(number)) for number in range(ENOUGH)]
    assert not is_needed(living)
    assert is_needed(living[1:])
    assert is_needed([replace(living[0], failed=True), *living[1:]])
    assert is_one_too_many(WrittenRun("9"), living)
    assert not is_one_too_many(WrittenRun("1"), living), "two of them come behind it"
    assert not is_one_too_many(WrittenRun("9"), [replace(living[0], failed=True), *living[1:]])
    assert not is_one_too_many(WrittenRun("9", written_at=-1.0), living), "it was there before all of them"
    assert is_one_too_many(WrittenRun("0", written_at=1.0), living)


def test_who_drains_is_not_needed_where_others_are() -> None:
    unknown, known, dead = WrittenRun("1"), WrittenRun("2", in_use=True), WrittenRun("3", failed=True)
    assert may_part([dead, known])
    assert not may_part([unknown, dead]), "nobody knows where they lead"
    assert not may_part([])
    assert is_needed([unknown])
    assert not is_needed([unknown], drains=True)
    assert is_needed([dead], drains=True)


@dataclass(frozen=True)
class Starting:
    """Some nodes that start at once: what each has come to, and who is written.

    A node looks, waits, looks again, writes itself if it is needed, and looks once more.
    """

    stages: tuple[str, ...]
    written: frozenset[int] = frozenset()

    def steps(self) -> list[Starting]:
        return [after for number in range(len(self.stages)) for after in self.step(number)]

    def step(self, number: int) -> list[Starting]:
        others = [WrittenRun(str(other)) for other in sorted(self.written - {number})]
        match self.stages[number]:
            case "starting":
                return [self.to(number, "needed" if is_needed(others) else "outside")]
            case "needed":
                return [replace(self.to(number, "writing"), written=self.written | {number})]
            case "writing" if is_one_too_many(WrittenRun(str(number)), others):
                return [replace(self.to(number, "outside"), written=self.written - {number})]
            case "writing":
                return [self.to(number, "a seed")]
            case _:
                return []

    def to(self, number: int, stage: str) -> Starting:
        return replace(self, stages=(*self.stages[:number], stage, *self.stages[number + 1 :]))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_in_whatever_order_nodes_start_some_become_seeds_and_the_others_find_them(count: int) -> None:
    first = Starting(("starting",) * count)
    waiting, seen = deque([first]), {first}
    most = 0
    while waiting:
        now = waiting.popleft()
        following = now.steps()
        if not following:
            seeds = {number for number, stage in enumerate(now.stages) if stage == "a seed"}
            assert seeds == now.written, "whoever has withdrawn has left nothing behind"
            assert len(seeds) >= min(count, ENOUGH), now
            # Whoever is outside has found enough, and they are still there.
            most = max(most, len(seeds))
        for after in following:
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    # At worst all look before the first one writes, and write in the wrong order. Mostly a random time is between them.
    assert most == count


def test_one_after_the_other_no_more_than_enough_write_themselves() -> None:
    now = Starting(("starting",) * 20)
    for number in range(20):
        while following := now.step(number):
            (now,) = following
    assert len(now.written) == ENOUGH
