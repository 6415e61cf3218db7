"""The rules by which a network forms: each by itself, and in networks of up to six nodes that come and go."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from membership_model import (
    NAMES,
    Model,
    Network,
    address,
    encoded,
    garbage,
    sensible,
)

from trio_mp._protocol.membership.messages import ADDRESS_LIMIT, GLOBALS_LIMIT, MEMBERSHIP
from trio_mp._protocol.membership.permissions import Declined, NotAllowed
from trio_mp._protocol.membership.rules import (
    WELCOME_SIZE,
    AddressesChanged,
    Attached,
    BecameGlobal,
    Detached,
    DialWanted,
    GlobalDown,
    GlobalUp,
    GuestDown,
    GuestUp,
    Membership,
    MembershipEffect,
)
from trio_mp._protocol.schema import Send


def make(node_id: str = "n", *, is_global: bool = False) -> Membership:
    rules = Membership(node_id, is_global=is_global)
    rules.located((address(node_id),))
    return rules


def make_global(node_id: str = "n", *mesh: str, guests: tuple[str, ...] = ()) -> Membership:
    rules = make(node_id, is_global=True)
    for other in mesh:
        rules.received(other, "join", (True, [address(other)]))
    for guest in guests:
        rules.received(guest, "join", (False, []))
        rules.received(guest, "attach", ())
    return rules


def make_guest(node_id: str = "n", anchor: str = "h", **others: list[object]) -> Membership:
    rules = make(node_id)
    rules.reached(anchor)
    rules.received(anchor, "welcome", ([address(anchor)], dict(others)))
    return rules


class OnlySome:
    """Who may be global: these, and this node if one of them asks."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def of(self, node_id: str) -> str:
        return "" if node_id in self.names else f"{node_id} may not"

    def own(self, asked_by: str) -> str:
        return "" if asked_by in self.names else f"n may not for {asked_by}"


# One rule after the other ---------------------------------------------------------------------------------------------


def test_a_node_without_seeds_is_global_and_one_with_seeds_is_not() -> None:
    assert Membership("n", is_global=True).is_global
    assert not Membership("n", is_global=False).is_global


def test_who_may_not_become_global_at_anothers_word_stays_what_it_is() -> None:
    rules = Membership("n", is_global=False, permissions=OnlySome("seed"))
    for is_global in (False, True):
        why = "x may not" if is_global else "n may not for x"
        assert rules.received("x", "join", (is_global, [])) == [NotAllowed("x", why), Send("x", ("decline", why))]
    assert not rules.is_global
    assert rules.mesh == rules.heard == {}
    effects = rules.received("seed", "join", (True, []))
    assert effects is not None
    assert BecameGlobal() in effects
    assert GlobalUp("seed") in effects


def test_a_global_node_meshes_with_nobody_who_may_not_be_one() -> None:
    rules = Membership("n", is_global=True, permissions=OnlySome("seed"))
    why = "x may not"
    assert rules.received("x", "join", (True, [])) == [NotAllowed("x", why), Send("x", ("decline", why))]
    rules.reached("x")
    assert rules.received("x", "welcome", ([], {})) == [Declined("x", "x may not")]
    assert rules.mesh == {}
    # As a guest it is as good as any.
    assert rules.received("x", "join", (False, [])) == [Send("x", ("welcome", (), {}))]


def test_nobody_attaches_to_who_may_not_be_global() -> None:
    rules = Membership("n", is_global=False, permissions=OnlySome("seed"))
    rules.reached("x")
    assert rules.received("x", "welcome", ([], {})) == [Declined("x", "x may not")]
    assert rules.anchor is None


def test_who_is_declined_hears_why() -> None:
    rules = make("n")
    assert rules.received("x", "decline", ("not asked",)) == []
    rules.reached("x")
    said = rules.received("x", "decline", ("no" + "\n" + "x" * 400,))
    assert said == [Declined("x", "the peer says: no" + "x" * 298)]
    assert rules.received("x", "decline", (5,)) is None


@pytest.mark.parametrize("is_global", [True, False])
def test_whom_a_node_reaches_it_joins(is_global: bool) -> None:
    rules = make(is_global=is_global)
    assert rules.reached("s") == [Send("s", ("join", is_global, ("unix:/n",)))]


