"""The oracle can fail: for each rule a history that breaks it, and one beside it that does not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from doc_pages import ROOT

from trio_mp import Reason
from trio_mp.testing import Bounds, Cause, Oracle, PromiseBroken, Rule
from trio_mp.testing._formation import NodePlace, are_bound, find_fault
from trio_mp.testing._liar import repair_bound

PORT = "b#0123456789abcdef.1"
LOST: Reason = ("transport_error", "b", "the connection broke")


class HandMonitor:
    """A monitor whose life is written by hand."""

    def __init__(self, port: str = PORT) -> None:
        self.port = port
        self.reason: Reason | None = None
        self.cancelled = False

    @property
    def active(self) -> bool:
        return self.reason is None and not self.cancelled


class History:
    """Two nodes, `a` and `b`; `b` has a port, and `a` sends to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.oracle = Oracle(7, now=lambda: self.now)
        self.oracle.connected = lambda run, node_id: True
        self.oracle.node_started("a/1", "a")
        self.oracle.node_started("b/1", "b")
        self.oracle.port_made("b/1", PORT)

    def monitor(self, run: str = "a/1", port: str = PORT) -> HandMonitor:
        monitor = HandMonitor(port)
        self.oracle.monitor_set(run, monitor)
        return monitor

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.oracle.message_sent("a/1", PORT)

    def deliver(self, *numbers: int) -> None:
        for number in numbers:
            self.oracle.delivered_to(PORT, "a/1", number)

    def fire(self, monitor: HandMonitor, reason: Reason = LOST) -> None:
        monitor.reason = reason
        self.oracle.fire_begins(monitor, reason)
        self.oracle.fire_ends(monitor)


def breaks(rule: Rule, history: Callable[[History], object]) -> None:
    """The history breaks this rule, and no other before it."""
    told = History()
    with pytest.raises(PromiseBroken) as info:
        history(told)
    assert info.value.rule is rule
    assert told.oracle.broken is info.value
    with pytest.raises(PromiseBroken):
        told.oracle.check()


def keeps(history: Callable[[History], object]) -> None:
    told = History()
    history(told)
    told.oracle.check()


# Order ---------------------------------------------------------------------------------------------------------------


def test_order() -> None:
    def swapped(h: History) -> None:
        h.send(2)
        h.deliver(1, 0)

    breaks(Rule.ORDER, swapped)


def test_at_most_once() -> None:
    def twice(h: History) -> None:
        h.send()
        h.deliver(0, 0)

    breaks(Rule.ORDER, twice)


def test_an_earlier_epoch_after_a_later_one() -> None:
    def late(h: History) -> None:
        monitor = h.monitor()
        h.send()
        h.fire(monitor)
        h.send()
        h.deliver(1, 0)

    breaks(Rule.ORDER, late)


def test_gaps_that_no_monitor_covers_are_allowed() -> None:
    def gap(h: History) -> None:
        h.send(3)
        h.deliver(0, 2)

    keeps(gap)


# Holes ---------------------------------------------------------------------------------------------------------------


def test_a_hole_before_the_monitor_has_fired() -> None:
    def hole(h: History) -> None:
        h.monitor()
        h.send(3)
        h.deliver(0, 2)

    breaks(Rule.HOLE, hole)


def test_a_hole_in_an_epoch_whose_end_was_told() -> None:
    def hole(h: History) -> None:
        monitor = h.monitor()
        h.send(3)
        h.fire(monitor)
        h.deliver(0, 2)

    breaks(Rule.HOLE, hole)


def test_a_hole_that_only_one_of_two_monitors_told() -> None:
    def hole(h: History) -> None:
        told, _ = h.monitor(), h.monitor()
        h.send()
        h.fire(told)
        h.send()
        h.deliver(1)

    breaks(Rule.HOLE, hole)


def test_what_is_sent_after_the_report_may_leave_a_gap_before_it() -> None:
    def told(h: History) -> None:
        monitor = h.monitor()
        h.send(3)
        h.fire(monitor)
        h.monitor()
        h.send(2)
        h.deliver(0, 3, 4)

    keeps(told)


def test_the_reason_ends_the_epoch_before_the_callback_is_called() -> None:
    """Another callback of the same loss may send first."""

    def sent_between(h: History) -> None:
        monitor = h.monitor()
        h.send()
        monitor.reason = LOST
        h.send()
        h.oracle.fire_begins(monitor, LOST)
        h.deliver(1)

    keeps(sent_between)


def test_a_monitor_that_was_cancelled_covers_nothing() -> None:
    def cancelled(h: History) -> None:
        monitor = h.monitor()
        h.send()
        monitor.cancelled = True
        h.send()
        h.deliver(1)

    keeps(cancelled)


