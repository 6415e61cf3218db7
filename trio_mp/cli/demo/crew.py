"""The crew starts the processes of the demo, takes their reports, tells them to stop, and kills them.

The chaos harness of the tests has a crew of its own: that one also stops and continues processes, and expects that they
end in any way; this one shows on the board what each process does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from .board import DemoBoard, NodeState
from .journal import Journal, read_journal
from .talk import Assignment, LineDecoder, Order, Report, SendNoMore, encode_line

PATIENCE = 3.0
"""How long a process may take to end by itself, in seconds, before it is killed."""

_READ_SIZE = 64 * 1024


@dataclass(eq=False)
class Member:
    """One run of a node.

    Attributes:
      assignment: the first order that the process got.
      process: the process of this run.
      ending: whether the process is expected to end.
      ended: set when the process has ended and all its reports were taken.
    """

    assignment: Assignment
    process: trio.Process
    errors: Path
    ending: bool = False
    ended: trio.Event = field(default_factory=trio.Event)


def last_words(text: str) -> str:
    """The last line that says something, without the frame that Python draws around groups of exceptions."""
    lines = [line.strip(" |+-") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


class Crew:
    """The processes of all nodes. Made by `open_crew`.

    Args:
      directory: the folder for their sockets and journals.
      board: where the crew notes what the processes do and report.
      rate: how many messages each node sends to each other node in a second.
      secret: the secret of the network.
      nursery: runs the tasks that take the reports.
    """

    def __init__(self, directory: Path, board: DemoBoard, rate: float, secret: str, nursery: trio.Nursery) -> None:
        self.directory = directory
        self._board = board
        self._rate = rate
        self._secret = secret
        self._nursery = nursery
        self._members: list[Member] = []

    def socket_path(self, number: int) -> str:
        """The path of the socket where the node with this number listens."""
        return str(self.directory / f"{number}.sock")

    def _current(self, number: int) -> Member:
        return next(member for member in reversed(self._members) if member.assignment.number == number)

    async def start(self, number: int, seeds: list[str]) -> None:
        """Start a node, for the first time or again.

        Args:
          number: the node's number.
          seeds: the paths of the sockets that the node connects to.
        """
        view = self._board.nodes[number]
        run = sum(member.assignment.number == number for member in self._members)
        assignment = Assignment(
            number=number,
            run=run,
            names=tuple(node.name for node in self._board.nodes),
            bind=f"unix:{self.socket_path(number)}",
            seeds=tuple(f"unix:{path}" for path in seeds),
            secret=self._secret,
            journal=str(self.directory / f"journal-{number}-{run}"),
            rate=self._rate,
        )
        errors = self.directory / f"log-{number}-{run}"
        with errors.open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-m", "trio_mp.cli.demo.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for the command alone, so the process leaves the terminal's foreground group.
                start_new_session=True,
            )
        member = Member(assignment, process, errors)
        self._members.append(member)
        view.start(process.pid, run)
        self._nursery.start_soon(self._hear, member)
        await self._tell(member, assignment)

    async def _tell(self, member: Member, order: Order) -> None:
        assert member.process.stdin is not None
        try:
            await member.process.stdin.send_all(encode_line(order))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The process has ended. `_hear` notices that too, and knows whether it was expected.
            return

    async def _hear(self, member: Member) -> None:
        """Take the reports of a process until it ends."""
        assert member.process.stdout is not None
        decoder = LineDecoder(Report)
        number = member.assignment.number
        async for data in member.process.stdout:
            for report in decoder.feed(data):
                if member is self._current(number):
                    self._board.handle(number, report)  # type: ignore[arg-type]
        status = await member.process.wait()
        view = self._board.nodes[number]
        if member is self._current(number):
            if view.state is NodeState.KILLED:
                view.forget()
            else:
                view.state = NodeState.ENDED
        if not member.ending:
            said = last_words(member.errors.read_text(errors="replace"))
            self._board.fail(f"{view.name} ended by itself, with status {status}: {said}")
        member.ended.set()

    async def kill(self, number: int) -> None:
        """Kill a node's process with SIGKILL, and wait until it has been heard to its end."""
        member = self._current(number)
        member.ending = True
        self._board.nodes[number].state = NodeState.KILLED
        member.process.kill()
        await member.ended.wait()

    async def stop_traffic(self) -> None:
        """Tell all nodes to send no more, and to wait until all they sent was delivered or reported lost."""
        for node in self._board.nodes:
            await self._tell(self._current(node.number), SendNoMore())

    async def end(self) -> None:
        """End all processes: wait for `PATIENCE`, then send SIGKILL. Cancellation does not interrupt this."""
        with trio.CancelScope(shield=True):
            for member in self._members:
                member.ending = True
                assert member.process.stdin is not None
                await member.process.stdin.aclose()
            with trio.move_on_after(PATIENCE):
                for member in self._members:
                    await member.process.wait()
            for member in self._members:
                if member.process.poll() is None:
                    member.process.kill()
                await member.process.wait()

    def journals(self) -> list[Journal]:
        """The journals of all runs of all nodes."""
        begun = [member.assignment for member in self._members]
        return [read_journal(str(assignment.number), assignment.run, Path(assignment.journal)) for assignment in begun]


@asynccontextmanager
async def open_crew(directory: Path, board: DemoBoard, rate: float) -> AsyncGenerator[Crew, None]:
    """Open a crew for the length of a block. Its processes have ended when the block is left, even by an error."""
    async with trio.open_nursery() as nursery:
        crew = Crew(directory, board, rate, os.urandom(24).hex(), nursery)
        try:
            yield crew
        finally:
            await crew.end()
