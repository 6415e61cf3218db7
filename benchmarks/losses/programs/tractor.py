"""tractor: a child actor, and a context stream with it. Kind: `stream`.

tractor starts no actor again by itself. When sending raises, the sender opens another actor and goes on with it.
"""

from __future__ import annotations

import contextlib

import tractor
import trio

from benchmarks.losses.contract import TICK, Plan, Receiver, Sender

MODULE = "benchmarks.losses.programs.tractor"


@tractor.context
async def receive(ctx: tractor.Context, folder: str, count: int, busy: float) -> None:
    """The child: handle the numbers of the stream."""
    numbers = Receiver(Plan(folder, count=count, busy=busy))
    await ctx.started()
    numbers.ready()
    async with ctx.open_stream() as stream:
        async for number in stream:
            numbers.take(number)


BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


async def _send_to(portal: tractor.Portal, plan: Plan, numbers: Sender) -> None:
    """Send what is due to one actor, until all is sent or sending fails."""
    opened = portal.open_context(receive, folder=plan.folder, count=plan.count, busy=plan.busy)
    with trio.CancelScope() as scope:
        async with opened as (context, _), context.open_stream() as stream:
            while numbers.more:
                for number in numbers.due():
                    try:
                        await stream.send(number)
                    except BROKEN as error:
                        numbers.told(type(error).__name__)
                        # Without this the context waits for ever for the result of its other side.
                        scope.cancel()
                        raise
                    numbers.next = number + 1
                await trio.sleep(TICK)


async def _send(plan: Plan) -> None:
    numbers, life = Sender(plan), 0
    async with tractor.open_nursery() as nursery:
        while numbers.more:
            life += 1
            portal = await nursery.start_actor(f"receiver{life}", enable_modules=[MODULE])
            with contextlib.suppress(*BROKEN):
                await _send_to(portal, plan, numbers)
        numbers.done()
        await nursery.cancel()


def sender(plan: Plan) -> None:
    """Send the numbers."""
    trio.run(_send, plan)
