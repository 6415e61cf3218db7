"""Who may be in its handshake: slots in all and per source, early random refusal; and how much of it is logged."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque

import pytest
from hypothesis import given, strategies as st

from trio_mp._peers.limited_log import BURST, REFILL, SUMMARY, LimitedLog
from trio_mp._transport.admission import (
    CROWD_REFUSED,
    KNOWN_SOURCES,
    MOST_REFUSED,
    SLOTS,
    SOURCE_SLOTS,
    Admission,
    network_of,
    source_of,
)


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
    admission: Admission[int] = Admission(slots=4, source_slots=1)
    admission.enter(1, "a")
    admission.leave(1)
    admission.leave(1)
    assert len(admission) == 0
    assert admission.enter(2, "a") is None
    assert admission.enter(3, "b") is None
    assert admission.enter(4, "a") == 2


def test_up_to_half_of_the_slots_nobody_is_refused_and_then_more_and_more() -> None:
    for source, other, slots in (("", "", 100), ("a", "b", 200)):
        # Without a source all slots count; of those that are not known their half.
        admission: Admission[int] = Admission(slots=slots, source_slots=1000)
        refused = []
        for number in range(100):
            refused.append(admission.refuses(source, 0.0))
            admission.enter(number, source)
        # At exactly half the probability is still nought.
        assert refused == [False] * 51 + [True] * 49
        assert admission.refuses(other, MOST_REFUSED - 0.001)
        assert not admission.refuses(other, MOST_REFUSED)
        for number in range(25):
            admission.leave(number)
        assert admission.refuses(other, MOST_REFUSED / 2 - 0.001)
        assert not admission.refuses(other, MOST_REFUSED / 2)


def test_a_source_that_floods_is_refused_before_others_are() -> None:
    admission: Admission[int] = Admission()
    for number in range(SOURCE_SLOTS):
        admission.enter(number, "a")
    assert admission.refuses("a", MOST_REFUSED - 0.01)
    assert not admission.refuses("b", 0.0)
    assert not admission.refuses("", 0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::/64"]),
            st.sampled_from(["come", "come", "come", "leave", "greet", "authenticate"]),
            st.integers(0, 100),
        ),
        max_size=60,
    ),
    st.integers(2, 8),
    st.integers(1, 8),
)
def test_the_bounds_hold_whoever_comes_and_goes(
    steps: list[tuple[str, str, int]], slots: int, source_slots: int
) -> None:
    """Against a list that is looked through each time."""
    admission: Admission[int] = Admission(slots, source_slots)
    # In the order in which they have made their last step: number, source, whether that was known when it came.
    there: list[tuple[int, str, bool]] = []
    known: set[str] = {""}
    for number, (source, what, which) in enumerate(steps):
        if what != "come":
            if there:
                one = there.pop(which % len(there))
                if what == "greet":
                    there.append(one)
                    admission.progressed(one[0])
                elif what == "leave":
                    admission.leave(one[0])
                else:
                    admission.authenticated(one[0])
                    known.add(one[1])
            continue
        is_known = source in known
        assert admission.is_known(source) is is_known
        same = [each for each in there if each[1] == source]
        strange = [each for each in there if not each[2]]
        expected = None
        if source and len(same) >= source_slots:
            expected = same[0]
        elif not is_known and len(strange) >= slots // 2:
            shares = Counter(network_of(each[1]) for each in strange)
            expected = next(each for each in strange if shares[network_of(each[1])] == max(shares.values()))
        elif len(there) >= slots:
            expected = next(each for each in there if each[2])
        evicted = admission.enter(number, source)
        assert evicted == (expected[0] if expected is not None else None)
        if expected is not None:
            there.remove(expected)
        there.append((number, source, is_known))
        assert len(admission) == len(there) <= slots


def test_half_of_the_slots_are_kept_for_sources_that_are_known() -> None:
    admission: Admission[str] = Admission(slots=10, source_slots=10)
    admission.enter("friend", "192.0.2.1")
    admission.authenticated("friend")
    assert len(admission) == 0
    for number in range(100):
        admission.enter(f"stranger {number}", f"10.0.{number}.1")
    assert len(admission) == 5
    # However many others there are it is not refused, nobody leaves for it, and it leaves for nobody.
    assert not admission.refuses("192.0.2.1", 0.0)
    assert admission.refuses("192.0.2.2", 0.0), "its neighbour is not known"
    assert admission.enter("friend again", "192.0.2.1") is None
    for number in range(100):
        assert admission.enter(f"one more {number}", f"10.1.{number}.1") != "friend again"


def test_in_a_crowd_more_are_refused_but_nobody_from_a_known_source() -> None:
    admission: Admission[int] = Admission(slots=20, source_slots=20)
    admission.enter(1000, "192.0.2.1")
    admission.authenticated(1000)
    for crowd in (False, True):
        assert not admission.refuses("10.0.0.1", 0.0, crowd=crowd), "there is room"
    for number in range(10):
        admission.enter(number, f"10.0.{number}.1")
    for chance in (MOST_REFUSED, CROWD_REFUSED - 0.001):
        assert not admission.refuses("10.1.0.1", chance)
        assert admission.refuses("10.1.0.1", chance, crowd=True)
    assert not admission.refuses("10.1.0.1", CROWD_REFUSED, crowd=True), "none without hope"
    assert not admission.refuses("192.0.2.1", 0.0, crowd=True)


def test_the_largest_network_goes_first() -> None:
    admission: Admission[str] = Admission(slots=12)
    assert admission.enter("newcomer", "198.51.100.7") is None
    for number in range(5):
        assert admission.enter(f"flood {number}", f"10.0.0.{number}") is None
    # One after the other of the flood's own, though the newcomer has waited longest.
    assert [admission.enter(f"flood {number}", f"10.0.0.{number}") for number in range(5, 9)] == [
        f"flood {number}" for number in range(4)
    ]
    # And of IPv6 networks the flood may have 65,536.
    admission = Admission(slots=4)
    admission.enter("newcomer", "2001:db8:2:1::/64")
    assert [admission.enter(f"flood {number}", f"2001:db8:1:{number}::/64") for number in range(3)] == [
        None,
        "newcomer",
        "flood 0",
    ]


def test_whoever_has_greeted_has_time_again() -> None:
    admission: Admission[int] = Admission(slots=6)
    for number in range(3):
        admission.enter(number, f"10.0.{number}.1")
    admission.progressed(0)
    admission.progressed(77)
    assert [admission.enter(number, f"10.0.{number}.1") for number in range(3, 6)] == [1, 2, 0]


def test_sources_that_are_known_are_few() -> None:
    admission: Admission[int] = Admission()
    for number in range(KNOWN_SOURCES + 1):
        source = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        admission.enter(number, source)
        admission.authenticated(number)
    assert not admission.is_known("10.0.0.0")
    assert admission.is_known("10.0.0.1")


@pytest.mark.parametrize(
    "source, network",
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_the_network_of_a_source(source: str, network: str) -> None:
    assert network_of(source) == network


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
        limited_log = LimitedLog(logging.getLogger("trio_mp.connection"), 0.0)
        for number in range(BURST + 100):
            limited_log.warn(1.0, "number %d", number)
        assert [record.getMessage() for record in caplog.records] == [f"number {number}" for number in range(BURST)]
        limited_log.summarise(SUMMARY)
        assert len(caplog.records) == BURST
        limited_log.summarise(1.0 + SUMMARY)
        limited_log.summarise(2.0 + SUMMARY)
        assert len(caplog.records) == BURST + 1
        assert "100 more connections" in caplog.records[-1].getMessage()

    def test_after_a_while_there_are_lines_again(self, caplog: pytest.LogCaptureFixture) -> None:
        limited_log = LimitedLog(logging.getLogger("trio_mp.connection"), 0.0)
        for now in (0.0, REFILL * 2, REFILL * 10_000):
            for _ in range(BURST * 2):
                limited_log.warn(now, "a line")
        assert len(caplog.records) == BURST + 2 + BURST

    def test_nothing_left_out_is_not_mentioned(self, caplog: pytest.LogCaptureFixture) -> None:
        limited_log = LimitedLog(logging.getLogger("trio_mp.connection"), 0.0)
        limited_log.warn(0.0, "a line")
        limited_log.summarise(SUMMARY * 2)
        assert len(caplog.records) == 1


def test_the_oldest_goes_first_whatever_the_sources() -> None:
    admission: Admission[int] = Admission(slots=8, source_slots=3)
    order: deque[int] = deque()
    for number in range(20):
        evicted = admission.enter(number, f"source {number}")
        order.append(number)
        if evicted is not None:
            assert evicted == order.popleft()
