"""What a worker process is told when it is launched."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

HEARTBEAT = 60.0
"""How often the connection says that its nodes are alive, in seconds: the longest that there is. Death is noticed by
the end of the process and of its socket; and a function may hold the interpreter lock for minutes and be well."""

CONNECT_TIMEOUT = 200.0
"""More than three of these."""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """What a worker is told: nothing that is a secret, as it travels on the command line.

    Attributes:
      name: the worker's, and the ID of its node.
      pool: the port that it answers.
      modules: whose functions it runs.
      main: how it finds the main program of its parent, if that is one of them.
      board: the path of its board.
      path: where modules are searched for.
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
    """The command of a worker process. It finds this package where this process does."""
    return [sys.executable, "-c", _START, json.dumps(asdict(order))]
