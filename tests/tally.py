"""Add up the lines that `fresh_seeds.py` has printed, and put the sums into the pages.

python tests/tally.py [FILE …]

Lines are looked for in logs of CI, of which the files may be any part, or in stdin where no file is named. Each is kept
once in docs/tally.json: a second line about the same seeds replaces the first one only if it is about more of them.
Then the parts of README and docs/proof.md between `begin: fresh-seeds` and `end: fresh-seeds` are written anew; a test
compares them with the file.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from fresh_seeds import LINE

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "tally.json"
PAGES = {
    ROOT / "README.md": "https://trio-mp.readthedocs.io/en/latest/proof.html",
    ROOT / "docs" / "proof.md": "",
}
"""The pages that show the sums. Behind each is where its sentence leads the reader, if anywhere."""

FIELDS: dict[str, type | tuple[type, ...]] = {
    LINE: int,
    "source": str,
    "first": int,
    "seeds": int,
    "hours": (int, float),
    "messages": int,
    "monitors": int,
    "faults": int,
    "failed": list,
    "hammer": str,
    "version": str,
    "python": str,
}
"""What a line has, and of which types."""

_LINE = re.compile(rf'\{{\s*"{LINE}"\s*:')
_MARKS = re.compile(r"(<!-- begin: fresh-seeds -->\n).*?(<!-- end: fresh-seeds -->)", re.DOTALL)

Line: TypeAlias = dict[str, Any]


def lines_in(text: str) -> Iterator[Line]:
    """The lines in a log. What a CI writes before and behind them, such as times, is left out.

    Raises:
      ValueError: something looks like such a line, and is none.
    """
    for found in _LINE.finditer(text):
        line, _ = json.JSONDecoder().raw_decode(text, found.start())
        yield checked(line)


def checked(line: Line) -> Line:
    """Return a line if it is one. Raises `ValueError` if it is none, or of another version."""
    if line[LINE] != 1:
        raise ValueError(f"expected a line of version 1, got version {line[LINE]!r}: update the checkout")
    fits = {name: isinstance(line.get(name), kind) for name, kind in FIELDS.items()}
    wrong = [name for name, is_right in fits.items() if not is_right or isinstance(line[name], bool)]
    if wrong or line.keys() != FIELDS.keys():
        expected = f"expected a line with the fields {', '.join(FIELDS)}"
        raise ValueError(f"{expected}, got {json.dumps(line)[:200]}")
    return line


def merged(kept: Iterable[Line], more: Iterable[Line]) -> list[Line]:
    """All lines, each once, in the order of their seeds: the same whatever order they came in."""
    best: dict[tuple[str, int], Line] = {}
    for line in (*kept, *more):
        key = line["source"], line["first"]
        if key not in best or (line["seeds"], json.dumps(line)) > (best[key]["seeds"], json.dumps(best[key])):
            best[key] = line
    return sorted(best.values(), key=lambda line: (line["first"], line["source"]))


def read_kept(text: str) -> list[Line]:
    """The lines of docs/tally.json."""
    return [checked(line) for line in json.loads(text)]


def write_kept(lines: list[Line]) -> str:
    """The text of docs/tally.json: one line a line, so that two changes seldom meet."""
    return "[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n"


def sentence(lines: list[Line], leads_to: str) -> str:
    """What a page says of all lines. A seed that failed counts, whether the package was wrong or the hammer."""
    sums = {name: sum(line[name] for line in lines) for name in ("seeds", "hours", "messages", "faults")}
    failed = sum(len(line["failed"]) for line in lines)
    states = len({line["source"] for line in lines})
    kept = {0: "No seed failed.", 1: "One seed failed, and is a test now."}
    verdict = kept.get(failed, f"{failed:,} seeds failed, and are tests now.")
    text = (
        "Every commit is tried in simulated networks with seeds that no other commit has had. So far these are"
        f" **{sums['seeds']:,} seeds** on {states:,} state{'s' * (states != 1)} of the source, with"
        f" {sums['hours']:,.0f} simulated hours, {sums['messages']:,} messages and {sums['faults']:,} faults."
        f" {verdict}"
    )
    return f"{text} See [how the promise is tested]({leads_to})." if leads_to else text


def fill(page: str, lines: list[Line], leads_to: str) -> str:
    """Put the sentence into a page. Raises `ValueError` if the page has no place for it."""
    lines_of_text = textwrap.fill(sentence(lines, leads_to), 100, break_long_words=False, break_on_hyphens=False)
    filled, count = _MARKS.subn(lambda found: f"{found[1]}{lines_of_text}\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"expected one place between marks of fresh-seeds, got {count}")
    return filled


def main(arguments: list[str]) -> int:
    """Add the lines in files, or in stdin; returns the exit status."""
    texts = [Path(name).read_text(encoding="utf-8", errors="replace") for name in arguments] or [sys.stdin.read()]
    kept = read_kept(KEPT.read_text(encoding="utf-8"))
    more = [line for text in texts for line in lines_in(text)]
    lines = merged(kept, more)
    KEPT.write_text(write_kept(lines), encoding="utf-8")
    for page, leads_to in PAGES.items():
        page.write_text(fill(page.read_text(encoding="utf-8"), lines, leads_to), encoding="utf-8")
    print(f"lines found: {len(more):,}, new: {len(lines) - len(kept):,}, kept: {len(lines):,}")
    for line in lines:
        if line["failed"] and line not in kept:
            seeds = ", ".join(map(str, line["failed"]))
            print(f"{line['source']}, hammer {line['hammer']}: {seeds} failed: see CONTRIBUTING.md, A seed that fails")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
