"""A network of `membership_model` whose nodes know a directory alone, with what the runtime does there."""

from __future__ import annotations

from typing import Any

from membership_model import Network, Process, Way

from trio_mp._protocol.membership.written import OLD, WrittenRun, is_needed, is_one_too_many, may_part


class DirectoryProcess(Process):
    """A run of a node whose only seed is a directory.

    Attributes:
      stage: `looking`, `needed` (it waits before it writes itself), `writing` (it looks once more), or `a seed`. One
        that drains may also be `parting` (it has removed its file, and looks once more), or `parted`.
      may_drain: whether it may begin to drain.
      drains: whether it drains.
      failed: whom it could not reach where the files say.
    """

    def __init__(self, node_id: str, *, may_drain: bool) -> None:
        # With some seed, because a node without any is global; none of its ways leads there.
        super().__init__(node_id, frozenset({"the directory"}), deaf=False)
        self.ways = {}
        self.stage = "looking"
        self.may_drain, self.drains = may_drain, False
        self.failed: set[str] = set()

    def key(self) -> object:
        return self.stage, frozenset(self.failed), self.drains

    def uses(self, other: str) -> bool:
        """See `MembershipService._judge`."""
        rules = self.rules
        return other in (rules.mesh if rules.is_global else rules.globals if rules.anchor is not None else ())


class DirectoryNetwork(Network):
    """Processes that know a directory alone.

    Attributes:
      written: the nodes that have a file there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written: set[str] = set()

    def key(self) -> object:
        return frozenset(self.written)

    def start_unwritten(self, node_id: str, *, may_drain: bool = False) -> None:
        self.processes[node_id] = DirectoryProcess(node_id, may_drain=may_drain)

    def events(self) -> list[tuple[Any, ...]]:
        found = super().events()
        for process in self.processes.values():
            assert isinstance(process, DirectoryProcess)
            others = self.others(process)
            known = {way.target for way in process.ways.values() if way.seed}
            if self.written - known - {process.node_id}:
                found.append((self.read, process))
            for other in known:
                way = process.ways[f"file {other}"]
                if not self.can_dial(process.node_id, other) and process.wants(way) and other not in process.wires:
                    if other not in self.written:
                        found.append((self.forget, process, other))
                    elif other not in process.failed:
                        found.append((self.fail, process, other))
            found += [(self.remove, other.run) for other in others if other.is_dead]
            if process.may_drain and not process.drains:
                found.append((self.drain, process))
            step = self.next_stage(process, others)
            if step is not None:
                found.append((self.advance, process))
        return found

    def others(self, process: DirectoryProcess) -> list[WrittenRun]:
        return [
            WrittenRun(
                other,
                # A file becomes old only when nobody renews it. That takes long, so all else happens before.
                age=0.0 if other in self.processes else OLD + 1,
                in_use=process.uses(other),
                failed=other in process.failed,
            )
            for other in sorted(self.written - {process.node_id})
        ]

    def next_stage(self, process: DirectoryProcess, others: list[WrittenRun]) -> str | None:
        """See `SeedDirectory.look`."""
        needed = is_needed(others, drains=process.drains)
        if process.drains and process.stage in ("a seed", "parting", "parted"):
            return self.next_stage_of_parting(process, others)
        match process.stage:
            case "looking":
                return "needed" if needed else None
            case "needed":
                return "writing" if needed else "looking"
            case "writing":
                return "looking" if is_one_too_many(WrittenRun(process.node_id), others) else "a seed"
            case _:
                return "a seed" if needed and process.node_id not in self.written else None

    def next_stage_of_parting(self, process: DirectoryProcess, others: list[WrittenRun]) -> str | None:
        """See `SeedDirectory._part`."""
        match process.stage:
            case "a seed" if may_part(others):
                return "parting" if process.node_id in self.written else "parted"
            case "a seed":
                return "a seed" if process.node_id not in self.written else None
            case "parting":
                return "parted" if may_part(others) else "a seed"
            case _:
                return None if may_part(others) else "a seed"

    def drain(self, process: DirectoryProcess) -> None:
        process.drains = True

    def advance(self, process: DirectoryProcess) -> None:
        before, stage = process.stage, self.next_stage(process, self.others(process))
        assert stage is not None
        process.stage = stage
        if stage == "parting":
            self.written.discard(process.node_id)
        elif stage == "writing" or (stage == "a seed" and before in ("a seed", "parting", "parted")):
            self.written.add(process.node_id)
        elif before == "writing" and stage == "looking":
            self.written.discard(process.node_id)
        elif stage == "a seed":
            process.do(process.rules.became_seed())

    def read(self, process: DirectoryProcess) -> None:
        for other in self.written - {process.node_id}:
            process.ways.setdefault(f"file {other}", Way(other, seed=True, node_id=other))

    def fail(self, process: DirectoryProcess, other: str) -> None:
        process.failed.add(other)

    def forget(self, process: DirectoryProcess, other: str) -> None:
        del process.ways[f"file {other}"]
        process.failed.discard(other)

    def remove(self, other: str) -> None:
        self.written.discard(other)

    def connect(self, one: str, other: str) -> None:
        super().connect(one, other)
        for name, to in ((one, other), (other, one)):
            process = self.processes[name]
            assert isinstance(process, DirectoryProcess)
            process.failed.discard(to)

    def check(self) -> None:
        super().check()
        globals_ = {node_id for node_id, process in self.processes.items() if process.rules.is_global}
        assert globals_ or not self.processes, "nobody is global"
        for node_id in globals_:
            assert self.processes[node_id].rules.mesh.keys() == globals_ - {node_id}, "it is no one network"
        for node_id, process in self.processes.items():
            assert node_id in globals_ or process.rules.anchor in globals_, f"{node_id} is outside"
        assert self.written <= globals_ or not self.processes, "a dead one, or one that is no seed, is written"
        assert self.written or not self.processes, "whoever comes now finds nobody, and begins a network of its own"
