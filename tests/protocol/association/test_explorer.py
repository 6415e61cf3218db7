"""All interleavings of two nodes, within bounds: the association keeps the promise, and needs its rules for that.

Bigger bounds: `PYTHONPATH=tests python -m explorer --help`. A fault is reported with the shortest trace to it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from explorer import Bounds, World, explore
from explorer.parts import HIGHER, LOWER
from explorer.rules import RULES, rule_of
from explorer.three import Relay
from explorer.variants import (
    AgreesToEverything,
    AsksUnderMonitors,
    BelievesAgainstTheEvidence,
    BelievesAnyClaim,
    BelievesInSilence,
    DropsInSilence,
    DropsWhenParting,
    EndsAtItsLastWord,
    FiresInTheCall,
    FiresLater,
    ForgetsTheMonitors,
    ForgivesALateAnswer,
    GoesBack,
    HidesThatItParted,
    HoldsOnToTheParted,
    KeepsTheOthers,
    KeepsTheQueue,
    LosesWhenParting,
    NeitherOkNorClosing,
    NeverAnswers,
    NeverReports,
    QueuesBehindTheFence,
    ReadsOn,
    ReplacesInSilence,
    TakesWhatComes,
    WritesAfterItsLastWord,
    WritesBeforeOk,
)

from trio_mp._protocol.association.association import Association
from trio_mp.testing import Rule

pytestmark = pytest.mark.exhaustive

FROM_LOWER = (3, 0, 0)
FROM_HIGHER = (0, 3, 0)

WORLDS = {
    "three messages and a cut, from the lower": Bounds(senders=FROM_LOWER, monitors=1, notices=0),
    "three messages and a cut, from the higher": Bounds(senders=FROM_HIGHER, monitors=1, notices=0),
    "an early loss at one side, from the lower": Bounds(senders=(2, 0, 0), monitors=1, cuts=0),
    "an early loss at one side, from the higher": Bounds(senders=(0, 2, 0), monitors=1, cuts=0),
    "a cut and an early loss": Bounds(connections=2, senders=(1, 1, 0), monitors=1, reactions=False),
    "the lower restarts, and sends": Bounds(senders=(1, 0, 1), monitors=1, cuts=0, notices=0, second=LOWER),
    "the lower restarts, and is sent to": Bounds(senders=(0, 1, 0), monitors=1, cuts=0, notices=0, second=LOWER),
    "the higher restarts, and sends": Bounds(senders=(0, 1, 1), monitors=1, cuts=0, notices=0, second=HIGHER),
    "the higher restarts, and is sent to": Bounds(senders=(1, 0, 0), monitors=1, cuts=0, notices=0, second=HIGHER),
    "the lower overflows": Bounds(
        connections=2, senders=FROM_LOWER, monitors=1, cuts=0, slow_writer=True, queue_limit=2
    ),
    "the higher overflows": Bounds(
        connections=2, senders=FROM_HIGHER, monitors=1, cuts=0, slow_writer=True, queue_limit=2
    ),
    "the lower believes that the other one has gone": Bounds(
        connections=2, senders=(2, 0, 0), monitors=1, notices=0, beliefs=1
    ),
    "the higher believes that the other one has gone": Bounds(
        connections=2, senders=(0, 2, 0), monitors=1, notices=0, beliefs=1
    ),
    "both believe it, more than once": Bounds(
        connections=2, senders=(1, 1, 0), monitors=1, cuts=0, notices=0, beliefs=2, reactions=False
    ),
    "the lower restarts, and is believed to have gone": Bounds(
        connections=2, senders=(0, 2, 0), monitors=1, cuts=0, notices=0, beliefs=1, second=LOWER
    ),
    "the higher restarts, and is believed to have gone": Bounds(
        connections=2, senders=(1, 0, 0), monitors=1, cuts=0, notices=0, beliefs=1, second=HIGHER
    ),
    "ports die, monitors go, connections do not come, for the lower": Bounds(
        connections=2, senders=(2, 0, 0), monitors=1, cuts=0, demonitors=1, give_ups=1, deaths=1, reactions=False
    ),
    "ports die, monitors go, connections do not come, for the higher": Bounds(
        connections=2, senders=(0, 2, 0), monitors=1, cuts=0, demonitors=1, give_ups=1, deaths=1, reactions=False
    ),
}

ASKING = Bounds(connections=2, monitors=1, cuts=0, notices=0, asks=2)

PARTING_WORLDS = {
    "nothing else happens": replace(ASKING, connections=3, senders=(1, 1, 0)),
    "an early loss at one side, from the lower": replace(ASKING, senders=(2, 0, 0), notices=1),
    "an early loss at one side, from the higher": replace(ASKING, senders=(0, 2, 0), notices=1),
    "an early loss at one side, from both": replace(ASKING, senders=(1, 1, 0), notices=1, reactions=False),
    "a cut, from both": replace(ASKING, senders=(1, 1, 0), cuts=1, asks=1, reactions=False),
    "no answer in time, from both": replace(ASKING, senders=(1, 1, 0), unanswered=1, reactions=False),
    "ports die, monitors go, connections do not come, for the lower": replace(
        ASKING, senders=(2, 0, 0), asks=1, demonitors=1, give_ups=1, deaths=1, reactions=False
    ),
    "ports die, monitors go, connections do not come, for the higher": replace(
        ASKING, senders=(0, 2, 0), asks=1, demonitors=1, give_ups=1, deaths=1, reactions=False
    ),
    "the lower restarts, and sends": replace(ASKING, senders=(1, 0, 1), second=LOWER, asks=1),
    "the lower restarts, and is sent to": replace(ASKING, senders=(0, 1, 0), second=LOWER, asks=1),
    "the higher restarts, and sends": replace(ASKING, senders=(0, 1, 1), second=HIGHER, asks=1),
    "the higher restarts, and is sent to": replace(ASKING, senders=(1, 0, 0), second=HIGHER, asks=1),
    "the lower overflows": replace(ASKING, senders=FROM_LOWER, slow_writer=True, queue_limit=2, asks=1),
    "the higher overflows": replace(ASKING, senders=FROM_HIGHER, slow_writer=True, queue_limit=2, asks=1),
}
"""Those in which a side that is idle asks to part. Without an accident no message may be lost in them at all."""


@pytest.mark.parametrize(
    "bounds",
    [*WORLDS.values(), *PARTING_WORLDS.values()],
    ids=[*WORLDS.keys(), *(f"parting: {name}" for name in PARTING_WORLDS)],
)
def test_every_interleaving_keeps_the_promise(bounds: Bounds) -> None:
    result = explore(World(bounds))
    print(result)
    assert result.found is None, str(result.found)
    # A model in which nothing happens would keep every promise.
    assert result.states > 10_000


# Bounds in which a missing rule shows; nothing but the promise is checked.
LOWER_SENDS = Bounds(connections=2, senders=(2, 0, 0), monitors=1, reactions=False, promise_only=True)
HIGHER_SENDS = replace(LOWER_SENDS, senders=(0, 2, 0))
# The same with sides that ask to part, and no accidents.
LOWER_ASKS = replace(LOWER_SENDS, asks=1, cuts=0, notices=0)
HIGHER_ASKS = replace(HIGHER_SENDS, asks=1, cuts=0, notices=0)
SLOW_LOWER_SENDS = replace(LOWER_SENDS, slow_writer=True)
REORDERED = "message 1 is delivered after message 2"
UNTOLD = "message 1 was lost, and its monitor does not fire"
NEEDLESS = "loss 2 is reported to one side after 1 accidents"
HOLE = "message 2 is delivered, message 1 was lost, and the monitor of both had not fired"
BROKEN = {REORDERED: Rule.ORDER, UNTOLD: Rule.SILENCE, HOLE: Rule.HOLE, "and its monitor does not fire": Rule.SILENCE}


@pytest.mark.parametrize(
    "kind, bounds, fault",
    [
        (TakesWhatComes, replace(LOWER_SENDS, monitors=0, cuts=0, notices=0), REORDERED),
        (TakesWhatComes, HIGHER_SENDS, REORDERED),
        (NeitherOkNorClosing, HIGHER_SENDS, REORDERED),
        (WritesBeforeOk, replace(HIGHER_SENDS, connections=3, monitors=0, cuts=0, notices=2), REORDERED),
        (WritesBeforeOk, replace(HIGHER_SENDS, cuts=0, deaths=1), UNTOLD),
        (GoesBack, LOWER_SENDS, REORDERED),
        (ReplacesInSilence, LOWER_SENDS, UNTOLD),
        (ReplacesInSilence, HIGHER_SENDS, UNTOLD),
        (ForgetsTheMonitors, LOWER_SENDS, UNTOLD),
        (NeverReports, HIGHER_SENDS, UNTOLD),
        (FiresLater, LOWER_SENDS, HOLE),
        (QueuesBehindTheFence, HIGHER_SENDS, HOLE),
        (KeepsTheQueue, SLOW_LOWER_SENDS, HOLE),
        (BelievesInSilence, replace(LOWER_SENDS, cuts=0, notices=0, beliefs=1), UNTOLD),
        (BelievesInSilence, replace(HIGHER_SENDS, cuts=0, notices=0, beliefs=1), UNTOLD),
        (DropsInSilence, replace(SLOW_LOWER_SENDS, queue_limit=2), "and its monitor does not fire"),
        (AgreesToEverything, replace(LOWER_ASKS, notices=1), UNTOLD),
        (AgreesToEverything, replace(HIGHER_ASKS, notices=1), UNTOLD),
        (AsksUnderMonitors, replace(LOWER_ASKS, notices=1), UNTOLD),
        (AsksUnderMonitors, replace(HIGHER_ASKS, notices=1), UNTOLD),
        (WritesAfterItsLastWord, LOWER_ASKS, UNTOLD),
        (WritesAfterItsLastWord, HIGHER_ASKS, UNTOLD),
        (DropsWhenParting, LOWER_ASKS, UNTOLD),
        (DropsWhenParting, HIGHER_ASKS, UNTOLD),
        (ForgivesALateAnswer, replace(LOWER_ASKS, unanswered=1), UNTOLD),
        (ForgivesALateAnswer, replace(HIGHER_ASKS, unanswered=1), UNTOLD),
        (ReadsOn, replace(HIGHER_ASKS, notices=1), REORDERED),
    ],
)
def test_without_any_of_its_rules_the_promise_is_broken(kind: type[Association], bounds: Bounds, fault: str) -> None:
    found = explore(World(bounds, kind)).found
    print(found)
    assert found is not None, f"{kind.__name__} keeps the promise: what is its rule for?"
    assert fault in found.fault, str(found)
    assert rule_of(found.fault) is BROKEN[fault]


def test_a_message_is_overtaken_when_the_ends_adopt_connections_in_opposite_order() -> None:
    # Both ends have taken up both connections; one end reads them in the opposite order.
    found = explore(World(HIGHER_SENDS, TakesWhatComes)).found
    assert found is not None
    assert found.trace[-2:] == ("A reads message p 1 on 2", "A reads message p 0 on 1"), str(found)


def test_a_message_vanishes_in_silence_when_a_connection_is_replaced_without_firing() -> None:
    # The other side has noticed the cut and chosen another connection: this one takes it up, and tells nobody.
    found = explore(World(LOWER_SENDS, ReplacesInSilence)).found
    assert found is not None
    assert "A reads link on 2" in found.trace, str(found)
    assert not any(line.startswith("A fires") for line in found.trace), str(found)


# The other rules of parting: without them the promise holds, but messages are lost, or connections, for nothing.
BELIEVED = Bounds(connections=1, monitors=1, cuts=0, notices=0, beliefs=1, reactions=False)
DOUBTED = "it is believed to have gone, with connection 1 going on"
LOWER_PARTS = replace(LOWER_ASKS, promise_only=False)
HIGHER_PARTS = replace(HIGHER_ASKS, promise_only=False)


@pytest.mark.parametrize(
    "kind, bounds, fault",
    [
        (BelievesAnyClaim, Bounds(senders=(1, 0, 0), monitors=0, cuts=0), NEEDLESS),
        (KeepsTheOthers, Bounds(senders=(0, 2, 0), monitors=1, cuts=0), NEEDLESS),
        (BelievesAgainstTheEvidence, replace(BELIEVED, senders=(1, 0, 0)), DOUBTED),
        (BelievesAgainstTheEvidence, replace(BELIEVED, senders=(0, 1, 0)), DOUBTED),
        (FiresInTheCall, replace(BELIEVED, senders=(1, 0, 0)), "the monitors fire in the middle of the call"),
        (EndsAtItsLastWord, LOWER_PARTS, "message 1 was lost, and nothing had gone wrong"),
        (EndsAtItsLastWord, HIGHER_PARTS, "message 1 was lost, and nothing had gone wrong"),
        (HidesThatItParted, LOWER_PARTS, "it does not say that it has lost 1"),
        (HoldsOnToTheParted, LOWER_PARTS, "2 is refused, though the other side has lost 1"),
        (NeverAnswers, LOWER_PARTS, "1 is asked for ever"),
        (LosesWhenParting, LOWER_PARTS, "loss 1 is reported to one side after 0 accidents"),
    ],
)
def test_rules_that_the_promise_could_do_without_save_messages_and_connections(
    kind: type[Association], bounds: Bounds, fault: str
) -> None:
    found = explore(World(bounds, kind)).found
    print(found)
    assert found is not None
    assert fault in found.fault, str(found)
    assert rule_of(found.fault) is None


def faults_in(source: str) -> Iterator[str]:
    """The texts of faults in a module: what is returned, or bound to the name, or put out as one."""
    for node in ast.walk(ast.parse(source)):
        told: ast.expr | None = None
        match node:
            case ast.FunctionDef(name="_reported" | "_fault_at_rest" | "_fault_in_use"):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        yield from texts_in(inner.value)
            case ast.Assign(targets=[ast.Name(id="fault")]):
                told = node.value
            case ast.Tuple(elts=[ast.Constant(value="fault"), text]):
                told = text
            case _:
                pass
        if told is not None:
            yield from texts_in(told)


def texts_in(expression: ast.expr) -> Iterator[str]:
    match expression:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in values)
        case ast.IfExp(body=body, orelse=other):
            yield from texts_in(body)
            yield from texts_in(other)
        case _:
            pass


def test_every_fault_of_the_explorer_has_its_place_among_the_rules() -> None:
    directory = Path(__file__).resolve().parents[2] / "explorer"
    sources = [(directory / name).read_text(encoding="utf-8") for name in ("world.py", "process.py")]
    faults = [fault.replace("1: 1", "SomeError: 1") for source in sources for fault in faults_in(source)]
    named = [rule_of(fault) for fault in faults]
    # None of the table is about what the explorer never says.
    assert len(set(faults)) >= len(RULES)
    assert set(named) == set(RULES.values())


@pytest.mark.parametrize("fault", ["the moon is full", ""])
def test_a_fault_of_which_nothing_is_known_is_no_rule(fault: str) -> None:
    with pytest.raises(LookupError):
        rule_of(fault)


RELAYED = Bounds(connections=1, senders=(0, 2, 0), monitors=1, cuts=0, notices=0, reactions=False)


@pytest.mark.parametrize(
    "bounds", [replace(RELAYED, asks=1), replace(RELAYED, notices=1)], ids=["parting", "an early loss"]
)
def test_three_nodes_of_which_one_relays(bounds: Bounds) -> None:
    world = Relay(bounds)
    result = explore(world)
    print(result)
    assert result.found is None, str(result.found)
    assert result.states > 50_000
    assert world.relayed > 1000


def test_three_nodes_of_which_one_relays_and_has_lost_a_rule() -> None:
    found = explore(Relay(replace(RELAYED, notices=1, promise_only=True), ForgetsTheMonitors)).found
    print(found)
    assert found is not None
    assert UNTOLD in found.fault, str(found)
