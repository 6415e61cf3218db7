"""One trial: a copy of the package with a fault in it, and the tests that must notice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio_mp

from .fault import PACKAGE, Fault, apply
from .guard import COPY, REPORT

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SOURCE = Path(trio_mp.__file__).resolve().parent

TEST_SECONDS = 30
HANGING_SECONDS = 5
"""How long one test may take, and a test that is expected to wait for ever, in seconds."""

TRIAL_SECONDS = 300
"""How long all tests of a trial may take, in seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a trial.

    Attributes:
      verdict: `caught`; `survived`; `hung`, which counts as caught only for a fault that `hangs`; or `no trial`, if the
        tests could not run.
      test: the first test that failed.
      why: how that test failed, or the end of pytest's output.
      seconds: how long the tests took.
    """

    verdict: str
    test: str
    why: str
    seconds: float


@contextmanager
def broken_copy(break_it: Callable[[Path], None]) -> Iterator[Path]:
    """Make a temporary directory with a broken copy of the package in it, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="planted-") as directory:
        copy = Path(directory).resolve()
        shutil.copytree(SOURCE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        break_it(copy / PACKAGE)
        yield copy


def try_fault(fault: Fault) -> Outcome:
    """Plant a fault, and run the tests that it names. Raises `Stale`."""
    with broken_copy(lambda package: apply(fault.changes, package)) as copy:
        outcome = run_tests(copy, fault.tests, test_seconds=HANGING_SECONDS if fault.hangs else TEST_SECONDS)
    if outcome.verdict == "hung" and fault.hangs:
        return Outcome("caught", outcome.test, f"as it should, it hangs: {outcome.why}", outcome.seconds)
    return outcome


def run_tests(
    copy: Path, tests: tuple[str, ...], *, test_seconds: int = TEST_SECONDS, first_only: bool = True
) -> Outcome:
    """Run tests against a copy of the package, until the first one fails."""
    began = time.monotonic()
    returned, said = _run(copy, [f"--timeout={test_seconds}", *(["-x"] if first_only else []), *tests])
    seconds = time.monotonic() - began
    report = copy / REPORT
    first = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    test, why = first.get("test", ""), first.get("why", "")
    if returned is None or first.get("timeout"):
        return Outcome("hung", test, why or f"not done after {TRIAL_SECONDS} s", seconds)
    if returned == 0:
        return Outcome("survived", "", "", seconds)
    if returned != 1 or not test:
        return Outcome("no trial", test, f"pytest returned {returned}:\n{said[-2000:]}", seconds)
    return Outcome("caught", test, why, seconds)


def _run(copy: Path, arguments: list[str]) -> tuple[int | None, str]:
    """Run pytest. Returns its exit status, or None if it did not end in time, and its output."""
    # -P keeps the checkout off the path, so that Python finds the copy first; the guard checks that.
    options = ["-p", "planted.guard", "-p", "no:cacheprovider", "-q", "--tb=short"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *options, *arguments],
        cwd=ROOT,
        env=_environment(copy),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            # Kill the group: pytest, and the processes that the tests have started.
            os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, said


def _environment(copy: Path) -> dict[str, str]:
    # The same examples every time. Examples of a broken copy are of no use, so none is kept.
    environment = os.environ | {
        COPY: str(copy),
        "PYTHONPATH": os.pathsep.join([str(copy), str(TESTS)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "ci",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / "hypothesis"),
    }
    # The copy is not the installed package, and coverage of the copy means nothing.
    unwanted = {"TRIO_MP_TEST_INSTALLED", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"}
    return {name: value for name, value in environment.items() if name not in unwanted}
