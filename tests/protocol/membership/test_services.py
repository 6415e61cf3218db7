"""How SRV records rank seeds."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from trio_mp._protocol.membership.services import is_spare, turn_of


@pytest.mark.parametrize("weights", [(1, 3), (10, 20, 70), (0, 0), (0, 5, 5), (65535, 1)])
def test_the_first_is_each_as_often_as_its_weight_says(weights: tuple[int, ...]) -> None:
    numbers, rounds = random.Random(5), 20_000
    first: Counter[int] = Counter()
    for _ in range(rounds):
        turns = [turn_of(weight, max(weights), numbers.random()) for weight in weights]
        assert all(0 <= turn <= 1 for turn in turns)
        first[turns.index(min(turns))] += 1
    # A weight of 0 counts for nearly nothing, or for as much as any other if all are 0.
    counted = [weight or 0.1 for weight in weights]
    for index, weight in enumerate(counted):
        assert first[index] / rounds == pytest.approx(weight / sum(counted), abs=0.015)


def test_with_equal_weights_it_is_what_was_drawn() -> None:
    for weight in (0, 1, 65535):
        assert turn_of(weight, weight, 0.3) == pytest.approx(0.3)
        assert turn_of(weight, weight, 0.0) == 0.0


def test_a_spare_one_waits_until_all_better_ones_have_failed() -> None:
    for priorities in itertools.product((0, 1, 2), repeat=3):
        for failed in itertools.product((True, False), repeat=3):
            others = list(zip(priorities, failed, strict=True))
            better = [fails for theirs, fails in others if theirs < 1]
            assert is_spare(1, others) == (not all(better))
    assert not is_spare(0, [(0, False), (1, False)])