# What is delivered where ---------------------------------------------------------------------------------------------


def test_what_was_not_sent() -> None:
    breaks(Rule.INVENTED, lambda h: h.deliver(0))


def test_what_was_sent_to_another_port() -> None:
    def astray(h: History) -> None:
        h.send()
        h.oracle.delivered_to(PORT, "a/1", 0, "b#0123456789abcdef.2")

    breaks(Rule.INVENTED, astray)


def test_a_dead_port() -> None:
    def dead(h: History) -> None:
        h.send()
        h.oracle.port_died(PORT, ())
        h.deliver(0)

    breaks(Rule.DEAD_PORT, dead)


def test_a_port_id_that_is_used_again() -> None:
    def again(h: History) -> None:
        h.oracle.node_stopped("b/1", crashed=True)
        h.oracle.node_started("b/2", "b")
        h.oracle.port_made("b/2", PORT)

    breaks(Rule.PORT_ID, again)


# Liveness ------------------------------------------------------------------------------------------------------------


def test_a_lost_message_that_is_never_told() -> None:
    def silent(h: History) -> None:
        h.monitor()
        h.send(2)
        h.deliver(0)
        h.now += 1000
        h.oracle.finish()

    breaks(Rule.SILENCE, silent)


def test_what_was_sent_a_moment_ago_may_be_on_its_way() -> None:
    def on_its_way(h: History) -> None:
        h.monitor()
        h.now += 1000
        h.send()
        h.oracle.finish()

    keeps(on_its_way)


def test_a_node_that_closes_without_telling() -> None:
    def closes(h: History) -> None:
        h.monitor()
        h.oracle.node_stopped("a/1")

    breaks(Rule.SILENCE, closes)


def test_a_node_that_crashes_tells_nobody() -> None:
    def crashes(h: History) -> None:
        h.monitor()
        h.send()
        h.oracle.node_stopped("a/1", crashed=True)
        h.now += 1000
        h.oracle.finish()

    keeps(crashes)


BOUNDS = Bounds()


@pytest.mark.parametrize(
    "cause, happens",
    [
        (Cause.DIED, lambda h: h.oracle.port_died(PORT, ())),
        (Cause.CLOSED, lambda h: h.oracle.node_stopped("b/1", crashed=True)),
        (Cause.SILENT, lambda h: h.oracle.node_stopped("b/1", crashed=True, silently=True)),
    ],
)
def test_a_report_that_comes_late(cause: Cause, happens: Callable[[History], None]) -> None:
    def told_after(seconds: float, reason: Reason) -> Callable[[History], None]:
        def history(h: History) -> None:
            monitor = h.monitor()
            happens(h)
            h.now += seconds
            h.fire(monitor, reason)

        return history

    bound = BOUNDS.of(cause)
    keeps(told_after(bound, LOST))
    breaks(Rule.LATE, told_after(bound + 0.01, LOST))


def test_a_report_that_never_comes() -> None:
    def never(h: History) -> None:
        h.monitor()
        h.oracle.port_died(PORT, ())
        h.now += 1000
        h.oracle.finish()

    breaks(Rule.LATE, never)


def test_a_report_of_a_local_death_comes_at_once() -> None:
    def late(h: History) -> None:
        monitor = h.monitor("b/1")
        h.oracle.port_died(PORT, ())
        h.now += 0.01
        h.fire(monitor, ())

    breaks(Rule.LATE, late)


def test_a_disturbance_gives_more_time_but_not_for_ever() -> None:
    def told_after(seconds: float) -> Callable[[History], None]:
        def history(h: History) -> None:
            monitor = h.monitor()
            h.oracle.port_died(PORT, ())
            h.now += 1
            h.oracle.disturbed(calm=False)
            h.now += 500
            h.oracle.disturbed(calm=True)
            h.now += seconds
            h.fire(monitor)

        return history

    keeps(told_after(BOUNDS.longest))
    breaks(Rule.LATE, told_after(BOUNDS.longest + 0.01))


def test_without_a_connection_the_bound_is_the_longest() -> None:
    def late(h: History) -> None:
        h.oracle.connected = lambda run, node_id: False
        monitor = h.monitor()
        h.oracle.port_died(PORT, ())
        h.now += BOUNDS.longest + 0.01
        h.fire(monitor)

    breaks(Rule.LATE, late)


def test_a_call_that_does_not_end() -> None:
    def unanswered(h: History) -> None:
        h.oracle.call_begins("a/1", 1, PORT)
        h.oracle.call_begins("a/1", 2, PORT)
        h.oracle.call_ends("a/1", 1)
        h.now += 1000
        h.oracle.finish()

    breaks(Rule.UNANSWERED, unanswered)


