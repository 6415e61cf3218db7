"""A directory as the only seed: who becomes global, and what dead nodes, other networks and hostile files do to it."""

from __future__ import annotations

import json
import os
import random
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing
from membership_helpers import is_settled, rules_of
from network_helpers import SECRET, Inbox, Notices, network_of, until, warnings_in

from trio_mp import Node, NotAttached, open_node
from trio_mp._protocol.membership.written import ENOUGH, OLD
from trio_mp._services import seed_directory
from trio_mp._services.seed_directory import NOBODY, NOT_READ_BACK
from trio_mp._settings.environment import InThread
from trio_mp._transport.seed_files import SeedFiles, name_of, read_seed_files
from trio_mp.testing import SimulatedNetwork, _network, open_simulated_network, simulate
from trio_mp.testing._nodes import NodeTransport

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


async def run_forever(_: Node) -> None:
    await trio.sleep_forever()


def written_in(folder: Path) -> set[str]:
    """The IDs of the nodes that are written in a directory."""
    return {file.node_id for file in read_seed_files(str(folder), old_before=0).files}


def globals_of(nodes: Iterable[Node]) -> set[str]:
    return {node.id for node in nodes if rules_of(node).is_global}


def start(network: SimulatedNetwork, folder: Path, *names: str, **settings: Any) -> None:
    # Few heartbeats, because each of them takes time here.
    settings.setdefault("heartbeat", 9.9)
    for name in names:
        network.start(name, run_forever, seeds=[f"dir:{folder}"], **settings)


async def settled(network: SimulatedNetwork, count: int, seconds: float = 60) -> None:
    await until(lambda: len(network.nodes) == count and is_settled(network.nodes.values()), seconds)


# How it forms --------------------------------------------------------------------------------------------------------


