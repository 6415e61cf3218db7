"""A rolling restart of ten processes under load: every call is answered, and none is handled twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
from chaos.rolling import PROCESSES, Outcome, roll

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, signals, and processes that are forked")


async def test_a_rolling_restart(short_directory: Path) -> None:
    with trio.fail_after(60):
        outcome = await roll(short_directory)
    assert not outcome.problems
    assert outcome.restarts == PROCESSES
    assert outcome.calls > 10 * PROCESSES, "there was load"


def test_what_would_be_wrong_is_said() -> None:
    outcome = Outcome(calls=4)
    outcome.answered.update([0, 1, 3])
    outcome.handled.update([0, 1, 1, 2, 3])
    outcome.judge()
    assert outcome.problems == [
        "the call 1 was answered 1 times, and handled 2 times",
        "the call 2 was answered 0 times, and handled 1 times",
    ]
