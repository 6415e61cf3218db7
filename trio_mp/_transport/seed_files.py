"""The files in a directory of seeds: one for each run of a node, in which it says where it listens.

A file is written aside and renamed, so nobody reads half of one. Only its owner can read it. It has a name of its own
for each run, so that nobody removes the file of a later run for that of an earlier one. Its time of change says when
its node has renewed it; the node sets it by its own clock, because that of a file server may be another one.

A process that can write into the directory can name addresses, and nothing else: the node at such an address has to
prove that it is a member. All that is read is bounded. Files of other users, links, and whatever is no regular file are
left alone.

All functions here block.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .._errors import ConfigurationError
from .._ids import is_incarnation, is_node_id
from .addresses import Address, can_be_dialled, parse_address

LOOKED_AT = 10_000
"""How many files of a directory are looked at."""

MOST_READ = 64
"""How many files of nodes are read, those that were renewed last."""

MOST_ADDRESSES = 16
"""How many addresses of one node are written, and read."""

LONGEST_WRITTEN = 300
"""How many characters an address may have, to be written. No other node believes a longer one."""

LARGEST = 32 * 1024
"""How many bytes a file of a node may have: more than those addresses need, each character as six."""

_LAST_TIME = 1e12

# On Windows a time can only be set by a path, and behind a link.
_TIMES_BY_DESCRIPTOR = os.utime in os.supports_fd
_TIMES_BEHIND_LINKS = os.utime not in os.supports_follow_symlinks

_NAME = re.compile(r"([A-Za-z0-9]{16})\.node")
_UNFINISHED = re.compile(r"\.([A-Za-z0-9]{16})\.tmp")


@dataclass(frozen=True, slots=True)
class SeedFile:
    """What the file of one run says.

    Attributes:
      run: the incarnation of the node.
      node_id: its node ID.
      addresses: where it listens.
      written_at: when it wrote itself for the first time, in seconds since 1970, by its own clock.
      renewed_at: when it said last that it lives, in seconds since 1970, by its own clock.
    """

    run: str
    node_id: str
    addresses: tuple[Address, ...]
    written_at: float
    renewed_at: float


@dataclass(frozen=True, slots=True)
class SeedFiles:
    """What is in a directory.

    Attributes:
      files: those of nodes, in the order of their runs.
      faults: what is wrong with other files that have such a name, a text for each.
    """

    files: tuple[SeedFile, ...] = ()
    faults: tuple[str, ...] = ()


def name_of(run: str) -> str:
    """The name of the file of a run."""
    return f"{run}.node"


def read_seed_files(directory: str, *, old_before: float) -> SeedFiles:
    """Read the files of nodes in a directory. Removes what killed nodes of this user have left half written.

    Args:
      directory: the path.
      old_before: half written files that are older are removed, in seconds since 1970.

    Raises:
      OSError: the directory cannot be read.
    """
    dated: list[tuple[float, str]] = []
    faults: list[str] = []
    with os.scandir(directory) as entries:
        for entry in islice(entries, LOOKED_AT):
            if not (_NAME.fullmatch(entry.name) or _UNFINISHED.fullmatch(entry.name)):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                # Removed meanwhile.
                continue
            if fault := _fault_of(found):
                faults.append(f"{entry.name} {fault}")
            elif not entry.name.startswith("."):
                dated.append((found.st_mtime, entry.name))
            elif found.st_mtime < old_before:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
    files: list[SeedFile] = []
    for renewed_at, name in sorted(dated, reverse=True)[:MOST_READ]:
        try:
            files.append(_read(Path(directory, name), renewed_at))
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(f"{name} cannot be read: {error.strerror or error}")
        except ValueError:
            faults.append(f"{name} is no file of a node")
    return SeedFiles(tuple(sorted(files, key=lambda file: file.run)), tuple(sorted(faults)))


def parse_seed_file(content_untrusted: bytes, renewed_at: float) -> SeedFile:
    """Parse what is in a file. Raises `ValueError`."""
    try:
        said = json.loads(content_untrusted)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    match said:
        case {"run": str(run), "node": str(node_id), "since": int() | float() as since, "addresses": list(texts)}:
            addresses = tuple(map(_parse, texts[:MOST_ADDRESSES]))
            # What is no time in the next ten thousand years could not be compared, or not become a float.
            if is_incarnation(run) and is_node_id(node_id) and 0 <= since < _LAST_TIME and addresses:
                return SeedFile(run, node_id, addresses, float(since), renewed_at)
        case _:
            pass
    raise ValueError("it says something else")


def write_seed_file(directory: str, file: SeedFile) -> None:
    """Write the file of a run, and make the directory if there is none. Raises `OSError`."""
    folder = Path(directory)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    addresses = [text for text in map(str, file.addresses) if len(text) <= LONGEST_WRITTEN][:MOST_ADDRESSES]
    said = {"run": file.run, "node": file.node_id, "since": file.written_at, "addresses": addresses}
    aside = folder / f".{file.run}.tmp"
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    try:
        # Exclusive: whoever else can write here could have put a link in this place.
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as writer:
            writer.write(json.dumps(said).encode() + b"\n")
            writer.flush()
            if _TIMES_BY_DESCRIPTOR:
                os.utime(writer.fileno(), (file.renewed_at, file.renewed_at))
        if not _TIMES_BY_DESCRIPTOR:
            os.utime(aside, (file.renewed_at, file.renewed_at))
        aside.replace(folder / name_of(file.run))
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def renew_seed_file(directory: str, run: str, now: float) -> bool:
    """Say that a run lives, now, in seconds since 1970; returns whether its file was there. Raises `OSError`."""
    try:
        os.utime(Path(directory, name_of(run)), (now, now), follow_symlinks=_TIMES_BEHIND_LINKS)
    except FileNotFoundError:
        return False
    return True


def remove_seed_files(directory: str, runs: Iterable[str]) -> None:
    """Remove the files of these runs. Raises nothing: whoever looks later finds them old, and removes them."""
    for run in runs:
        with contextlib.suppress(OSError):
            Path(directory, name_of(run)).unlink()


def _fault_of(found: os.stat_result) -> str:
    """Why a file is not read, as the rest of a sentence; empty if it is to be read."""
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        return "is another user's"
    return f"has more than {LARGEST} bytes" if found.st_size > LARGEST else ""


def _read(path: Path, renewed_at: float) -> SeedFile:
    """Read one file. Raises `OSError` or `ValueError`."""
    # It may be another file by now than the one that was looked at: a link, or a pipe that nobody writes to.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        if fault := _fault_of(os.fstat(descriptor)):
            raise OSError(errno.EINVAL, f"it {fault}")
        content = os.read(descriptor, LARGEST)
    finally:
        os.close(descriptor)
    file = parse_seed_file(content, renewed_at)
    if name_of(file.run) != path.name:
        raise ValueError("it is the file of another run")
    return file


def _parse(text: object) -> Address:
    """Parse the address of a node. Raises `ValueError`."""
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError("it cannot be printed")
    try:
        address = parse_address(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    if not can_be_dialled(address):
        raise ValueError("nobody can dial it")
    return address
