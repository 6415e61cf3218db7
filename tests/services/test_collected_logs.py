"""Log records of other nodes: asked for by one, sent by all, and in nobody's way.

The nodes of one process have one set of loggers, so whoever logs is told by the context in which it does.
"""

from __future__ import annotations

import enum
import gc
import io
import logging
import logging.config
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from network_helpers import FakeNetwork, open_test_node, peer_of, until, warnings_in

from trio_mp import Node
from trio_mp._protocol.database.records import NODES
from trio_mp._services import logs
from trio_mp._services.logs import WAITING, _replace_call_handlers as replace_call_handlers, _Subscription

log = logging.getLogger("an.application")


class Nobody(set[Any]):
    """The nodes of a process that has no others."""

    def add(self, _node: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def other_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The nodes of these tests stand for processes of their own: those of one process need not tell each other."""
    monkeypatch.setattr(logs, "_nodes", Nobody())
    before = logging.Logger.callHandlers
    yield
    assert not logs._forwarder.subscriptions, "somebody is still served"
    assert logging.Logger.callHandlers is before, "the loggers are not as they were"


class Collected(logging.Handler):
    """What comes from other nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "node"):
            self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records if record.name == log.name]


@pytest.fixture
def collected() -> Iterator[Collected]:
    handler = Collected()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@contextmanager
def without_handlers() -> Iterator[None]:
    """As in a program that has configured nothing: pytest has handlers of its own."""
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], []
    try:
        yield
    finally:
        root.handlers[:] = before


def say(node: Node, level: int, text: str, *arguments: object, **more: Any) -> None:
    """Log something in the context of a node."""
    node.port().run(lambda: log.log(level, text, *arguments, **more))


@asynccontextmanager
async def open_three(network: FakeNetwork, **settings: Any) -> AsyncGenerator[tuple[Node, Node, Node], None]:
    async with (
        open_test_node(network, "a") as a,
        open_test_node(network, "b", seeds=["a"], **settings) as b,
        open_test_node(network, "c", seeds=["a"]) as c,
    ):
        yield a, b, c


@asynccontextmanager
async def open_two(network: FakeNetwork) -> AsyncGenerator[tuple[Node, Node], None]:
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"]) as b:
        yield a, b


def subscribers() -> set[str]:
    return {each.runtime.id for each in logs._forwarder.subscriptions}


@asynccontextmanager
async def one_collects(network: FakeNetwork | None = None) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes, of which the first has the other one's records sent to it."""
    async with open_two(network or FakeNetwork()) as (a, b):
        with a.collect_logs():
            await until(subscribers)
            yield a, b


