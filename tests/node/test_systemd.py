"""What a node tells the manager of its process: a socket plays the manager."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, FakeNetwork, place, until, warnings_in

import trio_mp
from trio_mp._node.opening import open_unstarted
from trio_mp._node.signals import manager_of
from trio_mp._node.systemd import AGAIN, EXTENSION, find_manager
from trio_mp._transport.inherited import InheritedSockets
from trio_mp._transport.service_manager import ServiceManager
from trio_mp.lowlevel import Environment, open_node_in

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")

EXTEND = f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000:.0f}"


class Manager:
    """A socket that takes what services tell.

    Args:
      address: as `NOTIFY_SOCKET` says it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """All messages that have come since, each as its lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(10_000).decode().splitlines())
            except BlockingIOError:
                return messages

    def variables(self, **others: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, **others}


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, short_directory: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets")
    found = Manager(f"{short_directory}/notify" if request.param == "path" else f"@{short_directory}")
    yield found
    found.socket.close()


def known(manager: Manager, **others: str) -> ServiceManager:
    """The manager as a process knows it that was started with these variables."""
    found = ServiceManager()
    environ = manager.variables(**others)
    found.take_variables(environ)
    assert not environ
    return found


def open_service(found: ServiceManager, network: FakeNetwork, node_id: str = "a", **settings: Any) -> Any:
    given: dict[str, Any] = {"binds": [place(node_id)], "secret": SECRET, "encryption": False, **settings}
    return open_node_in(Environment(transport=network, manager=found), node_id, **given)


settle = trio.testing.wait_all_tasks_blocked


# The states of a service ---------------------------------------------------------------------------------------------


async def test_a_service_that_starts_drains_and_closes(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    found, network = known(manager), FakeNetwork()
    async with open_service(found, network) as node:
        await settle()
        assert manager.heard() == [["READY=1", "STATUS=a global node"]]
        node._runtime.standing.begin_stopping()
        assert await node.drain()
        heard = manager.heard()
        assert heard[0][:2] == ["STOPPING=1", EXTEND]
        assert heard[0][2].startswith("STATUS=draining")
        assert heard[-1][-1] == "STATUS=drained"
        assert sum(lines.count("STOPPING=1") for lines in heard) == 1
    assert manager.heard()[-1] == ["STATUS=closing"]


async def test_a_node_that_only_drains_goes_on(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    """A manager that was told of a stop would send no signal any more, and `systemctl stop` would wait for ever."""
    async with open_service(known(manager), FakeNetwork()) as node:
        await settle()
        manager.heard()
        await node.drain()
        await trio.sleep(100)
        heard = manager.heard()
        assert heard[-1] == ["STATUS=drained"]
        assert not [line for lines in heard for line in lines if not line.startswith("STATUS=")]


async def test_the_next_node_speaks_when_the_one_that_spoke_has_ended(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    found, network = known(manager, WATCHDOG_USEC="20000000"), FakeNetwork()
    async with open_service(found, network), trio.open_nursery() as nursery:
        first = await nursery.start(keep_open, found, network)
        # The one that was opened first speaks, and goes on.
        await trio.sleep(10)
        first.set()
    manager.heard()
    async with trio.open_nursery() as nursery:
        first = await nursery.start(keep_open, found, network)
        async with open_service(found, network, "b") as node:
            await trio.sleep(10)
            manager.heard()
            first.set()
            await trio.sleep(30)
            heard = manager.heard()
            assert ["WATCHDOG=1"] in heard
            assert ["STATUS=closing"] in heard
            # The program goes on: a manager that was told of a stop would kill it after a while.
            assert not [lines for lines in heard if "STOPPING=1" in lines]
            assert manager.heard() == []
            node._runtime.standing.begin_stopping()
            await node.drain()
            assert manager.heard()[0][0] == "STOPPING=1"


async def keep_open(found: ServiceManager, network: FakeNetwork, *, task_status: trio.TaskStatus[trio.Event]) -> None:
    """Run a node until the event is set."""
    event = trio.Event()
    async with open_service(found, network, "c"):
        await settle()
        task_status.started(event)
        await event.wait()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_passes_is_told_later(manager: Manager, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = known(manager)

    def refuse(*_: object) -> socket.socket:
        raise OSError(number, "no room")

    with monkeypatch.context() as full:
        full.setattr(socket, "socket", refuse)
        assert not found.tell("READY=1")
    assert found.tell("READY=1")
    assert manager.heard() == [["READY=1"]]


async def test_it_is_ready_when_its_services_have_started(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    settings: dict[str, Any] = {"binds": [place("a")], "secret": SECRET, "encryption": False}
    environment = Environment(transport=FakeNetwork(), manager=known(manager))
    async with open_unstarted(environment, "a", **settings) as node:
        await trio.sleep(100)
        assert manager.heard() == [["STATUS=services are starting"]]
        node._runtime.standing.start()
        assert manager.heard() == [["READY=1", "STATUS=a global node"]]


async def test_a_node_that_drains_before_its_services_have_started_is_never_ready(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    settings: dict[str, Any] = {"binds": [place("a")], "secret": SECRET, "encryption": False}
    environment = Environment(transport=FakeNetwork(), manager=known(manager))
    async with open_unstarted(environment, "a", **settings) as node:
        await settle()
        await node.drain()
        node._runtime.standing.start()
    assert not [lines for lines in manager.heard() if "READY=1" in lines]


async def test_that_it_is_attached_is_its_status(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    """A service whose network is away is ready all the same: its manager cannot mend that."""
    network = FakeNetwork()
    async with open_service(known(manager), network, seeds=[place("b")]):
        await settle()
        heard = manager.heard()
        assert heard[0][0] == "READY=1"
        assert heard[0][1].startswith("STATUS=not attached")
        async with open_node_in(
            Environment(transport=network), "b", binds=[place("b")], secret=SECRET, encryption=False
        ):
            await until(lambda: ["STATUS=attached to b"] in manager.heard())
        await trio.sleep(1)
        assert manager.heard()[-1][0].startswith("STATUS=looking for another global node")


async def test_it_asks_for_more_time_while_it_drains(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    async with open_service(known(manager), FakeNetwork()) as node:
        release = trio.Event()
        port: trio_mp.Port = node.port()

        @port.on("work")
        async def work() -> None:
            await release.wait()

        node.send(port, "work")
        await settle()
        manager.heard()
        node._runtime.standing.begin_stopping()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.drain)
            await trio.sleep(10 * AGAIN + 1)
            asked = [lines for lines in manager.heard() if EXTEND in lines]
            assert len(asked) == 11
            release.set()
        assert AGAIN < EXTENSION / 2, "one message may be lost"


async def test_a_node_that_closes_in_good_order_stops_the_service(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_service(known(manager), FakeNetwork()):
        await settle()
        manager.heard()
    assert manager.heard() == [["STOPPING=1", EXTEND, "STATUS=closing"]]


async def test_a_node_that_fails_may_be_opened_again(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    """A manager that was told of a stop would kill the program, which goes on."""
    found, network = known(manager), FakeNetwork()
    for number in range(2):
        with suppress(KeyError):
            async with open_service(found, network):
                await settle()
                assert manager.heard() == [["READY=1", "STATUS=a global node"]]
                raise KeyError(number)
        assert manager.heard() == [["STATUS=closing"]]
    with trio.CancelScope() as scope:
        async with open_service(found, network):
            await settle()
            manager.heard()
            scope.cancel()
            await trio.sleep_forever()
    assert manager.heard() == [["STATUS=closing"]]


async def test_signs_of_life_come_four_times_in_the_time(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    found = known(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    async with open_service(found, FakeNetwork()):
        await trio.sleep(0.1)
        assert "WATCHDOG=1" in manager.heard()[0]
        await trio.sleep(50)
        assert manager.heard() == [["WATCHDOG=1"]] * 10


async def test_a_loop_that_stands_gives_none(manager: Manager, mock_clock: trio.testing.MockClock) -> None:
    found = known(manager, WATCHDOG_USEC="20000000")
    async with open_service(found, FakeNetwork()):
        await settle()
        manager.heard()
        mock_clock.jump(100)
        assert not manager.heard()
        await settle()
        assert manager.heard() == [["WATCHDOG=1"]]


@pytest.mark.parametrize("process, wanted", [("1", "20000000"), ("", "0"), ("", ""), ("", "-5"), ("", "soon")])
async def test_no_sign_of_life_that_nobody_wants_from_this_process(
    manager: Manager,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    process: str,
    wanted: str,
) -> None:
    found = known(manager, WATCHDOG_USEC=wanted, **({"WATCHDOG_PID": process} if process else {}))
    async with open_service(found, FakeNetwork()):
        await trio.sleep(100)
        assert manager.heard() == [["READY=1", "STATUS=a global node"]]
    assert len(warnings_in(caplog)) == (wanted in {"0", "-5", "soon"})


async def test_one_node_of_a_process_speaks(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    found, network = known(manager), FakeNetwork()
    async with open_service(found, network):
        await settle()
        manager.heard()
        async with open_service(found, network, "b"):
            await settle()
        assert not manager.heard()


def fill(filler: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            filler.send(b"FULL=1")


async def test_a_manager_that_is_busy_is_told_later(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    filler.connect(manager.socket.getsockname())
    fill(filler)
    async with open_service(known(manager), FakeNetwork()) as node:
        await trio.sleep(10)
        assert ["READY=1"] not in manager.heard()
        await trio.sleep(1)
        assert manager.heard() == [["READY=1", "STATUS=a global node"]]
        fill(filler)
        node._runtime.standing.begin_stopping()
        await node.drain()
        manager.heard()
        await trio.sleep(1)
        assert manager.heard() == [["STOPPING=1", EXTEND, "STATUS=drained"]]
    filler.close()


async def test_a_manager_that_is_away_breaks_nothing(
    manager: Manager, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    found = known(manager, WATCHDOG_USEC="2000000")
    manager.socket.close()
    Path(manager.address).unlink(missing_ok=True)
    async with open_service(found, FakeNetwork()) as node:
        await trio.sleep(100)
        (line,) = warnings_in(caplog)
        assert line.startswith(f"the manager of this service cannot be told anything, at {manager.address}: ")
        again = Manager(manager.address)
        await trio.sleep(2.1)
        assert ["WATCHDOG=1"] in again.heard()
        node._runtime.standing.begin_stopping()
        await node.drain()
        assert again.heard()[0][0] == "STOPPING=1"
        again.socket.close()
    assert len(warnings_in(caplog)) == 2, "the socket is closed, again"


# What leaves the environment -----------------------------------------------------------------------------------------


def test_an_address_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    found = ServiceManager()
    found.take_variables({"NOTIFY_SOCKET": "vsock:2:9999"})
    assert not found.claim()
    assert found.name == ""
    assert "NOTIFY_SOCKET: expected a path, or '@' and a name, got 'vsock:2:9999'" in warnings_in(caplog)[0]


def test_an_empty_address_is_none() -> None:
    found = ServiceManager()
    found.take_variables({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "5"})
    assert (found.address, found.watchdog) == ("", None)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> ServiceManager:
    """This process has not been told anything yet."""
    found = ServiceManager()
    for module in ("systemd", "signals"):
        monkeypatch.setattr(f"trio_mp._node.{module}.SERVICE_MANAGER", found)
    monkeypatch.setattr("trio_mp._node.systemd.INHERITED", InheritedSockets())
    return found


def test_who_takes_what_the_manager_says(
    fresh: ServiceManager, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = manager.variables(WATCHDOG_USEC="5000000", WATCHDOG_PID=str(os.getpid()), LISTEN_PID="1", LISTEN_FDS="1")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    for settings in ({}, {"binds": ()}, {"seeds": ["a"], "tool": True}):
        assert find_manager(settings) is None
        assert told.keys() <= os.environ.keys()
    assert find_manager({"seeds": ["a"]}) is fresh
    assert (fresh.address, fresh.watchdog) == (manager.address, 5.0)
    assert not told.keys() & os.environ.keys()
    # The next node finds the same.
    assert find_manager({"binds": ["a"]}) is fresh
    assert fresh.address == manager.address
    assert not manager_of({})
    assert fresh.name == "systemd"
    assert manager_of({}, told=True) == "systemd"
    # It has started another process, which has started this one, and is not started again by anybody.
    assert not manager_of({"SYSTEMD_EXEC_PID": "1"}, told=True)


async def test_a_node_that_takes_nothing_from_outside_leaves_it_there(
    fresh: ServiceManager, manager: Manager, monkeypatch: pytest.MonkeyPatch, short_directory: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    settings: dict[str, Any] = {"binds": [f"unix:{short_directory}/s"], "secret": SECRET}
    async with trio_mp.open_node(profile=False, **settings):
        await settle()
    async with trio_mp.open_node():
        await settle()
    assert os.environ["NOTIFY_SOCKET"] == manager.address
    assert not manager.heard()
    async with trio_mp.open_node(**settings) as node:
        await until(lambda: ["READY=1", "STATUS=a global node"] in manager.heard())
        assert "NOTIFY_SOCKET" not in os.environ
        async with trio_mp.stop_on_signals(node) as stopping:
            assert stopping.restarter == "systemd"


# A process, from its start to its end --------------------------------------------------------------------------------

# Starts the process as systemd does: the sockets are the descriptors from 3 on, and the variables name its ID.
LAUNCHER = """
import os, sys
descriptor, *command = sys.argv[1:]
os.dup2(int(descriptor), 3, inheritable=True)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(command[0], command)
"""

SERVICE = """
import os, subprocess, sys, trio
import trio_mp

