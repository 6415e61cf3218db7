"""One run, from the first process to the verdict."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from trio_mp.cli.demo.journal import Journal, read_journal
from trio_mp.cli.demo.oracle import Findings, StreamKey, Violation, check

from .crew import Diary, Member, Unexpected, environment
from .faults import LinkChaos, MemberChaos
from .process import Order
from .proxy import Proxy

HUB = "hub"
DIALLERS = {"alpha": ("alpha", "alpha"), "mike": (HUB, "mike"), "zulu": ("zulu",)}
"""The workers, of smaller and of greater ID than the hub, and who dials for the connection of each with the hub: so two
nodes that dial each other, and two connections that one makes at the same time."""

ERRORS = ("Traceback", " ERROR ", " CRITICAL ", "Exception ignored")
MISUNDERSTANDINGS = ("expected 'link' once", "expected 'ok' once", "not understood", "may not give the name")
"""What is in no log of a process: it is an error of the product, whatever the oracle says. Bytes are never
changed here, so two nodes always understand each other."""


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
      seconds: how long things go wrong.
      seed: which things, and when.
      kind: `unix` or `tcp`.
      encryption: whether the connections are encrypted.
      heartbeat: the nodes', in seconds.
    """

    seconds: float
    seed: int
    kind: str
    encryption: bool
    heartbeat: float

    @property
    def command(self) -> str:
        """What does the same again."""
        return (
            f"PYTHONPATH=tests python -m chaos --minutes {self.seconds / 60:g} --seed {self.seed} --kind {self.kind}"
            f" --encryption {'on' if self.encryption else 'off'} --heartbeat {self.heartbeat:g}"
        )


@dataclass(eq=False)
class Outcome:
    """What came of a plan; `calmed` is how long it took until all was quiet, in seconds."""

    plan: Plan
    findings: Findings
    diary: Diary
    journals: list[Journal]
    restarts: int
    calmed: float

    @property
    def holds(self) -> bool:
        return not self.findings.violations and not self.diary.problems

    def table(self) -> str:
        """The figures, in lines."""
        findings = self.findings
        rows = {
            "messages sent": f"{findings.sent:,}",
            "delivered": f"{findings.delivered:,}",
            "reported lost": f"{findings.reported:,}",
            "of killed senders": f"{findings.untold:,}",
            "lost in silence": f"{findings.silent:,}",
            "streams, epochs": f"{findings.streams:,}, {findings.epochs:,}",
            "monitors fired": ", ".join(f"{count:,} {reason}" for reason, count in findings.reasons.most_common()),
            "faults": ", ".join(f"{count} {kind}" for kind, count in sorted(self.diary.counts.items()) if count),
            "restarts": str(self.restarts),
            "quiet after": f"{self.calmed:.1f} s",
            "violations": str(len(findings.violations) + len(self.diary.problems)),
        }
        encrypted = "encrypted" if self.plan.encryption else "plain"
        title = f"{self.plan.kind}, {encrypted}, {self.plan.seconds:g} s, seed {self.plan.seed}"
        return "\n".join([title, *(f"  {name:18} {value}" for name, value in rows.items())])

    def limited_log(self, limit: int = 10) -> str:
        """What is wrong, with the lines of the journals around it."""
        lines = list(self.diary.problems)
        by_name = {journal.name: journal for journal in self.journals}
        for violation in self.findings.violations[:limit]:
            lines += [violation.text, *excerpt(violation, by_name)]
        if len(self.findings.violations) > limit:
            lines.append(f"and {len(self.findings.violations) - limit} more")
        return "\n".join([*lines, f"again: {self.plan.command}"])


def read_journals(directory: Path) -> list[Journal]:
    """All journals in a directory, each named by its node and run."""
    names = [(*path.stem.rpartition("-")[::2], path) for path in sorted(directory.glob("*.journal"))]
    return [read_journal(node, int(run), path) for node, run, path in names]


def excerpt(violation: Violation, journals: dict[str, Journal], around: int = 3) -> list[str]:
    """The lines of journals that a violation shows in, and those about the same stream before and behind."""
    lines = []
    for name, line in violation.places:
        journal = journals[name]
        about = [
            number
            for number, entry in enumerate(journal.entries)
            if violation.key is None
            or violation.key in {StreamKey(entry.peer, *entry[3:5]), StreamKey(journal.node, journal.run, entry[4])}
        ]
        before = [number for number in about if number < line][-around:]
        for number in [*before, line, *[number for number in about if number > line][:around]]:
            mark = ">" if number == line else " "
            lines.append(f"  {mark} {name}:{number + 1}: {journal.entries[number].line().rstrip()}")
    return lines


