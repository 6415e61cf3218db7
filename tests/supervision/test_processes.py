"""Processes that are nodes beside their parent: launching, telling that they have ended, stopping, killing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
from chaos.crew import environment
from child_process import (
    SECRET,
    WITHIN,
    command_of,
    is_running,
    launch_program,
    open_parent,
    seconds_until_gone,
    started_parent,
)
from watched_nodes import until

import trio_mp
from trio_mp._supervision import process_invitation
from trio_mp._supervision.process_invitation import VARIABLE, Invitation, ParentPipe, accept_invitation
from trio_mp._supervision.processes import (
    DRAINED,
    LONGEST_TOLD,
    MOST_TOLD,
    ChildProcess,
    _as_dialled_here,
    drained_message,
    launch,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, and descriptors that are inherited")


@pytest.fixture
def unix_bind(short_directory: Path) -> str:
    return f"unix:{short_directory}/parent.sock"


# Launching ------------------------------------------------------------------------------------------------------------


async def test_a_process_is_a_node_beside_its_parent(bind: str) -> None:
    async with open_parent(bind) as node:
        child = await launch_program(node, "server")
        assert child.returncode is None
        assert child.node_id in node.peers
        assert await node.call(child.port, "double", 21) == (42,)
        child.stop(None)
        assert await child.wait() == ()
        assert child.returncode == 0


async def test_a_process_without_a_handler_is_reached_by_its_node(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "idle")
        assert child.port == child.node_id
        assert (await node.call(child.port, "time"))[0] > 0
        # Its program is in no block of `stop_on_signals`, so it leaves without draining.
        child.stop(None, drains=True)
        assert await child.wait() == ()


async def test_the_secret_is_told_by_the_pipe_alone(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "server")
        pid, group, arguments, variables, standard_input, inheritable = await node.call(child.port, "tell")
        assert (pid, group) == (child.pid, child.pid), "it leads a group, which the terminal does not signal"
        told = [*arguments, *variables.values()]
        if sys.platform == "linux":
            told.append(Path(f"/proc/{pid}/environ").read_text())
        assert not [text for text in told if SECRET in text]
        # What it starts itself is no child of ours.
        assert VARIABLE not in variables
        assert standard_input == ""
        assert inheritable == []


async def test_the_parents_end_of_the_pipe_is_not_inherited(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        first = await launch_program(node, "idle")
        # Were it, the first could live on in the second.
        await launch_program(node, "idle")
        first._pipe.close()
        with trio.fail_after(WITHIN):
            assert await first.wait() == (), "it left by itself"


async def test_standard_input_as_the_pipe(unix_bind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_invitation, "BY_STANDARD_INPUT", True)
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "server")
        assert (await node.call(child.port, "tell"))[4] == "", "and its program reads nothing there"
        child.stop(None)
        assert await child.wait() == ()


async def test_a_process_in_another_directory(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short_directory)
    Path("elsewhere").mkdir()
    async with open_parent("unix:parent.sock") as node:
        await launch_program(node, "idle", cwd="elsewhere")


async def test_on_all_interfaces(require_tcp: None) -> None:
    async with open_parent("0.0.0.0:0") as node:
        await launch_program(node, "idle")


async def test_a_network_without_encryption(unix_bind: str) -> None:
    async with open_parent(unix_bind, encryption=False) as node:
        await launch_program(node, "idle")


async def test_a_process_accepts_all_secrets_of_its_parent(short_directory: Path) -> None:
    old = "the secret that is going"
    async with open_parent(f"unix:{short_directory}/parent", secret=(SECRET, old)) as node:
        child = await launch_program(node, "server", f"unix:{short_directory}/child")
        # Another node of that network, which the rotation has not reached: it dials with the old one.
        seeds = [f"unix:{short_directory}/child"]
        async with open_parent(f"unix:{short_directory}/other", "other", seeds=seeds, secret=old) as other:
            assert await other.call(child.port, "double", 3) == (6,)


async def test_a_parent_with_seeds_becomes_no_seed(short_directory: Path) -> None:
    async with (
        open_parent(f"unix:{short_directory}/seed", "seed") as seed,
        open_parent(f"unix:{short_directory}/parent", seeds=[f"unix:{short_directory}/seed"]) as node,
    ):
        child = await launch_program(node, "server")
        assert await seed.call(child.port, "double", 4) == (8,)
        assert node._membership is not None
        assert not node._membership.rules.is_global


@pytest.mark.parametrize("moved", [True, False])
def test_seeds_of_a_parent_that_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    monkeypatch.chdir(tmp_path)
    assert _as_dialled_here("srv:_app._tcp.example", moved=moved) == "srv:_app._tcp.example"
    assert _as_dialled_here("dir:jobs/42", moved=moved) == f"dir:{Path.cwd()}/jobs/42"


async def test_the_seeds_of_a_parent_may_be_away(short_directory: Path) -> None:
    async with open_parent(f"unix:{short_directory}/parent", seeds=[f"unix:{short_directory}/nobody"]) as node:
        await launch_program(node, "idle")


async def test_a_network_with_certificates(short_directory: Path, tmp_path: Path) -> None:
    trio_mp.make_authority(tmp_path / "authority.pem", tmp_path / "authority.key")
    for name in ("parent", "child"):
        trio_mp.make_certificate(
            name,
            tmp_path / f"{name}.pem",
            tmp_path / f"{name}.key",
            authority=tmp_path / "authority.pem",
            authority_key=tmp_path / "authority.key",
            may_be_global=True,
        )
    authority = tmp_path / "authority.pem"
    certificate = trio_mp.Certificate(tmp_path / "parent.pem", tmp_path / "parent.key", authority, verify_node_id=False)
    theirs = [tmp_path / "child.pem", tmp_path / "child.key", authority]
    async with open_parent(f"unix:{short_directory}/s", secret=None, certificate=certificate) as node:
        child = await launch_program(node, "certified", *theirs)
        assert await node.call(child.port, "double", 2) == (4,)
        with pytest.raises(RuntimeError, match="exit status 1"):
            await launch_program(node, "idle")


# What cannot be launched ----------------------------------------------------------------------------------------------


async def test_a_node_without_a_network_has_no_processes() -> None:
    async with trio_mp.open_node("alone") as node:
        with pytest.raises(RuntimeError, match=r"alone, which has none: give open_node\(\) binds=\['unix:PATH'\]"):
            await launch_program(node, "idle")


@pytest.mark.parametrize(
    "command, kind, text",
    [
        ("python", TypeError, "as a list"),
        ([], ValueError, "at least a program"),
        (["python", 3], TypeError, r"command\[1\]"),
        (["/nowhere/to/be/found"], FileNotFoundError, "nowhere"),
    ],
)
async def test_no_command(unix_bind: str, command: list[str], kind: type[Exception], text: str) -> None:
    async with open_parent(unix_bind) as node:
        ports = len(node._lifecycle.ports)
        open_files = os.listdir("/dev/fd")  # noqa: PTH208
        with pytest.raises(kind, match=text):
            await launch(node._runtime, command)
        assert len(node._lifecycle.ports) == ports
        assert len(os.listdir("/dev/fd")) == len(open_files)  # noqa: PTH208


@pytest.mark.parametrize("name, how", [("dead_on_arrival", "exit status 3"), ("wrong", "exit status 1")])
async def test_a_process_that_ends_before_it_is_ready(unix_bind: str, name: str, how: str) -> None:
    async with open_parent(unix_bind) as node:
        with pytest.raises(RuntimeError, match=f"ended before that: process_ended: .*{how}"):
            await launch_program(node, name)


async def test_a_process_that_is_never_ready(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        with pytest.raises(trio.TooSlowError, match=r"killed by SIGKILL .it had not opened its node after 0.5 s"):
            await launch_program(node, "mute", start_timeout=0.5)


async def test_a_launch_that_is_cancelled_leaves_nothing(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        ports = len(node._lifecycle.ports)
        with trio.move_on_after(0.5) as scope:
            await launch_program(node, "mute")
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert len(node._lifecycle.ports) == ports
        # It is waited for, so it is no zombie either.
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - it does not wait


async def test_what_has_ended_leaves_no_descriptor(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        await (await launch_program(node, "done")).wait()
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208
        await (await launch_program(node, "done")).wait()
        await until(lambda: len(os.listdir("/dev/fd")) == before)  # noqa: PTH208


async def test_a_node_is_opened_once(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "asking_twice")
        assert await node.call(child.port, "double", 1) == (2,)


async def test_a_program_that_nobody_has_launched() -> None:
    with pytest.raises(RuntimeError, match=r"by itself a program uses open_node\(\)"):
        async with trio_mp.open_child_node():
            pass


# How they end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, how", [("done", None), ("failing", "exit status 7")])
async def test_a_process_that_ends_by_itself(unix_bind: str, name: str, how: str | None) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, name)
        text = f"{' '.join(child.command)}, process {child.pid}: {how}"
        assert await child.wait() == (("process_ended", text) if how else ())


async def test_whoever_waits_is_told_once(unix_bind: str) -> None:
    told: list[object] = []
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "idle")
        child.on_ended = told.append
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert told == [("process_ended", f"{' '.join(child.command)}, process {child.pid}: killed by SIGKILL")]
        assert not is_running(child.pid)
    assert len(told) == 1


async def test_a_process_that_is_stopped_unwinds(unix_bind: str, tmp_path: Path) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "tidy", tmp_path / "left")
        child.stop(30)
        assert await child.wait() == ()
        assert (tmp_path / "left").read_text() == child.node_id


@pytest.mark.parametrize("name", ["stubborn", "blocking", "lingering"])
async def test_a_process_that_does_not_leave_is_killed(unix_bind: str, name: str) -> None:
    async with open_parent(unix_bind, shutdown_timeout=30) as node:
        child = await launch_program(node, name)
        child.stop(0.5)
        (_, text) = await child.wait()
        assert "killed by SIGKILL (it was told to stop, and had not ended after 0.5 s)" in str(text)


async def test_a_process_behind_a_shell_is_killed_with_it(unix_bind: str, tmp_path: Path) -> None:
    shell = ["sh", "-c", f'echo $$ >{tmp_path}/shell; "$@"; true', "sh", *command_of("tidy", tmp_path / "left")]
    async with open_parent(unix_bind) as node:
        child = await launch(node._runtime, shell, env=environment())
        assert int((tmp_path / "shell").read_text()) == child.pid
        gone = trio.Event()
        # Before the kill: somebody who asks behind it may wait until the node was looked for in vain.
        node.monitor(child.node_id, lambda *_: gone.set())
        child.kill()
        await child.wait()
        # Its node was not the shell's process, so nobody here has waited for it: its connection tells.
        await gone.wait()
        assert not (tmp_path / "left").exists(), "it was killed, and not only noticed that its parent let go of it"


async def test_a_process_that_stands_still_is_killed(unix_bind: str) -> None:
    async with open_parent(unix_bind, shutdown_timeout=1) as node:
        child = await launch_program(node, "idle")
        os.kill(child.pid, signal.SIGSTOP)
        (_, text) = await child.wait()
        assert "transport_error" in str(text)
        assert "nothing was heard from" in str(text)
        assert "1 s later it still ran" in str(text)


async def test_a_process_whose_loop_is_blocked_is_killed(unix_bind: str) -> None:
    async with open_parent(unix_bind, shutdown_timeout=1) as node:
        child = await launch_program(node, "server")
        node.send(child.port, "block")
        (_, text) = await child.wait()
        assert "nothing was heard from" in str(text)


async def test_a_process_ends_with_its_port(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        killed, failed = [await launch_program(node, "server") for _ in range(2)]
        node.kill(killed.port)
        assert await killed.wait() == ()
        node.send(failed.port, "raise")
        assert str((await failed.wait())[1]).endswith("exit status 1")


async def test_a_process_lives_no_longer_than_the_node(unix_bind: str) -> None:
    async with open_parent(unix_bind) as node:
        child = await launch_program(node, "stubborn")
    assert child.ended.is_set()
    assert not is_running(child.pid)


async def test_a_process_does_not_survive_a_node_that_is_cancelled(unix_bind: str) -> None:
    children: list[ChildProcess] = []
    with trio.CancelScope() as scope:
        async with open_parent(unix_bind) as node:
            children.append(await launch_program(node, "stubborn"))
            scope.cancel()
            await trio.sleep_forever()
    (child,) = children
    assert child.ended.is_set()
    assert not is_running(child.pid)


# The death of the parent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("idle", "server"), ("blocking",), ("stubborn",), ("lingering",), ("finalising",), ("idle", "blocking", "forked")],
    ids=" ".join,
)
def test_nothing_is_left_of_a_parent_that_was_killed(unix_bind: str, tmp_path: Path, names: tuple[str, ...]) -> None:
    with started_parent(unix_bind, *names, log=tmp_path / "log") as parent:
        assert seconds_until_gone(parent) < WITHIN


def test_a_process_that_does_not_leave_says_where_it_is(unix_bind: str, tmp_path: Path) -> None:
    with started_parent(unix_bind, "blocking", log=tmp_path / "log") as parent:
        seconds_until_gone(parent)
    said = (tmp_path / "log").read_text()
    assert "the parent of process" in said
    assert "in be_blocking" in said


# The pipe -------------------------------------------------------------------------------------------------------------


def an_invitation(secret: bytes = b"a secret to be kept") -> Invitation:
    return Invitation("parent#0123456789abcdef", os.getpid(), ("s",), ("a", "b"), (secret, b"\0\xff"), True, False, 7)


def take(pipe: ParentPipe, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Invitation]:
    monkeypatch.setenv(VARIABLE, pipe.launch_options({})["env"][VARIABLE])
    return accept_invitation()


def test_an_invitation_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = ParentPipe(an_invitation())
    descriptor, received = take(pipe, monkeypatch)
    assert received == an_invitation()
    pipe.ask_to_stop()
    assert os.read(descriptor, 100) == process_invitation.STOP, "and nothing behind it was read"
    pipe.close()
    pipe.ask_to_stop()


def test_an_invitation_shows_no_secret() -> None:
    assert "secret" not in repr(an_invitation())


def test_an_invitation_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="fits into a pipe"):
        ParentPipe(an_invitation(b"x" * 1_000_000))


def test_whoever_is_asked_to_stop_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = ParentPipe(an_invitation())
    for _ in range(100_000):
        pipe.ask_to_stop()
    pipe.close()


@pytest.mark.parametrize("said", ["", "x", "3", "999:1", "0:0", "0:1", "{pipe}:1", "-1:2", "²:1"])
def test_what_names_no_pipe_of_ours(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    before = os.dup(0)
    os.dup2(null, 0)
    try:
        monkeypatch.setenv(VARIABLE, said.format(pipe=read_end))
        with pytest.raises(RuntimeError, match="open_child_node"):
            accept_invitation()
        assert VARIABLE not in os.environ
    finally:
        os.dup2(before, 0)
        for descriptor in (read_end, write_end, null, before):
            os.close(descriptor)


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b"[]\n", b'{"secrets": ["a secret"]}\n', b"\xff\n"])
def test_what_is_no_invitation(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = ParentPipe(an_invitation())
    os.read(pipe._read_end, 10_000)
    os.write(pipe._write_end, line)
    said = pipe.launch_options({})["env"][VARIABLE]
    os.close(pipe._write_end)
    pipe._write_end = -1
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(ValueError, match="expected an invitation") as caught:
        accept_invitation()
    assert "a secret" not in str(caught.value)
    pipe.close()


def test_what_a_process_says_of_what_it_left_is_bounded() -> None:
    left = [trio_mp.Unfinished(f"a#{number}", "x" * 1000) for number in range(MOST_TOLD + 3)]
    tag, *told = drained_message("a", left)
    assert tag == DRAINED
    assert told[0] == ["a#0", "x" * LONGEST_TOLD]
    assert (len(told), told[-1]) == (MOST_TOLD + 1, ["a", "3 more"])
    assert drained_message("a", ()) == (DRAINED,)
