"""Run one peer once. argv: its name, a task as JSON, and what its second process needs."""

from __future__ import annotations

import importlib
import json
import signal
import sys

from benchmarks.peers.common import TIMEOUT, Task


def main() -> None:
    """Print the figure, if this process has one."""
    signal.alarm(TIMEOUT)
    name, task, *arguments = sys.argv[1:]
    # By name, so that what the module holds is not called `__main__`: some libraries import it again elsewhere.
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    figure = peer.main(Task(**json.loads(task)), *arguments)
    if figure is not None:
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
