"""One seed of the hammer, from the first node to the verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field

import trio

from ._channel_player import ChannelPlayer
from ._circle import Circle
from ._desks import Desks
from ._drains import Drainer
from ._ledger import CallLedger
from ._liar import Liar, judge_database
from ._network import SimulatedNetwork, simulate
from ._overseer import Overseer
from ._parting import Parter
from ._registry import Registry
from ._rules import PromiseBroken
from ._scenario import QUIET, Disturber, make_plan
from ._turns import Leaders
from ._workload import Trial


@dataclass(slots=True)
class Result:
    """The result of one seed.

    Attributes:
      seed: the seed.
      seconds: how many simulated seconds it took.
      sent, delivered, fired: how many messages and monitors the oracle saw.
      asked: how often a node was made to ask another one to part.
      lives: how many lives of supervised children there were.
      turns: how many turns of singletons there were.
      answered: how many calls were answered whose handlers the hammer has followed.
      items: how many items were received from channels.
      drains: how many drains have ended, or were cut off.
      faults: how many faults of each kind were injected.
      digest: the digest of the trace.
      violation: the rule that was broken, what happened, and a shortened trace; empty if none was.
    """

    seed: int
    seconds: float = 0.0
    sent: int = 0
    delivered: int = 0
    fired: int = 0
    asked: int = 0
    lives: int = 0
    turns: int = 0
    answered: int = 0
    items: int = 0
    drains: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    violation: str = ""


def run_seed(seed: int) -> Result:
    """Run one seed of the hammer. A violation is in the result, and is not raised."""
    result = Result(seed)
    try:
        simulate(_run, result, seed=seed)
    except PromiseBroken as broken:
        result.violation = str(broken)
    except Exception as error:  # noqa: BLE001 - a node that crashes is a violation as well, whatever it died of
        result.violation = "a node failed\n" + "".join(traceback.format_exception(error))
    return result


async def _run(network: SimulatedNetwork, result: Result) -> None:
    plan = make_plan(network.generator("plan"), network.generator("shape"))
    parter, liar = Parter(network), Liar(network)
    parter.adjust(plan.nodes)
    drainer = Drainer(network, plan)
    network.default_link.be_like(plan.link)
    network.oracle.bounds = plan.bounds
    overseer = Overseer(network, plan)
    ledger, registry = CallLedger(network), Registry(network)
    circle, desks = Circle(network, plan, ledger, registry), Desks(network, plan, ledger, registry)
    leaders = Leaders(network, plan)
    channels = ChannelPlayer(network, plan)
    trial = Trial(network, plan, (overseer, circle, desks, leaders, channels))
    try:
        async with trio.open_nursery() as nursery:
            for name, start in plan.starts.items():
                nursery.start_soon(_start_later, network, trial, overseer, name, start)
            nursery.start_soon(_disturb, network, trial)
            nursery.start_soon(parter.run, trial)
            nursery.start_soon(drainer.run, trial)
            nursery.start_soon(liar.run, trial)
        await trio.sleep_until(trial.quiet_at)
        down = [name for name in plan.nodes if not network.is_up(name)]
        if down:
            # Before the next runs of these nodes, whose entries replace the old ones.
            network.heal()
            await trio.sleep(network.oracle.bounds.longest + 1)
            network.check_memory()
        for name in down:
            network.restart(name)
        await network.settle()
        judge_database(network)
        # For the rest of the time nothing happens, and then all nodes close at once.
        await trio.sleep_until(trial.quiet_at + QUIET)
        for side in trial.sides:
            await side.judge()
        trial.ended.set()
        await network.wait_ended()
    finally:
        oracle = network.oracle
        result.seconds = trio.current_time()
        result.sent, result.delivered, result.fired = oracle.sent, oracle.delivered, oracle.fired
        result.asked = parter.asked
        result.drains = drainer.count
        result.lives = overseer.lives.count
        result.answered = ledger.answered
        result.items = channels.flows.received
        result.turns = len(leaders.ledger.turns)
        result.faults = network.trace.faults
        result.digest = network.trace.digest


async def _start_later(network: SimulatedNetwork, trial: Trial, overseer: Overseer, name: str, start: float) -> None:
    await trio.sleep(start)
    network.start(name, trial.program, context=overseer.lives, **trial.plan.nodes[name])


async def _disturb(network: SimulatedNetwork, trial: Trial) -> None:
    names = list(trial.plan.nodes)
    numbers = network.generator("faults")
    disturber = Disturber(network, numbers, names)
    async with trio.open_nursery() as nursery:
        for when in trial.plan.faults:
            await trio.sleep_until(when)
            # Some messages are on their way when the fault comes, and some are sent before a node has noticed it.
            trial.provoke(numbers)
            await trio.sleep(numbers.choice((0.0, network.default_link.delay, 0.1)) * numbers.random())
            lasts = disturber.disturb()
            trial.provoke(numbers)
            if lasts:
                nursery.start_soon(_undo_later, network, names, lasts)
        # Faults that still last are healed when the trial gets quiet.
        nursery.cancel_scope.cancel()


async def _undo_later(network: SimulatedNetwork, names: list[str], seconds: float) -> None:
    await trio.sleep(seconds)
    network.heal()
    for name in names:
        if network.was_crashed(name):
            network.restart(name)
