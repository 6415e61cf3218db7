"""Hypothesis profiles, and what tests need from the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

FOR_TESTS = frozenset({"TRIO_MP_REQUIRE_TCP", "TRIO_MP_TEST_INSTALLED", "TRIO_MP_PLANTED_COPY"})

# No test, and no process that one starts, takes settings from whoever runs the tests.
for name in [name for name in os.environ if name.startswith("TRIO_MP_") and name not in FOR_TESTS]:
    del os.environ[name]
os.environ["TRIO_MP_CONFIG"] = os.devnull
# Nor does one believe that the manager of whoever runs the tests starts it again.
for name in ("INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"):
    os.environ.pop(name, None)

# Shells have what runs in the background ignore Ctrl-C, and so would each process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("dev", deadline=None)
# The same examples every time, so many of them find nothing more; `thorough` has many.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=5000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def end_of_counted_memory() -> Iterator[None]:
    """A test that counts memory and fails does not leave it counted: the next would count what this one took."""
    yield
    if tracemalloc.is_tracing():
        tracemalloc.stop()


@pytest.fixture(scope="session")
def require_tcp() -> None:
    """For tests that need TCP on 127.0.0.1: skips them where it does not work.

    With TRIO_MP_REQUIRE_TCP=1 they fail instead, so that a check cannot pass by running nothing.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        report = pytest.fail if os.environ.get("TRIO_MP_REQUIRE_TCP") == "1" else pytest.skip
        report(f"TCP on 127.0.0.1 does not work here: {error}")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A temporary directory with a short path: that of a Unix socket is limited to 107 bytes (103 on macOS)."""
    directory = tempfile.mkdtemp(prefix="mp-", dir="/tmp" if Path("/tmp").is_dir() else None)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["unix", "tcp"])
def bind(request: pytest.FixtureRequest, short_directory: Path) -> str:
    """Where a node listens: at a Unix socket in one run of the test, at a free port of TCP in another."""
    if request.param == "tcp":
        request.getfixturevalue("require_tcp")
        return "127.0.0.1:0"
    if sys.platform == "win32":
        pytest.skip("Unix sockets")
    return f"unix:{short_directory}/s"
