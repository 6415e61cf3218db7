"""The board as a live picture, drawn by Rich.

No other module imports Rich, which is the extra `cli`. Without Rich the demo shows lines, as it does in a pipe.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable

import trio
from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .board import DemoBoard, NodeState, NodeView, Progress, ScenarioStep
from .summary import Line, Mood

_MARKS = {
    Progress.WAITING: ("·", "dim"),
    Progress.RUNNING: ("▸", "bold yellow"),
    Progress.DONE: ("✓", "bold green"),
    Progress.FAILED: ("✗", "bold red"),
}
_STATES = {NodeState.STARTING: "yellow", NodeState.UP: "green", NodeState.KILLED: "bold red", NodeState.ENDED: "dim"}
_MOODS = {Mood.PLAIN: "", Mood.DIM: "dim", Mood.GOOD: "bold green", Mood.DOUBTFUL: "bold yellow", Mood.BAD: "bold red"}
_WIDEST = 100

_REDRAW = 0.2
"""How often the picture is drawn anew, in seconds."""


class LivePicture:
    """Draws the board on a terminal again and again, and then prints the summary in colours."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    @contextlib.asynccontextmanager
    async def showing(self, board: DemoBoard, seconds: float) -> AsyncGenerator[None, None]:
        """Show the board for the length of a block, which takes about `seconds`. Entry and exit are checkpoints."""
        console = self._console
        with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._redraw, board, seconds, live)
                yield
                nursery.cancel_scope.cancel()
            # This picture stays on the screen, since the task that redraws has ended. It leaves out the events, since
            # the steps sum them up.
            live.update(draw(board, board.elapsed, ConsoleDimensions(console.width, 0)), refresh=True)

    async def _redraw(self, board: DemoBoard, seconds: float, live: Live) -> None:
        while True:
            live.update(draw(board, seconds, self._console.size), refresh=True)
            await trio.sleep(_REDRAW)

    def print(self, lines: Iterable[Line]) -> None:
        """Print lines below the picture."""
        for line in lines:
            self._console.print(Text.assemble((line.text, _MOODS[line.mood]), (line.remark, "dim")))


def draw(board: DemoBoard, seconds: float, size: ConsoleDimensions) -> Group:
    """Draw the whole picture, of at most this size.

    Args:
      board: what to draw.
      seconds: about how long the demo takes.
      size: the terminal's columns and lines.
    """
    head = [_draw_title(board), _draw_bar(board, seconds, size.width), *map(_draw_step, board.steps), Text()]
    # The 3 are a line above the table, one below it, and the line of the cursor.
    left = size.height - len(head) - len(board.nodes) - 3
    return Group(*head, _draw_nodes(board), *_draw_events(board, left))


def _draw_title(board: DemoBoard) -> Text:
    title = Text.assemble(("trio-mp demo", "bold"), no_wrap=True, overflow="ellipsis")
    return title.append(f"   {len(board.nodes)} nodes, each a process of its own; Unix sockets, encrypted", "dim")


def _draw_bar(board: DemoBoard, seconds: float, width: int) -> Text:
    elapsed = f" {board.elapsed:4.1f} s"
    cells = max(0, min(width, _WIDEST) - len(elapsed) - 1)
    done = min(cells, int(cells * board.elapsed / seconds))
    return Text.assemble(("━" * done, "cyan"), ("━" * (cells - done), "bright_black"), (elapsed, "cyan"), no_wrap=True)


def _draw_step(step: ScenarioStep) -> Text:
    mark, style = _MARKS[step.progress]
    name_style = "dim" if step.progress is Progress.WAITING else ""
    return Text.assemble(
        (f"{mark} ", style), (f"{step.name:<19}  ", name_style), step.detail, no_wrap=True, overflow="ellipsis"
    )


def _draw_nodes(board: DemoBoard) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("node", no_wrap=True)
    table.add_column("process", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=8)
    for heading in ("peers", "out/s", "in/s", "median µs", "p99 µs", "losses told"):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in board.nodes:
        table.add_row(*_cells(node, len(board.nodes) - 1))
    out, into = board.rates()
    table.add_row(
        Text("all", "bold"), "", "", "", Text(f"{out:,.0f}", "bold"), Text(f"{into:,.0f}", "bold"), "", "",
        Text(str(sum(node.fired for node in board.nodes)), "bold"),
    )  # fmt: skip
    return table


def _cells(node: NodeView, others: int) -> list[Text]:
    cells = [Text(node.name), Text(str(node.pid or ""), "dim"), Text(node.state.value, _STATES[node.state])]
    figures = node.latest
    if figures is None:
        cells += [Text("–", "dim")] * 5
    else:
        out, into = node.rates()
        cells += [
            Text(str(figures.peers), "" if figures.peers == others else "yellow"),
            Text(f"{out:,.0f}"),
            Text(f"{into:,.0f}"),
            Text(f"{figures.median:,.0f}" if figures.median else "–"),
            Text(f"{figures.slow:,.0f}" if figures.slow else "–"),
        ]
    return [*cells, Text(str(node.fired), "bold yellow" if node.fired else "dim")]


def _draw_events(board: DemoBoard, lines: int) -> list[Text]:
    latest = list(board.events)[-lines:] if lines > 0 else []
    return [Text(f"{elapsed:5.1f} s  {text}", "dim", no_wrap=True, overflow="ellipsis") for elapsed, text in latest]
