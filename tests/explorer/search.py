"""A breadth-first walk through a world: it sees every state once, and finds the shortest trace of a fault."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .world import Action, State, World

NAMES = ("A", "B", "C")


@dataclass(frozen=True)
class Found:
    """A fault, and the shortest trace that leads to it.

    Attributes:
      fault: a text that says what is wrong.
      trace: the steps, one line each.
    """

    fault: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.fault, *(f"  {number:2}. {line}" for number, line in enumerate(self.trace, 1))])


@dataclass(frozen=True)
class Result:
    """The result of a walk.

    Attributes:
      states, steps: how many different states, and how many steps between them.
      seconds: how long it took.
      found: the first fault, if there is one.
    """

    states: int
    steps: int
    seconds: float
    found: Found | None

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.steps:,} steps, {self.seconds:.1f} s"


def explore(world: World, *, progress: Callable[[int, int], None] | None = None) -> Result:
    """Walk through all states, until none is left or one is wrong.

    Args:
      world: the world to walk through.
      progress: called now and then with the number of states seen, and the number of states that wait.
    """
    began = time.perf_counter()
    start = world.start()
    came_from: dict[State, State | None] = {start: None}
    waiting = deque([start])
    steps = 0
    while waiting:
        state = waiting.popleft()
        for action, after, fault in world.steps(state):
            steps += 1
            if fault:
                trace = ["nothing more happens by itself" if action == ("rest",) else describe(action)]
                before = came_from[state]
                while before is not None:
                    # Found again here, because storing the action of each of millions of states takes too much memory.
                    trace.append(next(describe(action) for action, after, _ in world.steps(before) if after == state))
                    state, before = before, came_from[before]
                found = Found(fault, tuple(reversed(trace)))
                return Result(len(came_from), steps, time.perf_counter() - began, found)
            if after not in came_from:
                came_from[after] = state
                waiting.append(after)
        if progress is not None and steps % 1024 < 16:
            progress(len(came_from), len(waiting))
    return Result(len(came_from), steps, time.perf_counter() - began, None)


def describe(action: Action) -> str:
    """Return an action as a text for people."""
    if action[0] == "cut":
        _, name, (to_lower, to_higher) = action
        return f"connection {name} is cut towards {'A' if to_lower else ''}{'B' if to_higher else ''}"
    which, kind, *rest = action
    who = NAMES[which]
    match kind:
        case "send":
            return f"{who} sends a message to {rest[0]}"
        case "monitor" | "demonitor":
            return f"{who} {kind}s {rest[0]}"
        case "dial":
            return f"{who} dials connection {rest[0]}"
        case "read" | "challenge":
            return f"{who} reads {' '.join(str(part) for part in rest[1])} on {rest[0]}"
        case "skip":
            return f"{who} reads the end of {rest[0]}, of which it knows nothing"
        case "notice":
            return f"{who} gives up connection {rest[0]}"
        case "report":
            then = " and ".join(f"{name}s {port}" for name, port in rest[0])
            return f"{who} fires its monitors" + (f"; a callback {then}" if then else "")
        case "write":
            return f"{who} writes a message"
        case "believe":
            return f"{who} believes that the other one has gone"
        case "give_up":
            return f"{who} has waited too long for a connection"
        case "answer" | "fail":
            return f"{who} has probed {rest[0]}: it does {'not ' if kind == 'fail' else ''}answer"
        case "ask":
            return f"{who} asks to part"
        case "unanswered":
            return f"{who} waits no longer for an answer"
        case "decline":
            return f"{who} reads {' '.join(str(part) for part in rest[1])} on {rest[0]}, and wants to go on"
        case "die":
            return f"the port of {who} dies"
        case _:
            return f"{who} is {kind}ed"
