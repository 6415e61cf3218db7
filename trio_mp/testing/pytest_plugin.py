"""A plugin for pytest, with pytest-trio: the fixture `simulated_network`, and seeds for it.

In `conftest.py`::

    pytest_plugins = ["trio_mp.testing.pytest_plugin"]

and then in a test::

    @pytest.mark.trio_mp_seed(*range(100))
    async def test_no_job_is_lost(simulated_network):
        async with simulated_network.open_node("a") as a:
            ...

A test that takes the fixture need not be marked `trio`. It runs under a clock that jumps, as with `autojump_clock`, and
the seed decides the order of its tasks. So the same seed gives the same run. A test that also takes a clock of
pytest-trio's runs under that clock.

The option `--trio-mp-seed` decides the seed. Without it the mark `trio_mp_seed` does, which makes one test for each of
its seeds; without both the seed is 0. A test that fails shows its seed, the latest events of its network, and how to
repeat it.

This is the only module of the package that imports pytest, and nothing imports it but pytest.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from ._network import SimulatedNetwork, open_simulated_network
from ._scheduler import deterministic_scheduling

_FIXTURE = "simulated_network"
_MARK = "trio_mp_seed"
_OPTION = "--trio-mp-seed"
_NETWORK = pytest.StashKey[SimulatedNetwork]()


@pytest.fixture(name=_FIXTURE)
async def _simulated_network(request: pytest.FixtureRequest) -> AsyncGenerator[SimulatedNetwork, None]:
    """A simulated network for one test, with the seed of the test.

    At the end of the test, programs that still run are cancelled. The test fails if the oracle has seen the promise
    broken, even in a handler whose exception has only killed its port. Some violations show only when everything has
    come to rest: to find these, end the test with `await simulated_network.settle()` while its nodes run.
    """
    async with open_simulated_network(_seed_of(request.node)) as network:
        request.node.stash[_NETWORK] = network
        yield network


def _read_seed(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _seed_of(item: pytest.Item) -> int | str:
    seed: Any = item.config.getoption(_OPTION)
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        # The mark has made a test for each of its seeds.
        seed = item.callspec.params.get(_FIXTURE, seed)
    return 0 if seed is None else seed


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option; called by pytest."""
    parser.getgroup("trio_mp").addoption(
        _OPTION, type=_read_seed, metavar="SEED", help="the seed of every simulated network, whatever the test says"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the mark; called by pytest.

    Raises:
      pytest.UsageError: pytest-trio is not installed.
    """
    if not config.pluginmanager.hasplugin("trio"):
        raise pytest.UsageError(f"expected pytest-trio for the plugin {__name__}, got none: pip install pytest-trio")
    config.addinivalue_line(
        "markers", f"{_MARK}(seed, …): the seed of the simulated network; with several, the test runs once for each"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each seed; called by pytest.

    Raises:
      pytest.UsageError: a mark has no seed, or a seed that is neither an int nor a str.
    """
    mark = metafunc.definition.get_closest_marker(_MARK)
    if mark is None or _FIXTURE not in metafunc.fixturenames:
        return
    seeds: Sequence[object] = mark.args
    if not seeds or mark.kwargs or not all(isinstance(seed, int | str) for seed in seeds):
        test = metafunc.definition.nodeid
        raise pytest.UsageError(f"{test}: expected one seed or more in {_MARK}, each an int or a str, got {mark}")
    chosen = metafunc.config.getoption(_OPTION)
    if chosen is not None:
        seeds = [chosen]
    metafunc.parametrize(_FIXTURE, seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make tests that take the fixture run as simulations do; called by pytest."""
    for item in items:
        if isinstance(item, pytest.Function) and _FIXTURE in item.fixturenames:
            # Ahead of the marks that pytest-trio may have set.
            item.add_marker(pytest.mark.trio(run=partial(_run, _seed_of(item))), append=False)


def _run(
    seed: int | str, function: Callable[[], Awaitable[object]], *, clock: trio.abc.Clock | None = None, **arguments: Any
) -> object:
    """Run a test with the order of a seed, in the place of `trio.run`, which pytest-trio would call."""
    with deterministic_scheduling(seed):
        return trio.run(function, clock=clock or MockClock(autojump_threshold=0), **arguments)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to repeat a test that has failed; called by pytest."""
    report = yield
    network = item.stash.get(_NETWORK, None)
    if network is not None and report.when == "call" and report.failed:
        again = shlex.join(["pytest", item.nodeid, _OPTION, str(network.seed)])
        lines = [f"seed {network.seed!r}; to repeat it: {again}"]
        # PromiseBroken has a trace of its own, of the nodes concerned.
        if network.oracle.broken is None:
            lines += ["what happened last:", network.trace.shortened() or "nothing"]
        report.sections.append(("simulated network", "\n".join(lines)))
    return report