def test_whoever_is_joined_becomes_global_and_welcomes() -> None:
    rules = make("s")
    assert rules.received("n", "join", (False, [])) == [BecameGlobal(), Send("n", ("welcome", ("unix:/s",), {}))]
    assert rules.is_global
    assert rules.received("n", "join", (False, [])) == [Send("n", ("welcome", ("unix:/s",), {}))]
    assert not rules.mesh
    assert not rules.globals


def test_a_welcome_names_those_in_the_mesh_but_not_whom_it_is_for() -> None:
    rules = make_global("s", "g", "h")
    assert rules.received("g", "join", (True, [address("g")])) == [
        Send("g", ("welcome", ("unix:/s",), {"h": ("unix:/h",)}))
    ]


def test_a_global_node_that_joins_is_meshed_and_the_others_and_the_guests_hear_of_it() -> None:
    rules = make_global("s", "g", guests=("x",))
    assert rules.received("h", "join", (True, [address("h")])) == [
        Send("h", ("welcome", ("unix:/s",), {"g": ("unix:/g",)})),
        GlobalUp("h"),
        Send("g", ("meet", "h", ("unix:/h",))),
        Send("x", ("welcome", ("unix:/s",), {"g": ("unix:/g",), "h": ("unix:/h",)})),
    ]
    assert list(rules.mesh) == ["g", "h"]


def test_the_first_welcome_attaches() -> None:
    rules = make()
    rules.reached("s")
    assert rules.received("s", "welcome", ([address("s")], {"g": [address("g")]})) == [
        Send("s", ("attach",)),
        Attached("s"),
    ]
    assert rules.anchor == "s"
    assert rules.globals == {"g": ("unix:/g",), "s": ("unix:/s",)}
    assert rules.wants("s")
    assert not rules.wants("g")
    assert rules.knows("g")
    assert rules.knows("n")
    assert rules.knows("s")
    assert not rules.knows("z")


def test_a_later_welcome_of_the_anchor_replaces_what_is_known() -> None:
    rules = make_guest("n", "h", g=[address("g")])
    assert rules.received("h", "welcome", ([address("h")], {"i": [address("i")], "n": [address("n")]})) == []
    assert rules.globals == {"i": ("unix:/i",), "h": ("unix:/h",)}


def test_what_the_anchor_does_not_use_any_more_is_kept_in_mind() -> None:
    """It may only be cut off from the anchor, and be the last one that lives."""
    rules = make_guest("n", "h", g=[address("g")], i=[])
    assert rules.received("h", "welcome", ([address("h")], {})) == []
    assert rules.globals == {"h": ("unix:/h",)}
    assert rules.former == {"g": ("unix:/g",)}, "without an address it cannot be dialled"
    assert not rules.knows("g"), "it is introduced to the anchor, if it is met"
    assert not rules.wants("g")
    rules.lost("h")
    assert rules.wants("g")
    assert list(rules.dialled()) == ["h", "g"]
    rules.reached("g")
    assert rules.received("g", "welcome", ([address("g")], {})) == [Send("g", ("attach",)), Attached("g")]
    assert rules.globals == {"g": ("unix:/g",)}
    assert rules.former == {"h": ("unix:/h",)}
    rules.forget("h")
    assert list(rules.dialled()) == ["g"]


def test_who_becomes_global_dials_those_that_its_anchors_have_used_before() -> None:
    rules = make_guest("n", "h", g=[address("g")])
    rules.received("h", "welcome", ([address("h")], {}))
    rules.became_seed()
    assert rules.wants("g")
    assert "g" in rules.dialled()
    rules.received("g", "join", (True, [address("g")]))
    assert "g" in rules.mesh
    assert not rules.former


def test_how_many_former_ones_are_kept_in_mind() -> None:
    rules = make_guest("n", "h")
    for number in range(2 * GLOBALS_LIMIT):
        rules.received("h", "welcome", ([address("h")], {f"g{number}": [address("g")]}))
    assert len(rules.dialled()) == GLOBALS_LIMIT
    assert list(rules.former)[-1] == f"g{2 * GLOBALS_LIMIT - 2}"
    many = {f"i{number}": [address("i")] for number in range(GLOBALS_LIMIT)}
    rules.received("h", "welcome", ([address("h")], many))
    assert not rules.former


