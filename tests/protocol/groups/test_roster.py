"""Who is in a group: every history of entries, answers, losses and calls."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trio_mp import Joined, Left
from trio_mp._protocol.groups.roster import (
    LAST_DELAY,
    AskPlace,
    DropPlace,
    GroupPlace,
    PlaceState,
    Roster,
    RosterEffect,
    Tell,
    TryLater,
    WatchPlace,
)

LIMIT = 2
NAMES = [f"key {number}" for number in range(4)]
KEYS = st.sampled_from(NAMES)


class Histories(RuleBasedStateMachine):
    """The roster, and around it what its caller keeps: monitors, questions, delays, calls."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster("node", LIMIT)
        self.family: dict[str, tuple[str, object]] = {}
        self.monitors: dict[int, str] = {}
        self.asked: set[int] = set()
        self.delays: dict[int, float] = {}
        self.joined: dict[str, str] = {}
        self.answered_since: set[str] = set()
        self.waiting: list[GroupPlace] = []
        self.calls: list[GroupPlace] = []
        self.counter = 0

    def do(self, effects: list[RosterEffect]) -> None:
        for effect in effects:
            match effect:
                case WatchPlace(attempt, port):
                    assert attempt not in self.monitors
                    self.monitors[attempt] = port
                    self.asked.add(attempt)
                    assert len(self.monitors) <= LIMIT, "no more than the limit, at any moment"
                case AskPlace(attempt, port):
                    assert self.monitors[attempt] == port, "behind the same monitor"
                    self.asked.add(attempt)
                case DropPlace(attempt):
                    del self.monitors[attempt]
                    self.asked.discard(attempt)
                case TryLater(attempt, seconds):
                    assert 0 < seconds <= LAST_DELAY
                    self.delays[attempt] = seconds
                case Tell(Joined(port, _, key)):
                    assert key not in self.joined, "it has left before"
                    assert port in self.answered_since, "it has answered behind the monitor"
                    self.joined[key] = port
                case Tell(Left(port, reason, key)):
                    assert self.joined.pop(key) == port
                    assert reason

    def entries(self, key: str, port: str | None, value: int) -> None:
        if port is None:
            self.family.pop(key, None)
            self.do(self.roster.update({}, [key]))
        else:
            self.family[key] = (port, value)
            self.do(self.roster.update({key: (port, value)}))

    @initialize(full=st.booleans())
    def begin(self, full: bool) -> None:
        """Half of the histories begin with a full group: chance alone seldom comes to one."""
        for key in NAMES if full else ():
            self.set_entry(key, 0, again=False)
        for attempt in tuple(self.asked):
            self.asked.discard(attempt)
            self.answered_since = {self.monitors[attempt]}
            self.do(self.roster.answered(attempt))

    @rule(key=KEYS, value=st.integers(0, 1), again=st.booleans())
    def set_entry(self, key: str, value: int, again: bool) -> None:
        self.counter += 1
        before = self.family.get(key)
        self.entries(key, before[0] if again and before else f"port {self.counter}", value)

    @rule(key=KEYS)
    def delete_entry(self, key: str) -> None:
        self.entries(key, None, 0)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.asked)))
        self.asked.discard(attempt)
        self.answered_since = {self.monitors[attempt]}
        self.do(self.roster.answered(attempt))
        self.answered_since = set()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def give_up_waiting_for_an_answer(self, data: st.DataObject) -> None:
        self.do(self.roster.unanswered(data.draw(st.sampled_from(sorted(self.asked)))))

    @precondition(lambda self: self.monitors)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.monitors)))
        del self.monitors[attempt]
        self.asked.discard(attempt)
        self.do(self.roster.lost(attempt, ("lost",)))

    @precondition(lambda self: self.delays)
    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.delays)))
        del self.delays[attempt]
        self.do(self.roster.due(attempt))

    @rule(attempt=st.integers(0, 60), kind=st.sampled_from(["answered", "lost", "unanswered", "due"]))
    def something_comes_late(self, attempt: int, kind: str) -> None:
        if attempt in self.monitors or attempt in self.delays:
            return
        late = {
            "answered": lambda: self.roster.answered(attempt),
            "lost": lambda: self.roster.lost(attempt, ("late",)),
            "unanswered": lambda: self.roster.unanswered(attempt),
            "due": lambda: self.roster.due(attempt),
        }[kind]()
        assert late == []

    @precondition(lambda self: self.delays)
    @rule(data=st.data(), kind=st.sampled_from(["answered", "lost", "unanswered"]))
    def something_comes_for_one_that_is_to_be_tried(self, data: st.DataObject, kind: str) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.delays)))
        late = self.roster.lost(attempt, ("late",)) if kind == "lost" else getattr(self.roster, kind)(attempt)
        assert late == []

    @precondition(lambda self: self.monitors.keys() - self.asked)
    @rule(data=st.data(), kind=st.sampled_from(["answered", "unanswered", "due"]))
    def something_comes_for_a_member(self, data: st.DataObject, kind: str) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.monitors.keys() - self.asked)))
        assert getattr(self.roster, kind)(attempt) == []

    @rule(by=st.sampled_from(["round_robin", "least_busy"]))
    def call(self, by: str) -> None:
        place = self.roster.choose(by)  # type: ignore[arg-type]
        assert (place is None) == (not list(self.roster.joined))
        if place is not None:
            assert place.has_joined()
            assert not place.may_join()
            assert self.family[place.key][0] == place.port == self.joined[place.key]
            self.roster.begin_use(place)
            self.calls.append(place)

    @rule(key=st.text(max_size=3))
    def call_by_key(self, key: str) -> None:
        place = self.roster.choose_by_key(key)
        tried = {place.key for place in self.roster.known if place.state is PlaceState.TRIED}
        assert (place is None) == (not self.family.keys() - tried)
        if place is None:
            return
        assert self.family[place.key][0] == place.port
        if place.has_joined():
            self.roster.begin_use(place)
            self.calls.append(place)
        else:
            assert place.may_join()
            self.waiting.append(place)
            self.do(self.roster.want(place))

    @precondition(lambda self: self.waiting)
    @rule()
    def a_call_stops_waiting(self) -> None:
        place = self.waiting.pop(0)
        if place.has_joined():
            self.roster.begin_use(place)
            self.calls.append(place)
        self.do(self.roster.unwant(place))

    @precondition(lambda self: self.calls)
    @rule()
    def a_call_ends(self) -> None:
        self.do(self.roster.end_use(self.calls.pop(0)))

    @invariant()
    def all_is_as_it_seems(self) -> None:
        places = {place.key: place for place in self.roster.known}
        assert places.keys() == self.family.keys()
        assert len(self.monitors) == self.roster.monitored <= LIMIT
        for key, (port, value) in self.family.items():
            assert (places[key].port, places[key].value) == (port, value)
        for place in self.roster.joined:
            assert self.joined[place.key] == place.port
            assert place.port in self.monitors.values()
        # Each member that has joined is in the family, or was asked a last time.
        leaving = [key for key, port in self.joined.items() if self.family.get(key, ("",))[0] != port]
        asked = [self.monitors[attempt] for attempt in self.asked]
        assert all(self.joined[key] in asked for key in leaving)

    @invariant()
    def no_room_is_left_unused(self) -> None:
        listed = [place for place in self.roster.known if place.state is PlaceState.LISTED]
        # A key whose former member has not left waits for that.
        free = [place for place in listed if place.key not in self.joined]
        if free:
            assert self.roster.monitored == LIMIT
        idle = [place for place in self.roster.joined if not place.busy and not place.wanted]
        if any(place.wanted for place in free):
            assert not idle, "an idle member makes room for one that a call waits for"

    def teardown(self) -> None:
        """When nothing fails any more, as many as there is room for join."""
        for place in self.waiting:
            self.do(self.roster.unwant(place))
        for place in self.calls:
            self.do(self.roster.end_use(place))
        for _ in range(20):
            for attempt in sorted(self.asked):
                if attempt in self.asked:
                    self.asked.discard(attempt)
                    self.answered_since = {self.monitors[attempt]}
                    self.do(self.roster.answered(attempt))
            for attempt in sorted(self.delays):
                del self.delays[attempt]
                self.do(self.roster.due(attempt))
        assert len(self.joined) == min(LIMIT, len(self.family))
        assert self.joined.items() <= {key: port for key, (port, _) in self.family.items()}.items()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def attempts_of(effects: list[RosterEffect]) -> list[int]:
    return [effect.attempt for effect in effects if isinstance(effect, WatchPlace)]


