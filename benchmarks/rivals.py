"""The peers: what each does in which group, and how much of it; which of them are here."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trio_mp.cli.bench.catalogue import QUICK_SCALE, SOMETIMES, WorkloadGroup, scaled
from trio_mp.cli.bench.main import BenchOptions, Rivals
from trio_mp.cli.bench.runner import Cell

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "benchmarks" / "peers" / "stubs"

TRACTOR_PYTHON = "TRIO_MP_BENCH_TRACTOR"
"""The environment variable that names an interpreter with tractor 0.1.0a5, which wants an old Trio."""

PATIENCE = 30.0

ERLANG, UVLOOP, PACKER, UNPACKER, TRACTOR, PYKKA, RAW = (
    "Erlang",
    "asyncio+uvloop",
    "asyncio+uvloop, one packer",
    "asyncio+uvloop, unpacker",
    "tractor",
    "Pykka",
    "raw sockets",
)


@dataclass(frozen=True)
class Peer:
    """Somebody who does the same.

    Attributes:
      program: its name for readers.
      module: below `benchmarks.peers`.
      counts: how much it does, by the key of the group; it has no part in others.
      targets: the groups in which we want to be so and so much better than it.
      imports: the modules that it needs, the one whose version is told first.
      commands: the programs that it needs on the path.
      kind: a variant of its module.
      interpreter: the environment variable that names its interpreter, if it is not this one.
    """

    program: str
    module: str
    counts: Mapping[str, int]
    imports: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    kind: str = ""
    targets: tuple[str, ...] = ()
    interpreter: str = ""

    @property
    def python(self) -> str | None:
        """Its interpreter, if it is known."""
        return os.environ.get(self.interpreter) if self.interpreter else sys.executable

    @property
    def environment(self) -> dict[str, str]:
        """On top of this process's."""
        return {"PYTHONPATH": str(STUBS)} if self.interpreter else {}


def _one_way(tcp: int, tcp_single: int = 0, unix: int = 0, unix_single: int = 0) -> dict[str, int]:
    counts = {"tcp/1/100": tcp, "tcp/1/1": tcp_single, "unix/1/100": unix, "unix/1/1": unix_single}
    return {f"one_way/{key}": count for key, count in counts.items() if count}


PEERS = (
    Peer(
        RAW,
        "raw",
        {
            **_one_way(400_000, 200_000, 400_000, 200_000),
            "round_trip/tcp": 10_000, "round_trip/unix": 10_000, "bulk/64KiB": 8_000, "bulk/1MiB": 1_000, "kill": 1,
            "stream": 1_000,
        },
        targets=("bulk/1MiB", "kill"),
    ),
    Peer(
        ERLANG,
        "erlang",
        {
            **_one_way(400_000),
            "local": 1_000_000, "round_trip/tcp": 10_000, "bulk/64KiB": 8_000, "bulk/1MiB": 1_000,
            "idle": 100_000, "kill": 1,
        },
        commands=("erl", "escript"),
        targets=("local", "one_way/tcp/1/100", "round_trip/tcp", "bulk/1MiB"),
    ),
    Peer(
        UVLOOP,
        "asyncio_uvloop",
        {**_one_way(400_000, 50_000, 400_000, 50_000), "round_trip/tcp": 10_000, "round_trip/unix": 10_000},
        imports=("uvloop", "msgpack"),
        targets=("one_way/tcp/1/100",),
    ),
    Peer(PACKER, "asyncio_uvloop", _one_way(400_000), imports=("uvloop", "msgpack"), kind="packer"),
    Peer(UNPACKER, "asyncio_uvloop", _one_way(400_000), imports=("uvloop", "msgpack"), kind="unpacker"),
    Peer(
        "pyzmq",
        "zeromq",
        {
            **_one_way(300_000, 0, 300_000),
            "round_trip/tcp": 10_000, "round_trip/unix": 10_000, "bulk/64KiB": 8_000, "bulk/1MiB": 1_000, "kill": 1,
        },
        imports=("zmq", "msgpack"),
    ),
    Peer(
        TRACTOR,
        "tractor",
        {**_one_way(10_000), "round_trip/tcp": 2_000, "bulk/64KiB": 200, "bulk/1MiB": 40},
        imports=("tractor", "trio"),
        targets=("one_way/tcp/1/100", "round_trip/tcp"),
        interpreter=TRACTOR_PYTHON,
    ),
    Peer(
        "xoscar",
        "xoscar",
        {
            **_one_way(5_000),
            "local": 20_000, "round_trip/tcp": 2_000, "bulk/64KiB": 2_000, "bulk/1MiB": 300, "idle": 20_000,
        },
        imports=("xoscar",),
    ),
    Peer(PYKKA, "pykka", {"local": 50_000, "idle": 1_000}, imports=("pykka",), targets=("local",)),
    Peer(
        "NATS",
        "nats",
        {**_one_way(50_000), "round_trip/tcp": 2_000, "bulk/64KiB": 2_000, "bulk/1MiB": 200},
        imports=("nats",),
        commands=("nats-server",),
    ),
)


