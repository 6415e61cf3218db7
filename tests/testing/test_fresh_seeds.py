"""The seeds that each commit gets of its own, and the line about them."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures.process import BrokenProcessPool
from itertools import count, islice
from pathlib import Path

import pytest
from explorer.variants import NeverReports
from fresh_seeds import BLOCK, LINE, PACKAGE, digest_of, first_seed, hammer, line_of, main, source_of
from odd_seeds import fails_if_odd
from tally import lines_in

from trio_mp._peers import peer
from trio_mp.testing._hammer import results_of


def make_checkout(folder: Path) -> Path:
    """A repository with a package of one module."""
    package = folder / "trio_mp"
    package.mkdir(parents=True)
    (package / "module.py").write_text("one = 1\n")
    (folder / "README.md").write_text("text\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    commit(folder)
    return package


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "commit", "--quiet", "--message", "text", "--allow-empty")


def test_a_commit_has_seeds_of_its_own_and_keeps_them(tmp_path: Path) -> None:
    package = make_checkout(tmp_path)
    one = source_of(package, tmp_path)
    assert one == f"commit {git(tmp_path, 'rev-parse', 'HEAD')}"
    assert source_of(package, tmp_path) == one
    commit(tmp_path)
    assert source_of(package, tmp_path) != one


def test_a_package_that_is_not_that_of_the_commit_has_seeds_of_its_content(tmp_path: Path) -> None:
    package = make_checkout(tmp_path / "checkout")
    checkout = package.parent
    (checkout / "README.md").write_text("another text\n")
    assert source_of(package, checkout).startswith("commit ")
    (package / "more.py").write_text("two = 2\n")
    dirty = source_of(package, checkout)
    assert dirty == f"content {digest_of(package)}"
    (package / "more.py").write_text("two = 3\n")
    assert source_of(package, checkout) != dirty
    # What runs is another package than the one that is checked out.
    (package / "more.py").unlink()
    other = make_checkout(tmp_path / "other")
    (other / "module.py").write_text("one = 2\n")
    assert source_of(other, checkout) == f"content {digest_of(other)}"


def test_without_git_the_content_of_the_package_counts(tmp_path: Path) -> None:
    assert source_of(PACKAGE, tmp_path) == f"content {digest_of(PACKAGE)}"
    assert source_of(PACKAGE, tmp_path) == source_of(PACKAGE, tmp_path)


def test_a_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    one = digest_of(tmp_path)
    (tmp_path / "a.pyc").write_text("2")
    assert digest_of(tmp_path) == one
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert digest_of(tmp_path) != one


def test_blocks_of_seeds_do_not_overlap() -> None:
    firsts = [first_seed(f"commit {number:040x}") for number in range(2000)]
    assert all(first % BLOCK == 0 and BLOCK <= first < 10**15 for first in firsts)
    assert len(set(firsts)) == len(firsts)


def test_seeds_are_run_and_a_line_is_made_of_them(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    summary = hammer([7, 8], 1)
    (line,) = lines_in(line_of("commit 1", 7, summary))
    assert (line[LINE], line["source"], line["first"], line["seeds"], line["failed"]) == (1, "commit 1", 7, 2, [])
    assert 0.15 < line["hours"] < 0.25
    assert (line["messages"], line["faults"]) == (summary.sent, summary.faults.total())
    assert summary.sent > 600
    assert capsys.readouterr() == ("", "")


def test_a_seed_that_fails_is_shown_and_stands_in_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peer, "Association", NeverReports)
    line = json.loads(line_of("commit 1", 0, hammer([0], 1)))
    assert line["failed"] == [0]
    output = capsys.readouterr()
    assert output.out == ""
    assert "✗ seed 0" in output.err
    assert "python -m trio_mp.testing replay 0" in output.err


def test_the_program_prints_one_line_and_fails_for_no_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peer, "Association", NeverReports)
    assert main(["--minutes", "0.005", "--jobs", "1"]) == 0
    output = capsys.readouterr()
    (line,) = map(json.loads, output.out.splitlines())
    assert line["seeds"] >= 1
    assert line["source"].split()[0] in {"commit", "content"}
    assert line["first"] == first_seed(line["source"])
    assert "violations" in output.err


def test_seeds_may_be_endless(caplog: pytest.LogCaptureFixture) -> None:
    seeds = count()
    with results_of(seeds, 2, fails_if_odd) as results:
        found = list(islice(results, 30))
    assert len({result.seed for result in found}) == 30
    assert all(bool(result.violation) is bool(result.seed % 2) for result in found)
    # A few are ahead: those that run, and the next ones.
    assert next(seeds) <= 30 + 4


def test_the_hammer_fails_if_one_of_its_processes_dies() -> None:
    with pytest.raises(BrokenProcessPool), results_of([1, 2, 3], 2, os._exit) as results:
        list(results)
