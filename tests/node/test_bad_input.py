"""Bad input: each mistake names what was given and says what to do, loses nothing, and the node goes on."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, network_of, until, warnings_in

import trio_mp
from trio_mp import Certificate, Node, Port, PortDied, node_of, open_node, spawnable

NOWHERE = "far#" + "x" * 16 + ".1"

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")


async def attempt(action: Callable[..., object]) -> object:
    """Do it, be it sync or async."""
    result = action()
    return await result if isinstance(result, Awaitable) else result


async def assert_works(node: Node) -> None:
    """The node goes on."""
    with trio.fail_after(10):
        assert await node.call(node.id, "info") == (node.id,)


open_talker = functools.partial(open_node, "here", seeds=["127.0.0.1:1"], secret=SECRET)
"""A node with a network, and nobody in it."""


def unreleased(port: Port) -> None:
    """Not spawnable."""


UNNAMED = lambda port: None  # noqa: E731


async def generator(*_: object) -> AsyncGenerator[int, None]:
    yield 1


def sync_generator(*_: object) -> Generator[int, None, None]:
    yield 1


# Ports ---------------------------------------------------------------------------------------------------------------

TAKES_PORT: dict[str, Callable[[Node, Any], object]] = {
    "send": lambda node, bad: node.send(bad, "x"),
    "call": lambda node, bad: node.call(bad, "x"),
    "kill": lambda node, bad: node.kill(bad),
    "monitor": lambda node, bad: node.monitor(bad, print),
    "link": lambda node, bad: node.link(bad, node.port()),
    "link-to": lambda node, bad: node.link(node.port(), bad),
    "spawn": lambda node, bad: node.spawn(bad, "module:function"),
    "flush": lambda node, bad: node.flush(bad),
    "wait_death": lambda node, bad: node.wait_death(bad),
    "send_after": lambda node, bad: node.send_after(0, bad, "x"),
    "send_every": lambda node, bad: node.send_every(1, bad, "x"),
    "move_on_death": lambda node, bad: node.move_on_death(bad).__enter__(),
    "fail_on_death": lambda node, bad: node.fail_on_death(bad).__enter__(),
    "node_of": lambda _, bad: node_of(bad),
}
NO_PORT: list[tuple[Any, type[Exception]]] = [
    *((text, ValueError) for text in ("", "a b", "nodé", "#x", "here#x", "a#b#c", "here\n", "\udc80", "x" * 256)),
    *((value, TypeError) for value in (b"here", 5, 1.5)),
]


@pytest.mark.parametrize("method", TAKES_PORT)
async def test_what_is_no_port_is_named(method: str) -> None:
    async with open_talker() as node:
        for bad, error in NO_PORT:
            with pytest.raises(error) as caught:
                await attempt(functools.partial(TAKES_PORT[method], node, bad))
            assert repr(bad) in str(caught.value)
            assert "port ID" in str(caught.value)
        if method != "link-to":
            with pytest.raises(TypeError, match="port: expected a str, such as a Port or a port ID, got None"):
                await attempt(lambda: TAKES_PORT[method](node, None))
        await assert_works(node)


@pytest.mark.parametrize("method", sorted(set(TAKES_PORT) - {"node_of"}))
async def test_what_cannot_even_be_hashed_is_named(method: str) -> None:
    async with open_node("here") as node:
        with pytest.raises(TypeError, match=r"port: expected a str, such as a Port or a port ID, got \['here'\]"):
            await attempt(lambda: TAKES_PORT[method](node, ["here"]))


async def test_what_a_port_id_is_is_said() -> None:
    with pytest.raises(ValueError, match=r"expected a port ID, got 'here#printer'; pass a Port"):
        node_of("here#printer")


async def test_a_port_of_a_closed_node_and_a_closed_node() -> None:
    async with open_node("gone") as gone:
        port = gone.port()
    async with open_node("here") as node:
        for method in sorted(set(TAKES_PORT) - {"node_of"}):
            with pytest.raises(RuntimeError, match=rf"of the node 'here', which has no network, got {port}; .* binds"):
                await attempt(functools.partial(TAKES_PORT[method], node, port))
    uses: list[Callable[..., object]] = [gone.port, lambda: gone.start_port(trio.sleep), port.kill]
    uses += [functools.partial(TAKES_PORT[name], gone, port) for name in sorted(set(TAKES_PORT) - {"node_of"})]
    for use in uses:
        with pytest.raises(trio.ClosedResourceError, match="node gone is closed"):
            await attempt(use)


async def test_a_dead_port_says_so_and_why() -> None:
    async with open_node("here") as node:
        async with node.open_port() as port:
            port.kill("because", "of me")
            await trio.testing.wait_all_tasks_blocked()
            wrapped = port.wrap(print)
            start: Callable[..., object] = functools.partial(port.start_soon, trio.sleep)
            for use in (lambda: port.on("x"), lambda: port.run(print), wrapped, start, port.receive):
                with pytest.raises(PortDied, match=f"{port} died: because: of me"):
                    await attempt(use)
        port.off("x")
        port.kill()
        alien = Port(NOWHERE)
        for alien_use in (lambda: alien.on("x"), lambda: alien.off("x"), lambda: alien.run(print), alien.kill):
            with pytest.raises(RuntimeError, match=f"got the port ID {alien}; make one with Node.port"):
                alien_use()
        await assert_works(node)


# Values --------------------------------------------------------------------------------------------------------------

WHEN = ("a", 1, {"when": datetime.date(2020, 1, 1)})
CARRIES: list[Any] = [
    pytest.param(lambda node: node.send(NOWHERE, *WHEN), "message", id="send"),
    pytest.param(lambda node: node.call(NOWHERE, *WHEN), "message", id="call"),
    pytest.param(lambda node: node.send_after(1, NOWHERE, *WHEN), "message", id="send_after"),
    pytest.param(lambda node: node.send_every(1, NOWHERE, *WHEN), "message", id="send_every"),
    pytest.param(lambda node: node.monitor("far", NOWHERE, *WHEN), "message", id="monitor"),
    pytest.param(lambda node: node.kill(NOWHERE, *WHEN), "reason"),
    pytest.param(lambda node: node.kill(node.port(), *WHEN), "reason"),
    pytest.param(lambda node: node.spawn("far", "m:f", *WHEN), "arguments"),
]


@pytest.mark.parametrize("action, what", CARRIES)
async def test_a_value_that_cannot_travel_is_named_with_its_place(action: Callable[[Node], object], what: str) -> None:
    async with open_talker() as node:
        with pytest.raises(TypeError) as caught:
            await attempt(lambda: action(node))
        assert str(caught.value).startswith(f'{what}[2]["when"]: expected what travels (str, int,')
        assert str(caught.value).endswith(", got a value of type date")
        assert not node._runtime.dispatcher.ports or what == "reason", "nothing is left behind"
        await assert_works(node)


# Settings and addresses ----------------------------------------------------------------------------------------------


async def refused(**settings: Any) -> str:
    """What is said of settings that no node can have."""
    with pytest.raises((TypeError, ValueError, OSError)) as caught:
        async with open_node(**{"node_id": "me", "secret": SECRET, **settings}):
            raise AssertionError("it opened")
    return str(caught.value)


SETTINGS: list[Any] = [
    ({"zzz": 5}, "no setting zzz;", "its settings are advertise, attach_timeout, binds, "),
    *(
        pytest.param({name: 5}, f"no setting {name} ", f"(did you mean {nearest}?)")
        for name, nearest in (("seed", "seeds"), ("bind", "binds"), ("heart_beat", "heartbeat"), ("profil", "profile"))
    ),
    pytest.param({"seeds": "host:4040"}, "got 'host:4040'", "write ['host:4040']"),
    pytest.param({"certificate": "me.pem"}, "got 'me.pem'", "Certificate(chain, key, authority)"),
    pytest.param({"spawn_modules": [""]}, "spawn_modules: cannot import ''", "ValueError"),
    pytest.param({"spawn_modules": [".x"]}, "spawn_modules: cannot import '.x'", "TypeError"),
    pytest.param({"binds": ["unix:no/s"]}, "listen on unix:no/s", f"({Path.cwd() / 'no/s'})"),
]
ADDRESSES: list[Any] = [
    ("host:99999", "'99999'", "a number from 0 to 65535"),
    ("host:http", "'http' in 'host:http'", "a number from 0 to 65535"),
    (":4040", "':4040'", "'host:port' or 'unix:PATH'"),
    pytest.param("unix:", "got ''", "path of a socket", id="unix:-not by ''-followed by the path of a socket"),
    ("unix:" + "ü" * 52, "ü" * 52 + "' has 104", "at most 103 bytes"),
    pytest.param("unx:/tmp/s", "unx:/tmp/s", "a socket's path: 'unix:/tmp/s'"),
    pytest.param("/tmp/s", "/tmp/s", "a socket's path: 'unix:/tmp/s'"),
    pytest.param("::1:4040", "::1:4040", "in brackets: '[::1]:4040'"),
    pytest.param("http://host:4040", "http://host:4040", "without 'http://': 'host:4040'"),
    pytest.param("host:4040/", "host:4040/", "without the '/': 'host:4040'"),
]


@pytest.mark.parametrize("settings, named, advice", [*SETTINGS, *ADDRESSES])
async def test_a_setting_that_cannot_work(settings: dict[str, Any] | str, named: str, advice: str) -> None:
    every = [settings] if isinstance(settings, dict) else [{"binds": [settings]}, {"seeds": [settings]}]
    for each in every:
        text = await refused(**each)
        assert named in text
        assert advice in text


@pytest.mark.usefixtures("require_tcp")
async def test_an_address_where_one_cannot_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = f"127.0.0.1:{server.getsockname()[1]}"
        # 192.0.2.0/24 is for documentation: it belongs to nobody.
        for address in (busy, "192.0.2.1:4040", "a..b:1"):
            assert f"cannot listen on {address}: " in await refused(binds=["127.0.0.1:0", address])


@unix_only
async def test_a_socket_that_cannot_be_made(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short_directory)
    (short_directory / "file").write_text("precious")
    for path, why in (
        ("nowhere/s", "No such file or directory"),
        ("file", "there is a file of that name, and it is no socket"),
        ("file/s", "Not a directory"),
    ):
        assert f"cannot listen on unix:{path}: {why}" in await refused(binds=["unix:good", f"unix:{path}"])
    async with open_node(binds=["unix:relative"], secret=SECRET):
        assert (short_directory / "relative").exists()
        assert "cannot listen on unix:relative: " in await refused(binds=["unix:relative"])
    assert list(short_directory.iterdir()) == [short_directory / "file"], "nothing is left behind"
    assert (short_directory / "file").read_text() == "precious"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pem")
    authority = directory / "ca.pem", directory / "ca.key"
    trio_mp.make_authority(*authority)
    signed: dict[str, Any] = {"authority": authority[0], "authority_key": authority[1]}
    trio_mp.make_certificate("me", directory / "me.pem", directory / "me.key", **signed)
    return directory


ORDER = "the order is Certificate(chain, key, authority)"
CERTIFICATES: list[Any] = [
    (("no.pem", "me.key", "ca.pem"), "no.pem", "give a PEM file that this process may read"),
    pytest.param(
        *(("ca.pem", "me.key", "me.pem"), "that names no node at all", "make one with the alternative name"),
        id="names1-ca.pem: it names no node-make one with the alternative name",
    ),
    pytest.param(("me.key", "me.pem", "ca.pem"), "me.key", ORDER),
    pytest.param(("me.pem", "ca.pem", "me.key"), "me.key", ORDER),
]


@pytest.mark.parametrize("names, named, advice", CERTIFICATES)
async def test_files_of_a_certificate_that_do_not_work(
    pem: Path, names: tuple[str, str, str], named: str, advice: str
) -> None:
    chain, key, authority = (pem / name for name in names)
    text = await refused(certificate=Certificate(chain, key, authority), binds=["127.0.0.1:0"])
    assert text.startswith("certificate: ")
    assert named in text
    assert advice in text


def test_a_certificate_for_nobody(pem: Path) -> None:
    nobody: Any = None
    with pytest.raises(TypeError, match="node ID: expected a str, got None"):
        trio_mp.make_certificate(nobody, pem / "x", pem / "y", authority=pem / "ca.pem", authority_key=pem / "ca.key")


# A full disk ---------------------------------------------------------------------------------------------------------


def run_program(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, timeout=50, check=False
    )


@unix_only
def test_a_full_disk_leaves_no_half_file_and_a_network_needs_none(short_directory: Path) -> None:
    """A limit on the size of files stands for it: a Unix socket and the throw-away certificate need no room."""
    program = f"""
