"""`trio-mp run --workers`: processes that run the same program, and what their end says."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
from command_lines import environment, open_command, run_command
from running_programs import SECRET

from trio_mp import CallError, Drained, open_node

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, and signals")

APP = """\
import os
import pathlib
import sys
import trio

def say(*words):
    # In one piece: several workers write to the same pipe.
    sys.stdout.write(" ".join(map(str, words)) + "\\n")

async def main(node, mode):
    say(mode, node.id)
    if mode == "fails":
        raise ValueError(mode)
    if mode == "once" and not pathlib.Path("failed").exists():
        pathlib.Path("failed").touch()
        raise ValueError(mode)
    if mode == "busy":
        await answer(node)
    if mode == "sleeps":
        try:
            say("pid", os.getpid())
            await trio.sleep_forever()
        finally:
            say("unwinds", node.id)

async def answer(node):
    port = node.port()

    @port.on("work")
    async def work(seconds):
        await node.draining.wait()
        await trio.sleep(seconds)
        say("answered", node.id)

    node.send(port, "work", float(os.environ["BUSY"]))
    say("pid", os.getpid())
    try:
        await trio.sleep_forever()
    finally:
        say("unwinds", node.id)

def service(node):
    say("service", node.id, node._runtime.settings.secret_file)

"""


@pytest.fixture
def folder(short_directory: Path) -> Path:
    (short_directory / "app.py").write_text(APP)
    return short_directory


async def test_workers_are_nodes_of_the_network_and_each_drains_once_whoever_is_told_to_stop(folder: Path) -> None:
    variables = environment(TRIO_MP_SECRET=SECRET, TRIO_MP_CONNECT_TIMEOUT="20", BUSY="0.5")
    options = ("--id", "ruth", "--bind", "unix:ruth", "--workers", "2", "--restart", "always")
    async with open_command("run", *options, "app", "busy", cwd=folder, env=variables) as program:
        first = await program.expect("^pid ")
        second = await program.expect("^pid ", after=first)
        async with open_node("eggs", seeds=[f"unix:{folder}/ruth"], secret=SECRET, profile=False) as node:
            for name in ("ruth", "ruth/1", "ruth/2"):
                assert await node.call(name, "info") == (name,)
        # As systemd does, which tells all processes of a service: the workers hear it twice.
        for line in (first, second):
            os.kill(int(program.lines[line - 1].split()[1]), signal.SIGTERM)
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 0
        await program.ended.wait()
        for name in ("ruth/1", "ruth/2"):
            assert f"answered {name}" in program.lines
            assert program.lines.index(f"answered {name}") < program.lines.index(f"unwinds {name}")
        assert not [line for line in program.lines if "started again" in line or "Traceback" in line]


def test_workers_that_end_by_themselves_end_their_parent_and_need_no_network_of_their_user(folder: Path) -> None:
    # It fails at first, and is started again, because that is the default.
    said = run_command("run", "--id", "ruth", "--workers", "1", "app", "once", cwd=folder, env=environment())
    assert said.returncode == 0
    assert said.stdout == "once ruth/1\n" * 2
    assert "is started again" in said.stderr


@pytest.mark.parametrize("restart, lives", [("never", 1), ("on-failure", 4)])
def test_the_exit_status_says_whether_a_worker_has_failed(folder: Path, restart: str, lives: int) -> None:
    words = ("--id", "ruth", "--workers", "1", "--restart", restart, "app", "fails")
    said = run_command("run", *words, cwd=folder, env=environment())
    assert said.returncode == 1
    assert said.stdout == "fails ruth/1\n" * lives
    last = said.stderr.splitlines()[-1]
    if restart == "never":
        assert last.startswith("trio-mp: the worker ruth/1 has failed: process_ended: ")
        assert last.endswith("exit status 1")
    else:
        assert last == ("trio-mp: supervisor of the workers has given up: more than 3 restarts within 30 s, of ruth/1")


def test_what_is_wrong_with_the_program_is_said_once(folder: Path) -> None:
    said = run_command("run", "-q", "--id", "ruth", "--workers", "3", "ap", cwd=folder, env=environment())
    assert said.returncode == 1
    first, last = said.stderr.splitlines()
    assert first.startswith("trio-mp: run: expected the name of a module that Python finds in")
    assert last.startswith("trio-mp: the workers cannot be started: ")


def test_workers_run_the_services_and_read_the_secrets_themselves(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    options = ("--id", "ruth", "--secret-file", "secret", "--workers", "1")
    # Only one process can answer probes there.
    variables = environment(TRIO_MP_SERVICES="app:service", TRIO_MP_HEALTH="unix:health")
    said = run_command("run", "-q", *options, "app", "ends", cwd=folder, env=variables)
    # Not in the process that supervises it; and what is new in the file reaches the worker, too.
    assert said.stdout == "service ruth/1 secret\nends ruth/1\n"
    assert (said.returncode, said.stderr) == (0, "")


async def test_a_worker_that_is_cut_short_is_a_failure(folder: Path) -> None:
    variables = environment(BUSY="1000", TRIO_MP_DRAIN_TIMEOUT="0.2")
    words = ("run", "--id", "ruth", "--workers", "1", "app", "busy")
    async with open_command(*words, cwd=folder, env=variables) as program:
        await program.expect("^pid ")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 1
        await program.expect("^trio-mp: the node ruth/1 was cut short; unfinished: ruth/1#")
        await program.expect("^trio-mp: the worker ruth/1 has failed: .* exit status 1$")


async def test_an_operator_hears_what_all_workers_have_left(folder: Path) -> None:
    variables = environment(BUSY="1000", TRIO_MP_DRAIN_TIMEOUT="1", TRIO_MP_SECRET=SECRET, TRIO_MP_INSPECT="act")
    words = ("--id", "ruth", "--bind", "unix:ruth", "--workers", "3", "app", "busy")
    async with (
        open_command("run", *words, cwd=folder, env=variables) as program,
        open_node("eggs", seeds=[f"unix:{folder}/ruth"], secret=SECRET, profile=False) as node,
        trio.open_nursery() as nursery,
    ):
        line = 0
        for _ in range(3):
            line = await program.expect("^pid ", after=line)
        pid = int(program.lines[line - 1].split()[1])

        async def kill_one() -> None:
            await program.expect("the node ruth drains")
            os.kill(pid, signal.SIGKILL)

        nursery.start_soon(kill_one)
        left = (await node.inspect("ruth").stop()).unfinished
        by_node = {each.port.partition("#")[0]: each.reason for each in left}
        assert len(left) == 3
        assert sorted(by_node) == ["ruth/1", "ruth/2", "ruth/3"]
        (killed,) = [name for name, reason in by_node.items() if reason.startswith("that worker has not said what it")]
        assert "killed by SIGKILL" in by_node.pop(killed)
        assert set(by_node.values()) == {"its handler runs"}
        await program.expect("^trio-mp: the node ruth has drained; unfinished: ruth/")
        assert await program.process.wait() == 1


async def test_a_second_ctrl_c_stops_the_workers_now(folder: Path) -> None:
    variables = environment(BUSY="1000")
    words = ("run", "--id", "ruth", "--workers", "1", "app", "busy")
    async with open_command(*words, cwd=folder, env=variables) as program:
        await program.expect("^pid ")
        program.process.send_signal(signal.SIGINT)
        await program.expect("the node ruth/1 drains")
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 130
        # The output of the command is the worker's, too.
        await program.ended.wait()
        assert program.lines[-1] == "trio-mp: interrupted"


async def test_a_worker_is_started_again_when_an_operator_says_so(folder: Path) -> None:
    variables = environment(TRIO_MP_SECRET=SECRET, TRIO_MP_INSPECT="act")
    options = ("--id", "ruth", "--bind", "unix:ruth", "--workers", "1")
    async with (
        open_command("run", *options, "app", "sleeps", cwd=folder, env=variables) as program,
        open_node("eggs", seeds=[f"unix:{folder}/ruth"], secret=SECRET, profile=False) as node,
    ):
        began = await program.expect("^sleeps ruth/1$")
        assert await node.inspect("ruth/1").restart() == Drained()
        again = await program.expect("^sleeps ruth/1$", after=began)
        assert "unwinds ruth/1" in program.lines[:again]
        # It was no restart that counts.
        await program.expect(r"is started again .* \(0 of at most 3 within 30 s\): shutdown: .* exit status 75")
        with pytest.raises(CallError, match="nobody is known who would start ruth again"):
            await node.inspect("ruth").restart()
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0


async def test_no_worker_outlives_a_parent_that_is_killed(folder: Path) -> None:
    # Not even one that does not come to an end of its imports.
    (folder / "slow.py").write_text("import time\nprint('imported')\ntime.sleep(1000)\n")
    async with open_command("run", "-q", "--id", "ruth", "--workers", "1", "slow", cwd=folder) as program:
        await program.expect("^imported$")
        program.process.kill()
        await program.process.wait()
        # The output of the command is theirs, too: it ends with the last of them.
        with trio.fail_after(10):
            await program.ended.wait()
