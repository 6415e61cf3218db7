"""Fuzzing one target: start the process, read its output, keep the inputs that matter.

The corpus is minimised: it holds the few inputs that cover as much as all that were tried. Crashes are kept beside
them. `tests/protocol/wire/test_corpus.py` fails until they are mended; then they stay as regression tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .seeds import LENGTHS, USUAL_LENGTH, WORDS, seeds

CORPUS = Path(__file__).resolve().parents[1] / "corpus"

LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-report_slow_units=5")
"""The limits of an input, in seconds and MiB. An input that exceeds them counts as a crash."""

_STATUS = re.compile(r"#(\d+)\s+(\S+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+ .*?exec/s: (\d+)")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_SPEED = re.compile(r"stat::average_exec_per_sec:\s*(\d+)")


@dataclass(slots=True)
class Progress:
    """The progress of a target.

    Attributes:
      target: its name.
      state: its state, in a word.
      executions, speed: how often it was called, and how often in a second.
      coverage, features: the branches that were reached, and these with how often each was, as libFuzzer counts them.
      kept: the number of files in its corpus.
      crashes: the files of the inputs that have broken it in this run.
      output: the end of the process's output, if it has failed.
    """

    target: str
    state: str = "waiting"
    executions: int = 0
    speed: int = 0
    coverage: int = 0
    features: int = 0
    kept: int = 0
    crashes: tuple[Path, ...] = ()
    output: str = ""

    def read(self, line: str) -> None:
        """Read the figures in a line of libFuzzer's output."""
        if found := _STATUS.search(line):
            self.executions, self.coverage, self.features, self.kept, self.speed = (
                int(found[index]) for index in (1, 3, 4, 5, 6)
            )
        elif found := _EXECUTED.search(line):
            self.executions = int(found[1])
        elif found := _SPEED.search(line):
            self.speed = int(found[1])


def kept_inputs(target: str, corpus: Path = CORPUS) -> list[Path]:
    """Return all files of a target's corpus, including crashes."""
    folder = corpus / target
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def fuzz(progress: Progress, seconds: int) -> None:
    """Fuzz a target for so many seconds, then minimise its corpus. `progress` is kept up to date meanwhile."""
    kept = CORPUS / progress.target
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trio_mp-fuzz-") as folder:
        work = Path(folder)
        inputs = [work / name for name in ("found", "before", "seeds")]
        for path in (*inputs, work / "broken", work / "merged"):
            path.mkdir()
        _write_inputs(progress.target, inputs[1], inputs[2])
        (work / "words").write_text("".join(f'"{_quoted(word)}"\n' for word in WORDS))
        progress.state = "fuzzing"
        options = (f"-max_total_time={seconds}", f"-dict={work}/words", "-print_final_stats=1")
        _run(progress, work, (*options, *map(str, inputs)))
        progress.crashes = _keep_crashes(work / "broken", kept)
        progress.state = "merging"
        _run(progress, work, ("-set_cover_merge=1", str(work / "merged"), *map(str, inputs)))
        _replace(kept, work / "merged")
    progress.kept = len(kept_inputs(progress.target))
    progress.state = "broken" if progress.crashes else "done"


def _write_inputs(target: str, before: Path, new: Path) -> None:
    for path in kept_inputs(target):
        if not path.name.startswith("crash-"):
            shutil.copy(path, before)
    for index, seed in enumerate(seeds(target)):
        (new / str(index)).write_bytes(seed)


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _run(progress: Progress, work: Path, arguments: tuple[str, ...]) -> None:
    """Run a child to its end, and read its output."""
    script = work / "child"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fuzzing.child {progress.target} "$0" "$@"\n')
    script.chmod(0o700)
    length = f"-max_len={LENGTHS.get(progress.target, USUAL_LENGTH)}"
    tail: list[str] = []
    with subprocess.Popen(
        [str(script), length, f"-artifact_prefix={work}/broken/", *LIMITS, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            progress.read(line)
            if not line.startswith(("#", "INFO:", "WARNING:")):
                tail = [*tail[-40:], line]
    if process.returncode:
        progress.output += "".join(tail)


def _keep_crashes(broken: Path, kept: Path) -> tuple[Path, ...]:
    """Keep the inputs that broke the target, took too long or took too much memory."""
    crashes: list[Path] = []
    for path in sorted(broken.iterdir()):
        if path.name.startswith("slow-unit-"):
            continue
        name = path.name if path.name.startswith("crash-") else f"crash-{path.name}"
        crashes.append(Path(shutil.move(path, kept / name)))
    return tuple(crashes)


def _replace(kept: Path, merged: Path) -> None:
    """Replace the kept inputs, except crashes, by the merged ones. Does nothing if merging has failed."""
    fresh = {path.name: path for path in merged.iterdir()}
    if not fresh:
        return
    for path in kept.iterdir():
        if path.name not in fresh and not path.name.startswith("crash-"):
            path.unlink()
    for name, path in fresh.items():
        shutil.copy(path, kept / name)
