"""The tasks of a node as a tree: those of its ports, and of the node itself, with the tasks in their nurseries.

A task is named by its code and never by the name that Trio has for it, in which the ID of its port stands.
"""

from __future__ import annotations

from collections import deque
from types import FrameType

import trio

from .._ports.lifecycle import Lifecycle
from .._ports.port import Port
from .._ports.port_state import PortState
from .ports import Numbers
from .slices import STRIDE, Slices
from .stacks import Place, stack_of
from .texts import is_ours, is_trios, name_of_code
from .views import TaskView

MOST = 1000
"""How many tasks an answer has, at most: with their stacks fewer than 8 MiB."""

DEEPEST = 30
"""How many tasks may be above one that is shown: a message nests to 100 levels."""

# Those that begin each task of the node: what they run is the task's function.
_WRAPPERS = frozenset({"Lifecycle._run_task", "Lifecycle._run_system_task"})


class Growing:
    """A task of the tree while the tree is made.

    Attributes:
      view: what is shown of it, without the tasks below it.
      places: its stack.
      children: the tasks below it.
      hidden: how many are left out.
    """

    def __init__(self, view: TaskView, places: list[Place]) -> None:
        self.view = view
        self.places = places
        self.children: list[Growing] = []
        self.hidden = 0


async def list_tasks(lifecycle: Lifecycle, numbers: Numbers, limit: int, slices: Slices) -> Growing:
    """The tasks of a node, so many at most. A checkpoint, if it takes longer than a slice."""
    root = Growing(TaskView(name=lifecycle.id), [])
    tops = await _tops(lifecycle, slices)
    waiting: deque[tuple[Growing, trio.lowlevel.Task, int]] = deque()
    for task in tops[:limit]:
        waiting.append((root, task, 1))
    root.hidden = len(tops) - len(waiting)
    left = limit
    while waiting:
        above, task, depth = waiting.popleft()
        # Others may have run since: a task that has ended is not shown.
        if task.coro.cr_frame is None:
            continue
        if not left:
            above.hidden += 1
            continue
        left -= 1
        grown = Growing(_view_of(task, numbers), stack_of(task))
        above.children.append(grown)
        below = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        if depth == DEEPEST:
            grown.hidden = len(below)
        else:
            # In the order of their names: a nursery keeps them in no order.
            below.sort(key=lambda child: child.name)
            waiting.extend((grown, child, depth + 1) for child in below[:MOST])
            grown.hidden = len(below) - len(below[:MOST])
        await slices.pause()
    return root


async def _tops(lifecycle: Lifecycle, slices: Slices) -> list[trio.lowlevel.Task]:
    """The tasks of the node itself, by their names, and then those of the ports, the oldest first."""
    nursery = lifecycle.nursery
    own = []
    for place, task in enumerate(nursery.child_tasks if nursery is not None else ()):
        if not _belongs_to_port(task):
            own.append(task)
        if place % STRIDE == 0:
            await slices.pause()
    own.sort(key=lambda task: task.name)
    for place, port in enumerate([*lifecycle.unwinding.values(), *lifecycle.ports.values()]):
        if isinstance(port._state, PortState):
            own += port._state.scopes.values()
        if place % STRIDE == 0:
            await slices.pause()
    return own


def _view_of(task: trio.lowlevel.Task, numbers: Numbers) -> TaskView:
    frames = [(frame, line) for frame, line in task.iter_await_frames()]
    shown = [frame for frame, _ in frames if frame.f_code.co_qualname not in _WRAPPERS or not is_ours(frame.f_code)]
    port = _port_of(task)
    # The first function of the program, or of the package where there is none.
    program = [frame for frame in shown if not is_ours(frame.f_code) and not is_trios(frame.f_code)]
    name = name_of_code(program[0] if program else shown[0]) if shown else ""
    where, line, waits_for = "", 0, ""
    inner = program[-1] if program else None
    for place, (frame, at) in enumerate(frames):
        if frame is inner:
            where, line = name_of_code(frame), at
            waits_for = name_of_code(frames[place + 1][0]) if place + 1 < len(frames) else ""
    if inner is None and frames:
        waits_for = name_of_code(frames[-1][0])
    number = numbers.of(port) if port is not None else None
    return TaskView(name=name, port=number, where=where, line=line, waits_for=waits_for)


def _belongs_to_port(task: trio.lowlevel.Task) -> bool:
    frame = _outermost(task)
    return frame is not None and frame.f_code.co_qualname == "Lifecycle._run_task"


def _outermost(task: trio.lowlevel.Task) -> FrameType | None:
    """The frame in which a task has begun, if that is of this package, and the task has not ended."""
    frame: FrameType | None = task.coro.cr_frame
    return frame if frame is not None and is_ours(frame.f_code) else None


def _port_of(task: trio.lowlevel.Task) -> Port | None:
    """The port that a task belongs to."""
    frame = _outermost(task)
    found = frame.f_locals.get("port") if frame is not None and _belongs_to_port(task) else None
    return found if isinstance(found, Port) else None
