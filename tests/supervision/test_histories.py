"""Supervisors under random histories: whatever happens to the children, what the rules promise holds of real ones."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import given, settings, strategies as st
from supervised import Crash, Story
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Backoff, ChildRef, Node, Supervisor, SupervisorFailed, open_node
from trio_mp._protocol.supervision import Restart, Strategy

NAMES = "abcde"

acts = st.one_of(
    st.tuples(st.just("start"), st.sampled_from([each.value for each in Restart])),
    st.tuples(st.sampled_from(["crash", "end", "kill", "stop", "fail", "unwind"]), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.5, 5.0])),
)


class History:
    """A supervisor of this node to which things happen, and what must hold of its children.

    Attributes:
      story: what the children do.
      children: what the program has of them, by the names in the story, in order.
    """

    def __init__(self, node: Node, crew: Supervisor, nursery: trio.Nursery) -> None:
        self.story = Story()
        self.story.starting = {"b": 1.0, "d": 0.2}
        self.children: dict[str, ChildRef] = {}
        self._node = node
        self._crew = crew
        self._nursery = nursery

    async def do(self, act: str, what: Any) -> None:
        """Do one thing, and check."""
        child = self.children.get(what)
        match act:
            case "start":
                free = [name for name in NAMES if name not in self.children]
                if free:
                    try:
                        self.children[free[0]] = await self._crew.start(self.story.serve, free[0], restart=what)
                    except Crash:
                        pass
            case "wait":
                await trio.sleep(what)
            case "fail":
                self.story.failing[what] = 1
            case "unwind":
                self.story.unwinding[what] = 0.7
            case "stop" if child is not None:
                self._nursery.start_soon(self._crew.stop, child)
            case "kill" if child is not None:
                self._node.kill(child, "enough")
            case "crash" | "end" if child is not None:
                self._node.send(child, act)
            case _:
                pass
        self.check()

    def check(self) -> None:
        """No two lives of one child run at a time."""
        running = self.story.running()
        assert len(running) == len(set(running)), f"two lives of one child: {self.story}"

    async def settle(self) -> None:
        """Let all come to rest: then those that are to run do, and no other."""
        await trio.sleep(200)
        await wait_all_tasks_blocked()
        crew = self._crew.children
        wanted = {child.name for child in self._crew._driver._rules.children.values() if child.wanted}
        assert {child.name for child in crew if child.running} == wanted
        alive = [name for name, child in self.children.items() if child.running]
        assert sorted(self.story.running()) == sorted(alive)


@settings(deadline=None)
@given(
    strategy=st.sampled_from(Strategy),
    history=st.lists(acts, max_size=25),
    limit=st.sampled_from([1, 3, 1000]),
    body_ends=st.booleans(),
)
def test_random_histories(strategy: Strategy, history: list[tuple[str, Any]], limit: int, body_ends: bool) -> None:
    async def main() -> None:
        made: list[History] = []
        async with open_node(shutdown_timeout=3) as node:
            outcome: list[SupervisorFailed] = []
            async with trio.open_nursery() as nursery:
                try:
                    async with node.open_supervisor(
                        strategy.value, limit=limit, within=50, backoff=Backoff(0.3, 2)
                    ) as crew:
                        made.append(History(node, crew, nursery))
                        for act, what in [("start", "permanent"), ("start", "transient"), *history]:
                            await made[0].do(act, what)
                        if not body_ends:
                            await made[0].settle()
                except SupervisorFailed as failure:
                    outcome.append(failure)
            assert not outcome or limit < 1000
            assert made[0].story.running() == []
            assert not node._runtime.supervisors
            assert not node._lifecycle.ports
            assert not any(child.running for child in made[0].children.values())

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(deadline=None)
@given(
    strategy=st.sampled_from([Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]),
    victims=st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
    pauses=st.lists(st.sampled_from([0.0, 0.2, 0.6, 3.0]), min_size=6, max_size=6),
)
def test_tied_children_start_in_order_and_stop_in_reverse(
    strategy: Strategy, victims: list[str], pauses: list[float]
) -> None:
    async def main() -> None:
        story = Story()
        # So that no start ends at the very time at which a child dies: nobody could have known of that.
        story.starting = dict.fromkeys("abc", 0.5107)
        story.unwinding = dict.fromkeys("abc", 0.2613)
        async with open_node() as node, node.open_supervisor(strategy.value, limit=1000, backoff=None) as crew:
            children = {name: await crew.start(story.serve, name) for name in "abc"}
            for victim, pause in zip(victims, pauses, strict=False):
                node.send(children[victim], "crash")
                await trio.sleep(pause)
            await trio.sleep(30)
            assert story.running() == ["a", "b", "c"]
        check_order(story.lines, strategy)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def check_order(lines: list[str], strategy: Strategy) -> None:
    """Whenever a child starts, those before it run, and none behind it does."""
    running: list[str] = []
    for line in lines:
        name = line[1:]
        if line[0] == "+":
            assert running == [each for each in "abc" if each < name], (strategy, lines)
            running.append(name)
        else:
            running.remove(name)
