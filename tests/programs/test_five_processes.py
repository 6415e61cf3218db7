"""Five processes that find each other: through one seed, and through two of which one is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from node_process import all_pairs, open_crew

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, SIGKILL")

NAMES = ("anna", "bert", "cleo", "dora", "emil")
HEARTBEAT = 1.0
CONNECT_TIMEOUT = 5.0
FOUND_WITHIN = 10.0
"""In seconds, on a machine that has other things to do; on a quiet one it is less than 2."""


async def test_five_processes_find_each_other_through_one_seed(
    short_directory: Path, record_property: Callable[[str, object], None]
) -> None:
    addresses = {name: f"unix:{short_directory / name}" for name in NAMES}
    up = 0.0
    async with open_crew(short_directory, NAMES) as crew:
        for name in NAMES:
            seeds = [] if name == "anna" else [addresses["anna"]]
            said = await crew.start(
                name, [addresses[name]], seeds, heartbeat=HEARTBEAT, connect_timeout=CONNECT_TIMEOUT
            )
            up = said.at
        took = await crew.all_find(NAMES) - up
        record_property("all found after", took)
        print(f"all five found {took:.3f} s after the last was up")
        assert took < FOUND_WITHIN
        await crew.ask(NAMES)
        await crew.tell(NAMES, "feed")
        for _ in range(3):
            await crew.flow(all_pairs(NAMES))
        verdict = await crew.drain(NAMES)
        assert verdict.holds, verdict.problems
        # Nothing was done to them: nothing is lost.
        assert verdict.delivered == verdict.sent
        assert verdict.streams == len(all_pairs(NAMES))
        assert not [process.said for process in crew.processes.values() if process.find("fired")]
        await crew.leave(reversed(NAMES))


async def test_the_second_seed_takes_over_when_the_first_is_killed(
    short_directory: Path, record_property: Callable[[str, object], None]
) -> None:
    addresses = {name: f"unix:{short_directory / name}" for name in NAMES}
    killed, others = NAMES[0], NAMES[1:]
    seeds = [addresses[killed], addresses[others[0]]]
    async with open_crew(short_directory, NAMES) as crew:
        for name in NAMES:
            await crew.start(name, [addresses[name]], seeds, heartbeat=HEARTBEAT, connect_timeout=CONNECT_TIMEOUT)
        await crew.all_find(NAMES)
        await crew.tell(NAMES, "feed")
        await crew.flow(all_pairs(NAMES))
        at = crew.kill(killed)
        for name in others:
            fired = await crew.processes[name].expect("fired", killed, "transport_error", since=at)
            assert fired.at - at < FOUND_WITHIN
        took = await crew.all_find(others, since=at) - at
        record_property("found again after", took)
        print(f"the four others found each other {took:.3f} s after the seed was killed")
        await crew.ask(others)
        for _ in range(3):
            await crew.flow(all_pairs(others))
        # The network between the others was not touched.
        for name, other in all_pairs(others):
            assert not crew.processes[name].find("fired", other)
        verdict = await crew.drain(others)
        assert verdict.holds, verdict.problems
        assert verdict.delivered > 0
        number = NAMES.index(killed)
        assert {loss.receiver for loss in verdict.losses} == {number}
        await crew.leave(reversed(others))
