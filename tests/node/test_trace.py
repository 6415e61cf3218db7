"""`TRIO_MP_TRACE`: what a node does, line by line, with nothing of the messages but their tags."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import pytest
from trio.testing import wait_all_tasks_blocked

import trio_mp
from trio_mp import ConfigurationError
from trio_mp._node.trace import TraceInstrument


async def traced_program(**arguments: object) -> str:
    """Run a node, and return the ID of its port."""
    async with trio_mp.open_node("n", **arguments) as node:  # type: ignore[arg-type]
        port = node.port(lambda *_: None)
        port.on("ask", reply=True)(lambda *_: 5)
        node.send(port, "tag\nwith a line", "a secret")
        node.send(port, b"a secret", 5)
        node.send(port)
        await node.call(port, "ask", "a secret")
        node.kill(port, "stop\nthis", "a secret")
        await wait_all_tasks_blocked()
        node.send(port, 5, "a secret")
        await wait_all_tasks_blocked()
    return port


async def test_writes_lines_to_a_file_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trace"
    monkeypatch.setenv("TRIO_MP_TRACE", str(file))
    port = await traced_program()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    assert "secret" not in text
    lines = [line.split(" ", 2) for line in text.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time, _, _ in lines)
    assert {node for _, node, _ in lines} == {"n"}
    assert [what for _, _, what in lines] == [
        f"opened in process {os.getpid()}",
        f"call 1 {port}",
        f"message {port} 'tag\\nwith a line' 2 elements",
        f"message {port} 2 elements",
        f"message {port} 0 elements",
        f"message {port} 'ask' 2 elements",
        "call 1 answered",
        f"died {port} stop\\nthis",
        f"lost {port} 1 no_such_port",
        "closed",
    ]
    await traced_program()
    assert file.read_text(encoding="utf-8").count("closed\n") == 2, "it is appended to"


@pytest.mark.parametrize("value", ["1", "stderr"])
async def test_writes_to_standard_error(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIO_MP_TRACE", value)
    await traced_program()
    assert " n call 1 answered\n" in capsys.readouterr().err


@pytest.mark.parametrize("value, profile", [("", None), ("0", None), ("1", False)])
async def test_writes_nothing_if_it_is_not_wanted(
    value: str, profile: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIO_MP_TRACE", value)
    await traced_program(profile=profile)
    assert not capsys.readouterr().err


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_MP_TRACE", str(tmp_path / "missing" / "trace"))
    with pytest.raises(ConfigurationError, match=r"^TRIO_MP_TRACE: expected a file that can be written, .*missing"):
        async with trio_mp.open_node():
            pass


def test_ends_at_its_limit() -> None:
    lines: list[bytes] = []
    trace = TraceInstrument(lines.append, lambda: None, clock=lambda: 0.5, limit=100)
    trace.added("n")
    for number in range(1000):
        trace.call_begun(number, "n#port")
    assert lines[0].startswith(b"1970-01-01T00:00:00.500000Z n opened")
    assert lines[-1].endswith(b"n has traced 100 bytes, and traces no more\n")
    assert len(lines) < 5


async def test_a_full_disk_ends_the_trace_and_not_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    monkeypatch.setenv("TRIO_MP_TRACE", "/dev/full")
    await traced_program()
    assert next(record.getMessage() for record in caplog.records if record.levelname == "ERROR").startswith(
        "an instrument has failed in added(), and is removed"
    )
