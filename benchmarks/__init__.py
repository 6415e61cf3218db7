"""The benchmark suite: `python -m benchmarks`, or `nox -s bench`."""

from __future__ import annotations

import os

# A figure shall not depend on what the user has configured for other programs.
os.environ["TRIO_MP_CONFIG"] = os.devnull
