"""The events that wait for the reader of a group."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trio_mp import Joined, Left
from trio_mp._protocol.groups.events import EventLog


def read(log: EventLog) -> list[Joined | Left]:
    events: list[Joined | Left] = []
    while (event := log.take()) is not None:
        events.append(event)
    return events


# Each number is a member that joins if it is not there, and else leaves; None is a reader that reads all.
STEPS = st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=60)


@given(STEPS, st.integers(1, 20))
def test_what_a_slow_reader_gets(steps: list[int | None], limit: int) -> None:
    log = EventLog(limit)
    there: dict[str, int] = {}
    shown: dict[str, bool] = {}
    lost: set[str] = set()
    for number, step in enumerate([*steps, None]):
        if step is not None:
            key = str(step)
            if key in there:
                log.add(Left(f"port {there.pop(key)}", ("why", number), key))
                lost.add(key)
            else:
                there[key] = number
                log.add(Joined(f"port {number}", number, key))
            # Two for each member, at most; or as many as the limit says.
            assert len(log) <= max(limit, 4 * 5)
            continue
        known_before = {key for key, joined in shown.items() if joined}
        told = read(log)
        for event in told:
            joined = isinstance(event, Joined)
            assert shown.get(event.key, False) is not joined, "they alternate"
            shown[event.key] = joined
        assert {key for key, joined in shown.items() if joined} == there.keys()
        # Who was there and was lost has left, also if it is there again.
        assert known_before & lost <= {event.key for event in told if isinstance(event, Left)}
        for key, at in there.items():
            last = [event for event in told if event.key == key]
            assert not last or last[-1] == Joined(f"port {at}", at, key)
        lost.clear()


def test_nothing_is_left_out_below_the_limit() -> None:
    log = EventLog()
    events: list[Joined | Left] = [Joined("p", 1, "k"), Left("p", (), "k")] * 500
    for event in events:
        log.add(event)
    assert len(log) == 1000
    assert read(log) == events
    assert log.take() is None


def test_a_reader_that_never_comes_costs_a_bounded_amount() -> None:
    log = EventLog(100)
    for number in range(10_000):
        # Each port is new, as those of members that are restarted.
        log.add(Joined(f"port {number}", None, f"port {number}"))
        log.add(Left(f"port {number}", (), f"port {number}"))
        assert len(log) <= 100
