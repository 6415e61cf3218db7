"""nats-py and a server. Kinds:

- `core`: publish and subscribe.
- `jetstream`: the server keeps the messages. It acknowledges each publication. The receiver is a
  durable pull consumer, and acknowledges what it has handled.
- `jetstream_single`: the server hands out one message at a time, which keeps the order.

The server waits 2 s for an acknowledgement, where its default is 30 s, so that a run is short.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig

from benchmarks.losses.contract import TICK, Plan, Receiver, Sender

SUBJECT, STREAM, CONSUMER = "numbers.new", "numbers", "receiver"
ACK_WAIT = 2.0
AT_ONCE = 100
"""How many messages the receiver fetches at once."""


async def _connect(plan: Plan, sender: Sender | None = None) -> Client:
    """Connect with all defaults: a lost connection is made again. The sender notes all that it is told."""

    async def disconnected() -> None:
        # It is called when the sender itself closes the connection, too.
        if sender is not None and not sender.finished:
            sender.told("disconnected_cb")

    async def error(raised: Exception) -> None:
        if sender is not None:
            sender.told(f"error_cb: {type(raised).__name__}")

    return await nats.connect(f"nats://127.0.0.1:{plan.port}", disconnected_cb=disconnected, error_cb=error)


async def _receive_core(plan: Plan) -> None:
    numbers = Receiver(plan)
    connection = await _connect(plan)

    async def take(message: Msg) -> None:
        numbers.take(json.loads(message.data))

    await connection.subscribe(SUBJECT, cb=take)
    await connection.flush()
    numbers.ready()
    await asyncio.Event().wait()


async def _receive_stream(plan: Plan) -> None:
    numbers = Receiver(plan)
    context = (await _connect(plan)).jetstream()
    await context.add_stream(name=STREAM, subjects=["numbers.*"])
    single = plan.kind == "jetstream_single"
    config = ConsumerConfig(ack_wait=ACK_WAIT, max_ack_pending=1 if single else None)
    subscription = await context.pull_subscribe(SUBJECT, durable=CONSUMER, stream=STREAM, config=config)
    numbers.ready()
    while True:
        with contextlib.suppress(NatsTimeoutError):
            for message in await subscription.fetch(1 if single else AT_ONCE, timeout=1):
                numbers.take(json.loads(message.data))
                await message.ack()


def receiver(plan: Plan) -> None:
    """Handle numbers until killed."""
    asyncio.run(_receive_core(plan) if plan.kind == "core" else _receive_stream(plan))


async def _send(plan: Plan) -> None:
    sender = Sender(plan)
    connection = await _connect(plan, sender)
    context = connection.jetstream()
    while sender.more:
        for number in sender.due():
            if plan.kind == "core":
                await connection.publish(SUBJECT, json.dumps(number).encode())
            else:
                await context.publish(SUBJECT, json.dumps(number).encode())
            sender.next = number + 1
        await asyncio.sleep(TICK)
    await connection.flush()
    sender.done()
    await connection.drain()


def sender(plan: Plan) -> None:
    """Send the numbers."""
    asyncio.run(_send(plan))
