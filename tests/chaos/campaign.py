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
"""The workers, with IDs below and above the hub's, and the nodes that dial for the connection of each with the hub. So
two nodes dial each other, and one node makes two connections at the same time."""

ERRORS = ("Traceback", " ERROR ", " CRITICAL ", "Exception ignored")
MISUNDERSTANDINGS = ("expected 'link' once", "expected 'ok' once", "not understood", "may not give the name")
"""Words that no log of a process may hold: they show an error of the package, whatever the oracle says. The proxies
never change bytes, so two nodes must always understand each other."""


@dataclass(frozen=True)
class Plan:
    """The plan of one run.

    Attributes:
      seconds: how long faults happen.
      seed: decides which faults happen, and when.
      kind: the kind of sockets, `unix` or `tcp`.
      encryption: whether the connections are encrypted.
      heartbeat: the heartbeat of the nodes, in seconds.
    """

    seconds: float
    seed: int
    kind: str
    encryption: bool
    heartbeat: float

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        return (
            f"PYTHONPATH=tests python -m chaos --minutes {self.seconds / 60:g} --seed {self.seed} --kind {self.kind}"
            f" --encryption {'on' if self.encryption else 'off'} --heartbeat {self.heartbeat:g}"
        )


@dataclass(eq=False)
class Outcome:
    """The outcome of a plan; `calmed` is how long the nodes took to become quiet after the faults, in seconds."""

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
        """Return the figures as lines of a table."""
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
        """Describe the first violations, each with the lines of the journals around it."""
        lines = list(self.diary.problems)
        by_name = {journal.name: journal for journal in self.journals}
        for violation in self.findings.violations[:limit]:
            lines += [violation.text, *excerpt(violation, by_name)]
        if len(self.findings.violations) > limit:
            lines.append(f"and {len(self.findings.violations) - limit} more")
        return "\n".join([*lines, f"again: {self.plan.command}"])


def read_journals(directory: Path) -> list[Journal]:
    """Read all journals in a directory, each named by its node and run."""
    names = [(*path.stem.rpartition("-")[::2], path) for path in sorted(directory.glob("*.journal"))]
    return [read_journal(node, int(run), path) for node, run, path in names]


def excerpt(violation: Violation, journals: dict[str, Journal], around: int = 3) -> list[str]:
    """Return the journal lines of a violation, with the lines about the same stream before and after them."""
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
    """Carries out a plan, with its files in a directory."""

    plan: Plan
    directory: Path
    members: dict[str, Member] = field(default_factory=dict)
    proxies: list[tuple[Proxy, str]] = field(default_factory=list)

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {what}")

    async def run(self) -> Outcome:
        """Carry out the plan. However this ends, it leaves no process behind."""
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
        """Have the proxies dial the present addresses of the processes."""
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
        """Have all processes drain and exit; return how long they drained. Raises `Unexpected` if one does not exit."""
        for proxy, _ in self.proxies:
            for channel in tuple(proxy.channels):
                # A last reset, so that all nodes have a loss to recover from.
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
        """Return the errors in the logs of the processes."""
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
        # Noted and not raised, so that the other processes are awaited too.
        diary.problems.append(str(error))


def _leaves(group: BaseExceptionGroup[Unexpected]) -> Sequence[Unexpected]:
    leaves: list[Unexpected] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