def test_delays_double_until_the_longest_and_begin_anew_with_a_member() -> None:
    roster = Roster("node", 1)
    (attempt,) = attempts_of(roster.update({"k": ("port", None)}))
    delays = []
    for _ in range(15):
        (later,) = roster.lost(attempt, ("lost",))
        assert isinstance(later, TryLater)
        delays.append(later.seconds)
        (attempt,) = attempts_of(roster.due(later.attempt))
    assert delays == [0.5, 1, 2, 4, 8, 16, *[30] * 9]
    roster.answered(attempt)
    left, later = roster.lost(attempt, ("lost",))
    assert left == Tell(Left("port", ("lost",), "k"))
    assert isinstance(later, TryLater)
    assert later.seconds == 0.5


def test_who_cannot_be_reached_makes_room_for_others() -> None:
    roster = Roster("node", 1)
    effects = roster.update({"k": ("port k", None), "l": ("port l", None)})
    (first,) = attempts_of(effects)
    (second,) = attempts_of(roster.lost(first, ("lost",)))
    assert [type(effect) for effect in roster.answered(second)] == [Tell]
    # The other one is due, but there is no room, and nobody wants it.
    assert roster.due(second - 1) == []


@given(st.lists(st.text(max_size=6), unique=True, min_size=30, max_size=30), st.integers(0, 9))
def test_nodes_monitor_different_members(keys: list[str], number: int) -> None:
    watched = []
    for node_id in (f"node {number}", f"node {number + 1}", f"node {number + 2}"):
        effects = Roster(node_id, 5).update({key: (f"port {key}", None) for key in keys})
        watched.append({effect.port for effect in effects if isinstance(effect, WatchPlace)})
    assert [len(ports) for ports in watched] == [5, 5, 5]
    # By chance one in 10 ** 10: three times the same five of thirty.
    assert not watched[0] == watched[1] == watched[2]