@dataclass(eq=False)
class Campaign:
    """A plan that is being carried out, in a directory for its files."""

    plan: Plan
    directory: Path
    members: dict[str, Member] = field(default_factory=dict)
    proxies: list[tuple[Proxy, str]] = field(default_factory=list)

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {what}")

    async def run(self) -> Outcome:
        """Carry it out. However it ends, no process is left."""
        diary = Diary(self.directory / "faults.log", time.monotonic())
        calmed = 0.0
        try:
            async with trio.open_nursery() as nursery:
                await self._start(nursery)
                diary.note(time.monotonic(), "all", "chaos begins", count=False)
                await self._rage(nursery, diary)
                calmed = await self._calm(diary)
                nursery.cancel_scope.cancel()
        except* Unexpected as group:
            diary.problems += [str(error) for error in _leaves(group)]
        finally:
            for member in self.members.values():
                member.abandon()
        for member in self.members.values():
            await member.reap()
        diary.problems += self.read_logs()
        journals = read_journals(self.directory)
        restarts = sum(member.order.run for member in self.members.values())
        return Outcome(self.plan, check(journals), diary, journals, restarts, calmed)

    async def _start(self, nursery: trio.Nursery) -> None:
        seeds: dict[str, list[str]] = {HUB: []}
        for worker, diallers in DIALLERS.items():
            seeds[worker] = []
            for number, dialler in enumerate(diallers):
                name = f"{worker}{number}"
                proxy = Proxy(f"proxy {number} of {worker}, dialled by {dialler}", self._random(name))
                await nursery.start(proxy.serve, self.directory / name if self.plan.kind == "unix" else None)
                seeds.setdefault(dialler, []).append(proxy.address)
                self.proxies.append((proxy, HUB if dialler == worker else worker))
        secret = secrets.token_hex(16)
        for node, addresses in seeds.items():
            bind = f"unix:{self.directory}/{node}.socket" if self.plan.kind == "unix" else "127.0.0.1:0"
            peers = list(DIALLERS) if node == HUB else [HUB]
            order = Order(
                *(node, 0, [bind], addresses, peers, secret, self.plan.encryption, self.plan.heartbeat),
                *(f"{self.plan.seed} {node}", str(self.directory)),
            )
            self.members[node] = Member(order, environment())
        async with trio.open_nursery() as starting:
            for member in self.members.values():
                starting.start_soon(member.start, nursery)
        self._redirect()

    def _redirect(self) -> None:
        """The proxies dial those that are there, where they are now."""
        for proxy, target in self.proxies:
            proxy.target = self.members[target].address

    async def _rage(self, nursery: trio.Nursery, diary: Diary) -> None:
        until = trio.current_time() + self.plan.seconds
        heartbeat = self.plan.heartbeat
        async with trio.open_nursery() as raging:
            for proxy, _ in self.proxies:
                link = LinkChaos(proxy, heartbeat, self._random(proxy.name), diary, until)
                raging.start_soon(link.run)
            for member in self.members.values():
                rage = MemberChaos(member, heartbeat, self._random(member.node), diary, until, self._redirect)
                raging.start_soon(rage.run, nursery)
        diary.note(time.monotonic(), "all", "calm", count=False)

    async def _calm(self, diary: Diary) -> float:
        """Have everybody drain, and exit; how long the draining took. Raises `Unexpected`, for each that does not."""
        for proxy, _ in self.proxies:
            for channel in tuple(proxy.channels):
                # A last blow, so that there is something to recover from.
                channel.reset()
        began = time.monotonic()
        async with trio.open_nursery() as draining:
            for member in self.members.values():
                await member.tell("drain")
                draining.start_soon(_wait_drained, member, diary)
        calmed = time.monotonic() - began
        diary.note(time.monotonic(), "all", "quiet", count=False)
        async with trio.open_nursery() as exiting:
            for member in self.members.values():
                exiting.start_soon(member.exit)
        diary.note(time.monotonic(), "all", "gone", count=False)
        return calmed

    def read_logs(self) -> list[str]:
        """What is in the processes' logs that must not be."""
        problems = []
        for path in sorted(self.directory.glob("*-*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found = [
                number
                for number, line in enumerate(lines)
                if any(words in line for words in ERRORS + MISUNDERSTANDINGS)
            ]
            if found:
                text = "\n".join(f"    {line}" for line in lines[found[0] : found[0] + 60])
                problems.append(f"{path.stem} has {len(found)} errors in its log:\n{text}")
        return problems


async def _wait_drained(member: Member, diary: Diary) -> None:
    try:
        await member.wait_said("drained")
    except Unexpected as error:
        # Noted, and not raised: the others are asked too.
        diary.problems.append(str(error))


def _leaves(group: BaseExceptionGroup[Unexpected]) -> Sequence[Unexpected]:
    leaves: list[Unexpected] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
