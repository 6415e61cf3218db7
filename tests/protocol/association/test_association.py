"""The rules of the association, one at a time. For their interplay see the explorer and the properties."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.association.effects import (
    Accept,
    Choose,
    Close,
    Dropped,
    Effect,
    Fire,
    FireDone,
    FireDue,
    HalfClose,
    NodeDown,
    NodeUp,
    Probe,
    Refuse,
    Say,
    Terms,
    Unwatch,
)
from trio_mp._protocol.association.outbox import Fence
from trio_mp._protocol.wire.codec import decode_frame
from trio_mp._protocol.wire.framing import FRAMINGS, MSGPACK
from trio_mp._reason import transport_error

LIMIT = 1 << 20


def make(local_id: str, peer_id: str, *, queue_limit: int = LIMIT, message_limit: int = LIMIT) -> Association:
    return Association(local_id, peer_id, queue_limit=queue_limit, message_limit=message_limit)


def decider(**limits: int) -> Association:
    """The side that decides."""
    return make("b", "a", **limits)


def follower(**limits: int) -> Association:
    """The other one."""
    return make("a", "b", **limits)


def authenticate(
    association: Association, connection: str, *, lost: str = "", incarnation: str = "i", limit: int = LIMIT
) -> list[Effect]:
    association.greeted(connection)
    return association.authenticated(connection, lost, Terms(incarnation, limit, MSGPACK))


def bring_up(association: Association, connection: str = "one", *, incarnation: str = "i", limit: int = LIMIT) -> None:
    """Have a connection in use."""
    authenticate(association, connection, incarnation=incarnation, limit=limit)
    if association.decides:
        assert association.ok_received(connection) == [NodeUp(connection)]
    else:
        association.link_received(connection)
    assert association.in_use == connection


def queued(association: Association) -> list[tuple[object, ...]]:
    """What waits to be written; nothing of it was written yet."""
    chunk = association.outbox.queue.next_chunk()
    return [] if chunk is None else decode_frame(chunk[4:])


def report(association: Association) -> tuple[object, ...]:
    """Report a loss: the monitors that fire."""
    fire = association.outbox.fire()
    assert association.fired() == []
    return fire.monitors


def test_a_node_has_no_association_with_itself() -> None:
    with pytest.raises(LocalProtocolError, match="expected two nodes, got a twice"):
        make("a", "a")


def test_the_greater_node_id_decides_compared_as_bytes() -> None:
    assert make("b", "a").decides
    assert not make("a", "b").decides
    assert make("a", "Z").decides


class TestTakingUpAConnection:
    def test_the_side_that_decides_chooses_the_first_and_waits_for_ok(self) -> None:
        b = decider()
        assert authenticate(b, "one", incarnation="i") == [Choose("one")]
        assert (b.in_use, b.may_write, b.incarnation) == (None, False, "i")
        assert b.ok_received("one") == [NodeUp("one")]
        assert (b.in_use, b.may_write) == ("one", True)

    def test_the_other_side_waits_for_link_and_answers_ok(self) -> None:
        a = follower()
        assert authenticate(a, "one") == []
        assert (a.in_use, a.may_write, a.incarnation) == (None, False, "")
        assert a.link_received("one") == [Accept("one"), NodeUp("one")]
        assert (a.in_use, a.may_write, a.incarnation) == ("one", True, "i")

    def test_others_are_refused_while_one_is_chosen_or_in_use(self) -> None:
        b = decider()
        authenticate(b, "one")
        assert authenticate(b, "two") == [Refuse("two", "already connected")]
        b.ok_received("one")
        assert authenticate(b, "three") == [Refuse("three", "already connected")]

    def test_the_other_side_closes_all_others_first(self) -> None:
        a = follower()
        authenticate(a, "one")
        a.greeted("two")
        authenticate(a, "three")
        why = "another connection was chosen"
        assert a.link_received("three") == [Close("one", why), Close("two", why), Accept("three"), NodeUp("three")]
        with pytest.raises(RemoteProtocolError, match="link"):
            a.link_received("one")

    def test_link_is_refused_where_it_does_not_belong(self) -> None:
        a, b = follower(), decider()
        a.greeted("one")
        authenticate(b, "one")
        for association, connection in ((a, "one"), (a, "unknown"), (b, "one")):
            with pytest.raises(RemoteProtocolError, match="got 'link' on a connection that is"):
                association.link_received(connection)

    def test_ok_is_refused_where_it_does_not_belong(self) -> None:
        a, b = follower(), decider()
        authenticate(a, "one")
        bring_up(b)
        for association, connection in ((a, "one"), (b, "unknown"), (b, "one")):
            with pytest.raises(RemoteProtocolError, match="got 'ok' on a connection that is"):
                association.ok_received(connection)

    @pytest.mark.parametrize("make_side", [decider, follower])
    def test_both_sides_greet_before_they_prove_themselves(self, make_side: Callable[[], Association]) -> None:
        with pytest.raises(LocalProtocolError, match="expected a connection that is greeted, got one that is new"):
            make_side().authenticated("one", "", Terms("i", LIMIT, MSGPACK))

    def test_a_choice_that_is_not_answered_ends_and_nothing_is_lost(self) -> None:
        b = decider()
        b.outbox.monitor("p", "m")
        b.outbox.send("p", (1,))
        authenticate(b, "one")
        assert b.choice_expired("one") == [Close("one", "the peer did not take up the connection in time")]
        assert queued(b) == [("", "mon1", "p"), ("p", 1)]
        assert authenticate(b, "two") == [Choose("two")]

    def test_the_time_for_an_answer_that_came_means_nothing(self) -> None:
        b = decider()
        bring_up(b)
        assert b.choice_expired("one") == []
        assert b.in_use == "one"

    def test_a_connection_that_ends_before_it_is_chosen_is_forgotten(self) -> None:
        a = follower()
        authenticate(a, "one")
        assert a.closed("one", "reset") == []
        assert a.closed("one", "again") == []
        with pytest.raises(RemoteProtocolError):
            a.link_received("one")


class TestALoss:
    def test_it_fires_what_waits_for_the_answer_to_a_call(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.expect("ticket", "a call")
        a.outbox.expect("other", "a call that has ended")
        a.outbox.forget("other")
        a.outbox.forget("never expected")
        assert queued(a) == [], "the other side answers by itself"
        a.closed("one", "reset")
        assert a.outbox.fire().monitors == ("a call",)

    def test_it_closes_the_connection_drops_the_queue_and_fires_every_monitor(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "first")
        a.outbox.monitor("q", "second")
        a.outbox.monitor("p", "third")
        a.outbox.monitor("", "of the node")
        a.outbox.send("p", (1,))
        size = a.outbox.queue.size
        reason = transport_error("b", "reset")
        assert a.closed("one", "reset") == [Close("one", "reset"), Dropped(reason, True, 3, size), FireDue()]
        assert a.in_use is None
        assert a.last_ended == "one"
        assert a.outbox.fire() == Fire(("first", "third", "second", "of the node"), reason)
        assert a.fired() == []
        assert a.outbox.fence is Fence.CLEAR
        assert not a.wants_connection

    def test_what_is_sent_before_the_report_is_dropped(self) -> None:
        a = follower()
        bring_up(a)
        a.closed("one", "reset")
        assert a.outbox.send("p", (1,)) is False
        assert queued(a) == []
        with pytest.raises(TypeError):
            a.outbox.send("p", ({1},))

    def test_a_monitor_set_before_the_report_fires_with_it(self) -> None:
        a = follower()
        bring_up(a)
        a.closed("one", "reset")
        a.outbox.monitor("p", "m")
        assert report(a) == ("m",)

    def test_a_monitor_taken_away_before_the_report_does_not_fire(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "m")
        a.closed("one", "reset")
        a.outbox.demonitor("p", "m")
        assert report(a) == ()

    def test_what_is_sent_and_monitored_by_callbacks_waits_for_the_next_connection(self) -> None:
        a = follower()
        bring_up(a)
        a.closed("one", "reset")
        a.outbox.fire()
        a.outbox.monitor("p", "m")
        a.outbox.send("p", (1,))
        assert not a.may_write
        assert a.fired() == []
        assert queued(a) == [("", "mon1", "p"), ("p", 1)]
        assert a.wants_connection

    def test_it_is_reported_once(self) -> None:
        a = follower()
        with pytest.raises(LocalProtocolError, match="expected a loss before `fire`, got a fence that is clear"):
            a.outbox.fire()
        bring_up(a)
        a.closed("one", "reset")
        report(a)
        with pytest.raises(LocalProtocolError, match="expected a loss before `fire`, got a fence that is clear"):
            a.outbox.fire()

    def test_a_second_one_before_the_report_keeps_the_first_reason(self) -> None:
        a = follower()
        bring_up(a)
        a.closed("one", "reset")
        a.lose("the node closes")
        assert a.outbox.fire().reason == transport_error("b", "reset")

    def test_the_peers_monitors_end_with_the_connection(self) -> None:
        a = follower()
        bring_up(a)
        a.watched.add("mine")
        assert Unwatch(("mine",)) in a.closed("one", "reset")
        assert a.watched == set()

    def test_giving_up_waiting_fires_what_was_queued_for(self) -> None:
        a = follower()
        a.outbox.monitor("p", "m")
        a.outbox.send("p", (1,))
        size = a.outbox.queue.size
        reason = transport_error("b", "no connection in time")
        assert a.lose("no connection in time") == [Dropped(reason, False, 2, size), FireDue()]
        assert a.last_ended == ""
        assert report(a) == ("m",)

    @pytest.mark.parametrize("make_side", [decider, follower])
    def test_a_peer_that_seems_to_have_gone_is_a_loss_that_is_reported_later(
        self, make_side: Callable[[], Association]
    ) -> None:
        side = make_side()
        side.outbox.monitor("p", "m")
        side.outbox.send("p", (1,))
        size, reason = side.outbox.queue.size, transport_error(side.peer_id, "it has gone")
        assert side.presume_gone("it has gone") == [Dropped(reason, False, 2, size), FireDue()]
        assert (side.outbox.fence, side.outbox.queue.size) == (Fence.LOST, 0)
        side.outbox.send("p", (2,))
        assert report(side) == ("m",)
        # Nothing of it is left: the next run is taken up like any other, and the old one, if it lives.
        side.outbox.send("p", (3,))
        bring_up(side)
        assert queued(side) == [("p", 3)]

    @pytest.mark.parametrize("make_side", [decider, follower])
    def test_nothing_waits_for_a_peer_that_seems_to_have_gone(self, make_side: Callable[[], Association]) -> None:
        side = make_side()
        assert side.presume_gone("it has gone") == []
        assert side.outbox.fence is Fence.CLEAR

    @pytest.mark.parametrize("make_side", [decider, follower])
    def test_a_peer_that_seems_to_have_gone_is_waited_for_while_a_connection_is_on_its_way(
        self, make_side: Callable[[], Association]
    ) -> None:
        side = make_side()
        side.outbox.monitor("p", "m")
        side.greeted("one")
        assert side.presume_gone("it has gone") == []
        side.authenticated("one", "", Terms("i", LIMIT, MSGPACK))
        # Chosen, where this side decides.
        assert side.presume_gone("it has gone") == []
        if not side.decides:
            side.link_received("one")
        else:
            side.ok_received("one")
        assert side.presume_gone("it has gone") == []
        assert (side.outbox.fence, side.in_use) == (Fence.CLEAR, "one")
        assert side.outbox.monitors == {"p": {"m": None}}

    @pytest.mark.parametrize("make_side", [decider, follower])
    def test_a_peer_that_seems_to_have_gone_is_waited_for_while_a_connection_is_about_to_be_taken_up(
        self, make_side: Callable[[], Association]
    ) -> None:
        side = make_side()
        bring_up(side)
        side.outbox.monitor("p", "m")
        side.closed("one", "reset")
        authenticate(side, "two")
        if not side.decides:
            side.link_received("two")
        assert side.presume_gone("it has gone") == []
        assert report_and_go_on(side) == ("m",)
        assert side._current == "two"

    def test_giving_up_waiting_gives_up_a_chosen_connection(self) -> None:
        b = decider()
        authenticate(b, "one")
        assert Close("one", "no connection in time") in b.lose("no connection in time")
        assert b.last_ended == ""
        assert b.closed("one", "reset") == []


class TestAnErrorOfThisSide:
    """Whatever state it has left: all is lost, and every monitor that was set fires."""

    def test_it_is_a_loss_of_all_there_is(self) -> None:
        for association in (decider(), follower()):
            peer_id = association.peer_id
            bring_up(association)
            association.outbox.monitor("p", "m")
            association.watched.add("ours")
            association.outbox.queue.drop()
            association.outbox.queue.dropped = (0, 0)
            association.outbox.send("p", (1,))
            size = association.outbox.queue.size
            authenticate(association, "two")
            reason = ("transport_error", peer_id, "why")
            assert association.give_up("why") == Dropped(reason, True, 1, size)
            assert (association.in_use, association.incarnation, association.last_ended) == (None, "", "one")
            assert not association.watched
            # Nothing is known any more of the connections that there were.
            assert association.closed("one", "") == association.closed("two", "") == []
            association.outbox.send("p", ("before the report",))
            assert association.outbox.fire() == Fire(("m",), reason)
            assert association.fired() == []
            assert not association.outbox.queue.size
            bring_up(association, "three")

    def test_between_a_loss_and_its_report(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "m")
        a.lose("first")
        a.outbox.monitor("p", "n")
        a.give_up("second")
        assert a.outbox.fire() == Fire(("m", "n"), ("transport_error", "b", "second"))
        assert a.fired() == []
        assert a.last_ended == "one"

    def test_in_the_middle_of_a_report(self) -> None:
        a = follower()
        a.outbox.monitor("p", "m")
        a.lose("first")
        assert a.outbox.fire().monitors == ("m",)
        a.outbox.monitor("q", "of a callback")
        a.outbox.send("q", ("of a callback",))
        a.give_up("second")
        # Who knows which of them have fired?
        assert report(a) == ("m", "of a callback")
        assert not a.outbox.queue.size
        assert (a.outbox.fence, a.outbox.unfired) == (Fence.CLEAR, {})

    def test_in_the_middle_of_adapting_the_queue(self) -> None:
        a = follower()
        a.outbox.monitor("p", "m")
        a.outbox.send("p", ("x" * 1000,))
        a.greeted("one")
        authenticate(a, "one", limit=100)
        a.link_received("one")
        # What was to be told of the loss is not told.
        a.give_up("why")
        assert report(a) == ("m",)


def report_and_go_on(association: Association) -> tuple[object, ...]:
    """Report a loss, and take up the connection that has waited for it: the monitors that fire."""
    fire = association.outbox.fire()
    association.fired()
    return fire.monitors


class TestTheFence:
    def test_a_connection_that_is_chosen_meanwhile_is_taken_up_after_the_report(self) -> None:
        a = follower()
        bring_up(a)
        a.closed("one", "reset")
        authenticate(a, "two")
        assert a.link_received("two") == []
        assert a.in_use is None
        a.outbox.fire()
        assert a.fired() == [Accept("two"), NodeUp("two")]

    def test_a_connection_that_authenticates_meanwhile_is_chosen_after_the_report(self) -> None:
        b = decider()
        bring_up(b)
        b.closed("one", "reset")
        assert authenticate(b, "two") == []
        assert authenticate(b, "three") == [Refuse("three", "already connecting")]
        b.outbox.fire()
        assert b.fired() == [Choose("two")]

    def test_a_connection_that_ends_meanwhile_is_not_taken_up(self) -> None:
        b = decider()
        bring_up(b)
        b.closed("one", "reset")
        authenticate(b, "two")
        assert b.closed("two", "reset") == []
        assert report(b) == ()
        assert authenticate(b, "three") == [Choose("three")]

    def test_the_last_connection_that_is_chosen_meanwhile_counts(self) -> None:
        a = follower()
        bring_up(a)
        authenticate(a, "two")
        a.closed("one", "reset")
        authenticate(a, "three")
        a.link_received("two")
        assert a.link_received("three") == [Close("two", "another connection was chosen")]
        a.outbox.fire()
        assert a.fired() == [Accept("three"), NodeUp("three")]


class TestOneConnectionReplacesAnother:
    def test_the_other_side_ends_what_it_had_in_use_and_fires_first(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "m")
        a.outbox.send("p", ("covered",))
        authenticate(a, "two")
        why = "the other side chose another connection"
        lost = Dropped(transport_error("b", why), True, 2, a.outbox.queue.size)
        assert a.link_received("two") == [Close("one", why), lost, FireDue()]
        assert a.outbox.fire().monitors == ("m",)
        assert a.fired() == [Accept("two"), NodeUp("two")]

    def test_the_side_that_decides_believes_that_the_one_in_use_was_lost(self) -> None:
        b = decider()
        bring_up(b)
        why = "the other side lost the connection"
        effects = authenticate(b, "two", lost="one")
        assert effects == [Close("one", why), Dropped(transport_error("a", why), True, 0, 0), FireDue()]
        b.outbox.fire()
        assert b.fired() == [Choose("two")]

    def test_a_chosen_one_that_was_lost_is_replaced_at_once(self) -> None:
        # The other side had taken it up, and lost it before its `ok` arrived. Nothing was written from here.
        b = decider()
        b.outbox.send("p", (1,))
        authenticate(b, "one")
        effects = authenticate(b, "two", lost="one")
        assert effects == [Close("one", "the other side lost the connection"), Choose("two")]
        assert queued(b) == [("p", 1)]

    def test_a_stale_claim_is_not_believed(self) -> None:
        b = decider()
        bring_up(b)
        authenticate(b, "two", lost="one")
        b.outbox.fire()
        assert b.fired() == [Choose("two")]
        b.ok_received("two")
        assert authenticate(b, "three", lost="one") == [Refuse("three", "already connected")]


class TestTheQueueIsBounded:
    def test_more_than_the_limit_is_a_loss(self) -> None:
        a = follower(queue_limit=100)
        bring_up(a)
        a.outbox.monitor("p", "m")
        assert a.outbox.send("p", (b"x" * 50,)) is False
        assert a.outbox.send("p", (b"x" * 50,)) is True
        assert not a.may_write
        assert a.outbox.queue.size == 0
        reason = transport_error("b", "more than 100 bytes were queued for the peer")
        close, lost, due = a.take_loss()
        assert close == Close("one", "more than 100 bytes were queued for the peer")
        assert isinstance(lost, Dropped)
        assert (lost.reason, lost.messages) == (reason, 3)
        assert due == FireDue()
        assert report(a) == ("m",)

    def test_what_callbacks_send_may_be_too_much_as_well(self) -> None:
        a = follower(queue_limit=100)
        bring_up(a)
        a.outbox.monitor("p", "m")
        a.closed("one", "reset")
        authenticate(a, "two")
        a.link_received("two")
        assert a.outbox.fire().monitors == ("m",)
        a.outbox.monitor("p", "again")
        assert a.outbox.send("p", (b"x" * 100,)) is True
        assert a.fired() == []
        assert a.outbox.fence is Fence.LOST
        assert a.take_loss()[-1] == FireDue()
        assert a.outbox.fire().monitors == ("again",)
        assert a.fired() == [Accept("two"), NodeUp("two")]


class TestTheLimitOfThePeer:
    def test_it_holds_as_soon_as_it_is_known(self) -> None:
        a = follower(message_limit=1000)
        bring_up(a, limit=100)
        with pytest.raises(ValueError, match="at most 100 bytes, which that node takes"):
            a.outbox.send("p", (b"x" * 100,))

    def test_ours_holds_if_it_is_smaller(self) -> None:
        a = follower(message_limit=100)
        bring_up(a, limit=1000)
        with pytest.raises(ValueError, match="at most 100 bytes, which that node takes"):
            a.outbox.send("p", (b"x" * 100,))

    @pytest.mark.parametrize("decides", [False, True])
    def test_what_was_queued_and_is_larger_is_lost_and_only_its_port_is_told(self, decides: bool) -> None:
        association = decider() if decides else follower()
        association.outbox.monitor("p", "of p")
        association.outbox.monitor("q", "of q")
        association.outbox.send("p", (b"x" * 200,))
        association.outbox.send("q", (1,))
        size = association.outbox.queue.size
        effects = authenticate(association, "one", limit=100)
        if not decides:
            assert effects == []
            effects = association.link_received("one")
        reason = transport_error(
            association.peer_id,
            "a queued message could not be written:"
            " message: expected at most 100 bytes, which that node takes, got 205",
        )
        lost = Dropped(reason, False, 1, size - association.outbox.queue.size)
        assert effects == [lost, Fire(("of p",), reason), FireDone()]
        assert association.in_use is None
        association.outbox.monitor("p", "again")
        taken_up: list[Effect] = [Choose("one")] if decides else [Accept("one"), NodeUp("one")]
        assert association.fired() == taken_up
        assert queued(association) == [("", "mon1", "p"), ("", "mon1", "q"), ("q", 1), ("", "mon1", "p")]
        assert association.outbox.monitors == {"p": {"again": None}, "q": {"of q": None}}


class TestMonitors:
    def test_the_first_of_a_port_asks_for_it_and_the_last_one_stops_it(self) -> None:
        a = follower()
        a.outbox.monitor("p", "first")
        a.outbox.monitor("p", "second")
        a.outbox.demonitor("p", "first")
        assert a.outbox.monitors == {"p": {"second": None}}
        a.outbox.demonitor("p", "second")
        assert queued(a) == [("", "mon1", "p"), ("", "mon0", "p")]
        assert a.outbox.monitors == {}

    def test_the_node_itself_is_not_asked_for(self) -> None:
        a = follower()
        a.outbox.monitor("", "m")
        assert queued(a) == []
        assert a.wants_connection
        a.outbox.demonitor("", "m")
        assert queued(a) == []
        assert not a.wants_connection

    def test_one_that_is_not_there_may_be_taken_away(self) -> None:
        a = follower()
        assert a.outbox.demonitor("p", "m") is False
        a.outbox.monitor("p", "m")
        assert a.outbox.demonitor("p", "other") is False
        assert queued(a) == [("", "mon1", "p")]

    def test_one_that_cannot_be_asked_for_is_not_there(self) -> None:
        a = follower(message_limit=50)
        with pytest.raises(ValueError, match="at most 50 bytes, which that node takes"):
            a.outbox.monitor("p" * 100, "m")
        assert a.outbox.monitors == {}

    def test_a_death_fires_those_of_the_port_and_no_others(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "first")
        a.outbox.monitor("p", "second")
        a.outbox.monitor("q", "third")
        assert a.outbox.port_died("p", ("die", "why")) == [Fire(("first", "second"), ("die", "why"))]
        assert a.outbox.port_died("p", ()) == []
        assert a.outbox.monitors == {"q": {"third": None}}

    def test_a_message_that_cannot_be_queued_any_more_fires_those_of_its_port(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("p", "first")
        a.outbox.monitor("q", "second")
        a.outbox.monitor("", "of the node")
        assert a.message_lost("p", "why") == [Fire(("first",), ("transport_error", "b", "why"))]
        assert a.message_lost("p", "why") == []
        assert a.message_lost("", "why") == [Fire(("of the node",), ("transport_error", "b", "why"))]
        assert a.outbox.monitors == {"q": {"second": None}}
        assert a.in_use
        assert queued(a) == [("", "mon1", "p"), ("", "mon1", "q"), ("", "mon0", "p")]

    def test_a_message_that_cannot_be_queued_any_more_may_be_one_too_many_for_the_queue(self) -> None:
        a = follower(queue_limit=100)
        bring_up(a)
        a.outbox.monitor("p" * 60, "first")
        effects = a.message_lost("p" * 60, "why")
        assert effects[0] == Fire(("first",), ("transport_error", "b", "why"))
        assert [type(effect) for effect in effects[1:]] == [Close, Dropped, FireDue]

    def test_the_node_port_does_not_die(self) -> None:
        a = follower()
        bring_up(a)
        a.outbox.monitor("", "m")
        assert a.outbox.port_died("", ("die", "why")) == []
        assert a.outbox.monitors == {"": {"m": None}}

    def test_asking_may_be_too_much_for_the_queue(self) -> None:
        a = follower(queue_limit=10)
        assert a.outbox.monitor("port", "m") is True
        a.take_loss()
        assert report(a) == ("m",)


class TestAnotherIncarnation:
    """Another process with the peer's node ID: the peer restarted, or there are two of them."""

    @pytest.mark.parametrize("decides", [False, True])
    def test_it_is_refused_while_the_one_we_know_answers(self, decides: bool) -> None:
        association = decider() if decides else follower()
        bring_up(association, incarnation="old")
        effects = authenticate(association, "two", incarnation="new")
        if not decides:
            assert effects == []
            effects = association.link_received("two")
        assert effects == [Probe("one")]
        assert association.probe_answered() == [Refuse("two", "node ID in use")]
        assert association.probe_answered() == []
        assert association.in_use == "one"

    @pytest.mark.parametrize("decides", [False, True])
    @pytest.mark.parametrize("how", ["the probe fails", "the connection ends"])
    def test_it_takes_the_place_of_one_that_is_gone(self, decides: bool, how: str) -> None:
        association = decider() if decides else follower()
        bring_up(association, incarnation="old")
        for connection in ("two", "three"):
            authenticate(association, connection, incarnation="new")
            if not decides:
                association.link_received(connection)
        association.outbox.monitor("p", "m")
        if how == "the probe fails":
            effects = association.probe_failed()
        else:
            effects = association.closed("one", "reset")
        assert Refuse("three", "already connecting") in effects
        assert effects[-1] == FireDue()
        assert association.outbox.fire().monitors == ("m",)
        taken_up: list[Effect] = [Choose("two")] if decides else [Accept("two"), NodeUp("two")]
        assert association.fired() == taken_up
        assert association.incarnation == "new"
        assert association.probe_failed() == []

    def test_it_is_refused_while_another_connection_is_chosen_only(self) -> None:
        b = decider()
        authenticate(b, "one", incarnation="old")
        assert authenticate(b, "two", incarnation="new") == [Refuse("two", "already connecting")]

    def test_it_may_go_while_it_waits(self) -> None:
        b = decider()
        bring_up(b, incarnation="old")
        authenticate(b, "two", incarnation="new")
        assert b.closed("two", "reset") == []
        assert b.probe_failed() == []
        assert b.in_use == "one"

    def test_it_is_refused_when_the_one_we_know_comes_by_another_connection(self) -> None:
        b = decider()
        bring_up(b, incarnation="old")
        authenticate(b, "two", incarnation="new")
        effects = authenticate(b, "three", lost="one", incarnation="old")
        assert effects[0] == Refuse("two", "node ID in use")
        b.outbox.fire()
        assert b.fired() == [Choose("three")]

    def test_it_is_taken_at_once_when_nothing_is_in_use(self) -> None:
        b = decider()
        bring_up(b, incarnation="old")
        b.closed("one", "reset")
        report(b)
        assert authenticate(b, "two", incarnation="new") == [Choose("two")]


