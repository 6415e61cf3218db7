"""The promise holds in the seeds of the hammer that have failed once."""

from __future__ import annotations

import pytest
from kept_seeds import KEPT, KeptSeed

from trio_mp.testing._seed import run_seed


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: str(kept.seed))
def test_a_seed_that_has_failed_once(kept: KeptSeed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    result = run_seed(kept.seed)
    assert not result.violation, f"as when it failed with the hammer {kept.hammer}, {kept.failure}?\n{result.violation}"


def test_each_is_kept_once_and_in_order() -> None:
    seeds = [kept.seed for kept in KEPT]
    assert seeds == sorted(set(seeds))
