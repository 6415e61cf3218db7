"""`TRIO_MP_LOG`: the operator says which records are written, and they are written once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import trio_mp
from trio_mp import ConfigurationError
from trio_mp._profiles.log_levels import LOG_VARIABLE, LogVariable, parse_levels


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Leave the loggers as they were."""
    names = ("trio_mp", "trio_mp.connection", "test_log_levels.app")
    before = [
        (logging.getLogger(name), logging.getLogger(name).level, [*logging.getLogger(name).handlers]) for name in names
    ]
    taken = LOG_VARIABLE.taken
    yield
    LOG_VARIABLE.taken = taken
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(
    "text, levels",
    [
        ("debug", {"trio_mp": 10}),
        ("INFO", {"trio_mp": 20}),
        ("trio_mp.connection=debug", {"trio_mp.connection": 10}),
        ("warning, trio_mp.port = Debug ,app=error", {"trio_mp": 30, "trio_mp.port": 10, "app": 40}),
    ],
)
def test_a_text_names_levels(text: str, levels: dict[str, int]) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize("text", ["loud", "trio_mp=loud", "=debug", "debug,", "debug=", "trio_mp", "10", "a=b=c"])
def test_an_error_names_the_variable_and_the_value(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TRIO_MP_LOG: expected a level, .* got ") as caught:
        parse_levels(text)
    assert repr(text) in str(caught.value)
    assert "debug, info, warn" in str(caught.value)


async def test_a_node_takes_it_and_refuses_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("trio_mp")
    monkeypatch.setenv("TRIO_MP_LOG", "loud")
    with pytest.raises(ConfigurationError, match="TRIO_MP_LOG"):
        async with trio_mp.open_node():
            pass
    monkeypatch.setenv("TRIO_MP_LOG", "info")
    async with trio_mp.open_node(profile=False):
        assert logger.level != logging.INFO
    async with trio_mp.open_node():
        assert logger.level == logging.INFO
    logger.setLevel(logging.ERROR)
    async with trio_mp.open_node():
        assert logger.level == logging.ERROR, "the program has set it since"


def test_records_are_written_only_where_the_program_has_no_handler(capsys: pytest.CaptureFixture[str]) -> None:
    LogVariable().take("info,trio_mp.connection=debug")
    logger = logging.getLogger("trio_mp.connection")
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        logger.debug("one")
        with_place = logging.StreamHandler(sys.stdout)
        logger.parent.addHandler(with_place)  # type: ignore[union-attr]
        logger.debug("two")
        logger.parent.removeHandler(with_place)  # type: ignore[union-attr]
        logging.getLogger("trio_mp").addHandler(logging.NullHandler())
        logger.debug("three")
    finally:
        root.handlers = handlers
    out, err = capsys.readouterr()
    assert [line.split(" ", 2)[2] for line in err.splitlines()] == [
        "DEBUG trio_mp.connection: one",
        "DEBUG trio_mp.connection: three",
    ]
    assert out == "two\n"


PROGRAM = """
import logging, trio, trio_mp
async def main():
    async with trio_mp.open_node("n") as node:
        %s
        node.send(node.port(lambda: 1 / 0))
        await trio.testing.wait_all_tasks_blocked()
trio.run(main)
"""


@pytest.mark.parametrize(
    "late, said",
    [("pass", "ERROR trio_mp.port: n#"), ("logging.basicConfig()", "ERROR:trio_mp.port:n#")],
)
def test_a_program_without_logging_has_its_records_written_once(late: str, said: str) -> None:
    program = PROGRAM.replace("import logging, trio,", "import logging, trio, trio.testing,") % late
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TRIO_MP_LOG": "debug"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr.count(" died and nobody monitors it") == 1
    assert said in done.stderr
    assert done.stdout == ""
