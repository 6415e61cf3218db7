"""The tally of fresh seeds: lines out of logs, each counted once, and the pages that show the sums."""

from __future__ import annotations

import itertools
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tally
from fresh_seeds import LINE, first_seed
from kept_seeds import KEPT as KEPT_SEEDS
from tally import KEPT, PAGES, ROOT, fill, lines_in, merged, read_kept, sentence, write_kept


def line(source: str = "commit a", count: int = 10, **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {
        LINE: 1,
        "source": source,
        "first": first_seed(source),
        "seeds": count,
        "hours": 100.0,
        "messages": 1000 * count,
        "monitors": 100 * count,
        "faults": 10 * count,
        "failed": [],
        "hammer": "0123456789abcdef",
        "version": "0.1.0",
        "python": "3.11.7",
    }
    return {**about, **more}


def test_the_pages_say_what_the_file_says() -> None:
    """If this fails: `python tests/tally.py </dev/null` writes the sentences anew."""
    lines = read_kept(KEPT.read_text(encoding="utf-8"))
    assert lines
    assert write_kept(merged(lines, [])) == KEPT.read_text(encoding="utf-8")
    assert all(one["first"] == first_seed(one["source"]) for one in lines)
    for page, leads_to in PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert fill(text, lines, leads_to) == text


def test_every_seed_that_has_failed_is_kept() -> None:
    """If this fails: see CONTRIBUTING.md, 'A seed that fails'."""
    failed = {seed for one in read_kept(KEPT.read_text(encoding="utf-8")) for seed in one["failed"]}
    assert failed <= {kept.seed for kept in KEPT_SEEDS}


def test_lines_are_found_in_what_a_ci_writes_around_them() -> None:
    one, other = line(), line("commit b", failed=[5, 6])
    log = (
        "checks\tCheck everything else\t2026-01-01T00:00:00.0000000Z nox > Running session fresh\n"
        f"checks\tCheck everything else\t2026-01-01T00:00:01.0000000Z {json.dumps(one)}\r\n"
        f'{{"other": 1}}\n\x1b[32m{json.dumps(other)}\x1b[0m\n{{"trio_mp_tally": '
    )
    assert list(lines_in(log.rpartition("{")[0])) == [one, other]
    with pytest.raises(ValueError, match="Expecting value"):
        list(lines_in(log))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({LINE: 2}, "expected a line of version 1, got version 2"),
        ({"seeds": "10"}, "expected a line with the fields"),
        ({"seeds": True}, "expected a line with the fields"),
        ({"failed": 1}, "expected a line with the fields"),
        ({"more": 1}, "expected a line with the fields"),
    ],
)
def test_what_is_no_such_line_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(lines_in(json.dumps(line(**wrong))))


def test_a_line_without_a_field_is_refused() -> None:
    short = line()
    del short["faults"]
    with pytest.raises(ValueError, match="expected a line with the fields"):
        list(lines_in(json.dumps(short)))


def test_a_commit_counts_once_with_the_run_of_most_seeds() -> None:
    few, many, other = line(count=10), line(count=20), line("content b", 5)
    for order in itertools.permutations([few, many, other, few]):
        lines = merged([], order)
        assert sorted(lines, key=lambda one: str(one["source"])) == [many, other]
        assert merged(lines, order) == lines
    assert read_kept(write_kept([many, other])) == [many, other]


def test_two_runs_of_as_many_seeds_are_one_whatever_the_order() -> None:
    one, other = line(python="3.11.7"), line(python="3.12.1")
    assert merged([one], [other]) == merged([other], [one])


def test_the_sentence() -> None:
    one = sentence([line(count=1200)], "")
    assert one == (
        "Every commit is tried in simulated networks with seeds that no other commit has had. So far these are"
        " **1,200 seeds** on 1 state of the source, with 100 simulated hours, 1,200,000 messages and 12,000 faults."
        " No seed failed."
    )
    assert "on 2 states of" in sentence([line(), line("commit b", failed=[1])], "")
    one_failed = sentence([line(failed=[1])], "x.md")
    assert "One seed failed, and is a test now. See [how the promise is tested](x.md)." in one_failed
    assert "2 seeds failed, and are tests now." in sentence([line(failed=[1, 2])], "")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one place between marks of fresh-seeds, got 0"):
        fill("text", [line()], "")


def test_the_program_adds_lines_of_files_and_writes_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "tally.json"
    page.write_text("before\n<!-- begin: fresh-seeds -->\n<!-- end: fresh-seeds -->\nbehind\n")
    kept.write_text("[]\n")
    monkeypatch.setattr(tally, "KEPT", kept)
    monkeypatch.setattr(tally, "PAGES", {page: ""})
    log = tmp_path / "log"
    log.write_text(f"text {json.dumps(line(failed=[7]))}\n")
    assert tally.main([str(log)]) == 0
    said = capsys.readouterr().out
    assert "lines found: 1, new: 1, kept: 1\n" in said
    assert "commit a, hammer 0123456789abcdef: 7 failed: see CONTRIBUTING.md, A seed that fails\n" in said
    shown = "\n".join(textwrap.wrap(sentence([line(failed=[7])], ""), 100))
    text = f"before\n<!-- begin: fresh-seeds -->\n{shown}\n<!-- end: fresh-seeds -->\nbehind\n"
    assert page.read_text() == text
    assert tally.main([str(log), str(log)]) == 0
    assert capsys.readouterr().out == "lines found: 2, new: 0, kept: 1\n"
    assert page.read_text() == text
    assert "\n### A seed that fails\n" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