def test_a_global_node_that_the_anchor_does_not_know_is_introduced_to_it() -> None:
    rules = make_guest("n", "h", g=[address("g")])
    rules.reached("g")
    rules.reached("s")
    assert rules.received("g", "welcome", ([address("g")], {})) == []
    assert rules.received("s", "welcome", ([address("s")], {})) == [Send("h", ("meet", "s", ("unix:/s",)))]
    assert rules.anchor == "h"


def test_a_welcome_that_was_not_asked_for_does_nothing() -> None:
    rules = make()
    assert rules.received("z", "welcome", ([address("z")], {"y": [address("y")]})) == []
    assert rules.anchor is None
    assert not rules.globals
    rules = make_global()
    assert rules.received("z", "welcome", ([address("z")], {})) == []
    assert not rules.mesh
    assert not rules.globals


def test_a_welcome_to_a_connection_that_is_gone_does_nothing() -> None:
    rules = make()
    rules.reached("s")
    rules.lost("s")
    assert rules.received("s", "welcome", ([], {})) == []


def test_between_global_nodes_a_welcome_meshes_and_says_of_whom_to_hear() -> None:
    rules = make_global("n", guests=("x",))
    rules.reached("g")
    assert rules.received("g", "welcome", ([address("g")], {"h": [address("h")], "n": [address("wrong")]})) == [
        GlobalUp("g"),
        Send("x", ("welcome", ("unix:/n",), {"g": ("unix:/g",)})),
    ]
    assert rules.globals == {"g": ("unix:/g",), "h": ("unix:/h",)}
    assert list(rules.mesh) == ["g"]
    assert rules.received("g", "welcome", ([address("g")], {})) == []


def test_attaching() -> None:
    rules = make_global("n", "g")
    rules.received("x", "join", (False, []))
    # It is welcomed again: the mesh may have changed since it was the first time.
    assert rules.received("x", "attach", ()) == [
        GuestUp("x"),
        Send("x", ("welcome", ("unix:/n",), {"g": ("unix:/g",)})),
    ]
    assert rules.received("x", "attach", ()) == []
    assert rules.received("g", "attach", ()) == []
    assert list(rules.guests) == ["x"]
    assert make().received("x", "attach", ()) == []


def test_an_attach_that_has_waited_since_the_connection_before_does_nothing() -> None:
    # It was queued while the connection was given back, and its sender has attached to another since.
    rules = make_global("n")
    rules.received("x", "join", (False, []))
    assert rules.lost("x") == []
    assert rules.received("x", "attach", ()) == []
    assert not rules.guests
    rules.received("x", "join", (False, []))
    assert not rules.guests


def test_a_guest_that_turns_out_to_be_global_is_no_guest_any_more() -> None:
    rules = make_global("n", guests=("x", "y"))
    assert rules.received("x", "join", (True, [address("x")])) == [
        Send("x", ("welcome", ("unix:/n",), {})),
        GuestDown("x"),
        GlobalUp("x"),
        Send("y", ("welcome", ("unix:/n",), {"x": ("unix:/x",)})),
    ]
    assert list(rules.guests) == ["y"]
    # And if it says so by a welcome.
    rules.reached("y")
    assert GuestDown("y") in (rules.received("y", "welcome", ([], {})) or [])
    assert not rules.guests
    assert rules.lost("y") == [GlobalDown("y")]
    assert "y" not in rules.mesh


def test_who_becomes_global_joins_again_whom_it_has_joined_as_something_else() -> None:
    rules = make_guest("n", "h")
    rules.reached("s")
    assert rules.became_seed() == [
        Detached("h"),
        BecameGlobal(),
        Send("h", ("join", True, ("unix:/n",))),
        Send("s", ("join", True, ("unix:/n",))),
    ]
    assert rules.anchor is None
    assert rules.became_seed() == []


def test_who_loses_its_anchor_joins_again_those_that_it_is_still_connected_with() -> None:
    rules = make_guest("n", "h", g=[address("g")])
    rules.reached("g")
    rules.received("g", "welcome", ([address("g")], {}))
    assert rules.lost("h") == [Detached("h"), Send("g", ("join", False, ("unix:/n",)))]
    assert rules.wants("h")
    assert rules.wants("g")
    assert rules.received("g", "welcome", ([address("g")], {})) == [Send("g", ("attach",)), Attached("g")]