@pytest.mark.parametrize("kind", ["answered", "lost", "unanswered"])
def test_a_member_whose_entry_is_gone_leaves_once(kind: str) -> None:
    roster = Roster("node", 1)
    (attempt,) = attempts_of(roster.update({"k": ("port", None)}))
    roster.answered(attempt)
    assert roster.update({}, ["k"]) == [AskPlace(attempt, "port")]
    effects = roster.lost(attempt, ("why",)) if kind == "lost" else getattr(roster, kind)(attempt)
    (left,) = [effect.event for effect in effects if isinstance(effect, Tell)]
    assert isinstance(left, Left)
    assert left.reason[0] == ("why" if kind == "lost" else "unregistered")
    assert roster.monitored == 0


def test_an_idle_member_makes_room_for_one_that_a_call_wants() -> None:
    roster = Roster("node", 2)
    effects = roster.update({key: (f"port {key}", None) for key in "abc"})
    for attempt in attempts_of(effects):
        roster.answered(attempt)
        assert roster.answered(attempt) == [], "it has joined already"
    first, second = roster.joined
    (wanted,) = [place for place in roster.known if not place.has_joined()]
    roster.begin_use(first)
    (drop, left, watch) = roster.want(wanted)
    assert drop == DropPlace(second.attempt)
    assert isinstance(left, Tell)
    assert (left.event.port, left.event.reason[0]) == (second.port, "not_watched")  # type: ignore[union-attr]
    assert watch == WatchPlace(wanted.attempt, wanted.port)
    roster.answered(wanted.attempt)
    # Both are in use now, so a call that wants the third one waits until one of them is not.
    assert roster.want(second) == []
    assert roster.end_use(first) == [
        DropPlace(first.attempt),
        Tell(Left(first.port, ("not_watched", "this group monitors 2 members, and another one was wanted"), first.key)),
        WatchPlace(second.attempt, second.port),
    ]
    assert roster.unwant(wanted) == []
    assert roster.unwant(second) == []


