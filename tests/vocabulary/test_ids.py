"""Node IDs, port IDs and the random tokens in them."""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from trio_mp._ids import (
    INCARNATION_LENGTH,
    PortID,
    check_node_id,
    is_incarnation,
    is_node_id,
    is_port_name,
    join_port,
    node_of,
    random_parts,
    random_token,
    spawn_counter,
    spawned_prefix,
    spawner_mark,
    split_port,
)

TOKEN = "abcdefghABCDEFGH"
NODE_ID_CHARACTERS = "ABCXYZabcxyz0189_-.:/"

node_ids = st.text(NODE_ID_CHARACTERS, min_size=1, max_size=255)
tokens = st.text("AZaz09", min_size=INCARNATION_LENGTH, max_size=INCARNATION_LENGTH)
names = st.text("AZaz09_.-", min_size=16, max_size=64)
MARK = "abcdefgh-_ABCDEF"
marks = st.text("AZaz09_-", min_size=16, max_size=16)

each_bad_node_id = pytest.mark.parametrize(
    "text", ["", "a b", "a#b", "a\n", "\na", "ä", "a;b", "a%b", "٣", "a\x00", "n" * 256]
)


def test_a_token_has_16_letters_and_digits() -> None:
    token = random_token(os.urandom)
    assert len(token) == INCARNATION_LENGTH == 16
    assert is_incarnation(token)


def test_a_token_asks_for_16_bytes_and_depends_on_all_of_them() -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    assert random_token(entropy) == "A" * 16
    assert asked == [16]
    source = bytes(range(16))
    tokens = {random_token(lambda _: source)}
    for index in range(16):
        changed = bytearray(source)
        changed[index] ^= 1
        tokens.add(random_token(lambda _, changed=bytes(changed): changed))  # type: ignore[misc]
    assert len(tokens) == 17


def test_the_same_entropy_gives_the_same_token() -> None:
    assert random_token(lambda size: b"\x01" * size) == random_token(lambda size: b"\x01" * size)


@given(st.binary(min_size=16, max_size=16))
def test_any_entropy_gives_an_incarnation(data: bytes) -> None:
    assert is_incarnation(random_token(lambda _: data))


@given(node_ids)
def test_node_ids_are_made_of_the_characters_allowed(text: str) -> None:
    assert is_node_id(text)
    assert check_node_id(text) == text


@each_bad_node_id
def test_anything_else_is_no_node_id(text: str) -> None:
    assert not is_node_id(text)
    with pytest.raises(ValueError, match="node ID: expected 1 to 255 of the characters") as caught:
        check_node_id(text)
    assert repr(text) in str(caught.value)


def test_a_node_id_of_255_characters_is_one_and_of_256_is_none() -> None:
    assert is_node_id("n" * 255)
    assert not is_node_id("n" * 256)