def test_losing_connections() -> None:
    rules = make_global("n", "g", "h", guests=("x", "y"))
    assert rules.lost("z") == []
    assert rules.lost("x") == [GuestDown("x")]
    assert rules.lost("g") == [GlobalDown("g"), Send("y", ("welcome", ("unix:/n",), {"h": ("unix:/h",)}))]
    # It is still dialled.
    assert rules.knows("g")
    assert rules.wants("g")


def test_forgetting() -> None:
    rules = make_global("n", "g")
    rules.received("x", "meet", ("dead", ["unix:/dead"]))
    rules.forget("dead")
    rules.forget("dead")
    assert "dead" not in rules.globals
    rules.forget("g")
    assert "g" in rules.globals, "it is connected"
    guest = make_guest("n", "h")
    guest.forget("h")
    assert "h" in guest.globals


def test_meeting() -> None:
    rules = make_global("n", "g")
    assert rules.received("x", "meet", ("s", [address("s")])) == []
    assert rules.globals["s"] == ("unix:/s",)
    rules.received("x", "meet", ("s", ["unix:/elsewhere"]))
    assert rules.globals["s"] == ("unix:/elsewhere",)
    rules.received("x", "meet", ("s", []))
    assert rules.globals["s"] == ("unix:/elsewhere",), "nothing is not more than something"
    rules.received("x", "meet", ("g", ["unix:/wrong"]))
    assert rules.globals["g"] == ("unix:/g",), "what it says of itself counts more"
    rules.received("x", "meet", ("n", ["unix:/wrong"]))
    assert "n" not in rules.globals
    guest = make_guest()
    guest.received("h", "meet", ("s", [address("s")]))
    assert "s" not in guest.globals


def test_moving_to_other_addresses() -> None:
    rules = make_global("n", "g", guests=("x",))
    assert rules.located(("unix:/n",)) == []
    assert rules.located(("unix:/new",)) == [
        AddressesChanged(("unix:/new",)),
        Send("g", ("join", True, ("unix:/new",))),
        Send("x", ("welcome", ("unix:/new",), {"g": ("unix:/g",)})),
    ]
    other = make_global("g", "n", guests=("y",))
    assert other.received("n", "join", (True, ["unix:/new"])) == [
        Send("n", ("welcome", ("unix:/g",), {})),
        Send("y", ("welcome", ("unix:/g",), {"n": ("unix:/new",)})),
    ]
    assert len(make().located(tuple(f"h:{port}" for port in range(1, 100)))) == 1
    rules.located(tuple(f"h:{port}" for port in range(1, 100)))
    assert len(rules.addresses) == ADDRESS_LIMIT


# Dialling by request --------------------------------------------------------------------------------------------------


def test_who_asks_for_a_dial() -> None:
    assert make().ask_for_dial("t") == []
    assert make_guest("n", "h").ask_for_dial("t") == [Send("h", ("dial", "t", "n", ("unix:/n",)))]
    assert make_global("n", "g", "t").ask_for_dial("t") == [Send("g", ("dial", "t", "n", ("unix:/n",)))]
    # Those by which it was reached come first.
    asked = make_guest("n", "h").ask_for_dial("t", ("h:1", "unix:/n", "h:2"))
    assert asked == [Send("h", ("dial", "t", "n", ("unix:/n", "h:1", "h:2")))]
    (request,) = make_guest("n", "h").ask_for_dial("t", tuple(f"h:{port}" for port in range(1, 100)))
    assert isinstance(request, Send)
    assert request.message[3] == ("unix:/n", *(f"h:{port}" for port in range(1, ADDRESS_LIMIT)))
    deaf = Membership("n", is_global=True)
    deaf.received("g", "join", (True, []))
    assert deaf.ask_for_dial("t") == []
    assert deaf.ask_for_dial("t", ("h:1",)) == [Send("g", ("dial", "t", "n", ("h:1",)))]


def dial(target: str, other: str) -> tuple[object, ...]:
    return (target, other, [address(other)])


