"""Processes with nodes beside this one: how they are launched, watched, stopped and killed.

A process gets an invitation (`process_invitation.py`), opens its node by `open_child_node`, and says that it is ready.
From then on the operating system and a monitor of its port tell of its end. Only the operating system knows that
nothing of the process runs any more. The monitor also fires when the process closes its node, was stopped, or computes
without an end. The process then has the node's `shutdown_timeout` to end, and is killed after that. So a program that
starts a new process when it is told of the end of the old one never has two at the same time.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import trio

from .._events import fields
from .._ids import node_of
from .._ports.port import Port, new_port
from .._protocol.drain import Unfinished
from .._reason import NORMAL, Reason, describe, identifier_of, process_ended, shutdown
from .._runtime import Runtime
from .._transport.addresses import (
    UNIX_PATH_LIMIT,
    DirectorySeed,
    ServiceSeed,
    TCPAddress,
    UnixAddress,
    parse_seed,
)
from .process_invitation import Invitation, ParentPipe

StrPath: TypeAlias = str | os.PathLike[str]

READY = "ready"
"""The tag of the message by which a process tells its parent's port its own port and a reply port."""

DRAINED = "drained"
"""The tag of the message by which a process tells its parent's port what was unfinished when it had drained."""

MOST_TOLD, LONGEST_TOLD = 100, 250
"""Of how many ports such a message says that, and how many characters of each text: so it stays small."""

RESTART_STATUS = 75
"""The exit status of a process that asks to be started again: EX_TEMPFAIL of sysexits.h, "try again later"."""

START_TIMEOUT = 60.0
"""How long a process may take to open its node by default, in seconds."""

log = logging.getLogger("trio_mp.supervisor")


