"""The table of `docs/supervision.md` that says which limits a supervisor can reach with the default back-off."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT

from trio_mp import Backoff
from trio_mp._protocol.supervision import Restart, Supervision

ROW = re.compile(r"^\| (?P<limits>[\d, ]+) \| (?P<least>[\d.]+)(?: to (?P<most>[\d.]+))? \|$", re.MULTILINE)


def seconds_to_give_up(limit: int, jitter: float) -> float:
    """How long the rules take from the first death to giving up, if one child dies whenever it is up."""
    backoff = Backoff()
    rules = Supervision(limit=limit, within=1e6, first_delay=backoff.first, last_delay=backoff.last)
    rules.add("child", Restart.PERMANENT, 0.0)
    now = 0.0
    while True:
        rules.started("child", now)
        rules.died("child", now, jitter, normal=False)
        if rules.ending:
            return now
        now = rules.children["child"].due_at
        rules.woken(now)


def test_the_table_of_limits_is_what_the_rules_do() -> None:
    page = (ROOT / "docs" / "supervision.md").read_text(encoding="utf-8")
    rows = [
        (int(limit), float(row["least"]), float(row["most"] or row["least"]))
        for row in ROW.finditer(page)
        for limit in row["limits"].split(", ")
    ]
    assert [limit for limit, _, _ in rows] == list(range(11))
    for limit, least, most in rows:
        assert seconds_to_give_up(limit, 1.0) == pytest.approx(least)
        assert seconds_to_give_up(limit, 0.0) == pytest.approx(most)
    further = [seconds_to_give_up(limit, jitter) for jitter in (1.0, 0.0) for limit in (10, 11)]
    assert (further[1] - further[0], further[3] - further[2]) == pytest.approx((15, 30))
