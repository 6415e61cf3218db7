"""A network as a picture: which nodes there are, and which are connected; drawn as a tree, for Graphviz, for Mermaid.

No input or output: what was found out comes in, text goes out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..harmless import harmless
from .drawing import Branch, Column, Line, Tone, draw_tree, duration_text, line, size_text

MOST = 6
"""How many nodes are named in a line of several connections, unless all are asked for."""

COLUMNS = (
    Column("node"),
    Column("kind", rank=4),
    Column("connection", rank=2),
    Column("queued", right=True, rank=1),
    Column("since", right=True, rank=5),
    Column("remark", rank=3),
)


@dataclass(frozen=True)
class SeenNode:
    """A node, as far as it or others say what it is.

    Attributes:
      node_id: its ID.
      is_global: whether it is a global node; None if nobody says so.
      anchor: the global node that it is attached to, if that is known.
      remark: why it says nothing itself; empty if it does.
    """

    node_id: str
    is_global: bool | None = None
    anchor: str | None = None
    remark: str = ""


@dataclass(frozen=True)
class SeenConnection:
    """A connection in use between two nodes, as one of them or both describe it.

    Attributes:
      first, second: the IDs of the two; `first` is the lesser.
      transport: how its bytes travel: `tcp`, `unix` …; empty if it is not known.
      encryption: what encrypts them; empty for nothing.
      queued: the bytes that wait in the two nodes, by the ID of the node in which they wait.
      age: for how long there has been this connection, in seconds, if that is known.
    """

    first: str
    second: str
    transport: str
    encryption: str
    queued: dict[str, int] = field(default_factory=dict)
    age: float | None = None

    def other(self, node_id: str) -> str:
        """The other one of the two nodes."""
        return self.second if node_id == self.first else self.first


@dataclass(frozen=True)
class SeenNetwork:
    """All that was found out of a network.

    Attributes:
      nodes: the nodes, by their IDs.
      connections: the connections, by the IDs of the two nodes, the lesser first.
    """

    nodes: dict[str, SeenNode]
    connections: dict[tuple[str, str], SeenConnection]

    def parents(self) -> dict[str, str | None]:
        """Below which global node each node is drawn: its anchor, or else one that it is connected with; or None."""
        found: dict[str, str | None] = {}
        for node_id, node in self.nodes.items():
            found[node_id] = node.anchor if not node.is_global and node.anchor in self.nodes else None
        for first, second in sorted(self.connections, reverse=True):
            for guest, other in ((first, second), (second, first)):
                node = self.nodes[guest]
                if not node.is_global and node.anchor not in self.nodes and self.nodes[other].is_global:
                    found[guest] = other
        return found


def draw_network(network: SeenNetwork, width: int, *, whole: bool = False) -> list[Line]:
    """Draw a network as a tree: the global nodes, and below each one its guests and its other connections.

    Args:
      network: what there is.
      width: how many characters a line may have.
      whole: whether each connection has a line of its own. Otherwise those of one node that are alike, and in which
        nothing waits, share a line.
    """
    branches = {node_id: Branch(_node_cells(node)) for node_id, node in sorted(network.nodes.items())}
    parents = network.parents()
    others: dict[str, list[SeenConnection]] = {node_id: [] for node_id in branches}
    for (first, second), connection in sorted(network.connections.items()):
        if parents[second] == first or parents[first] == second:
            child = second if parents[second] == first else first
            cells = branches[child].cells
            branches[child].cells = [*cells[:2], *_connection_cells(connection, child), *cells[5:]]
        else:
            others[first].append(connection)
    roots: list[Branch] = []
    for node_id, branch in branches.items():
        parent = parents[node_id]
        (roots if parent is None else branches[parent].branches).append(branch)
    # What is connected beside the tree comes behind the guests, each connection once.
    for node_id, connections in others.items():
        alike: dict[object, list[SeenConnection]] = {}
        for each in connections:
            is_idle = not whole and each.queued and not any(each.queued.values())
            alike.setdefault(_described(each) if is_idle else id(each), []).append(each)
        branches[node_id].branches += [_connected(node_id, group) for group in alike.values()]
    # Those that nobody knows the place of come last.
    roots.sort(key=lambda root: not network.nodes[root.cells[0][0].text].is_global)
    return draw_tree(COLUMNS, roots, width)


def _connected(node_id: str, connections: list[SeenConnection]) -> Branch:
    """The line of one connection of a node, or of several that are alike."""
    others = [each.other(node_id) for each in connections]
    named = ", ".join(others[:MOST]) + (f" … and {len(others) - MOST} more" if len(others) > MOST else "")
    youngest = min(connections, key=lambda each: each.age if each.age is not None else math.inf)
    return Branch([line("↔ ", Tone.DIM) + line(named), (), *_connection_cells(youngest, node_id)])


def _node_cells(node: SeenNode) -> list[Line]:
    tone = Tone.STRONG if node.is_global else Tone.DIM if node.remark else Tone.PLAIN
    return [line(node.node_id, tone), line(_kind(node), Tone.DIM), (), (), (), line(node.remark, Tone.DOUBTFUL)]


def _kind(node: SeenNode) -> str:
    return "?" if node.is_global is None else "global" if node.is_global else "guest"


def _connection_cells(connection: SeenConnection, node_id: str) -> list[Line]:
    return [
        line(_described(connection)),
        _queued_line(connection, node_id),
        line(duration_text(connection.age) if connection.age is not None else ""),
    ]


def _described(connection: SeenConnection) -> str:
    how = connection.encryption or "not encrypted"
    return f"{connection.transport}, {how}" if connection.transport else how


def _queued_line(connection: SeenConnection, node_id: str) -> Line:
    """What waits for this connection, in both nodes; the node that is drawn here is the one on the left."""
    here, there = connection.queued.get(node_id, 0), connection.queued.get(connection.other(node_id), 0)
    if not here and not there:
        return line("0 B" if connection.queued else "?", Tone.DIM)
    parts = [f"{size_text(here)} →"] * (here > 0) + [f"← {size_text(there)}"] * (there > 0)
    return line(" ".join(parts), Tone.DOUBTFUL)


def _label(connection: SeenConnection) -> str:
    queued = sum(connection.queued.values())
    return _described(connection) + (f", {size_text(queued)} queued" if queued else "")


def draw_dot(network: SeenNetwork) -> list[str]:
    """Draw a network for Graphviz: the lines of a file for `dot`."""
    lines = [
        "graph network {",
        '  node [shape=box, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for node_id, node in sorted(network.nodes.items()):
        style = "bold" if node.is_global else "dashed" if node.remark else "solid"
        text = "\n".join(filter(None, [node_id, _kind(node), node.remark]))
        lines.append(f"  {_dot_text(node_id)} [label={_dot_text(text)}, style={style}];")
    parents = network.parents()
    for (first, second), connection in sorted(network.connections.items()):
        bold = parents[first] == second or parents[second] == first
        style = ", style=bold" if bold else ""
        lines.append(f"  {_dot_text(first)} -- {_dot_text(second)} [label={_dot_text(_label(connection))}{style}];")
    return [*lines, "}"]


def _dot_text(text: str) -> str:
    # In Graphviz a backslash begins an escape sequence, such as `\N` for the name of the node.
    quoted = (harmless(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(quoted) + '"'


def draw_mermaid(network: SeenNetwork) -> list[str]:
    """Draw a network for Mermaid: the lines of a diagram, as Markdown of GitHub or GitLab takes it."""
    # What other nodes choose is in labels alone: the names of the diagram are our own.
    names = {node_id: f"n{number}" for number, node_id in enumerate(sorted(network.nodes))}
    lines = ["graph LR"]
    for node_id, name in names.items():
        node = network.nodes[node_id]
        texts = [node_id, _kind(node), *filter(None, [node.remark])]
        group = "global" if node.is_global else "silent" if node.remark else "guest"
        lines.append(f'  {name}["{"<br>".join(map(_mermaid_text, texts))}"]:::{group}')
    parents = network.parents()
    for (first, second), connection in sorted(network.connections.items()):
        bold = parents[first] == second or parents[second] == first
        arrow = "===" if bold else "---"
        lines.append(f'  {names[first]} {arrow}|"{_mermaid_text(_label(connection))}"| {names[second]}')
    return [
        *lines,
        "  classDef global stroke-width:3px",
        "  classDef guest stroke-width:1px",
        "  classDef silent stroke-dasharray:4",
    ]


def _mermaid_text(text: str) -> str:
    # A numbered entity stands for any character; of the rest, nothing in quotes means anything to Mermaid or to HTML.
    return "".join(
        character if character.isalnum() or character in " .,:/_-–…" else f"#{ord(character)};"
        for character in harmless(text)
    )


def join_networks(nodes: Iterable[SeenNode], connections: Iterable[SeenConnection]) -> SeenNetwork:
    """Put together what several nodes say: each connection once, and the nodes that only others name as well."""
    known = {node.node_id: node for node in nodes}
    joined: dict[tuple[str, str], SeenConnection] = {}
    for each in connections:
        for node_id in (each.first, each.second):
            known.setdefault(node_id, SeenNode(node_id, remark="only its peers name it"))
        before = joined.get((each.first, each.second))
        if before is None:
            joined[each.first, each.second] = each
            continue
        ages = [age for age in (before.age, each.age) if age is not None]
        joined[each.first, each.second] = SeenConnection(
            each.first,
            each.second,
            before.transport or each.transport,
            before.encryption or each.encryption,
            {**before.queued, **each.queued},
            min(ages, default=None),
        )
    return SeenNetwork(known, joined)
