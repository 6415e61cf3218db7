"""`trio_mp.testing.pytest_plugin`, in runs of pytest of its own."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from doc_pages import ROOT, pieces_of

CONFTEST = 'pytest_plugins = ["trio_mp.testing.pytest_plugin"]\n'

INI = "[pytest]\naddopts = --strict-markers\n"
"""So that pytest looks no further up for another one."""


class Run:
    """A run of pytest that is over.

    Attributes:
      status: its exit status.
      output: all that it printed.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-W", "error", *arguments]
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
            timeout=60,
        )
        self.status = done.returncode
        self.output = done.stdout

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each test, by its name."""
        found = re.findall(r"^\S+::(\S+) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b", self.output, re.MULTILINE)
        return dict(found)

    def repeated(self, directory: Path) -> Run:
        """What comes of the command that it says repeats the first test that has failed."""
        match = re.search(r"to repeat it: pytest (.*)", self.output)
        assert match, self.output
        return Run(directory, *shlex.split(match[1]))


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in {"conftest.py": CONFTEST, "pytest.ini": INI, **files}.items():
        (directory / name).write_text(text, encoding="utf-8")


GOOD = """
import logging
import pytest
import trio
from trio.testing import MockClock
from trio_mp.testing import SimulatedNetwork

async def is_virtual():
    assert isinstance(trio.lowlevel.current_clock(), MockClock)
    await trio.sleep(1000)

async def test_plain(simulated_network):
    assert isinstance(simulated_network, SimulatedNetwork)
    assert simulated_network.seed == 0
    async with simulated_network.open_node("a") as a, simulated_network.open_node("b", seeds=["a"]):
        await trio.sleep(1)
        assert a.peers == ("b",)
    await is_virtual()

@pytest.mark.trio
async def test_marked(simulated_network):
    await is_virtual()

async def test_with_a_clock(simulated_network, autojump_clock):
    assert trio.lowlevel.current_clock() is autojump_clock
    await is_virtual()

@pytest.mark.trio
async def test_without(autojump_clock):
    await is_virtual()

@pytest.fixture
async def pair(simulated_network):
    async with simulated_network.open_node("a") as a, simulated_network.open_node("b", seeds=["a"]) as b:
        yield a, b

@pytest.mark.trio_mp_seed(3, "three")
async def test_in_a_fixture_of_ones_own(pair, request):
    a, b = pair
    await is_virtual()
    assert a.peers == ("b",)

@pytest.mark.trio_mp_seed(5)
class TestSeeds:
    async def test_of_the_class(self, simulated_network):
        assert simulated_network.seed == 5

    @pytest.mark.trio_mp_seed(*range(6, 9))
    @pytest.mark.parametrize("other", ["x", "y"])
    async def test_of_its_own(self, simulated_network, other):
        assert 6 <= simulated_network.seed <= 8

@pytest.mark.trio_mp_seed(9)
def test_that_takes_no_network():
    pass
"""


@pytest.mark.parametrize("trio_mode", [False, True])
def test_networks_for_those_who_ask(tmp_path: Path, trio_mode: bool) -> None:
    write(tmp_path, {"test_good.py": GOOD, "pytest.ini": f"{INI}trio_mode = {'true' if trio_mode else 'false'}\n"})
    run = Run(tmp_path)
    assert run.status == 0, run.output
    expected = {"test_plain", "test_marked", "test_with_a_clock", "test_without", "test_that_takes_no_network"}
    expected |= {f"test_in_a_fixture_of_ones_own[seed{seed}]" for seed in (3, "three")}
    expected |= {"test_of_the_class[seed5]"}
    # With another parameter it is up to pytest which of the two is named first.
    own = {"test_of_its_own" + "".join(sorted(f"seed{seed}-{other}")) for seed in (6, 7, 8) for other in "xy"}
    found = {name for name in run.outcomes if not name.startswith("test_of_its_own")}
    assert found == expected
    assert {"test_of_its_own" + "".join(sorted(name[len("test_of_its_own[") : -1])) for name in run.outcomes} >= own
    assert "to repeat it" not in run.output


def test_the_option_wins(tmp_path: Path) -> None:
    source = """
    import pytest

    async def test_plain(simulated_network):
        assert simulated_network.seed == 77

    @pytest.mark.trio_mp_seed(1, 2, 3)
    async def test_marked(simulated_network):
        assert simulated_network.seed == 77

    async def test_text(simulated_network):
        assert simulated_network.seed == "some text"
    """
    write(tmp_path, {"test_seeds.py": re.sub(r"^    ", "", source, flags=re.MULTILINE)})
    run = Run(tmp_path, "--trio-mp-seed", "77")
    expected = {"test_plain": "PASSED", "test_marked[seed77]": "PASSED", "test_text": "FAILED"}
    assert run.outcomes == expected, run.output
    run = Run(tmp_path, "--trio-mp-seed", "some text", "-k", "test_text")
    assert run.outcomes == {"test_text": "PASSED"}, run.output


BAD = """
import pytest
import trio
from trio_mp.testing import Witness

@pytest.mark.trio_mp_seed(1, 2)
async def test_drawn(simulated_network):
    drawn = simulated_network.random.random()
    async with simulated_network.open_node("somebody"):
        await trio.sleep(drawn)
    assert not drawn

