"""The table of all workloads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal

from msgspec import structs

from .task import Task

KIBIBYTE, MEBIBYTE = 1024, 1024 * 1024

OFTEN, SOMETIMES, RARELY = 9, 5, 3
"""How often a workload is repeated. Only workloads that a target depends on are repeated nine times or more."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the table.

    Attributes:
      key: its name in files and on the command line.
      title: its name for readers, below the title of its group.
      task: what is done.
      repeats, quick_repeats: how often it is done, in a full and in a quick benchmark.
      quick: whether it is part of a quick benchmark.
      least: the smallest count that makes sense; no scale makes the count smaller.
    """

    key: str
    title: str
    task: Task
    repeats: int = SOMETIMES
    quick_repeats: int = 1
    quick: bool = True
    least: int = 1

    @property
    def target(self) -> bool:
        """Whether a target depends on this workload."""
        return self.repeats >= OFTEN

    def scaled(self, scale: float) -> Task:
        """The task with its count multiplied by a scale."""
        return scaled(self.task, scale, self.least)


@dataclass(frozen=True, slots=True)
class WorkloadGroup:
    """Workloads that are measured in turn; a round of them includes the peers, which do the same work.

    Attributes:
      key, title: as for a workload.
      more_is_better: whether a larger figure is a better one.
      workloads: our own workloads in the group.
      peer_task: what a peer does, once for all our workloads; the peer's own table says how much. None if no peer
        does anything like it.
    """

    key: str
    title: str
    more_is_better: bool
    workloads: tuple[Workload, ...]
    peer_task: Task | None = field(default=None)


def scaled(task: Task, scale: float, least: int = 1) -> Task:
    """The same task with its count multiplied by a scale, but not below `least`."""
    return structs.replace(task, count=max(round(task.count * scale), min(least, task.count)))


def _often(key: str, title: str, task: Task, *, least: int = 1) -> Workload:
    return Workload(key, title, task, OFTEN, quick_repeats=3, least=least)


def _local() -> WorkloadGroup:
    kinds = {"sync": "into a sync handler", "async": "into an async handler", "process": "to a port with a task"}
    sizes = {"sync": 1_000_000, "async": 300_000, "process": 300_000}
    workloads = tuple(
        (Workload if kind == "async" else _often)(f"local/{kind}", title, Task("local", sizes[kind], kind), least=100)
        for kind, title in kinds.items()
    )
    return WorkloadGroup("local", "local one-way, messages/s", True, workloads, Task("local", 0))


def _one_way() -> list[WorkloadGroup]:
    """Both transports, one and eight peers, 1, 10 and 100 messages in a pass; each plain and encrypted."""
    groups = []
    counts = {1: 30_000, 10: 150_000, 100: 400_000}
    cases: itertools.product[tuple[Literal["tcp", "unix"], int, int]]
    cases = itertools.product(("tcp", "unix"), (1, 8), (100, 10, 1))
    for transport, peers, batch in cases:
        key = f"one_way/{transport}/{peers}/{batch}"
        often = (transport, peers, batch) == ("tcp", 1, 100)
        workloads = tuple(
            Workload(
                f"{key}/{word}",
                word,
                Task("one_way", counts[batch], "", transport, word == "encrypted", batch, peers),
                OFTEN if often else RARELY,
                quick_repeats=3 if often else 1,
                quick=(transport, peers, batch) in _QUICK,
                least=80 * peers,
            )
            for word in ("plain", "encrypted")
        )
        there = "one peer" if peers == 1 else f"{peers} peers"
        title = f"remote one-way, {_NAMES[transport]}, {there}, {batch} a pass, messages/s"
        peer_task = Task("one_way", 0, "", transport, batch=batch) if peers == 1 and batch != 10 else None
        groups.append(WorkloadGroup(key, title, True, workloads, peer_task))
    return groups


def _round_trip(transport: Literal["tcp", "unix"]) -> WorkloadGroup:
    repeat = _often if transport == "tcp" else Workload
    key = f"round_trip/{transport}"
    quick = transport == "tcp"
    workloads = (
        repeat(f"{key}/handler", "from handler to handler", Task("round_trip", 10_000, "handler", transport), least=20),
        repeat(f"{key}/call", "node.call", Task("round_trip", 5_000, "call", transport), least=20),
        Workload(f"{key}/reply", "node.call, of a handler with reply=True",
                 Task("round_trip", 5_000, "reply", transport), quick=quick, least=20),
        repeat(f"{key}/handler_low_latency", "from handler to handler, busy_poll of 50 µs and a core each",
               Task("round_trip", 10_000, "handler", transport, busy_poll=50e-6), least=20),
        Workload(f"{key}/encrypted", "from handler to handler, encrypted",
                 Task("round_trip", 5_000, "handler", transport, True), quick=quick, least=20),
        Workload(f"{key}/handler_busy", "from handler to handler, beside a busy task",
                 Task("round_trip", 2_000, "handler", transport, busy=True), quick=quick, least=20),
        Workload(f"{key}/call_busy", "node.call, beside a busy task",
                 Task("round_trip", 2_000, "call", transport, busy=True), quick=quick, least=20),
    )  # fmt: skip
    peer_task = Task("round_trip", 0, "", transport)
    return WorkloadGroup(key, f"round trip, {_NAMES[transport]}, µs", False, workloads, peer_task)


def _bulk(size: int, name: str, count: int) -> WorkloadGroup:
    key = f"bulk/{name.replace(' ', '')}"
    task = Task("bulk", count, size=size)
    workloads = (
        (_often if size == MEBIBYTE else Workload)(f"{key}/plain", "plain", task, least=10),
        Workload(f"{key}/encrypted", "encrypted", Task("bulk", count // 2, encrypted=True, size=size), least=10),
    )
    return WorkloadGroup(key, f"messages of {name}, TCP, MB/s", True, workloads, Task("bulk", 0, size=size))


def _stream() -> WorkloadGroup:
    workloads = (
        Workload("stream/plain", "plain", Task("stream", 1_000, size=MEBIBYTE), least=10),
        Workload("stream/encrypted", "encrypted", Task("stream", 500, encrypted=True, size=MEBIBYTE), least=10),
    )
    # The peer is raw sockets, for which messages and a stream are the same bytes.
    peer_task = Task("bulk", 0, size=MEBIBYTE)
    return WorkloadGroup("stream", "byte stream, pieces of 1 MiB, TCP, MB/s", True, workloads, peer_task)


def _channel() -> WorkloadGroup:
    """No peer has such channels; Trio's own stands among ours, because both need the same run."""
    titles = {
        "there": "to another process",
        "here": "within a node",
        "memory": "a memory channel of Trio, in one process",
        "nowait": "send_nowait, to another process",
        "plain": "the same as plain sends, to a handler there",
    }
    workloads = tuple(
        _often(f"channel/{kind}", title, Task("channel", 100_000, kind), least=100) for kind, title in titles.items()
    )
    return WorkloadGroup("channel", "channels, buffer of 64, TCP, items/s", True, workloads)


