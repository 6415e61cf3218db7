"""Faults in how two sides part when nothing depends on their connection."""

from __future__ import annotations

from .fault import Change, Fault

_FILE = "_protocol/association/association.py"
_PEER = "_peers/peer.py"
_CONNECTION = "_peers/connection.py"
_IDLENESS = "_peers/idleness.py"
_TESTS = "tests/protocol/association/test_association.py::TestParting"
_NODES = "tests/peers/test_idle_close.py"
_WORLDS = "tests/protocol/association/test_explorer.py::test_every_interleaving_keeps_the_promise"

PARTING = (
    Fault(
        "agrees_to_everything",
        "rule 6: a side that monitors something says `bye`, and what it monitors is watched no more",
        (Change(_FILE, "StageEvent.AGREE, Stage.PARTED, this_side_is_free)", "StageEvent.AGREE, Stage.PARTED)"),),
        (f"{_TESTS}::test_who_is_not_idle_says_so_in_order", f"{_NODES}::test_not_while_something_is_monitored"),
    ),
    Fault(
        "asks_while_watched",
        "a side asks to part though the other one monitors its ports: it is told `busy` again and again",
        (Change(_FILE, "return self.is_free and not self.watched", "return self.is_free"),),
        (f"{_TESTS}::test_who_is_idle_too_agrees",),
    ),
    Fault(
        "asks_under_monitors",
        "rule 6: a side asks to part though it monitors something, which is watched no more when the two have parted",
        (Change(_FILE, "StageEvent.ASK, Stage.ASKED, nobody_needs_it)", "StageEvent.ASK, Stage.ASKED)"),),
        (f"{_TESTS}::test_who_needs_it_does_not_ask",),
    ),
    Fault(
        "busy_is_not_heard",
        "rule 6: a side that was told `busy` goes on waiting, and writes nothing more",
        (Change(_FILE, "    Row(Stage.ASKED, StageEvent.BUSY, Stage.IN_USE),\n", ""),),
        (_TESTS,),
    ),
    Fault(
        "writes_after_its_last_word",
        "rule 6: a side that has asked to part goes on writing, and the end of the connection is no loss for it",
        (
            Change(
                _FILE,
                "return in_use and self.outbox.fence is Fence.CLEAR",
                "return self.in_use is not None and self.outbox.fence is Fence.CLEAR",
            ),
        ),
        (
            f"{_TESTS}::test_who_asks_writes_nothing_more_and_keeps_what_is_sent",
            f"{_WORLDS}[parting: nothing else happens]",
        ),
    ),
    Fault(
        "drops_when_parting",
        "rule 6: what was sent after the last word is dropped, and nobody is told",
        (
            Change(
                _FILE,
                "self.last_ended = connection\n        effects: list[Effect] = [Close(",
                "self.last_ended = connection\n        self.outbox.queue.drop()\n"
                "        effects: list[Effect] = [Close(",
            ),
        ),
        (f"{_TESTS}::test_who_asks_writes_nothing_more_and_keeps_what_is_sent",),
    ),
    Fault(
        "parting_is_not_claimed",
        "rule 5: who has parted does not say so in `lost=`, and the other side may hold on to its half",
        (
            Change(
                _FILE,
                "self.last_ended = connection\n        effects: list[Effect] = [Close(",
                "effects: list[Effect] = [Close(",
            ),
        ),
        (f"{_TESTS}::test_who_asks_writes_nothing_more_and_keeps_what_is_sent",),
    ),
    Fault(
        "late_answers_forgiven",
        "rule 6: a `bye` that comes after this side has gone on is taken for one in time",
        (
            Change(
                _FILE,
                'return self._end(current, "the peer agreed to part too late, or was not asked")',
                "self._connections[current] = Stage.PARTED\n        return [HalfClose(current)]",
            ),
        ),
        (f"{_TESTS}::test_an_answer_that_was_not_asked_for", f"{_WORLDS}[parting: no answer in time, from both]"),
    ),
    Fault(
        "waits_for_ever_for_the_answer",
        "liveness: a peer that does not know the question is never written to again",
        (Change(_IDLENESS, "if now - self._asked_at < self._patience:", "if True:"),),
        (f"{_NODES}::test_who_does_not_answer_is_not_asked_again",),
        hangs=True,
    ),
    Fault(
        "kept_in_vain",
        "a connection that the network keeps is given back all the same",
        (Change(_PEER, "self.current.writer.at_rest and not self._idleness.kept", "self.current.at_rest"),),
        (f"{_NODES}::test_it_can_be_given_back_at_once", f"{_NODES}::test_a_seed_is_kept"),
    ),
    Fault(
        "signs_of_life_count",
        "a connection that carries nothing but signs of life is never idle",
        (
            Change(
                "_peers/reader.py",
                "if len(batch) != 1 or (batch[0] and batch[0][0]) or not says_nothing(batch[0]):",
                "if True:",
            ),
        ),
        (f"{_NODES}::test_signs_of_life_are_no_reason_to_stay",),
    ),
    Fault(
        "closed_before_the_end_is_read",
        "rule 6: a side ends the connection before it has read all that the other one wrote",
        (Change(_PEER, '].finish("nothing depended on', '].close("nothing depended on'),),
        (f"{_NODES}::test_all_of_it_is_read_before_another_one_takes_its_place",),
    ),
    Fault(
        "no_life_while_asked",
        "a side that waits for the answer says nothing at all, and is taken for dead",
        (Change(_CONNECTION, "(association.is_asked or not association.outbox.queue.size)", "association.may_write"),),
        (f"{_NODES}::test_who_does_not_answer_is_not_asked_again",),
    ),
)
