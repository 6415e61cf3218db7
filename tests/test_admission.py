"""Who may be in its handshake: slots in all and per source, early random refusal; and how much of it is logged."""

from __future__ import annotations

import logging
import random
from collections import deque

import pytest
from hypothesis import given, strategies as st

from trio_mp._node.complaints import BURST, REFILL, SUMMARY, Complaints
from trio_mp._transport.admission import MOST_REFUSED, SLOTS, SOURCE_SLOTS, Admission, source_of


@pytest.mark.parametrize(
    "address, source",
    [
        ("192.0.2.7:4040", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]:4040", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::ffff]:1", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]:4040", "192.0.2.7"),
        ("[fe80::1%eth0]:4040", "fe80::/64"),
        ("[::1]:4040", "::/64"),
        ("unix:", ""),
        ("unix:/run/a.sock", ""),
        ("dialler", ""),
        ("", ""),
    ],
)
def test_the_source_of_an_address(address: str, source: str) -> None:
    assert source_of(address) == source


def test_a_newcomer_at_the_limit_stays_and_one_past_it_replaces_the_oldest() -> None:
    admission: Admission[int] = Admission(slots=3)
    assert [admission.enter(number, "") for number in range(3)] == [None] * 3
    assert len(admission) == 3
    assert [admission.enter(number, "") for number in range(3, 6)] == [0, 1, 2]
    assert len(admission) == 3


def test_of_one_source_the_oldest_of_that_source_goes() -> None:
    admission: Admission[str] = Admission(slots=10, source_slots=2)
    assert admission.enter("other", "b") is None
    assert [admission.enter(f"a{number}", "a") for number in range(4)] == [None, None, "a0", "a1"]
    assert admission.enter("without a source", "") is None
    assert len(admission) == 4


def test_whoever_has_left_takes_no_slot() -> None:
    admission: Admission[int] = Admission(slots=2, source_slots=1)
    admission.enter(1, "a")
    admission.leave(1)
    admission.leave(1)
    assert len(admission) == 0
    assert admission.enter(2, "a") is None
    assert admission.enter(3, "b") is None
    assert admission.enter(4, "a") == 2


def test_up_to_half_of_the_slots_nobody_is_refused_and_then_more_and_more() -> None:
    admission: Admission[int] = Admission(slots=100, source_slots=1000)
    refused = []
    for number in range(100):
        refused.append(admission.refuses("a", 0.0))
        admission.enter(number, "a")
    # At exactly half the probability is still nought.
    assert refused == [False] * 51 + [True] * 49
    assert admission.refuses("b", MOST_REFUSED - 0.001)
    assert not admission.refuses("b", MOST_REFUSED)
    for number in range(25):
        admission.leave(number)
    assert admission.refuses("b", MOST_REFUSED / 2 - 0.001)
    assert not admission.refuses("b", MOST_REFUSED / 2)


def test_a_source_that_floods_is_refused_before_others_are() -> None:
    admission: Admission[int] = Admission()
    for number in range(SOURCE_SLOTS):
        admission.enter(number, "a")
    assert admission.refuses("a", MOST_REFUSED - 0.01)
    assert not admission.refuses("b", 0.0)
    assert not admission.refuses("", 0.0)


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.booleans()), max_size=60),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_the_bounds_hold_whoever_comes_and_goes(steps: list[tuple[str, bool]], slots: int, source_slots: int) -> None:
    admission: Admission[int] = Admission(slots, source_slots)
    there: dict[int, str] = {}
    for number, (source, leaves) in enumerate(steps):
        if leaves and there:
            oldest = next(iter(there))
            admission.leave(oldest)
            del there[oldest]
        evicted = admission.enter(number, source)
        if evicted is not None:
            # The oldest of its source, or of all.
            candidates = [known for known in there if there[known] == source] if source else [*there]
            assert evicted in (next(iter(candidates), None), next(iter(there)))
            del there[evicted]
        there[number] = source
        assert len(admission) == len(there) <= slots
        assert all([*there.values()].count(name) <= source_slots for name in "abc")


def test_a_friend_gets_through_a_flood() -> None:
    """Of those who try again after a refusal, as nodes do: it takes a handful of attempts, and not for ever."""
    chances = random.Random(1)
    admission: Admission[int] = Admission()
    for number in range(10_000):
        source = f"192.0.2.{number % 250}"
        if not admission.refuses(source, chances.random()):
            admission.enter(number, source)
    assert len(admission) <= SLOTS
    attempts = []
    for _ in range(1000):
        attempts.append(1)
        while admission.refuses("198.51.100.1", chances.random()):
            attempts[-1] += 1
    assert max(attempts) < 20
    assert sum(attempts) / len(attempts) < 2.5


class TestComplaints:
    """Strangers cannot fill the disk with lines of the log."""

    def test_a_burst_is_logged_and_the_rest_is_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        complaints = Complaints(logging.getLogger("trio_mp.connection"), 0.0)
        for number in range(BURST + 100):
            complaints.warn(1.0, "number %d", number)
        assert [record.getMessage() for record in caplog.records] == [f"number {number}" for number in range(BURST)]
        complaints.summarise(SUMMARY)
        assert len(caplog.records) == BURST
        complaints.summarise(1.0 + SUMMARY)
        complaints.summarise(2.0 + SUMMARY)
        assert len(caplog.records) == BURST + 1
        assert "100 more connections" in caplog.records[-1].getMessage()

    def test_after_a_while_there_are_lines_again(self, caplog: pytest.LogCaptureFixture) -> None:
        complaints = Complaints(logging.getLogger("trio_mp.connection"), 0.0)
        for now in (0.0, REFILL * 2, REFILL * 10_000):
            for _ in range(BURST * 2):
                complaints.warn(now, "a line")
        assert len(caplog.records) == BURST + 2 + BURST

    def test_nothing_left_out_is_not_mentioned(self, caplog: pytest.LogCaptureFixture) -> None:
        complaints = Complaints(logging.getLogger("trio_mp.connection"), 0.0)
        complaints.warn(0.0, "a line")
        complaints.summarise(SUMMARY * 2)
        assert len(caplog.records) == 1


def test_the_oldest_goes_first_whatever_the_sources() -> None:
    admission: Admission[int] = Admission(slots=4, source_slots=3)
    order: deque[int] = deque()
    for number in range(20):
        evicted = admission.enter(number, f"source {number}")
        order.append(number)
        if evicted is not None:
            assert evicted == order.popleft()