async def test_one_that_finds_nobody_becomes_global(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "seeds"
    async with open_simulated_network(seed=1) as network:
        start(network, folder, "a")
        await settled(network, 1, 5)
        assert written_in(folder) == {"a"}
        assert network_of(network.nodes["a"]).failures == {f"dir:{folder}": NOBODY}
        start(network, folder, "b")
        await settled(network, 2, 5)
        assert network_of(network.nodes["b"]).failures == {}
        await network.stop("a")
        await until(lambda: "a" not in written_in(folder), 5)
        await network.stop("b")
        assert list(folder.iterdir()) == [], "whoever closes leaves nothing behind"
    assert not warnings_in(caplog)


@pytest.mark.parametrize("seed", range(4))
def test_two_that_start_at_once_and_see_nobody_find_each_other(tmp_path: Path, seed: int) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        network.default_link.delay = 0.02
        start(network, tmp_path, "a", "b")
        await settled(network, 2)
        assert globals_of(network.nodes.values()) == {"a", "b"}
        await network.settle()

    simulate(scenario, seed=seed)


async def test_those_that_look_and_write_in_the_same_moment(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a random time here, so that all see nobody, and all write."""
    monkeypatch.setattr(seed_directory, "SPREAD", 0.0)
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"abcdefgh")
        await settled(network, 8)
        assert len(globals_of(network.nodes.values())) < 8
        assert written_in(tmp_path) <= globals_of(network.nodes.values())


async def form(network: SimulatedNetwork, folder: Path, count: int) -> None:
    network.default_link.delay, network.default_link.jitter = 0.005, 0.01
    start(network, folder, *(f"n{number}" for number in range(count)), idle_timeout=5.0)
    await settled(network, count)
    await trio.sleep(100)
    assert is_settled(network.nodes.values())
    assert len(globals_of(network.nodes.values())) <= 8
    assert written_in(folder) <= globals_of(network.nodes.values())
    assert len(written_in(folder)) >= ENOUGH
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert set(json.loads(file.read_text())) == {"run", "node", "since", "addresses"}, "no secret"


def test_some_that_start_at_once(tmp_path: Path) -> None:
    simulate(form, tmp_path, 12, seed=12)


def slow_files(seconds: float, seed: int) -> Callable[[NodeTransport], InThread]:
    """Let all that is done with files take up to so many seconds before it is done, and after that."""
    numbers = random.Random(seed)

    def make(transport: NodeTransport) -> InThread:
        async def run(function: Callable[[], T]) -> T:
            await trio.sleep(seconds * numbers.random())
            if transport.dead:
                # A killed process removes nothing, though its `finally` blocks run here.
                raise OSError("the node has crashed")
            result = function()
            await trio.sleep(seconds * numbers.random())
            return result

        return run

    return make


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed, seconds", [(1, 0.0), (3, 0.2)])
def test_two_hundred_that_start_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, seconds: float
) -> None:
    """Also on a file system that shows late who is written."""
    monkeypatch.setattr(_network, "_in_no_thread", slow_files(seconds, seed))
    simulate(form, tmp_path, 200, seed=seed)


# When nodes die ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silently", [True, False])
async def test_when_all_that_are_written_are_killed_others_take_their_place(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, silently: bool
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"abcde")
        await settled(network, 5)
        killed = written_in(tmp_path)
        for name in killed:
            network.crash(name, silently=silently)
        left = 5 - len(killed)
        await until(lambda: globals_of(network.nodes.values()) and is_settled(network.nodes.values()), 60)
        assert len(network.nodes) == left == 2
        assert killed <= written_in(tmp_path), "they had no time to remove their files"
        await trio.sleep(OLD + 100)
        assert is_settled(network.nodes.values())
        assert written_in(tmp_path) == globals_of(network.nodes.values()), "whoever finds them dead removes their files"


async def kill_writers(network: SimulatedNetwork, folder: Path, numbers: random.Random) -> None:
    """Run thirty nodes; kill some that are written, or write themselves; start half of them again, as new runs."""
    network.default_link.delay, network.default_link.jitter = 0.005, 0.01
    names = [f"n{number}" for number in range(30)]
    start(network, folder, *names)
    away: list[str] = []
    for number in range(14):
        # The first ones while nobody has its place yet.
        await trio.sleep(numbers.uniform(0, 1.5 if number < 5 else 40))
        unfinished = {path.name[1:-4] for path in folder.glob(".*.tmp")}
        writers = [
            node.id
            for node in network.nodes.values()
            if node.id in written_in(folder) or network_of(node).local.incarnation in unfinished
        ]
        if writers:
            away.append(numbers.choice(sorted(writers)))
            network.crash(away[-1], silently=numbers.random() < 0.5)
        if away and numbers.random() < 0.5:
            start(network, folder, away.pop(numbers.randrange(len(away))))
    assert away
    await settled(network, 30 - len(away), 120)
    await trio.sleep(OLD + 100)
    assert is_settled(network.nodes.values()), "it is one network"
    assert len(network.nodes) == 30 - len(away)
    runs = {file.run for file in read_seed_files(str(folder), old_before=0).files}
    assert len(runs) >= ENOUGH
    living = {network_of(node).local.incarnation for node in network.nodes.values() if rules_of(node).is_global}
    assert runs <= living, "the files of the dead are gone"
    assert not list(folder.glob(".*.tmp"))
    await network.settle()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(2, 6))])
def test_thirty_nodes_of_which_writers_are_killed_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each step of the files takes a while, so that nodes die between writing, reading back, and becoming seeds."""
    monkeypatch.setattr(_network, "_in_no_thread", slow_files(0.3, seed))
    simulate(kill_writers, tmp_path, random.Random(seed), seed=seed)


def leave(folder: Path, number: int, *, renewed_at: float, node_id: str = "", **said: object) -> Path:
    """Write the file of a run that nobody can reach."""
    run = f"{number:016d}"
    path = folder / name_of(run)
    dead = {"run": run, "node": node_id or f"dead{number}", "since": 5, "addresses": [f"dead{number}"]}
    path.write_text(json.dumps({**dead, **said}))
    os.utime(path, (renewed_at, renewed_at))
    return path


@pytest.mark.parametrize("age", [0.0, 1000.0])
async def test_files_that_killed_nodes_have_left(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, age: float
) -> None:
    async with open_simulated_network(seed=1) as network:
        now = network._environment(network._host("a")).wall_clock()
        files = [leave(tmp_path, number, renewed_at=now - age) for number in range(6)]
        start(network, tmp_path, *"abcd")
        await settled(network, 4, 30)
        assert len(globals_of(network.nodes.values())) == ENOUGH
        await trio.sleep(OLD + 100)
        assert not any(file.exists() for file in files)
        assert is_settled(network.nodes.values())
    assert not warnings_in(caplog)


async def test_a_node_that_lives_and_whose_file_is_gone_writes_itself_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        for file in tmp_path.iterdir():
            file.unlink()
        await until(lambda: written_in(tmp_path) == {"a"}, 60)
        start(network, tmp_path, "b")
        await settled(network, 2)


async def test_a_global_node_writes_itself_again_also_where_enough_others_are(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        monkeypatch.setattr(seed_directory, "is_needed", lambda _: False)
        (file,) = tmp_path.iterdir()
        file.unlink()
        await until(lambda: written_in(tmp_path) == {"a"}, 60)


async def test_a_node_whose_file_is_cut_short_writes_itself_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        (file,) = tmp_path.iterdir()
        file.write_bytes(b"")
        await until(lambda: written_in(tmp_path) == {"a"}, 60)


async def test_a_node_that_cannot_read_the_directory_again_is_written_later(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    def read(directory: str, *, old_before: float) -> SeedFiles:
        nonlocal failures
        if failures == 0 and list(Path(directory).glob("*.node")):
            failures += 1
            raise OSError("the server is away")
        return read_seed_files(directory, old_before=old_before)

    monkeypatch.setattr(seed_directory, "read_seed_files", read)
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        assert failures == 1
        assert globals_of(network.nodes.values()) == written_in(tmp_path) == {"a"}


async def test_a_node_that_cannot_read_its_own_file_is_no_seed(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As on a file system that shows all files as another user's."""
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await trio.sleep(100)
        assert not rules_of(network.nodes["a"]).is_global
        assert f"the seed dir:{tmp_path} cannot be used: {NOT_READ_BACK}; " in "\n".join(warnings_in(caplog))
        assert list(tmp_path.iterdir()) == []
        monkeypatch.undo()
        await settled(network, 1, 60)
        assert written_in(tmp_path) == {"a"}


async def test_parts_that_could_not_reach_each_other_become_one(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_simulated_network(seed=1) as network:
        network.partition(["a", "b"], ["c", "d"])
        start(network, tmp_path, *"abcd")
        await trio.sleep(100)
        parts = [[network.nodes[name] for name in names] for names in ("ab", "cd")]
        assert [is_settled(part) for part in parts] == [True, True]
        network.heal()
        await settled(network, 4, 120)
        await network.settle()


async def test_a_later_run_at_another_address(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """The file of the run before is there, and leads nowhere."""
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a", "b", "c", "d")
        await settled(network, 4)
        name = min(written_in(tmp_path))
        network.crash(name)
        start(network, tmp_path, name, binds=["elsewhere"])
        await settled(network, 4, 60)
        await trio.sleep(60)
        assert is_settled(network.nodes.values())


# When nodes leave ----------------------------------------------------------------------------------------------------


async def test_a_node_that_drains_is_written_no_more_and_another_takes_its_place(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trio_mp.connection")
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"abcde")
        await settled(network, 5)
        leaving = min(written_in(tmp_path))
        others = written_in(tmp_path) - {leaving}
        await network.nodes[leaving].drain()
        await trio.sleep(2)
        assert written_in(tmp_path) >= others
        assert leaving not in written_in(tmp_path), "new nodes would dial one that is about to leave"
        assert f"this node drains, and is no longer written in dir:{tmp_path}" in caplog.messages
        await until(lambda: len(written_in(tmp_path)) == ENOUGH, 60)
        assert leaving not in written_in(tmp_path)
        start(network, tmp_path, "f")
        await settled(network, 6)
        assert rules_of(network.nodes[leaving]).is_global, "whoever is attached to it stays so until it closes"
        await network.stop(leaving)
        await settled(network, 5)
        await network.settle()


async def test_the_only_way_into_a_network_stays_while_it_drains(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Without its file whoever comes would begin a second network, until one of both reads the directory again."""
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        await network.nodes["a"].drain()
        await trio.sleep(OLD + 60)
        assert written_in(tmp_path) == {"a"}
        start(network, tmp_path, "b")
        await settled(network, 2, 5)
        await until(lambda: written_in(tmp_path) == {"b"}, 60)
        # When that is gone, it is the way again.
        network.crash("b")
        await until(lambda: written_in(tmp_path) == {"a", "b"}, 60)
        start(network, tmp_path, "c")
        await settled(network, 2, 30)


async def test_when_all_drain_at_once_one_stays_written(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sees the files of the others before it removes its own."""

    def slow(_: NodeTransport) -> InThread:
        async def run(function: Callable[[], T]) -> T:
            await trio.sleep(0.1)
            return function()

        return run

    monkeypatch.setattr(_network, "_in_no_thread", slow)
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"ab")
        await settled(network, 2)
        await until(lambda: written_in(tmp_path) == {"a", "b"}, 60)
        async with trio.open_nursery() as nursery:
            for node in network.nodes.values():
                nursery.start_soon(node.drain)
        await trio.sleep(2)
        assert written_in(tmp_path)
        start(network, tmp_path, "c")
        await settled(network, 3, 30)


# What others do there ------------------------------------------------------------------------------------------------


async def test_two_networks_in_one_directory(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"ab", secret="the secret of one network")
        start(network, tmp_path, *"cd", secret="the secret of the other one")
        await trio.sleep(OLD + 60)
        for names in ("ab", "cd"):
            nodes = [network.nodes[name] for name in names]
            assert is_settled(nodes)
            assert globals_of(nodes) <= written_in(tmp_path), "nobody removes what lives, though nobody lets it in"


async def test_hostile_files_do_no_harm_and_cost_one_line(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name_of("A" * 16)).write_bytes(b"\xff" * 1_000_000)
    (tmp_path / name_of("B" * 16)).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name_of("C" * 16))
    (tmp_path / name_of("D" * 16)).write_bytes(b"\xff")
    (tmp_path / name_of("E" * 16)).mkdir()
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await settled(network, 1)
        await trio.sleep(300)
        (line,) = warnings_in(caplog)
        start(network, tmp_path, "b")
        await settled(network, 2)
    assert line.startswith(f"the seed dir:{tmp_path} has files that are not read: AAAA")
    assert "; and 2 more" in line
    assert len(list(tmp_path.iterdir())) == 5


async def test_a_file_names_an_address_and_who_is_there_decides(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A writer of the directory can point at any node: one that is not the one of the file does not become global."""
    async with open_simulated_network(seed=1) as network:
        network.start("s", run_forever, seeds=[])
        network.start("n", run_forever, seeds=["s"])
        await settled(network, 2)
        now = network._environment(network._host("a")).wall_clock()
        leave(tmp_path, 1, renewed_at=now, addresses=["n"])
        leave(tmp_path, 2, renewed_at=now, addresses=["a"])
        network.start("a", run_forever, seeds=["s", f"dir:{tmp_path}"])
        await trio.sleep(60)
        assert not rules_of(network.nodes["n"]).is_global


async def test_a_node_at_whose_address_another_one_is_written_is_not_global_by_that(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Several machines may have the same address on a wire of their own, such as that of their containers."""
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"abc")
        await settled(network, 3)
        for file in tmp_path.iterdir():
            said = json.loads(file.read_text())
            file.write_text(json.dumps({**said, "addresses": ["d", *said["addresses"]]}))
        start(network, tmp_path, "d")
        await settled(network, 4)
        assert not rules_of(network.nodes["d"]).is_global


async def test_a_file_of_an_earlier_run_does_not_keep_a_node_from_being_dialled(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Another node names it, with its present address; that is dialled, though the file leads elsewhere."""
    async with open_simulated_network(seed=1) as network:
        now = network._environment(network._host("t")).wall_clock()
        leave(tmp_path, 1, renewed_at=now + OLD - 10, node_id="t")
        network.start("s", run_forever, seeds=["t"])
        network.start("t", run_forever, seeds=["s"])
        await settled(network, 2)
        network.start("n", run_forever, seeds=["s", f"dir:{tmp_path}"], binds=())
        await until(lambda: "n" in network.nodes and rules_of(network.nodes["n"]).anchor == "s", 30)
        await trio.sleep(5)
        network.crash("s")
        await until(lambda: rules_of(network.nodes["n"]).anchor == "t", 60)


async def test_a_directory_that_cannot_be_used_for_a_while(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "seeds"
    folder.write_text("a file")
    async with open_simulated_network(seed=1) as network:
        start(network, folder, "a")
        await trio.sleep(300)
        assert warnings_in(caplog) == [
            f"the seed dir:{folder} cannot be used: Not a directory; trying again for as long as it takes"
        ]
        notices = Notices()
        network.nodes["a"].monitor("elsewhere#AAAAAAAAAAAAAAAA.1", notices)
        assert f"the seed dir:{folder}: Not a directory" in (await notices.wait())[2]
        folder.unlink()
        await settled(network, 1, 10)


@pytest.mark.parametrize("settings", [{"binds": ()}, {"tool": True, "binds": ()}])
async def test_who_listens_nowhere_is_never_written(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, settings: Any
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "deaf", **settings)
        await trio.sleep(100)
        assert not rules_of(network.nodes["deaf"]).is_global
        start(network, tmp_path, "a")
        await until(lambda: rules_of(network.nodes["deaf"]).anchor == "a", 30)
        assert written_in(tmp_path) == {"a"}


# In real processes' places --------------------------------------------------------------------------------------------


async def test_without_binds_the_first_listens_at_any_port_and_the_others_reach_it(
    require_tcp: None, tmp_path: Path
) -> None:
    seeds = [f"dir:{tmp_path}"]
    with trio.fail_after(60):
        async with open_node("a", seeds=seeds, secret=SECRET) as a:
            await until(lambda: rules_of(a).is_global)
            async with open_node("b", seeds=seeds, secret=SECRET) as b:
                assert await b.call("a", "info") == ("a",)
                inbox = Inbox(b)
                a.send(inbox.port, "hello")
                await inbox.wait(1)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
async def test_two_users_jobs_in_one_directory_are_two_networks(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, *"ab", secret="the secret of one user")
        await settled(network, 2)
        theirs = list(tmp_path.iterdir())
        for file in theirs:
            os.chown(file, 4711, 4711)
        start(network, tmp_path, *"cd", secret="the secret of the other one")
        await trio.sleep(OLD + 60)
        assert [is_settled([network.nodes[name] for name in names]) for names in ("ab", "cd")] == [True, True]
        assert all(file.exists() for file in theirs)
    assert sum("has files that are not read" in line for line in warnings_in(caplog)) == 4


# What a node says of it ----------------------------------------------------------------------------------------------


async def test_a_node_that_finds_nobody_is_attached_when_it_is_written(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_simulated_network(seed=1) as network:
        start(network, tmp_path, "a")
        await until(lambda: "a" in network.nodes, 5)
        a = network.nodes["a"]
        with trio.fail_after(5):
            await a.wait_attached()
        assert rules_of(a).is_global
        assert written_in(tmp_path) == {"a"}


async def test_a_node_that_cannot_be_written_says_what_is_wrong(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with open_simulated_network(seed=1) as network:
        seeds = [f"dir:{tmp_path}"]
        with pytest.raises(NotAttached, match=f"dir:{tmp_path}: {NOBODY}"):
            async with network.open_node("deaf", seeds=seeds, binds=(), attach_timeout=20):
                raise AssertionError("it opened all the same")
        now = network._environment(network._host("a")).wall_clock()
        leave(tmp_path, 1, renewed_at=now)
        with pytest.raises(NotAttached, match=f"dir:{tmp_path}/0*1: nobody listens on dead1"):
            async with network.open_node("deaf", seeds=seeds, binds=(), attach_timeout=20):
                raise AssertionError("it opened all the same")
