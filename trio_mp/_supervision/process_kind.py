"""Children that are processes of this machine, each with a node of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from .._reason import Reason
from .._runtime import Runtime
from .child import EndOfLife
from .processes import RESTART_STATUS, ChildProcess, StrPath, launch


class ProcessLife:
    """A process; see `Life`.

    Args:
      process: it.
      value, shutdown_timeout: see `Life`.
      drains: whether it drains when it is stopped.
    """

    def __init__(self, process: ChildProcess, value: object, shutdown_timeout: float, *, drains: bool = False) -> None:
        self.port = process.port
        self.value = value
        self.shutdown_timeout = shutdown_timeout
        self._process = process
        self._drains = drains

    def stop(self, limit: float | None) -> None:
        """See `Life.stop`. After the limit the process is killed."""
        self._process.stop(limit, drains=self._drains)


class ProcessKind:
    """A child whose lives are processes; see `Kind`.

    Args:
      runtime: the node beside which they run.
      command, cwd, env, start_timeout: see `launch`.
      drains: whether the process drains when it is stopped, by its `stop_on_signals`.

    Attributes:
      process: the latest process; None before the first one is ready.
    """

    def __init__(
        self,
        runtime: Runtime,
        command: Sequence[str],
        cwd: StrPath | None,
        env: Mapping[str, str] | None,
        start_timeout: float | None,
        *,
        drains: bool = False,
    ) -> None:
        self.process: ChildProcess | None = None
        self._drains = drains
        self._runtime = runtime
        self._command = command
        self._cwd = cwd
        self._env = env
        self._start_timeout = start_timeout

    async def begin(self, epoch: int, ended: EndOfLife) -> ProcessLife:
        """See `Kind.begin`."""
        self.process = process = await launch(
            self._runtime,
            self._command,
            cwd=self._cwd,
            env=self._env,
            start_timeout=self._start_timeout,
            epoch=epoch,
        )

        def tell(reason: Reason) -> None:
            if process.returncode == RESTART_STATUS:
                ended.asks_again()
            ended(reason, None)

        process.on_lost = ended.lost
        process.on_ended = tell
        timeout = self._runtime.settings.shutdown_timeout
        return ProcessLife(process, process.node_id, timeout, drains=self._drains)


def name_of_command(command: Sequence[str]) -> str:
    """The name of a process that runs this command: its module, its script, or its program."""
    for before, word in pairwise(command):
        if before == "-m":
            return word
    scripts = [word for word in command[1:] if word.endswith(".py")]
    return Path(scripts[0] if scripts else command[0]).stem
