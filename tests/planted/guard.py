"""The plugin of pytest in a trial: it checks that the tests test the broken copy, and reports the first failure."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import trio_mp

COPY = "TRIO_MP_PLANTED_COPY"
"""The environment variable that names the directory of the copy."""

REPORT = "first_failure.json"
"""The file beside the copy that reports the first failure."""

_ERROR = re.compile(r"[\w.]*(?:Error|Exception|Died|Cancelled|Failed)(?::|$)")


def pytest_configure() -> None:
    copy = Path(os.environ[COPY]).resolve()
    found = Path(trio_mp.__file__).resolve()
    if not found.is_relative_to(copy):
        raise pytest.UsageError(f"{found} is tested, and not the copy in {copy}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path = Path(os.environ[COPY], REPORT)
    if not report.failed or path.exists():
        return
    # pytest marks the lines of errors by E, but draws lines around the errors of a group.
    lines = [line.strip(" |+-") for line in report.longreprtext.splitlines()]
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    said = [line for line in marked or lines if _ERROR.match(line)] or marked or lines or [""]
    first = {"test": report.nodeid, "timeout": "Timeout (>" in report.longreprtext, "why": said[0]}
    path.write_text(json.dumps(first), encoding="utf-8")