def test_a_request_to_dial_goes_to_the_anchor_of_the_one_that_is_to_dial() -> None:
    onward = ("dial", "t", "n", ("unix:/n",))
    assert make_global("h", guests=("n", "t")).received("n", "dial", dial("t", "n")) == [Send("t", onward)]
    assert make_global("h", "g", "i", guests=("n",)).received("n", "dial", dial("t", "n")) == [
        Send("g", onward),
        Send("i", onward),
    ]
    assert make_global("h", "t", guests=("n",)).received("n", "dial", dial("t", "n")) == [Send("t", onward)]
    assert make_global("g", "h", guests=("t",)).received("h", "dial", dial("t", "n")) == [Send("t", onward)]
    assert make_global("g", "n", guests=("t",)).received("n", "dial", dial("t", "n")) == [Send("t", onward)]


def test_a_request_that_was_passed_on_is_not_passed_around() -> None:
    """Also where the asking node is attached to two, which pass on to each other what it asks for."""
    rules = make_global("g", "h", "i", guests=("n",))
    assert rules.received("h", "dial", dial("t", "n")) == []
    assert rules.received("h", "dial", dial("i", "n")) == []


def test_nobody_asks_for_another() -> None:
    rules = make_global("g", "h", guests=("n", "t"))
    assert rules.received("t", "dial", dial("n", "z")) == []
    assert rules.received("stranger", "dial", dial("t", "z")) == []
    assert make_guest("n", "h").received("h", "dial", dial("t", "z")) == []


def test_who_is_asked_to_dial_dials() -> None:
    wanted = [DialWanted("z", ("unix:/z",))]
    assert make_guest("n", "h").received("h", "dial", dial("n", "z")) == wanted
    assert make_global("n", "g").received("g", "dial", dial("n", "z")) == wanted


def test_not_everybody_can_have_a_node_dial_and_not_everything() -> None:
    guest = make_guest("n", "h")
    assert guest.received("x", "dial", dial("n", "z")) == []
    assert guest.received("z", "dial", dial("n", "z")) == []
    assert guest.received("h", "dial", dial("n", "n")) == []
    assert guest.received("h", "dial", ("n", "z", [])) == []
    assert guest.received("h", "dial", ("n", "z", [5, "", "\0"])) == []
    assert make_global("n", "g", guests=("x",)).received("x", "dial", dial("n", "z")) == []


# What is not to be believed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, arguments",
    [
        ("join", ()),
        ("join", (True,)),
        ("join", (1, [])),
        ("join", ("true", [])),
        ("join", (True, "unix:/a")),
        ("join", (True, {}, [])),
        ("join", (True, [], "more")),
        ("welcome", ()),
        ("welcome", ([],)),
        ("welcome", ([], [])),
        ("welcome", ({}, {})),
        ("welcome", ([], {}, 1)),
        ("attach", (1,)),
        ("attach", (None,)),
        ("meet", ()),
        ("meet", ("s",)),
        ("meet", ("s", None)),
        ("meet", (b"s", [])),
        ("meet", ("not a node ID", [])),
        ("meet", ("", [])),
        ("meet", ("s" * 256, [])),
        ("dial", ()),
        ("dial", ("n", "z")),
        ("dial", ("n", "z", "unix:/z")),
        ("dial", ("n", "z z", [])),
        ("dial", ("n#", "z", [])),
        ("dial", (1, "z", [])),
        ("leave", ()),
    ],
)
@pytest.mark.parametrize("is_global", [True, False])
def test_what_makes_no_sense(word: str, arguments: tuple[object, ...], is_global: bool) -> None:
    rules = make_global("n", "h", guests=("x",)) if is_global else make_guest("n", "h")
    before = (rules.is_global, rules.anchor, dict(rules.globals), list(rules.mesh), list(rules.guests))
    assert rules.received("h", word, arguments) is None
    assert (rules.is_global, rules.anchor, dict(rules.globals), list(rules.mesh), list(rules.guests)) == before


def test_addresses_that_cannot_be_any_are_left_out() -> None:
    rules = make_global()
    texts: list[object] = ["", 5, None, [], "x" * 301, "a\0b", "\ud800", "unix:/näher"]
    texts += [f"h:{port}" for port in range(100)]
    rules.received("g", "join", (True, texts))
    assert rules.globals["g"] == ("unix:/näher", *(f"h:{port}" for port in range(ADDRESS_LIMIT - 1)))


def test_node_ids_that_cannot_be_any_are_left_out() -> None:
    rules = make_global()
    rules.reached("g")
    rules.received("g", "welcome", ([], {"a b": [], "": [], "x" * 256: [], "s": "unix:/s", "t": None, "u": []}))
    assert rules.globals == {"g": (), "u": ()}


