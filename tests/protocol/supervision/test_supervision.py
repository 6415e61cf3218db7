"""The rules of a supervisor: each by itself, then every order in which things can happen to a few children."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from trio_mp._errors import LocalProtocolError
from trio_mp._protocol.supervision import (
    CHILD,
    Action,
    AutoShutdown,
    ChildEvent,
    Ended,
    Restart,
    Start,
    State,
    Stop,
    Strategy,
    Supervision,
    Wait,
)


class Play:
    """A supervision whose children start and stop at once, as far as nothing else is said.

    Attributes:
      story: what was done, as `+child`, `-child`, and `ended` with the children that failed.
      slow: children whose starts and stops are not answered.
    """

    def __init__(self, strategy: str, *restarts: str, significant: str = "", **settings: Any) -> None:
        self.rules = Supervision(Strategy(strategy), **settings)
        self.now = 0.0
        self.waits: list[float] = []
        self.slow = ""
        self.story: list[str] = []
        for name, restart in zip("abcdef", restarts, strict=False):
            self.do(self.rules.add(name, Restart(restart), self.now, significant=name in significant))

    def do(self, actions: list[Action]) -> str:
        """Carry out, and say what was done."""
        self._do(actions)
        story, self.story = self.story, []
        return " ".join(story)

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(name):
                    self.story.append(f"+{name}")
                    if name not in self.slow:
                        self._do(self.rules.started(name, self.now))
                case Stop(name):
                    self.story.append(f"-{name}")
                    if name not in self.slow:
                        self._do(self.rules.stopped(name, self.now))
                case Wait(until):
                    self.waits.append(until)
                case Ended(failed):
                    self.story.append(" ".join(["ended", *failed]))

    def die(self, name: str, *, normal: bool = False, jitter: float = 0.0, again: bool = False) -> str:
        return self.do(self.rules.died(name, self.now, jitter, normal=normal, again=again))

    def fail(self, name: str) -> str:
        return self.do(self.rules.failed(name, self.now, 0.0))


def test_a_start_that_succeeds_while_all_are_stopped_is_stopped_in_its_turn() -> None:
    play = Play("one_for_one", "permanent", "permanent")
    play.slow = "ab"
    assert play.do(play.rules.died("a", play.now, 0.0, normal=False)) == "+a"
    assert play.do(play.rules.end(play.now)) == "-b"
    assert play.do(play.rules.started("a", play.now)) == ""
    assert play.do(play.rules.stopped("b", play.now)) == "-a"
    assert play.do(play.rules.stopped("a", play.now)) == "ended"


P, TR, TE = "permanent", "transient", "temporary"


@pytest.mark.parametrize(
    "strategy, story",
    [("one_for_one", "+b"), ("one_for_all", "-c -a +a +b +c"), ("rest_for_one", "-c +b +c")],
)
def test_which_are_restarted(strategy: str, story: str) -> None:
    assert Play(strategy, P, P, P).die("b") == story


@pytest.mark.parametrize(
    "restart, normal, story", [(P, True, "+a"), (P, False, "+a"), (TR, True, ""), (TR, False, "+a"), (TE, False, "")]
)
def test_when_a_child_is_restarted(restart: str, normal: bool, story: str) -> None:
    assert Play("one_for_one", restart).die("a", normal=normal) == story


@pytest.mark.parametrize("restart, story", [(P, "+a"), (TR, "+a"), (TE, "")])
def test_which_children_are_started_again_when_they_ask_for_it(restart: str, story: str) -> None:
    assert Play("one_for_one", restart).die("a", normal=True, again=True) == story


def test_a_child_that_asks_to_be_started_again_does_not_count() -> None:
    play = Play("one_for_one", TR, TR, limit=1, within=5.0, first_delay=1.0, last_delay=100.0)
    assert play.die("a", normal=True, again=True) == "+a"
    # The delays grow, so that a child that does nothing else keeps nobody busy.
    for delay in (1.0, 2.0, 4.0):
        assert play.die("a", normal=True, again=True) == ""
        play.now += delay
        assert play.waits.pop() == play.now
        assert play.do(play.rules.woken(play.now)) == "+a"
    # Others still have all their restarts, and it has, too.
    assert play.die("b") == "+b"
    assert play.die("a") == "-b ended b a"


def test_a_child_that_asks_to_be_started_again_takes_others_along_and_a_frozen_supervisor_starts_none() -> None:
    play = Play("rest_for_one", P, TR, TR)
    assert play.die("b", normal=True, again=True) == "-c +b +c"
    play.do(play.rules.freeze(play.now))
    assert play.die("a", normal=True, again=True) == ""


def test_a_temporary_child_is_taken_out_when_it_ends_and_when_others_are_restarted() -> None:
    play = Play("one_for_all", P, TE, TE)
    assert play.die("c") == ""
    assert list(play.rules.children) == ["a", "b"]
    assert play.die("a") == "-b +a"
    assert list(play.rules.children) == ["a"]


def test_a_transient_child_that_ended_normally_is_started_with_the_others() -> None:
    play = Play("one_for_all", P, TR)
    assert play.die("b", normal=True) == ""
    assert play.die("a") == "+a +b"


def test_too_many_restarts_end_all_in_reverse_and_name_who_it_was() -> None:
    play = Play("one_for_one", P, P, P, limit=2)
    assert play.die("a") == "+a"
    assert play.die("b") == "+b"
    assert play.die("b") == "-c -a ended a b"


def test_restarts_of_long_ago_do_not_count() -> None:
    play = Play("one_for_one", P, limit=1, within=5.0)
    for _ in range(10):
        assert play.die("a") == "+a"
        play.now += 5.1


@pytest.mark.parametrize("strategy, story", [("one_for_one", "+b"), ("one_for_all", ""), ("rest_for_one", "")])
def test_which_child_waits_for_one_that_starts(strategy: str, story: str) -> None:
    play = Play(strategy)
    play.slow = "ab"
    assert play.do(play.rules.add("a", Restart.PERMANENT, 0.0)) == "+a"
    assert play.do(play.rules.add("b", Restart.PERMANENT, 0.0)) == story
    assert play.do(play.rules.started("a", 0.0)) == ("" if story else "+b")


def test_a_limit_of_none_allows_no_restart() -> None:
    assert Play("one_for_one", P, P, limit=0).die("a") == "-b ended a"


def test_a_start_that_fails_again_counts_as_a_death() -> None:
    play = Play("rest_for_one", P, P, P, limit=3)
    play.slow = "b"
    assert play.die("b") == "-c +b"
    assert play.fail("b") == "+b"
    assert play.fail("b") == "+b"
    assert play.fail("b") == "-a ended b"


def test_a_first_start_that_fails_takes_the_child_out_and_counts_nothing() -> None:
    play = Play("one_for_all", P, limit=0)
    play.slow = "x"
    assert play.do(play.rules.add("x", Restart.PERMANENT, 0.0)) == "+x"
    assert play.fail("x") == ""
    assert list(play.rules.children) == ["a"]


def test_the_first_restart_is_made_at_once_and_later_ones_wait() -> None:
    play = Play("one_for_one", P, limit=100, within=100.0, first_delay=1.0, last_delay=5.0)
    assert play.die("a") == "+a"
    for delay in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert play.die("a") == ""
        assert play.waits[-1] == play.now + delay
        play.now = play.waits[-1]
        (start,) = play.rules.woken(play.now)
        assert isinstance(start, Start)
        assert start.delay == delay
        play.rules.started("a", play.now)
    play.now += 101
    assert play.die("a") == "+a", "it was up for long, so it begins anew"
    assert play.die("a", jitter=1.0) == ""
    assert play.waits[-1] == play.now + 0.5


def test_who_is_tied_to_a_child_that_waits_waits_behind_it() -> None:
    play = Play("rest_for_one", P, P, P, limit=10, first_delay=1.0, last_delay=1.0)
    play.die("b")
    assert play.die("b") == "-c"
    assert play.do(play.rules.woken(0.5)) == ""
    assert play.do(play.rules.woken(1.0)) == "+b +c"


def test_with_one_for_one_nobody_waits_for_another() -> None:
    play = Play("one_for_one", P, P, limit=10)
    play.slow = "ab"
    assert play.die("a") == "+a"
    assert play.die("b") == "+b"
    assert play.do(play.rules.remove("a", 0.0)) == "-a"
    assert play.do(play.rules.remove("b", 0.0)) == "-b"


def test_a_death_in_the_middle_of_a_restart_begins_it_anew() -> None:
    play = Play("one_for_all", P, P, P, limit=10)
    play.slow = "b"
    assert play.die("c") == "-b"
    assert play.do(play.rules.stopped("b", 0.0)) == "-a +a +b"
    assert play.die("a") == "-b", "whose start has not ended"
    assert play.do(play.rules.stopped("b", 0.0)) == "+a +b"
    assert play.do(play.rules.started("b", 0.0)) == "+c"


def test_what_crosses_with_a_stop_is_a_stop() -> None:
    play = Play("rest_for_one", P, P, limit=1)
    play.slow = "b"
    assert play.die("a") == "-b"
    assert play.die("b") == "+a +b", "it counts as no death"
    assert play.die("a") == "-b"
    assert play.do(play.rules.started("b", 0.0)) == ""
    assert play.do(play.rules.stopped("b", 0.0)) == "ended a"


def test_a_death_before_its_turn_to_be_stopped_counts_as_none() -> None:
    play = Play("one_for_all", P, P, P, limit=1)
    play.slow = "c"
    assert play.die("b") == "-c"
    assert play.die("a") == ""
    assert play.do(play.rules.stopped("c", 0.0)) == "+a +b +c"


def test_a_start_that_fails_before_its_turn_to_be_stopped_counts_as_none() -> None:
    play = Play("rest_for_one", P, P, P, limit=3)
    play.slow = "bc"
    assert play.die("c") == "+c"
    assert play.die("b") == "-c"
    assert play.do(play.rules.failed("c", 0.0, 0.0)) == "+b"
    assert play.die("a") == "-b"
    assert play.do(play.rules.end(0.0)) == ""
    assert play.do(play.rules.failed("b", 0.0, 0.0)) == "ended"


def test_a_child_that_is_removed_is_stopped_and_not_started_again() -> None:
    play = Play("one_for_all", P, P)
    assert play.do(play.rules.remove("a", 0.0)) == "-a"
    assert play.do(play.rules.remove("a", 0.0)) == ""
    assert list(play.rules.children) == ["b"]


def test_a_child_that_is_being_taken_out_is_not_started_again_with_others() -> None:
    play = Play("one_for_all", P, P, limit=3)
    play.slow = "b"
    assert play.do(play.rules.remove("b", 0.0)) == "-b"
    assert play.die("a") == ""
    assert play.do(play.rules.stopped("b", 0.0)) == "+a"


@pytest.mark.parametrize(
    "auto, first, second",
    [("any_significant", "-c -b ended", None), ("all_significant", "", "-c ended"), ("never", "", "")],
)
def test_significant_children(auto: str, first: str, second: str | None) -> None:
    significant = "ab" if auto != "never" else ""
    play = Play("one_for_one", TR, TE, P, significant=significant, auto_shutdown=AutoShutdown(auto))
    assert play.die("a", normal=True) == first
    if second is not None:
        assert play.die("b") == second


def test_a_significant_child_that_is_restarted_or_removed_ends_nothing() -> None:
    play = Play("one_for_one", TR, P, significant="a", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    assert play.die("a") == "+a"
    assert play.do(play.rules.remove("a", 0.0)) == "-a"


def test_the_end_without_children() -> None:
    play = Play("one_for_all")
    assert play.do(play.rules.end(0.0)) == "ended"
    assert play.do(play.rules.end(0.0)) == ""
    assert play.do(play.rules.woken(0.0)) == ""


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"limit": -1}, "limit: expected a number of restarts, 0 or more, got -1"),
        ({"within": 0.0}, "within: expected seconds, more than 0, got 0.0"),
        ({"first_delay": 2.0, "last_delay": 1.0}, "backoff: .* got 2.0 and 1.0"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Supervision(**settings)


def test_children_that_cannot_be() -> None:
    rules = Supervision()
    with pytest.raises(ValueError, match="a: expected transient or temporary"):
        rules.add("a", Restart.PERMANENT, 0.0, significant=True)
    with pytest.raises(ValueError, match="means nothing without auto_shutdown"):
        rules.add("a", Restart.TRANSIENT, 0.0, significant=True)
    rules.add("a", Restart.PERMANENT, 0.0)
    with pytest.raises(LocalProtocolError, match="there is a child called a"):
        rules.add("a", Restart.PERMANENT, 0.0)
    with pytest.raises(LocalProtocolError, match="there is no child called b"):
        rules.started("b", 0.0)
    with pytest.raises(LocalProtocolError, match="a is starting: expected `started` or `failed` or `Stop`, got"):
        rules.stopped("a", 0.0)
    rules.end(0.0)
    with pytest.raises(LocalProtocolError, match="the supervisor is ending"):
        rules.add("b", Restart.PERMANENT, 0.0)


# Frozen --------------------------------------------------------------------------------------------------------------


def test_a_frozen_supervisor_starts_nothing_and_stops_all_at_its_end() -> None:
    play = Play("one_for_all", P, P, TR, limit=0)
    assert play.do(play.rules.freeze(0.0)) == ""
    assert play.die("b") == ""
    assert list(play.rules.children) == ["a", "c"]
    assert play.do(play.rules.end(0.0)) == "-c -a ended"


def test_a_frozen_supervisor_lets_a_start_go_on_and_begins_no_other() -> None:
    play = Play("one_for_one", P, P, limit=9, first_delay=1.0, last_delay=1.0)
    play.slow = "a"
    assert play.die("a") == "+a"
    play.die("b")
    assert play.die("b") == ""
    assert play.do(play.rules.freeze(0.0)) == ""
    assert play.do(play.rules.woken(1.0)) == ""
    assert play.do(play.rules.started("a", 1.0)) == ""
    assert play.do(play.rules.end(0.0)) == "-a"
    assert play.do(play.rules.stopped("a", 1.0)) == "ended"


def test_a_restart_whose_start_fails_in_a_frozen_supervisor_is_taken_out() -> None:
    play = Play("one_for_one", P, limit=9)
    play.slow = "a"
    assert play.die("a") == "+a"
    play.do(play.rules.freeze(0.0))
    assert play.fail("a") == ""
    assert play.do(play.rules.end(0.0)) == "ended"


# On a node that drains ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_one_that_restarts_nothing_takes_each_death_for_good_and_starts_what_is_added(strategy: str) -> None:
    play = Play(strategy, P, TR, TE, limit=0)
    assert play.do(play.rules.stop_restarting(0.0)) == ""
    assert play.die("b") == ""
    assert list(play.rules.children) == ["a", "c"]
    assert play.do(play.rules.add("d", Restart.PERMANENT, 0.0)) == "+d"
    assert play.die("d") == ""
    assert play.do(play.rules.end(0.0)) == "-c -a ended"


def test_restarts_that_wait_are_called_off_and_one_that_has_begun_goes_on() -> None:
    play = Play("one_for_one", P, P, limit=9, first_delay=1.0, last_delay=1.0)
    play.slow = "a"
    assert play.die("a") == "+a"
    play.die("b")
    assert play.die("b") == ""
    assert play.do(play.rules.stop_restarting(0.0)) == ""
    assert list(play.rules.children) == ["a"]
    assert play.do(play.rules.woken(1.0)) == ""
    assert play.do(play.rules.started("a", 1.0)) == ""
    assert play.rules.children["a"].state is State.UP


def test_what_was_to_be_stopped_for_the_sake_of_a_restart_goes_on() -> None:
    play = Play("one_for_all", P, P, P, limit=9)
    play.slow = "c"
    assert play.die("b") == "-c"
    assert play.do(play.rules.stop_restarting(0.0)) == ""
    assert play.do(play.rules.stopped("c", 0.0)) == ""
    assert list(play.rules.children) == ["a"]
    assert play.do(play.rules.end(0.0)) == "-a ended"


def test_a_child_that_waits_for_its_first_start_is_started_and_one_that_is_taken_out_is_stopped() -> None:
    play = Play("rest_for_one", P, limit=9)
    play.slow = "b"
    assert play.do(play.rules.add("b", Restart.PERMANENT, 0.0)) == "+b"
    assert play.do(play.rules.add("c", Restart.PERMANENT, 0.0)) == ""
    assert play.do(play.rules.stop_restarting(0.0)) == ""
    assert play.do(play.rules.started("b", 0.0)) == "+c"
    play.slow = "c"
    assert play.do(play.rules.remove("c", 0.0)) == "-c"
    assert play.do(play.rules.stop_restarting(0.0)) == ""
    assert play.do(play.rules.stopped("c", 0.0)) == ""
    assert list(play.rules.children) == ["a", "b"]


# The table -----------------------------------------------------------------------------------------------------------


def child_in(state: State) -> Supervision:
    """A supervision whose one child is in this state."""
    rules = Supervision(limit=9, first_delay=1.0, last_delay=1.0)
    rules.add("a", Restart.PERMANENT, 0.0)
    if state is not State.STARTING:
        rules.started("a", 0.0)
    if state is State.STOPPING:
        rules.remove("a", 0.0)
    elif state is State.DOWN:
        for _ in range(2):
            rules.died("a", 0.0, 0.0, normal=False)
            if rules.children["a"].state is State.STARTING:
                rules.started("a", 0.0)
    assert rules.children["a"].state is state
    return rules


SAID = {
    ChildEvent.STARTED: lambda rules: rules.started("a", 0.0),
    ChildEvent.FAILED: lambda rules: rules.failed("a", 0.0, 0.0),
    ChildEvent.DIED: lambda rules: rules.died("a", 0.0, 0.0, normal=False),
    ChildEvent.STOPPED: lambda rules: rules.stopped("a", 0.0),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(SAID))
def test_what_can_be_said_of_a_child_is_what_the_table_says(
    state: State, event: ChildEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = child_in(state)
    child = rules.children["a"]
    row = CHILD.row(state, event, child)
    if row is None:
        with pytest.raises(LocalProtocolError, match=f"a is {state.value}: expected .*, got {event.value}"):
            SAID[event](rules)
        assert child.state is state
    else:
        # What follows is another matter.
        monkeypatch.setattr(Supervision, "_next", lambda *_: [])
        SAID[event](rules)
        assert child.state is row.after


# Every order ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class World:
    """A supervision, what is about to happen to it, and what must not.

    Attributes:
      accidents: how many deaths, failures and wishes of the program there may still be.
      waits: the times of waits that have not come.
      running: whether each child that runs is `starting`, `up`, `stopping`, or a start that is `cancelled`.
      frozen: whether nothing is to be started any more.
      drains: whether nothing may be restarted from some moment on; and `drained`, whether that has come.
      old: the children that have been up.
    """

    rules: Supervision
    accidents: int
    now: float = 0.0
    waits: tuple[float, ...] = ()
    running: dict[str, str] = dataclasses.field(default_factory=dict)
    over: bool = False
    frozen: bool = False
    drains: bool = False
    drained: bool = False
    old: frozenset[str] = frozenset()

    def key(self) -> object:
        rules = self.rules
        children = tuple(
            (child.name, child.state, child.wanted, child.doomed, child.leaving, child.new, child.restarts,
             max(0.0, child.due_at - self.now), self.now - child.up_at > rules.within)
            for child in rules.children.values()
        )  # fmt: skip
        recent = tuple((self.now - when, name) for when, name in rules._recent)
        waits = tuple(when - self.now for when in self.waits)
        said = rules.ending, rules.frozen, self.over, self.accidents, self.drained
        return children, said, recent, waits, tuple(self.running.items())

    def do(self, actions: list[Action]) -> None:
        """Carry out, and check each against the rules at the top of the module."""
        for action in actions:
            assert not self.over, "something is to be done after the end"
            tied = self.rules.ending or self.rules.strategy is not Strategy.ONE_FOR_ONE
            match action:
                case Start(name):
                    assert name not in self.running, "two lives of one child"
                    assert not self.rules.ending, "a start while all is to end"
                    assert not self.frozen, "a start although nothing is to be started"
                    assert not (self.drained and name in self.old), "a restart although there is to be none"
                    if tied:
                        names = list(self.rules.children)
                        before = names[: names.index(name)]
                        going = {"stopping", "cancelled"} & {*self.running.values()}
                        assert not going, "a start before all is down that has to be"
                        wanted = [one for one in before if self.rules.children[one].wanted]
                        assert all(self.running.get(one) == "up" for one in wanted), "a start out of its turn"
                    self.running[name] = "starting"
                case Stop(name):
                    assert self.running[name] in {"starting", "up"}, "a stop of what does not run"
                    if tied:
                        names = list(self.rules.children)
                        behind = [self.rules.children[one] for one in names[names.index(name) + 1 :]]
                        assert not any(child.doomed for child in behind), "a stop before those behind it are down"
                    self.running[name] = "stopping" if self.running[name] == "up" else "cancelled"
                case Wait(until):
                    assert until > self.now
                    self.waits = tuple(sorted({*self.waits, until}))
                case Ended():
                    assert not self.running, "an end while something runs"
                    self.over = True

    def events(self) -> Iterator[tuple[str, Any]]:
        """All that can happen next."""
        for name, state in self.running.items():
            if state == "starting":
                yield "started", name
                if self.accidents:
                    yield "failed", name
            elif state in {"stopping", "cancelled"}:
                yield "stopped", name
            if state == "cancelled" and self.accidents:
                # Both cross with the stop: one that has started is stopped all the same.
                yield "failed", name
                yield "crossed", name
            if state in {"up", "stopping"} and self.accidents:
                yield "died", (name, False)
                yield "died", (name, True)
        if self.waits:
            yield "woken", None
        if not self.over and self.accidents:
            yield "end", None
            if not self.frozen:
                yield "freeze", None
            if self.drains and not self.drained:
                yield "drain", None
            for name in self.rules.children:
                yield "remove", name

    def happen(self, event: str, what: Any) -> None:
        rules = self.rules
        if event == "started":
            self.running[what] = "up"
            self.old |= {what}
            self.do(rules.started(what, self.now))
        elif event == "stopped":
            del self.running[what]
            self.do(rules.stopped(what, self.now))
        elif event == "woken":
            self.now, *later = self.waits
            self.waits = tuple(later)
            self.do(rules.woken(self.now))
        else:
            self.accidents -= 1
            if event == "end":
                self.do(rules.end(self.now))
            elif event == "freeze":
                self.frozen = True
                self.do(rules.freeze(self.now))
            elif event == "drain":
                self.drained = True
                self.do(rules.stop_restarting(self.now))
            elif event == "crossed":
                self.running[what] = "stopping"
                self.do(rules.started(what, self.now))
            elif event == "remove":
                self.do(rules.remove(what, self.now))
            elif event == "failed":
                del self.running[what]
                self.do(rules.failed(what, self.now, 0.0))
            else:
                name, normal = what
                del self.running[name]
                self.do(rules.died(name, self.now, 0.0, normal=normal))

    def check_rest(self) -> None:
        """Nothing can happen any more by itself: what is to run runs."""
        rules = self.rules
        assert self.over == rules.ending
        if self.frozen:
            assert {*self.running.values()} <= {"up"}
        else:
            assert self.running == {child.name: "up" for child in rules.children.values() if child.wanted}
            assert all(child.wanted for child in rules.children.values() if child.restart is Restart.PERMANENT)
        assert not any(child.doomed or child.leaving for child in rules.children.values())
        states = {child.state for child in rules.children.values()}
        assert states <= {State.UP, State.DOWN}


def explore(world: World) -> int:
    """Every order of events; the number of states."""
    seen = {world.key()}
    waiting = deque([world])
    while waiting:
        before = waiting.popleft()
        events = list(before.events())
        if not any(event in {"started", "stopped", "woken"} for event, _ in events):
            before.check_rest()
        for event in events:
            after = copy.deepcopy(before)
            after.happen(*event)
            key = after.key()
            if key not in seen:
                seen.add(key)
                waiting.append(after)
    return len(seen)


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(
    "restarts",
    [(P, P, P), (P, TR, TE), (TE, P, TR), (TR, TR)],
    ids=lambda restarts: "-".join(restarts) if isinstance(restarts, tuple) else None,
)
def test_every_order_of_events_keeps_the_rules(strategy: Strategy, restarts: tuple[str, ...]) -> None:
    rules = Supervision(strategy, limit=2, within=5.0, first_delay=1.0, last_delay=2.0)
    world = World(rules, accidents=4)
    for name, restart in zip("abc", restarts, strict=False):
        world.do(rules.add(name, Restart(restart), 0.0))
    assert explore(world) > 200


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_order_of_events_on_a_node_that_drains(strategy: Strategy) -> None:
    rules = Supervision(strategy, limit=2, within=5.0, first_delay=1.0, last_delay=2.0)
    world = World(rules, accidents=2, drains=True)
    for name, restart in zip("abc", (P, TR, TE), strict=False):
        world.do(rules.add(name, Restart(restart), 0.0))
    assert explore(world) > 100


@pytest.mark.exhaustive
@pytest.mark.parametrize("auto", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_every_order_of_events_with_significant_children(auto: AutoShutdown) -> None:
    rules = Supervision(Strategy.REST_FOR_ONE, limit=2, within=5.0, auto_shutdown=auto)
    world = World(rules, accidents=4)
    world.do(rules.add("a", Restart.TRANSIENT, 0.0, significant=True))
    world.do(rules.add("b", Restart.PERMANENT, 0.0))
    world.do(rules.add("c", Restart.TEMPORARY, 0.0, significant=True))
    assert explore(world) > 200


def seconds_of_a_group_restart(count: int) -> float:
    """How long the rules of so many tied children take to restart them all, at best."""
    least = inf
    for _ in range(5):
        rules = Supervision(Strategy.ONE_FOR_ALL, limit=10)
        for number in range(count):
            rules.add(str(number), Restart.PERMANENT, 0.0)
            rules.started(str(number), 0.0)
        begun = time.process_time()
        actions = rules.died("0", 1.0, 0.0, normal=False)
        while actions:
            (action,) = actions
            assert isinstance(action, Start | Stop)
            actions = (rules.stopped if isinstance(action, Stop) else rules.started)(action.child, 1.0)
        least = min(least, time.process_time() - begun)
        assert all(child.state is State.UP for child in rules.children.values())
    return least


def test_a_group_restart_takes_as_long_as_there_are_children() -> None:
    # Eight times as many: eight times as long. Where each step looked at all children it would be 64 times.
    assert seconds_of_a_group_restart(1600) < 24 * seconds_of_a_group_restart(200)