def test_a_call_that_waits_no_longer_lets_another_one_have_the_room() -> None:
    roster = Roster("node", 1)
    (attempt,) = attempts_of(roster.update({key: (f"port {key}", None) for key in "ab"}))
    (first,) = [place for place in roster.known if place.attempt]
    (second,) = [place for place in roster.known if not place.attempt]
    assert roster.want(first) == roster.want(second) == []
    roster.answered(attempt)
    assert attempts_of(roster.unwant(first)) == [second.attempt]


def test_a_newcomer_makes_room_for_one_that_a_call_wants() -> None:
    roster = Roster("node", 2)
    effects = roster.update({key: (f"port {key}", None) for key in "abc"})
    first, second = attempts_of(effects)
    roster.answered(first)
    (busy,) = roster.joined
    roster.begin_use(busy)
    (wanted,) = [place for place in roster.known if not place.attempt]
    assert roster.want(wanted) == [], "nobody is idle"
    effects = roster.answered(second)
    assert [type(effect) for effect in effects] == [Tell, DropPlace, Tell, WatchPlace]
    assert attempts_of(effects) == [wanted.attempt]


def test_the_next_port_of_a_key_is_monitored_when_the_former_has_left() -> None:
    roster = Roster("node", 2)
    (attempt,) = attempts_of(roster.update({"k": ("old", None)}))
    roster.answered(attempt)
    assert roster.update({"k": ("new", None)}) == [AskPlace(attempt, "old")]
    effects = roster.answered(attempt)
    assert [type(effect) for effect in effects] == [DropPlace, Tell, WatchPlace]


def test_no_more_than_the_limit_are_monitored() -> None:
    assert len(attempts_of(Roster("node", 3).update({str(number): ("port", None) for number in range(9)}))) == 3


def test_a_key_passes_over_a_place_on_a_node_that_is_leaving() -> None:
    roster = Roster("node", 9)
    roster.update({one: (f"{one}#{'n' * 16}", None) for one in "ab"})
    found = {key: place.node_id for key in "0123456789" if (place := roster.choose_by_key(key, {"a"})) is not None}
    assert set(found.values()) == {"b"}
    every = {place.node_id for key in "0123456789" if (place := roster.choose_by_key(key, {"a", "b"})) is not None}
    assert every == {"a", "b"}, "if all of them are, none is passed over"


def test_a_member_of_a_leaving_node_is_chosen_only_if_there_are_no_others_busy_or_not() -> None:
    roster = Roster("node", 9)
    ports = {node_id: (f"{node_id}#{'n' * 16}", None) for node_id in "abc"}
    for attempt in attempts_of(roster.update(ports)):
        roster.answered(attempt)

    def chosen(at_once: float, full: str, leaving: str) -> str | None:
        place = roster.choose("round_robin", at_once, set(full), set(leaving))
        return place.key if place is not None else None

    for place in roster.joined:
        if place.key != "a":
            roster.begin_use(place)
    assert chosen(1, "", "") == "a"
    assert chosen(1, "", "a") is None, "the others are busy"
    assert chosen(2, "", "a") == "b"
    assert chosen(2, "b", "a") == "c"
    assert chosen(2, "bc", "a") == "b", "a full node is asked again"
    assert chosen(1, "", "abc") == "a", "all of them are leaving"
    assert chosen(2, "a", "abc") == "b"


def test_a_member_of_a_full_node_is_chosen_only_if_there_is_no_other_one() -> None:
    roster = Roster("node", 9)
    ports = {f"{node_id}{number}": (f"{node_id}#{number:016}", None) for node_id in "ab" for number in range(2)}
    for attempt in attempts_of(roster.update(ports)):
        roster.answered(attempt)

    def chosen(at_once: float, *full: str) -> set[str]:
        found = set()
        for _ in range(8):
            place = roster.choose("round_robin", at_once, set(full))
            assert place is not None
            roster.begin_use(place)
            roster.end_use(place)
            found.add(place.key)
        return found

    assert chosen(9) == {"a0", "a1", "b0", "b1"}
    assert chosen(9, "a", "c") == {"b0", "b1"}
    assert chosen(9, "a", "b") == {"a0", "a1", "b0", "b1"}
    for place in tuple(roster.joined):
        if place.node_id == "b":
            roster.begin_use(place)
    assert chosen(1, "a") == {"a0", "a1"}, "those of the other node have no room"
