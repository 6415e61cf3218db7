"""The files of Unix sockets that processes left behind when they were killed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from network_helpers import until

from trio_mp import open_node
from trio_mp._transport import unix_sockets
from trio_mp._transport.addresses import UnixAddress
from trio_mp._transport.sockets import SocketTransport
from trio_mp._transport.unix_sockets import is_of_random_id, remove_dead, remove_dead_beside, socket_name

SECRET = "a secret that is long enough"
RANDOM = socket_name("anon/abcdefghABCDEFGH")

NODE = f"""
import sys, trio
from trio_mp import open_node

async def main():
    async with open_node(seeds=[sys.argv[1]], secret={SECRET!r}) as node:
        while not node.binds:
            await trio.sleep(0.01)
        print(node.binds[0], flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@contextmanager
def bound(path: Path, *, listens: bool = True) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        if listens:
            one.listen()
        yield one


def leave_dead(path: Path) -> Path:
    with bound(path):
        pass
    assert path.exists()
    return path


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """As another process that holds the lock."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node_id", ["node", "anon/short", "anon/abcdefghABCDEFG-", "a/abcdefghABCDEFGH", "anon.abcdefghABCDEFGH"]
)
def test_the_file_of_a_node_with_an_id_of_its_own_is_kept(node_id: str) -> None:
    assert not is_of_random_id(socket_name(node_id))


def test_the_file_of_a_node_with_a_random_id_is_known_by_its_name() -> None:
    assert is_of_random_id(RANDOM)
    # It looks like one, but no node would call it so.
    assert not is_of_random_id("anon_abcdefghABCDEFGH-00000000.sock")
    assert not is_of_random_id(RANDOM + "x")


# Who is dead ---------------------------------------------------------------------------------------------------------


async def test_a_killed_node_with_a_random_id_leaves_nothing_for_long(short_directory: Path) -> None:
    seed = f"unix:{short_directory}/seed.sock"
    with trio.fail_after(60):
        async with open_node("seed", binds=[seed], secret=SECRET):
            command = [sys.executable, "-c", NODE, seed]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
                assert process.stdout is not None
                left = Path((await trio.to_thread.run_sync(process.stdout.readline)).strip().removeprefix("unix:"))
                process.kill()
            assert left.exists()
            async with open_node(seeds=[seed], secret=SECRET) as node:
                await until(lambda: node.binds and not left.exists(), 20)
                # Neither its own nor the seed's, which are alive.
                assert {path.name for path in short_directory.iterdir()} == {"seed.sock", Path(node.binds[0]).name}


async def test_who_dials_a_dead_socket_removes_it(short_directory: Path) -> None:
    dead, other = leave_dead(short_directory / RANDOM), leave_dead(short_directory / "named.sock")
    for path in (dead, other):
        with pytest.raises(OSError, match="refused"):
            await SocketTransport().dial(UnixAddress(str(path)))
    assert not dead.exists()
    # A node of that ID comes back, and takes its place.
    assert other.exists()


@pytest.mark.parametrize("remove", [remove_dead, remove_dead_beside])
@pytest.mark.parametrize("listens", [True, False], ids=["listens", "is about to listen"])
def test_a_live_socket_is_left_alone_and_notices_nothing(short_directory: Path, remove: object, listens: bool) -> None:
    path = short_directory / RANDOM
    with bound(path, listens=listens) as one:
        assert callable(remove)
        remove(path)
        assert path.exists()
        one.listen()
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.accept()
    remove(path)
    assert not path.exists()


@pytest.mark.parametrize("remove", [remove_dead, remove_dead_beside])
def test_what_is_another_users_or_no_socket_is_left_alone(
    short_directory: Path, remove: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(remove)
    path = leave_dead(short_directory / RANDOM)
    with monkeypatch.context() as context:
        context.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
        remove(path)
        assert path.exists()
    remove(path)
    assert not path.exists()
    path.write_text("precious")
    remove(path)
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(leave_dead(short_directory / "named.sock"))
    remove(path)
    assert path.is_symlink()


@pytest.mark.parametrize("remove", [remove_dead, remove_dead_beside])
def test_nothing_is_removed_without_the_lock(short_directory: Path, remove: object) -> None:
    assert callable(remove)
    path = leave_dead(short_directory / RANDOM)
    with locked(short_directory):
        remove(path)
        assert path.exists()
    remove(path)
    assert not path.exists()
    # Where there is no directory there is nothing to do.
    remove(short_directory / "nowhere" / RANDOM)


def test_only_so_many_files_are_looked_at(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_sockets, "LOOKED_AT", 3)
    for number in range(5):
        leave_dead(short_directory / socket_name(f"anon/abcdefghABCDEF{number:02}"))
    for left in (2, 0):
        remove_dead_beside(short_directory / "seed.sock")
        assert len(list(short_directory.iterdir())) == left


# Taking the place of a dead one --------------------------------------------------------------------------------------


async def test_the_place_of_who_is_about_to_listen_is_not_taken(short_directory: Path) -> None:
    path = short_directory / "s"
    with bound(path, listens=False):
        with pytest.raises(OSError, match="something listens there") as caught:
            await SocketTransport().listen(UnixAddress(str(path)))
        assert caught.value.errno == errno.EADDRINUSE
        assert path.exists()


async def test_who_listens_waits_for_the_lock_and_goes_without_when_it_takes_too_long(
    short_directory: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = leave_dead(short_directory / "s")
    with locked(short_directory):
        (listener,) = await SocketTransport().listen(UnixAddress(str(path)))
    assert 0.9 < trio.current_time() < 1.1
    await listener.aclose()
    assert not path.exists()


async def test_a_directory_that_cannot_be_locked_is_none_that_cannot_be_used(
    short_directory: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fails)
    path = leave_dead(short_directory / "s")
    (listener,) = await SocketTransport().listen(UnixAddress(str(path)))
    assert trio.current_time() == 0
    await listener.aclose()
    assert not path.exists()


def test_of_many_that_find_a_dead_socket_one_gets_its_place(short_directory: Path) -> None:
    path = short_directory / RANDOM
    outcomes: list[object] = []
    barrier, done = threading.Barrier(4), threading.Barrier(4)

    def run() -> None:
        async def main() -> None:
            barrier.wait()
            try:
                (listener,) = await SocketTransport().listen(UnixAddress(str(path)))
            except OSError as error:
                outcomes.append(error.errno)
                remove_dead(path)
                done.wait()
            else:
                outcomes.append("listens")
                remove_dead_beside(path)
                done.wait()
                await (await trio.open_unix_socket(str(path))).aclose()
                await listener.aclose()

        trio.run(main)

    for _ in range(20):
        leave_dead(path)
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, outcomes)) == [str(errno.EADDRINUSE)] * 3 + ["listens"]
        outcomes.clear()
