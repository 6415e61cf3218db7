"""Faults in what is believed of a stranger, and in the reading of what comes."""

from __future__ import annotations

from .fault import Change, Fault

_AUTH = "_protocol/handshake/auth.py"
_HANDSHAKE = "_protocol/handshake/handshake.py"
_SESSION = "_protocol/handshake/session.py"
_FRAMING = "_protocol/wire/framing.py"
_BUFFER = "_protocol/wire/buffer.py"
_TESTS = "tests/protocol/handshake/test_handshake.py"
_SESSIONS = "tests/protocol/handshake/test_session.py"

HANDSHAKES = (
    Fault(
        "any_token_accepted",
        "proofs are not compared: whoever connects is a member",
        (
            Change(
                _AUTH,
                'return hmac.compare_digest(expected.encode("ascii"), token_untrusted.encode("utf-8", "replace"))',
                "return bool(expected)",
            ),
        ),
        (f"{_TESTS}::test_another_secret_is_refused",),
    ),
    Fault(
        "nonces_not_compared",
        "a mirror that sends our own nonce back is not noticed before the proofs",
        (Change(_HANDSHAKE, "if greeting.nonce == self._own.nonce:", "if False:"),),
        (f"{_TESTS}::test_ones_own_nonce_sent_back_is_refused",),
    ),
    Fault(
        "own_id_accepted",
        "a node connects with itself, or with another one of the same ID",
        (Change(_HANDSHAKE, "if peer.node_id == self.local.node_id:", "if False:"),),
        (f"{_TESTS}::test_ones_own_node_id_is_refused_before_any_token",),
    ),
    Fault(
        "fingerprint_not_proven",
        "who ends TLS in between can pass on the proofs",
        (Change(_AUTH, "        fingerprint,\n        rest.encode", "        rest.encode"),),
        (f"{_SESSIONS}::test_who_ends_tls_in_between_cannot_pass_on_the_proofs",),
    ),
    Fault(
        "their_greeting_not_proven",
        "a recorded proof can be used again: our nonce is not part of it",
        (Change(_AUTH, "        *peer.parts(),\n", ""),),
        (f"{_TESTS}::test_the_proof_of_an_earlier_connection_is_refused",),
    ),
    Fault(
        "lost_not_proven",
        "who stands in between can change which connection a peer says it has lost",
        (
            Change(_HANDSHAKE, 'self._fingerprint, f"{method};;{rest}")', 'self._fingerprint, f"{method};;")'),
            Change(
                _HANDSHAKE, 'self._proven_key(token, f"{method};;{rest}")', 'self._proven_key(token, f"{method};;")'
            ),
        ),
        (f"{_TESTS}::test_a_changed_line_of_a_proof_is_refused",),
    ),
    Fault(
        "encryption_not_compared",
        "a node that wants encryption talks to one that does without",
        (Change(_HANDSHAKE, "if peer.tls != self.local.encryption:", "if False:"),),
        (f"{_TESTS}::test_encryption_must_be_set_alike_on_both_sides",),
    ),
    Fault(
        "dialled_side_proves_itself_first",
        "a stranger who dials gets a token to guess against",
        (
            Change(
                _HANDSHAKE,
                "Row(Step.NONCE, StepEvent.THEIR_NONCE, Step.PROOF,",
                "Row(Step.NONCE, StepEvent.THEIR_NONCE, Step.PROVE,",
            ),
            Change(
                _HANDSHAKE,
                "Row(Step.PROVE, StepEvent.OUR_PROOF, Step.DECISION,",
                "Row(Step.PROVE, StepEvent.OUR_PROOF, Step.PROOF,",
            ),
        ),
        (f"{_TESTS}::test_the_side_that_dialled_proves_itself_first",),
    ),
    Fault(
        "data_before_its_link_was_answered",
        "rule 4: what follows `link` before our `ok` is read, as if it had been written behind it",
        (Change(_SESSION, "if self.handshake.step is Step.LINKED and data:", "if False:"),),
        (f"{_SESSIONS}::test_data_before_its_link_was_answered_is_refused",),
    ),
    Fault(
        "unreadable_frame_skipped",
        "a frame that does not decode is a hole, and the connection goes on",
        (
            Change(
                _FRAMING,
                "return FrameBuffer(limit, codec.decode_frame, inspect=Inspection,"
                " take_inspected=codec.decode_inspected)",
                """def decode_or_skip(frame: memoryview) -> Batch:
        try:
            return codec.decode_frame(frame)
        except Exception:
            return []

    return FrameBuffer(limit, decode_or_skip)""",
            ),
        ),
        (f"{_SESSIONS}::test_a_frame_that_does_not_decode_is_the_other_sides_fault",),
    ),
    Fault(
        "unreadable_json_skipped",
        "JSON that does not decode is a hole, and the connection goes on",
        (
            Change(
                _FRAMING,
                "batch = self._messages.feed(data_untrusted)",
                """try:
            batch = self._messages.feed(data_untrusted)
        except Exception:
            batch = []""",
            ),
        ),
        ("tests/peers/test_json_peers.py::test_bad_json_ends_the_connection_and_leaves_a_line",),
    ),
    Fault(
        "no_limit_of_a_frame",
        "point 4: a peer has us hold a frame of any size",
        (Change(_BUFFER, "if size > self._limit:", "if False:"),),
        (f"{_SESSIONS}::test_a_frame_at_the_limit_passes_and_one_past_it_is_refused_before_its_bytes_come",),
    ),
    Fault(
        "memory_for_what_was_announced",
        "point 4: a peer has us take memory for a frame of which it sends next to nothing",
        (Change(_BUFFER, "min(self._size, max(2 * self._large, _GROWTH * filled))", "self._size"),),
        ("tests/protocol/wire/test_buffer.py::test_a_frame_that_is_announced_and_does_not_come_takes_no_memory",),
    ),
    Fault(
        "room_for_what_is_encrypted",
        "what is read of an encrypted connection is taken for part of a message as it is",
        (Change(_SESSION, "None if self._tls is not None else self._decoder.room()", "self._reader.room()"),),
        (f"{_SESSIONS}::test_what_is_encrypted_has_no_room",),
    ),
    Fault(
        "no_limit_of_a_line",
        "a stranger has us hold a line of any length",
        (
            Change(
                _BUFFER,
                'raise RemoteProtocolError(f"expected a line of at most {LINE_LIMIT} bytes, got a longer one")',
                "return None",
            ),
        ),
        (
            "tests/protocol/wire/test_buffer.py::test_a_line_one_past_the_limit_is_refused_complete_or_not",
            f"{_SESSIONS}::test_a_line_too_long_or_not_ascii_is_refused_in_every_step",
        ),
    ),
)