def _idle() -> list[WorkloadGroup]:
    sizes = (
        _often("idle/bare", "bare, with its ID", Task("idle", 100_000, "bare"), least=1_000),
        _often("idle/handlers", "with two handlers", Task("idle", 100_000, "handlers"), least=1_000),
        Workload("idle/million", "bare, of 1,000,000", Task("idle", 1_000_000, "bare"), RARELY, least=1_000),
    )
    times = (
        Workload("create/100k", "100,000", Task("idle", 100_000, "time"), least=1_000),
        Workload("create/1m", "1,000,000", Task("idle", 1_000_000, "time"), OFTEN, 1, least=1_000),
    )
    return [
        WorkloadGroup("idle", "an idle port, bytes", False, sizes, Task("idle", 0)),
        WorkloadGroup("create", "making ports, s", False, times),
    ]


def _deaths() -> list[WorkloadGroup]:
    titles = {"local": "ports of the same node, killed", "kill": "ports of another node, killed",
              "lost": "ports of another node, whose process is killed"}  # fmt: skip
    monitors = tuple(
        Workload(f"monitors/{kind}", title, Task("monitors", 100_000, kind), RARELY, least=100)
        for kind, title in titles.items()
    )
    kill = Workload("kill/tcp", "until the monitor's callback", Task("kill", 1), 30, 3)
    return [
        WorkloadGroup("monitors", "100,000 monitors: setting one and having it fire, µs", False, monitors),
        WorkloadGroup("kill", "SIGKILL until it is noticed, TCP, ms", False, (kill,), Task("kill", 1)),
    ]


def _others() -> list[WorkloadGroup]:
    slow = (
        _often("slow/send", "that only sends: bounded, every loss told",
               Task("slow", 100_000, "send", size=KIBIBYTE), least=100_000),
        Workload("slow/flush", "that waits at flush: nothing lost",
                 Task("slow", 20_000, "flush", size=KIBIBYTE), RARELY, least=2_000),
    )  # fmt: skip
    start = (
        Workload("start/local", "a node by itself", Task("start", 1)),
        Workload("start/network", "one that listens, with a secret", Task("start", 1, "network", "unix")),
    )
    form = (Workload("form/10", "10 processes", Task("form", 10, transport="unix"), RARELY, least=10),)
    nodes = tuple(
        Workload(f"simulated/{count}", f"{count} nodes", Task("simulated", count), RARELY, 1, count < 500, count)
        for count in (10, 100, 500)
    )
    return [
        WorkloadGroup(
            "slow", "a sender whose receiver stands still, with a queue_limit of 16 MiB: growth, MiB", False, slow
        ),
        WorkloadGroup("start", "start-up: from the process to the open node, ms", False, start),
        WorkloadGroup("form", "a network forms, with one seed, s", False, form),
        WorkloadGroup("simulated", "an idle node in a simulated network: CPU in a simulated minute, ms", False, nodes),
    ]


_NAMES = {"tcp": "TCP", "unix": "Unix socket"}
_QUICK = {("tcp", 1, 100), ("tcp", 1, 1), ("tcp", 8, 100), ("unix", 1, 100)}

_FIRST, *_REST = _one_way()

GROUPS: tuple[WorkloadGroup, ...] = (
    _local(),
    _FIRST,
    _round_trip("tcp"),
    _bulk(MEBIBYTE, "1 MiB", 1_000),
    *_idle(),
    *_deaths(),
    *_others(),
    _channel(),
    _stream(),
    _bulk(64 * KIBIBYTE, "64 KiB", 8_000),
    _round_trip("unix"),
    *_REST,
)
"""All groups, in the order in which they are measured. Those with targets are first: time may not last for the rest."""

QUICK_SCALE = 0.1
