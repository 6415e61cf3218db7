"""A directory as a seed, at run time: this node reads who is written there, and writes itself if it is needed.

The rules are in `_protocol/membership/written.py`, and the files in `_transport/seed_files.py`. All that blocks runs in
a thread: the file system may be one over a network, and not answer.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from .._events import fields
from .._peers.network import Network
from .._protocol.membership.messages import Addresses
from .._protocol.membership.written import OLD, WrittenRun, is_needed, is_one_too_many, may_part
from .._reason import listed
from .._transport.addresses import UNIX_PATH_LIMIT, Address, DirectorySeed, UnixAddress, parse_address
from .._transport.seed_files import (
    SeedFile,
    SeedFiles,
    read_seed_files,
    remove_seed_files,
    renew_seed_file,
    write_seed_file,
)

SPREAD, TIMES = 1.0, 10
"""For how long at most a node waits before it writes itself, in seconds: at random, so that others may be first. A file
system that is slow shows late who was first, so it is so many times as long as reading takes, if that is longer."""

LASTING = 10.0
"""How long those behind the first few must have been written before they are dialled, in seconds. They may withdraw,
and whoever was dialled before that is global."""

WRITING, REMOVING = 5.0, 2.0
"""How long a node waits for the file system to write its file, and to remove it when the node closes, in seconds."""

NO_ANSWER = "the file system has not answered yet"
NOBODY = "no other node is written there"
NOT_READ_BACK = "its own file there cannot be read back"

_FAULTS_NAMED = 3

log = logging.getLogger("trio_mp.connection")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DirectoryOwner:
    """What a directory of seeds asks of the membership that it is part of, and tells it; see `MembershipService`.

    Attributes:
      own_addresses: gives the addresses that this node is to write.
      found: takes the files of other runs, and has each of them dialled.
      judge: says whether the run of a file is in use, and whether it could not be reached.
      became_seed: takes up that this node is written, and so among its own seeds.
      listens: takes up that this node listens somewhere now.
      drains: says whether this node drains, and so is about to leave.
    """

    own_addresses: Callable[[], Addresses]
    found: Callable[[tuple[SeedFile, ...]], object]
    judge: Callable[[SeedFile], tuple[bool, bool]]
    became_seed: Callable[[], object]
    listens: Callable[[], object]
    drains: Callable[[], bool]


class SeedDirectory:
    """One directory that is a seed of this node.

    Args:
      network: the network of this node.
      seed: the directory.
      owner: what it belongs to.
    """

    def __init__(self, network: Network, seed: DirectorySeed, owner: DirectoryOwner) -> None:
        self._network = network
        self._name = str(seed)
        self._path = seed.path
        self._owner = owner
        self._run = network.local.incarnation
        # What this node has written; None while it is not written there.
        self._written: SeedFile | None = None
        # Whether what it has written was read back, the last time that the directory was read.
        self._is_read_back = False
        self._has_tried = False
        self._is_seed = False
        # Since when each run has been there, by Trio's clock.
        self._since: dict[str, float] = {}
        # How long it took to read the directory, in seconds.
        self._took = 0.0
        self._said: set[str] = set()

    async def look(self) -> bool:
        """Read the directory, have the others dialled, and write this node there or renew its file, if it is to be.

        A checkpoint. Returns whether the directory could be used; if not, the log says why, once.
        """
        try:
            others = await self._read()
            drains = self._owner.drains()
            if drains and self._is_seed:
                await self._part(others)
            elif self._written is not None:
                await self._renew()
            elif self._may_write() and is_needed(others, drains=drains):
                await trio.sleep(max(SPREAD, TIMES * self._took) * self._network.environment.jitter())
                if is_needed(await self._read(), drains=self._owner.drains()):
                    await self._enter()
        except OSError as error:
            why = error.strerror or str(error)
            self._network.failures[self._name] = why
            self._warn(why)
            return False
        return True

    async def leave(self) -> None:
        """Remove the file of this node, because it closes. Also when it is cancelled, and for a short time only."""
        if self._has_tried:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + REMOVING), suppress(OSError):
                await self._remove([self._run])

    # Others ----------------------------------------------------------------------------------------------------------

    async def _read(self) -> list[WrittenRun]:
        """Read who is written there, and remove the dead. A checkpoint. Raises `OSError`."""
        now = self._network.environment.wall_clock()
        self._network.failures.setdefault(self._name, NO_ANSWER)
        begun = trio.current_time()
        listing = await self._in_thread(lambda: self._list(now))
        self._took = trio.current_time() - begun
        if listing.faults:
            self._warn_of_files(listed(listing.faults, _FAULTS_NAMED))
        files = [file for file in listing.files if file.run != self._run]
        self._is_read_back = any(self._is_written(file) for file in listing.files)
        others = [self._judge(file, now) for file in files]
        self._since = {one.run: self._since.get(one.run, begun) for one in others}
        lasting = {run for run, since in self._since.items() if begun >= since + LASTING}
        lasting.update(one.run for one in others if not is_one_too_many(one, others))
        self._owner.found(tuple(file for file in files if file.run in lasting))
        if dead := [other.run for other in others if other.is_dead]:
            await self._remove(dead)
        if any(other.may_live for other in others):
            self._network.failures.pop(self._name, None)
        else:
            self._network.failures[self._name] = NOBODY
        return [other for other in others if not other.is_dead]

    def _is_written(self, file: SeedFile) -> bool:
        """Whether this is the file that this node has written."""
        own = self._written
        return own is not None and (file.run, file.node_id, file.written_at) == (own.run, own.node_id, own.written_at)

    def _list(self, now: float) -> SeedFiles:
        try:
            return read_seed_files(self._path, old_before=now - OLD)
        except FileNotFoundError:
            if self._may_write():
                # It is made by who writes itself.
                return SeedFiles()
            raise

    def _judge(self, file: SeedFile, now: float) -> WrittenRun:
        in_use, failed = self._owner.judge(file)
        return WrittenRun(file.run, file.written_at, now - file.renewed_at, in_use=in_use, failed=failed)

    # This node -------------------------------------------------------------------------------------------------------

    def _may_write(self) -> bool:
        """Whether this node can be a seed: it listens somewhere, or may choose where."""
        return self._network.settings.binds != ()

    async def _enter(self) -> None:
        """Write this node, and have it be a seed unless others were first. A checkpoint. Raises `OSError`."""
        await self._network.listen_anywhere()
        self._owner.listens()
        await self._write()
        if self._written is None:
            return
        try:
            others = await self._read()
            if not self._is_read_back:
                # Others would not find it, either: on some file systems each file is another user's.
                raise OSError(NOT_READ_BACK)
        except OSError:
            # Whoever is written is a seed, and this node is none yet.
            await self._withdraw()
            raise
        if is_one_too_many(WrittenRun(self._run, self._written.written_at), others):
            await self._withdraw()
            return
        log.info("this node is written in %s, as a seed", self._name, extra=fields("seed", self._network.dispatcher.id))
        self._is_seed = True
        self._owner.became_seed()

    async def _part(self, others: list[WrittenRun]) -> None:
        """Have no new node dial this one, which is about to leave, if others lead to its network. A checkpoint."""
        if not may_part(others):
            await (self._write() if self._written is None else self._renew())
        elif self._written is not None:
            await self._withdraw()
            # The others may drain, too, and have done the same meanwhile.
            if may_part(await self._read()):
                log.info(
                    "this node drains, and is no longer written in %s",
                    self._name,
                    extra=fields("seed", self._network.dispatcher.id),
                )
            else:
                await self._write()

    async def _withdraw(self) -> None:
        self._written = None
        await self._remove([self._run])

    async def _renew(self) -> None:
        """Say that this node lives. If its file is gone, or is not what it was, it is written again.

        Also where enough others are written: this node is global all the same, and they may not know of each other.
        """
        assert self._written is not None
        now = self._network.environment.wall_clock()
        moved = self._written.addresses != self._own_addresses()
        renewed = not moved and await self._in_thread(lambda: renew_seed_file(self._path, self._run, now))
        if moved or not (renewed and self._is_read_back):
            await self._write()

    async def _write(self) -> None:
        """Write where this node listens, if that is anywhere. A checkpoint. Raises `OSError`."""
        addresses = self._own_addresses()
        if not addresses:
            await trio.lowlevel.checkpoint()
            return
        now = self._network.environment.wall_clock()
        since = self._written.written_at if self._written is not None else now
        file = SeedFile(self._run, self._network.dispatcher.id, addresses, since, now)
        self._has_tried = True
        # Shielded, because `leave` is to come behind it: a thread that nobody waits for would write it again.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITING):
            await self._in_thread(lambda: write_seed_file(self._path, file))
            self._written = file
            return
        raise TimeoutError(errno.ETIMEDOUT, f"writing took longer than {WRITING:g} s")

    def _own_addresses(self) -> tuple[Address, ...]:
        """Where others find this node, from whatever directory they run in."""
        return tuple(_from_anywhere(parse_address(text)) for text in self._owner.own_addresses())

    async def _remove(self, runs: list[str]) -> None:
        await self._in_thread(lambda: remove_seed_files(self._path, runs))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await self._network.environment.in_thread(function)

    # The log ---------------------------------------------------------------------------------------------------------

    def _warn(self, why: str) -> None:
        self._say(why, "the seed %s cannot be used: %s; trying again for as long as it takes")

    def _warn_of_files(self, faults: str) -> None:
        # One line is enough, because whoever can write there can change the files all the time.
        self._say("", "the seed %s has files that are not read: %s", faults)

    def _say(self, kind: str, text: str, *arguments: str) -> None:
        if kind not in self._said and len(self._said) < _FAULTS_NAMED:
            self._said.add(kind)
            told = arguments or (kind,)
            log.warning(text, self._name, *told, extra=fields("seed", self._network.dispatcher.id))


def _from_anywhere(address: Address) -> Address:
    """An address with an absolute path, unless that is too long: then only who runs in this directory can dial it."""
    if isinstance(address, UnixAddress):
        path = str(Path(address.path).absolute())
        return UnixAddress(path) if len(os.fsencode(path)) <= UNIX_PATH_LIMIT else address
    return address
