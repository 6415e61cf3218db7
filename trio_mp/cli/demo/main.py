"""`trio-mp demo`, from the first process to the exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..sockets import check_unix_sockets
from ..text import Screen
from .board import DemoBoard, Failure, NodeState
from .checker import Verdict, check
from .crew import open_crew
from .relay import Relay
from .scenario import Scenario
from .summary import figures_line, summarise

if TYPE_CHECKING:
    from .live import LivePicture

TOTAL_RATE = 4000
"""How many messages all nodes together send in a second: two slow cores manage that easily."""

_OVERHEAD = 2.0
"""About how long starting and ending take, in seconds. Only the picture's progress depends on it."""

_INTERRUPTED = 130

_ROOM = 10_000_000
"""About how much room the journals and logs of a run take, in bytes."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says.

    Attributes:
      nodes: how many nodes there are beside the seed.
      seconds: for how long messages flow.
      plain: whether to show lines, even on a terminal.
    """

    nodes: int
    seconds: float
    plain: bool


@dataclass(slots=True)
class DemoOutcome:
    """How a run of the demo has ended.

    Attributes:
      verdict: what the journals say; None if the run ended before they were compared.
      failure: what did not happen though the demo promises to show it; empty if everything happened.
      interrupted: whether Ctrl-C ended the run.
    """

    verdict: Verdict | None = None
    failure: str = ""
    interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status of the command."""
        if self.interrupted:
            return _INTERRUPTED
        return 0 if self.verdict is not None and self.verdict.holds and not self.failure else 1


def run_parsed(arguments: argparse.Namespace) -> int:
    """Run `trio-mp demo`; returns its exit status."""
    check_unix_sockets("the demo")
    return run_demo(DemoOptions(nodes=arguments.nodes, seconds=arguments.seconds, plain=arguments.plain))


def run_demo(options: DemoOptions) -> int:
    """Run the demo; returns its exit status."""
    screen = Screen()
    picture = _make_picture(options, screen)
    names = ("seed", *(f"node-{number}" for number in range(1, options.nodes + 1)))
    # Not the directory that the environment names: its path may be too long for a Unix socket.
    parent = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    # The name holds the process ID, so that somebody who finds the directory can see whether it is in use.
    directory = Path(tempfile.mkdtemp(prefix=f"trio-mp-{os.getpid()}-", dir=parent))
    outcome = DemoOutcome()
    keep = False
    try:
        (directory / "room").write_bytes(bytes(_ROOM))
        (directory / "room").unlink()
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        screen.print(f"✗ Cannot write to {directory.parent}: {error.strerror}; make room there, about 10 MB")
        return 1
    try:
        outcome = trio.run(_run, options, screen, picture, names, directory)
        keep = outcome.status == 1
    except* SystemExit:
        # `Screen` raises the same when nobody reads the output any more, as in `trio-mp demo | head`.
        pass
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if keep:
        screen.print(f"The journals and logs of all nodes are kept in {directory}")
    return outcome.status


async def _run(
    options: DemoOptions, screen: Screen, picture: LivePicture | None, names: tuple[str, ...], directory: Path
) -> DemoOutcome:
    board = DemoBoard(names)
    seconds = options.seconds + _OVERHEAD
    showing = _showing_lines(board, screen) if picture is None else picture.showing(board, seconds)
    outcome = DemoOutcome(interrupted=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        async with showing:
            await _play(board, options, directory, outcome)
        nursery.cancel_scope.cancel()
    if outcome.interrupted:
        screen.print("Interrupted; all processes have ended.")
    elif outcome.verdict is not None:
        lines = summarise(outcome.verdict, names, outcome.failure)
        if picture is None:
            screen.print("\n".join(map(str, lines)))
        else:
            picture.print(lines)
    return outcome


async def _play(board: DemoBoard, options: DemoOptions, directory: Path, outcome: DemoOutcome) -> None:
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
                # Let messages arrive first: else the verdict would take for lost what was only on its way.
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


def _make_picture(options: DemoOptions, screen: Screen) -> LivePicture | None:
    """Make the live picture; None if the demo is to show lines."""
    if options.plain or not screen.is_terminal:
        return None
    try:
        from .live import LivePicture  # Rich, which is not installed with the package
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        screen.print("Rich is not installed, so this shows lines; for a live picture: pip install 'trio-mp[cli]'")
        return None
    return LivePicture()


@contextlib.asynccontextmanager
async def _showing_lines(board: DemoBoard, screen: Screen) -> AsyncGenerator[None, None]:
    """Print every event, and a line of figures every second, for the length of a block."""
    board.on_event = lambda elapsed, text: screen.print(f"{elapsed:5.1f} s  {text}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_print_figures, board, screen)
        yield
        nursery.cancel_scope.cancel()


async def _print_figures(board: DemoBoard, screen: Screen) -> None:
    while True:
        await trio.sleep(1)
        if any(node.state is NodeState.UP for node in board.nodes):
            screen.print(f"{board.elapsed:5.1f} s  {figures_line(board)}")
