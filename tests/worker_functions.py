"""Functions that workers run in tests, in a module that workers import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import trio

from trio_mp import current_node, spawnable

NOT_A_FUNCTION = 5


class OwnError(Exception):
    """An exception of a module that workers import."""


class OddError(Exception):
    """One that cannot be made again from its `args`."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@spawnable
def double(number: int) -> int:
    return 2 * number


@spawnable
def echo(*arguments: object) -> object:
    return list(arguments)


@spawnable
async def echo_async(*arguments: object) -> object:
    await trio.lowlevel.checkpoint()
    return list(arguments)


@spawnable
def empty() -> None:
    pass


@spawnable
async def empty_async() -> None:
    pass


@spawnable
async def wait(seconds: float, value: object = None) -> object:
    await trio.sleep(seconds)
    return value


@spawnable
async def wait_for_ever() -> None:
    await trio.sleep_forever()


@spawnable
async def say_when_cancelled(path: str) -> None:
    Path(path).with_suffix(".begun").touch()
    try:
        await trio.sleep_forever()
    finally:
        Path(path).touch()


@spawnable
async def shield(seconds: float) -> str:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    return "all the same"


@spawnable
def raise_one(kind: str) -> None:
    """Raise an exception that is written as Python."""
    error = eval(kind, {**globals(), "trio": trio})
    raise error


@spawnable
async def raise_async(kind: str) -> None:
    await trio.lowlevel.checkpoint()
    raise_one(kind)


@spawnable
async def raise_in_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_async, "ValueError('in a task')")


@spawnable
def thread_and_process() -> tuple[bool, int]:
    return threading.current_thread() is threading.main_thread(), os.getpid()


@spawnable
async def asks_for_its_node() -> str:
    return current_node().id


@spawnable
def return_a_set() -> object:
    return {1, 2}


@spawnable
def return_bytes(size: int) -> bytes:
    return bytes(size)


@spawnable
def sleep(seconds: float, value: object = None) -> object:
    """Block a thread, as computing does, without using a core."""
    time.sleep(seconds)
    return value


@spawnable
def compute(seconds: float) -> int:
    """Hold the interpreter lock as a computation does."""
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        count += 1
    return count


@spawnable
def touch(path: str) -> None:
    Path(path).touch()


@spawnable
def append(path: str, line: str) -> None:
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - one write
        file.write(f"{line}\n")


@spawnable
def append_and_sleep(path: str, line: str, seconds: float) -> str:
    append(path, line)
    time.sleep(seconds)
    return line


@spawnable
def sleep_unless_there(path: str, seconds: float) -> str:
    """Sleep the first time, return at once the second time."""
    if Path(path).exists():
        return "again"
    Path(path).touch()
    time.sleep(seconds)
    return "first"


@spawnable
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def async_behind_a_front(function: object) -> object:
    return function


@spawnable
def returns_a_coroutine() -> object:
    return wait(0)


def is_not_spawnable() -> None:
    raise AssertionError("it was called all the same")


@spawnable
async def fail_or_wait(kind: str) -> None:
    """Raise a ValueError at once, and wait for ever for any other."""
    if "ValueError" in kind:
        await raise_async(kind)
    await trio.sleep_forever()


@spawnable
async def wait_unless_there(path: str, seconds: float) -> str:
    """Wait the first time, return at once the second time."""
    if Path(path).exists():
        return "again"
    Path(path).touch()
    await trio.sleep(seconds)
    return "first"


@spawnable
def note(path: str, number: int, seconds: float, data: bytes) -> list[object]:
    """Write down that this has run."""
    append(path, str(number))
    time.sleep(seconds)
    return [number, data]


@spawnable
async def note_async(path: str, number: int, seconds: float, data: bytes) -> list[object]:
    append(path, str(number))
    await trio.sleep(seconds)
    return [number, data]
