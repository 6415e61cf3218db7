"""A file with the secrets of a node: what may be in it, and how a secret is replaced while the network runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from child_process import launch_program, open_parent
from network_helpers import FakeNetwork, network_of, open_test_node, until, warnings_in

from trio_mp import ConfigurationError, Node, open_node
from trio_mp._peers import secret_file
from trio_mp._peers.secret_file import LOOK_AGAIN, LOOK_TWICE, MOST_SECRETS, read_secret_file
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp.testing import SimulatedNetwork, simulate

OLD, NEW = "the secret of last year", "the secret of this year"
STEPS = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
SEEN = LOOK_AGAIN + LOOK_TWICE + 0.1
"""In how many seconds a change is in force."""

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


def write(path: Path, *secrets: str) -> Path:
    """Write the file as an editor does: it is never half there."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{secret}\n" for secret in secrets), encoding="utf-8")
    new.chmod(0o600)
    new.replace(path)
    return path


def secrets_of(node: Node) -> list[str]:
    return [secret.decode() for secret in network_of(node).secrets]


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, secrets",
    [
        (f"{OLD}", [OLD]),
        (f"{OLD}\n", [OLD]),
        (f"\n  {NEW}\t\r\n\r\n{OLD}\r\n", [NEW, OLD]),
        (f"{OLD}\n{OLD}\n{NEW}\n", [OLD, NEW]),
        (f"# {OLD}\n", [f"# {OLD}"]),
    ],
)
def test_one_secret_a_line(tmp_path: Path, content: str, secrets: list[str]) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    found = read_secret_file(str(path))
    assert [secret.decode() for secret in found.secrets] == secrets
    assert found.keys == tuple(stretch_secret(secret.encode()) for secret in secrets)
    assert OLD not in repr(found)


def many(count: int) -> bytes:
    return b"".join(b"the secret number %d\n" % number for number in range(count))


WRONG: list[tuple[bytes, str]] = [
    (b"", f"expected 1 to {MOST_SECRETS} secrets, one a line, got 0"),
    (b" \n\n", f"expected 1 to {MOST_SECRETS} secrets, one a line, got 0"),
    (many(MOST_SECRETS + 1), f"expected 1 to {MOST_SECRETS} secrets, one a line, got {MOST_SECRETS + 1}"),
    (OLD.encode() + b"\n\nhunter2\n", "line 3: expected a secret of at least 16 bytes, got 7"),
    (b"x" * 65537, "expected at most 65536 bytes, got more"),
]


@pytest.mark.parametrize("content, text", WRONG, ids=range(len(WRONG)))
def test_a_file_without_secrets_is_named_and_nothing_of_it_is_shown(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_secret_file(str(path))
    assert str(caught.value).startswith(f"secret_file: {path}")
    assert text in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_node_whose_file_cannot_be_read_is_not_opened(tmp_path: Path, short_directory: Path) -> None:
    path = tmp_path / "nowhere"
    with pytest.raises(ConfigurationError, match=rf"^secret_file: {path}: cannot be read: "):
        async with open_node(binds=[f"unix:{short_directory}/s"], secret_file=path):
            raise AssertionError
    # A node without a network needs no secret.
    async with open_node(secret_file=path):
        pass


async def test_a_secret_and_a_file_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"^secret_file: expected it without a secret, got both"):
        async with open_node(secret=OLD, secret_file="secret"):
            raise AssertionError


