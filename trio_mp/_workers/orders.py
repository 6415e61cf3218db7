"""The order that a worker process gets when it is launched."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

HEARTBEAT = 60.0
"""How often the connection says that its nodes are alive, in seconds: the longest that is allowed. The end of the
process and of its socket tells of its death, and a healthy function may hold the interpreter lock for minutes."""

CONNECT_TIMEOUT = 200.0
"""The `connect_timeout` of both nodes, in seconds: it must be more than three heartbeats."""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """The order of a worker. It travels on the command line, so it holds no secret.

    Attributes:
      name: the name of the worker, and the ID of its node.
      pool: the ID of the port to which it sends its answers.
      modules: the modules whose functions it runs.
      main: how it finds the main program of its parent, if that is one of the modules.
      board: the path of its board.
      path: the value of `sys.path` by which it finds modules.
    """

    name: str
    pool: str
    modules: list[str]
    main: list[str] | None
    board: str
    path: list[str]


_START = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
from trio_mp._node.worker import main
main(order)
"""


def command_for(order: WorkerOrder) -> list[str]:
    """Make the command of a worker process. The worker finds this package where this process does."""
    return [sys.executable, "-c", _START, json.dumps(asdict(order))]
