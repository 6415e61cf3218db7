"""Faults planted in what limits how much a message holds, and in what finds the ends of messages in JSON."""

from __future__ import annotations

from .fault import Change, Fault

_LIMITS = "_protocol/wire/limits.py"
_AMOUNT = "_protocol/wire/json_amount.py"
_FRAMING = "_protocol/wire/json_framing.py"
_STRUCTURE = "_protocol/wire/json_structure.py"
_TESTS = "tests/protocol/wire/test_amounts.py"
_JSON = "tests/protocol/wire/test_json_framing.py"

AMOUNTS: tuple[Fault, ...] = (
    Fault(
        "any_key_of_a_dict",
        "a peer chooses keys with the same hash, and a node is busy with them for minutes",
        (Change(_LIMITS, "if not left & 1 and not _IS_TEXT[byte]:", "if False:"),),
        (f"{_TESTS}::test_what_no_frame_may_hold",),
    ),
    Fault(
        "dicts_of_a_batch_not_looked_at",
        "the same, in a message of a smaller frame",
        (Change("_protocol/wire/codec.py", "if size > _HARMLESS and _has_large_map(payload_untrusted):", "if False:"),),
        (f"{_TESTS}::test_keys_with_the_same_hash_are_refused_before_a_dict_is_made_of_them",),
    ),
    Fault(
        "containers_not_counted",
        "a few megabytes of empty lists are decoded",
        (Change(_LIMITS, "self._containers += 1", "pass"),),
        (f"{_TESTS}::test_twice_as_much_as_is_past_a_limit_is_refused_before_it_has_come",),
    ),
    Fault(
        "send_does_not_count",
        "what one side sends ends the connection on the other",
        (Change("_protocol/association/queue.py", "check_amount(message)", "pass"),),
        (f"{_TESTS}::test_what_is_past_a_limit_raises_with_the_place_and_leaves_nothing",),
    ),
    Fault(
        "a_frame_has_no_room_for_others",
        "what one side takes ends the connection on the other, if small messages are in front of it",
        (Change(_LIMITS, "_OTHERS = 2**16", "_OTHERS = 0"),),
        (f"{_TESTS}::test_what_is_within_the_limits_arrives_whatever_is_in_front_of_it",),
    ),
    Fault(
        "everything_adapted_at_once",
        "a peer's greeting has a node encode its whole queue anew",
        (Change("_protocol/association/queue.py", "if self.size > ADAPTED_SIZE or", "if False and"),),
        (f"{_TESTS}::test_more_than_can_be_adapted_at_once_is_lost_as_a_whole",),
    ),
    Fault(
        "monitors_survive_a_lost_queue",
        "a hole: what waited is lost, the requests for monitors too, and nobody is told",
        (Change("_protocol/association/outbox.py", "names = concerned, list(self.monitors)", "names = concerned, []"),),
        (f"{_TESTS}::test_all_monitors_fire_when_all_of_the_queue_is_lost",),
    ),
    Fault(
        "json_not_counted",
        "in JSON a message may hold anything",
        (Change(_AMOUNT, 'self._containers += text.count(b"[")', "pass"),),
        (f"{_TESTS}::test_twice_as_much_as_is_past_a_limit_is_refused_before_it_has_come",),
    ),
    Fault(
        "the_end_of_a_message_skimmed",
        "a message waits for the next one, and both are refused",
        (Change(_FRAMING, "if closed >= self._depth:", "if closed > self._depth:"),),
        (
            f"{_JSON}::test_the_work_is_in_proportion_to_the_bytes",
            f"{_JSON}::test_what_is_skimmed_is_what_each_bracket_says",
        ),
    ),
    Fault(
        "depth_skimmed",
        "a message in JSON nests as deep as its sender likes",
        (Change(_FRAMING, "if opened + height > room and deepest(brackets) > room:", "if False:"),),
        (f"{_JSON}::test_the_depth_that_is_received_is_the_depth_that_is_sent",),
    ),
    Fault(
        "a_message_waits_for_more",
        "a message in JSON that comes in small pieces arrives when the next one begins",
        (Change(_FRAMING, '(closed := source.count(b"]", scanned)) < self._depth', "(closed := 0) < self._depth"),),
        (f"{_JSON}::test_a_message_is_handed_over_with_its_last_byte_and_no_earlier",),
    ),
    Fault(
        "two_backslashes_escape_a_quote",
        "a text that ends with a backslash goes on for the splitter, and what follows is lost",
        (Change(_STRUCTURE, """.replace(b"\\\\\\\\", b"")""", ""),),
        (f"{_JSON}::test_what_is_skimmed_is_what_each_bracket_says",),
    ),
    Fault(
        "services_look_at_everything",
        "a message of a million values to the database holds a node up",
        (
            Change(
                "_protocol/requests.py",
                "ForService | Inspect) and not holds_at_most(message, SERVICE_VALUES, SERVICE_SIZE)",
                "ForService | Inspect) and False",
            ),
        ),
        (f"{_TESTS}::test_a_service_does_not_look_at_every_value_of_what_no_node_sends",),
    ),
)
