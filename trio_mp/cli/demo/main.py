"""The demo, from the first process to the exit status."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import trio
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from .board import Board, Failure, State
from .checker import Verdict, check
from .crew import open_crew
from .relay import Relay
from .scenario import Scenario
from .screen import draw, draw_summary, figures_line, make_console

DEFAULT_NODES, MINIMUM_NODES, MAXIMUM_NODES = 4, 2, 12
DEFAULT_SECONDS, MINIMUM_SECONDS = 12.0, 3.0

TOTAL_RATE = 4000
"""Messages a second, by all nodes together: what two slow cores manage easily."""

_REDRAW = 0.2
_OVERHEAD = 2.0
"""What starting and ending take, about, in seconds; to be shown, no more."""

_INTERRUPTED = 130

_ROOM = 10_000_000
"""What the records and logs of a run may take, about, in bytes."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
      nodes: how many nodes there are beside the seed.
      seconds: for how long messages flow.
      plain: lines only.
    """

    nodes: int
    seconds: float
    plain: bool


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes:
      verdict: about the records; None if there are none.
      failure: what was to be seen and did not happen; empty if all did.
      interrupted: whether somebody did not want to see the end.
    """

    verdict: Verdict | None = None
    failure: str = ""
    interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status."""
        if self.interrupted:
            return _INTERRUPTED
        return 0 if self.verdict is not None and self.verdict.holds and not self.failure else 1


def run_demo(options: Options) -> int:
    """Run the demo; returns its exit status."""
    console = make_console(plain=options.plain)
    names = ("seed", *(f"node-{number}" for number in range(1, options.nodes + 1)))
    # Paths of Unix sockets must be short, and what the environment calls the directory for temporary files may not be.
    parent = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    # The process is named, so that whoever finds the directory can see whether it is still in use.
    directory = Path(tempfile.mkdtemp(prefix=f"trio-mp-{os.getpid()}-", dir=parent))
    outcome = Outcome()
    keep = False
    try:
        (directory / "room").write_bytes(bytes(_ROOM))
        (directory / "room").unlink()
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        console.print(f"✗ Nothing can be written to {directory.parent}: {error.strerror}; make room there, 10 MB or so")
        return 1
    try:
        outcome = trio.run(_run, options, console, names, directory)
        keep = outcome.status == 1
    except* SystemExit:
        # Rich ends the program when nobody reads its output any more, as in `trio-mp demo | head`.
        pass
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if keep:
        console.print(f"The records and logs of all nodes are kept in {directory}")
    return outcome.status


async def _run(options: Options, console: Console, names: tuple[str, ...], directory: Path) -> Outcome:
    board = Board(names)
    outcome = Outcome(interrupted=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        async with _showing(board, options, console):
            await _play(board, options, directory, outcome)
        nursery.cancel_scope.cancel()
    if outcome.interrupted:
        console.print("Interrupted; all processes have ended.")
    elif outcome.verdict is not None:
        console.print(draw_summary(outcome.verdict, names, outcome.failure))
    return outcome


async def _play(board: Board, options: Options, directory: Path, outcome: Outcome) -> None:
    pairs = len(board.pairs())
    relay = Relay(str(directory / "relay.sock"), str(directory / "0.sock"))
    async with open_crew(directory, board, TOTAL_RATE / pairs) as crew:
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.serve)
            victim = 3 if options.nodes >= 3 else 2
            scenario = Scenario(board, crew, relay, (0, 1), victim, options.seconds)
            try:
                await scenario.play()
            except Failure as failure:
                outcome.failure = str(failure)
                # So that the verdict does not take for lost what was only on its way.
                with contextlib.suppress(Failure):
                    await scenario.stop()
            nursery.cancel_scope.cancel()
        await crew.end()
        outcome.verdict = check(crew.journals())
    outcome.interrupted = False


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


@contextlib.asynccontextmanager
async def _showing(board: Board, options: Options, console: Console) -> AsyncGenerator[None, None]:
    """Show the board for the length of the block, one way or the other."""
    async with trio.open_nursery() as nursery:
        if options.plain or not console.is_terminal:
            board.on_event = lambda elapsed, text: console.print(f"{elapsed:5.1f} s  {text}")
            nursery.start_soon(_print_figures, board, console)
            yield
        else:
            with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
                nursery.start_soon(_redraw, board, options, live, console)
                yield
                # What stays on the screen: without the events, which the steps have summed up.
                live.update(draw(board, board.elapsed, ConsoleDimensions(console.width, 0)), refresh=True)
        nursery.cancel_scope.cancel()


async def _print_figures(board: Board, console: Console) -> None:
    while True:
        await trio.sleep(1)
        if any(node.state is State.UP for node in board.nodes):
            console.print(f"{board.elapsed:5.1f} s  {figures_line(board)}")


async def _redraw(board: Board, options: Options, live: Live, console: Console) -> None:
    while True:
        live.update(draw(board, options.seconds + _OVERHEAD, console.size), refresh=True)
        await trio.sleep(_REDRAW)