@posix_only
@pytest.mark.parametrize("mode, warned", [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
async def test_a_file_that_others_may_read_is_a_warning(
    tmp_path: Path, short_directory: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = write(tmp_path / "secret", OLD)
    path.chmod(mode)
    async with open_node(binds=[f"unix:{short_directory}/s"], secret_file=path):
        pass
    text = f"secret_file: {path}: expected a file that nobody but its owner may read, got one with the permissions"
    assert warnings_in(caplog) == ([f"{text} {mode:03o}; run `chmod 600 {path}`"] if warned else [])


@posix_only
def test_what_cannot_be_changed_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "secret", OLD)
    path.chmod(0o644)
    assert read_secret_file(str(path)).warning
    # No test can mount a file system read-only.
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert not read_secret_file(str(path)).warning


# Replacing a secret ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
async def test_a_secret_is_replaced_while_the_network_runs(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, encryption: bool
) -> None:
    """Node by node: whoever goes by the step of any node joins all the time, and nobody loses a connection."""
    network = FakeNetwork()
    files = {name: write(tmp_path / name, OLD) for name in "abc"}
    lost: list[object] = []

    async def join(name: str) -> None:
        """A new node with the secrets of this one talks with all."""
        async with open_test_node(
            network, "new", seeds=["a"], secret_file=files[name], encryption=encryption, connect_timeout=20
        ) as new:
            for other in "abc":
                assert await new.call(other, "info") == (other,)

    async with (
        open_test_node(network, "a", secret_file=files["a"], encryption=encryption) as a,
        open_test_node(network, "b", seeds=["a"], secret_file=files["b"], encryption=encryption) as b,
        open_test_node(network, "c", seeds=["a"], secret_file=files["c"], encryption=encryption) as c,
    ):
        for node, other in ((a, b), (a, c), (b, a), (c, a)):
            node.monitor(other.id, lambda *reason: lost.append(reason))
        for step in STEPS[1:]:
            for name in "abc":
                write(files[name], *step)
                await trio.sleep(SEEN)
                await join(name)
        assert [secrets_of(node) for node in (a, b, c)] == [[NEW]] * 3
        assert not lost
        old = write(tmp_path / "old", OLD)
        async with open_test_node(network, "late", seeds=["a"], secret_file=old, connect_timeout=20) as late:
            assert (await late.wait_death("a"))[0] == "transport_error"


async def test_two_files_that_differ_are_both_named(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    ours, theirs = write(tmp_path / "ours", NEW), write(tmp_path / "theirs", OLD)
    async with (
        open_test_node(network, "a", secret_file=ours),
        open_test_node(network, "b", seeds=["a"], secret_file=theirs, connect_timeout=20) as b,
    ):
        *_, text = await b.wait_death("a")
        assert f"is the secret the same on both sides? ours is in the secret_file {theirs}" in str(text)
        assert any("another secret than ours" in line and str(ours) in line for line in warnings_in(caplog))


async def test_a_change_is_in_force_soon_and_said(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "secret", OLD)
    async with open_test_node(FakeNetwork(), "a", secret_file=path) as a:
        caplog.set_level(logging.INFO, logger="trio_mp")
        await trio.sleep(SEEN)
        assert secrets_of(a) == [OLD]
        write(path, NEW, OLD)
        await trio.sleep(SEEN)
        assert secrets_of(a) == [NEW, OLD]
        await trio.sleep(10 * SEEN)
    assert [text for text in caplog.messages if "secret" in text] == [f"{path} has changed: 2 secrets are in force"]


async def test_the_log_names_who_still_dials_with_the_old_secret(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trio_mp")
    network = FakeNetwork()
    new, between, old = (
        write(tmp_path / "new", NEW, OLD),
        write(tmp_path / "between", OLD, NEW),
        write(tmp_path / "old", OLD),
    )
    async with open_test_node(network, "a", secret_file=new):
        for name, path in (("same", new), ("between", between), ("late", old)):
            async with open_test_node(network, name, seeds=["a"], secret_file=path) as node:
                await until(lambda: "a" in node.peers)
    told = [record for record in caplog.records if "has proven itself by" in record.getMessage()]
    assert {(vars(record)["event"], vars(record)["node"], vars(record)["peer"]) for record in told} == {
        ("secret", "a", "between"),
        ("secret", "a", "late"),
    }
    assert {record.getMessage() for record in told} == {
        f"{name} has proven itself by secret 2 of our 2; this node dials with the first" for name in ("between", "late")
    }


async def test_half_a_file_is_not_believed(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = write(tmp_path / "secret", OLD)
    async with open_test_node(FakeNetwork(), "a", secret_file=path) as a:
        await trio.sleep(LOOK_AGAIN - 0.1)
        # Enough for a secret, and none.
        path.write_text(NEW[:16])
        await trio.sleep(LOOK_TWICE / 2)
        path.write_text(f"{NEW}\n{OLD}\n")
        for _ in range(100):
            assert secrets_of(a) in ([OLD], [NEW, OLD])
            await trio.sleep(0.1)
        assert secrets_of(a) == [NEW, OLD]


def remove(path: Path) -> None:
    path.unlink()


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_text("")


def shorten(path: Path) -> None:
    path.write_text(f"{NEW}\nhunter2\n")


@pytest.mark.parametrize("spoil", [remove, make_directory, empty, shorten])
async def test_a_bad_file_leaves_a_warning_and_the_old_secrets(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
) -> None:
    path = write(tmp_path / "secret", OLD)
    network = FakeNetwork()
    async with open_test_node(network, "a", secret_file=path) as a:
        spoil(path)
        await trio.sleep(10 * SEEN)
        (line,) = warnings_in(caplog)
        assert line.startswith(f"secret_file: {path}")
        assert line.endswith("; the secrets that were read before stay in force")
        assert "hunter2" not in line
        assert secrets_of(a) == [OLD]
        async with open_test_node(network, "b", seeds=["a"], secret=OLD) as b:
            assert await b.call("a", "info") == ("a",)
        if path.is_dir():
            path.rmdir()
        # As before: the next mistake is one of its own.
        write(path, OLD)
        await trio.sleep(2 * SEEN)
        spoil(path)
        await trio.sleep(2 * SEEN)
        assert len(warnings_in(caplog)) == 2
        if path.is_dir():
            path.rmdir()
        write(path, NEW)
        await trio.sleep(2 * SEEN)
        assert secrets_of(a) == [NEW]


async def test_a_node_on_the_machine_reads_its_file_in_a_thread(
    tmp_path: Path, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_file, "LOOK_AGAIN", 0.02)
    monkeypatch.setattr(secret_file, "LOOK_TWICE", 0.01)
    path = write(tmp_path / "secret", OLD)
    bind = f"unix:{short_directory}/s"
    with trio.fail_after(20):
        async with open_node("a", binds=[bind], secret_file=path) as a:
            write(path, NEW)
            await until(lambda: secrets_of(a) == [NEW])
            async with open_node(seeds=[bind], secret=NEW) as b:
                assert await b.call("a", "info") == ("a",)


async def test_a_child_gets_the_secrets_that_are_in_force(tmp_path: Path, short_directory: Path) -> None:
    path = write(tmp_path / "secret", OLD)
    async with open_parent(f"unix:{short_directory}/p", secret=None, secret_file=path) as node:
        network_of(node).use_secrets(read_secret_file(str(write(path, NEW))))
        child = await launch_program(node, "server")
        assert await node.call(child.port, "double", 21) == (42,)


def test_simulated_nodes_read_files_too(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", OLD)

    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a", secret_file=path) as a:
            write(path, NEW)
            await trio.sleep(SEEN)
            async with network.open_node("b", seeds=["a"], secret=NEW) as b:
                assert await b.call(a.id, "info") == ("a",)

    simulate(scenario)
