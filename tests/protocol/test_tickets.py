"""The table of calls in flight, and the time that they have."""

from __future__ import annotations

import math

from hypothesis import given, strategies as st

from trio_mp._protocol.calls import TicketFate, TicketTable, deadline_of, seconds_left

TICKETS = st.sampled_from("abcdef")
NONE = -1
STEPS = st.lists(st.tuples(st.booleans(), TICKETS), max_size=60)


@given(st.integers(1, 4), STEPS)
def test_a_ticket_ends_once_and_there_are_never_more_than_the_limit(limit: int, steps: list[tuple[bool, str]]) -> None:
    table: TicketTable[int] = TicketTable(limit)
    model: dict[str, int] = {}
    for number, (begins, ticket) in enumerate(steps):
        if begins:
            expected = TicketFate.ADMITTED if len(model) < limit else TicketFate.TOO_MANY
            assert table.admit(ticket, number) is (TicketFate.TWICE if ticket in model else expected)
            if ticket not in model and len(model) < limit:
                model[ticket] = number
        else:
            call = model.pop(ticket, NONE)
            assert not table.end(ticket, NONE)
            assert table.end(ticket, call) is (call is not NONE)
            assert not table.end(ticket, call)
        assert table.find(ticket) == model.get(ticket)
        assert table.calls() == list(model.values())
        assert len(table) == len(model) <= limit


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 100))
def test_a_deadline_is_late_by_the_way_and_never_early(offset: float, now: float, left: float, way: float) -> None:
    # The clocks of two nodes have nothing in common.
    seconds = seconds_left(now + left, now)
    assert seconds is not None
    there = abs(offset) % 1e9
    assert deadline_of(seconds, there + way) - there >= seconds - 1e-6
    assert seconds_left(now - left, now) == 0


def test_no_deadline_stays_none() -> None:
    assert seconds_left(math.inf, 5.0) is None
    assert deadline_of(None, 5.0) == math.inf
    assert seconds_left(-math.inf, 5.0) == 0