def call(h: History) -> None:
    """The node `a` calls the port."""
    h.oracle.call_begins("a/1", 1, PORT)
    h.oracle.call_sent("a/1", 1, PORT)
    h.send()


def test_a_call_that_is_answered_twice() -> None:
    def twice(h: History) -> None:
        call(h)
        h.oracle.call_answered("a/1", 1)
        h.oracle.call_answered("a/1", 1)

    breaks(Rule.ANSWERED_TWICE, twice)


def test_a_call_that_did_not_begin_and_is_answered() -> None:
    def answered(h: History) -> None:
        call(h)
        h.oracle.call_dropped(PORT, "a/1", 0)
        h.oracle.call_answered("a/1", 1)

    breaks(Rule.GIVEN_UP, answered)


def test_a_call_that_its_caller_has_given_up_does_not_begin() -> None:
    def given_up(h: History) -> None:
        call(h)
        h.oracle.call_ends("a/1", 1)
        h.oracle.call_dropped(PORT, "a/1", 0)
        monitor = h.monitor()
        h.send()
        h.deliver(1)
        assert monitor.active

    keeps(given_up)


def test_a_call_that_does_not_begin_and_was_not_made() -> None:
    def invented(h: History) -> None:
        h.send()
        h.oracle.call_dropped(PORT, "a/1", 0)

    breaks(Rule.INVENTED, invented)


# Monitors ------------------------------------------------------------------------------------------------------------


def test_a_monitor_that_fires_twice() -> None:
    def twice(h: History) -> None:
        monitor = h.monitor()
        h.fire(monitor)
        h.fire(monitor)

    breaks(Rule.ONCE, twice)


def test_a_monitor_that_fires_though_it_was_cancelled() -> None:
    def cancelled(h: History) -> None:
        monitor = h.monitor()
        monitor.cancelled = True
        h.oracle.fire_begins(monitor, LOST)

    breaks(Rule.ONCE, cancelled)


def test_a_death_that_was_none() -> None:
    def alive(h: History) -> None:
        h.fire(h.monitor(), ("die", "ValueError"))

    breaks(Rule.FALSE_DEATH, alive)


# The database --------------------------------------------------------------------------------------------------------


def told_of_end(h: History, node_id: str = "b") -> None:
    h.oracle.told_of_end("a/1", node_id, lives=True)


def test_a_node_that_lives_and_is_said_to_be_gone() -> None:
    breaks(Rule.VANISHED, told_of_end)
    keeps(lambda h: h.oracle.told_of_end("a/1", "b", lives=False))


@pytest.mark.parametrize("happens", [lambda h: h.oracle.disturbed(calm=True), lambda h: h.oracle.tie_ended()])
def test_after_a_disturbance_it_may_be_said_to_be_gone_but_not_for_ever(happens: Callable[[History], None]) -> None:
    def told_after(seconds: float) -> Callable[[History], None]:
        def history(h: History) -> None:
            happens(h)
            h.now += seconds
            told_of_end(h)

        return history

    keeps(told_after(BOUNDS.memory))
    breaks(Rule.VANISHED, told_after(BOUNDS.memory + 0.01))


def test_a_node_of_which_a_member_lies_may_be_said_to_be_gone_but_no_other() -> None:
    def lies(h: History) -> None:
        h.oracle.node_started("liar/1", "liar")
        h.oracle.lie_told("liar/1", "b")
        h.now += 1000

    def about_it(h: History) -> None:
        lies(h)
        told_of_end(h)

    def about_another(h: History) -> None:
        lies(h)
        told_of_end(h, "c")

    keeps(about_it)
    breaks(Rule.VANISHED, about_another)


@pytest.mark.parametrize("ends", [lambda h: h.oracle.lies_end("liar/1"), lambda h: h.oracle.node_stopped("liar/1")])
def test_lies_are_forgotten_some_time_after_the_end_of_the_liar(ends: Callable[[History], None]) -> None:
    def told_after(seconds: float) -> Callable[[History], None]:
        def history(h: History) -> None:
            h.oracle.node_started("liar/1", "liar")
            h.oracle.lie_told("liar/1", "b")
            h.now += 1000
            ends(h)
            h.now += seconds
            # Its end is told once.
            ends(h)
            told_of_end(h)

        return history

    assert BOUNDS.forgotten >= BOUNDS.of(Cause.SILENT) + repair_bound(BOUNDS.heartbeat)
    keeps(told_after(BOUNDS.forgotten))
    breaks(Rule.VANISHED, told_after(BOUNDS.forgotten + 0.01))


