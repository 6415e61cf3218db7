"""Run one role of one system. argv: the system's module, `sender` or `receiver`, and the plan as JSON."""

from __future__ import annotations

import importlib
import json
import signal
import sys

from benchmarks.losses.contract import TIMEOUT, Plan


def main() -> None:
    """Run it until it ends, or is killed. Nothing outlives the time limit."""
    signal.alarm(TIMEOUT)
    name, role, plan = sys.argv[1:]
    module = importlib.import_module(f"benchmarks.losses.programs.{name}")
    getattr(module, role)(Plan(**json.loads(plan)))


if __name__ == "__main__":
    main()
