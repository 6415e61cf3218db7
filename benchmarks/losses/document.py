"""Puts what docs/losses.json says into docs/comparison.md.

python -m benchmarks.losses.document
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.losses.results import LossResults, read_losses
from benchmarks.losses.systems import CUT, KILLED, ROOT
from benchmarks.losses.table import markdown, setting

FIGURES, PAGE = ROOT / "docs" / "losses.json", ROOT / "docs" / "comparison.md"
MARKS = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def fill(page: str, results: LossResults) -> str:
    """Put the generated parts of the page between their marks."""
    parts = {
        "setting": setting(results),
        KILLED: markdown(results, KILLED),
        CUT: markdown(results, CUT),
    }
    return MARKS.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", page)


def main(figures: Path = FIGURES, page: Path = PAGE) -> None:
    """Write the generated parts anew."""
    page.write_text(fill(page.read_text(encoding="utf-8"), read_losses(figures)), encoding="utf-8")


if __name__ == "__main__":
    main()
