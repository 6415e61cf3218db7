"""The rules of a drain: whose fence is awaited, what a port has to do, and what is said of what cannot be finished."""

from __future__ import annotations

import pytest

from trio_mp._protocol.drain import MOST_NOTED, Drain, MailboxReader, NodeWork, PortWork, Unfinished

AT_REST = NodeWork("d", 0, ())


def begun() -> Drain:
    rules = Drain()
    rules.begun = True
    return rules


def reasons(rules: Drain, work: NodeWork = AT_REST) -> list[str]:
    return [str(each) for each in rules.unfinished(work)]


class TestPeers:
    def test_a_node_that_does_not_drain_tells_nobody(self) -> None:
        rules = Drain()
        assert not rules.up("a", understands=True)
        rules.down("a", parted=False)
        rules.port_died("d#p", 1, ())
        assert not rules.awaited
        assert reasons(rules) == []

    def test_rule_1_a_peer_is_awaited_until_it_has_heard(self) -> None:
        rules = begun()
        assert rules.up("a", understands=True)
        assert rules.up("b", understands=True)
        assert rules.awaited == ("a", "b")
        assert not rules.is_done(AT_REST)
        assert rules.heard("a")
        assert not rules.heard("a")
        assert not rules.is_done(AT_REST)
        assert reasons(rules) == ["b: that node has not said that it has heard"]
        assert rules.heard("b")
        assert rules.is_done(AT_REST)
        assert reasons(rules) == []

    def test_rule_1_a_connection_that_comes_up_later_is_awaited_anew(self) -> None:
        rules = begun()
        assert rules.up("a", understands=True)
        rules.heard("a")
        assert rules.up("a", understands=True)
        assert rules.awaited == ("a",)

    def test_rule_2_a_peer_that_is_lost_before_its_fence_is_noted(self) -> None:
        rules = begun()
        rules.up("a", understands=True)
        rules.down("a", parted=False)
        assert rules.is_done(AT_REST)
        assert reasons(rules) == ["a: the connection was lost before its fence: what it had sent may not have arrived"]

    def test_rule_2_what_was_lost_stays_lost(self) -> None:
        rules = begun()
        rules.up("a", understands=True)
        rules.down("a", parted=False)
        rules.up("a", understands=True)
        rules.heard("a")
        assert rules.is_done(AT_REST)
        assert [each.port for each in rules.unfinished(AT_REST)] == ["a"]

    def test_rule_2_nothing_is_missing_of_a_peer_that_has_parted_or_is_lost_behind_its_fence(self) -> None:
        rules = begun()
        rules.up("a", understands=True)
        rules.down("a", parted=True)
        rules.up("b", understands=True)
        rules.heard("b")
        rules.down("b", parted=False)
        assert rules.is_done(AT_REST)
        assert reasons(rules) == []

    def test_rule_3_a_peer_that_does_not_know_the_word_is_noted_and_not_awaited(self) -> None:
        rules = begun()
        assert not rules.up("a", understands=False)
        assert rules.is_done(AT_REST)
        assert reasons(rules) == ["a: that node does not know the word `draining`, and has given no fence"]


READER = MailboxReader


class TestWork:
    @pytest.mark.parametrize(
        "work, awaited, what",
        [
            (PortWork("d#p"), False, ""),
            (PortWork("d#p", running=True), True, "its handler runs"),
            (PortWork("d#p", running=True, waiting=2), True, "its handler runs; 2 messages waiting"),
            (PortWork("d#p", calls=1), True, "1 call not answered"),
            (PortWork("d#p", calls=3), True, "3 calls not answered"),
            (PortWork("d#p", reader=READER.WAITING), False, ""),
            (PortWork("d#p", reader=READER.WAITING, waiting=1), True, "1 message waiting in its mailbox"),
            (PortWork("d#p", reader=READER.AWAY), False, ""),
            (PortWork("d#p", reader=READER.AWAY, waiting=1), True, "1 message waiting in its mailbox"),
            (
                PortWork("d#p", reader=READER.BUSY),
                True,
                "its task has taken a message, and has not asked for the next one",
            ),
            (PortWork("d#p", reader=READER.NOBODY), False, ""),
            (
                PortWork("d#p", reader=READER.NOBODY, waiting=1),
                False,
                "1 message waiting in its mailbox, from which nobody has received",
            ),
            (PortWork("d#p", behind=2), False, "2 messages for it, and it awaits the drain"),
            (PortWork("d#p", reader=READER.AWAY, behind=1), False, "1 message for it, and it awaits the drain"),
            (PortWork("d#p", claimed=1), False, "1 call not answered, and it awaits the drain"),
            (
                PortWork("d#p", running=True, reader=READER.AWAY, behind=2),
                True,
                "its handler runs; 2 messages for it, and it awaits the drain",
            ),
            (
                PortWork("d#p", calls=1, claimed=2),
                True,
                "1 call not answered; 2 calls not answered, and it awaits the drain",
            ),
        ],
    )
    def test_rules_4_to_6_what_is_waited_for_and_what_is_said(self, work: PortWork, awaited: bool, what: str) -> None:
        assert work.is_awaited == awaited
        assert work.what == what
        node = NodeWork("d", 0, (work,))
        assert begun().is_done(node) is not awaited
        assert begun().unfinished(node) == ((Unfinished("d#p", what),) if what else ())

    def test_rule_4_nothing_may_be_on_its_way_between_ports(self) -> None:
        work = NodeWork("d", 2, ())
        assert not begun().is_done(work)
        assert reasons(begun(), work) == ["d: 2 messages on the way between its ports"]

    def test_rule_5_a_port_that_died_with_messages_is_noted_once(self) -> None:
        rules = begun()
        rules.port_died("d#p", 2, ("die", "ValueError: no"))
        rules.port_died("d#p", 1, ())
        rules.port_died("d#q", 0, ())
        assert rules.is_done(AT_REST)
        assert reasons(rules) == [
            "d#p: it died with 2 messages waiting: die: ValueError: no",
            "d#q: it died while it was at work: it ended normally",
        ]

    def test_a_million_ports_that_die_take_no_memory(self) -> None:
        rules = begun()
        for number in range(MOST_NOTED + 3):
            rules.port_died(f"d#{number}", 1, ())
        found = rules.unfinished(AT_REST)
        assert len(found) == MOST_NOTED + 1
        assert found[-1] == Unfinished("d", "3 more ports died, or nodes were lost")

    def test_the_summary_counts_what_is_waited_for(self) -> None:
        rules = begun()
        rules.up("a", understands=True)
        ports = (
            PortWork("d#p", running=True, calls=2),
            PortWork("d#q", reader=READER.WAITING, waiting=4),
            PortWork("d#r", reader=READER.BUSY),
            PortWork("d#s", behind=1, claimed=1),
        )
        assert rules.summary(NodeWork("d", 0, ports)) == "1 node, 2 calls, 1 handler, 2 mailboxes"
        assert Drain().summary(AT_REST) == ""