async def test_promise(simulated_network):
    # Only the port dies of the violation.
    async with simulated_network.open_node("a") as a:
        port = Witness(simulated_network, a).port()
        a.send(port, "witness", "a/1", 7, str(port))
        await trio.sleep_forever()

async def test_program(simulated_network):
    async def program(node):
        await trio.sleep(1)
        raise ValueError("it went wrong")

    simulated_network.start("a", program)
    await trio.sleep_forever()

@pytest.mark.xfail(strict=True)
async def test_expected(simulated_network):
    assert False
"""


def test_a_failure_says_how_to_repeat_it(tmp_path: Path) -> None:
    write(tmp_path, {"test_bad.py": BAD})
    run = Run(tmp_path, "-k", "test_drawn")
    assert run.outcomes == {"test_drawn[seed1]": "FAILED", "test_drawn[seed2]": "FAILED"}, run.output
    assert "- simulated network -" in run.output
    assert "seed 1; to repeat it: pytest 'test_bad.py::test_drawn[seed1]' --trio-mp-seed 1\n" in run.output
    assert "start somebody/1" in run.output
    again = run.repeated(tmp_path)
    assert again.outcomes == {"test_drawn[seed1]": "FAILED"}
    drawn = re.findall(r"assert not (0\.\d+)$", run.output, re.MULTILINE)
    assert drawn[0] != drawn[1]
    assert re.findall(r"assert not (0\.\d+)$", again.output, re.MULTILINE) == drawn[:1]


def test_what_ends_a_simulation_fails_its_test(tmp_path: Path) -> None:
    write(tmp_path, {"test_bad.py": BAD})
    run = Run(tmp_path, "-k", "not test_drawn")
    expected = {"test_promise": "FAILED", "test_program": "FAILED", "test_expected": "XFAIL"}
    assert run.outcomes == expected, run.output
    assert "PromiseBroken: what is delivered was sent, to that port: a#" in run.output
    assert "got message 7 of a/1, which was not sent to it (seed 0)" in run.output
    assert "ValueError: it went wrong" in run.output
    assert run.output.count("to repeat it") == 2
    # The trace of a broken promise is in its own text already.
    assert run.output.count("what happened last") == 1


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    source = """
    import trio

    async def test_it(simulated_network):
        simulated_network.default_link.jitter = 0.1
        async with simulated_network.open_node("a") as a, simulated_network.open_node("b", seeds=["a"]) as b:
            ports = [a.port(lambda *_: None) for _ in range(5)]
            async with trio.open_nursery() as nursery:
                async def talk(port):
                    for number in range(10):
                        b.send(port, number)
                        await trio.lowlevel.checkpoint()
                for port in ports:
                    nursery.start_soon(talk, port)
            await trio.sleep(5)
        print("digest", simulated_network.trace.digest)
    """
    write(tmp_path, {"test_same.py": re.sub(r"^    ", "", source, flags=re.MULTILINE)})
    digests = [
        re.findall(r"digest (\w+)", Run(tmp_path, "-s", "--trio-mp-seed", seed).output) for seed in ("1", "1", "2")
    ]
    assert [len(found) for found in digests] == [1, 1, 1]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("mark", ["()", "(1.5)", "(seed=1)"])
def test_a_mark_with_no_seed_is_refused(tmp_path: Path, mark: str) -> None:
    test = f"import pytest\n@pytest.mark.trio_mp_seed{mark}\nasync def test_it(simulated_network):\n    pass\n"
    write(tmp_path, {"test_it.py": test})
    run = Run(tmp_path)
    assert run.status != 0
    assert "test_it.py::test_it: expected one seed or more in trio_mp_seed" in run.output


def test_without_pytest_trio_it_says_what_to_install(tmp_path: Path) -> None:
    write(tmp_path, {"test_it.py": "def test_it():\n    pass\n"})
    run = Run(tmp_path, "-p", "no:trio")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "got none: pip install pytest-trio" in run.output


# The page ------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_finds_its_bug_and_passes_without_it(tmp_path: Path) -> None:
    """docs/testing.md: what its files do, and that pytest says what the page shows."""
    pieces = list(pieces_of((ROOT / "docs" / "testing.md").read_text(encoding="utf-8")))
    follows = itertools.pairwise(pieces)
    files = {before.text: piece.text for before, piece in follows if before.kind == "file"}
    assert files["conftest.py"] == CONFTEST
    write(tmp_path, files)
    run = Run(tmp_path)
    assert set(run.outcomes.values()) == {"PASSED", "FAILED"}, run.output
    (shown,) = [piece.text for piece in pieces if piece.kind == "console" and "to repeat it" in piece.text]
    for line in shown.splitlines():
        # Which seeds, and when, changes with every byte of a handshake.
        pattern = re.sub(r"(\\ )*\d+", r" *\\d+", re.escape(line))
        assert re.search(f"^{pattern}$", run.output, re.MULTILINE), f"{line}\n{run.output}"
    assert "FAILED" in run.repeated(tmp_path).outcomes.values()
    (mended,) = [piece.text for piece in pieces if piece.kind == "python" and "seen" in piece.text]
    test = (tmp_path / "test_till.py").read_text(encoding="utf-8")
    before, rest = test.split("class Till:")
    _, after = rest.split("async def pay")
    (tmp_path / "test_till.py").write_text(f"{before}{mended}\nasync def pay{after}", encoding="utf-8")
    run = Run(tmp_path)
    assert set(run.outcomes.values()) == {"PASSED"}, run.output
