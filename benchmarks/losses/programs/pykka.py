"""Pykka: two actors are threads of one process, so neither can be killed alone. Kind: `tell`.

In place of a kill the receiver's handler raises. Pykka stops the actor. An actor that has stopped
cannot be restarted: when `tell` raises, the sender starts another one, and sends that number again.
"""

from __future__ import annotations

import logging
import time

from pykka import ActorDeadError, ActorRegistry, ThreadingActor

from benchmarks.losses.contract import TICK, Plan, Receiver, Sender


class Sink(ThreadingActor):
    """The receiver, as an actor."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.receiver = Receiver(plan, fails=True)

    def on_start(self) -> None:
        """Say that this life can take messages."""
        self.receiver.ready()

    def on_receive(self, message: int) -> None:
        """Handle one number."""
        self.receiver.take(message)


def sender(plan: Plan) -> None:
    """Start the actor, and send the numbers."""
    logging.disable(logging.CRITICAL)
    numbers, sink = Sender(plan), Sink.start(plan)
    while numbers.more:
        for number in numbers.due():
            while True:
                try:
                    sink.tell(number)
                except ActorDeadError as error:
                    numbers.told(type(error).__name__)
                    sink = Sink.start(plan)
                else:
                    break
            numbers.next = number + 1
        time.sleep(TICK)
    sink.stop()
    ActorRegistry.stop_all()
    numbers.done()
