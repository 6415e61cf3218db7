"""Each page of the documentation is of one kind, and `docs/index.md` lists it with others of that kind."""

from __future__ import annotations

import pytest
from doc_pages import ROOT
from page_kinds import INDEX, KINDS, kind_of, listed, wrong_kinds


def test_each_page_has_a_kind_and_is_listed_under_its_caption() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    assert list(wrong_kinds(pages)) == []
    assert {caption for _, caption in listed(pages[INDEX])} == {kind.caption for kind in KINDS.values()}


LIST = "# Pages\n\n```{toctree}\n:caption: How-to\n:maxdepth: 1\n\nfirst\n```\n"
FIRST = "---\nkind: how-to\n---\n\n# First\n"


def test_a_page_in_its_place_is_right() -> None:
    assert kind_of(FIRST) == "how-to"
    assert list(wrong_kinds({"index.md": LIST, "first.md": FIRST})) == []


@pytest.mark.parametrize(
    "index, first, said",
    [
        (LIST, "# First\n", "first.md: expected front matter with `kind:` tutorial, how-to"),
        (LIST, "# First\n\n---\nkind: how-to\n---\n", "got None"),
        (LIST, FIRST.replace("how-to", "story"), "got story"),
        (LIST, FIRST.replace("how-to", "reference"), "index.md: expected first.md once, under Reference"),
        (LIST.replace("How-to", "Explanation"), FIRST, "under How-to, got ['Explanation']"),
        (LIST.replace(":caption: How-to\n", ""), FIRST, "under How-to, got ['']"),
        (LIST.replace("first", ""), FIRST, "under How-to, got []"),
        (LIST + LIST, FIRST, "under How-to, got ['How-to', 'How-to']"),
        (LIST.replace("first", "first\nsecond"), FIRST, "expected a page, got second.md, which does not exist"),
    ],
)
def test_a_wrong_kind_is_found(index: str, first: str, said: str) -> None:
    (found,) = wrong_kinds({"index.md": index, "first.md": first})
    assert said in found