@dataclass
class Field:
    """Those of the peers that are here.

    Attributes:
      peers: they.
      versions, skipped: see `Rivals`.
    """

    peers: list[Peer] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def cells_of(self, group: WorkloadGroup, options: BenchOptions) -> list[Cell]:
        """See `Rivals`."""
        if group.peer_task is None:
            return []
        scale = options.scale * (QUICK_SCALE if options.quick else 1)
        cells = []
        for peer in self.peers:
            if group.key in peer.counts:
                task = msgspec.structs.replace(group.peer_task, count=peer.counts[group.key], kind=peer.kind)
                text = msgspec.json.encode(scaled(task, scale, 20)).decode()
                command = (peer.python or "", "-m", "benchmarks.peers", peer.module, text)
                target = group.key in peer.targets
                repeats = _repeats(group, target, options.quick)
                environment = peer.environment
                cells.append(
                    Cell(group.key, group.key, peer.program, command, repeats, environment, str(ROOT), target)
                )
        return cells


def _repeats(group: WorkloadGroup, target: bool, quick: bool) -> int:
    """As often as the workload of the group that is run most often, where a target needs it."""
    most = max(one.quick_repeats if quick else one.repeats for one in group.workloads)
    return most if target else min(most, 1 if quick else SOMETIMES)


def find_peers() -> Rivals:
    """See which peers are here."""
    found = Field()
    for peer in PEERS:
        missing = [command for command in peer.commands if shutil.which(command) is None]
        if missing:
            found.skipped[peer.program] = f"there is no {' and no '.join(missing)} on the path"
        elif peer.python is None:
            found.skipped[peer.program] = f"{peer.interpreter} names no interpreter that has it"
        else:
            version, why = _version(peer)
            if why:
                found.skipped[peer.program] = why
            else:
                found.peers.append(peer)
                if version:
                    found.versions[peer.program] = version
    return Rivals(found.cells_of, found.versions, found.skipped)


@functools.cache
def _probe(python: str, imports: tuple[str, ...], path: str) -> tuple[str, str]:
    names = {"zmq": "pyzmq", "nats": "nats-py"}
    name = names.get(imports[0], imports[0])
    code = f"import importlib.metadata, {', '.join(imports)}; print(importlib.metadata.version({name!r}))"
    environment = {**os.environ, "PYTHONPATH": path} if path else None
    done = subprocess.run(
        [python, "-P", "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else "it cannot be imported"
    return done.stdout.strip(), ""


def _version(peer: Peer) -> tuple[str, str]:
    """Its version, or why it cannot be used."""
    if peer.module == "erlang":
        code = 'io:format("~s", [erlang:system_info(otp_release)]), halt().'
        command = ["erl", "-noshell", "-eval", code]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
        return (f"OTP {done.stdout}", "") if done.returncode == 0 else ("", "erl does not run")
    if not peer.imports:
        return "", ""
    assert peer.python is not None
    try:
        return _probe(peer.python, peer.imports, peer.environment.get("PYTHONPATH", ""))
    except OSError as error:
        return "", f"{peer.python}: {error.strerror}"

