"""A batch of records while it comes: what belongs to it, and what was refused."""

from __future__ import annotations

from database_helpers import incarnation

from trio_mp._protocol.database.messages import Begin
from trio_mp._protocol.database.records import Record, Version
from trio_mp._protocol.database.sources import Batch


def version(sequence: int) -> Version:
    return Version(1, incarnation(1), 0, sequence)


def even(_owner: str, record: Record) -> bool:
    """A judge that takes the records with an even sequence number."""
    return record.version.sequence % 2 == 0


def filled(*sequences: int) -> Batch:
    """A batch in which one record comes again and again, each time with another sequence number and entry."""
    batch = Batch(Begin(True), even)
    for sequence in sequences:
        batch.begin_record("a", version(sequence))
        assert batch.add({"red": {"k": sequence}})
    batch.end_record()
    return batch


def test_a_record_that_comes_again_is_the_last_one() -> None:
    batch = filled(2, 4)
    assert batch.records == {"a": Record(version(4), {"red": {"k": 4}})}
    assert not batch.refused


def test_a_record_that_comes_again_and_is_refused_is_not_the_one_before() -> None:
    batch = filled(2, 3)
    assert not batch.records
    assert list(batch.refused) == ["a"]


def test_a_record_that_comes_again_and_is_taken_is_not_refused() -> None:
    batch = filled(3, 2)
    assert list(batch.records) == ["a"]
    assert not batch.refused


def test_entries_belong_to_the_record_that_began_last() -> None:
    batch = Batch(Begin(True, answers=7), even)
    assert (batch.whole, batch.answers) == (True, 7)
    assert not batch.add({"red": {"k": 0}})
    batch.begin_record("a", version(0))
    batch.begin_record("b", version(2))
    assert batch.add({"red": {"k": 1}})
    assert batch.add({"red": {"l": 2}, "green": {"m": 3}})
    batch.end_record()
    batch.end_record()
    assert not batch.add({"red": {"k": 4}})
    assert batch.records == {
        "a": Record(version(0)),
        "b": Record(version(2), {"red": {"k": 1, "l": 2}, "green": {"m": 3}}),
    }