@pytest.mark.parametrize("value", [None, 1, b"node"])
def test_a_node_id_that_is_no_str_is_a_type_error_that_names_it(value: object) -> None:
    with pytest.raises(TypeError, match="node ID: expected a str, got ") as caught:
        check_node_id(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("text", ["", TOKEN[:-1], TOKEN + "x", TOKEN[:-1] + "-", TOKEN[:-1] + "\n", TOKEN[:-1] + "ä"])
def test_what_is_no_incarnation(text: str) -> None:
    assert is_incarnation(TOKEN)
    assert not is_incarnation(text)


@given(node_ids, names)
def test_a_port_id_splits_into_what_it_was_joined_from(node_id: str, name: str) -> None:
    assert is_port_name(name)
    port = join_port(node_id, name)
    assert port == node_id + "#" + name
    assert split_port(port) == (node_id, name)
    assert split_port(PortID(port)) == (node_id, name)
    assert node_of(port) == node_id


@given(node_ids)
def test_a_node_port_is_named_with_and_without_the_separator(node_id: str) -> None:
    assert split_port(node_id) == split_port(node_id + "#") == (node_id, "")
    assert join_port(node_id, "") == node_id + "#"
    assert node_of(node_id) == node_of(node_id + "#") == node_id


@pytest.mark.parametrize(
    "name",
    [f"{TOKEN}.1\n", f"\n{TOKEN}", f"{TOKEN}.٣", f"{TOKEN}#", "x" * 15, "x" * 65, *("x" * 20 + c for c in " /:+%;ä\0")],
)
def test_what_is_no_name_of_a_port(name: str) -> None:
    assert not is_port_name(name)
    assert spawn_counter(name, MARK) is None
    with pytest.raises(ValueError, match="port: expected a port ID, got "):
        split_port(f"node#{name}")


def test_the_empty_name_is_the_node_ports_and_no_name_of_a_port() -> None:
    assert not is_port_name("")


@each_bad_node_id
@pytest.mark.parametrize("suffix", ["", "#", f"#{TOKEN}.1"])
def test_a_port_id_needs_a_node_id(text: str, suffix: str) -> None:
    if text + suffix == "a#b":
        text = "#"
    with pytest.raises(ValueError, match="port: expected a port ID, got "):
        split_port(text + suffix)


@pytest.mark.parametrize("split", [split_port, node_of])
@pytest.mark.parametrize("value", [None, 4, b"node#", ("node", "")])
def test_a_port_that_is_no_str_is_a_type_error_that_names_it(split: Callable[[object], object], value: object) -> None:
    with pytest.raises(TypeError, match="port: expected a str, such as a Port or a port ID, got ") as caught:
        split(value)
    assert repr(value) in str(caught.value)


def test_a_port_id_is_the_plain_string_that_it_is() -> None:
    port = PortID(f"node#{TOKEN}.1")
    assert port == f"node#{TOKEN}.1"
    assert hash(port) == hash(str(port))
    assert str(port) == f"{port}" == f"node#{TOKEN}.1"
    assert not hasattr(port, "__dict__")


@given(marks, st.integers(1, 10**19 - 1), marks)
def test_the_counter_of_a_spawned_port(mark: str, counter: int, random_part: str) -> None:
    name = spawned_prefix(mark, counter) + random_part
    assert is_port_name(name)
    assert spawn_counter(name, mark) == counter


@pytest.mark.parametrize(
    "name",
    [
        "",
        MARK,
        f"{MARK}.1",
        f"{MARK}.{MARK}",
        f"{MARK}.1.",
        f"{MARK}.1.{MARK[1:]}",
        f"{MARK}.1.{MARK}x",
        f"{MARK}.1.{MARK}\n",
        f"{MARK}.1.{MARK}.1",
        f"{MARK}.0.{MARK}",
        f"{MARK}.01.{MARK}",
        f"{MARK}.-1.{MARK}",
        f"{MARK}..{MARK}",
        f"{MARK}.٣.{MARK}",
        f"{MARK}.1_0.{MARK}",
        f"{MARK}.{'1' * 20}.{MARK}",
        f"{MARK[1:]}.1.{MARK}",
        f"{MARK}x.1.{MARK}",
        f"{MARK.swapcase()}.1.{MARK}",
    ],
)
def test_what_is_no_name_that_the_node_of_a_mark_may_give(name: str) -> None:
    assert spawn_counter(name, MARK) is None


def test_each_run_of_each_node_has_a_mark_of_its_own() -> None:
    mark = spawner_mark("node", TOKEN)
    # Pinned: peers in other languages compute it as well.
    assert mark == urlsafe_b64encode(sha256(b"node#" + TOKEN.encode()).digest())[:16].decode() == "alpLsEG7pODtd53T"
    assert spawner_mark("a", "A" * 16) == "OrYMGPlcLLfaMj-i"
    assert len({mark, spawner_mark("node", TOKEN.swapcase()), spawner_mark("nod", "e" + TOKEN)}) == 3


def test_random_parts_of_names_are_all_of_the_entropy_and_nothing_else() -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    source = os.urandom(768)
    parts = random_parts(lambda size: source[:size])
    assert len(parts) == 64
    assert b"".join(urlsafe_b64decode(part) for part in parts) == source
    assert all(is_port_name(part) and len(part) == 16 for part in parts)
    drawn = [part for _ in range(100) for part in random_parts(entropy)]
    assert len(set(drawn)) == len(drawn) == 6400
    assert asked == [768] * 100
