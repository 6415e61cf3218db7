"""`Node.statistics`: what a node counts of itself and of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from fake_network import FakeNetwork
from watched_nodes import Inbox, open_pair, open_test_node, until

import trio_mp
from trio_mp import NodeStatistics, PeerStatistics, PortDied
from trio_mp._peers.peer import MEMORY
from trio_mp.lowlevel import Environment, open_node_in

NO_PORT = "b#there-is-no-such-port"
OTHER_PORT = "b#there-is-no-other-port"


def only_peer(statistics: NodeStatistics) -> PeerStatistics:
    (peer,) = statistics.peers
    return peer


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


class TestLocal:
    async def test_counts_messages_that_ports_were_handed_and_no_jobs(self) -> None:
        async with trio_mp.open_node("n") as node:
            inbox = Inbox(node)
            for number in range(2500):
                node.send(inbox.port, number)
            assert node.statistics().waiting == 2500
            await inbox.wait(2500)
            node.kill(node.port())
            await settle()
            found = node.statistics()
        assert found.messages_here == 2500
        assert found.waiting == 0

    async def test_a_message_to_a_busy_port_or_a_mailbox_is_counted_once(self) -> None:
        async with trio_mp.open_node("n") as node, node.open_port() as mailbox:
            port = node.port()

            @port.on("slowly")
            async def slowly() -> None:
                await settle()

            for _ in range(3):
                node.send(port, "slowly")
                node.send(mailbox, "x")
            for _ in range(3):
                await mailbox.receive()
            await settle()
            assert node.statistics().messages_here == 6

    async def test_counts_what_waits_in_ports_until_it_is_taken_or_its_port_dies(self) -> None:
        async with trio_mp.open_node("n") as node, node.open_port() as mailbox, node.open_port() as other:
            busy = node.port()

            @busy.on("slowly")
            async def slowly() -> None:
                await trio.sleep_forever()

            for port in (busy, mailbox, other):
                for _ in range(4):
                    node.send(port, "slowly")
            await settle()
            # The handler has one, the rest waits.
            assert node.statistics().waiting_in_ports == 3 + 4 + 4
            await mailbox.receive()
            await mailbox.receive("slowly")
            assert node.statistics().waiting_in_ports == 3 + 2 + 4
            node.kill(busy)
            node.kill(other)
            await settle()
            assert node.statistics().waiting_in_ports == 2
            await mailbox.receive()
            await mailbox.receive()
            assert node.statistics().waiting_in_ports == 0

    async def test_says_since_when(self, autojump_clock: trio.testing.MockClock) -> None:
        environment = Environment(wall_clock=lambda: 1000.0)
        async with open_node_in(environment, "n") as node:
            await trio.sleep(12)
            found = node.statistics()
            assert (found.node, found.started, round(found.uptime, 6)) == ("n", 1000, 12)
            assert (found.delay, found.greatest_delay, found.peers) == (None, None, ())

    async def test_counts_ports_mailboxes_and_those_that_unwind(self) -> None:
        async with trio_mp.open_node("n") as node:
            ports = [node.port(print) for _ in range(5)]
            async with node.open_port() as mailbox:
                released = trio.Event()

                async def lingers() -> None:
                    with trio.CancelScope(shield=True):
                        await released.wait()

                ports[0].start_soon(lingers)
                await settle()
                found = node.statistics()
                assert (found.ports, found.unwinding, found.mailboxes) == (6, 0, 1)
                node.kill(ports[0], "stop")
                node.kill(mailbox)
                await settle()
                found = node.statistics()
                # First: what lingers would keep a test open that fails.
                released.set()
                assert (found.ports, found.unwinding, found.mailboxes) == (4, 1, 0)
                await settle()
                assert node.statistics().unwinding == 0
            assert node.statistics().mailboxes == 0

    async def test_counts_deaths_by_the_identifier_of_the_reason(self) -> None:
        async with trio_mp.open_node("n") as node:
            with_tag, with_state = node.port(), node.port(lambda: 1 / 0)
            with node.monitor(with_state, lambda *_: None):
                node.send(with_state)
                node.kill(with_tag)
                node.kill(node.port(), "stop", "a text")
                node.kill(node.port(), "stop", "another one")
                node.kill(node.port(), 5, "no identifier")
                node.kill(node.port(), "x" * 100)
                await settle()
            assert node.statistics().deaths == {"normal": 1, "stop": 2, "die": 1, "other": 1, "x" * 64: 1}
            assert node.statistics().ports == 0

    async def test_a_program_that_makes_up_identifiers_costs_no_memory(self) -> None:
        async with trio_mp.open_node("n") as node:
            for number in range(1000):
                node.kill(node.port(), f"reason {number}")
            await settle()
            deaths = node.statistics().deaths
        assert len(deaths) == 101
        assert deaths["other"] == 900
        assert sum(deaths.values()) == 1000

    async def test_counts_messages_that_were_lost(self) -> None:
        async with trio_mp.open_node("n") as node:
            port, refusing = node.port(), node.port(lambda word: None, on_bad="refuse")
            node.kill(port)
            await settle()
            for _ in range(3):
                node.send(port, "too late")
            node.send(refusing, "one", "too many")
            await settle()
            assert node.statistics().lost == {"no_such_port": 3, "bad_message": 1}

    async def test_counts_monitors_until_they_fire_or_are_cancelled(self) -> None:
        async with trio_mp.open_node("n") as node:
            port, other = node.port(), node.port()
            monitors = [node.monitor(port, lambda *_: None) for _ in range(3)]
            monitors += [node.monitor(other, lambda *_: None)]
            assert node.statistics().monitors_here == 4
            monitors[0].cancel()
            monitors[0].cancel()
            assert node.statistics().monitors_here == 3
            node.kill(port)
            await settle()
            assert node.statistics().monitors_here == 1
            monitors[1].cancel()
            node.monitor(port, lambda *_: None)
            await settle()
            assert node.statistics().monitors_here == 1
            monitors[3].cancel()
            assert node.statistics().monitors_here == 0

    @pytest.mark.parametrize("dies", [False, True])
    async def test_counts_calls_and_not_their_monitors(self, dies: bool) -> None:
        async with trio_mp.open_node("n") as node, trio.open_nursery() as nursery:
            port, answer = node.port(), trio.Event()

            @port.on("ask", reply=True)
            async def ask() -> int:
                await answer.wait()
                return 5

            async def call() -> None:
                try:
                    assert await node.call(port, "ask") == (5,)
                except PortDied:
                    assert dies

            with node.monitor(port, lambda *_: None):
                nursery.start_soon(call)
                nursery.start_soon(call)
                await settle()
                found = node.statistics()
                assert (found.calls_made, found.calls_out, found.monitors_here) == (2, 2, 1)
                if dies:
                    node.kill(port)
                else:
                    answer.set()
                await settle()
                found = node.statistics()
                assert (found.calls_made, found.calls_out, found.monitors_here) == (2, 0, 0 if dies else 1)

    async def test_counts_calls_that_came_too_late(self, autojump_clock: trio.testing.MockClock) -> None:
        async with trio_mp.open_node("n") as node:
            port = node.port()

            @port.on("ask", reply=True)
            async def ask() -> None:
                await trio.sleep(10)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.call, port, "ask")
                await settle()
                with trio.move_on_after(1):
                    await node.call(port, "ask")
            await settle()
            assert node.statistics().calls_expired == 1

    async def test_counts_restarts_also_of_supervisors_that_have_ended(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with trio_mp.open_node("n") as node:
            for _ in range(2):
                async with node.open_supervisor() as supervisor:
                    lives: list[int] = []

                    async def live(
                        port: trio_mp.Port,
                        *,
                        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
                        lives: list[int] = lives,
                    ) -> None:
                        lives.append(1)
                        task_status.started()
                        if len(lives) < 3:
                            raise ValueError("as planned")
                        await trio.sleep_forever()

                    await supervisor.start(live)
                    await until(lambda lives=lives: len(lives) == 3)  # type: ignore[misc]
                    assert node.statistics().supervisors == 1
            assert node.statistics().supervisors == 0
            assert node.statistics().restarts == 4

    async def test_works_on_a_closed_node(self) -> None:
        async with trio_mp.open_node("n") as node:
            node.port()
        found = node.statistics()
        assert (found.ports, found.deaths) == (0, {"node_closed": 1})


class TestPeers:
    async def test_both_sides_count_the_same_messages(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (one, two):
            await trio.sleep(1)
            before, before_there = only_peer(one.statistics()), only_peer(two.statistics())
            inbox = Inbox(two)
            for number in range(5000):
                one.send(inbox.port, number, "text" * 10)
            queued = only_peer(one.statistics())
            assert queued.queued == 5000
            assert queued.queued_size > 5000 * 40
            assert queued.messages_out == before.messages_out
            await inbox.wait(5000)
            found, there = only_peer(one.statistics()), only_peer(two.statistics())
            assert found.messages_out == before.messages_out + 5000
            assert there.messages_in == before_there.messages_in + 5000
            assert (found.queued, found.queued_size) == (0, 0)
            assert found.bytes_out >= before.bytes_out + queued.queued_size
            assert (found.node, there.node) == ("b", "a")
            await trio.sleep(20)
            after, after_there = only_peer(one.statistics()), only_peer(two.statistics())
            assert after.bytes_out == after_there.bytes_in
            assert after.bytes_in == after_there.bytes_out
            assert after.messages_out == after_there.messages_in, "signs of life are no messages"
            total = one.statistics()
            assert (total.messages_out, total.messages_in) == (after.messages_out, after.messages_in)
            assert (total.bytes_out, total.bytes_in) == (after.bytes_out, after.bytes_in)

    async def test_describes_the_connection(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        for encryption in (False, True):
            async with open_pair(network, encryption=encryption) as (one, two):
                now = one.statistics()
                await trio.sleep(30)
                found, there = one.statistics(), two.statistics()
                peer, peer_there = only_peer(found), only_peer(there)
                assert peer.connected
                assert peer_there.connected
                assert (peer.dialled, peer_there.dialled) == (False, True)
                assert peer.encrypted is peer_there.encrypted is encryption
                assert peer.transport == peer_there.transport == "unix"
                assert peer_there.address
                assert peer.connected_since == pytest.approx(only_peer(now).connected_since, abs=0.5)
                assert found.started + found.uptime - 31 < (peer.connected_since or 0) < found.started + found.uptime
                assert found.connections_made == peer.connections_made == 1
                assert found.delay == found.greatest_delay == 0

    async def test_counts_monitors_and_calls_of_both_sides(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (one, two), trio.open_nursery() as nursery:
            port = two.port()

            @port.on("ask", reply=True)
            async def ask() -> None:
                await trio.sleep_forever()

            before = only_peer(one.statistics()).monitors_out, only_peer(two.statistics()).monitors_in
            with one.monitor(port, lambda *_: None):
                nursery.start_soon(one.call, port, "ask")
                nursery.start_soon(one.call, port, "ask")
                await trio.sleep(1)
                found, there = one.statistics(), two.statistics()
                assert (found.calls_out, only_peer(found).calls_out, only_peer(found).calls_in) == (2, 2, 0)
                assert (there.calls_in, only_peer(there).calls_in, only_peer(there).calls_out) == (2, 2, 0)
                assert only_peer(found).monitors_out - before[0] == 3
                assert found.monitors_out == only_peer(found).monitors_out
                assert only_peer(there).monitors_in - before[1] == 1
                nursery.cancel_scope.cancel()
            await settle()
            assert one.statistics().calls_out == only_peer(one.statistics()).calls_out == 0

    async def test_counts_what_a_loss_has_dropped(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "a", connect_timeout=20) as node:
            for number in range(7):
                node.send(NO_PORT, number)
            await trio.sleep(30)
            found = node.statistics()
            assert found.lost == {"transport_error": 7}
            peer = only_peer(found)
            assert (peer.lost, peer.queued, peer.messages_out, peer.connected) == (7, 0, 0, False)
            assert (peer.connected_since, peer.address, peer.transport) == (None, "", "")

    async def test_counts_messages_that_turn_out_too_large_as_lost(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "a") as one:
            one.send(NO_PORT, "y" * 70_000)
            one.send(OTHER_PORT, "small")
            async with open_test_node(network, "b", seeds=["a"], message_limit=65_536) as two:
                await until(lambda: one.peers == ("b",) and two.peers == ("a",))
                await trio.sleep(1)
                found = one.statistics()
                assert found.lost == {"transport_error": 1}
                assert only_peer(found).lost == 1
                assert only_peer(found).messages_out == only_peer(two.statistics()).messages_in

    async def test_keeps_the_totals_of_nodes_that_are_forgotten(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "a") as one:
            async with open_test_node(network, "b", seeds=["a"]) as two:
                await until(lambda: one.peers == ("b",) and two.peers == ("a",))
                inbox = Inbox(one)
                two.send(inbox.port, "x")
                await inbox.wait(1)
            await until(lambda: not one.peers)
            before = one.statistics()
            await trio.sleep(2 * MEMORY)
            after = one.statistics()
            assert (len(before.peers), after.peers) == (1, ())
            for name in ("messages_in", "messages_out", "bytes_in", "bytes_out", "connections_made"):
                assert getattr(after, name) == getattr(before, name) > 0
            assert after.connections_broken == before.connections_broken == {"closed": 1}

    async def test_a_late_beat_is_a_delay(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "a", heartbeat=5) as node:
            await trio.sleep(6)
            assert node.statistics().delay == 0
            trio.lowlevel.current_clock().jump(9)  # type: ignore[attr-defined]
            await settle()
            # The beat was due 1.5 s after the sleep, and the clock has jumped by 9 s.
            late = node.statistics().delay
            assert late == pytest.approx(7.5)
            await trio.sleep(20)
            found = node.statistics()
            assert (found.delay, found.greatest_delay) == (0, late)


class TestPlain:
    async def test_travels_as_a_map(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_pair(network) as (one, two):
            inbox = Inbox(two)
            found = one.statistics()
            one.send(inbox.port, found.to_plain())
            ((plain,),) = await inbox.wait(1)
            assert NodeStatistics.from_plain(plain) == found
            assert NodeStatistics.from_plain(json.loads(json.dumps(plain))) == found

    def test_other_versions_say_more_or_less(self) -> None:
        assert NodeStatistics.from_plain({"node": "n", "later": 5}) == NodeStatistics(node="n")

    @pytest.mark.parametrize(
        "value", [5, [], {}, {"node": 5}, {"node": "n", "ports": "many"}, {"node": "n", "peers": [1]}]
    )
    def test_refuses_anything_else(self, value: Any) -> None:
        with pytest.raises(ValueError, match="expected the statistics of a node, got something else: "):
            NodeStatistics.from_plain(value)

    def test_is_frozen(self) -> None:
        with pytest.raises(AttributeError):
            NodeStatistics(node="n").ports = 5  # type: ignore[misc]
