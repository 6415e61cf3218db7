"""The invitation: the data that a launched process reads from a pipe that it inherits.

The secret of the network reaches the process only by the pipe: on most machines others can read arguments and
environment. The environment says only which descriptor is the pipe. The parent keeps the other end, and later writes
`stop` there. The kernel closes that end when the parent dies, however it dies, so the end of the pipe means that.

The parent writes the invitation before it launches the process, so the process never waits for it.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VARIABLE = "TRIO_MP_PARENT_PIPE"
"""The environment variable that says which descriptor of the new process is its pipe, and which pipe that is."""

STOP = b"stop\n"
"""What the parent writes into the pipe to have the process leave."""

DRAIN = b"drain"
"""What it writes to have the process drain before, as by a signal. As long as `STOP`, so that no read cuts a word."""

BY_STANDARD_INPUT = sys.platform == "win32"
"""Whether the pipe is the standard input of the process: Windows has no other descriptors to inherit."""

SMALL_PIPE = 4096
"""How many bytes a pipe holds at least, on every platform."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """The data that a process needs to open a node beside its parent's.

    Attributes:
      parent: the ID of a port of the parent's node; the process sends to it when it is ready.
      pid: the parent's process ID.
      seeds: the seeds of the new node.
      addresses: the addresses of the parent's node, for a process on the same machine.
      secrets: the secrets of the network; none in a network of certificates alone.
      encryption: whether connections are encrypted.
      certificate: whether the network has certificates, so that the process must bring one.
      epoch: which life of a supervised child this is; None if nobody counts them.
    """

    parent: str
    pid: int
    seeds: tuple[str, ...]
    addresses: tuple[str, ...]
    secrets: tuple[bytes, ...] = field(repr=False)
    encryption: bool
    certificate: bool
    epoch: int | None = None

    def encode(self) -> bytes:
        """Write the invitation as one line."""
        said = asdict(self) | {"secrets": [base64.b64encode(secret).decode() for secret in self.secrets]}
        return json.dumps(said).encode() + b"\n"


def decode_invitation(line: bytes) -> Invitation:
    """Read an invitation from a line. The text of a `ValueError` leaves out the line, which may hold a secret."""
    try:
        said: dict[str, Any] = json.loads(line)
        said["secrets"] = tuple(base64.b64decode(secret, validate=True) for secret in said["secrets"])
        said["seeds"], said["addresses"] = tuple(said["seeds"]), tuple(said["addresses"])
        return Invitation(**said)
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            "expected an invitation of this version of trio_mp in the pipe, got something else;"
            " parent and child must run the same version"
        ) from None


class ParentPipe:
    """The parent's end of the pipe, and until the process exists the other end too.

    Args:
      invitation: the data for the process.

    Raises:
      OSError: no pipe can be made.
      ValueError: the invitation does not fit into a pipe.
    """

    def __init__(self, invitation: Invitation) -> None:
        line = invitation.encode()
        # No process inherits either end, except the one that is launched with it.
        self._read_end, self._write_end = os.pipe()
        try:
            if sys.platform != "win32":
                os.set_blocking(self._write_end, False)
            elif len(line) > SMALL_PIPE:
                # A longer write would wait for a reader that does not exist yet.
                raise BlockingIOError
            if os.write(self._write_end, line) < len(line):
                raise BlockingIOError
        except BlockingIOError:
            self.close()
            raise ValueError(
                f"expected an invitation that fits into a pipe, got one of {len(line)} bytes;"
                " give open_node() a shorter secret, or fewer secrets and seeds"
            ) from None

    def launch_options(self, env: Mapping[str, str] | None) -> dict[str, Any]:
        """Return the options of `subprocess.Popen` by which the process inherits and finds the pipe.

        Args:
          env: the other environment variables of the process; None for those of this process.
        """
        environment = dict(os.environ if env is None else env)
        if BY_STANDARD_INPUT:
            environment[VARIABLE] = "0:0"
            return {"env": environment, "stdin": self._read_end}
        environment[VARIABLE] = f"{self._read_end}:{os.fstat(self._read_end).st_ino}"
        # Its standard input is empty: a process in the background that read the terminal would be stopped.
        return {"env": environment, "stdin": subprocess.DEVNULL, "pass_fds": (self._read_end,)}

    def launched(self) -> None:
        """Close the reading end: the process has it now, or will never exist."""
        read_end, self._read_end = self._read_end, -1
        if read_end >= 0:
            os.close(read_end)

    def ask_to_stop(self) -> None:
        """Ask the process to leave. Does nothing if the process has ended, or was asked so often that the pipe is full.

        Never blocks.
        """
        self._say(STOP)

    def ask_to_drain(self) -> None:
        """Ask the process to drain, and then to leave; otherwise as `ask_to_stop`."""
        self._say(DRAIN)

    def _say(self, word: bytes) -> None:
        if self._write_end >= 0:
            try:
                os.write(self._write_end, word)
            except OSError:
                # Nobody reads the pipe any more. `ChildProcess.run` notices the end of the process.
                return

    def close(self) -> None:
        """Close the ends of the pipe that are open."""
        self.launched()
        write_end, self._write_end = self._write_end, -1
        if write_end >= 0:
            os.close(write_end)


def accept_invitation() -> tuple[int, Invitation]:
    """Read the invitation of this process; return the descriptor of the pipe, which nobody else inherits, and the data.

    This works once. It never blocks in a process that `ParentPipe` was made for.

    Raises:
      RuntimeError: nobody has launched this process in this way, or the invitation was read before.
      ValueError: the pipe holds no invitation.
    """
    # Removed, so that processes that this one starts do not take the pipe for theirs.
    said = os.environ.pop(VARIABLE, "")
    descriptor, _, number = said.partition(":")
    if not (said.isascii() and descriptor.isdigit() and number.isdigit() and _is_pipe(int(descriptor), int(number))):
        raise RuntimeError(
            "open_child_node(): expected a process that a supervisor's run_process(), or open_workers(), has started,"
            " got one that nobody has invited, or that has opened its node before; by itself a program uses open_node()"
        )
    pipe = int(descriptor)
    if pipe == 0:
        pipe = _replace_standard_input()
    os.set_inheritable(pipe, False)
    return pipe, decode_invitation(_read_line(pipe))


def _is_pipe(descriptor: int, number: int) -> bool:
    """Whether this descriptor is the pipe of this number. It is not if the variable was meant for another process."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISFIFO(found.st_mode) and (descriptor == 0 or found.st_ino == number)


def _replace_standard_input() -> int:
    """Move the pipe away from the standard input, so that the program reads nothing there; returns where it is now."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def _read_line(pipe: int) -> bytes:
    """Read up to the end of a line, byte by byte, because `ParentWatch` reads the bytes behind it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(pipe, 1)
        if not byte:
            break
        line += byte
    return line
