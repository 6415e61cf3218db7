"""Stacks of tasks, as text. Source is read in a thread: it may be on a slow disk."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import trio

from .texts import LONGEST

_FRAMES = 50
"""How many frames of one task are shown, at most: the innermost."""

Place = tuple[str, int, str]
"""A place in a program: the file, the line and the function."""


def stack_of(task: trio.lowlevel.Task) -> list[Place]:
    """Where a task is, the most recent call last. It reads no file."""
    places = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in task.iter_await_frames()]
    return places[-_FRAMES:]


def write_stack(places: list[Place]) -> str:
    """A stack as a traceback shows it. This reads the source."""
    frames = [traceback.FrameSummary(file, line, name) for file, line, name in places]
    return "".join(traceback.StackSummary.from_list(frames).format()).rstrip()


def family_of(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """A task, and those in its nurseries, each behind the one that it belongs to."""
    waiting = [task]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [child for nursery in reversed(one.child_nurseries) for child in nursery.child_tasks]


def title_of(task: trio.lowlevel.Task) -> str:
    """The name that Trio has for a task: it may hold the ID of a port."""
    return f"task {task.name[: 2 * LONGEST]}, most recent call last:"
