"""The hammer: its command line, and that it finds what is broken on purpose."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable

import pytest
import trio
from explorer.variants import (
    DropsInSilence,
    ForgetsTheMonitors,
    KeepsTheQueue,
    NeitherOkNorClosing,
    NeverReports,
    QueuesBehindTheFence,
    ReplacesInSilence,
    TakesWhatComes,
    WritesBeforeOk,
)
from seed_search import finds

from trio_mp import Node
from trio_mp._peers import peer
from trio_mp._protocol.association.association import Association
from trio_mp._protocol.database import replica as replica
from trio_mp._protocol.database.copies import Copies
from trio_mp._protocol.database.effects import Effect
from trio_mp._protocol.database.records import NODES
from trio_mp._protocol.database.replica import Replica
from trio_mp._protocol.membership.rules import Membership, MembershipEffect
from trio_mp._protocol.schema import Send
from trio_mp._reason import Reason
from trio_mp._services import database, membership
from trio_mp._supervision.remote import RemoteLife
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, Witness, simulate
from trio_mp.testing.__main__ import main
from trio_mp.testing._formation import runs_known_to
from trio_mp.testing._liar import Liar
from trio_mp.testing._seed import run_seed

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.mark.parametrize("seed", range(5))
def test_a_seed(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    result = run_seed(seed)
    assert not result.violation
    assert 290 < result.seconds < 400
    assert 300 < result.sent < 3000
    assert result.faults.total() >= 10


def test_a_seed_leaves_no_node_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the package nor the hammer keeps a node alive that is closed: thousands of seeds run in one process."""
    caplog.set_level("CRITICAL", "trio_mp")

    def nodes() -> int:
        gc.collect()
        return sum(type(thing) is Node for thing in gc.get_objects())

    before = nodes()
    run_seed(0)
    assert nodes() == before


def test_nodes_part_in_some_of_the_seeds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trio_mp.connection")
    results = [run_seed(seed) for seed in range(5)]
    assert 0 < sum(result.asked > 0 for result in results) < len(results)
    parted = [record for record in caplog.records if "nothing depended on the connection" in record.getMessage()]
    assert len(parted) > 10
    assert not any(result.violation for result in results)


