"""The shared database as nodes hold it: who tells whom what, what a reader sees, what is kept and for how long."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import cast

import pytest
from database_helpers import Network, Process, incarnation
from hypothesis import given, settings, strategies as st

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._protocol.database.effects import Changed, Ignored, Refused
from trio_mp._protocol.database.records import FAMILIES, NODES, VOUCHERS, Difference, Record, Table, Version
from trio_mp._protocol.database.replica import Replica
from trio_mp._protocol.database.vouchers import check_voucher, implausible, make_voucher
from trio_mp._protocol.schema import Send

DAY = 24 * 3600 * 10**9
YEAR_2026 = 1_767_225_600 * 10**9


def at_2026(_from_id: str, _owner: str, record: Record) -> str:
    """The judge of a node at the beginning of 2026."""
    return implausible(record.version, YEAR_2026)


def reads(process: Process, family: str = "red", key: str | None = None) -> Table:
    """What a program is answered that asks now."""
    number, effects = process.replica.ask(family, key)
    process.execute(effects)
    process.network.deliver_all()
    return process.answers[number]


def sets(process: Process, key: str, value: object, family: str = "red") -> None:
    process.execute(process.replica.set(family, key, value))
    process.network.deliver_all()


def follows(process: Process, family: str = "red") -> None:
    process.execute(process.replica.subscribe(family))
    process.network.deliver_all()
    assert family in process.seen


@pytest.fixture
def network() -> Network:
    """Two global nodes, `s1` and `s2`, and a node attached to each: `a` and `b`."""
    network = Network()
    network.start_global("s1", "s2")
    network.start_attached("a", "s1")
    network.start_attached("b", "s2")
    return network


class TestANodeByItself:
    def test_that_is_global_has_what_it_sets(self) -> None:
        process = Network().start("a")
        process.execute(process.replica.become_global())
        follows(process)
        sets(process, "k", 1)
        sets(process, "k", 2)
        sets(process, "l", 3)
        process.execute(process.replica.delete("red", ["l", "never was"]))
        assert reads(process) == process.seen["red"] == {"k": 2}
        assert [told.change for told in process.told] == [
            Difference({"k": 1}, {}, ()),
            Difference({}, {"k": 2}, ()),
            Difference({"l": 3}, {}, ()),
            Difference({}, {}, ("l",)),
        ]

    def test_that_is_not_attached_waits(self) -> None:
        process = Network().start("a")
        sets(process, "k", 1)
        process.execute(process.replica.subscribe("red"))
        number, effects = process.replica.ask("red")
        process.execute(effects)
        assert process.replica.table("red") is None
        assert not process.answers
        process.execute(process.replica.become_global())
        assert process.replica.table("red") == process.answers[number] == {"k": 1}

    def test_becomes_global_once_and_for_good(self) -> None:
        replica = Network().start("a").replica
        replica.become_global()
        assert replica.become_global() == []
        with pytest.raises(LocalProtocolError, match="expected a node that is not global to attach to b, got a"):
            replica.attached("b")

    def test_is_told_of_nothing_that_is_no_change(self) -> None:
        process = Network().start("a")
        process.execute(process.replica.become_global())
        sets(process, "k", [1])
        follows(process)
        sets(process, "k", [1])
        process.execute(process.replica.delete("red", ["l"]))
        assert process.told == []
        assert process.replica.subscribe("red") == []

    def test_knows_what_it_owns(self) -> None:
        replica = Network().start("a").replica
        replica.set("red", "k", 1)
        owned = replica.owned("red")
        owned["l"] = 2
        assert replica.owned("red") == {"k": 1}
        assert replica.owned("green") == {}


class TestWhatIsSet:
    def test_is_seen_everywhere(self, network: Network) -> None:
        for process in network.processes.values():
            follows(process)
        for process in network.processes.values():
            sets(process, process.id, [process.id])
        expected = {node_id: [node_id] for node_id in network.processes}
        for process in network.processes.values():
            assert reads(process) == process.seen["red"] == expected
            assert reads(process, key="a") == {"a": ["a"]}
            assert reads(process, key="c") == {}
            assert [list(told.change.added) for told in process.told] == [[node_id] for node_id in expected]

    def test_goes_with_its_owner(self, network: Network) -> None:
        follows(network.processes["b"])
        sets(network.processes["a"], "k", 1)
        network.crash("a")
        network.deliver_all()
        for process in network.processes.values():
            assert reads(process) == {}
        assert [told.change for told in network.processes["b"].told] == [
            Difference({"k": 1}, {}, ()),
            Difference({}, {}, ("k",)),
        ]

    def test_is_read_by_who_set_it_at_once(self, network: Network) -> None:
        process = network.processes["a"]
        process.execute(process.replica.set("red", "k", 1))
        number, effects = process.replica.ask("red")
        process.execute(effects)
        network.deliver_all()
        assert process.answers[number] == {"k": 1}

    def test_when_its_owner_was_not_attached_is_told_then(self, network: Network) -> None:
        process = network.start("c")
        sets(process, "k", 1)
        network.connect("c", "s2")
        network.deliver_all()
        assert reads(network.processes["a"]) == {"k": 1}

    def test_is_told_only_to_those_who_have_to_know(self, network: Network) -> None:
        follows(network.processes["b"])
        sends = [effect for effect in network.processes["s1"].replica.set("red", "k", 1) if isinstance(effect, Send)]
        assert [send.node_id for send in sends] == ["s2"]

    def test_comes_whole_however_large_it_is(self, network: Network) -> None:
        process = network.processes["a"]
        for number in range(50):
            process.execute(process.replica.set("red", str(number), "x" * 3000))
        follows(network.processes["b"])
        network.deliver_all()
        assert len(reads(network.processes["b"])) == 50
        network.start_global("s3")
        network.deliver_all()
        assert len(reads(network.processes["s3"])) == 50
        network.crash("a")
        network.deliver_all()
        assert network.processes["b"].told[-1].change == Difference({}, {}, tuple(map(str, range(50))))


class TestANodeThatMoves:
    def test_takes_its_entries_along_and_nobody_sees_them_go(self, network: Network) -> None:
        """Its anchor dies, and it is attached elsewhere before the time is up."""
        watcher = network.processes["b"]
        sets(network.processes["a"], "k", 1)
        follows(watcher)
        follows(network.processes["a"])
        network.connect("a", "s2")
        network.deliver_all()
        network.crash("s1")
        network.deliver_all()
        assert network.processes["a"].replica.anchor == "s2"
        network.expire_all()
        for process in network.processes.values():
            assert reads(process) == {"k": 1}
            assert process.told == []

    def test_sees_what_has_changed_meanwhile_once(self, network: Network) -> None:
        mover, other = network.processes["a"], network.processes["b"]
        for key in ("stays", "changes", "goes"):
            sets(other, key, 1)
        follows(mover)
        network.cut("a", "s1")
        network.deliver_all()
        assert mover.replica.anchor is None
        sets(other, "changes", 2)
        sets(other, "comes", 3)
        other.execute(other.replica.delete("red", ["goes"]))
        network.deliver_all()
        assert mover.seen["red"] == {"stays": 1, "changes": 1, "goes": 1}
        network.connect("a", "s2")
        network.deliver_all()
        assert [told.change for told in mover.told] == [Difference({"comes": 3}, {"changes": 2}, ("goes",))]

    def test_gets_the_answers_to_its_questions_from_its_new_anchor(self, network: Network) -> None:
        sets(network.processes["b"], "k", 1)
        mover = network.processes["a"]
        network.cut("a", "s1")
        number, effects = mover.replica.ask("red")
        mover.execute(effects)
        forgotten, effects = mover.replica.ask("red", "k")
        mover.execute(effects)
        mover.replica.forget(forgotten)
        mover.replica.forget(forgotten)
        network.deliver_all()
        assert not mover.answers
        network.connect("a", "s2")
        network.deliver_all()
        assert mover.answers == {number: {"k": 1}}

    def test_with_its_connection_alive_leaves(self, network: Network) -> None:
        mover, old = network.processes["a"], network.processes["s1"]
        follows(mover)
        sets(mover, "k", 1)
        network.connect("a", "s2")
        network.deliver_all()
        mover.attach("s2")
        network.deliver_all()
        assert "a" not in old.replica._copies._attached
        assert "a" not in old.replica._readers._asked
        assert reads(old) == reads(mover) == {"k": 1}
        assert mover.replica.anchor == "s2"

    def test_does_not_mix_what_two_anchors_say(self, network: Network) -> None:
        """Half a table of the old anchor is on its way when the node asks the new one."""
        mover, anchor = network.processes["a"], network.processes["s1"]
        for number in range(20):
            sets(anchor, str(number), "x" * 3000)
        mover.execute(mover.replica.subscribe("red"))
        number, effects = mover.replica.ask("red")
        mover.execute(effects)
        while "red" not in mover.seen and not (mover.replica._views._followed["red"].entries):
            network.deliver(0)
        mover.execute(mover.replica.detached())
        mover.attach("s1")
        network.deliver_all()
        assert len(mover.answers[number]) == len(mover.seen["red"]) == 20
        assert mover.told == []

    def test_that_has_died_elsewhere_does_not_rise_at_its_old_anchor(self, network: Network) -> None:
        """Its old anchor has not noticed that it has moved, and hears of its death from the new one."""
        follows(network.processes["b"])
        network.connect("a", "s2")
        sets(network.processes["a"], "k", 1)
        mover = network.processes["a"]
        mover.execute(mover.replica.detached())
        mover.attach("s2")
        network.deliver_all()
        assert "a" in network.processes["s2"].replica._copies.spoken_for()
        assert "a" not in network.processes["s1"].replica._copies.spoken_for()
        network.cut("a", "s2")
        del network.processes["a"]
        network.deliver_all()
        assert [reads(network.processes[node_id]) for node_id in ("s1", "s2", "b")] == [{}, {}, {}]
        assert len(network.processes["b"].told) == 2

    def test_is_not_taken_back_by_what_comes_late(self, network: Network) -> None:
        """Its old anchor hears of the move before it hears the last words of the node itself."""
        mover, old = network.processes["a"], network.processes["s1"]
        network.connect("a", "s2")
        network.deliver_all()
        mover.execute(mover.replica.detached())
        mover.execute(mover.replica.attached("s1"))
        late = list(old.inbox.pop("a"))
        mover.execute(mover.replica.detached())
        mover.attach("s2")
        network.deliver_all()
        for _, message in late:
            old.execute(old.replica.receive("a", message))
        assert "a" not in old.replica._copies.spoken_for()

    def test_whose_old_copy_still_changes_is_seen_as_it_is_now(self, network: Network) -> None:
        """What the node had said to its old anchor arrives there when its new anchor is known to have it."""
        sets(network.processes["a"], "k", 1)
        old, other = network.processes["a"], network.processes["s1"]
        network.processes["a"] = Process(network, Replica("a", started=50, incarnation=incarnation(99)))
        del network.connections[frozenset({"a", "s1"})]
        network.connect("a", "s2")
        sets(network.processes["a"], "k", 2)
        late = [*old.replica.set("red", "k", 3), *old.replica.delete("red", ["k"])]
        for effect in late:
            assert isinstance(effect, Send)
            other.execute(other.replica.receive("a", effect.message))
            network.deliver_all()
            assert [reads(process) for process in network.processes.values()] == [{"k": 2}] * 4

    def test_with_its_clock_set_back_is_not_forgotten(self, network: Network) -> None:
        """A new run looks older than the one that s1 has not missed yet: its anchor believes it, in the end all do."""
        sets(network.processes["a"], "old", 1)
        restarted = network.processes["a"] = Process(network, Replica("a", started=0, incarnation=incarnation(99)))
        network.connect("a", "s2")
        restarted.execute(restarted.replica.set("red", "new", 2))
        network.deliver_all()
        assert reads(network.processes["b"]) == {"new": 2}
        assert reads(network.processes["s1"]) == {"old": 1}
        network.processes["s1"].execute(network.processes["s1"].replica.node_down("a"))
        network.deliver_all()
        assert [reads(network.processes[node_id]) for node_id in ("s1", "s2", "a", "b")] == [{"new": 2}] * 4


class TestALostGlobalNode:
    def test_takes_its_own_entries_along_at_once_and_those_of_its_nodes_later(self, network: Network) -> None:
        sets(network.processes["s1"], "its own", 1)
        sets(network.processes["a"], "of its node", 2)
        network.cut("s1", "s2")
        network.deliver_all()
        assert reads(network.processes["b"]) == {"of its node": 2}
        network.expire_all()
        assert reads(network.processes["b"]) == {}
        assert reads(network.processes["a"]) == {"its own": 1, "of its node": 2}

    def test_that_comes_back_in_time_is_as_if_nothing_had_been(self, network: Network) -> None:
        watcher = network.processes["b"]
        sets(network.processes["a"], "k", 1)
        follows(watcher)
        network.cut("s1", "s2")
        network.deliver_all()
        sets(network.processes["a"], "l", 2)
        network.connect("s1", "s2")
        network.deliver_all()
        network.expire_all()
        assert [told.change for told in watcher.told] == [Difference({"l": 2}, {}, ())]
        assert reads(watcher) == {"k": 1, "l": 2}

    def test_with_nothing_but_its_own_is_forgotten(self, network: Network) -> None:
        network.crash("a")
        network.deliver_all()
        network.cut("s1", "s2")
        network.deliver_all()
        assert network.processes["s2"].timers == []
        assert network.processes["s2"].replica._copies._mirrors == {}

    def test_is_dropped_whole_when_an_older_time_than_the_last_is_up(self, network: Network) -> None:
        timers = network.processes["s2"].timers
        for _ in range(2):
            network.cut("s1", "s2")
            network.deliver_all()
            network.connect("s1", "s2")
            network.deliver_all()
        network.cut("s1", "s2")
        network.deliver_all()
        sets(network.processes["a"], "k", 1)
        assert len({timer.token for timer in timers}) == 3
        replica = network.processes["s2"].replica
        for timer in timers[:2]:
            replica.expire(timer.node_id, timer.token)
        assert "a" in replica._copies._copies
        replica.expire(timers[2].node_id, timers[2].token)
        assert "a" not in replica._copies._copies

    def test_does_not_raise_the_dead(self, network: Network) -> None:
        """A node moves while its lost anchor is remembered, then dies: the older copy of it is not to show."""
        sets(network.processes["a"], "k", 1)
        network.connect("a", "s2")
        network.deliver_all()
        network.crash("s1")
        network.deliver_all()
        network.crash("a")
        network.deliver_all()
        assert reads(network.processes["b"]) == {}
        assert reads(network.processes["s2"]) == {}

    def test_keeps_no_copy_that_was_outdated_before(self, network: Network) -> None:
        sets(network.processes["a"], "k", 1)
        network.start_global("s3")
        network.deliver_all()
        # A new run of the node, attached elsewhere, while s1 has not noticed that the old one is dead.
        mover = network.processes["a"] = Process(network, Replica("a", started=50, incarnation=incarnation(99)))
        del network.connections[frozenset({"a", "s1"})]
        network.connect("a", "s2")
        network.deliver_all()
        sets(mover, "k", 2)
        network.crash("s1")
        network.deliver_all()
        network.crash("a")
        network.deliver_all()
        assert reads(network.processes["s3"]) == {}

    def test_says_nothing_of_before_that_counts(self, network: Network) -> None:
        """What it sent for the old connection, before it heard of its end, arrives by the new one."""
        one, other = network.processes["s1"].replica, network.processes["s2"]
        effects = one.set("red", "k", 1) + network.processes["a"].replica.set("red", "l", 2)
        effects += one.receive("a", next(effect.message for effect in effects[1:] if isinstance(effect, Send)))
        late = [effect.message for effect in effects if isinstance(effect, Send) and effect.node_id == "s2"]
        network.cut("s1", "s2")
        network.connect("s1", "s2")
        while other.inbox["s1"]:
            other.handle("s1")
        # Even if it is known already that it is global still.
        other.execute(other.replica.global_up("s1"))
        for message, owner in zip(late, ("s1", "a"), strict=True):
            why = f"a change of a record of {owner} that s1 has not sent"
            assert other.replica.receive("s1", message) == [Ignored("s1", why)]
        network.deliver_all()
        assert reads(other) == {"k": 1, "l": 2}

    def test_that_comes_back_says_who_has_gone_meanwhile(self, network: Network) -> None:
        sets(network.processes["a"], "k", 1)
        network.cut("s1", "s2")
        network.deliver_all()
        assert reads(network.processes["b"]) == {"k": 1}
        network.crash("a")
        network.deliver_all()
        assert reads(network.processes["b"]) == {"k": 1}
        network.connect("s1", "s2")
        network.deliver_all()
        assert reads(network.processes["b"]) == {}

    def test_that_comes_back_says_in_order_who_has_gone_meanwhile(self, network: Network) -> None:
        """In the same order in every run of the program: what is simulated can be repeated."""
        owners = [f"n{number}" for number in range(8)]
        for owner in owners:
            sets(network.start_attached(owner, "s1"), owner, 1)
        follows(network.processes["s2"])
        network.cut("s1", "s2")
        for owner in owners:
            network.crash(owner)
        network.connect("s1", "s2")
        network.deliver_all()
        assert [key for told in network.processes["s2"].told for key in told.change.deleted] == owners

    def test_is_told_nothing_before_it_has_asked_again(self, network: Network) -> None:
        replica = network.processes["s1"].replica
        replica.node_down("s2")
        assert replica.global_up("s2") == [Send("s2", ("db", "pull"))]
        assert replica.set("red", "k", 1) == []
        told = [effect for effect in replica.receive("s2", ("db", "pull")) if isinstance(effect, Send)]
        assert [send.message[1] for send in told] == ["begin", "record", "entries", "record", "done"]


class TestWhoBecomesGlobal:
    def test_keeps_what_it_has_set_and_what_it_reads(self, network: Network) -> None:
        process = network.processes["a"]
        follows(process)
        sets(process, "k", 1)
        network.connect("a", "s2")
        network.deliver_all()
        process.become_global()
        network.deliver_all()
        sets(network.processes["b"], "l", 2)
        for other in network.processes.values():
            assert reads(other) == {"k": 1, "l": 2}
        assert process.seen["red"] == {"k": 1, "l": 2}
        assert network.processes["s1"].replica._copies._attached == {}

    def test_answers_what_it_was_asked_before(self) -> None:
        """Nodes may know that it is to be global before it does."""
        network = Network()
        early, asking = network.start("s1"), network.start("a")
        network.connect("a", "s1")
        network.deliver_all()
        asking.attach("s1")
        asking.execute(asking.replica.set("red", "k", 1))
        asking.execute(asking.replica.subscribe("red"))
        number, effects = asking.replica.ask("red")
        asking.execute(effects)
        network.deliver_all()
        assert not asking.answers
        early.execute(early.replica.become_global())
        network.deliver_all()
        assert asking.answers == {number: {"k": 1}}
        assert asking.seen["red"] == {"k": 1}

    def test_is_not_told_all_twice(self, network: Network) -> None:
        network.start_global("s3")
        network.deliver_all()
        replica = network.processes["s3"].replica
        assert replica.global_up("s1") == [Send("s1", ("db", "pull")), *replica._speak("s1")]


class TestMakeBeforeBreak:
    """Nobody sees the entries go of a node that lives and has an anchor, or is global: not even for a moment."""

    @pytest.fixture
    def network(self, network: Network) -> Network:
        """Everybody has set something, and follows what all set; everybody is connected with both global nodes."""
        for process in network.processes.values():
            sets(process, process.id, 1)
        for process in network.processes.values():
            follows(process)
        network.connect("a", "s2")
        network.connect("b", "s1")
        network.deliver_all()
        for process in network.processes.values():
            process.told.clear()
        return network

    @staticmethod
    def check(network: Network, *deleted: str) -> None:
        """All see the entries of all that live, and were told of these deletions alone."""
        for process in network.processes.values():
            assert process.seen["red"] == dict.fromkeys(network.processes, 1), process.id
            assert [key for told in process.told for key in told.change.deleted] == list(deleted), process.id

    @pytest.mark.parametrize("seed", range(30))
    def test_who_becomes_global_is_seen_all_the_time(self, network: Network, seed: int) -> None:
        network.processes["a"].become_global()
        order = random.Random(seed)
        while network.deliver(order.randrange(1000)):
            self.check(network)
        assert all("a" not in network.processes[anchor].replica._copies._attached for anchor in ("s1", "s2"))
        network.expire_all()
        self.check(network)
        network.crash("a")
        network.deliver_all()
        self.check(network, "a")

    @pytest.mark.parametrize("seed", range(30))
    def test_who_moves_is_seen_all_the_time(self, network: Network, seed: int) -> None:
        mover = network.processes["a"]
        mover.attach("s2")
        order = random.Random(seed)
        while network.deliver(order.randrange(1000)):
            self.check(network)
        network.expire_all()
        self.check(network)
        assert not network.processes["s1"].replica._copies._attached
        network.cut("a", "s2")
        del network.processes["a"]
        network.deliver_all()
        network.expire_all()
        self.check(network, "a")

    def test_who_moves_unseen_is_seen_all_the_time(self, network: Network) -> None:
        """Its anchor has not noticed that the connection is gone, and hears so from the new one, before others do."""
        network.start_global("s3")
        network.deliver_all()
        follows(network.processes["s3"])
        sets(network.processes["s3"], "s3", 1)
        mover, third = network.processes["a"], network.processes["s3"]
        mover.execute(mover.replica.detached())
        mover.attach("s2")
        late = [network.processes["s2"], network.processes["s1"]]
        while any(box for process in late for box in process.inbox.values()):
            for process in late:
                for peer in [peer for peer, box in process.inbox.items() if box]:
                    process.handle(peer)
        # What its new anchor says of it waits; what the old one says does not.
        assert [message for _, message in third.inbox["s1"]] == [("db", "moved", "a")]
        third.handle("s1")
        assert third.seen["red"]["a"] == 1
        assert "a" in third.replica._copies._mirrors["s1"].leaving
        network.deliver_all()
        assert "a" not in third.replica._copies._mirrors["s1"].records
        network.expire_all()
        assert not any(told.change.deleted for process in network.processes.values() for told in process.told)

    def test_who_is_lost_before_it_speaks_for_itself_is_dead(self, network: Network) -> None:
        anchor = network.processes["s1"]
        anchor.execute(anchor.replica.global_up("a"))
        assert "a" in anchor.replica._copies.spoken_for()
        network.crash("a")
        network.deliver_all()
        self.check(network, "a")
        assert anchor.timers == []

    def test_who_speaks_for_others_only_is_not_spoken_for(self, network: Network) -> None:
        """Whatever a global node says in its first batch, its anchor speaks for it no longer."""
        anchor = network.processes["s1"]
        anchor.execute(anchor.replica.global_up("a"))
        for message in (("begin", True), ("done",)):
            anchor.execute(anchor.replica.receive("a", ("db", *message)))
        assert "a" not in anchor.replica._copies.spoken_for()
        network.deliver_all()
        assert "a" not in network.processes["s2"].seen["red"]

    def test_who_has_moved_to_nowhere_is_kept_for_a_while(self, network: Network) -> None:
        """And no longer, even if `gone` does not follow."""
        other = network.processes["s2"]
        other.execute(other.replica.receive("s1", ("db", "moved", "a")))
        other.execute(other.replica.receive("s1", ("db", "moved", "a")))
        network.deliver_all()
        assert other.seen["red"]["a"] == 1
        (timer,) = other.timers
        other.execute(other.replica.expire("s2", timer.token))
        assert other.seen["red"]["a"] == 1
        other.execute(other.replica.expire(timer.node_id, timer.token))
        assert "a" not in other.seen["red"]
        assert other.replica.receive("s1", ("db", "moved", "a")) == []
        assert other.replica.receive("s1", ("db", "gone", "a")) == []

    def test_who_does_not_know_moved_hears_gone_later(self, network: Network) -> None:
        """As a node of the version before, which would keep its copy for ever."""
        mover, anchor = network.processes["a"], network.processes["s1"]
        mover.attach("s2")
        network.deliver_all()
        (timer,) = [timer for timer in anchor.timers if timer.node_id == "s1"]
        effects = anchor.replica.expire(timer.node_id, timer.token)
        assert effects == [Send("s2", ("db", "gone", "a"))]
        assert anchor.replica._copies.have_moved() == []

    def test_who_comes_back_is_not_said_to_be_gone(self, network: Network) -> None:
        mover, anchor = network.processes["a"], network.processes["s1"]
        for where in ("s2", "s1"):
            mover.attach(where)
            network.deliver_all()
        network.expire_all()
        assert "a" in anchor.replica._copies.spoken_for()
        self.check(network)

    def test_a_new_connection_says_who_has_moved_meanwhile(self, network: Network) -> None:
        """Two global nodes lose each other while a node moves from one to the third, of which the other hears late."""
        network.start_global("s3")
        network.deliver_all()
        other = network.processes["s2"]
        network.connect("a", "s3")
        network.deliver_all()
        network.cut("s2", "s3")
        network.cut("s1", "s2")
        network.deliver_all()
        network.processes["a"].attach("s3")
        network.deliver_all()
        assert other.seen["red"]["a"] == 1
        network.connect("s1", "s2")
        network.deliver_all()
        assert other.seen["red"]["a"] == 1
        network.connect("s2", "s3")
        network.deliver_all()
        network.expire_all()
        assert "a" not in [key for told in other.told for key in told.change.deleted]

    def test_a_new_run_of_a_global_node_does_not_know_who_lives(self, network: Network) -> None:
        """Its nodes have the rest of the time to attach themselves anew."""
        other, mover = network.processes["s2"], network.processes["a"]
        network.cut("a", "s2")
        network.crash("s1")
        network.deliver_all()
        network.start_global("s1")
        network.cut("a", "s1")
        network.deliver_all()
        assert mover.replica.anchor is None
        assert other.seen["red"] == {"s2": 1, "a": 1, "b": 1}
        network.connect("a", "s1")
        network.deliver_all()
        network.expire_all()
        assert [key for told in other.told for key in told.change.deleted] == ["s1"]
        network.crash("s1")
        network.deliver_all()
        network.start_global("s1")
        network.cut("a", "s1")
        network.deliver_all()
        assert other.seen["red"] == {"s2": 1, "a": 1, "b": 1}
        network.expire_all()
        assert other.seen["red"] == {"s2": 1, "b": 1}

    def test_who_says_that_it_leaves_is_kept_until_it_is_elsewhere(self, network: Network) -> None:
        """Also when the connection is given back; and no longer than for a while."""
        anchor = network.processes["s1"]
        anchor.execute(anchor.replica.receive("a", ("db", "leave")))
        anchor.execute(anchor.replica.node_down("a"))
        network.deliver_all()
        self.check(network)
        network.expire_all()
        assert "a" not in anchor.seen["red"]
        assert "a" not in network.processes["s2"].seen["red"]
        assert "a" not in anchor.replica._copies._attached

    def test_who_begins_to_come_back_when_the_time_is_over_has_come_back(self, network: Network) -> None:
        anchor, mover = network.processes["s1"], network.processes["a"]
        anchor.execute(anchor.replica.receive("a", ("db", "leave")))
        told = [send.message for send in mover.replica.attached("s1") if isinstance(send, Send)]
        for message in told:
            if message == ("db", "done"):
                network.expire_all()
            anchor.execute(anchor.replica.receive("a", message))
        assert "a" in anchor.replica._copies.spoken_for()

    def test_who_leaves_without_having_said_anything(self, network: Network) -> None:
        anchor = network.processes["s1"].replica
        anchor.guest_up("new")
        anchor.receive("new", ("db", "begin", True))
        assert anchor.receive("new", ("db", "leave")) == []
        assert "new" not in anchor._copies._attached

    def test_words_that_have_waited_since_the_connection_before_do_not_attach(self, network: Network) -> None:
        """A node that asks to part queues what it sends: a whole batch, which comes when it is attached elsewhere."""
        anchor, mover = network.processes["s1"], network.processes["a"]
        late = [send.message for send in mover.replica.attached("s1") if isinstance(send, Send)]
        mover.attach("s2")
        network.deliver_all()
        network.expire_all()
        anchor.execute(anchor.replica.node_down("a"))
        late = [message for message in late if message[1] != "subscribe"]
        assert [message[1] for message in late] == ["begin", "record", "entries", "done"]
        for message in late:
            why = "something from a node that is neither global nor attached here"
            assert anchor.replica.receive("a", message) == [Ignored("a", why)]
        assert "a" not in anchor.replica._copies._attached


class TestWhoBecomesGlobalAndReads:
    def test_keeps_its_tables_until_all_have_said_what_they_speak_for(self, network: Network) -> None:
        for process in network.processes.values():
            sets(process, process.id, 1)
        reader = network.processes["a"]
        follows(reader)
        reader.execute(reader.replica.become_global(["s1", "s2"]))
        number, effects = reader.replica.ask("red")
        reader.execute(effects)
        reader.execute(reader.replica.subscribe("green"))
        reader.execute(reader.replica.set("red", "more", 2))
        assert reader.replica.table("green") is None
        for node_id in ("s1", "s2"):
            assert not reader.answers
            network.connect("a", node_id)
            network.deliver_all()
            reader.execute(reader.replica.global_up(node_id))
            network.processes[node_id].execute(network.processes[node_id].replica.global_up("a"))
            network.deliver_all()
        expected = {**dict.fromkeys(network.processes, 1), "more": 2}
        assert reader.answers[number] == reader.seen["red"] == expected
        assert reader.seen["green"] == {}
        assert [told.change for told in reader.told] == [Difference({"more": 2}, {}, ())]

    def test_misses_nobody_who_becomes_global_at_the_same_time(self, network: Network) -> None:
        def meet(node_id: str, other_id: str) -> None:
            network.processes[node_id].execute(network.processes[node_id].replica.global_up(other_id))

        for process in network.processes.values():
            sets(process, process.id, 1)
        reader, other = network.processes["a"], network.processes["b"]
        follows(reader)
        before = reader.seen["red"]
        assert "b" in before
        for process in (reader, other):
            process.execute(process.replica.become_global(["s1"]))
        for node_id, other_id in (("b", "s1"), ("s1", "b")):
            network.connect("b", "s1")
            meet(node_id, other_id)
            network.deliver_all()
        # The other node has not answered when the anchor says all that it speaks for, which is not the other node.
        network.connect("a", "b")
        meet("a", "b")
        network.connect("a", "s1")
        meet("a", "s1")
        meet("s1", "a")
        network.deliver_all()
        assert not any("b" in told.change.deleted for told in reader.told)
        meet("b", "a")
        network.deliver_all()
        assert not any("b" in told.change.deleted for told in reader.told)
        assert "b" in reader.seen["red"]

    @pytest.mark.parametrize("then", ["is met", "is gone", "is never met"])
    @pytest.mark.parametrize("is_lost", [False, True], ids=["", "the anchor is lost"])
    def test_waits_for_who_has_moved_and_is_not_connected_yet(
        self, network: Network, then: str, *, is_lost: bool
    ) -> None:
        def meet(node_id: str, other_id: str) -> None:
            network.connect(node_id, other_id)
            for one, two in ((node_id, other_id), (other_id, node_id)):
                network.processes[one].execute(network.processes[one].replica.global_up(two))

        reader, other = network.processes["a"], network.start_attached("c", "s1")
        for process in (reader, other):
            sets(process, process.id, 1)
        follows(reader)
        for process in (reader, other):
            process.execute(process.replica.become_global(["s1"]))
        meet("c", "s1")
        network.deliver_all()
        # The anchor speaks for the other node no longer, and the reader has no connection with that one.
        meet("a", "s1")
        network.deliver_all()
        if is_lost:
            reader.execute(reader.replica.node_down("s1"))
        assert reader.told == []
        if then == "is met":
            meet("a", "c")
            network.deliver_all()
            assert "c" in reader.seen["red"]
        elif then == "is gone" and not is_lost:
            network.send("s1", "a", ("message", ("db", "gone", "c")))
            network.deliver_all()
            assert "c" not in reader.seen["red"]
        else:
            network.expire_all()
            assert "c" not in reader.seen["red"]
        assert reader.replica._is_complete()
        # Once it answers its readers it awaits nobody more.
        assert not reader.replica._copies.elsewhere

    def test_does_not_wait_for_ever(self, network: Network) -> None:
        sets(network.processes["b"], "b", 1)
        reader = network.processes["a"]
        follows(reader)
        reader.execute(reader.replica.become_global(["s1", "nobody"]))
        network.deliver_all()
        assert reader.told == []
        (timer,) = reader.timers
        assert timer.node_id == "a"
        network.expire_all()
        assert [told.change for told in reader.told] == [Difference({}, {}, ("b",))]
        assert reads(reader) == {}

    def test_answers_nobody_before(self, network: Network) -> None:
        sets(network.processes["b"], "b", 1)
        early = network.processes["a"]
        early.execute(early.replica.become_global(["s2"]))
        asking = network.start("c")
        network.connect("a", "c")
        network.deliver_all()
        asking.attach("a")
        asking.execute(asking.replica.subscribe("red"))
        network.deliver_all()
        assert "red" not in asking.seen
        network.expire_all()
        assert asking.seen["red"] == {}


class TestWhatIsKnownHere:
    """What a node knows without asking: what it holds, and what it follows."""

    def test_of_a_family(self, network: Network) -> None:
        sets(network.processes["b"], "b", 1)
        sets(network.processes["a"], "a", 2)
        reader, anchor = network.processes["a"].replica, network.processes["s1"].replica
        assert anchor.known("red") == {"a": 2, "b": 1}
        assert reader.known("red") == {"a": 2}
        asked = reader.subscribe("red")
        assert reader.known("red") == {"a": 2}, "the table has not come"
        network.processes["a"].execute(asked)
        network.deliver_all()
        assert reader.known("red") == {"a": 2, "b": 1}
        assert reader.known("green") == {}

    def test_the_families(self, network: Network) -> None:
        sets(network.processes["b"], "b", 1)
        assert "red" in network.processes["s1"].replica.known(FAMILIES)
        assert "green" not in network.processes["s1"].replica.known(FAMILIES)


class TestWhatCannotBeUsed:
    """It changes nothing: neither what was known, nor what comes later."""

    def test_words_for_others(self, network: Network) -> None:
        anchor = network.processes["s1"].replica
        assert anchor.receive("a", ("db", "begin", True)) == []
        why = "a record of b from a node that is not global"
        assert anchor.receive("a", ("db", "record", "b", 1, incarnation(1), 1, 0)) == [Ignored("a", why)]
        assert anchor.receive("a", ("db", "done")) == [Ignored("a", "a part of a batch that has not begun")]
        why = "a change of a record of b that a has not sent"
        assert anchor.receive("a", ("db", "set", "b", 1, "red", "k", 1)) == [Ignored("a", why)]

    @pytest.mark.parametrize("message", [("entries", {}), ("done",), ("record", "s2", 1, incarnation(1), 1, 0)])
    def test_parts_of_no_batch(self, network: Network, message: tuple[object, ...]) -> None:
        anchor = network.processes["s1"].replica
        assert anchor.receive("s2", ("db", *message)) == [Ignored("s2", "a part of a batch that has not begun")]
        assert anchor.receive("a", ("db", *message)) == [Ignored("a", "a part of a batch that has not begun")]
        why = "something from a node that is neither global nor attached here"
        assert anchor.receive("new", ("db", *message)) == [Ignored("new", why)]

    def test_entries_of_no_record(self, network: Network) -> None:
        anchor = network.processes["s1"].replica
        anchor.receive("s2", ("db", "begin", False))
        assert anchor.receive("s2", ("db", "entries", {})) == [Ignored("s2", "entries without a record")]

    def test_a_part_before_the_whole(self, network: Network) -> None:
        anchor = network.processes["s1"].replica
        anchor.guest_up("new")
        anchor.receive("new", ("db", "begin", False))
        assert anchor.receive("new", ("db", "done")) == [Ignored("new", "a part of records that were never sent whole")]

    def test_tables_that_were_not_asked_for(self, network: Network) -> None:
        reader = network.processes["a"].replica
        why = "a table from a node that is not the anchor"
        assert reader.receive("s2", ("db", "view", 1, {}, True)) == [Ignored("s2", why)]
        assert reader.receive("s1", ("db", "view", 99, {}, True)) == []
        reader.subscribe("red")
        ticket = max(reader._views._by_ticket)
        assert reader.receive("s1", ("db", "change", ticket, {}, [], True)) == [
            Ignored("s1", "a change of a table that has not come")
        ]

    def test_changes_that_are_none(self, network: Network) -> None:
        process = network.processes["a"]
        sets(process, "k", 1)
        follows(process)
        ticket = process.replica._views._followed["red"].ticket
        assert process.replica.receive("s1", ("db", "change", ticket, {"k": 1}, ["l"], True)) == []
        change = process.replica.receive("s1", ("db", "change", ticket, {"k": 2}, [], True))
        assert change == [Changed("red", Difference({}, {"k": 2}, ()))]

    def test_an_end_of_what_was_not_begun(self, network: Network) -> None:
        anchor = network.processes["s1"].replica
        for message in (("leave",), ("unsubscribe", 5)):
            assert anchor.receive("new", ("db", *message)) == []
        assert anchor.node_down("new") == anchor.global_down("new") == anchor.expire("new", 1) == []

    def test_a_lie_about_this_node_itself(self, network: Network) -> None:
        """What a global node says of another one is believed; but nothing of the own record is lost by it."""
        process = network.processes["s1"]
        sets(process, "k", 1)
        version = process.replica._own.version
        run = version.started, version.incarnation
        for message in (("begin", False), ("record", "s1", *run, 1000, 0), ("done",)):
            process.execute(process.replica.receive("s2", ("db", *message)))
        process.execute(process.replica.receive("s2", ("db", "gone", "s1")))
        assert reads(process) == {"k": 1}


def signature(node_id: str, text: bytes) -> str:
    """What stands for a signature."""
    return hashlib.sha256(node_id.encode() + b"'s key" + text).hexdigest()


def is_signed(node_id: str, text: bytes, proof: Sequence[object]) -> str:
    return "" if proof[:1] == [signature(node_id, text)] else f"was not signed by {node_id}"


def judges(from_id: str, owner: str, record: Record) -> str:
    """The judge of nodes whose certificates name them."""
    return "" if from_id == owner else check_voucher(from_id, owner, record, is_signed)


class CertifiedNetwork(Network):
    """A network of nodes that sign vouchers and want them; those whose IDs begin with `old` know nothing of that."""

    def start(self, node_id: str, *, started: int | None = None) -> Process:
        number = self._runs = self._runs + 1
        replica = Replica(
            *(node_id,),
            started=number if started is None else started,
            incarnation=incarnation(number),
            judge=judges,
            sign=None if node_id.startswith("old") else lambda text: [signature(node_id, text)],
        )
        process = self.processes[node_id] = Process(self, replica)
        return process


@pytest.fixture
def certified() -> CertifiedNetwork:
    """As `network`, and a global node, `liar`, that may be one."""
    network = CertifiedNetwork()
    network.start_global("s1", "s2", "liar")
    network.start_attached("a", "s1")
    network.start_attached("b", "s2")
    return network


def refusals(process: Process) -> list[str]:
    return [refused.why for refused in process.refused]


class TestAVoucher:
    """Where certificates name nodes: a record is taken from the anchor that its owner has named, and nobody else."""

    def test_goes_with_a_record_wherever_it_goes(self, certified: CertifiedNetwork) -> None:
        for process in certified.processes.values():
            sets(process, process.id, 1)
        expected = dict.fromkeys(certified.processes, 1)
        assert [reads(process) for process in certified.processes.values()] == [expected] * 5
        certified.connect("a", "s2")
        certified.deliver_all()
        certified.crash("s1")
        certified.deliver_all()
        del expected["s1"]
        assert [reads(process) for process in certified.processes.values()] == [expected] * 4
        assert [refusals(process) for process in certified.processes.values()] == [[]] * 4

    def test_is_nothing_that_users_see(self, certified: CertifiedNetwork) -> None:
        assert [reads(process, VOUCHERS) for process in certified.processes.values()] == [{}] * 5

    def test_that_is_missing_makes_a_lie_of_a_record(self, certified: CertifiedNetwork) -> None:
        victim, other = certified.processes["a"], certified.processes["s2"]
        sets(victim, "k", 1)
        for anchor in ("s1", "s2"):
            says_of(certified.processes["liar"], anchor, victim, 1000, {"k": "a lie"})
        assert [reads(process) for process in certified.processes.values()] == [{"k": 1}] * 5
        (why,) = refusals(other)
        assert why.startswith("a record of a without a voucher of a: ")

    def test_of_another_is_worth_nothing(self, certified: CertifiedNetwork) -> None:
        """An anchor cannot use what it has heard for a record of somebody else, nor can who has overheard it."""
        victim, liar = certified.processes["a"], certified.processes["liar"]
        version = victim.replica._own.version
        heard = victim.replica._own.tables[VOUCHERS]["a"]
        mine = make_voucher("a", version, "liar", lambda text: [signature("liar", text)])
        later = make_voucher("a", version, "s1", lambda text: [signature("a", text)])
        for attachment, voucher, why in (
            (1, heard, "a record of a whose voucher names another anchor, 's1'"),
            (1, mine, "a record of a whose voucher was not signed by a"),
            (2, ["liar", *later[1:]], "a record of a whose voucher was not signed by a"),
            (1, ["liar"], "a record of a whose voucher was not signed by a"),
            (1, "liar", "a record of a without a voucher of a: "),
            (1, [], "a record of a without a voucher of a: "),
        ):
            other = certified.processes["s2"]
            other.refused.clear()
            record = ("record", "a", version.started, version.incarnation, attachment, 9)
            entries = ("entries", {"red": {"k": "a lie"}, VOUCHERS: {"a": voucher}})
            for message in (("begin", False), record, entries, ("done",)):
                certified.send(liar.id, "s2", ("message", ("db", *message)))
            certified.deliver_all()
            (said,) = refusals(other)
            assert said.startswith(why)
        assert [reads(process) for process in certified.processes.values()] == [{}] * 5

    def test_of_another_attachment_is_none_of_this_one(self, certified: CertifiedNetwork) -> None:
        """An anchor that keeps an old voucher cannot make it look newer."""
        victim, anchor = certified.processes["a"], certified.processes["s1"]
        voucher = victim.replica._own.tables[VOUCHERS]["a"]
        version = victim.replica._own.version
        record = ("record", "a", version.started, version.incarnation, version.attachment + 1, 9)
        for message in (("begin", False), record, ("entries", {VOUCHERS: {"a": voucher}}), ("done",)):
            certified.send(anchor.id, "s2", ("message", ("db", *message)))
        certified.deliver_all()
        assert refusals(certified.processes["s2"]) == ["a record of a whose voucher was not signed by a"]
        # What it says of that record from now on is about none that is taken.
        certified.processes["s2"].ignored.clear()
        certified.send(anchor.id, "s2", ("message", ("db", "set", "a", 10, "red", "k", "a lie")))
        certified.deliver_all()
        assert reads(certified.processes["b"]) == {}
        assert len(certified.processes["s2"].ignored) == 1

    def test_is_not_needed_by_a_node_on_its_own_connection(self, certified: CertifiedNetwork) -> None:
        """A node of an older version is seen by its anchor, and everywhere if it is global; else not elsewhere."""
        certified.start_global("old1")
        old = certified.start_attached("old2", "s1")
        sets(certified.processes["old1"], "global", 1)
        sets(old, "attached", 1)
        assert reads(old) == reads(certified.processes["s1"]) == {"global": 1, "attached": 1}
        assert reads(certified.processes["s2"]) == {"global": 1}

    def test_is_signed_anew(self, certified: CertifiedNetwork) -> None:
        process = certified.processes["a"]
        process.replica._sign = lambda text: [signature("a", text), "another certificate"]
        process.execute(process.replica.renew())
        certified.deliver_all()
        copy = certified.processes["s2"].replica._copies._counting["a"]
        assert copy.tables[VOUCHERS]["a"] == process.replica._own.tables[VOUCHERS]["a"]
        assert "another certificate" in cast(list[str], copy.tables[VOUCHERS]["a"])
        # Without a key that can sign there is none; nor is one that was signed before kept.
        process.replica._sign = lambda _text: []
        process.execute(process.replica.renew())
        certified.deliver_all()
        assert VOUCHERS not in process.replica._own.tables
        assert certified.processes["s1"].replica.renew() == []

    def test_refused_twice_in_one_batch_is_refused_once_more(self, certified: CertifiedNetwork) -> None:
        """The last word about a record in a batch counts."""
        victim, liar = certified.processes["a"], certified.processes["liar"]
        version = victim.replica._own.version
        good = ("record", "liar", liar.replica._own.version.started, liar.replica._own.version.incarnation, 9, 9)
        bad = ("record", "a", version.started, version.incarnation, 9, 9)
        told: list[tuple[object, ...]] = [("begin", False), bad]
        told += [("entries", {}), good, bad, good, ("entries", {"red": {"own": 1}}), ("done",)]
        for message in told:
            certified.send("liar", "s2", ("message", ("db", *message)))
        certified.deliver_all()
        assert len(refusals(certified.processes["s2"])) == 2
        assert reads(certified.processes["s2"]) == {"own": 1}


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.floats() | st.sampled_from(["red", "k", "a", incarnation(3)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["red", "k"]), inner, max_size=3),
    max_leaves=5,
)
numbers, names, flags = st.integers(0, 6), st.sampled_from(["red", "green"]), st.booleans()
owners = st.sampled_from(["a", "b", "s1", "s2", "x"])
tables_ = st.dictionaries(st.sampled_from(["k", "l"]), values, max_size=2)
words = st.one_of(
    st.tuples(st.sampled_from(["pull", "leave", "done"])),
    st.tuples(st.just("moved"), owners),
    st.tuples(st.just("begin"), flags),
    st.tuples(st.just("begin"), flags, numbers),
    st.tuples(st.just("again"), numbers),
    st.tuples(st.just("record"), owners, numbers, st.integers(1, 5).map(incarnation), numbers, numbers),
    st.tuples(st.just("entries"), st.dictionaries(names, tables_, max_size=2)),
    st.tuples(st.just("set"), owners, numbers, names, st.sampled_from(["k", "l"]), values),
    st.tuples(st.just("delete"), owners, numbers, names, st.lists(st.sampled_from(["k", "l"]), max_size=2)),
    st.tuples(st.just("gone"), owners),
    st.tuples(st.just("subscribe"), numbers, names),
    st.tuples(st.just("unsubscribe"), numbers),
    st.tuples(st.just("get"), numbers, names),
    st.tuples(st.just("view"), numbers, tables_, flags),
    st.tuples(st.just("change"), numbers, tables_, st.lists(st.sampled_from(["k", "l"]), max_size=2), flags),
    st.lists(values, max_size=5).map(tuple),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["a", "s2", "x", "s1"]), words), max_size=40), flags)
def test_whatever_comes_it_is_used_or_ignored_or_one_error(
    told: list[tuple[str, tuple[object, ...]]], is_global: bool
) -> None:
    """And in the end, when who has said it is gone, nothing of it is left."""
    network = Network()
    process = network.start("s1" if is_global else "a")
    if is_global:
        process.execute(process.replica.become_global())
        process.execute(process.replica.global_up("s2"))
    else:
        process.attach("s1")
    process.execute(process.replica.subscribe("red"))
    process.execute(process.replica.set("red", "mine", 1))
    for from_id, message in told:
        try:
            process.execute(process.replica.receive(from_id, ("db", *message)))
        except RemoteProtocolError:
            pass
    for from_id in ("a", "s2", "x", "s1"):
        process.execute(process.replica.node_down(from_id))
    network.expire_all()
    process.execute(process.replica.become_global())
    assert reads(process) == process.seen["red"] == {"mine": 1}
    assert set(process.replica._copies._copies) == {process.id}
    assert not process.replica._readers._asked
    assert not process.replica._readers._subscribers


def test_what_a_node_holds_is_all_of_it_if_it_is_global() -> None:
    replica = Replica("a", started=1, incarnation="x" * 16)
    replica.set("red", "k", 1)
    assert replica.held("red") == {"k": 1}
    assert replica.held("green") == {}


def says_of(liar: Process, anchor: str, owner: Process, attachment: int, entries: Table, *, sequence: int = 0) -> None:
    """A node says something of another one's present run, and all is delivered."""
    version = owner.replica._own.version
    record = ("record", owner.id, version.started, version.incarnation, attachment, sequence)
    for message in (("begin", False), record, ("entries", {"red": entries}), ("done",)):
        liar.network.send(liar.id, anchor, ("message", ("db", *message)))
    liar.network.deliver_all()


