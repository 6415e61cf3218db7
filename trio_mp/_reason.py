"""Why a port died: tuples of plain values, because they travel.

`()` is a normal death. Any other reason begins with an identifier, which mostly a text for people follows. This module
makes all reasons of the package; programs pass their own to `kill`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from itertools import islice
from types import CodeType, FrameType
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Reason: TypeAlias = tuple[object, ...]
"""Why a port died: `()` for a normal death, else an identifier and, by custom, a text."""

NORMAL: Reason = ()

SHUTDOWN = "shutdown"

OTHER = "other"
"""The identifier under which reasons are counted that have none."""

_LONGEST_TEXT = 4000
_LONGEST_NAME = 100
_LONGEST_IDENTIFIER = 64

_BELOW_PROGRAMS = sys.stdlib_module_names | {"trio", "outcome"}
"""The packages below programs. An exception that was raised in them may still be the program's mistake."""


def listed(things: Collection[T], most: int, say: Callable[[T], str] = str) -> str:
    """Name the first of several things in one line, so many at most, and say how many more there are."""
    shown, more = [say(thing) for thing in islice(things, most)], len(things) - most
    return "; ".join([*shown, f"and {more} more"] if more > 0 else shown)


def is_normal(reason: Reason) -> bool:
    """Whether a death for this reason leaves linked ports alone."""
    return not reason


def identifier_of(reason: Reason) -> str:
    """The word under which deaths of this reason are counted: its first element, `normal` for a normal death.

    Programs make reasons of their own. One that begins with something else than a text is counted as `other`, and a
    text counts by its first 64 characters.
    """
    if not reason:
        return "normal"
    first = reason[0]
    return first[:_LONGEST_IDENTIFIER] if isinstance(first, str) else OTHER


def exception_reason(error: BaseException) -> Reason:
    """The reason of a port that an exception of a handler or a task has killed.

    Such as `("die", "ValueError: the text (worker.py:12, in take)")`: the brackets hold the place in the program where
    the exception was raised, as far as that is known.
    """
    message = text_of(error)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text += _place_of(error)
    return ("die", _printable(text))


def text_of(error: BaseException) -> str:
    """What an exception says, as a text that can travel and is not longer than 4000 characters and a sign for more."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the program's own __str__ may do anything
        message = "(its text cannot be had)"
    if len(message) > _LONGEST_TEXT:
        message = message[:_LONGEST_TEXT] + "…"
    return _printable(message)


def type_name_of(error: BaseException) -> str:
    """The name of an exception's type, with its module if that is not `builtins`."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return _printable(name)


