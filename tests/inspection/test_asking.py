"""Questions of one node to another: who may ask, what is answered, and how a question ends."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, a_member, open_pair, open_test_node, peer_of

from trio_mp import CallError, LinkView, Port, PortDied, open_node
from trio_mp._inspection.service import MOST_OF_ONE


async def test_a_node_shows_its_ports_to_another(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):

        async def stays(port: Port) -> None:
            await trio.sleep_forever()

        inbox, process = Inbox(b), b.start_port(stays)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            b.send(process, number)
        await trio.testing.wait_all_tasks_blocked()
        page = await a.inspect("b").ports()
        task, handlers = page.ports
        assert (task.kind, task.queued, task.tasks, task.state, task.id) == ("task", 3, 1, "idle", None)
        assert task.function == f"{__name__}:{stays.__qualname__}"
        assert (handlers.kind, handlers.queued) == ("handlers", 0)
        assert handlers.function.endswith(":Inbox._take")
        assert page.after is None
        assert inbox.messages == []


async def test_a_node_shows_its_links_to_another(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        await trio.sleep(2)
        (link,) = await a.inspect("b").links()
        assert isinstance(link, LinkView)
        assert (link.node, link.state, link.kind, link.encryption, link.queued) == ("a", "up", "unix", "none", 0)
        assert link.dialled
        assert link.seconds == pytest.approx(2, abs=0.1)
        assert link.provider.startswith("trio_mp/")
        assert not (await b.inspect("a").links())[0].dialled


async def test_a_link_says_what_the_other_node_is_to_this_one(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "s1", seeds=["s2"], inspect="read") as first,
        open_test_node(network, "s2", seeds=["s1"], inspect="read"),
        open_test_node(network, "g", seeds=["s1"], inspect="read") as guest,
        open_test_node(network, "h", seeds=["s2"]) as other,
    ):
        await trio.sleep(5)
        guest.send("h", "hello")
        await trio.sleep(5)
        places = {
            node_id: {link.node: link.place for link in await first.inspect(node_id).links()}
            for node_id in ("s1", "s2", "g")
        }
    assert places == {
        "s1": {"s2": "global", "g": "guest"},
        "s2": {"s1": "global", "h": "guest"},
        "g": {"s1": "anchor", "h": ""},
    }
    assert other.id == "h"


async def test_the_default_is_off(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, _):
        with pytest.raises(CallError, match=r"the setting `inspect` of b is 'off'") as raised:
            await a.inspect("b").ports()
        assert raised.value.type_name == "refused"
        assert not raised.value.maybe_delivered


async def test_a_node_inspects_itself_whatever_it_lets_others_do() -> None:
    async with open_node("alone") as node:
        port = node.port(lambda: None)
        (view,) = (await node.inspect("alone").ports()).ports
        assert view.id == port
        assert await node.inspect(port).links() == []


async def test_only_those_who_are_named_may_ask(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "b", inspect="read", inspect_from=["c"]) as b,
        open_test_node(network, "a", seeds=["b"]) as a,
        open_test_node(network, "c", seeds=["b"]) as c,
    ):
        with pytest.raises(CallError, match=r"the setting `inspect_from` of b does not name a") as raised:
            await a.inspect("b").ports()
        assert raised.value.type_name == "refused"
        assert (await c.inspect("b").ports()).ports == []
        assert (await b.inspect("b").ports()).ports == []


async def test_an_older_node_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, words=("call",)) as raw:
        with trio.fail_after(1), pytest.raises(CallError, match="does not know the word `inspect`") as raised:
            await node.inspect(raw.node_id).ports()
        assert raised.value.type_name == "not_understood"
        assert ("", "inspect") not in [message[:2] for message in raw.messages]


async def test_a_question_that_has_waited_for_an_older_node_fails(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            with pytest.raises(CallError) as raised:
                await node.inspect("0").ports()
            answers.append(raised.value.type_name)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        async with a_member(network, node, words=("call",)):
            await trio.testing.wait_all_tasks_blocked()
        assert answers == ["not_understood"]


async def test_the_statistics_of_another_node_are_those_that_it_gives_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        await a.flush("b")
        found = await a.inspect("b").statistics()
        own = b.statistics()
        assert (found.node, found.ports, found.mailboxes) == ("b", own.ports, own.mailboxes)
        assert [peer.node for peer in found.peers] == ["a"]
        assert found.messages_in >= 1


async def test_one_node_may_have_few_questions_in_flight(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        answers: list[str] = []

        async def ask() -> None:
            try:
                await a.inspect("b").links()
                answers.append("links")
            except CallError as error:
                answers.append(error.type_name)

        # While somebody has it, no question is answered.
        await b._inspections._turn.acquire()
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_OF_ONE + 3):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == ["busy"] * 3
            b._inspections._turn.release()
        assert sorted(answers) == ["busy"] * 3 + ["links"] * MOST_OF_ONE
        assert not b._inspections._in_flight


async def test_who_waits_no_longer_calls_the_question_off(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        await b._inspections._turn.acquire()
        with trio.move_on_after(1):
            await a.inspect("b").links()
        await trio.testing.wait_all_tasks_blocked()
        assert not b._inspections._in_flight
        assert len(peer_of(b, "a").callers) == 0
        b._inspections._turn.release()
        assert len(await a.inspect("b").links()) == 1


async def test_a_lost_asker_calls_its_questions_off(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, inspect="read") as (a, b):
        await b._inspections._turn.acquire()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(PortDied):
                    await a.inspect("b").links()

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert b._inspections._in_flight == {"a": 1}
            peer_of(b, "a").current.close("a fault in the network")  # type: ignore[union-attr]
            await trio.testing.wait_all_tasks_blocked()
            assert not b._inspections._in_flight


@pytest.mark.parametrize(
    "question, arguments",
    [
        ("eval", {}),
        ("ports", {}),
        ("ports", {"by": "name", "limit": 1}),
        ("ports", {"by": "age", "limit": 1001}),
        ("ports", {"by": "age", "limit": True}),
        ("ports", {"by": "age", "limit": 1, "newer": 1}),
        ("links", {"after": None}),
        ("tasks", {"limit": 0}),
        ("supervisors", {"after": 1}),
        ("kill", {"number": "1", "reason": []}),
    ],
    ids=str,
)
async def test_a_question_that_is_not_understood_is_refused_with_what_is_wrong(
    question: str, arguments: dict[str, object], autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, _):
        with pytest.raises(CallError) as raised:
            await a._inspections.ask("b", question, arguments)
        assert raised.value.type_name == "bad_question"
        assert raised.value.text


async def test_an_error_of_this_program_is_the_answer_and_nothing_ends(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("an error")

    async with open_pair(FakeNetwork(), inspect="read") as (a, _):
        monkeypatch.setattr("trio_mp._inspection.links.view_of", fails)
        with pytest.raises(CallError) as raised:
            await a.inspect("b").links()
        assert raised.value.type_name == "failed"
        assert "ZeroDivisionError: an error" in caplog.text
        assert (await a.inspect("b").ports()).ports == []