def test_what_a_node_says_of_itself_counts_on_it_before_another_run(network: Network) -> None:
    process, liar = network.processes["s1"], network.processes["s2"]
    sets(process, "k", 1)
    for message in (("begin", False), ("record", "s1", 10**9, incarnation(77), 0, 0), ("done",)):
        network.send("s2", "s1", ("message", ("db", *message)))
    network.deliver_all()
    assert reads(process) == {"k": 1}
    assert liar.ignored == process.ignored == []


class TestALiar:
    """A member that speaks for others: what does not count at all, and what is repaired."""

    @pytest.mark.parametrize("attachment", [1, 2, 1_000_000])
    def test_does_not_hide_an_attached_node_from_its_anchor(self, network: Network, attachment: int) -> None:
        """Whatever the numbers: what a node says on its own connection counts before what others say of that run."""
        victim, anchor = network.processes["a"], network.processes["s1"]
        sets(victim, "k", 1)
        says_of(network.processes["s2"], "s1", victim, attachment, {"k": "a lie"}, sequence=99)
        assert reads(anchor) == reads(victim) == {"k": 1}
        sets(victim, "k", 2)
        assert reads(anchor) == reads(victim) == {"k": 2}

    def test_does_not_hide_it_as_another_run_either(self, network: Network) -> None:
        """Many lies at once, and one that comes before the node itself."""
        victim, anchor = network.processes["a"], network.processes["s1"]
        sets(victim, "k", 1)
        sets(network.start_attached("c", "s1"), "own", 1)
        follows(anchor)
        for started in range(1000, 1010):
            for owner in ("a", "new"):
                record = ("record", owner, started, incarnation(99), 1, 0)
                for message in (("begin", False), record, ("entries", {"red": {owner: "a lie"}}), ("done",)):
                    network.send("s2", "s1", ("message", ("db", *message)))
        while network.processes["s1"].inbox["s2"]:
            network.processes["s1"].handle("s2")
        # As long as it has not answered the lie counts.
        assert anchor.seen["red"] == {"a": "a lie", "new": "a lie", "own": 1}
        assert [item[1][:2] for item in victim.inbox["s1"] if item[0] == "message"] == [("db", "again")]
        sets(network.start_attached("new", "s1"), "new", 1)
        assert reads(anchor) == {"k": 1, "new": 1, "own": 1}
        sets(victim, "k", 2)
        assert reads(anchor) == {"k": 2, "new": 1, "own": 1}

    def test_that_has_taken_its_word_back_is_doubted_again(self, network: Network) -> None:
        victim, anchor, liar = network.processes["a"], network.processes["s1"], network.processes["s2"]
        sets(victim, "k", 1)
        version = victim.replica._own.version
        for message in (("begin", False), ("record", "a", *version[:2], 9, 9), ("done",), ("gone", "a")):
            network.send("s2", "s1", ("message", ("db", *message)))
        network.deliver_all()
        assert reads(anchor) == {"k": 1}
        says_of(liar, "s1", victim, 10, {"k": "a lie"})
        assert reads(anchor) == {"k": 1}

    def test_is_not_heard_twice(self, network: Network) -> None:
        """Who was refuted does not make an entry flicker by saying it again."""
        victim, anchor = network.processes["a"], network.processes["s1"]
        sets(victim, "k", 1)
        says_of(network.processes["s2"], "s1", victim, 7, {"k": "a lie"})
        follows(anchor)
        anchor.told.clear()
        for attachment in (8, 9, 1000):
            says_of(network.processes["s2"], "s1", victim, attachment, {"k": "a lie"})
        assert anchor.told == []
        assert reads(anchor) == {"k": 1}

    def test_that_was_there_first_does_not_keep_a_node_out(self, network: Network) -> None:
        victim = network.start("x")
        says_of(network.processes["s2"], "s1", victim, 50, {"k": "a lie"})
        victim.execute(victim.replica.set("red", "k", 1))
        network.connect("x", "s1")
        network.deliver_all()
        assert victim.replica.anchor == "s1"
        assert reads(network.processes["s1"]) == {"k": 1}
        assert "x" in network.processes["s1"].replica._copies.spoken_for()

    def test_leaves_nothing_when_it_is_gone(self, network: Network) -> None:
        """At the other global nodes its word counts as long as it is connected, and a while longer."""
        victim = network.processes["a"]
        sets(victim, "k", 1)
        network.start_global("liar")
        network.deliver_all()
        for anchor in ("s1", "s2"):
            says_of(network.processes["liar"], anchor, victim, 5, {"k": "a lie"})
        assert reads(network.processes["b"]) == {"k": "a lie"}
        network.crash("liar")
        network.deliver_all()
        network.expire_all()
        assert [reads(process) for process in network.processes.values()] == [{"k": 1}] * 4
        sets(victim, "k", 2)
        assert [reads(process) for process in network.processes.values()] == [{"k": 2}] * 4

    def test_says_nothing_of_a_node_to_itself(self, network: Network) -> None:
        process = network.processes["s1"]
        sets(process, "k", 1)
        says_of(network.processes["s2"], "s1", process, 1000, {"k": "a lie"}, sequence=1000)
        assert reads(process) == {"k": 1}
        own = process.replica._own.version
        assert process.replica._copies._counting["s1"].version == own

    def test_says_nothing_of_a_global_node_that_is_connected(self, network: Network) -> None:
        network.start_global("liar")
        network.deliver_all()
        sets(network.processes["s2"], "k", 1)
        says_of(network.processes["liar"], "s1", network.processes["s2"], 1000, {"k": "a lie"}, sequence=1000)
        assert reads(network.processes["s1"]) == {"k": 1}

    def test_that_invents_a_later_run_of_a_connected_global_node_is_believed_until_it_is_gone(
        self, network: Network
    ) -> None:
        """Nobody asks a global node; docs/security.md says what a member can make of that."""
        network.start_global("liar")
        network.deliver_all()
        victim, hearer = network.processes["s2"], network.processes["s1"]
        sets(victim, "k", 1)
        record = ("record", victim.id, victim.replica._own.version.started + 1, incarnation(99), 0, 0)
        for message in (("begin", False), record, ("entries", {"red": {"k": "a lie"}}), ("done",)):
            network.send("liar", hearer.id, ("message", ("db", *message)))
        network.deliver_all()
        assert reads(hearer) == {"k": "a lie"}
        assert reads(victim) == {"k": 1}
        network.crash("liar")
        network.deliver_all()
        network.expire_all()
        assert reads(hearer) == reads(victim) == {"k": 1}

    def test_that_is_attached_does_not_say_where_others_listen(self, network: Network) -> None:
        liar = network.processes["b"]
        sets(network.processes["a"], "a", ["run", "unix:/a"], NODES)
        for key in ("a", "s1", "nobody", "b"):
            sets(liar, key, ["lie", "unix:/b"], NODES)
        expected = {"a": ["run", "unix:/a"], "b": ["lie", "unix:/b"]}
        for process in network.processes.values():
            assert reads(process, NODES) == expected
        liar.execute(liar.replica.delete(NODES, ["a", "nobody"]))
        network.deliver_all()
        network.crash("b")
        network.deliver_all()
        assert reads(network.processes["s1"], NODES) == {"a": ["run", "unix:/a"]}

    @pytest.mark.parametrize(
        "version, why",
        [
            ((1, incarnation(1), 2**32 + 1, 0), "that was attached 4294967297 times"),
            ((1, incarnation(1), 0, 2**53 + 1), "that has changed 9007199254740993 times"),
            ((YEAR_2026 + 400 * DAY, incarnation(1), 0, 0), "of a run that begins 400 days from now"),
        ],
    )
    def test_with_numbers_that_no_node_reaches_is_refused(
        self, network: Network, version: tuple[int, str, int, int], why: str
    ) -> None:
        replica = Replica("s3", started=YEAR_2026, incarnation=incarnation(9), judge=at_2026)
        anchor = network.processes["s3"] = Process(network, replica)
        anchor.execute(anchor.replica.become_global() + anchor.replica.global_up("s2"))
        told = ("begin", True), ("record", "x", 1, incarnation(2), 0, 0), ("entries", {"red": {"x": 1}})
        lie = ("record", "y", *version), ("entries", {"red": {"x": 2, "y": 2}}), ("done",)
        effects = [effect for message in told + lie for effect in anchor.replica.receive("s2", ("db", *message))]
        (refused,) = effects
        assert isinstance(refused, Refused)
        assert refused.from_id == "s2"
        assert refused.why.startswith(f"a record of y {why}")
        # Neither is what belongs to it taken for the other's.
        assert reads(anchor) == {"x": 1}
        far = ("db", "set", "x", 2**53 + 1, "red", "x", 2)
        assert "more often" in cast(Ignored, anchor.replica.receive("s2", far)[0]).why
        assert reads(anchor) == {"x": 1}

    def test_is_not_found_by_a_clock_that_was_never_set(self) -> None:
        assert implausible(Version(YEAR_2026 + 400 * DAY, "x", 0, 0), 10**9) == ""
        assert implausible(Version(YEAR_2026 + 300 * DAY, "x", 0, 0), YEAR_2026) == ""

    def test_is_asked_nothing_that_its_anchor_has_not_asked(self, network: Network) -> None:
        victim = network.processes["a"].replica
        assert victim.receive("s2", ("db", "again", 1)) == []
        told = [effect for effect in victim.receive("s1", ("db", "again", 7)) if isinstance(effect, Send)]
        assert [send.node_id for send in told] == ["s1", "s1", "s1"]
        assert told[0].message == ("db", "begin", True, 7)

    def test_with_an_answer_to_another_question_is_not_believed(self, network: Network) -> None:
        """Only what was said after the question shows that the node is still here."""
        anchor, victim = network.processes["s1"].replica, network.processes["a"]
        says_of(network.processes["s2"], "s1", victim, 5, {})
        network.crash("a")
        network.deliver_all()
        version = (*victim.replica._own.version,)
        says_of(network.processes["s2"], "s1", victim, 6, {})
        anchor.guest_up("a")
        answer = ("begin", True, 3), ("record", "a", *version), ("done",)
        late = [effect for message in answer for effect in anchor.receive("a", ("db", *message))]
        assert [effect.message[:2] for effect in late if isinstance(effect, Send)] == [("db", "again")]
        assert "a" not in anchor._copies.spoken_for()
