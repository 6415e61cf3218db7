"""Why a port died, and the exceptions that say so."""

from __future__ import annotations

import pytest

from trio_mp import _reason
from trio_mp._errors import ConfigurationError, LocalProtocolError, PortDied, ProtocolError, RemoteProtocolError
from trio_mp._protocol.wire import codec


def test_only_the_empty_reason_is_a_normal_death() -> None:
    assert _reason.NORMAL == ()
    assert _reason.is_normal(())
    assert not _reason.is_normal(("die", "text"))
    assert not _reason.is_normal((None,))
    assert not _reason.is_normal(("",))


@pytest.mark.parametrize(
    "error, text",
    [
        (ValueError("not a number"), "ValueError: not a number"),
        (ValueError(), "ValueError"),
        (KeyError("key"), "KeyError: 'key'"),
        (ValueError("häßlich"), "ValueError: häßlich"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
    ],
)
def test_an_exception_becomes_its_type_and_text(error: Exception, text: str) -> None:
    assert _reason.exception_reason(error) == ("die", text)


def test_the_reason_of_any_exception_can_travel() -> None:
    reason = _reason.exception_reason(OSError("a \ud800 b\udcff"))
    assert reason == ("die", "OSError: a \\ud800 b\\udcff")
    codec.append_message(bytearray(), "", ("kil0", "name", *reason))


def test_a_text_without_end_is_cut_short() -> None:
    _, text = _reason.exception_reason(ValueError("long" * 1_000_000))
    assert str(text).startswith("ValueError: longlong")
    assert str(text).endswith("…")
    assert len(str(text)) < 100_000


def test_an_exception_that_cannot_be_printed_still_has_a_reason() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    identifier, text = _reason.exception_reason(Mute())
    assert identifier == "die"
    assert str(text).startswith("Mute")


@pytest.mark.parametrize(
    "reason, expected",
    [
        (_reason.transport_error("node", "reset"), ("transport_error", "node", "reset")),
        (_reason.no_such_port("node#x.1"), ("no_such_port", "there is no port node#x.1")),
        (
            _reason.unhandled_message("'tag'"),
            ("unhandled_message", "no handler matches a message that begins with 'tag'"),
        ),
        (_reason.mailbox_full("10 messages were waiting"), ("mailbox_full", "10 messages were waiting")),
        (_reason.spawn_failed("no such function"), ("spawn_failed", "no such function")),
        (
            _reason.start_cancelled(),
            ("start_cancelled", "whoever started it stopped waiting before it had started"),
        ),
        (_reason.channel_broken("its block was left"), ("channel_broken", "its block was left")),
        (_reason.process_ended("a, process 7: exit status 3"), ("process_ended", "a, process 7: exit status 3")),
        (_reason.node_failed(ValueError("text")), ("node_failed", "ValueError: text")),
        (_reason.node_failed(None), ("node_failed", "cancelled")),
    ],
)
def test_the_reasons_made_here(reason: _reason.Reason, expected: _reason.Reason) -> None:
    assert reason == expected
    assert not _reason.is_normal(reason)


@pytest.mark.parametrize(
    "reason, text",
    [
        ((), "it ended normally"),
        (("die", "ValueError: text"), "die: ValueError: text"),
        (("transport_error", "node", "reset"), "transport_error: node: reset"),
        ((1, None), "1: None"),
    ],
)
def test_a_reason_as_people_read_it(reason: _reason.Reason, text: str) -> None:
    assert _reason.describe(reason) == text


def test_a_death_names_the_port_and_the_reason() -> None:
    error = PortDied("node#x.1", ("die", "ValueError: text"))
    assert error.port == "node#x.1"
    assert error.reason == ("die", "ValueError: text")
    assert str(error) == "port node#x.1 died: die: ValueError: text"
    assert str(PortDied("node#x.1", ())) == "port node#x.1 died: it ended normally"


def test_whose_fault_it_is_shows_in_the_type() -> None:
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert not issubclass(RemoteProtocolError, LocalProtocolError)
    assert not issubclass(ProtocolError, (ValueError, OSError))
    assert issubclass(ConfigurationError, ValueError)
