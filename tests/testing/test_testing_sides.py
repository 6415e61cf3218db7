"""What nodes of the hammer do beside the workload: they do it in some of the seeds, and it finds what is broken."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from seed_search import finds

from trio_mp._groups import group, singleton
from trio_mp._ports.calls import ArrivedCall, CallStage
from trio_mp._protocol.groups.roster import GroupPlace, Roster, RosterEffect, Tell
from trio_mp._protocol.groups.singleton import Candidate, CandidateState
from trio_mp._reason import Reason
from trio_mp.testing._seed import run_seed


def test_nodes_have_groups_and_singletons_in_some_of_the_seeds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    results = [run_seed(seed) for seed in (0, 1, 2)]
    assert not any(result.violation for result in results)
    assert sum(result.answered for result in results) > 10
    assert 0 < sum(result.turns > 0 for result in results) < len(results)


class LosesInSilence(Roster):
    """A member that was lost, and may be found again, does not leave."""

    def _lose(self, place: GroupPlace, reason: Reason) -> list[RosterEffect]:
        return [effect for effect in super()._lose(place, reason) if not isinstance(effect, Tell)]


@pytest.mark.exhaustive
def test_it_finds_a_group_that_loses_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(group, "Roster", LosesInSilence)
    assert finds(LosesInSilence, "in turn that a member joins", seeds=30)


class OlderGoesOn(Candidate):
    """A turn goes on though a newer one is known."""

    def look(self, table: Mapping[str, object]) -> None:
        super().look(table)
        if self.state is CandidateState.YIELDS:
            self.state = CandidateState.RUNS


class SaysItsEndFirst(Candidate):
    """A turn that is to end says that it has ended before it has unwound."""

    def look(self, table: Mapping[str, object]) -> None:
        super().look(table)
        if self.state is CandidateState.YIELDS:
            self.state = CandidateState.WAITS


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "kind, rule", [(OlderGoesOn, "at rest one turn"), (SaysItsEndFirst, "has ended before its entry goes")]
)
def test_it_finds_a_singleton_that_does_not_give_way(
    kind: type[Candidate], rule: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(singleton, "Candidate", kind)
    assert finds(kind, rule, seeds=50)


def begins_always(call: ArrivedCall) -> bool:
    """A call begins though its time is up."""
    call._stage = CallStage.RUNNING
    return True


@pytest.mark.exhaustive
def test_it_finds_calls_that_begin_too_late(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(ArrivedCall, "begin", begins_always)
    assert finds(begins_always, "no handler begins a call", seeds=20)
