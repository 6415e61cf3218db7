"""`trio-mp ps`: the tasks of a node, its supervisors, and their children."""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ... import ChildView, SupervisorView, TaskView
from ..exits import OK
from ..harmless import harmless_lines
from ..joining import Tool, run_tool
from .asking import find
from .drawing import Branch, Column, Line, Tone, draw_table, draw_tree, line
from .screen import show

MOST = 1000
"""How many tasks a node is asked for, at most."""

TREE = (
    Column("name"),
    Column("port", right=True, rank=4),
    Column("state", rank=1),
    Column("restarts", right=True, rank=2),
    Column("at", rank=5),
    Column("waits for", rank=6, least=20),
    Column("remark", rank=3, least=28),
)

TASKS = (
    Column("port", right=True),
    Column("task"),
    Column("at", rank=1),
    Column("waits for", rank=2),
    Column("child of", rank=3),
)

_STATES = {"up": Tone.GOOD, "running": Tone.GOOD, "down": Tone.BAD}


def ps(arguments: argparse.Namespace) -> int:
    """Run `ps`."""
    return run_tool(arguments, _ps)


async def _ps(tool: Tool) -> int:
    arguments = tool.arguments
    inspector = await find(tool, arguments.node)
    supervisors = await inspector.supervisors()
    root = await inspector.tasks(stacks=arguments.stacks, limit=MOST)
    if tool.out.json:
        for row in rows_of(supervisors, root):
            tool.out.row(row)
        return OK
    if arguments.tree:
        show(tool.out, lambda width: draw_processes(supervisors, root, width, whole=arguments.all))
    else:
        show(tool.out, lambda width: draw_tasks(supervisors, root, width, whole=arguments.all))
    if arguments.stacks:
        show(tool.out, lambda _: draw_stacks(root, whole=arguments.all))
    own = 0 if arguments.all else sum(1 for _ in walk(root)) - sum(1 for _ in walk(_program_only(root)))
    if own:
        tool.out.say(f"{own} tasks of the node itself are not shown: --all")
    return OK


def walk(root: TaskView) -> Iterator[TaskView]:
    """All tasks of a tree, each before those below it."""
    waiting = [root]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += reversed(task.children)


def _is_of_program(task: TaskView) -> bool:
    return task.port is not None or bool(task.where)


def _program_only(root: TaskView) -> TaskView:
    """The tree without the tasks of the node itself, and without those that have nothing of the program below them."""
    # The nodes of the tree from the leaves up: another node decides how deep it is.
    kept: dict[int, TaskView] = {}
    for task in reversed(list(walk(root))):
        if _is_of_program(task):
            kept[id(task)] = task
            continue
        children = [kept[id(child)] for child in task.children if id(child) in kept]
        if children or task is root:
            kept[id(task)] = dataclasses.replace(task, children=children)
    return kept[id(root)]


def place_of(task: TaskView) -> str:
    """Where in the program a task is."""
    if not task.line:
        return ""
    return f"line {task.line}" if task.where == task.name else f"{task.where}, line {task.line}"


def public_name(name: str) -> str:
    """The name of a function, as `module:name`, without the parts of the module that are private."""
    module, _, function = name.partition(":")
    if not function:
        return name or "–"
    return (
        ".".join(part for part in module.split(".") if not part.startswith("_") or part == "__main__") + f":{function}"
    )


def _waits_for(task: TaskView) -> str:
    # The innermost function of Trio: it says nothing.
    return public_name(task.waits_for) if task.waits_for and task.where else ""


# As a tree ---------------------------------------------------------------------------------------------------------


def draw_processes(
    supervisors: Sequence[SupervisorView], root: TaskView, width: int, *, whole: bool = False
) -> list[Line]:
    """Draw a node as a tree: its supervisors with their children, and the tasks of each; then all other tasks.

    Args:
      supervisors: of the node.
      root: its tasks.
      width: how many characters a line may have.
      whole: whether the tasks of the node itself are shown as well.
    """
    shown = root if whole else _program_only(root)
    tasks: dict[int, list[TaskView]] = defaultdict(list)
    for task in walk(shown):
        if task.port is not None:
            tasks[task.port].append(task)
    supervised: set[int] = set()
    branches: list[Branch] = []
    for view in supervisors:
        branch = Branch(_supervisor_cells(view))
        for child in view.children:
            own = tasks.get(child.port, []) if child.port is not None else []
            supervised.update(map(id, own))
            branch.branches.append(_child_branch(child, own))
        if view.hidden:
            branch.branches.append(_left_out(view.hidden))
        branches.append(branch)
    tree = _task_branch(shown, supervised, [line(shown.name, Tone.STRONG)])
    # A supervisor stands below the one around it, which was opened before it.
    roots: list[Branch] = []
    for number, view in enumerate(supervisors):
        parent = view.parent
        above = branches[parent].branches if parent is not None and 0 <= parent < number else roots
        above.append(branches[number])
    tree.branches = [*roots, *tree.branches]
    return draw_tree(TREE, [tree], width)


