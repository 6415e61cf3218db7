"""Supervised processes: restarts, the reference to them, and how they are stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
from chaos.crew import environment
from child_process import command_of, is_running, open_parent
from watched_nodes import until

import trio_mp
from trio_mp._supervision.process_kind import name_of_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def unix_bind(short_directory: Path) -> str:
    return f"unix:{short_directory}/parent.sock"


async def pid_of(node: trio_mp.Node, child: trio_mp.ChildRef) -> int:
    pid = (await node.call(child.port, "tell"))[0]
    assert isinstance(pid, int)
    return pid


async def test_a_process_that_is_killed_is_started_again(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
        server = await crew.run_process(command_of("server"), env=environment())
        assert server.value == trio_mp.node_of(server.port)
        first, epoch = await pid_of(node, server), await node.call(server.port, "epoch")
        assert epoch == (server.epoch,)
        with node.monitor(server.port, lambda *_: None) as monitor:
            os.kill(first, signal.SIGKILL)
            await until(lambda: server.restarts)
            await server.up()
        assert monitor.reason is not None
        second = await pid_of(node, server)
        assert second != first
        assert await node.call(server.port, "epoch") > epoch
        assert not is_running(first), "and it was waited for"
    assert not is_running(second)


async def fail_again_and_again(bind: str) -> None:
    async with open_parent(bind) as node, node.open_supervisor(limit=1, within=60, backoff=None) as crew:
        await crew.run_process(command_of("failing"), env=environment())
        await crew.wait()


async def test_a_supervisor_that_gives_up_says_how_its_process_has_ended(unix_bind: str) -> None:
    with pytest.raises(trio_mp.SupervisorFailed) as caught:
        await fail_again_and_again(unix_bind)
    (error,) = caught.value.exceptions
    assert isinstance(error, trio_mp.PortDied)
    assert "exit status 7" in str(error)


async def test_a_process_that_has_done_its_work_is_not_started_again(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
        done = await crew.run_process(command_of("done"), env=environment(), restart="transient")
        await crew.wait()
        assert (done.restarts, done.reason) == (0, ())


async def test_a_process_that_is_stopped_unwinds(unix_bind: str, tmp_path: Path) -> None:
    async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
        tidy = await crew.run_process(command_of("tidy", tmp_path / "left"), env=environment(), shutdown=30)
        await crew.stop(tidy)
        assert (tmp_path / "left").read_text() == tidy.value


async def test_a_process_that_does_not_leave_is_killed(unix_bind: str) -> None:
    async with open_parent(unix_bind, shutdown_timeout=30) as node, node.open_supervisor() as crew:
        stubborn = await crew.run_process(command_of("stubborn"), env=environment(), shutdown=0.3)
        await crew.stop(stubborn)
        assert "had not ended after 0.3 s" in str(stubborn.reason)


async def test_the_first_start_is_what_fails(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
        with pytest.raises(FileNotFoundError):
            await crew.run_process(["/nowhere/to/be/found"])
        with pytest.raises(TypeError, match="as a list"):
            await crew.run_process("python")
        with pytest.raises(RuntimeError, match="exit status 3"):
            await crew.run_process(command_of("dead_on_arrival"), env=environment())
        assert crew.children == ()


async def test_a_start_that_is_cancelled_leaves_nothing(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
        with trio.move_on_after(0.3) as scope:
            await crew.run_process(command_of("mute"), env=environment())
        assert scope.cancelled_caught
        assert crew.children == ()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - it does not wait


async def test_a_block_that_is_cancelled_leaves_no_process(unix_bind: str) -> None:
    pids: list[int] = []
    with trio.CancelScope() as scope:
        async with open_parent(unix_bind) as node, node.open_supervisor() as crew:
            server = await crew.run_process(command_of("server"), env=environment())
            pids.append(await pid_of(node, server))
            scope.cancel()
            await trio.sleep_forever()
    assert not is_running(*pids)


@pytest.mark.parametrize(
    "command, name",
    [
        ([sys.executable, "-P", "-m", "app.worker", "x.py"], "app.worker"),
        ([sys.executable, "/srv/app/worker.py", "-v"], "worker"),
        (["/usr/bin/worker", "-m"], "worker"),
    ],
)
def test_what_a_process_is_called(command: list[str], name: str) -> None:
    assert name_of_command(command) == name
