"""The board, drawn: live on a terminal, or line by line; and the summary."""

from __future__ import annotations

import sys
from collections import Counter
from io import TextIOWrapper

from rich.console import Console, ConsoleDimensions, Group
from rich.table import Table
from rich.text import Text

from .board import Board, NodeView, Progress, State, Step
from .checker import Verdict

_MARKS = {
    Progress.WAITING: ("·", "dim"),
    Progress.RUNNING: ("▸", "bold yellow"),
    Progress.DONE: ("✓", "bold green"),
    Progress.FAILED: ("✗", "bold red"),
}
_STATES = {State.STARTING: "yellow", State.UP: "green", State.KILLED: "bold red", State.ENDED: "dim"}
_MOST_PROBLEMS = 10
_WIDEST = 100


def draw(board: Board, seconds: float, size: ConsoleDimensions) -> Group:
    """The whole picture, of at most this size.

    Args:
      board: what is to be seen.
      seconds: how long all of it takes, about.
      size: of the terminal.
    """
    head = [_draw_title(board), _draw_bar(board, seconds, size.width), *map(_draw_step, board.steps), Text()]
    # The table has a line above and one below, and the cursor stands under everything.
    left = size.height - len(head) - len(board.nodes) - 3
    return Group(*head, _draw_nodes(board), *_draw_events(board, left))


def _draw_title(board: Board) -> Text:
    title = Text.assemble(("trio-mp demo", "bold"), no_wrap=True, overflow="ellipsis")
    return title.append(f"   {len(board.nodes)} nodes, each a process of its own; Unix sockets, encrypted", "dim")


def _draw_bar(board: Board, seconds: float, width: int) -> Text:
    elapsed = f" {board.elapsed:4.1f} s"
    cells = max(0, min(width, _WIDEST) - len(elapsed) - 1)
    done = min(cells, int(cells * board.elapsed / seconds))
    return Text.assemble(("━" * done, "cyan"), ("━" * (cells - done), "bright_black"), (elapsed, "cyan"), no_wrap=True)


def _draw_step(step: Step) -> Text:
    mark, style = _MARKS[step.progress]
    name_style = "dim" if step.progress is Progress.WAITING else ""
    return Text.assemble(
        (f"{mark} ", style), (f"{step.name:<19}  ", name_style), step.detail, no_wrap=True, overflow="ellipsis"
    )


def _draw_nodes(board: Board) -> Table:
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


def _draw_events(board: Board, lines: int) -> list[Text]:
    latest = list(board.events)[-lines:] if lines > 0 else []
    return [Text(f"{elapsed:5.1f} s  {text}", "dim", no_wrap=True, overflow="ellipsis") for elapsed, text in latest]


def figures_line(board: Board) -> str:
    """The state of affairs, in one line."""
    up = sum(node.state is State.UP for node in board.nodes)
    links = len(board.pairs())
    out, into = board.rates()
    median, slow = board.round_trip()
    told = sum(node.fired for node in board.nodes)
    return (
        f"{up}/{len(board.nodes)} up  {board.links() // 2}/{links // 2} connections  out {out:,.0f}/s  in {into:,.0f}/s"
        f"  round trip {median:,.0f} µs, p99 {slow:,.0f} µs  losses told {told}"
    )


def draw_summary(verdict: Verdict, names: tuple[str, ...], failure: str) -> Group:
    """What came of it."""
    lost: Counter[tuple[str, str]] = Counter()
    for loss in verdict.losses:
        lost[names[loss.sender], names[loss.receiver]] += loss.messages
    lines = [
        _count("sent", verdict.sent, f"in {verdict.streams} streams, each from one node to one port"),
        _count("delivered", verdict.delivered, "in order, and none twice"),
        _count("reported lost", verdict.reported, f"by {len(verdict.losses)} monitors, before anything later arrived"),
        *[_count(f"  {sender} to {receiver}", count, "", "dim") for (sender, receiver), count in lost.items() if count],
    ]
    if verdict.untold:
        lines.append(_count("sender gone", verdict.untold, "sent by a process in its last moment: nobody to tell"))
    lines.append(_count("unaccounted", verdict.unaccounted, ""))
    return Group(Text(), *lines, Text(), *_draw_verdict(verdict, failure))


def _count(what: str, messages: int, remark: str, style: str = "") -> Text:
    return Text.assemble((f"  {what:<18}{messages:>9,}", style), (f"  {remark}" if remark else "", "dim"))


def _draw_verdict(verdict: Verdict, failure: str) -> list[Text]:
    lines = [Text(f"  {problem}", "red") for problem in verdict.problems[:_MOST_PROBLEMS]]
    if len(verdict.problems) > _MOST_PROBLEMS:
        lines.append(Text(f"  and {len(verdict.problems) - _MOST_PROBLEMS} more", "red"))
    if not verdict.holds:
        lines.append(Text("✗ There is a hole: the promise did not hold.", "bold red"))
    elif failure:
        lines.append(Text("No hole was found, but not everything happened that was to be seen.", "bold yellow"))
    else:
        lines.append(Text("✓ No hole: every message was delivered, or its loss was reported in time.", "bold green"))
    if failure:
        lines.append(Text(f"✗ {failure}", "bold red"))
    return lines


def make_console(*, plain: bool) -> Console:
    """Where all is written: the standard output, with colours where it takes them and they are wanted."""
    if isinstance(sys.stdout, TextIOWrapper):
        # An encoding without a µ is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    if plain:
        return Console(no_color=True, highlight=False, soft_wrap=True, force_terminal=False)
    return Console(highlight=False)
