"""Which member of a group gets a call."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, strategies as st

from trio_mp._protocol.groups.choice import choose, choose_by_key, weigh

MEMBERS = st.lists(st.text(max_size=8), unique=True, min_size=1, max_size=12)


@dataclass
class Someone:
    name: str
    busy: int = 0
    used: int = 0


@given(MEMBERS, st.text(max_size=8), st.randoms())
def test_a_key_belongs_to_one_member_whatever_the_order(members: list[str], key: str, random: object) -> None:
    chosen = choose_by_key(key, members)
    assert chosen in members
    assert chosen == choose_by_key(key, sorted(members)) == choose_by_key(key, reversed(members))


@given(MEMBERS, st.text(max_size=8), st.text(max_size=8))
def test_only_keys_of_the_member_that_comes_or_goes_move(members: list[str], key: str, newcomer: str) -> None:
    before = choose_by_key(key, members)
    after = choose_by_key(key, {*members, newcomer})
    assert after in (before, newcomer)
    rest = [member for member in members if member != before]
    for other in rest:
        assert choose_by_key(key, [member for member in members if member != other]) == before


def test_keys_are_spread() -> None:
    members = [f"member {number}" for number in range(10)]
    counts = dict.fromkeys(members, 0)
    for number in range(10_000):
        chosen = choose_by_key(f"user-{number}", members)
        assert chosen is not None
        counts[chosen] += 1
    # Ten standard deviations, so that it never fails by chance; the weights are fixed in any case.
    assert all(700 < count < 1300 for count in counts.values()), counts


def test_weights_are_the_same_everywhere_and_for_ever() -> None:
    # Nodes of different versions have to agree.
    assert weigh("user-7", "lobby") == 0xE041_016E_8B50_4ADA
    assert weigh("a", "bc") != weigh("ab", "c")
    assert weigh("\ud800", "x") != weigh("\ud801", "x")


def test_nobody_is_chosen_from_nobody() -> None:
    assert choose_by_key("user-7", ()) is None
    assert choose([], "round_robin") is choose([], "least_busy") is None


@given(st.integers(1, 9), st.integers(0, 50))
def test_round_robin_gives_each_its_turn(count: int, calls: int) -> None:
    members = [Someone(str(number)) for number in range(count)]
    counts = dict.fromkeys(range(count), 0)
    for number in range(1, calls + 1):
        chosen = choose(members, "round_robin")
        assert chosen is not None
        chosen.used = number
        counts[int(chosen.name)] += 1
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1))
def test_the_least_busy_is_chosen_and_of_several_the_one_that_waited_longest(had: list[tuple[int, int]]) -> None:
    chosen = choose([Someone("", busy, used) for busy, used in had], "least_busy")
    assert chosen is not None
    assert (chosen.busy, chosen.used) == min(had)
