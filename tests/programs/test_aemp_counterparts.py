"""What stands in docs/from-anyevent-mp.md for the `aemp` utility and for `configure`: all of it runs, in this order."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from command_lines import environment, open_command
from doc_pages import ROOT, pieces_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the nodes use Unix sockets")

PAGE = (ROOT / "docs" / "from-anyevent-mp.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Configuration\n")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if re.match(r"\| (?!---)", line)]
COMMANDS = [command for row in ROWS for command in re.findall(r"`trio-mp ([^`]+)`", row[1])]
NODES = [call for row in ROWS for call in re.findall(r"`(open_node\([^`]*\))`", row[1])]
RUNS = {"run", "seed"}
"""The commands that run until they are stopped."""

IN_ONE_PROCESS = """
import json, sys
from trio_mp.cli import main
print(json.dumps([main(words) for words in json.loads(sys.argv[1])], indent=None))
"""

OPENING = """
import json, sys, trio
from trio_mp import open_node

async def main():
    found = {}
    for call in json.loads(sys.argv[1]):
        async with eval(call) as node:
            found[call] = node.id, list(node.binds)
    print(json.dumps(found))

trio.run(main)
"""

MODULES = {
    "mymod/service.py": "def main(node):\n    print('the service runs in', node.id, flush=True)\n",
    "bk/backend/irc.py": "def main(node):\n    raise AssertionError('it was taken out')\n",
    "chat_server.py": "from trio_mp import spawnable\n@spawnable\ndef serve(port):\n    print(port)\n",
}


def in_python(program: str, value: object, folder: Path, **variables: str) -> str:
    """The last line that a program prints, which gets a value as its argument."""
    command = [sys.executable, "-c", program, json.dumps(value)]
    said = subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.splitlines()[-1]


def test_every_row_has_a_counterpart() -> None:
    heads = [row for row in ROWS if row[1] == "here"]
    assert len(heads) == 2
    for row in ROWS:
        assert row in heads or re.search(r"`(trio-mp |open_node\()", row[1]), row


async def test_the_counterparts_run(short_directory: Path) -> None:
    folder = short_directory
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    file = folder / "configuration" / "profiles.toml"
    variables = {"TRIO_MP_CONFIG": str(file)}

    # The commands that configure, in one process: each by itself would take longer to start than to run. Those that run
    # nodes are run when all is configured, but for what has been deleted by then.
    words = [shlex.split(command.replace("$(hostname)", socket.gethostname())) for command in COMMANDS]
    configuring = [line for line in words if line[0] not in RUNS]
    split = next(number for number, line in enumerate(configuring) if line[:2] == ["profile", "delete"])
    assert json.loads(in_python(IN_ONE_PROCESS, configuring[:split], folder, **variables)) == [0] * split

    # The addresses of the page are for everybody; these are for this test.
    places = iter(f"unix:{folder}/{number}" for number in range(100))
    seed = next(places)
    variables["TRIO_MP_SEEDS"] = seed
    binds = [seed, *places]
    running = [line for line in words if line[0] in RUNS]
    assert running[0][0] == "seed"
    async with AsyncExitStack() as stack:
        programs = []
        for bind, line in zip(binds, running, strict=False):
            env = environment(**variables, TRIO_MP_BINDS=bind)
            program = await stack.enter_async_context(open_command(*line, cwd=folder, env=env))
            programs.append(program)
            if line[0] == "seed":
                await program.expect(f"^{re.escape(bind)}$")
                if "--id" in line:
                    await program.expect(rf"the seed {re.escape(socket.gethostname())} runs")
            else:
                await program.expect(r" runs? in the node anon/")
            if "mysrvnode" in line:
                await program.expect("^the service runs in anon/")
        for program in reversed(programs):
            program.process.send_signal(signal.SIGTERM)
            assert await program.process.wait() == 0

    rest = configuring[split:]
    assert json.loads(in_python(IN_ONE_PROCESS, rest, folder, **variables)) == [0] * len(rest)
    (shown,) = [piece.text for piece in pieces_of(SECTION) if piece.kind == "toml"]
    assert file.read_text(encoding="utf-8") == shown

    opened = json.loads(in_python(OPENING, NODES, folder, **variables, TRIO_MP_BINDS=seed))
    assert len(opened) == len(NODES)
    for call, (node_id, its_binds) in opened.items():
        outside = "profile=False" not in call
        # The default of the file has `node_id = "anon/"`, and what a program says comes behind that.
        assert node_id.startswith("anon/") == outside, call
        assert its_binds == ([seed] if outside else []), call
