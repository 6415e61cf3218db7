"""Children for supervisors in tests, which tell what becomes of them."""

from __future__ import annotations

from typing import Any

import trio

from trio_mp import Port


class Crash(Exception):
    """What children of these tests die of."""


class Story:
    """What children have done, in order: `+name` when one has started, `-name` when one has ended.

    Attributes:
      lines: what.
      failing: how many starts of the children of these names are to fail.
      unwinding: for how many seconds children of these names unwind, shielded.
      starting: for how many seconds they start.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failing: dict[str, int] = {}
        self.unwinding: dict[str, float] = {}
        self.starting: dict[str, float] = {}

    def __str__(self) -> str:
        return " ".join(self.lines)

    def take(self) -> str:
        """What has been done since this was last called."""
        lines, self.lines = self.lines, []
        return " ".join(lines)

    def running(self) -> list[str]:
        """The children that have started and not ended, in order; each as often as it runs."""
        found: list[str] = []
        for line in self.lines:
            if line[0] == "+":
                found.append(line[1:])
            else:
                found.remove(line[1:])
        return found

    async def serve(self, port: Port, name: str, task_status: Any) -> None:
        """A child that dies and ends as it is told by a message."""
        await trio.sleep(self.starting.get(name, 0))
        if self.failing.get(name):
            self.failing[name] -= 1
            raise Crash(f"a start of {name}")
        self.lines.append(f"+{name}")
        try:
            task_status.started(name)
            async for tag, *rest in port:
                if tag == "crash":
                    raise Crash(*rest)
                if tag == "end":
                    return
                if tag == "ask":
                    port.node.send(rest[-1], *rest[:-1], name)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.unwinding.get(name, 0))
            self.lines.append(f"-{name}")