def _printable(text: str) -> str:
    # It travels, so lone surrogates, which an exception's text may hold, are written as escapes.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _place_of(error: BaseException) -> str:
    """Where an exception was raised: the innermost frame of the program's own code.

    The file is named without its directory, because reasons travel, and where a program is installed is not for other
    nodes to know. The text is empty if only code of this package was running.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        # A nursery puts the exception of one of its tasks into a group.
        error = error.exceptions[0]
    closest, found = 0, None
    trace = error.__traceback__
    while trace is not None:
        closeness = _closeness(trace.tb_frame)
        if closeness and closeness >= closest:
            closest, found = closeness, trace
        trace = trace.tb_next
    return "" if found is None else f" ({_place_in(found.tb_frame.f_code, found.tb_lineno)})"


def place_of_frame(frame: FrameType | None) -> str:
    """Where a thread is that runs this frame: the innermost one of the program's own code, as `app.py:40, in take`.

    It looks no further out than Trio's loop, because outside of that is only what has started it. Where only this
    package, Trio and Python run, it is the innermost frame of all; empty if there is none.
    """
    found, closest = frame, 1
    while frame is not None and not is_loop(frame):
        closeness = _closeness(frame)
        if closeness > closest:
            closest, found = closeness, frame
        frame = frame.f_back
    return "" if found is None else _printable(_place_in(found.f_code, found.f_lineno))


def is_loop(frame: FrameType) -> bool:
    """Whether a frame is the one in which Trio runs all tasks."""
    return frame.f_code.co_name == "unrolled_run" and frame.f_globals.get("__name__") == "trio._core._run"


def _place_in(code: CodeType, line: int) -> str:
    file = re.split(r"[/\\]", code.co_filename)[-1]
    function = code.co_qualname.rpartition("<locals>.")[2]
    return f"{file:.{_LONGEST_NAME}}:{line}, in {function:.{_LONGEST_NAME}}"


def _closeness(frame: FrameType) -> int:
    """How likely a frame belongs to the program: 0 for this package, 1 for Python and Trio, 2 for installed packages.

    All other frames get 3. A program that is installed itself gets 2, which is still more than Python and Trio get.
    """
    module = frame.f_globals.get("__name__")
    package = module.partition(".")[0] if isinstance(module, str) else ""
    if package == __name__.partition(".")[0]:
        return 0
    if package in _BELOW_PROGRAMS:
        return 1
    file = frame.f_code.co_filename
    return 2 if "site-packages" in file or "dist-packages" in file else 3


def transport_error(node_id: str, text: str) -> Reason:
    """The reason that monitors get when messages to a node may have been lost."""
    return ("transport_error", node_id, text)


def no_such_port(port: str) -> Reason:
    """The reason that monitors of a port get when there is no port of that ID."""
    return ("no_such_port", f"there is no port {port}")


def not_running(port: str) -> Reason:
    """The reason that monitors of a supervised child get between two of its lives, the last of which had that port."""
    return ("not_running", f"no life of the child runs; {port} was the last one")


def shutdown(text: str = "its supervisor has stopped it") -> Reason:
    """The reason of a port that its supervisor has stopped: a death as ordered, though not a normal one for links.

    Also of a process of `Supervisor.run_process` that has ended with the status 75, to be started again.
    """
    return (SHUTDOWN, text)


def is_expected(reason: Reason) -> bool:
    """Whether a death is no failure: a normal one, or one that was ordered with the identifier `shutdown`."""
    return not reason or reason[0] == SHUTDOWN


def unhandled_message(tag: str) -> Reason:
    """The reason of a port that got a message for which it has neither a handler nor a mailbox."""
    return ("unhandled_message", f"no handler matches a message that begins with {tag}")


def bad_message(text: str) -> Reason:
    """The reason of a loss, in `Lost`: a port has refused messages, and lives; the text says why."""
    return ("bad_message", text)


def mailbox_full(text: str) -> Reason:
    """The reason of a port in which too many messages waited, in its mailbox or for its async handler.

    They were more than `mailbox_limit`, or those of other nodes took more memory than `mailbox_size_limit`.
    """
    return ("mailbox_full", text)


def too_many_monitors(limit: int) -> Reason:
    """The reason that a monitor gets if it cannot be set, because its node has too many here. The port may live."""
    return ("too_many_monitors", f"a node may monitor {limit} ports here")


def spawn_failed(text: str) -> Reason:
    """The reason of a port that could not be spawned."""
    return ("spawn_failed", text)


def start_cancelled() -> Reason:
    """The reason of a port whose starter stopped waiting before it had started."""
    return ("start_cancelled", "whoever started it stopped waiting before it had started")


def stream_failed(text: str) -> Reason:
    """The reason of a port whose function was to get a byte stream, when no connection for that could be made."""
    return ("stream_failed", text)


def channel_broken(text: str) -> Reason:
    """The reason of a port through which a channel went that was broken off; the text says by whom."""
    return ("channel_broken", text)


def node_closed(node_id: str) -> Reason:
    """The reason of all ports of a node whose block was left without an exception.

    Where closing takes too long, monitors on other nodes get a `transport_error` instead. Programs should treat both
    alike.
    """
    return ("node_closed", node_id)


def node_failed(error: BaseException | None) -> Reason:
    """The reason of all ports of a node whose block was left by an exception.

    After a `KeyboardInterrupt`, a `SystemExit` or a cancellation the node ends without closing, and monitors on other
    nodes get a `transport_error` instead.
    """
    return ("node_failed", exception_reason(error)[1] if error is not None else "cancelled")


def process_ended(text: str) -> Reason:
    """The reason of a process of `Supervisor.run_process` that has not ended well; the text says which, and how."""
    return ("process_ended", text)


def reason_lost(error: Exception) -> Reason:
    """The reason that monitors get in place of one that cannot travel to their node."""
    return ("reason_lost", f"the reason could not travel: {error}")


def is_doubtful(reason: Reason, node_id: str) -> bool:
    """Whether a monitor of a port of that node, another one, leaves open for this reason whether the port is dead.

    A port may also die for such a reason, but then the node in it is mostly another one; and asking again tells.
    """
    return bool(reason) and (reason[:2] == ("transport_error", node_id) or reason[0] == "too_many_monitors")


def describe(reason: Reason) -> str:
    """A reason as a text for people."""
    if not reason:
        return "it ended normally"
    return ": ".join(str(part) for part in reason)