def _supervisor_cells(view: SupervisorView) -> list[Line]:
    return [
        line("supervisor ", Tone.DIM) + line(view.name or "(without a name)", Tone.STRONG),
        line(str(view.port) if view.port is not None else ""),
        line(view.state, _STATES.get(view.state, Tone.DOUBTFUL)),
        _restarts(view.restarts),
        (),
        (),
        line(f"{view.strategy}, at most {view.limit} in {view.within:g} s", Tone.DIM),
    ]


def _restarts(number: int) -> Line:
    return line(f"{number:,}" if number else "", Tone.DOUBTFUL)


def _child_branch(child: ChildView, tasks: Sequence[TaskView]) -> Branch:
    """The branch of a child, with its first task in the same line, and its others below."""
    first = tasks[0] if tasks else None
    where = place_of(first) if first is not None else ""
    if child.kind != "local":
        where = f"{child.kind} on {child.node}" if child.kind == "remote" and child.node else child.kind
    cells = [
        line(child.name, Tone.NAME),
        line(str(child.port) if child.port is not None else ""),
        line(child.state, _STATES.get(child.state, Tone.DOUBTFUL)),
        _restarts(child.restarts),
        line(where),
        line(_waits_for(first) if first is not None else ""),
        # A supervisor stops children all the time, to start them again.
        line(child.reason, Tone.DIM if child.reason.startswith("shutdown") else Tone.BAD),
    ]
    branch = _task_branch(first, set(), cells) if first is not None else Branch(cells)
    for task in tasks[1:]:
        name, _, *others = _task_cells(task)
        branch.branches.append(_task_branch(task, set(), [name, (), *others]))
    return branch


def _task_cells(task: TaskView) -> list[Line]:
    return [
        line(public_name(task.name), Tone.NAME if task.where else Tone.DIM),
        line(str(task.port) if task.port is not None else ""),
        (),
        (),
        line(place_of(task)),
        line(_waits_for(task)),
    ]


def _task_branch(task: TaskView, without: set[int], cells: list[Line]) -> Branch:
    """The branch of a task, without some of those below it."""
    root = Branch(cells)
    waiting = [(task, root)]
    while waiting:
        above, branch = waiting.pop()
        for child in above.children:
            if id(child) not in without:
                below = Branch(_task_cells(child))
                branch.branches.append(below)
                waiting.append((child, below))
        if above.hidden:
            branch.branches.append(_left_out(above.hidden))
    return root


def _left_out(number: int) -> Branch:
    return Branch([line(f"… and {number:,} more", Tone.DIM)])


# As a list ---------------------------------------------------------------------------------------------------------


def draw_tasks(supervisors: Sequence[SupervisorView], root: TaskView, width: int, *, whole: bool = False) -> list[Line]:
    """Draw the tasks of a node as a table, and the children of its supervisors that have none here.

    Args:
      supervisors, root, width, whole: as for `draw_processes`.
    """
    parents = {
        child.port: f"{view.name or 'a supervisor'}: {child.name}"
        for view in supervisors
        for child in view.children
        if child.port is not None
    }
    rows: list[list[Line]] = []
    ports: set[int | None] = set()
    for task in walk(root if whole else _program_only(root)):
        if task is not root and (whole or _is_of_program(task)):
            name, port, _, _, place, waits = _task_cells(task)
            rows.append([port, name, place, waits, line(parents.get(task.port, "") if task.port is not None else "")])
            ports.add(task.port)
    for view in supervisors:
        for child in view.children:
            if child.port is None or child.port not in ports:
                where = f"{child.kind}{f' on {child.node}' if child.kind == 'remote' and child.node else ''}"
                state = line(f"{child.state}, ", _STATES.get(child.state, Tone.DOUBTFUL)) + line(where)
                name = line(child.name, Tone.NAME)
                rows.append([(), name, state, line(child.reason, Tone.BAD), line(view.name or "a supervisor")])
    return draw_table(TASKS, rows, width)


def draw_stacks(root: TaskView, *, whole: bool = False) -> list[Line]:
    """Draw where the tasks are, as tracebacks show it: of those of the program, or of all.

    Args:
      root: the tasks.
      whole: whether the tasks of the node itself are shown as well.
    """
    lines: list[Line] = []
    for task in walk(root):
        if task.stack and (whole or _is_of_program(task)):
            port = f"port {task.port}  " if task.port is not None else ""
            lines += [(), line(port, Tone.DIM) + line(public_name(task.name), Tone.NAME)]
            lines += [line(each) for each in harmless_lines(task.stack)]
    return lines


def rows_of(supervisors: Sequence[SupervisorView], root: TaskView) -> Iterator[dict[str, object]]:
    """Supervisors, children and tasks as rows for scripts. A child names its supervisor, a task the one above it."""
    for number, view in enumerate(supervisors):
        fields = {name: value for name, value in dataclasses.asdict(view).items() if name != "children"}
        yield {"what": "supervisor", "number": number, **fields}
        for child in view.children:
            yield {"what": "child", "supervisor": number, **dataclasses.asdict(child)}
    above: dict[int, int] = {}
    for number, task in enumerate(walk(root)):
        above.update((id(child), number) for child in task.children)
        fields = {
            field.name: getattr(task, field.name) for field in dataclasses.fields(task) if field.name != "children"
        }
        yield {"what": "task", "number": number, "above": above.get(id(task)), **fields}
