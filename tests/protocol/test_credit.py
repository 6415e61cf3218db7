"""Credit of a channel: none is lost, none invented, and a sender that waits gets some once all was taken."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from trio_mp import Port
from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.credit import ENTRY, Credit, Debt, size_of
from trio_mp._protocol.wire import codec


class Direction(RuleBasedStateMachine):
    """One direction of a channel: sender, receiver, and what is on its way between them, in order.

    The sender has a queue of items, and says that it waits when it lacks bytes, as `SendingDirection` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limits = 0, 0

    @precondition(lambda self: not self.limits[0])
    @rule(items=st.integers(1, 9), size=st.integers(1, 100))
    def open(self, items: int, size: int) -> None:
        self.limits = items, size
        self.credit, self.debt = Credit(items, size), Debt(items, size)
        self.wanted: deque[int] = deque()
        self.there: deque[int | None] = deque()
        self.back: deque[int] = deque()
        self.arrived: deque[int] = deque()
        self.said_wait = False
        self.sent = self.taken = 0

    @precondition(lambda self: self.limits[0])
    @rule(size=st.one_of(st.integers(0, 30), st.integers(0, 250)))
    def send(self, size: int) -> None:
        self.wanted.append(size)
        self.try_to_send()

    @precondition(lambda self: self.limits[0] and self.wanted)
    @rule()
    def call_off(self) -> None:
        self.wanted.popleft()
        self.said_wait = False
        self.try_to_send()

    @precondition(lambda self: self.limits[0])
    @rule(size=st.integers(0, 250))
    def fail_to_send(self, size: int) -> None:
        if not self.wanted and self.credit.take(size):
            self.credit.refund()

    def try_to_send(self) -> None:
        while self.wanted:
            size = self.wanted[0]
            if not self.credit.take(size):
                if self.credit.items and not self.said_wait:
                    self.said_wait = True
                    self.there.append(None)
                return
            self.wanted.popleft()
            self.said_wait = False
            self.there.append(size)
            self.sent += 1

    @precondition(lambda self: self.limits[0] and self.there)
    @rule()
    def arrive(self) -> None:
        size = self.there.popleft()
        if size is None:
            self.give_back(self.debt.awaited())
        else:
            self.debt.arrived(size)
            self.arrived.append(size)

    @precondition(lambda self: self.limits[0] and self.arrived)
    @rule()
    def take(self) -> None:
        self.give_back(self.debt.taken(self.arrived.popleft()))
        self.taken += 1

    def give_back(self, items: int) -> None:
        if items:
            self.back.append(items)

    @precondition(lambda self: self.limits[0] and self.back)
    @rule()
    def come_back(self) -> None:
        self.credit.give(self.back.popleft())
        self.try_to_send()

    @invariant()
    def conserved(self) -> None:
        if not self.limits[0]:
            return
        items, size = self.limits
        on_their_way = [each for each in self.there if each is not None]
        owed = self.debt._owed
        assert self.credit.items + len(on_their_way) + len(self.arrived) + owed + sum(self.back) == items
        assert self.debt.waiting == len(self.arrived)
        assert self.debt.waiting_size == sum(self.arrived)
        # The bound of the memory: the bytes, or one item alone.
        assert self.credit.used == items - self.credit.items
        assert self.credit.used_size == size - self.credit.size
        assert self.credit.used_size <= size or self.credit.used == 1

    def teardown(self) -> None:
        """Once the receiver takes all that comes, all that anybody wants to send is sent."""
        if self.limits[0]:
            while self.there or self.back or self.arrived:
                while self.there:
                    self.arrive()
                while self.arrived:
                    self.take()
                while self.back:
                    self.come_back()
            assert not self.wanted
            assert self.sent == self.taken
            # What is kept back is less than half of it, and the next item passes.
            assert self.credit.items * 2 >= self.limits[0]


def test_credit_is_never_lost_or_invented() -> None:
    run_state_machine_as_test(Direction)


