"""Node IDs, port IDs and the random tokens in them."""

from __future__ import annotations

import os
from collections.abc import Callable

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
    random_token,
    spawn_counter,
    split_port,
)

TOKEN = "abcdefghABCDEFGH"
NODE_ID_CHARACTERS = "ABCXYZabcxyz0189_-.:/"

node_ids = st.text(NODE_ID_CHARACTERS, min_size=1, max_size=255)
tokens = st.text("AZaz09", min_size=INCARNATION_LENGTH, max_size=INCARNATION_LENGTH)
names = st.builds("{}.{}".format, tokens, st.integers(1, 10**19 - 1))

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
    with pytest.raises(ValueError, match="not a node ID: ") as caught:
        check_node_id(text)
    assert repr(text) in str(caught.value)


def test_a_node_id_of_255_characters_is_one_and_of_256_is_none() -> None:
    assert is_node_id("n" * 255)
    assert not is_node_id("n" * 256)


@pytest.mark.parametrize("value", [None, 1, b"node"])
def test_a_node_id_that_is_no_str_is_a_type_error_that_names_it(value: object) -> None:
    with pytest.raises(TypeError, match="a node ID is a str") as caught:
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
    [
        TOKEN,
        f"{TOKEN}.",
        f"{TOKEN}.0",
        f"{TOKEN}.01",
        f"{TOKEN}.-1",
        f"{TOKEN}.+1",
        f"{TOKEN}.1.1",
        f"{TOKEN}.1_0",
        f"{TOKEN}.1\n",
        f"{TOKEN}.٣",
        f"{TOKEN}." + "1" * 20,
        f"{TOKEN[:-1]}.1",
        f"{TOKEN}x.1",
        f"{TOKEN}.1#",
        ".1",
        "1",
    ],
)
def test_what_is_no_name_of_a_port(name: str) -> None:
    assert not is_port_name(name)
    assert spawn_counter(name, TOKEN) is None
    with pytest.raises(ValueError, match="not a port ID: "):
        split_port(f"node#{name}")


def test_the_empty_name_is_the_node_ports_and_no_name_of_a_port() -> None:
    assert not is_port_name("")


@each_bad_node_id
@pytest.mark.parametrize("suffix", ["", "#", f"#{TOKEN}.1"])
def test_a_port_id_needs_a_node_id(text: str, suffix: str) -> None:
    if text + suffix == "a#b":
        text = "#"
    with pytest.raises(ValueError, match="not a port ID: "):
        split_port(text + suffix)


@pytest.mark.parametrize("split", [split_port, node_of])
@pytest.mark.parametrize("value", [None, 4, b"node#", ("node", "")])
def test_a_port_that_is_no_str_is_a_type_error_that_names_it(split: Callable[[object], object], value: object) -> None:
    with pytest.raises(TypeError, match="a port is a str") as caught:
        split(value)
    assert repr(value) in str(caught.value)


def test_a_port_id_is_the_plain_string_that_it_is() -> None:
    port = PortID(f"node#{TOKEN}.1")
    assert port == f"node#{TOKEN}.1"
    assert hash(port) == hash(str(port))
    assert str(port) == f"{port}" == f"node#{TOKEN}.1"
    assert not hasattr(port, "__dict__")


@given(tokens, st.integers(1, 10**19 - 1))
def test_the_counter_of_a_spawned_port(token: str, counter: int) -> None:
    assert spawn_counter(f"{token}.{counter}", token) == counter


def test_no_incarnation_names_the_ports_of_another() -> None:
    assert spawn_counter(f"{TOKEN}.1", TOKEN.swapcase()) is None
    assert spawn_counter(f"{TOKEN}.1", "") is None
    assert spawn_counter("", "") is None
    assert spawn_counter(".1", "") is None
