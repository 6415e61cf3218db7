"""Questions to several nodes at once, of which some do not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from ... import CallError, Inspector, Node, PortDied
from ..joining import Tool

T = TypeVar("T")

AT_ONCE = 32
"""How many nodes are asked at a time."""

PATIENCE = 5.0
"""How long one node may take to answer when several are asked, in seconds."""

_REMARKS = {"refused": "inspection is refused", "not_understood": "of a version without inspection"}


@dataclass(frozen=True)
class AnswerOf(Generic[T]):
    """What a node has answered.

    Attributes:
      node_id: the node.
      value: the answer; None if there is none.
      remark: why there is none, in a few words; empty if there is one.
      text: the same, with all that is known.
    """

    node_id: str
    value: T | None
    remark: str = ""
    text: str = ""


async def ask(inspector: Inspector, question: Callable[[Inspector], Awaitable[T]], seconds: float) -> AnswerOf[T]:
    """Ask one node. A checkpoint.

    Args:
      inspector: of the node.
      question: asks it.
      seconds: how long the node may take.
    """
    with trio.move_on_after(seconds):
        try:
            return AnswerOf(inspector.node_id, await question(inspector))
        except CallError as error:
            return AnswerOf(inspector.node_id, None, remark_of(error), str(error))
        except PortDied as error:
            return AnswerOf(inspector.node_id, None, "unreachable", str(error))
    return AnswerOf(inspector.node_id, None, "no answer", f"no answer within {seconds:g} s")


def remark_of(error: CallError) -> str:
    """Why a node does not answer, in a few words."""
    if error.type_name == "refused" and "'off'" in str(error):
        return "inspect is off"
    return _REMARKS.get(error.type_name, error.type_name)


async def ask_all(
    node: Node, node_ids: Iterable[str], question: Callable[[Inspector], Awaitable[T]], seconds: float = PATIENCE
) -> dict[str, AnswerOf[T]]:
    """Ask several nodes, many at a time. A checkpoint.

    Args:
      node: this node.
      node_ids: whom to ask.
      question: asks one of them.
      seconds: how long each of them may take.

    Returns:
      The answers, by the IDs of the nodes, in the order in which these were given.
    """
    answers: dict[str, AnswerOf[T] | None] = dict.fromkeys(node_ids)
    room = trio.CapacityLimiter(AT_ONCE)

    async def ask_one(node_id: str) -> None:
        async with room:
            answers[node_id] = await ask(node.inspect(node_id), question, seconds)

    async with trio.open_nursery() as nursery:
        for node_id in answers:
            nursery.start_soon(ask_one, node_id)
    return {node_id: answer for node_id, answer in answers.items() if answer is not None}


async def nodes_now(node: Node) -> list[str]:
    """The IDs of the nodes that are in the network now, sorted, without this one, which is a tool. A checkpoint."""
    # Each key is the ID of the node that has set it: no node takes others from anybody.
    return sorted(key for key in await node.database.keys("trio_mp.nodes") if key != node.id)


async def find(tool: Tool, node_id: str) -> Inspector:
    """Look into a node of the network. A checkpoint.

    Raises:
      CommandFailed: there is no such node. A question to it would wait until a connection is given up.
    """
    await tool.check_node(node_id)
    return tool.node.inspect(node_id)
