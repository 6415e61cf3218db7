"""The merge of the shared database, by its laws; and the tables that users see."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given, strategies as st

from trio_mp._protocol.database.records import (
    Difference,
    Families,
    Record,
    Table,
    Version,
    difference,
    merge,
    newest,
    same,
    update,
)

OWNERS = ["a", "B", "a/1"]
FAMILIES = ["red", "green"]
KEYS = ["k", "l", ""]

scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(width=16) | st.binary(max_size=1)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=3,
)
tables = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
versions = st.builds(
    Version, st.integers(0, 2), st.sampled_from(["x" * 16, "y" * 16]), st.integers(0, 2), st.integers(0, 2)
)
records = st.builds(Record, versions, st.dictionaries(st.sampled_from(FAMILIES), tables, max_size=2))
databases = st.dictionaries(st.sampled_from(OWNERS), records, max_size=3)


def plain(records: Mapping[str, Record]) -> dict[str, tuple[Version, dict[str, Table]]]:
    return {owner: (record.version, record.tables) for owner, record in records.items()}


def are_same(one: Mapping[str, Record], other: Mapping[str, Record]) -> bool:
    """Also where a value is no number, and so unequal to itself."""
    return same(plain(one), plain(other))


# Any records at all: also two states under one version, which no owner that is honest makes.


@given(databases, databases)
def test_a_merge_is_commutative(one: dict[str, Record], other: dict[str, Record]) -> None:
    assert are_same(merge(one, other), merge(other, one))


@given(databases, databases, databases)
def test_a_merge_is_associative(one: dict[str, Record], other: dict[str, Record], third: dict[str, Record]) -> None:
    assert are_same(merge(merge(one, other), third), merge(one, merge(other, third)))


@given(databases, databases)
def test_a_merge_is_idempotent(one: dict[str, Record], other: dict[str, Record]) -> None:
    assert are_same(merge(one, one), one)
    both = merge(one, other)
    assert are_same(merge(both, one), both)
    assert are_same(merge(other, both), both)


@given(st.lists(databases, max_size=4), st.randoms(use_true_random=False))
def test_what_arrives_in_another_order_and_twice_gives_the_same(given: list[dict[str, Record]], random: Random) -> None:
    merged: dict[str, Record] = {}
    for database in given:
        merged = merge(merged, database)
    again: dict[str, Record] = {}
    for database in random.sample([*given, *given], 2 * len(given)):
        again = merge(again, database)
    assert are_same(merged, again)


@given(databases, databases)
def test_a_merge_takes_the_newer_of_two(one: dict[str, Record], other: dict[str, Record]) -> None:
    merged = merge(one, other)
    assert merged.keys() == one.keys() | other.keys()
    for owner, record in merged.items():
        copies = [database[owner] for database in (one, other) if owner in database]
        assert record in copies or any(record is copy for copy in copies)
        assert record.version == max(copy.version for copy in copies)


@pytest.mark.parametrize(
    "older, newer",
    [
        (Version(1, "z", 9, 9), Version(2, "a", 0, 0)),
        (Version(1, "a", 9, 9), Version(1, "b", 0, 0)),
        (Version(1, "a", 1, 9), Version(1, "a", 2, 0)),
        (Version(1, "a", 1, 1), Version(1, "a", 1, 2)),
    ],
)
def test_what_counts_first_is_the_run_then_where_it_is_then_what_it_has_changed(older: Version, newer: Version) -> None:
    one, other = Record(older), Record(newer)
    assert newest([one, other]) is newest([other, one]) is other


@pytest.mark.parametrize("one, other", [(1, True), (1, 1.0), (0, False), ("", b""), ([], {}), (None, 0), ([1], [True])])
def test_values_of_different_types_are_not_the_same(one: object, other: object) -> None:
    assert not same(one, other)


@pytest.mark.parametrize("value", [1, True, 1.5, float("nan"), "x", b"x", None, [1, [2]], {"a": 1, "b": float("nan")}])
def test_a_value_is_the_same_as_its_like(value: object) -> None:
    copy = type(value)(value) if value is not None else value  # type: ignore[call-arg]
    assert same(value, copy)


def test_the_order_of_a_dict_does_not_matter() -> None:
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})


@given(tables, tables)
def test_a_difference_leads_from_one_table_to_the_other(old: Table, new: Table) -> None:
    change = difference(old, new)
    table = dict(old)
    assert same(update(table, {**change.added, **change.changed}, change.deleted), change)
    assert same(table, new)
    assert bool(change) == (not same(old, new))
    assert not difference(new, new)


def test_an_update_says_what_it_came_to() -> None:
    table: Table = {"stays": 1, "changes": 2, "goes": 3, "equal": [4]}
    change = update(table, {"changes": 5, "equal": [4], "comes": 6}, ["goes", "goes", "never was", "comes"])
    assert change == Difference({"comes": 6}, {"changes": 5}, ("goes",))
    assert table == {"stays": 1, "changes": 5, "equal": [4], "comes": 6}


def test_the_greatest_node_id_wins_and_the_others_come_back() -> None:
    families = Families()
    families.set("B", "red", "k", 1)
    assert families.take_changes() == {"red": Difference({"k": 1}, {}, ())}
    families.set("a", "red", "k", 2)
    assert families.take_changes() == {"red": Difference({}, {"k": 2}, ())}
    families.set("B", "red", "k", 3)
    assert families.take_changes() == {}
    assert families.table("red") == families.find("red", "k") == {"k": 2}
    families.delete("a", "red", "k")
    assert families.take_changes() == {"red": Difference({}, {"k": 3}, ())}
    families.delete("B", "red", "k")
    assert families.take_changes() == {"red": Difference({}, {}, ("k",))}
    assert families.table("red") == families.find("red", "k") == {}


def test_changes_that_cancel_out_are_none() -> None:
    families = Families()
    families.set("a", "red", "k", 1)
    families.take_changes()
    record = Record(Version(0, "", 0, 0), {"red": {"k": 1}, "green": {"l": 2}})
    families.add("b", record)
    families.delete("a", "red", "k")
    families.set("a", "red", "m", 0)
    families.delete("a", "red", "m")
    assert families.take_changes() == {"green": Difference({"l": 2}, {}, ())}
    families.remove("b", record)
    assert families.take_changes() == {"red": Difference({}, {}, ("k",)), "green": Difference({}, {}, ("l",))}


class TestARecord:
    def test_holds_what_was_set(self) -> None:
        record = Record(Version(0, "", 0, 0))
        record.set("red", "k", 1)
        record.set("red", "l", 2)
        record.set("red", "k", 3)
        record.set("green", "k", 4)
        assert sorted(record.entries()) == [("green", "k", 4), ("red", "k", 3), ("red", "l", 2)]

    def test_says_whether_there_was_what_is_deleted(self) -> None:
        record = Record(Version(0, "", 0, 0), {"red": {"k": 1, "l": 2}})
        assert not record.delete("green", "k")
        assert not record.delete("red", "m")
        assert record.delete("red", "k")
        assert record.delete("red", "l")
        assert record.tables == {}