def standing(association: Association) -> tuple[str | None, bool, bool]:
    assert not (association.in_use and association.wants_connection)
    return association.in_use, association.may_write, association.is_asked


def parted(association: Association) -> list[Effect]:
    """Both have said their last word, and this side was the one that asked."""
    assert association.ask() == [Say("one", "idle")]
    return association.bye_received()


@pytest.mark.parametrize("make_side", [decider, follower])
class TestParting:
    def test_who_asks_writes_nothing_more_and_keeps_what_is_sent(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        assert association.is_idle
        assert association.ask() == [Say("one", "idle")]
        assert standing(association) == ("one", False, True)
        association.outbox.monitor("p", "m")
        association.outbox.send("p", (1,))
        assert association.ask() == []
        assert association.bye_received() == [HalfClose("one")]
        assert standing(association) == ("one", False, False)
        assert association.closed("one", "parted") == [Close("one", "parted"), NodeDown("one", "parted")]
        assert standing(association) == (None, False, False)
        assert association.last_ended == "one"
        assert association.wants_connection
        bring_up(association, "two")
        assert queued(association) == [("", "mon1", "p"), ("p", 1)]
        assert association.outbox.monitors == {"p": {"m": None}}

    @pytest.mark.parametrize("why", ["queued", "monitored"])
    def test_who_needs_it_does_not_ask(self, make_side: Callable[[], Association], why: str) -> None:
        association = make_side()
        bring_up(association)
        if why == "queued":
            association.outbox.send("p", (1,))
        else:
            association.outbox.monitor("", "m")
        assert association.ask() == []
        assert association.may_write
        assert not association.is_asked

    def test_who_is_idle_too_agrees(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        # What was watched once may be left over: the other side would not ask if it monitored anything.
        association.watched.update("qp")
        assert not association.is_idle
        assert association.ask() == []
        assert association.idle_received(willing=True) == [Say("one", "bye"), HalfClose("one")]
        assert not association.may_write
        association.outbox.send("p", (1,))
        assert association.closed("one", "parted") == [
            Close("one", "parted"),
            NodeDown("one", "parted"),
            Unwatch(("p", "q")),
        ]
        assert queued(association) == [("p", 1)]

    def test_both_ask_and_neither_answers(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        association.ask()
        association.outbox.send("p", (1,))
        assert association.idle_received(willing=True) == [HalfClose("one")]
        assert queued(association) == [("p", 1)]

    @pytest.mark.parametrize("why", ["queued", "monitored", "unwilling"])
    def test_who_is_not_idle_says_so_in_order(self, make_side: Callable[[], Association], why: str) -> None:
        association = make_side()
        bring_up(association)
        if why == "queued":
            association.outbox.send("p", (1,))
        elif why == "monitored":
            association.outbox.monitor("", "m")
        assert association.idle_received(willing=why != "unwilling") == []
        assert association.may_write
        assert queued(association) == [*([("p", 1)] if why == "queued" else []), ("", "busy")]

    def test_a_probe_in_progress_is_a_reason_to_stay(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association, incarnation="old")
        authenticate(association, "two", incarnation="new")
        if not association.decides:
            association.link_received("two")
        assert not association.is_idle
        assert association.idle_received(willing=True) == []
        assert queued(association) == [("", "busy")]

    def test_the_answer_may_be_too_much_for_the_queue(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        association.outbox.queue_limit = association.outbox.queue.high_water = 5
        effects = association.idle_received(willing=False)
        assert effects[0] == Close("one", "more than 5 bytes were queued for the peer")
        assert effects[-1] == FireDue()

    def test_who_is_needed_goes_on(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        association.ask()
        association.outbox.send("p", (1,))
        association.busy_received()
        assert association.may_write
        assert not association.is_idle
        assert queued(association) == [("p", 1)]

    def test_an_answer_that_was_not_asked_for(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        association.busy_received()
        assert association.may_write
        association.outbox.monitor("p", "m")
        # As one that comes when this side has gone on: what was written since may be lost.
        assert association.bye_received()[-1] == FireDue()
        assert report(association) == ("m",)

    def test_words_after_the_last_one_and_without_a_connection_mean_nothing(
        self, make_side: Callable[[], Association]
    ) -> None:
        association = make_side()
        for _ in range(2):
            assert association.idle_received(willing=True) == []
            assert association.bye_received() == []
            association.busy_received()
            assert not association.may_write
            if association.in_use is None:
                bring_up(association)
                assert parted(association) == [HalfClose("one")]

    def test_a_connection_that_breaks_after_the_last_word_is_no_loss(
        self, make_side: Callable[[], Association]
    ) -> None:
        association = make_side()
        bring_up(association)
        association.ask()
        association.outbox.monitor("p", "m")
        # What the other side had on its way when it was asked.
        association.watched.add("q")
        effects = association.closed("one", "it broke")
        assert effects == [Close("one", "it broke"), NodeDown("one", "it broke"), Unwatch(("q",))]
        assert association.outbox.monitors == {"p": {"m": None}}

    def test_giving_up_is_a_loss_all_the_same(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association)
        association.ask()
        association.outbox.monitor("p", "m")
        effects = association.lose("this node closes")
        assert effects[0] == Close("one", "this node closes")
        assert isinstance(effects[1], Dropped)
        assert effects[1].was_up
        assert report(association) == ("m",)
        assert association.last_ended == "one"

    def test_another_incarnation_takes_the_place_when_it_is_free(self, make_side: Callable[[], Association]) -> None:
        association = make_side()
        bring_up(association, incarnation="old")
        association.ask()
        for connection in ("two", "three"):
            effects = authenticate(association, connection, incarnation="new")
            if not association.decides:
                effects += association.link_received(connection)
            assert effects == [Probe("one")]
        association.bye_received()
        effects = association.closed("one", "parted")
        assert effects[:3] == [
            Close("one", "parted"),
            NodeDown("one", "parted"),
            Refuse("three", "already connecting"),
        ]
        assert effects[3:] == ([Choose("two")] if association.decides else [Accept("two"), NodeUp("two")])
        assert association.incarnation == "new"


def test_a_connection_after_the_last_word_is_replaced_without_a_loss() -> None:
    b, a = decider(), follower()
    bring_up(b)
    bring_up(a)
    for association in (a, b):
        association.ask()
        association.outbox.send("p", (1,))
    assert authenticate(b, "two") == [Refuse("two", "already connected")]
    why = "the other side lost the connection"
    assert authenticate(b, "three", lost="one") == [Close("one", why), NodeDown("one", why), Choose("three")]
    why = "the other side chose another connection"
    authenticate(a, "three")
    assert a.link_received("three") == [Close("one", why), NodeDown("one", why), Accept("three"), NodeUp("three")]
    assert queued(a) == queued(b) == [("p", 1)]


TAG = "I" * 16


async def test_a_request_for_a_stream_that_does_not_fit_is_not_the_loss_of_the_node() -> None:
    association = Association("b", "a", queue_limit=2**24, message_limit=2**20)
    association.outbox.monitor("", "of the node")
    association.outbox.send("", ("stream", f"{TAG}.1", TAG, "m:f", b"bytes"))
    association.outbox.monitor(f"{TAG}.1", "of the port")
    association.outbox.send("", ("db", "something else"))
    association.greeted("c")
    effects = association.authenticated("c", "", Terms(TAG, 2**20, FRAMINGS["json"]))
    assert [effect.monitors for effect in effects if isinstance(effect, Fire)] == [("of the port",)]
    assert "" in association.outbox.monitors
