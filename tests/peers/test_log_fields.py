"""Fields of log records: programs need not read texts to know which node has said what of whom."""

from __future__ import annotations

import logging

import pytest
import trio
from network_helpers import FakeNetwork, open_pair, open_test_node, until

import trio_mp
from trio_mp.lowlevel import Environment, open_node_in


def fields_of(record: logging.LogRecord) -> tuple[object, ...]:
    found = vars(record)
    return found["event"], found["node"], found["peer"], found["reason"]


async def test_both_ends_of_a_connection_say_who_and_why(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_mp.connection")
    async with open_pair(FakeNetwork()):
        pass
    found = {fields_of(record) for record in caplog.records if record.name == "trio_mp.connection"}
    assert {("connection_up", "a", "b", ""), ("connection_up", "b", "a", "")} <= found
    assert {event[3] for event in found if event[0] == "connection_down"} <= {"closed", "closing"}
    assert {event[1:3] for event in found if event[0] == "connection_down"} == {("a", "b"), ("b", "a")}


async def test_a_loss_says_of_which_peer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_node(FakeNetwork(), "a", connect_timeout=20) as node:
        node.send("b#there-is-no-such-port", 5)
        await until(lambda: node.statistics().lost)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert fields_of(record) == ("dropped", "a", "b", "transport_error")


async def test_a_death_says_its_reason_and_two_nodes_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    async with trio_mp.open_node("one") as one, open_node_in(Environment(), "two") as two:
        for node in (one, two):
            node.send(node.port(lambda: 1 / 0))
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(map(fields_of, caplog.records)) == [
        ("port_died", "one", "", "die"),
        ("port_died", "two", "", "die"),
    ]


async def test_texts_are_what_they_were(caplog: pytest.LogCaptureFixture) -> None:
    async with trio_mp.open_node("one") as node:
        port = node.port(lambda: 1 / 0)
        node.send(port)
        await trio.testing.wait_all_tasks_blocked()
    assert caplog.messages == [f"{port} died and nobody monitors it"]
