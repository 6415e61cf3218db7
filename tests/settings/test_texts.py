"""Settings as texts: what is written is read as the same."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given, strategies as st

from trio_mp._settings import texts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.booleans() | NUMBERS | TEXTS
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(st.lists(TEXTS | st.lists(PLAIN, max_size=3), max_size=4))
@example(["one.example:4040", "[::1]:4040"])
@example(["unix:/run/a,b", ""])
@example([" a", "b"])
@example(['["a"]'])
@example(['["a'])
@example([["irc:start", "irc.example", 6667]])
def test_a_list_is_written_as_it_is_read(value: list[object]) -> None:
    assert texts.words(texts.written(value)) == value


def test_what_needs_no_list_is_written_as_people_do_it() -> None:
    assert texts.written(("one.example:4040", "[::1]:4040")) == "one.example:4040,[::1]:4040"
    assert texts.written([]) == "[]"
    assert texts.written("a, b") == "a, b"
    assert (texts.written(True), texts.written(5), texts.written(0.5)) == ("true", "5", "0.5")


@given(NESTED)
def test_toml_is_read_as_the_same(value: object) -> None:
    text = texts.in_toml(value)
    assert "\n" not in text
    assert tomllib.loads(f"value = {text}")["value"] == value


@pytest.mark.parametrize("value", [None, ["a", None], "\udc80", [b"a"]])
def test_what_toml_does_not_have(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        texts.in_toml(value)
