"""The project's checks: `nox` runs the default ones, `nox -s NAME` one of them.

Plain `nox` skips an interpreter that this machine does not have. With `CI` in the environment that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# Not `venv`, which needs ensurepip: Debian's Python does not have that. Nox brings virtualenv with it.
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = "CI" in os.environ
nox.options.reuse_venv = "yes"

# Each default session has one of these tags. `.ci/run` runs the sessions of the first one alone, because they use all
# cores and meet time limits; beside those of the second one it runs `fresh`.
TESTS, CHECKS = ["tests"], ["checks"]

PYTHONS = ("3.11", "3.12", "3.13")
COVERED = "3.11"
"""The only interpreter that measures coverage, checks its limits, and runs the long tests."""

DEBIANS = "/usr/bin/python3.11"
"""Debian 12's own Python, 3.11.2, which has bugs that later ones do not have."""


DEBIANS_PROGRAMS = {"test_five_processes", "test_run_command", "test_workers_command", "test_written_services"}
"""The real programs that run on it, beside those of the session `alone`."""


def has_debians() -> bool:
    """Whether Debian's Python is there, and is not the interpreter that `tests-3.11` uses."""
    if not Path(DEBIANS).exists() or os.path.realpath(shutil.which("python3.11") or "") == os.path.realpath(DEBIANS):
        return False
    command = [DEBIANS, "-c", "import platform; print(platform.python_version())"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() == "3.11.2"


LONG = {"test_explorer", "test_membership_explored", "test_transitions"}
PURE = [str(path) for path in sorted(Path("tests/protocol").rglob("test_*.py")) if path.stem not in LONG]
"""The tests of the pure core, which must reach every line and branch of it. None of them is long."""

PROJECT = nox.project.load_toml("pyproject.toml")

# -P and PYTHONSAFEPATH keep the checkout off sys.path, here and in programs that tests start, so that the installed
# package runs. One of the tests fails if it is not (it looks for TRIO_MP_TEST_INSTALLED).
SAFE = {"PYTHONSAFEPATH": "1", "TRIO_MP_TEST_INSTALLED": "1"}
PYTEST = ("python", "-P", "-m", "pytest")
# One job more than there are cores: some tests wait for processes, or for time to pass.
PARALLEL = (f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=worksteal", "--durations=25")


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install the package as a user gets it, and the named dependency groups."""
    requirements = nox.project.dependency_groups(PROJECT, *groups)
    session.install(*(["."] if package else []), *requirements)


# Their result does not depend on the interpreter: they read the source, measure, try one line after the other, or
# follow a page in terminals, whose commands other tests run on each interpreter.
PAGES = (
    *("followed_pages", "how_to_pages", "command_line_page", "running_page", "shell_page", "aemp_programs"),
    *("losses", "bench_workloads", "chaos"),
)
SAME = (
    *("--ignore=tests/house", "--ignore=tests/programs/test_bench.py", "--ignore=tests/peers/test_own_errors.py"),
    *[f"--ignore=tests/programs/test_{name}.py" for name in PAGES],
)


@nox.session(python=PYTHONS, tags=TESTS)
def tests(session: nox.Session) -> None:
    """The tests, against the installed package. Arguments go to pytest; with any, coverage is not measured."""
    install(session, "test")
    if session.posargs:
        session.run(*PYTEST, *session.posargs, env=SAFE)
    elif session.python != COVERED:
        # What enumerates states, simulates much, or draws the same examples of pure code every time, comes to the same
        # with every interpreter: once is enough, on the oldest. The newest one runs all the rest; the one between them
        # runs what touches sockets, tasks and ports.
        chosen = ["tests", "--ignore=tests/testing", "--ignore=tests/protocol"]
        if session.python == "3.12":
            chosen = [f"tests/{room}" for room in ("ports", "transport", "peers", "services", "node")]
        session.run(*PYTEST, *PARALLEL, "-m", "not exhaustive and not hypothesis", *SAME, *chosen, env=SAFE)
    else:
        session.run(*PYTEST, *PARALLEL, *(f"--ignore={path}" for path in PURE), env=SAFE)
        measure(session, *PURE)
        report(session, "--include=*/trio_mp/_protocol/*", "--fail-under=100")


@nox.session(default="CI" in os.environ and has_debians(), python=DEBIANS, tags=TESTS if has_debians() else [])
def tests_debian(session: nox.Session) -> None:
    """The tests that are not long, on Debian 12's own Python, where CI has it.

    Those of the simulated network, of the pure core, and of what is built of messages alone are left out, too, and of
    the real programs all but a few: their results are those of `tests-3.11`.
    """
    install(session, "test")
    programs = [path for path in sorted(Path("tests/programs").glob("test_*.py")) if path.stem not in DEBIANS_PROGRAMS]
    same = (*SAME, *[f"--ignore=tests/{room}" for room in ("testing", "protocol", "channels", "groups")])
    same = (*same, *[f"--ignore={path}" for path in programs])
    session.run(*PYTEST, *PARALLEL, "-m", "not exhaustive and not hypothesis", *same, *session.posargs, env=SAFE)


@nox.session(default=False, python=COVERED)
def coverage(session: nox.Session) -> None:
    """Measure how much of the package the tests reach. Takes twice as long as the tests alone."""
    install(session, "test")
    measure(session, "tests")
    report(session, "--fail-under=95")


def measure(session: nox.Session, *paths: str) -> None:
    """Run tests without the long ones, and note which lines and branches they reach."""
    run = ("python", "-P", "-m", "coverage")
    environment = {**SAFE, "COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    session.run(*run, "erase", env=environment)
    session.run(*run, "run", "-m", "pytest", *PARALLEL, "-m", "not exhaustive", *paths, env=environment)
    session.run(*run, "combine", "--quiet", env=environment)


def report(session: nox.Session, *arguments: str) -> None:
    """Print the lines and branches that the tests did not reach."""
    environment = {**SAFE, "COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    session.run("python", "-P", "-m", "coverage", "report", *arguments, env=environment)


@nox.session(tags=CHECKS)
def typing(session: nox.Session) -> None:
    """mypy --strict, basedpyright, and the check that every public name is typed and documented."""
    install(session, "typing")
    paths = [path for path in ("trio_mp", "tests", "benchmarks", "noxfile.py") if Path(path).exists()]
    session.run("mypy", *paths)
    session.run("basedpyright")
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "trio_mp")
    session.run(*PYTEST, "tests/node/test_public_names.py", env=SAFE)


@nox.session(python=DEBIANS if "CI" in os.environ and has_debians() else COVERED, tags=CHECKS)
def alone(session: nox.Session) -> None:
    """Run the commands of the package as `pip install` gets it, without extras and without what tests need."""
    install(session)
    code = "import importlib.util; assert importlib.util.find_spec('rich') is None"
    session.run("python", "-P", "-c", code)
    session.run("trio-mp", "demo", "--seconds", "4", env=SAFE)
    session.run("trio-mp", "bench", "--quick", "--only", "idle/bare", env=SAFE)
    session.run("python", "-P", "-m", "trio_mp.testing", "hammer", "--seeds", "3", env=SAFE)


@nox.session(tags=CHECKS)
def typing_compat(session: nox.Session) -> None:
    """Check a program written with trio-typing, by its plugin, against the installed package."""
    install(session, "typing-compat")
    session.chdir("tests/typing_compat")
    session.run("mypy", "--config-file", "mypy.ini", "program.py")


@nox.session(tags=CHECKS)
def lint(session: nox.Session) -> None:
    """Run ruff, flake8-async over the async functions, the checks of what runs elsewhere, and that of the imports."""
    install(session, "lint", "test", package=False)
    session.run("ruff", "check", ".")
    session.run("python", "-P", "tests/async_rules.py")
    session.run("python", "-P", "tests/workflow_checks.py")
    session.run(*PYTEST, *[f"tests/house/test_{name}.py" for name in ("architecture", "async_rules", "workflows")])


@nox.session(tags=CHECKS)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. Check the files that `trio-mp unit` prints by their schemas."""
    install(session, "docs", "units")
    output = Path(session.create_tmp()) / "html"
    session.run("python", "-P", "-m", "sphinx", "-W", "--keep-going", "-E", "-b", "html", "docs", str(output))
    session.run(*PYTEST, "tests/programs/test_unit_schemas.py", env={**SAFE, "TRIO_MP_REQUIRE_SCHEMAS": "1"})


@nox.session(default=False, python=COVERED)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, on the oldest Python. Arguments go to pytest.

    The extras and the tools of the tests are at their lowest, too; what those require in their turn is not.
    """
    backend, dependencies = PROJECT["build-system"]["requires"], PROJECT["project"]["dependencies"]
    requirements = (*backend, *dependencies, *nox.project.dependency_groups(PROJECT, "test"))
    session.install(*[requirement.replace(">=", "==") for requirement in requirements])
    session.install("--no-build-isolation", "--no-deps", "--force-reinstall", ".")
    session.run("python", "-m", "pip", "check")
    arguments = session.posargs or ("-m", "not exhaustive and not hypothesis", *SAME)
    session.run(*PYTEST, *PARALLEL, *arguments, env=SAFE)


@nox.session(default=False, python=COVERED)
def build(session: nox.Session) -> None:
    """Build sdist and wheel, twice, check them, and run demo and tutorial with the wheel alone. They are in dist/.

    Everything is built without the network: the tools are those of the dependency group `build`.
    """
    install(session, "build", package=False)
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    first, second, third = (folder / name for name in ("first", "second", "from-the-checkout"))
    for output in (first, second):
        # The wheel is built from the sdist.
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(output), silent=True)
    session.run("python", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(third), silent=True)
    session.run("python", "-P", "tests/distributions.py", str(first), str(second), str(third))
    made = [str(path) for path in sorted(first.iterdir())]
    wheels = [path for path in made if path.endswith(".whl")]
    session.run("twine", "check", "--strict", *made)
    session.run("towncrier", "build", "--draft", "--version", "0", silent=True)
    session.run("check-wheel-contents", *wheels)
    bare = folder / "bare"
    session.run("python", "-m", "virtualenv", "--quiet", str(bare))
    scripts = bare / ("Scripts" if os.name == "nt" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "--quiet", *wheels, external=True)
    # Neither the folder nor the environment says where the checkout is.
    outside = {"PYTHONPATH": None, "PYTHONSAFEPATH": "1"}
    with session.chdir(folder):
        code = "import sys, trio_mp; assert trio_mp.__file__.startswith(sys.prefix), trio_mp.__file__"
        session.run(str(scripts / "python"), "-c", code, env=outside, external=True)
        session.run(str(scripts / "trio-mp"), "demo", env=outside, external=True)
    follow_tutorial(session, str(scripts / "python"), *wheels)
    shutil.rmtree("dist", ignore_errors=True)
    shutil.copytree(first, "dist")


TUTORIAL = ("docs/tutorial.md", "docs/tutorial-supervision.md", "docs/tutorial-services.md")


def follow_tutorial(session: nox.Session, python: str, wheel: str) -> None:
    """Do what the tutorial says, word for word, with an interpreter that has the wheel and not the checkout."""
    environment = {"PYTHONPATH": str(Path("tests").resolve()), "PYTHONSAFEPATH": "1"}
    follow = (python, "-m", "page_follower")
    wanted = session.run(*follow, "--requirements", *TUTORIAL, env=environment, external=True, silent=True)
    assert isinstance(wanted, str)
    requirements = [wheel + each.removeprefix("trio-mp") for each in wanted.split() if each.startswith("trio-mp")]
    if len(requirements) != len(wanted.split()):
        session.error(f"expected the tutorial to have pip install trio-mp, got {wanted!r}")
    session.run(python, "-m", "pip", "install", "--quiet", *requirements, external=True)
    session.run(*follow, *TUTORIAL, env=environment, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks beside the peers that can be installed. Arguments go to `python -m benchmarks`: --quick, …

    Erlang and NATS take part if `erl`, `escript` and `nats-server` are on the path.
    """
    install(session)
    for requirement in nox.project.dependency_groups(PROJECT, "bench"):
        session.run("python", "-m", "pip", "install", "--quiet", requirement, success_codes=[0, 1])
    # The benchmarks name the peers that cannot be installed, and leave them out.
    old = Path(session.create_tmp()).resolve() / "tractor"
    session.run("python", "-m", "venv", str(old), silent=True)
    python = str(old / "bin" / "python")
    requirements = nox.project.dependency_groups(PROJECT, "bench-tractor")
    pip = (python, "-m", "pip", "install", "--quiet", "--no-deps")
    session.run(*pip, *requirements, success_codes=[0, 1], external=True)
    session.run("python", "-m", "benchmarks", *session.posargs, env={"TRIO_MP_BENCH_TRACTOR": python})


@nox.session(tags=CHECKS)
def hammer(session: nox.Session) -> None:
    """Run the simulated network with many seeds, on all cores: `nox -s hammer -- --seeds N`; 50 by default.

    They are the same ones for every change, and decide whether it lands. `fresh` tries others.
    """
    install(session)
    arguments = session.posargs or ("--seeds", "50")
    session.run("python", "-P", "-m", "trio_mp.testing", "hammer", *arguments, env=SAFE)


@nox.session(default="CI" in os.environ)
def fresh(session: nox.Session) -> None:
    """Hammer for five minutes with seeds that no other commit tries, and print one line of JSON for `tally`.

    A seed that fails is printed with the command that replays it, and does not fail the session. Arguments go to
    `tests/fresh_seeds.py`, such as `--minutes 60`.
    """
    install(session)
    session.run("python", "-P", "tests/fresh_seeds.py", *session.posargs, env=SAFE)


@nox.session(default=False)
def tally(session: nox.Session) -> None:
    """Count the lines of `fresh` that stand in the named files, or in stdin, and put the sums into the pages."""
    install(session)
    session.run("python", "-P", "-m", "tally", *session.posargs, env={**SAFE, "PYTHONPATH": "tests"})


@nox.session(default=False)
def thorough(session: nox.Session) -> None:
    """Run the Hypothesis tests with many examples, and the explorer of all states. Arguments go to pytest."""
    install(session, "test")
    environment = {**SAFE, "HYPOTHESIS_PROFILE": "thorough"}
    session.run(*PYTEST, "--timeout=0", "-m", "hypothesis or exhaustive", *session.posargs, env=environment)


@nox.session(default=False, python=COVERED)
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser of bytes from outside. `tests` tries the inputs again that this keeps in tests/corpus.

    Arguments go to `python -m fuzzing`, such as `--minutes 60 --target json`. atheris has wheels for Linux only.
    """
    install(session, "fuzz")
    session.run("python", "-P", "-m", "fuzzing", *session.posargs, env={**SAFE, "PYTHONPATH": "tests"})


@nox.session(default=False, python=COVERED)
def faults(session: nox.Session) -> None:
    """Break the package on purpose, one fault at a time, and check that the tests notice. Under five minutes.

    Arguments go to `python -m planted`: names of faults, `--why`, `--jobs 4`.
    """
    install(session, "test")
    session.run("python", "-P", "-m", "planted", *session.posargs, env={**SAFE, "PYTHONPATH": "tests"})


@nox.session(default=False, python=COVERED)
def mutants(session: nox.Session) -> None:
    """Break the association and the handshake by mutations of cosmic-ray, which a seed draws; see `faults`.

    Arguments go to `python -m planted.drawn`, such as `--count 60 --seed 5`.
    """
    install(session, "test", "mutants")
    session.run("python", "-P", "-m", "planted.drawn", *session.posargs, env={**SAFE, "PYTHONPATH": "tests"})


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Stop and kill real processes, break their connections in all ways, and check the promise.

    Arguments go to `python -m chaos`, such as `--minutes 3 --kind unix --encryption on --seed 5`.
    """
    install(session, "test")
    session.run("python", "-P", "-m", "chaos", *session.posargs, env={**SAFE, "PYTHONPATH": "tests"})