@pytest.mark.parametrize("items", [0, -1, 3])
def test_credit_that_was_not_taken_cannot_be_given_back(items: int) -> None:
    credit = Credit(4, 100)
    assert credit.take(1)
    assert credit.take(2)
    with pytest.raises(RemoteProtocolError, match=f"expected at most 2 items given back, got {items}"):
        credit.give(items)
    credit.give(2)
    assert (credit.items, credit.size, credit.used) == (4, 100, 0)


def test_a_large_item_passes_alone() -> None:
    credit = Credit(4, 100)
    assert credit.take(60)
    assert not credit.take(500)
    assert not credit.take(41)
    credit.give(1)
    assert credit.take(500)
    assert (credit.items, credit.size) == (3, -400)
    assert not credit.take(0)
    credit.give(1)
    assert credit.take(100)
    assert credit.take(0)


def test_a_sender_without_credit_is_found_out() -> None:
    debt = Debt(2, 100)
    debt.arrived(500)
    with pytest.raises(RemoteProtocolError, match="got an item of 1 bytes after 1 of 500"):
        debt.arrived(1)
    assert debt.taken(500) == 1
    debt.arrived(1)
    debt.arrived(1)
    with pytest.raises(RemoteProtocolError, match="expected at most 2 items"):
        debt.arrived(1)


def test_credit_comes_back_in_batches_of_half() -> None:
    debt = Debt(8, 1000)
    for _ in range(8):
        debt.arrived(10)
    assert [debt.taken(10) for _ in range(8)] == [0, 0, 0, 4, 0, 0, 0, 4]
    debt.arrived(499)
    debt.arrived(1)
    assert [debt.taken(499), debt.taken(1)] == [0, 2]


def test_a_sender_that_waits_for_bytes_gets_each_item_back() -> None:
    debt = Debt(8, 1000)
    for _ in range(3):
        debt.arrived(10)
    assert debt.taken(10) == 0
    assert debt.awaited() == 1
    assert debt.awaited() == 0
    assert debt.taken(10) == 1
    debt.arrived(900)
    # It waits no longer.
    assert debt.taken(10) == 0


@pytest.mark.parametrize(
    "item, size",
    [
        (b"12345", 5),
        ("12345", 5),
        (Port("b#aaaaaaaaaaaaaaaa"), 18),
        (5, ENTRY),
        (None, ENTRY),
        (True, ENTRY),
        (1.5, ENTRY),
        (object(), ENTRY),
        ([], ENTRY),
        ([1, "abc"], 3 * ENTRY + 3),
        ((1, (b"ab", "c")), 5 * ENTRY + 3),
        ({"key": "value"}, 3 * ENTRY + 8),
        ([{"a": [1]}], 5 * ENTRY + 1),
    ],
)
def test_what_items_count_for(item: object, size: int) -> None:
    assert size_of(item) == size


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@given(values)
def test_an_item_counts_for_the_same_on_both_sides(item: Any) -> None:
    frame = codec.open_frame()
    codec.append_message(frame, "name", (item,))
    codec.close_frame(frame, 1)
    ((_, arrived),) = codec.decode_frame(frame[4:])
    assert size_of(arrived) == size_of(item)


def test_the_size_of_what_has_no_end_is_found_in_no_time() -> None:
    wide: list[Any] = []
    wide += [wide] * 1000
    deep: list[Any] = []
    deep.append(deep)
    assert size_of(wide) > 0
    assert size_of(deep) == ENTRY * 101


def test_keys_of_any_kind_count() -> None:
    assert size_of({1: "two", "three": 4}) == size_of([1, "two", "three", 4])


def test_credit_says_what_it_covers() -> None:
    credit = Credit(2, 100)
    assert credit.covers(1000), "one item alone may have more"
    assert credit.take(60)
    assert credit.covers(40)
    assert not credit.covers(41)
    assert credit.take(40)
    assert not credit.covers(0)