async def test_records_of_all_nodes_at_or_above_a_level(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    log.setLevel(logging.DEBUG)
    async with open_three(FakeNetwork()) as (a, b, c):
        with c.collect_logs("INFO"):
            await until(lambda: subscribers() == {"a", "b"})
            say(a, logging.INFO, "number %d", 5)
            say(b, logging.DEBUG, "too little")
            say(b, logging.ERROR, "much")
            say(c, logging.ERROR, "my own")
            await until(lambda: len(collected.texts) == 2)
            await trio.sleep(10)
            assert sorted(collected.texts) == ["a: number 5", "b: much"]
            assert {record.__dict__["node"] for record in collected.records} == {"a", "b"}
            assert [record.levelno for record in collected.records if record.__dict__["node"] == "b"] == [logging.ERROR]
        await until(lambda: not subscribers())
        say(a, logging.ERROR, "nobody asks any more")
        await trio.sleep(10)
        assert len(collected.texts) == 2


async def test_nodes_that_join_later_are_asked_too(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        with a.collect_logs(logging.WARNING):
            for _ in range(2):
                # The second time under the same ID: another run of it.
                async with open_test_node(network, "b", seeds=["a"]) as b:
                    await until(lambda: subscribers() == {"b"})
                    say(b, logging.WARNING, "here")
                    before = len(collected.texts)
                    await until(lambda before=before: len(collected.texts) > before)  # type: ignore[misc]
                await until(lambda: not subscribers())
    assert collected.texts == ["b: here", "b: here"]


async def test_it_goes_on_when_a_connection_was_lost(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    network = FakeNetwork()
    async with one_collects(network) as (a, b):
        network.wire.reset()
        # It may be there again before anybody sees that it was gone.
        await until(lambda: len(network.wires) > 1 and a.peers)
        await trio.sleep(5)
        say(b, logging.WARNING, "back")
        await until(lambda: "b: back" in collected.texts)


async def test_two_nodes_that_collect_from_each_other_do_not_echo(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    async with open_three(FakeNetwork()) as (a, b, _):
        with a.collect_logs(0), b.collect_logs(0):
            await until(lambda: subscribers() == {"a", "b", "c"})
            say(a, logging.WARNING, "once")
            await trio.sleep(30)
            assert collected.texts == ["a: once"]


async def test_a_traceback_travels_and_what_is_long_is_cut(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    async with one_collects() as (_, b):
        try:
            raise ValueError("deep down")
        except ValueError:
            say(b, logging.ERROR, "x" * 50_000, exc_info=True)
        await until(lambda: collected.texts)
    (record,) = [record for record in collected.records if record.name == log.name]
    assert record.exc_text is not None
    assert record.exc_text.endswith("ValueError: deep down")
    # Unlike the reason of a death: of that the directory is left out.
    assert f'File "{__file__}"' in record.exc_text
    assert len(record.getMessage()) < 20_000
    assert "deep down" in logging.Formatter().format(record)


async def test_who_logs_faster_than_it_can_be_sent_is_not_slowed_and_what_is_left_out_is_counted(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    network = FakeNetwork()
    async with one_collects(network) as (_, b):
        network.wire.stall()
        port = b.port()
        for number in range(5 * WAITING):
            port.run(lambda number=number: log.warning("%d %s", number, "x" * 2000))
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        assert peer_of(b, "a").association.outbox.queue.size < 4 * 1024 * 1024
        network.wire.resume()
        await until(lambda: len(collected.texts) >= WAITING)
        await trio.sleep(5)
        say(b, logging.WARNING, "after")
        await until(lambda: "b: after" in collected.texts[-1])
        left_out = 0
        for text in collected.texts:
            if "were left out" in text:
                left_out += int(text.rpartition("(")[2].split()[0])
        assert left_out > 0
        assert left_out + len(collected.texts) == 5 * WAITING + 1


async def test_from_any_thread(autojump_clock: trio.testing.MockClock, collected: Collected) -> None:
    async with one_collects():
        thread = threading.Thread(target=lambda: log.warning("from a thread"))
        thread.start()
        thread.join()
        await until(lambda: collected.texts == ["b: from a thread"])


async def test_who_does_not_share_is_left_alone(
    autojump_clock: trio.testing.MockClock, collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_three(FakeNetwork(), share_logs=False) as (a, b, c):
        with c.collect_logs():
            await until(lambda: subscribers() == {"a"})
            await trio.sleep(5)
            say(b, logging.ERROR, "private")
            await trio.sleep(5)
            assert collected.texts == []
            assert a.peers
    assert any("does not share" in line for line in warnings_in(caplog))


async def test_a_handler_that_fails_hurts_nobody(
    autojump_clock: trio.testing.MockClock, collected: Collected, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bad:
        def __str__(self) -> str:
            raise ValueError("no text")

    async with one_collects() as (_, b):
        logger = logging.getLogger("quiet")
        port = b.port()
        # pytest's own handlers would raise for it.
        with without_handlers():
            port.run(lambda: logger.warning("%s", Bad()))
        assert port.alive
        say(b, logging.WARNING, "all the same")
        await until(lambda: collected.texts == ["b: all the same"])
    assert "no text" in capsys.readouterr().err


# What the program itself does with its records ------------------------------------------------------------------------


async def test_warnings_still_go_to_stderr_where_nothing_is_configured(
    autojump_clock: trio.testing.MockClock, collected: Collected, capsys: pytest.CaptureFixture[str]
) -> None:
    async with one_collects() as (_, b):
        with without_handlers():
            assert not log.hasHandlers()
            say(b, logging.WARNING, "disk full")
            say(b, logging.INFO, "by the way")
        await until(lambda: collected.texts == ["b: disk full"])
    assert capsys.readouterr().err == "disk full\n"


async def test_a_later_basic_config_works(autojump_clock: trio.testing.MockClock, collected: Collected) -> None:
    stream = io.StringIO()
    async with one_collects() as (_, b):
        with without_handlers():
            logging.basicConfig(stream=stream, format="%(levelname)s %(message)s")
            say(b, logging.WARNING, "disk full")
        await until(lambda: collected.texts == ["b: disk full"])
    assert stream.getvalue() == "WARNING disk full\n"


@pytest.mark.parametrize(
    "configure",
    [
        lambda: logging.basicConfig(force=True, handlers=[logging.NullHandler()]),
        lambda: logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}}),
    ],
)
async def test_who_configures_logging_anew_does_not_end_it(
    autojump_clock: trio.testing.MockClock, collected: Collected, configure: Callable[[], None]
) -> None:
    async with one_collects() as (_, b):
        with without_handlers():
            configure()
            say(b, logging.WARNING, "disk full")
        await until(lambda: collected.texts == ["b: disk full"])


async def test_what_does_not_reach_the_root_is_not_sent(
    autojump_clock: trio.testing.MockClock, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_collects() as (_, b):
        monkeypatch.setattr(log, "propagate", False)
        say(b, logging.WARNING, "between us")
        monkeypatch.setattr(log, "propagate", True)
        log.addFilter(dropping := lambda record: "secret" not in record.getMessage())
        say(b, logging.WARNING, "a secret")
        log.removeFilter(dropping)
        say(b, logging.WARNING, "for all")
        await until(lambda: collected.texts)
        await trio.sleep(10)
        assert collected.texts == ["b: for all"]


async def test_who_wraps_the_loggers_as_well_keeps_what_it_did(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    before = logging.Logger.callHandlers
    seen: list[str] = []
    async with open_two(FakeNetwork()) as (a, b):
        with a.collect_logs():
            await until(subscribers)
            wrapped = logging.Logger.callHandlers

            def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
                seen.append(record.getMessage())
                wrapped(logger, record)

            replace_call_handlers(call_handlers)
            say(b, logging.WARNING, "first")
            await until(lambda: collected.texts)
        await until(lambda: not subscribers())
        say(b, logging.WARNING, "nobody asks")
        with a.collect_logs():
            await until(subscribers)
            say(b, logging.WARNING, "second")
            await until(lambda: "b: second" in collected.texts)
        await until(lambda: not subscribers())
    assert logging.Logger.callHandlers is call_handlers
    assert [text for text in seen if not text.startswith("b: ")] == ["first", "nobody asks", "second"]
    assert sorted(collected.texts) == ["b: first", "b: second"], "each once"
    replace_call_handlers(before)


@pytest.mark.parametrize("created", [float("nan"), float("inf"), -float("inf"), 1e300, -1.0, 2.0**62, 253370764800.0])
async def test_a_record_whose_time_is_none_gets_that_of_its_arrival(
    autojump_clock: trio.testing.MockClock, collected: Collected, capsys: pytest.CaptureFixture[str], created: float
) -> None:
    """Handlers that show the time would fail for each of them."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        async with one_collects() as (_, b):
            (subscription,) = logs._forwarder.subscriptions
            before = time.time()
            b.send(subscription.port, "record", log.name, logging.WARNING, created, "when?", "", 0)
            await until(lambda: collected.texts)
    finally:
        logging.getLogger().removeHandler(handler)
    (record,) = [record for record in collected.records if record.name == log.name]
    assert before <= record.created <= time.time()
    assert 0 <= record.msecs < 1000
    assert "b: when?" in shown.getvalue()
    assert "Logging error" not in capsys.readouterr().err


async def test_a_record_keeps_its_time(autojump_clock: trio.testing.MockClock, collected: Collected) -> None:
    async with one_collects() as (_, b):
        (subscription,) = logs._forwarder.subscriptions
        for created in (0.0, 1234567890.125, 253370764799.0):
            b.send(subscription.port, "record", log.name, logging.WARNING, created, "then", "", 0)
        await until(lambda: len(collected.texts) == 3)
    records = [record for record in collected.records if record.name == log.name]
    assert [record.created for record in records] == [0.0, 1234567890.125, 253370764799.0]
    assert records[1].msecs == 125


async def test_nodes_of_one_process_need_not_be_told(
    autojump_clock: trio.testing.MockClock, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_nodes", set())
    async with open_two(FakeNetwork()) as (a, b):
        with a.collect_logs():
            await trio.sleep(5)
            assert not subscribers()
            say(b, logging.ERROR, "heard anyway")
            await trio.sleep(5)
            assert collected.texts == []


async def test_a_node_without_a_network_has_nobody_to_ask() -> None:
    async with open_test_node(FakeNetwork(), "a", listen=False) as a:
        with a.collect_logs(logging.DEBUG):
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("level, error", [("LOUD", ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)])
async def test_what_is_no_level_is_refused(level: Any, error: type[Exception]) -> None:
    async with open_test_node(FakeNetwork(), "a", listen=False) as a:
        with pytest.raises(error, match="level"):
            a.collect_logs(level)


@pytest.mark.parametrize(
    "arguments", [(), (10,), ("INFO", "b#x"), (10, "a#x"), (10, "b"), (-1, "b#x"), (10, "b#x", 1), (10, 5)]
)
async def test_what_is_no_request_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, arguments: tuple[Any, ...]
) -> None:
    async with open_two(FakeNetwork()) as (a, b):
        await until(lambda: b.peers)
        b.send("a", "log", *arguments)
        await until(lambda: warnings_in(caplog))
        assert "not understood" in warnings_in(caplog)[0]
        assert not subscribers()
        assert a.peers == ("b",)


# Records and entries that make no sense -------------------------------------------------------------------------------


class Level(enum.IntEnum):
    NOTICE = 25


class Broken(logging.Handler):
    """Fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "node") and not self.failed:
            self.failed = True
            raise OSError("the disk is full")


@pytest.mark.parametrize("entry", [("b", []), ("b", 5), ("b", {}), ("not a node", ["x"]), ("c", [5])])
async def test_what_others_say_of_nodes_may_make_no_sense(
    autojump_clock: trio.testing.MockClock, collected: Collected, entry: tuple[str, Any]
) -> None:
    async with open_three(FakeNetwork()) as (_, b, c):
        with c.collect_logs("INFO"):
            async with c.watch_nodes() as changes:
                for _ in range(3):
                    await anext(changes)
                b._database._set(NODES, *entry)
                with trio.move_on_after(60):
                    async for _ in changes:
                        pass
            assert c.peers == ("a", "b")


def a_surrogate(b: Node) -> None:
    # pytest could not print it.
    others = logging.getLogger().handlers[:]
    for each in others:
        logging.getLogger().removeHandler(each)
    try:
        say(b, logging.INFO, "file %s", "caf\udce9.txt")
    finally:
        for each in others:
            logging.getLogger().addHandler(each)


def a_level_of_its_own(b: Node) -> None:
    say(b, Level.NOTICE, "hello")


def more_than_it_takes(b: Node) -> None:
    error = ValueError("\U0001f600" * 16000)
    say(b, logging.INFO, "\U0001f600" * 16000, exc_info=(ValueError, error, None))


@pytest.mark.parametrize("record", [a_surrogate, a_level_of_its_own, more_than_it_takes])
async def test_one_record_does_not_end_those_behind_it(
    autojump_clock: trio.testing.MockClock, collected: Collected, record: Callable[[Node], None]
) -> None:
    log.setLevel(logging.DEBUG)
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", message_limit=65536) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        with a.collect_logs("INFO"):
            await until(subscribers)
            record(b)
            await trio.sleep(60)
            say(b, logging.ERROR, "on fire")
            await until(lambda: any("on fire" in text for text in collected.texts))


async def test_a_handler_that_fails_once_ends_nothing(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    broken = Broken()
    logging.getLogger().addHandler(broken)
    try:
        async with open_three(FakeNetwork()) as (_, b, c):
            with c.collect_logs("INFO"):
                await until(lambda: subscribers() == {"a", "b"})
                say(b, logging.ERROR, "first")
                await until(lambda: broken.failed)
                say(b, logging.ERROR, "second")
                await until(lambda: "b: second" in collected.texts)
    finally:
        logging.getLogger().removeHandler(broken)


async def test_the_end_of_one_request_does_not_end_another(
    autojump_clock: trio.testing.MockClock, collected: Collected
) -> None:
    log.setLevel(logging.DEBUG)
    async with open_three(FakeNetwork()) as (_, b, c):
        with c.collect_logs("INFO"):
            await until(lambda: subscribers() == {"a", "b"})
            with c.collect_logs("ERROR"):
                await trio.sleep(10)
            await trio.sleep(10)
            say(b, logging.INFO, "the first is still open")
            await until(lambda: collected.texts)


async def test_who_logs_while_it_logs_does_not_wait_for_itself(autojump_clock: trio.testing.MockClock) -> None:
    """As the destructor of an object does that is collected in the middle of it."""
    async with open_test_node(FakeNetwork(), "a") as a:
        subscription = _Subscription(a._runtime, "b#x", 0)

        def log_within() -> None:
            with subscription.lock:
                subscription.add("a", 1, 1.0, "text", "")

        thread = threading.Thread(target=log_within, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        assert len(subscription.records) == 1 < WAITING
    gc.collect()
