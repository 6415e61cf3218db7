"""trio_mp, in four kinds.

- `monitor`: the sender monitors its port. When it is told of a loss, it makes a new port on the
  receiver's node, and sends on.
- `asks`: as `monitor`, but it first asks the new port how far the receiver has got, and goes on
  there.
- `supervised`: the receiver is a process of the sender's supervisor, and the sender monitors it.
  When it is told of a loss, it waits until the process is up again.
- `unmonitored`: the sender sends to one port, without a monitor, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from dataclasses import asdict

import trio

from benchmarks.losses.contract import TICK, Plan, Receiver, Sender
from trio_mp import ChildRef, Node, Port, PortDied, current_node, open_child_node, open_node, spawnable

SECRET = "only for numbers on one machine"

_receivers: list[Receiver] = []
"""What the handlers of this process write with."""


@spawnable
def numbers(port: Port) -> None:
    """Take messages as `_handle` does."""
    port.on()(_handle)


def _handle(tag: str, *arguments: str | int) -> None:
    (receiver,) = _receivers
    match tag, *arguments:
        case "number", int(number):
            receiver.take(number)
        case "last", str(reply):
            current_node().send(reply, receiver.last())


async def _receive(plan: Plan) -> None:
    _receivers.append(Receiver(plan))
    address = f"127.0.0.1:{plan.port}"
    opened = open_node(
        "receiver", profile=False, binds=[address], seeds=[address], secret=SECRET, spawn_modules=[__name__]
    )
    async with opened:
        _receivers[0].ready()
        await trio.sleep_forever()


async def _receive_as_child(plan: Plan) -> None:
    _receivers.append(Receiver(plan))
    async with open_child_node(handler=_handle):
        _receivers[0].ready()
        await trio.sleep_forever()


def receiver(plan: Plan) -> None:
    """Handle numbers until killed."""
    trio.run(_receive_as_child if plan.kind == "supervised" else _receive, plan)


async def _send_due(node: Node, port: str | ChildRef, sender: Sender) -> None:
    """Send all numbers, and wait until the last one has been delivered."""
    while sender.more:
        for number in sender.due():
            node.send(port, "number", number)
            sender.next = number + 1
        await trio.sleep(TICK)
    await node.call(port, "last")


async def _send_to_node(plan: Plan, sender: Sender) -> None:
    async with open_node("sender", profile=False, seeds=[f"127.0.0.1:{plan.port}"], secret=SECRET) as node:
        finished = False
        while not finished:
            port = node.spawn("receiver", f"{__name__}:numbers")
            if plan.kind == "unmonitored":
                # The call behind the last number fails if the port is dead.
                with contextlib.suppress(PortDied):
                    await _send_due(node, port, sender)
                break
            with node.move_on_death(port) as scope:
                if plan.kind == "asks":
                    (last,) = await node.call(port, "last")
                    sender.next = last + 1
                await _send_due(node, port, sender)
                finished = True
            if scope.reason is not None:
                sender.told(str(scope.reason[0]))
        sender.done()


async def _send_to_child(plan: Plan, sender: Sender) -> None:
    command = [sys.executable, "-m", "benchmarks.losses.programs", "ours", "receiver", json.dumps(asdict(plan))]
    opened = open_node("sender", profile=False, binds=[f"127.0.0.1:{plan.port}"], secret=SECRET)
    async with opened as node, node.open_supervisor() as crew:
        child = await crew.run_process(command)
        finished = False
        while not finished:
            with node.move_on_death(child) as scope:
                await _send_due(node, child, sender)
                finished = True
            if scope.reason is not None:
                sender.told(str(scope.reason[0]))
                await child.up()
        sender.done()


async def _send(plan: Plan) -> None:
    if plan.kind == "supervised":
        await _send_to_child(plan, Sender(plan))
    else:
        await _send_to_node(plan, Sender(plan))


def sender(plan: Plan) -> None:
    """Send the numbers."""
    logging.disable(logging.CRITICAL)
    trio.run(_send, plan)
