"""`trio-mp health`."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from command_lines import environment, open_command
from network_helpers import until

from trio_mp import open_node
from trio_mp.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")


@contextmanager
def answers(path: Path, *replies: bytes | None) -> Iterator[None]:
    """A program that answers so each time somebody asks; None for no answer."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            for reply in replies:
                connected, _ = listening.accept()
                with connected, contextlib.suppress(OSError):
                    connected.recv(1000)
                    if reply is None:
                        # Until the other side gives up.
                        connected.recv(1000)
                    else:
                        connected.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)


async def test_a_node_is_asked_and_the_status_says_what_it_says(
    short_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"unix:{short_directory}/health"
    # The command blocks the loop of this test: a node answers all the same.
    async with open_node("n", health=where) as node:
        assert main(["health", where]) == 0
        assert main(["health", "--ready", where]) == 0
        assert main(["health", "--live", where]) == 0
        assert main(["health", "--json", where]) == 0
        node._runtime.standing.begin_draining()
        assert main(["health", where]) == 1
        assert main(["health", "--json", where]) == 1
        assert main(["health", "--live", where]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["ready", "ready", "live"]
    assert json.loads(out[3]) == {"ready": True, "text": "ready"}
    assert out[4] == "draining"
    assert json.loads(out[5]) == {"ready": False, "text": "draining"}
    assert out[6] == "live"


@pytest.mark.usefixtures("require_tcp")
async def test_a_node_that_answers_on_all_interfaces_is_asked_on_this_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with open_node("n", health="127.0.0.1:0") as node:
        port = node._runtime.probed_at[0].rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "*", "0.0.0.0"):
            assert main(["health", f"{host}:{port}"]) == 0
    assert main(["health", f"127.0.0.1:{port}"]) == 3
    assert capsys.readouterr().err == f"trio-mp: nobody answers at 127.0.0.1:{port}: Connection refused\n"


async def test_the_address_is_that_of_the_variable_or_of_the_profile(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where, other = f"unix:{short_directory}/a", f"unix:{short_directory}/b"
    path = short_directory / "profiles.toml"
    path.write_text(f'use = "ruth"\n[default]\nhealth = "{where}"\n[profile.ruth]\n[profile.eve]\nhealth = "{other}"\n')
    monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
    async with open_node("n", health=where, profile=False):
        assert main(["health"]) == 0
        assert main(["health", "--profile", "ruth"]) == 0
        assert main(["health", "--profile", "eve"]) == 3
        monkeypatch.setenv("TRIO_MP_PROFILE", "eve")
        assert main(["health"]) == 3
        monkeypatch.setenv("TRIO_MP_HEALTH", where)
        assert main(["health"]) == 0
        assert main(["health", other]) == 3
    assert capsys.readouterr().err.count(f"nobody answers at {other}: No such file or directory") == 3


WRONG = [
    ([], "health: expected an address, got none; give ADDRESS, or TRIO_MP_HEALTH, or a profile with the setting"),
    (["unix:"], "ADDRESS: expected the path of a socket"),
    (["127.0.0.1:0"], "health: expected an address with the number of a port, got 127.0.0.1:0"),
    (["--profile", "nobody"], "expected a profile 'nobody'"),
]


@pytest.mark.parametrize("words, said", WRONG)
def test_nobody_is_asked_without_an_address(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["health", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "reply",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 200", b"\xff\x1b[2J\r\n" * 20_000],
    ids=["nothing", "ssh", "not-found", "cut", "endless"],
)
def test_what_is_no_node_says_neither_yes_nor_no(
    short_directory: Path, reply: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answers(short_directory / "s", reply):
        assert main(["health", f"unix:{short_directory}/s"]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_an_answer_that_a_terminal_would_obey_is_harmless(
    short_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answers(short_directory / "s", b"HTTP/1.1 503 No\r\n\r\n\x1b[2Jgone\nmore\n"):
        assert main(["health", f"unix:{short_directory}/s"]) == 1
    assert capsys.readouterr().out == "\\x1b[2Jgone\n"


def test_who_does_not_answer_is_waited_for_so_long(short_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answers(short_directory / "s", None):
        assert main(["health", f"unix:{short_directory}/s", "--timeout", "0.05"]) == 5
    assert capsys.readouterr().err == "trio-mp: the 0.05 s of --timeout have passed\n"


class Addresses:
    """A host name with several addresses, of which the first ones do not answer, as behind a firewall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, silent: int, then: int | None) -> None:
        self.timeouts: list[float] = []
        self._silent, self._then, self._dialled = silent, then, 0
        count = silent + (then is not None)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", then or 1))] * count
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(socket.socket, "connect", self._connect_as(socket.socket.connect))

    def _connect_as(self, connect: Callable[..., None]) -> Callable[..., None]:
        def run(one: socket.socket, address: object) -> None:
            self._dialled += 1
            if self._dialled > self._silent:
                connect(one, address)
                return
            seconds = one.gettimeout()
            assert seconds is not None
            self.timeouts.append(seconds)
            time.sleep(seconds)
            raise TimeoutError("timed out")

        return run


def test_all_addresses_of_a_name_have_one_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not each of them has all of it: a probe that takes many times as long is killed without a word."""
    addresses = Addresses(monkeypatch, 6, None)
    begun = time.monotonic()
    assert main(["health", "many.example:1", "--timeout", "0.3"]) == 5
    assert time.monotonic() - begun < 0.6
    assert len(addresses.timeouts) == 6
    assert sum(addresses.timeouts) == pytest.approx(0.3, abs=0.1)
    assert capsys.readouterr().err == "trio-mp: the 0.3 s of --timeout have passed\n"


@pytest.mark.usefixtures("require_tcp")
async def test_a_silent_address_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node("n", health="127.0.0.1:0") as node:
        port = int(node._runtime.probed_at[0].rpartition(":")[2])
        addresses = Addresses(monkeypatch, 1, port)
        assert main(["health", f"two.example:{port}", "--timeout", "1"]) == 0
        assert addresses.timeouts == [pytest.approx(0.5, abs=0.1)]


def test_a_name_server_that_does_not_answer_takes_no_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    asked = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        asked.set()
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    begun = time.monotonic()
    try:
        assert main(["health", "slow.example:1", "--timeout", "0.1"]) == 5
    finally:
        over.set()
    assert asked.is_set()
    assert time.monotonic() - begun < 5
    assert capsys.readouterr().err == "trio-mp: the 0.1 s of --timeout have passed\n"


@pytest.mark.parametrize(
    "host, failure, said",
    [
        ("no.example", socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        ("a..b", UnicodeError("label empty or too long"), "expected a host name: label empty or too long"),
    ],
)
def test_a_name_that_cannot_be_looked_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, failure: Exception, said: str
) -> None:
    def look_up(*_: object, **__: object) -> list[object]:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert main(["health", f"{host}:1"]) == 3
    assert capsys.readouterr().err == f"trio-mp: nobody answers at {host}:1: {said}\n"


def test_a_platform_without_unix_sockets_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert main(["health", "unix:/run/s"]) == 2
    assert capsys.readouterr().err == (
        f"trio-mp: expected a platform with Unix sockets, which unix:/run/s needs, got {sys.platform}\n"
    )


async def test_as_a_process_it_imports_neither_trio_nor_the_settings(short_directory: Path) -> None:
    async with open_node("n", health=f"unix:{short_directory}/s"):
        code = (
            "import sys; from trio_mp.cli import main; status = main(['health', 'unix:s']);"
            "print(status, *[one for one in ('trio', 'tomllib', 'cryptography') if one in sys.modules])"
        )
        command = [sys.executable, "-P", "-c", code]
        said = await trio.run_process(command, capture_stdout=True, capture_stderr=True, cwd=short_directory)
    assert said.stdout == b"ready\n0\n"
    assert said.stderr == b""


APP = """\
import time
import trio

async def main(node, word):
    await trio.sleep(0.05)
    print(word, flush=True)
    if word == "blocks":
        time.sleep(60)
    await trio.sleep_forever()
"""


async def test_a_process_that_is_blocked_killed_and_started_again(
    short_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (short_directory / "app.py").write_text(APP)
    where = f"unix:{short_directory}/health"
    variables = environment(TRIO_MP_HEALTH=where, TRIO_MP_HEARTBEAT="0.1")
    assert main(["health", where]) == 3
    async with open_command("run", "-q", "app", "blocks", cwd=short_directory, env=variables) as program:
        await program.expect("^blocks$")
        await until(lambda: main(["health", "--live", where]) == 1, 10)
        assert main(["health", "--ready", where]) == 1
        assert "app.py:8, in main" in capsys.readouterr().out.splitlines()[-1]
    # It was killed, so the file of its socket is there.
    assert (short_directory / "health").exists()
    assert main(["health", where]) == 3
    async with open_command("run", "-q", "app", "sleeps", cwd=short_directory, env=variables) as program:
        await program.expect("^sleeps$")
        assert main(["health", where]) == main(["health", "--live", where]) == 0
        program.process.terminate()
        await program.process.wait()
    assert not (short_directory / "health").exists()
