"""Listening on sockets that whoever has started the process has opened: which ones do, and why others do not."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from network_helpers import SECRET, FakeNetwork, until

from trio_mp import ConfigurationError
from trio_mp._settings.settings import check_settings
from trio_mp._transport import inherited
from trio_mp._transport.addresses import InheritedBind, parse_address, parse_bind
from trio_mp._transport.inherited import FIRST, VARIABLES, InheritedSockets
from trio_mp.lowlevel import Environment, MemoryTransport, SocketTransport, open_node_in

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")

OTHER = "service"


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """What a test opens as the manager would. A node may have closed its descriptor."""
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        try:
            each.close()
        except OSError:
            each.detach()


@pytest.fixture
def listening(sockets: list[socket.socket], short_directory: Path) -> Callable[[str], socket.socket]:
    """Opens a socket that listens at a path of this name."""

    def listen(name: str = "s") -> socket.socket:
        sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        sockets[-1].bind(f"{short_directory}/{name}")
        sockets[-1].listen()
        return sockets[-1]

    return listen


def of_process(**variables: str) -> InheritedSockets:
    """What a process knows that was started with these variables."""
    found = InheritedSockets()
    environ = {"LISTEN_PID": str(os.getpid())} | variables
    found.take_variables(environ)
    assert not environ, "they have left the environment"
    return found


def wrong_with(found: InheritedSockets, name: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        found.open(name)
    return str(caught.value)


# How it is written ---------------------------------------------------------------------------------------------------


def test_a_bind_is_a_number_or_a_name() -> None:
    assert parse_bind("fd:3") == InheritedBind("3")
    assert str(parse_bind("fd:api")) == "fd:api"
    assert parse_bind("host:3") == parse_address("host:3")
    assert check_settings(None, {"binds": ["fd:api", "unix:s"], "secret": SECRET}).binds == (
        InheritedBind("api"),
        parse_address("unix:s"),
    )


@pytest.mark.parametrize("text", ["fd:", "fd:a:b", "fd:\n", "fd:1234567890"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(ConfigurationError, match="binds: expected the number or the name of a socket behind 'fd:'"):
        parse_bind(text)


def test_only_a_bind_can_be_one() -> None:
    with pytest.raises(ConfigurationError, match=r"seeds: .* got 'fd:3'; only a bind can be a 'fd:'"):
        check_settings(None, {"seeds": ["fd:3"], "secret": SECRET})


# What it stands for --------------------------------------------------------------------------------------------------


def test_a_number_needs_no_variables(listening: Callable[[], socket.socket], short_directory: Path) -> None:
    one = listening()
    ((found, address),) = InheritedSockets().open(str(one.fileno()))
    assert found.fileno() == one.fileno()
    assert address == f"unix:{short_directory}/s"
    assert not os.get_inheritable(one.fileno())
    found.detach()


def test_a_name_stands_for_all_sockets_of_that_name(
    listening: Callable[[str], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [listening(str(number)) for number in range(3)]
    first = opened[0].fileno()
    assert [each.fileno() for each in opened] == [first, first + 1, first + 2]
    monkeypatch.setattr(inherited, "FIRST", first)
    for each in opened:
        each.set_inheritable(True)
    found = of_process(LISTEN_FDS="3", LISTEN_FDNAMES="api:other:api")
    assert not [each for each in opened if each.get_inheritable()], "no process that this one starts gets them"
    assert [address[-1] for each, address in found.open("api") if each.detach()] == ["0", "2"]
    assert "expected a socket of the name 'none' from whoever" in wrong_with(found, "none")
    assert "got none: it has passed fd:api, fd:other; give FileDescriptorName=none" in wrong_with(found, "none")
    unnamed = of_process(LISTEN_FDS="3")
    assert "it has passed fd:unknown;" in wrong_with(unnamed, "api")
    assert len([each.detach() for each, _ in unnamed.open("unknown")]) == 3


def test_systemd_begins_with_three() -> None:
    assert FIRST == 3
    assert of_process(LISTEN_FDS="2", LISTEN_FDNAMES="a:b")._named == [("a", 3), ("b", 4)]


@pytest.mark.parametrize(
    "variables, why",
    [
        ({}, "the variable LISTEN_FDS is not set"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "LISTEN_PID is 1, and this is process {}: if a shell has started it"),
        ({"LISTEN_FDS": "three"}, "LISTEN_FDS is 'three', and no number"),
        ({"LISTEN_FDS": "0"}, "LISTEN_FDS is 0"),
    ],
)
def test_why_there_is_none_of_that_name(variables: dict[str, str], why: str) -> None:
    assert f"got none: {why.format(os.getpid())}" in wrong_with(of_process(**variables), "api")


def test_who_wants_a_name_takes_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a node that takes no setting from outside: its program names the socket."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    assert "LISTEN_PID is 1" in wrong_with(InheritedSockets(), "api")
    assert not [name for name in VARIABLES if name in os.environ]


# What is none --------------------------------------------------------------------------------------------------------


def test_what_is_no_listening_socket(
    sockets: list[socket.socket], short_directory: Path, listening: Callable[[], socket.socket]
) -> None:
    found = InheritedSockets()
    assert "fd:99999: expected the descriptor 99999 to be open" in wrong_with(found, "99999")
    assert "to be open" in wrong_with(found, "999999999")
    with (short_directory / "file").open("w") as file:
        assert "to be a socket, got another kind of file" in wrong_with(found, str(file.fileno()))
        file.write("it is open")
    sockets += [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    sockets += [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), *socket.socketpair()]
    for each in sockets[:2]:
        assert "to be a stream socket of TCP or in the file system" in wrong_with(found, str(each.fileno()))
        assert "SOCK_DGRAM" in wrong_with(found, str(each.fileno()))
    for each in sockets[2:]:
        assert "to listen, got a socket that does not: use Accept=no" in wrong_with(found, str(each.fileno()))
    unnamed = sockets[2]
    try:
        unnamed.listen()
    except OSError:
        unnamed.bind(f"\0{short_directory}")
        unnamed.listen()
    assert "to listen at a path, which others can dial" in wrong_with(found, str(unnamed.fileno()))
    # None of them was closed, or changed.
    assert all(each.getblocking() for each in sockets)


def test_one_wrong_socket_of_a_name_takes_the_others_along(
    listening: Callable[[str], socket.socket], sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = listening("good")
    sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    assert sockets[1].fileno() == good.fileno() + 1
    monkeypatch.setattr(inherited, "FIRST", good.fileno())
    found = of_process(LISTEN_FDS="2", LISTEN_FDNAMES="api:api")
    for _ in range(2):
        assert "got a socket that does not" in wrong_with(found, "api")
    assert len([each.detach() for each, _ in found.open(str(good.fileno()))]) == 1, "it is open, and nobody has it"


# The node ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["unix", "tcp"])
async def test_a_node_listens_and_closes_it(
    family: str, request: pytest.FixtureRequest, sockets: list[socket.socket], short_directory: Path
) -> None:
    if family == "tcp":
        request.getfixturevalue("require_tcp")
        sockets.append(socket.create_server(("127.0.0.1", 0)))
    else:
        sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        sockets[0].bind(f"{short_directory}/s")
        sockets[0].listen()
    number = sockets[0].fileno()
    host = f"127.0.0.1:{sockets[0].getsockname()[1]}" if family == "tcp" else f"unix:{short_directory}/s"
    transport = SocketTransport(InheritedSockets())
    binds = [f"fd:{number}"]
    with trio.fail_after(20):
        async with open_node_in(Environment(transport=transport), OTHER, binds=binds, secret=SECRET) as node:
            assert node.binds == (host,)
            async with open_node_in(Environment(), seeds=[host], secret=SECRET) as other:
                await until(lambda: other.peers == (OTHER,))
            with pytest.raises(ConfigurationError, match="one that is in use, or was closed with its node"):
                async with open_node_in(Environment(transport=transport), binds=binds, secret=SECRET):
                    pass
            assert node.binds
    assert sockets[0].detach() == number
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert (short_directory / "s").exists() == (family == "unix"), "the file is the manager's"
    # Whatever has that number now.
    with pytest.raises(ConfigurationError, match="was closed with its node"):
        async with open_node_in(Environment(transport=transport), binds=binds, secret=SECRET):
            pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6")
async def test_a_socket_for_both_kinds_of_ip_addresses(require_tcp: None, sockets: list[socket.socket]) -> None:
    """As `ListenStream=4040` gives it: others are told both."""
    sockets.append(socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True))
    number, port = sockets[0].fileno(), sockets[0].getsockname()[1]
    environment = Environment(transport=SocketTransport(InheritedSockets()))
    with trio.fail_after(20):
        async with open_node_in(environment, OTHER, binds=[f"fd:{number}"], secret=SECRET) as node:
            assert node.binds == (f"[::]:{port}", f"0.0.0.0:{port}")
            for host in ("127.0.0.1", "[::1]"):
                async with open_node_in(Environment(), seeds=[f"{host}:{port}"], secret=SECRET) as other:
                    await until(lambda: other.peers == (OTHER,))
    sockets[0].detach()
    with pytest.raises(OSError, match=r"refused|all attempts"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_node_that_cannot_listen_elsewhere_leaves_the_socket_to_the_next(
    listening: Callable[[], socket.socket], short_directory: Path
) -> None:
    inherited_socket = listening()
    transport = SocketTransport(InheritedSockets())
    binds = [f"fd:{inherited_socket.fileno()}", f"unix:{short_directory}/missing/s"]
    with pytest.raises(OSError, match="cannot listen"):
        async with open_node_in(Environment(transport=transport), binds=binds, secret=SECRET):
            pass
    (short_directory / "missing").mkdir()
    async with open_node_in(Environment(transport=transport), binds=binds, secret=SECRET) as node:
        assert node.binds == (f"unix:{short_directory}/missing/s", f"unix:{short_directory}/s")
    inherited_socket.detach()


@pytest.mark.parametrize("transport", [MemoryTransport(), FakeNetwork()])
async def test_a_transport_without_descriptors(transport: MemoryTransport | FakeNetwork) -> None:
    with pytest.raises(ConfigurationError, match="expected addresses of this transport, got fd:3"):
        async with open_node_in(Environment(transport=transport), binds=["fd:3"], secret=SECRET):
            pass
