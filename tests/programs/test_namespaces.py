"""Three hosts, each with a network of its own, and a wire between every two of them, of which one is cut."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from chaos.crew import environment
from node_process import all_pairs, open_crew

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's"),
    pytest.mark.usefixtures("require_namespaces"),
]

NEW = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c"]

NAMES = ("anna", "bert", "cleo")
WIRES = {("anna", "bert"): "10.77.1", ("anna", "cleo"): "10.77.2", ("bert", "cleo"): "10.77.3"}
"""The first three numbers of the addresses at both ends of each; the fourth is 1 at the first of the two, and 2."""

HEARTBEAT = 0.5
CONNECT_TIMEOUT = 2.5
NOTICED_WITHIN = 10.0
"""In seconds, on a machine that has other things to do; on a quiet one it is three heartbeats and a little."""


def lay_out() -> str:
    """The commands that make the hosts and their wires, for a shell in which one is root."""
    # What is mounted there is seen by this shell and what joins it only, and goes with them.
    commands = ["mount -t tmpfs none /run"]
    for name in NAMES:
        commands += [f"ip netns add {name}", f"ip -n {name} link set lo up"]
        # An address that every host has, as that of a bridge to its containers: who dials it meets itself.
        commands.append(f"ip -n {name} addr add 172.17.0.1/32 dev lo")
    for (one, other), network in WIRES.items():
        commands.append(f"ip link add {other} netns {one} type veth peer name {one} netns {other}")
        for number, (name, end) in enumerate([(one, other), (other, one)], 1):
            commands.append(f"ip -n {name} addr add {network}.{number}/30 dev {end}")
            commands.append(f"ip -n {name} link set {end} up")
    return " && ".join(commands)


class Hosts:
    """Three hosts, for as long as a process lives.

    Args:
      holder: the process, which is in the namespaces that they were made in.
    """

    def __init__(self, holder: trio.Process) -> None:
        self._inside = ["nsenter", f"--target={holder.pid}", "--user", "--preserve-credentials", "--net", "--mount"]

    def on(self, name: str) -> list[str]:
        """What a command goes behind that is to run on that host."""
        return [*self._inside, "ip", "netns", "exec", name]

    async def set_wire(self, one: str, other: str, state: str) -> float:
        """Have the wire between two `up` or `down`, at the end of the first; returns when that was begun."""
        begun = time.monotonic()
        await trio.run_process([*self._inside, "ip", "-n", one, "link", "set", other, state])
        return begun


@pytest.fixture(scope="module")
def require_namespaces() -> None:
    """Skips where the hosts cannot be made. Not a coroutine: what leaves one of those as a skip loses its reason."""
    missing = [tool for tool in ("unshare", "nsenter", "ip", "mount") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no network namespaces: there is no command {', '.join(missing)} here")
    tried = subprocess.run([*NEW, lay_out()], capture_output=True, encoding="utf-8", timeout=30, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespaces can be made here: {' '.join(tried.stderr.split())}")


@asynccontextmanager
async def open_hosts() -> AsyncGenerator[Hosts, None]:
    """Three hosts that are gone when the block is left and their processes have ended."""
    # The shell becomes `cat`, which ends with its input: when this process does, at the latest.
    holder = await trio.lowlevel.open_process(
        [*NEW, f"{lay_out()} && echo made && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert await holder.stdout.receive_some() == b"made\n"
        yield Hosts(holder)
    finally:
        with trio.CancelScope(shield=True):
            holder.kill()
            await holder.wait()
            await holder.stdin.aclose()
            await holder.stdout.aclose()


async def test_the_addresses_of_a_host_are_those_of_its_interfaces() -> None:
    program = "from trio_mp._transport.interfaces import interface_hosts; print(*interface_hosts())"
    async with open_hosts() as hosts:
        command = [*hosts.on("anna"), "ip", "addr", "add", "fd77::1/64", "dev", "bert", "nodad"]
        await trio.run_process(command)
        for name, expected in (
            ("anna", {"172.17.0.1", "10.77.1.1", "10.77.2.1", "fd77::1"}),
            ("cleo", {"172.17.0.1", "10.77.2.2", "10.77.3.2"}),
        ):
            command = [*hosts.on(name), sys.executable, "-P", "-c", program]
            done = await trio.run_process(command, capture_stdout=True, env=environment())
            assert set(done.stdout.decode().split()) == expected


async def test_two_hosts_are_cut_off_from_each_other_while_a_third_sees_both(
    short_directory: Path, record_property: Callable[[str, object], None]
) -> None:
    seeds = {"cleo": [], "anna": [f"{WIRES['anna', 'cleo']}.2:4040"], "bert": [f"{WIRES['bert', 'cleo']}.2:4040"]}
    cut = ("anna", "bert")
    uncut = [pair for pair in all_pairs(NAMES) if "cleo" in pair]
    async with open_hosts() as hosts, open_crew(short_directory, NAMES) as crew:
        for name, its_seeds in seeds.items():
            await crew.start(
                name,
                ["*:4040"],
                its_seeds,
                heartbeat=HEARTBEAT,
                connect_timeout=CONNECT_TIMEOUT,
                prefix=hosts.on(name),
            )
        await crew.all_find(NAMES)
        await crew.ask(NAMES)
        await crew.tell(NAMES, "feed")
        await crew.flow(all_pairs(NAMES))
        assert not [process.said for process in crew.processes.values() if process.find("fired")]

        at = await hosts.set_wire(*cut, "down")
        for name, other in all_pairs(cut):
            told = await crew.processes[name].expect("fired", other, "transport_error", since=at)
            took = told.at - at
            record_property(f"{name} was told after", took)
            print(f"{name} was told of {other} {took:.3f} s after the cut")
            assert took < NOTICED_WITHIN
            # The monitor that was set then fires, too, when no connection has come up in time.
            await crew.processes[name].expect("fired", other, "transport_error", since=told.at + CONNECT_TIMEOUT / 2)
        for _ in range(3):
            await crew.flow(uncut)

        at = await hosts.set_wire(*cut, "up")
        for name, other in all_pairs(cut):
            took = (await crew.processes[name].expect("arrived", other, since=at)).at - at
            record_property(f"{name} heard again after", took)
            print(f"{name} heard of {other} again {took:.3f} s after the cut was mended")
        for _ in range(3):
            await crew.flow(all_pairs(NAMES))
        for name, other in uncut:
            assert not crew.processes[name].find("fired", other)
        verdict = await crew.drain(NAMES)
        assert verdict.holds, verdict.problems
        assert verdict.sent == verdict.delivered + verdict.reported
        numbers = {NAMES.index(name) for name in cut}
        assert {loss.sender for loss in verdict.losses} == {loss.receiver for loss in verdict.losses} == numbers
        await crew.leave(reversed(NAMES))