async def main():
    settings = {"binds": ["fd:api"], "secret": "a secret for the tests", "drain_timeout": 20}
    async with trio_mp.open_node("service", **settings) as node, trio_mp.stop_on_signals(node):
        told = [name for name in os.environ if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))]
        assert not told, told
        assert not os.get_inheritable(3)
        port = node.port()

        @port.on("work", reply=True)
        async def work():
            await trio.sleep(0.3)
            return node.binds[0]

        node.database.set("ports", "work", port)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
async def test_a_process_under_a_manager(manager: Manager, short_directory: Path) -> None:
    """It listens on the manager's socket, says that it is ready, and lives; it is stopped, drains, and ends."""
    path = short_directory / "api"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    told = manager.variables(WATCHDOG_USEC="200000", LISTEN_FDS="1", LISTEN_FDNAMES="api")
    program = [sys.executable, "-P", "-W", "error", "-c", SERVICE]
    heard: list[list[str]] = []

    async def hear(line: str, count: int = 1) -> None:
        while sum(lines.count(line) for lines in heard) < count:
            await trio.lowlevel.wait_readable(manager.socket)
            heard.extend(manager.heard())

    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-ISc", LAUNCHER, str(listening.fileno()), *program],
            pass_fds=[listening.fileno()],
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
        )
        try:
            await hear("READY=1")
            async with trio_mp.open_node("client", seeds=[f"unix:{path}"], secret=SECRET) as node:
                work = (await node.database.wait("ports"))["work"]
                await hear("WATCHDOG=1", 2)
                assert not [lines for lines in heard if "STOPPING=1" in lines]
                async with trio.open_nursery() as nursery:
                    answers: list[Any] = []

                    async def call() -> None:
                        answers.append(await node.call(work, "work"))

                    nursery.start_soon(call)
                    await node.flush(work)
                    process.send_signal(signal.SIGTERM)
                    await hear("STOPPING=1")
                    assert EXTEND in next(lines for lines in heard if "STOPPING=1" in lines)
                assert answers == [(f"unix:{path}",)], "it was answered while the service drained"
            assert await process.wait() == 0
            heard.extend(manager.heard())
            # With a sign of life behind it, if one was due.
            assert [lines for lines in heard if "STATUS=closing" in lines]
            assert path.is_socket(), "it is the manager's"
            # And the manager's socket works on, for the next process.
            async with await trio.open_unix_socket(str(path)):
                pass
        finally:
            process.kill()
            await process.wait()
            listening.close()
