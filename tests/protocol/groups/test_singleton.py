"""Which of several candidates has the one place."""

from __future__ import annotations

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_mp._protocol.groups.singleton import NUMBER_LIMIT, Candidate, CandidateState, TurnEpoch, read_entry

RUNS = [letter * 16 for letter in "abc"]


class Candidates(RuleBasedStateMachine):
    """Three candidates, each of which sees what the others have said late, or not at all for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.candidates = [Candidate(f"node{number}", run, 0) for number, run in enumerate(RUNS)]
        self.entries: dict[str, object] = {}
        self.views: list[dict[str, object]] = [{}, {}, {}]
        self.epochs: list[TurnEpoch] = []
        self.deaths = 0
        for number in range(3):
            self.said(number)

    @rule(number=st.integers(0, 2), seen=st.integers(0, 3))
    def dies(self, number: int, seen: int) -> None:
        """It begins anew, as on a node that is started again, perhaps with a number that the resource has told it."""
        del self.entries[self.candidates[number].key]
        self.deaths += 1
        self.candidates[number] = Candidate(f"node{number}", f"{RUNS[number][:12]}{self.deaths:04}", seen)
        self.views[number] = {}
        self.said(number)

    def said(self, number: int) -> None:
        candidate = self.candidates[number]
        self.entries[candidate.key] = self.views[number][candidate.key] = candidate.entry

    @rule(number=st.integers(0, 2))
    def look(self, number: int) -> None:
        candidate = self.candidates[number]
        before = candidate.state
        candidate.look(self.views[number])
        if candidate.state is CandidateState.RUNS and before is not CandidateState.RUNS:
            assert candidate.epoch not in self.epochs, "no epoch is used twice"
            assert all(candidate.epoch > epoch for epoch in self.epochs if epoch.run == candidate.epoch.run)
            self.epochs.append(candidate.epoch)
        self.said(number)

    @rule(number=st.integers(0, 2), of=st.integers(0, 2))
    def hear(self, number: int, of: int) -> None:
        """Hear what the candidate of that node says now, and that former ones of it are gone."""
        key = self.candidates[of].key
        view = self.views[number]
        for former in [each for each in view if each != key and each.partition("/")[0] == f"node{of}"]:
            del view[former]
        view[key] = self.entries[key]

    @rule(number=st.integers(0, 2))
    def unwind(self, number: int) -> None:
        if self.candidates[number].state is CandidateState.YIELDS:
            self.candidates[number].unwound()
            self.said(number)

    @invariant()
    def a_turn_is_claimed(self) -> None:
        for candidate in self.candidates:
            if candidate.state in (CandidateState.RUNS, CandidateState.YIELDS):
                assert read_entry(self.entries[candidate.key]) == (candidate.epoch, True), "until it has unwound"

    def teardown(self) -> None:
        """When all hear all, one has its turn, and no candidate knows of a newer one: a resource need not refuse it."""
        running = [each.epoch for each in self.candidates if each.state is CandidateState.RUNS]
        known = [epoch for epoch, _ in filter(None, map(read_entry, self.entries.values()))]
        for _ in range(18):
            for number in range(3):
                for of in range(3):
                    self.hear(number, of)
                self.look(number)
                self.unwind(number)
        states = [candidate.state for candidate in self.candidates]
        assert sorted(state.value for state in states) == ["runs", "waits", "waits"]
        (epoch,) = [each.epoch for each in self.candidates if each.state is CandidateState.RUNS]
        assert all(epoch >= other for other in running)
        assert all(epoch.number >= other.number for other in known)
        if not self.deaths:
            assert epoch == max(self.epochs)


TestCandidates = Candidates.TestCase
TestCandidates.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_candidate_that_comes_later_knows_the_greatest_number_from_those_that_wait() -> None:
    waiting = Candidate("a", RUNS[0], 0)
    waiting.look({"x": [41, "b", RUNS[1], True]})
    assert waiting.state is CandidateState.WAITS
    late = Candidate("c", RUNS[2], 0)
    late.look({waiting.key: waiting.entry})
    assert (late.state, late.epoch) == (CandidateState.CLAIMS, (42, "c", RUNS[2]))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [True, "a", RUNS[0], True],
        [1.0, "a", RUNS[0], True],
        [-1, "a", RUNS[0], True],
        [NUMBER_LIMIT, "a", RUNS[0], True],
        [1, "a b", RUNS[0], True],
        [1, "a", "short", True],
        [1, "a", RUNS[0], 1],
        [1, "a", RUNS[0]],
    ],
    ids=str,
)
def test_what_no_candidate_says_counts_for_nothing(entry: object) -> None:
    assert read_entry(entry) is None
    candidate = Candidate("c", RUNS[2], 0)
    candidate.look({"x": entry})
    assert candidate.epoch.number == 1


def test_epochs_compare_by_number_then_node_then_run() -> None:
    epochs = [TurnEpoch(1, "b", RUNS[1]), TurnEpoch(2, "a", RUNS[0]), TurnEpoch(2, "a", RUNS[1]), TurnEpoch(2, "b", "")]
    assert epochs[0] < epochs[1] < epochs[2] < epochs[3]


def state_of(candidate: Candidate) -> CandidateState:
    """Its state now: a type checker believes that an attribute stays as it was."""
    return candidate.state


def test_a_newer_claim_waits_for_the_older_turn() -> None:
    older, newer = (Candidate(name, run, 0) for name, run in zip("ab", RUNS, strict=False))
    older.look({})
    newer.look({})
    table = {older.key: older.entry}
    older.look(table)
    table[newer.key] = newer.entry
    assert state_of(older) is CandidateState.RUNS
    newer.look(table)
    assert state_of(newer) is CandidateState.CLAIMS
    older.look(table)
    assert state_of(older) is CandidateState.YIELDS
    table[older.key] = older.entry
    newer.look(table)
    assert state_of(newer) is CandidateState.CLAIMS, "it has not unwound"
    older.unwound()
    table[older.key] = older.entry
    newer.look(table)
    assert state_of(newer) is CandidateState.RUNS


def test_a_turn_ends_when_a_newer_one_was_there_that_is_over() -> None:
    """A resource may have taken the number of the newer one, and would refuse the older one for ever."""
    running = Candidate("a", RUNS[0], 0)
    running.look({})
    running.look({running.key: running.entry})
    waiting = Candidate("b", RUNS[1], 7)
    table = {running.key: running.entry, waiting.key: waiting.entry}
    running.look(table)
    assert state_of(running) is CandidateState.YIELDS
    running.unwound()
    table[running.key] = running.entry
    waiting.look(table)
    assert (waiting.state, waiting.epoch.number) == (CandidateState.CLAIMS, 8)


def test_a_claim_is_made_anew_when_a_greater_number_is_known() -> None:
    candidate = Candidate("a", RUNS[0], 0)
    candidate.look({})
    candidate.look({candidate.key: candidate.entry, "b": [7, "b", RUNS[1], False]})
    assert state_of(candidate) is CandidateState.WAITS
    candidate.look({candidate.key: candidate.entry, "b": [7, "b", RUNS[1], False]})
    assert (state_of(candidate), candidate.epoch.number) == (CandidateState.CLAIMS, 8)
