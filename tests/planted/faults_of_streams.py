"""Faults in byte streams: their ends, who may bring one, and what is left of them."""

from __future__ import annotations

from .fault import Change, Fault

_STREAM = "_streams/byte_stream.py"
_HANDOVER = "_peers/stream_handover.py"
_PENDING = "_streams/pending.py"
_STREAMS = "_streams/service.py"
_CLIENT = "_streams/client.py"
_CHUNKS = "_protocol/wire/chunks.py"
_TESTS = "tests/streams/test_streams.py"
_OPENINGS = "tests/streams/test_streams_opening.py"
_ONCE = f"{_OPENINGS}::test_only_the_node_that_has_asked_may_bring_a_stream_and_once"

STREAMS = (
    Fault(
        "cut_off_taken_for_the_end",
        "the end of the connection is the end of the stream, whoever has caused it",
        (
            Change(
                _STREAM,
                'raise self._broken("the connection ended before the stream did")',
                "self._reader.ended = True",
            ),
        ),
        (f"{_TESTS}::test_a_connection_that_ends_before_the_stream_does_is_no_end",),
    ),
    Fault(
        "left_by_an_exception_and_ended",
        "a block that was left by an exception ends the stream, as if it had sent everything",
        (Change(_STREAMS, "stream.abort()\n                raise", "await stream.aclose()\n                raise"),),
        (f"{_OPENINGS}::test_a_block_that_is_left_otherwise_breaks_the_stream",),
    ),
    Fault(
        "failed_and_ended",
        "a function that raises ends the stream, as if it had sent everything",
        (
            Change(
                _STREAMS,
                "stream.abort()\n            if isinstance",
                "await stream.aclose()\n            if isinstance",
            ),
        ),
        (f"{_OPENINGS}::test_a_function_that_raises_breaks_the_stream",),
    ),
    Fault(
        "broken_and_ended",
        "who has missed a part of what came, and goes on, ends its own direction in good order",
        (Change(_STREAM, "            if self._why_broken:\n", "            if False:\n"),),
        (f"{_TESTS}::test_who_has_seen_it_break_cannot_end_it_in_good_order",),
    ),
    Fault(
        "half_a_chunk_forgotten",
        "the rest of a chunk whose sending was cancelled is not sent: what comes next is taken for it",
        (
            Change(
                _STREAM,
                "            if sent < len(rest):\n                self._outgoing = ",
                "            if sent < len(rest):\n                _ = ",
            ),
        ),
        (f"{_TESTS}::test_the_rest_of_a_chunk_goes_out_though_its_sending_was_cancelled",),
        hangs=True,
    ),
    Fault(
        "failed_encryption_swallows",
        "after an error of TLS what is sent vanishes without a word",
        (
            Change(
                _STREAM,
                "self._failure = str(error)\n        return self._broken(self._failure)",
                "return self._broken(str(error))",
            ),
        ),
        (f"{_TESTS}::test_a_bit_that_was_changed_breaks_an_encrypted_stream",),
    ),
    Fault(
        "stream_beyond_the_end",
        "what follows the end of a stream is taken for more of it",
        (Change(_CHUNKS, "while room and not self.ended and (", "while room and ("),),
        ("tests/protocol/wire/test_chunks.py::test_the_end_is_the_end",),
    ),
    Fault(
        "stream_of_anybody",
        "whoever has overheard a token brings the stream",
        (
            Change(
                _PENDING,
                "return self._expected.pop((info.node_id, info.incarnation, info.stream), None)",
                """key = next((key for key in self._expected if key[2] == info.stream), None)
        return self._expected.pop(key) if key is not None else None""",
            ),
        ),
        (_ONCE,),
    ),
    Fault(
        "stream_brought_twice",
        "a token is good for several connections",
        (Change(_PENDING, "return self._expected.pop((info.node_id", "return self._expected.get((info.node_id"),),
        (_ONCE,),
    ),
    Fault(
        "stream_with_anybody",
        "whoever is found at the address is given the stream",
        (Change(_HANDOVER, "self._awaited.check(info)", "pass"),),
        (f"{_OPENINGS}::test_who_is_dialled_for_a_stream_must_be_the_one_it_was_agreed_on_with",),
    ),
    Fault(
        "stream_with_another_run",
        "another run of the node, which is found at the address, is taken for the one it was agreed on with",
        (Change(_PENDING, "if info.incarnation != self.incarnation:", "if not info.incarnation:"),),
        (f"{_OPENINGS}::test_who_is_dialled_for_a_stream_must_be_the_run_it_was_agreed_on_with",),
    ),
    Fault(
        "stream_expected_for_ever",
        "a stream whose opener has given up can still be brought",
        (Change(_PENDING, "self._expected.pop((pending.peer.id", "self._expected.get((pending.peer.id"),),
        (f"{_OPENINGS}::test_a_stream_that_was_given_up_is_not_expected_any_more",),
    ),
    Fault(
        "first_bytes_lost",
        "bytes that come in one piece with the `ok` are lost",
        (
            Change(
                _HANDOVER,
                "Handover(self._connection.pipe, tls, received, dialled)",
                'Handover(self._connection.pipe, tls, b"", dialled)',
            ),
        ),
        (_ONCE,),
    ),
    Fault(
        "lost_node_waited_for",
        "a stream with a node that has vanished waits for its bytes for ever",
        (Change(_CLIENT, "self._stream.lose(describe(reason))", "pass"),),
        (
            f"{_OPENINGS}::test_a_node_that_is_gone_without_a_word",
            "tests/streams/test_streams_faults.py::test_a_machine_that_vanishes_is_noticed_by_who_waits_for_its_bytes",
        ),
        hangs=True,
    ),
    Fault(
        "sent_and_reset",
        "a stream that is closed with input unread is reset, and what it has sent is lost",
        (
            Change(
                _STREAM,
                "            await self._released.wait()\n            if self._reader.ended:",
                "            await self._released.wait()\n            if self._released.is_set():",
            ),
        ),
        (f"{_TESTS}::test_the_other_end_may_close_before_it_has_read_everything",),
    ),
    Fault(
        "stream_left_behind",
        "a stream whose opening is cancelled leaves a port over there that waits for it",
        (Change(_CLIENT, 'self._pending.peer.send("", kill(self._request.name, GIVEN_UP))', "pass"),),
        (f"{_OPENINGS}::test_cancelled_while_opening_it_leaves_nothing_behind",),
    ),
)