import resource, trio
from trio_mp import make_authority, open_node
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    make_authority("ca.pem", "ca.key")
except OSError as error:
    print(error.filename, error.strerror)
async def main():
    async with open_node("a", binds=["unix:s"], secret={SECRET!r}) as a:
        async with open_node("b", seeds=a.binds, secret={SECRET!r}) as b:
            print(await b.call("a", "info"))
trio.run(main)
"""
    run = run_program(program, short_directory)
    assert run.stdout == f"ca.pem {os.strerror(errno.EFBIG)}\n('a',)\n", run.stderr
    assert not list(short_directory.iterdir())


@unix_only
def test_the_demo_on_a_full_disk_says_so(short_directory: Path) -> None:
    program = """
import resource, sys
from trio_mp.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.exit(main(["demo", "--plain", "--seconds", "3", "--nodes", "2"]))
"""
    run = run_program(program, short_directory)
    for kept in re.findall(r"kept in (\S+)", run.stdout):
        shutil.rmtree(kept)
    assert run.returncode == 1
    assert os.strerror(errno.EFBIG) in run.stdout
    assert "make room" in run.stdout


# Peers ---------------------------------------------------------------------------------------------------------------

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS ClientHello\n"
STRANGERS: list[Any] = [
    (b"* hello\r\n", "expected a line of printable ASCII, got b'* hello"),
    (bytes(range(256)), "expected a line of printable ASCII, got b'"),
    (b"", "the other side did not finish the handshake in time"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", "b'GET / HTTP/1.1\\r', a line of HTTP"),
    pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", "b'SSH-2.0-OpenSSH_9.6\\r', a line of SSH"),
    pytest.param(HELLO, "b'\\x16', the beginning of TLS"),
]


@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("data, said", STRANGERS, ids=range(len(STRANGERS)))
async def test_a_stranger_on_either_side(data: bytes, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """One who dials, then one who is dialled: one line each, which names it; the node goes on, and nothing is open."""

    async def converse(stream: trio.SocketStream) -> None:
        if data:
            await stream.send_all(data)
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

    with trio.fail_after(20):
        async with open_node("m", binds=["127.0.0.1:0"], secret=SECRET, handshake_timeout=0.3) as node:
            host, port = node.binds[0].split(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await converse(stream)
            await assert_works(node)
            (line,) = warnings_in(caplog)
            assert line.startswith(f"a connection to {node.binds[0]} from 127.0.0.1:")
            assert said in line
            assert not network_of(node)._connections
        caplog.clear()
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, converse, [listener])
            seed = f"127.0.0.1:{listener.socket.getsockname()[1]}"
            async with open_node("m", seeds=[seed], secret=SECRET, handshake_timeout=0.3) as node:
                await until(lambda: warnings_in(caplog))
                (line,) = warnings_in(caplog)
                assert line.startswith(f"the seed {seed} cannot be used: ")
                assert said in line
                await assert_works(node)
            nursery.cancel_scope.cancel()


BROKEN_SEEDS: list[Any] = [
    pytest.param("127.0.0.1:1", {}, f"the seed 127.0.0.1:1: {os.strerror(errno.ECONNREFUSED)}"),
    pytest.param("unix:/nowhere/s", {}, "the seed unix:/nowhere/s: No such file or directory"),
    pytest.param("GOOD", {"secret": "another secret that is long"}, "is the secret the same"),
    pytest.param("GOOD", {"encryption": False}, "encryption is off here and on there: set it alike"),
    pytest.param("GOOD", {}, "connected with seed"),
    pytest.param(None, {}, "this node has no seeds"),
]


@unix_only
@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("seed, settings, why", BROKEN_SEEDS)
async def test_no_connection_says_what_became_of_the_seeds(
    seed: str | None, settings: dict[str, Any], why: str, short_directory: Path
) -> None:
    """It is the text of the `PortDied` that the user sees."""
    fast = {"secret": SECRET, "heartbeat": 0.1, "connect_timeout": 1}
    async with open_node("seed", binds=[f"unix:{short_directory}/s"], secret=SECRET) as good:
        seeds = list(good.binds) if seed == "GOOD" else [seed] if seed else []
        binds = () if seeds else [f"unix:{short_directory}/other"]
        async with open_node("me", seeds=seeds, binds=binds, **{**fast, **settings}) as node:
            with trio.fail_after(10), pytest.raises(PortDied, match="no connection within 1 s") as caught:
                await node.call(NOWHERE, "x")
            assert why in str(caught.value)
            await assert_works(node)


# Spawning and handlers -----------------------------------------------------------------------------------------------

HERE = __name__
SPAWNED: list[Any] = [
    (f"{HERE}:missing", f"{HERE} has no missing on here"),
    (f"{HERE}:unreleased", "is not @spawnable on here"),
    (f"{HERE}:Node", "is not @spawnable on here"),
    (f"{HERE}:UNNAMED", "is not @spawnable on here"),
    ("no.such:function", "no.such has not been imported on here"),
    pytest.param(f"{HERE}:unreleased", "write that above the function there"),
    pytest.param("no.such:function", "give its open_node() spawn_modules=['no.such']"),
]


@pytest.mark.parametrize("function, why", SPAWNED)
async def test_what_cannot_be_spawned_fails_with_a_reason(function: str, why: str) -> None:
    async with open_node("here") as node:
        reason = await node.wait_death(node.spawn("here", function))
        assert reason[0] == "spawn_failed"
        assert why in str(reason[1])
        await assert_works(node)


async def test_what_is_no_reference_is_named() -> None:
    async with open_node("here") as node:
        for text in ("", "function", "a.b", ":x", "::", f"{HERE}:Node.method", "pkg/mod.py:f"):
            with pytest.raises(ValueError, match=re.escape(f"got {text!r}: write 'package.module:function'")):
                node.spawn("here", text)
        for value in (None, b"a:b", unreleased, Node, UNNAMED):
            with pytest.raises(TypeError, match=r"a function to spawn, 'package.module:function', got "):
                node.spawn("here", value)  # type: ignore[arg-type]
        assert not node._runtime.dispatcher.ports


WRONG_FUNCTIONS: list[Any] = [
    (lambda node, port: port.on("x")(5), "a handler: expected a function, got 5"),
    (lambda node, port: port.on(print), "write @port.on('tag')"),
    (lambda node, port: node.monitor(port, trio.sleep), "expected a sync function or a port as the action, got"),
    (lambda node, port: node.monitor(port, print, "x"), "a message goes with a port"),
    (lambda node, port: node.start_port(5), "start_port(): expected an async function, got 5"),
    (lambda node, port: port.run(trio.sleep), "use start_soon()"),
    (lambda node, port: spawnable(lambda: None), "at the top level of a module"),
    pytest.param(lambda node, port: port.on("x", print), "port.on('tag')(function)"),
    pytest.param(lambda node, port: port.on(functools.partial(print)), "write @port.on('tag')"),
    pytest.param(lambda node, port: spawnable(sync_generator), "`yield`"),
]


@pytest.mark.parametrize("action, said", WRONG_FUNCTIONS)
async def test_a_function_of_the_wrong_kind(action: Callable[[Node, Port], object], said: str) -> None:
    async with open_node("here") as node:
        with pytest.raises(TypeError, match=re.escape(said)):
            action(node, node.port())


@pytest.mark.parametrize("by", ["start_port", "start_soon"])
async def test_a_print_where_an_async_function_is_expected(by: str) -> None:
    sync: Any = print
    async with open_node("here") as node, node.open_port() as port:
        started = node.start_port(sync) if by == "start_port" else port
        if by == "start_soon":
            port.start_soon(sync)
        text = "expected an async function, got print, which returned NoneType"
        assert await node.wait_death(started) == ("die", f"TypeError: {text}")


async def test_a_handler_with_a_yield_kills_its_port() -> None:
    async with open_node("here") as node:
        port = node.port(generator)
        node.send(port, "swallowed")
        with trio.fail_after(0.2):
            assert "`yield`" in str((await node.wait_death(port))[1])


FROM_A_THREAD: list[Any] = [
    pytest.param(lambda node, port: node.send(port, "x"), id="send"),
    pytest.param(lambda node, port: node.kill(port), id="kill"),
    pytest.param(lambda node, port: node.monitor(port, print)),
    pytest.param(lambda node, port: node.port()),
    pytest.param(lambda node, port: node.start_port(trio.sleep)),
    pytest.param(lambda node, port: node.send_after(1, port, "x")),
    pytest.param(lambda node, port: node.send_every(1, port, "x")),
]


@pytest.mark.parametrize("action", FROM_A_THREAD)
async def test_another_thread_is_told_how_it_is_done(action: Callable[[Node, Port], object]) -> None:
    async with open_node("here") as node:
        port = node.port()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync"):
            await trio.to_thread.run_sync(action, node, port)
        assert len(node._runtime.dispatcher.ports) == 1
        await assert_works(node)


def test_a_node_under_asyncio_says_that_it_needs_trio() -> None:
    async def main() -> None:
        async with open_node():
            pass

    with pytest.raises(RuntimeError, match=r"expects a task of Trio's, got asyncio's: .*trio\.run\(main\)"):
        asyncio.run(main())
    with pytest.raises(RuntimeError, match=r"expects a task of Trio's, got none"):
        main().send(None)