def test_nodes_supervise_in_some_of_the_seeds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    results = [run_seed(seed) for seed in range(4)]
    assert 0 < sum(result.lives > 0 for result in results) < len(results)
    assert not any(result.violation for result in results)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "kind",
    [
        ForgetsTheMonitors,
        NeitherOkNorClosing,
        NeverReports,
        QueuesBehindTheFence,
        ReplacesInSilence,
        WritesBeforeOk,
        # These take many seeds to be found.
        *([DropsInSilence, KeepsTheQueue, TakesWhatComes] if THOROUGH else []),
    ],
)
def test_it_finds_an_association_with_a_rule_taken_out(
    kind: type[Association], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(peer, "Association", kind)
    assert finds(kind, seeds=100)


class HasNoGuests(Membership):
    """Whoever attaches is not noted."""

    def _guest_came(self, node_id: str) -> list[MembershipEffect]:
        return []


class MeshesInSecret(Membership):
    """A global node that joins is not told to the others, who do not become acquainted."""

    def _welcome(self, node_id: str) -> Send:
        return Send(node_id, ("welcome", self.addresses, {}))

    def _mesh_with(self, node_id: str) -> list[MembershipEffect]:
        return [effect for effect in super()._mesh_with(node_id) if not isinstance(effect, Send)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [HasNoGuests, MeshesInSecret])
def test_it_finds_a_membership_with_a_rule_taken_out(
    kind: type[Membership], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(membership, "Membership", kind)
    assert finds(kind, "seeds are global", seeds=100)


def takes_a_loss_for_a_death(life: RemoteLife, reason: Reason) -> bool:
    """A lost connection is a death, and the next life begins at once."""
    return True


async def waits_for_nothing(life: RemoteLife) -> Reason:
    """What is to end has ended."""
    await trio.lowlevel.checkpoint()
    return ()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name, broken", [("is_certain", takes_a_loss_for_a_death), ("wait_gone", waits_for_nothing)])
def test_it_finds_a_supervisor_that_does_not_wait(
    name: str, broken: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    monkeypatch.setattr(RemoteLife, name, broken)
    assert finds(broken, "a life of a supervised child", seeds=50)


class BreaksBeforeItMakes(Replica):
    """The host of a node that becomes global speaks for it no longer."""

    def global_up(self, node_id: str) -> list[Effect]:
        self._copies._forget_attached(node_id, moved=False)
        return [*self._told(()), *super().global_up(node_id)]


class ReadsBeforeItKnows(Replica):
    """A node that becomes global shows only what it holds itself."""

    def become_global(self, others: Iterable[str] = ()) -> list[Effect]:
        return super().become_global(())


class KeepsTheDead(Copies):
    """A connection that is lost takes nothing along."""

    def lose_attached(self, node_id: str) -> None:
        pass


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "kind, rule",
    [
        (BreaksBeforeItMakes, "no deletion is reported"),
        (ReadsBeforeItKnows, "no deletion is reported"),
        (KeepsTheDead, "the entries of a dead node"),
    ],
)
def test_it_finds_a_database_with_a_rule_taken_out(
    kind: type, rule: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    if issubclass(kind, Replica):
        monkeypatch.setattr(database, "Replica", kind)
    else:
        monkeypatch.setattr(replica, "Copies", kind)
    assert finds(kind, rule, seeds=100)


async def lies_in_a_quiet_network(network: SimulatedNetwork, reached: list[str], last: str) -> None:
    async with (
        network.open_node("a") as a,
        network.open_node("b", seeds=["a", "b"]) as b,
        trio.open_nursery() as nursery,
    ):
        witness = Witness(network, a)
        nursery.start_soon(witness.follow_nodes)
        async with network.open_node("liar", seeds=["a", "b", "liar"]) as liar:
            await trio.sleep(network.oracle.bounds.memory + 5)
            member = Liar(network)
            # Whether it says that there is a later run of `b`, which `a` believes, is left to chance.
            with trio.fail_after(100):
                while a.database._replica.held(NODES)["b"] != ["A" * 16, "nowhere"]:
                    member._lie(liar, b, "a")
                    await trio.sleep(1)
            assert runs_known_to(a)["a"] == a._runtime.incarnation
            reached.append("the lies")
            if last == "the lies":
                # A node about which nobody lies is judged as ever.
                network.oracle.told_of_end("b/1", "a", lives=True)
        await trio.sleep(network.oracle.bounds.forgotten + 1)
        assert runs_known_to(a)["b"] == b._runtime.incarnation
        reached.append("the end")
        # Nor does a lie excuse anything for ever.
        network.oracle.told_of_end("a/1", "b", lives=True)


@pytest.mark.parametrize("last, who", [("the lies", "b/1 is told that a"), ("the end", "a/1 is told that b")])
def test_a_node_of_which_a_global_node_lies_may_be_said_to_be_gone(last: str, who: str) -> None:
    reached: list[str] = []
    with pytest.raises(PromiseBroken, match=f"{who} has ended, but it lives") as info:
        simulate(lies_in_a_quiet_network, reached, last)
    assert info.value.rule is Rule.VANISHED
    assert reached[-1] == last


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_table(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hammer", "--seeds", "3", "--first", "10", "--jobs", jobs]) == 0
    output = capsys.readouterr().out
    for line in ("seeds ", "simulated hours", "messages through the oracle", "faults", "violations"):
        assert line in output


def test_a_violation_is_shown_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer, "Association", NeverReports)
    assert main(["hammer", "--seeds", "1", "--jobs", "1"]) == 1
    output = capsys.readouterr().out
    assert "✗ seed 0" in output
    assert "python -m trio_mp.testing replay 0" in output
    assert " fault " in output
    assert main(["replay", "0"]) == 1


def test_replay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "0"]) == 0
    first = capsys.readouterr().out
    assert main(["replay", "0"]) == 0
    assert "the trace: " in first
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("arguments", [[], ["hammer", "--seeds", "0"], ["replay"], ["replay", "-1"], ["replay", "x"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2
