"""Layers of settings: the first that gives a setting decides, and lists replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_mp import ConfigurationError
from trio_mp._profiles.document import Document
from trio_mp._profiles.gathering import TAKEN, Request, check_request, explain, explain_barred, gather
from trio_mp._profiles.sources import PROGRAM, Given, Layer, merge, program_layer

NAMES = ["seeds", "binds", "heartbeat", "node_id", "spawn_modules"]

VALUES = st.one_of(st.integers(0, 3), st.lists(st.sampled_from("ab"), max_size=2))


def layer_of(source: str, values: Mapping[str, object]) -> Layer:
    return {name: Given(name, value, f"{source}/{name}") for name, value in values.items()}


DICTS = st.dictionaries(st.sampled_from(NAMES), VALUES)
SETS = st.frozensets(st.sampled_from(NAMES))


@given(st.lists(DICTS, max_size=4), DICTS, SETS)
def test_the_first_layer_that_gives_a_setting_decides(
    outside: Sequence[dict[str, object]], program: dict[str, object], barred: frozenset[str]
) -> None:
    layers = [layer_of(str(number), values) for number, values in enumerate(outside)]
    merged = merge(layers, program_layer(program), dict.fromkeys(barred, "fixed"))
    for name in NAMES:
        candidates = [] if name in barred else [layer[name] for layer in layers if name in layer]
        candidates += [Given(name, program[name], PROGRAM)] if name in program else []
        assert merged.chosen.get(name) == (candidates[0] if candidates else None)
        if candidates:
            # The very list of one layer: nothing is added to it.
            assert merged.values[name] is candidates[0].value
    # Each setting that was given counts, or is said not to.
    given = [one for layer in layers for one in layer.values()] + list(program_layer(program).values())
    told = [*merged.chosen.values(), *(one.given for one in merged.overridden)]
    assert sorted(map(repr, told)) == sorted(map(repr, given))
    assert {one.given.name for one in merged.overridden if one.barred} <= barred


@given(st.lists(DICTS, max_size=4), DICTS, DICTS)
def test_the_order_is_total_and_more_layers_below_change_nothing_that_was_given(
    outside: Sequence[dict[str, object]], program: dict[str, object], lower: dict[str, object]
) -> None:
    layers = [layer_of(str(number), values) for number, values in enumerate(outside)]
    before = merge(layers, {}, {}).chosen
    after = merge([*layers, layer_of("lower", lower)], program_layer(program), {}).chosen
    assert {name: after[name] for name in before} == before
    assert set(after) == set(before) | set(lower) | set(program)


def test_who_gives_a_secret_decides_about_the_file_with_secrets_too() -> None:
    program = {"secret": "of the program", "certificate": None}
    merged = merge([layer_of("outside", {"secret_file": "f"})], program_layer(program), {})
    assert merged.values == {"secret_file": "f", "certificate": None}
    assert [one.why for one in merged.overridden] == ["outside/secret_file decides"]
    higher, lower = layer_of("higher", {"secret": "s"}), layer_of("lower", {"secret_file": "f"})
    assert merge([higher, lower], {}, {}).values == {"secret": "s"}
    # One that gives both contradicts itself. That is found when both are checked together.
    both = layer_of("both", {"secret": "s", "secret_file": "f"})
    assert merge([both], {}, {}).values == {"secret": "s", "secret_file": "f"}
    # Who fixes one fixes the other.
    fixed = merge([lower], program_layer(program), {"secret": "fixed"})
    assert (fixed.values, [one.barred for one in fixed.overridden]) == (program, [True])


# Where the layers come from -------------------------------------------------------------------------------------------

FILE = Document("/f", None, {"heartbeat": 4}, {"a": {"parent": "b", "heartbeat": 2}, "b": {"heartbeat": 3}})
"""Each layer, from the lowest one to the highest, gives another number."""


def gathered(profile: str | bool | None = None, *, environ: dict[str, str] | None = None, **arguments: Any) -> Any:
    request = check_request(None, profile, arguments.pop("fixed", ()), arguments)
    assert request is not None
    return gather(request, environ or {}, lambda: FILE).values


def test_who_deploys_decides_in_this_order() -> None:
    everything = {"TRIO_MP_HEARTBEAT": "1"}
    request = check_request(None, "a", (), {"heartbeat": 5})
    assert request is not None
    command_line = {"heartbeat": Given("heartbeat", 0.5, "--heartbeat")}
    chosen = [
        gather(request, everything, lambda: FILE, command_line=command_line).values,
        gathered("a", environ=everything, heartbeat=5),
        gathered("a", heartbeat=5),
        gathered("b", heartbeat=5),
        gathered(True, heartbeat=5),
        gathered(heartbeat=5),
        gathered(),
    ]
    assert [found.get("heartbeat") for found in chosen] == [0.5, 1.0, 2, 3, 4, 5, None]


def test_without_a_wish_for_a_network_the_file_is_not_even_read() -> None:
    def refuse() -> Document:
        raise AssertionError("it was read")

    for arguments in ({}, {"mailbox_limit": 5}, {"seeds": ()}, {"binds": ()}, {"binds": None, "secret": "x" * 16}):
        request = Request(None, frozenset(), arguments)
        merged = gather(request, {"TRIO_MP_HEARTBEAT": "1", "TRIO_MP_SECRET": "y" * 16}, refuse)
        assert merged.values == arguments | {"heartbeat": 1.0, "secret": "y" * 16}


@pytest.mark.parametrize(
    "profile, environ, arguments",
    [
        (True, {}, {}),
        ("b", {}, {}),
        (None, {"TRIO_MP_PROFILE": "b"}, {}),
        (None, {"TRIO_MP_SEEDS": "unix:s"}, {}),
        (None, {"TRIO_MP_BINDS": "unix:s"}, {}),
        (None, {}, {"seeds": ["unix:s"]}),
        (None, {}, {"binds": ["unix:s"]}),
    ],
)
def test_who_wants_a_network_gets_what_is_configured(
    profile: str | bool | None, environ: dict[str, str], arguments: dict[str, Any]
) -> None:
    assert gathered(profile, environ=environ, **arguments)["heartbeat"] in (3, 4)


@pytest.mark.parametrize(
    "profile, environ, use, heartbeat",
    [
        (True, {}, None, 4),
        (True, {}, "b", 3),
        (True, {"TRIO_MP_PROFILE": "a"}, "b", 2),
        (True, {"TRIO_MP_PROFILE": ""}, "b", 3),
        ("b", {"TRIO_MP_PROFILE": "a"}, None, 3),
    ],
)
def test_which_profile_it_is(profile: str | bool, environ: dict[str, str], use: str | None, heartbeat: float) -> None:
    document = Document("/f", use, FILE.default, FILE.profiles)
    request = check_request(None, profile, (), {})
    assert request is not None
    assert gather(request, environ, lambda: document).values == {"heartbeat": heartbeat}


def test_what_is_fixed_cannot_be_changed_and_that_is_said() -> None:
    request = check_request("me", "a", ("heartbeat", "node_id", "encryption"), {"heartbeat": 5})
    assert request is not None
    merged = gather(request, {"TRIO_MP_NODE_ID": "you", "TRIO_MP_ENCRYPTION": "false"}, lambda: FILE)
    assert merged.values == {"heartbeat": 5, "node_id": "me"}
    reason = "has no effect: the program has fixed it"
    variables = [f"TRIO_MP_NODE_ID {reason}", f"TRIO_MP_ENCRYPTION {reason}"]
    places = [f"/f: {place}.heartbeat {reason}" for place in ("profile.a", "profile.b", "default")]
    assert explain_barred(merged) == variables + places
    assert explain(merged) == []


def test_a_profile_of_the_environment_that_the_program_does_not_take_is_named() -> None:
    request = check_request(None, "b", (), {})
    assert request is not None
    merged = gather(request, {"TRIO_MP_PROFILE": "a"}, lambda: FILE)
    assert explain_barred(merged) == ["TRIO_MP_PROFILE has no effect: the program names another"]
    assert explain_barred(gather(request, {"TRIO_MP_PROFILE": "b"}, lambda: FILE)) == []


def test_the_log_is_told_the_sources_and_no_value() -> None:
    secret = "the secret of all of us"
    request = check_request("me", "a", (), {"heartbeat": 5, "secret": "another secret, of the program"})
    assert request is not None
    environ = {"TRIO_MP_SECRET": secret, "TRIO_MP_BINDS": "unix:s"}
    merged = gather(request, environ, lambda: FILE, barred={"binds": TAKEN})
    assert explain(merged) == [
        "secret is from TRIO_MP_SECRET",
        "heartbeat is from /f: profile.a.heartbeat",
        f"TRIO_MP_BINDS does not count, because {TAKEN}",
        "the program's heartbeat does not count, because /f: profile.a.heartbeat decides",
        "the program's secret does not count, because TRIO_MP_SECRET decides",
    ]
    assert explain_barred(merged) == []
    assert secret not in repr(merged)


def test_an_argument_that_does_not_count_is_checked_all_the_same() -> None:
    with pytest.raises(TypeError, match=r"^heartbeat: expected a number of seconds, got '5'"):
        gathered("a", heartbeat="5")
    with pytest.raises(ConfigurationError, match=r"^heartbeat: expected 0\.1 to 60"):
        gathered("a", heartbeat=100)


def test_an_iterator_among_the_arguments_can_be_looked_at_twice() -> None:
    request = check_request(None, None, (), {"seeds": iter(["unix:a"])})
    assert request is not None
    assert request.arguments["seeds"] == ("unix:a",)


@pytest.mark.parametrize(
    "profile, fixed, text",
    [
        (5, (), r"^profile: expected the name of a profile, True, False or None, got 5"),
        (None, "encryption", r"^fixed: .* got 'encryption'; write \['encryption'\]"),
        (None, ("encription",), r"^fixed: .* got 'encription' \(did you mean encryption\?\)"),
        (None, (5,), r"^fixed: .* got \(5,\)"),
        (False, ("encription",), r"^fixed: "),
    ],
)
def test_wrong_arguments_are_named(profile: Any, fixed: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        check_request(None, profile, fixed, {})


def test_a_program_that_takes_nothing_from_outside() -> None:
    assert check_request("me", False, (), {"seeds": ["unix:s"]}) is None