def test_how_many_global_nodes_are_kept_in_mind() -> None:
    many: dict[str, list[str]] = {f"z{number}": [address("z")] for number in range(5000)}
    guest = make()
    guest.reached("h")
    guest.received("h", "welcome", ([], many))
    assert len(guest.globals) <= GLOBALS_LIMIT + 1
    rules = make_global("n", "g")
    rules.reached("g")
    rules.received("g", "welcome", ([], many))
    for number in range(5000):
        rules.received("x", "meet", (f"y{number}", [address("y")]))
    assert len(rules.globals) == GLOBALS_LIMIT
    # Who speaks for itself takes the place of hearsay, never that of who is connected.
    rules.received("s", "join", (True, [address("s")]))
    assert len(rules.globals) == GLOBALS_LIMIT
    assert rules.globals["s"] == ("unix:/s",)
    assert rules.globals["g"] == ("unix:/g",)
    for number in range(GLOBALS_LIMIT):
        rules.received(f"real{number}", "join", (True, [address("real")]))
    assert len(rules.globals) == GLOBALS_LIMIT
    assert {"g", "s", "real0"} <= rules.globals.keys() <= rules.mesh.keys()


def test_any_node_can_take_a_welcome() -> None:
    """Its largest message may be one of 64 KiB; more would raise."""
    rules = make_global()
    for number in range(GLOBALS_LIMIT):
        texts: list[object] = [f"unix:/{'ü' * 200}{index}" for index in range(ADDRESS_LIMIT)]
        rules.received(f"g{number}", "join", (True, texts))
    (welcome,) = rules.received("x", "join", (False, [])) or []
    assert isinstance(welcome, Send)
    named: Any = welcome.message[2]
    assert 3 <= len(named) < 10
    assert WELCOME_SIZE / 2 < len(encoded(welcome.message)) < 2 * WELCOME_SIZE


@settings(max_examples=300)
@given(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["g", "h", "x", "z"]), sensible | garbage | st.none()), max_size=20),
)
def test_nothing_that_arrives_raises_and_all_that_is_sent_can_travel(
    is_global: bool, steps: list[tuple[str, tuple[Any, ...] | None]]
) -> None:
    node = Model("n", is_global=is_global)
    for sender, message in steps:
        if message is None:
            effects: list[MembershipEffect] | None = node.rules.reached(sender)
        else:
            effects = node.rules.received(sender, message[0], message[1:])
        node.believe(effects or [])
        for effect in effects or []:
            if isinstance(effect, Send):
                assert effect.node_id != "n"
                assert effect.message[0] in MEMBERSHIP.words
                assert len(encoded(effect.message)) < 65536
            if isinstance(effect, DialWanted):
                assert effect.node_id != "n"
                assert effect.addresses


# Networks that form ---------------------------------------------------------------------------------------------------