class ChildProcess:
    """A process with a node of its own that this node has launched. Made by `launch`.

    Attributes:
      command: the command that was launched.
      pid: its process ID.
      port: the port that its program has named, or its node ID, which names its node port.
      node_id: its node ID.
      ready: set when its node is open.
      ended: set when nothing of the process runs any more.
      reason: why it has ended; None before. `()` if it has ended by itself, with status 0.
      unfinished: what was unfinished when it had drained; None as long as it has not said so.
      on_lost: called once, with the reason, if its port dies or its node is lost before it has ended.
      on_ended: called once, with the reason, when it has ended. Set `on_lost` and `on_ended` before the next checkpoint
        after `launch`.
    """

    def __init__(self, runtime: Runtime, command: Sequence[str], process: trio.Process, pipe: ParentPipe) -> None:
        self.command = tuple(command)
        self.pid = process.pid
        self.port = ""
        self.node_id = ""
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.reason: Reason | None = None
        self.unfinished: tuple[Unfinished, ...] | None = None
        self.on_lost: Callable[[Reason], object] | None = None
        self.on_ended: Callable[[Reason], object] | None = None
        self._runtime = runtime
        self._process = process
        self._pipe = pipe
        # Why this node has killed the process, or an empty text; the first cause counts.
        self._why_killed = ""
        # The deadline until which the process may run, and why it is killed then.
        self._patience = trio.CancelScope()
        self._verdict = ""
        self._progress = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "running" if self.reason is None else describe(self.reason)
        return f"<ChildProcess {self.pid}: {state}>"

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    def stop(self, limit: float | None, *, drains: bool = False) -> None:
        """Ask the process to leave, and kill it if it has not ended after a time. Not a checkpoint.

        This cancels the `open_child_node` block of its program; `ended` is set later. A process whose node is not open
        yet is killed at once, because it cannot hear.

        Args:
          limit: how long the process may take, in seconds; None for as long as it takes. If `stop` was called before,
            the shorter time counts.
          drains: whether its node drains before.
        """
        if not self.ready.is_set():
            self.kill("it was stopped before it was ready")
            return
        if drains:
            self._pipe.ask_to_drain()
        else:
            self._pipe.ask_to_stop()
        if limit is not None:
            self._give(limit, f"it was told to stop, and had not ended after {limit:g} s")

    def kill(self, why: str = "it was killed by this node") -> None:
        """Kill the process with SIGKILL, and all of its process group. Not a checkpoint; `ended` is set later.

        Args:
          why: for people; it becomes part of the reason.
        """
        # Only before the process is waited for: afterwards the kernel may give its number to another process.
        if self._process.returncode is not None:
            return
        self._why_killed = self._why_killed or why
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                # It is the leader of its group, so this reaches what runs behind a shell, or another launcher, too.
                os.killpg(self.pid, signal.SIGKILL)
        # A process that this one may not kill, such as another user's behind a launcher, still notices this.
        self._pipe.close()

    async def wait(self) -> Reason:
        """Wait until nothing of the process runs any more; return why it has ended. A checkpoint."""
        await self.ended.wait()
        assert self.reason is not None
        return self.reason

    async def wait_ready(self) -> None:
        """Wait until the process is ready, or has ended. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while not (self.ready.is_set() or self.ended.is_set()):
            await self._progress.park()

    def _give(self, seconds: float, why: str) -> None:
        """Have the process killed if it runs longer than so many seconds, unless an earlier deadline is set."""
        deadline = trio.current_time() + seconds
        if deadline < self._patience.deadline:
            self._patience.deadline = deadline
            self._verdict = why

    async def run(self, port: Port) -> None:
        """Watch the process until it has ended; kill it if this task is cancelled before. Runs in the node's tasks.

        Args:
          port: the port that the process talks to; it dies with the process.
        """
        try:
            with self._patience:
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                if self._patience.cancelled_caught:
                    log.warning(
                        "process %d is killed: %s", self.pid, self._verdict, extra=fields("process", self._runtime.id)
                    )
                self.kill(self._verdict if self._patience.cancelled_caught else "the node of its parent has ended")
            with trio.CancelScope(shield=True):
                await self._process.wait()
            self._pipe.close()
            self._runtime.lifecycle.die(port, NORMAL)
            self._end()

    def _end(self) -> None:
        self.reason = self._judge(self._process.returncode or 0)
        log.debug(
            "process %d has ended: %s",
            self.pid,
            describe(self.reason),
            extra=fields("process", self._runtime.id, reason=identifier_of(self.reason)),
        )
        self.ended.set()
        self._progress.unpark_all()
        if self.on_ended is not None:
            self.on_ended(self.reason)

    def _judge(self, status: int) -> Reason:
        """Return why the process has ended, from its exit status."""
        if status == 0 and not self._why_killed:
            return NORMAL
        if status == RESTART_STATUS and not self._why_killed:
            return shutdown(f"process {self.pid}: exit status {status}, by which it asks to be started again")
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        because = f" ({self._why_killed})" if self._why_killed else ""
        return process_ended(f"{shlex.join(self.command)}, process {self.pid}: {how}{because}")

    # What it says --------------------------------------------------------------------------------------------------

    def said_ready(self, port: str, reply_to: str) -> None:
        """Note that the process has opened its node, and the port of that node that it names."""
        if self.ready.is_set():
            return
        self.port, self.node_id = port, node_of(port)
        # Before the answer, so that the process goes on only when this node watches it.
        self._runtime.monitor(port, self._is_lost, None)
        self._runtime.send(reply_to, (os.getpid(),))
        self.ready.set()
        self._progress.unpark_all()
        log.debug(
            "process %d is ready, as the node %s",
            self.pid,
            self.node_id,
            extra=fields("process", self._runtime.id, peer=self.node_id),
        )

    def said_drained(self, *unfinished: list[str]) -> None:
        """Note what was unfinished when the node of the process had drained: the port and the reason of each."""
        self.unfinished = tuple(Unfinished(port, reason) for port, reason in unfinished)

    def _is_lost(self, *reason: object) -> None:
        """Stop the process, whose port has died or whose connection is lost."""
        if self._process.returncode is None:
            timeout = self._runtime.settings.shutdown_timeout
            if self.on_lost is not None:
                self.on_lost(reason)
            self._pipe.ask_to_stop()
            self._give(timeout, f"{describe(reason)}; {timeout:g} s later it still ran")


async def launch(
    runtime: Runtime,
    command: Sequence[StrPath],
    *,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    start_timeout: float | None = START_TIMEOUT,
    epoch: int | None = None,
) -> ChildProcess:
    """Launch a process, and wait until it has opened its node by `open_child_node`. A checkpoint.

    Its standard output and error are this process's; its standard input is empty. It is the leader of a process group,
    so Ctrl-C in a terminal reaches this process alone. Cancelled, `launch` kills the process and waits until it is
    gone.

    Args:
      runtime: the node; the process lives no longer than it.
      command: program and arguments. The program is found as `subprocess` finds it.
      cwd: the directory that it runs in; that of this process by default.
      env: its environment; that of this process by default.
      start_timeout: how long it may take to open its node, in seconds; None for as long as it takes.
      epoch: which life of a supervised child it is.

    Raises:
      RuntimeError: the node has no network; or the process has ended before it was ready.
      trio.TooSlowError: the process was not ready in time, and was killed.
      OSError: the process could not be launched.
      TypeError, ValueError: `command` is not a command, or the invitation is too long.
      trio.ClosedResourceError: the node is closed or closing.
    """
    words = check_command(command)
    port = new_port(runtime.lifecycle, runtime.next_name())
    try:
        pipe = ParentPipe(_invite(runtime, port, epoch, moved=cwd is not None))
        try:
            child = ChildProcess(runtime, words, await _open_process(words, cwd, pipe.launch_options(env)), pipe)
        except BaseException:
            pipe.close()
            raise
        pipe.launched()
    except BaseException:
        runtime.lifecycle.die(port, NORMAL)
        raise
    port.on(READY)(child.said_ready)
    port.on(DRAINED)(child.said_drained)
    if runtime.lifecycle.nursery is None:
        # The node has ended while the process was launched, so no task of the node can watch it.
        child.kill()
        with trio.CancelScope(shield=True):
            await child.run(port)
        raise trio.ClosedResourceError(f"node {runtime.id} is closed")
    runtime.lifecycle.start_system_task(child.run, port)
    try:
        await _wait_ready(child, inf if start_timeout is None else start_timeout)
    except BaseException:
        child.kill("its start was given up")
        with trio.CancelScope(shield=True):
            await child.wait()
        raise
    return child


def drained_message(node_id: str, unfinished: Sequence[Unfinished]) -> tuple[object, ...]:
    """The message that tells the parent of this process what was unfinished when this node had drained."""
    told = list(unfinished[:MOST_TOLD])
    if len(unfinished) > len(told):
        told.append(Unfinished(node_id, f"{len(unfinished) - len(told)} more"))
    return DRAINED, *[[left.port[:LONGEST_TOLD], left.reason[:LONGEST_TOLD]] for left in told]


async def _wait_ready(child: ChildProcess, timeout: float) -> None:
    """Wait until a process is ready. Raises `RuntimeError` and `trio.TooSlowError` as `launch` does."""
    with trio.move_on_after(timeout):
        await child.wait_ready()
    if child.ended.is_set():
        how = describe(child.reason or NORMAL)
        raise RuntimeError(
            f"expected a process that opens its node by open_child_node(), got one that ended before that: {how}"
        )
    if not child.ready.is_set():
        child.kill(f"it had not opened its node after {timeout:g} s")
        raise trio.TooSlowError(describe(await child.wait()))


def check_command(command: object) -> list[str]:
    """Return the words of a command. Raises `TypeError` or `ValueError`."""
    if isinstance(command, str | bytes) or not isinstance(command, Sequence):
        raise TypeError(f"expected a command as a list, [program, argument, …], got {command!r}")
    words = [os.fspath(word) if isinstance(word, str | os.PathLike) else word for word in command]
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"command[{index}]: expected a str or an os.PathLike[str], got {word!r}")
    if not words:
        raise ValueError("expected a command with at least a program in it, got an empty one")
    return words


async def _open_process(command: list[str], cwd: StrPath | None, options: dict[str, Any]) -> trio.Process:
    # A group of its own: Ctrl-C is for this process alone.
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["process_group"] = 0
    return await trio.lowlevel.open_process(command, cwd=cwd, **options)


# What the process is told -------------------------------------------------------------------------------------------


def _invite(runtime: Runtime, port: Port, epoch: int | None, *, moved: bool) -> Invitation:
    """Make the invitation of a new process. Raises `RuntimeError` if this node has no network."""
    settings, network = runtime.settings, runtime.network
    if network is None:
        raise RuntimeError(
            f"expected a node with a network, so that processes can join it, got {runtime.id}, which has none: give"
            " open_node() binds=['unix:PATH'], or seeds, and a secret; open_workers() needs neither"
        )
    own = tuple(_as_dialled_here(bind, moved=moved) for bind in network.binds)
    # The parent is no seed unless it has none itself: a seed becomes global, and holds the whole database.
    seeds = tuple(_as_dialled_here(str(seed), moved=moved) for seed in settings.seeds)
    return Invitation(
        parent=str.__str__(port),
        pid=os.getpid(),
        seeds=seeds or own,
        addresses=own,
        secrets=network.secrets,
        encryption=settings.encryption,
        certificate=settings.certificate is not None,
        epoch=epoch,
    )


def _as_dialled_here(text: str, *, moved: bool) -> str:
    """Return a seed or a bind of the parent as a process on the same machine, perhaps in another directory, uses it."""
    address = parse_seed(text)
    if isinstance(address, ServiceSeed):
        return text
    if isinstance(address, DirectorySeed):
        return str(DirectorySeed(str(Path(address.path).absolute())))
    if isinstance(address, UnixAddress):
        path = str(Path(address.path).absolute())
        # A relative path whose absolute form is too long still works in the same directory.
        return str(UnixAddress(path)) if moved or len(os.fsencode(path)) <= UNIX_PATH_LIMIT else text
    return str(TCPAddress(_host_here(address.host), address.port))


def _host_here(host: str) -> str:
    """Return the host by which a process on the same machine reaches a listener at this host."""
    try:
        number = ip_address(host)
    except ValueError:
        return host
    if not number.is_unspecified:
        return host
    return "127.0.0.1" if number.version == 4 else "::1"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
