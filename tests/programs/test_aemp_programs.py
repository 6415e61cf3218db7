"""docs/anyevent-mp-programs.md: the programs that are files, as processes, and the table that names all programs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import trio
from command_lines import environment, open_command, run_command
from doc_pages import ROOT, pieces_of
from running_programs import open_stage

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "anyevent-mp-programs.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!---)", line)][1:]


def anchor_of(heading: str) -> str:
    """The anchor of a heading, as Sphinx makes it."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_every_program_of_theirs_has_one_of_ours() -> None:
    # Of the manual and the introduction of version 0, the introduction and the manual of version 1, and what 2 adds.
    assert len(ROWS) == 2 + 7 + 12 + 11 + 1
    here = {anchor_of(line.lstrip("# ")) for line in PAGE.splitlines() if line.startswith("###")}
    named = set()
    for row in ROWS:
        assert len(row) == 4, row
        target = re.search(r"\]\((#?[^)]+)\)", row[3])
        assert target is not None, row
        if target[1].startswith("#"):
            assert target[1].removeprefix("#") in here, row
            named.add(target[1].removeprefix("#"))
        else:
            assert (ROOT / "docs" / target[1].partition("#")[0]).exists(), row
    assert named == here, "a program that the table does not name"


def test_every_example_is_on_a_page() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    for program in EXAMPLES.glob("*.py"):
        assert any(f"examples/{program.name}" in page or program.name in page for page in pages), program.name


async def test_the_first_chat(short_directory: Path) -> None:
    seed = f"unix:{short_directory}/chat"
    async with open_stage(short_directory, EXAMPLES) as stage:
        server = await stage.run(EXAMPLES / "lookup_server.py", seed)
        anna = await stage.run(EXAMPLES / "lookup_client.py", seed)
        await server.expect("^got a new client$")
        bert = await stage.run(EXAMPLES / "lookup_client.py", seed)
        await server.expect("^got a new client$", 1)
        await anna.type("hello")
        for client in (anna, bert):
            await client.expect("^chat> hello$")
        await bert.type("bye")
        await bert.type("/quit")
        await anna.expect("^chat> bye$")
        assert await bert.process.wait() == 0
        assert server.lines == ["got a new client"] * 2 + ["message> hello", "message> bye"]
        assert await anna.end_of_input() == 0


async def test_receivers_and_a_sender_with_profiles(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (section,) = re.findall(r"\n### Receiver and sender with profiles\n(.*?)\n### ", PAGE, re.DOTALL)
    commands, programs = (piece.text.splitlines() for piece in pieces_of(section) if piece.kind == "console")
    variables = {"TRIO_MP_CONFIG": str(short_directory / "configuration" / "profiles.toml")}
    seed = f"unix:{short_directory}/seed"
    *configuring, running = [shlex.split(line)[1:] for line in commands]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_command(*words, cwd=short_directory, env=environment(**variables))

    for words in configuring:
        told = run(*[seed if word == "*:4040" else word for word in words])
        assert told.returncode == 0, told.stderr
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with open_command(*running, cwd=short_directory, env=environment(**variables)) as node:
        await node.expect(f"^{re.escape(seed)}$")
        async with open_stage(short_directory, EXAMPLES) as stage:
            started = []
            for line in programs:
                python, program, *arguments = line.split()
                assert python == "python"
                started.append(await stage.run(EXAMPLES / program, *arguments))
            for receiver in started[:2]:
                await receiver.expect(r"^Received data: \d+\.\d+$")
            # The node ID is that of the profile.
            told = await trio.to_thread.run_sync(run, "nodes")
            assert "receiver-1" in told.stdout, told