@settings(stateful_step_count=40)
class FormingNetwork(RuleBasedStateMachine):
    """Nodes start, stop and restart, connections break, and all else happens in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
        self.seeds: dict[str, frozenset[str]] = {}
        self.deaf: set[str] = set()

    @initialize(
        data=st.lists(st.frozensets(st.sampled_from(NAMES[:4]), max_size=3), min_size=6, max_size=6),
        deaf=st.sets(st.sampled_from(NAMES[4:])),
    )
    def begin(self, data: list[frozenset[str]], deaf: set[str]) -> None:
        self.seeds = dict(zip(NAMES, data, strict=True))
        self.deaf = deaf

    @rule(node_id=st.sampled_from(NAMES))
    def start_or_stop(self, node_id: str) -> None:
        if node_id in self.network.processes:
            self.network.stop(node_id)
        else:
            self.network.start(node_id, self.seeds[node_id], deaf=node_id in self.deaf)

    @rule(node_id=st.sampled_from(NAMES), index=st.integers(0, 100), seeds=st.booleans())
    def restart(self, node_id: str, index: int, seeds: bool) -> None:
        """At once, perhaps with other seeds, before anybody has noticed."""
        if node_id in self.network.processes:
            self.network.stop(node_id)
            if seeds:
                self.seeds[node_id] = self.seeds[NAMES[index % len(NAMES)]]
        self.network.start(node_id, self.seeds[node_id], deaf=node_id in self.deaf)

    @rule(numbers=st.lists(st.integers(0, 1000), min_size=1, max_size=40))
    def let_happen(self, numbers: list[int]) -> None:
        for number in numbers:
            events = self.network.events()
            if events:
                step, *arguments = events[number % len(events)]
                step(*arguments)

    @rule(index=st.integers(0, 30))
    def cut(self, index: int) -> None:
        wires = self.network.wires()
        if wires:
            self.network.cut(wires[index % len(wires)])

    @rule(group=st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
    def part(self, group: set[str]) -> None:
        """Those of the group and the others lose each other."""
        for one, other in permutations(NAMES, 2):
            if one in group and other not in group:
                self.network.blocked.add(frozenset({one, other}))
        for wire in self.network.wires():
            if frozenset(wire.ends) in self.network.blocked:
                self.network.cut(wire)

    @rule()
    def heal(self) -> None:
        self.network.blocked.clear()

    @rule(one=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def connect_for_another_reason(self, one: str, other: str) -> None:
        """Something is sent there; or both have dialled, and the second connection is the one that is used."""
        if one != other and one in self.network.processes and self.network.can_dial(one, other):
            self.network.connect(one, other)

    @rule(node_id=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def forget(self, node_id: str, other: str) -> None:
        """As is done with one that is dialled in vain for very long."""
        if node_id in self.network.processes and other not in self.network.processes:
            self.network.processes[node_id].rules.forget(other)

    @rule(seed=st.integers())
    def settle(self, seed: int) -> None:
        self.network.settle(random.Random(seed))
        self.network.check()

    @invariant()
    def nobody_is_two_things(self) -> None:
        for process in self.network.processes.values():
            rules = process.rules
            assert not (rules.mesh.keys() & rules.guests.keys())
            assert rules.anchor is None or rules.anchor in process.wires
            assert rules.mesh.keys() | rules.guests.keys() | rules.joined.keys() <= process.wires.keys()

    def teardown(self) -> None:
        self.settle(0)


TestFormingNetwork = FormingNetwork.TestCase


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(NAMES), max_size=3), min_size=2),
    st.integers(),
)
def test_a_network_forms_whatever_the_order(seeds: dict[str, frozenset[str]], seed: int) -> None:
    network = Network()
    numbers = random.Random(seed)
    for node_id in numbers.sample(sorted(seeds), len(seeds)):
        network.start(node_id, seeds[node_id])
        for _ in range(numbers.randrange(10)):
            events = network.events()
            if events:
                step, *arguments = numbers.choice(events)
                step(*arguments)
    network.settle(numbers)
    network.check()
    # Some messages for each pair, and not again and again.
    assert network.delivered < 40 * len(seeds) ** 2


# Tools ---------------------------------------------------------------------------------------------------------------


def test_a_tool_declines_to_be_global() -> None:
    rules = Membership("tool", is_global=False, is_tool=True)
    rules.reached("h")
    rules.received("h", "welcome", ([address("h")], {}))
    effects = rules.received("x", "join", (True, [address("x")]))
    why = "it is a tool, and tools are never global"
    assert effects == [NotAllowed("x", why), Send("x", ("decline", why))]
    assert not rules.is_global
    assert rules.anchor == "h"


def test_a_tool_is_sent_to_the_global_nodes() -> None:
    others: dict[str, list[object]] = {f"g{number}": [address(f"g{number}")] for number in range(5)}
    rules = make_guest("n", "h", **others, silent=[])
    (sent,) = rules.received("tool", "join", (False, []), from_tool=True) or []
    assert isinstance(sent, Send)
    known = " or ".join(f"{name} ({address(name)})" for name in ("g0", "g1", "g2"))
    assert sent == Send("tool", ("decline", f"no tool makes n global; join by {known}"))
    assert not rules.is_global
    alone = make("n")
    assert alone.received("tool", "join", (False, []), from_tool=True) == [
        Send("tool", ("decline", "no tool makes n global; join by a seed of the network"))
    ]
    # A global node takes it as any other.
    (welcome,) = make_global("n").received("tool", "join", (False, []), from_tool=True) or []
    assert isinstance(welcome, Send)
    assert welcome.message[0] == "welcome"