def test_another_liar_still_counts_and_a_dead_one_tells_no_lies() -> None:
    def two(h: History) -> None:
        for run in ("liar/1", "other/1"):
            h.oracle.node_started(run, run[:-2])
            h.oracle.lie_told(run, "b")
        h.oracle.lies_end("liar/1")
        h.now += 1000
        told_of_end(h)

    def dead(h: History) -> None:
        h.oracle.node_started("liar/1", "liar")
        h.oracle.node_stopped("liar/1")
        h.oracle.lie_told("liar/1", "b")
        told_of_end(h)

    keeps(two)
    breaks(Rule.VANISHED, dead)


def test_a_dead_node_of_which_entries_are_left() -> None:
    keeps(lambda h: h.oracle.remembered("a", "b", lives=True))
    breaks(Rule.LINGERS, lambda h: h.oracle.remembered("a", "b", lives=False))


# The rest ------------------------------------------------------------------------------------------------------------


def test_memory() -> None:
    def exactly(h: History) -> None:
        h.oracle.queued("a/1", "b", 1100, 1000, 100)

    keeps(exactly)
    breaks(Rule.MEMORY, lambda h: h.oracle.queued("a/1", "b", 1101, 1000, 100))


def test_connections() -> None:
    keeps(lambda h: h.oracle.connections("a", "b", "x", "x", bound=True))
    keeps(lambda h: h.oracle.connections("a", "b", None, None, bound=False))
    breaks(Rule.CONNECTED, lambda h: h.oracle.connections("a", "b", None, None, bound=True))
    breaks(Rule.AGREEMENT, lambda h: h.oracle.connections("a", "b", "x", "y", bound=True))
    breaks(Rule.AGREEMENT, lambda h: h.oracle.connections("a", "b", "x", None, bound=False))


def standing(
    seeds: str = "", *, is_global: bool = True, host: str | None = None, mesh: str = "", guests: str = ""
) -> NodePlace:
    return NodePlace(frozenset(seeds), bool(seeds), is_global, host, frozenset(mesh), frozenset(guests))


FORMED = {
    "s": standing(mesh="t", guests="a"),
    "t": standing("s", mesh="s"),
    "a": standing("t", is_global=False, host="s"),
    "x": standing(),
}


def test_what_form_a_network_should_have() -> None:
    keeps(lambda h: h.oracle.formed(find_fault(FORMED)))
    assert are_bound(FORMED, "s", "t")
    assert are_bound(FORMED, "s", "a")
    assert are_bound(FORMED, "a", "s")
    assert not are_bound(FORMED, "t", "a")


@pytest.mark.parametrize(
    "change",
    [
        {"x": standing(is_global=False)},
        {"x": standing("a")},
        {"s": standing(guests="a")},
        {"t": standing("s")},
        {"t": standing("s", mesh="s", host="s")},
        {"s": standing(mesh="tz", guests="a")},
        {"s": standing(mesh="t", guests="az")},
        {"s": standing(mesh="t")},
        {"a": standing("t", is_global=False)},
        {"s": standing(mesh="t", guests="ax")},
        {"b": standing("sx", is_global=False, host="s"), "s": standing(mesh="t", guests="ab")},
    ],
)
def test_a_network_without_that_form(change: dict[str, NodePlace]) -> None:
    breaks(Rule.FORM, lambda h: h.oracle.formed(find_fault({**FORMED, **change})))


def test_what_a_dead_run_still_does_does_not_count() -> None:
    def ghost(h: History) -> None:
        monitor = h.monitor()
        h.oracle.node_stopped("a/1", crashed=True)
        h.send()
        assert not h.oracle.sent
        h.fire(monitor)
        assert not h.oracle.fired

    keeps(ghost)


def test_the_report_names_seed_and_rule() -> None:
    h = History()
    with pytest.raises(PromiseBroken, match="seed 7") as info:
        h.deliver(0)
    assert Rule.INVENTED.value in str(info.value)
    # The first violation is the one that counts; what follows from it is not reported again.
    with pytest.raises(PromiseBroken) as again:
        h.oracle.queued("a/1", "b", 10, 1, 1)
    assert again.value is info.value


def test_the_page_lists_each_rule() -> None:
    page = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    table = page.partition("| rule | what it says |\n")[2].partition("\n\n")[0]
    named = re.findall(r"^\| ([a-z][A-Za-z ]+) \|", table, re.MULTILINE)
    assert sorted(name.lower() for name in named) == sorted(rule.name.lower().replace("_", " ") for rule in Rule)
