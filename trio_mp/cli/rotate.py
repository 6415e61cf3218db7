"""`trio-mp secret rotate`: replacing the secret of a network in three steps, while it runs.

The file itself says which step it is in, so that each machine knows to which it is copied, and a crash cannot part the
two. Empty lines do not count for nodes: there is one between the secrets in step 1, and there are two in step 2.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import time
from pathlib import Path

from .._errors import ConfigurationError
from .._peers.secret_file import LOOK_AGAIN, LOOK_TWICE, read_secret_file
from .._profiles.finding import read_configuration
from .._profiles.gathering import Request, gather
from .exits import NO, OK, CommandFailed
from .files import write_at_once
from .output import Output

LAST = 3

TAKEN_UP = LOOK_AGAIN + LOOK_TWICE + 2
"""After how many seconds each node that reads a file has taken up what has changed in it."""

_STATES = {
    0: "it holds one secret, and no rotation is under way",
    1: "step 1 of 3: nodes dial with the old secret, and accept both",
    2: "step 2 of 3: nodes dial with the new secret, and accept both",
}


def rotate(arguments: argparse.Namespace) -> int:
    """Run `trio-mp secret rotate`; returns its exit status.

    Raises:
      ConfigurationError: there is no file, or it is not one that can be rotated.
      CommandFailed: the step cannot be done now.
      OSError: the file cannot be written.
    """
    # A link stays a link: the file behind it is changed.
    path = Path(arguments.file or _configured(arguments)).resolve()
    out = Output(arguments)
    found = read_secret_file(str(path))
    if found.warning:
        out.say(found.warning)
    lines = [line.strip() for line in path.read_bytes().splitlines()]
    state = step_of(lines, str(path))
    wanted = arguments.step if arguments.step is not None else state
    if wanted > state + 1 and not (wanted == LAST and state == 0):
        first = f"first run `{_command(path, state + 1)}`"
        raise CommandFailed(
            NO, f"{path}: expected step {wanted - 1} before step {wanted}, got {_STATES[state]}; {first}"
        )
    if wanted == state + 1:
        if state:
            _wait_until_read(path, out)
        changed = advance(lines, state, secrets.token_hex(16).encode())
        write_at_once(path, b"\n".join(changed) + b"\n", path.stat().st_mode & 0o777)
        state = (state + 1) % LAST
    out.row({"file": str(path), "step": state}, f"{path}: {_STATES[state]}")
    out.say(_what_next(path, state, done=wanted == LAST))
    return OK


def step_of(lines: list[bytes], place: str) -> int:
    """Say in which step of a rotation the lines of a file are; 0 for none.

    Raises:
      ConfigurationError: they hold more than two secrets, or do not say which of the two is the new one.
    """
    at = [number for number, line in enumerate(lines) if line]
    if len(at) == 1:
        return 0
    if len(at) > 2:
        raise ConfigurationError(
            f"{place}: expected one secret, or two while they are rotated, got {len(at)}; remove the others"
        )
    empty = at[1] - at[0] - 1
    if empty not in (1, 2):
        raise ConfigurationError(
            f"{place}: expected the mark of this command between the two secrets, got {empty} empty lines; put one"
            " there if the second secret is the new one, and two if the first one is"
        )
    return empty


def advance(lines: list[bytes], state: int, new: bytes) -> list[bytes]:
    """Give the lines of a file in the step behind this one.

    Args:
      lines: those of the file.
      state: the step that they are in.
      new: the new secret, for the first step.
    """
    found = [line for line in lines if line]
    if state == 0:
        return [found[0], b"", new]
    if state == 1:
        return [found[1], b"", b"", found[0]]
    return found[:1]


def _configured(arguments: argparse.Namespace) -> str:
    """The file with the secrets that a node would use."""
    merged = gather(
        Request(arguments.profile or True, frozenset(), {}), os.environ, lambda: read_configuration(os.environ)
    )
    path = merged.values.get("secret_file")
    if not isinstance(path, str):
        raise ConfigurationError("secret rotate: expected a secret_file in the profile, got none; give --file PATH")
    return path


def _wait_until_read(path: Path, out: Output) -> None:
    """Wait until nodes that read this very file have taken up the last step."""
    left = min(TAKEN_UP, path.stat().st_mtime + TAKEN_UP - time.time())
    if left > 0:
        out.say(f"waiting for {left:.0f} s, until nodes of this machine have read the last step")
        time.sleep(left)


def _command(path: Path, step: int) -> str:
    return f"trio-mp secret rotate --file {shlex.quote(str(path))} --step {step}"


def _what_next(path: Path, state: int, *, done: bool) -> str:
    if state:
        return (
            f"copy {path} to all machines of the network; {TAKEN_UP:g} s after the last one has it, run"
            f" `{_command(path, state + 1)}`"
        )
    if done:
        return (
            f"copy {path} to all machines of the network; connections that exist go on, so if somebody has learnt the"
            " old secret, restart the nodes"
        )
    return f"`{_command(path, 1)}` begins one"
