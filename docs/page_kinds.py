"""The kind of each page: in its front matter, in the list of `index.md`, and in words for who reads it.

A page begins with front matter, which names its kind:

    ---
    kind: how-to
    ---

`index.md` lists it in the toctree with the caption of that kind. The four kinds are those of https://diataxis.fr.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of page.

    Attributes:
      caption: over the list of these pages in `index.md`.
      purpose: for who reads such a page.
    """

    caption: str
    purpose: str


KINDS = {
    "tutorial": Kind("Tutorial", "learn by doing, step by step"),
    "how-to": Kind("How-to", "the steps to one goal"),
    "reference": Kind("Reference", "the facts, to look up"),
    "explanation": Kind("Explanation", "how it works, and why"),
}

INDEX = "index.md"
"""The page that lists the others. It is of no kind."""

_FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
_TOCTREE = re.compile(r"^```\{toctree\}\n((?::[^\n]*\n)*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def kind_of(page: str) -> str | None:
    """The kind that the front matter of a page names, if it names one."""
    front = _FRONT_MATTER.match(page)
    named = re.search(r"^kind:[ ]*(\S+)[ ]*$", front[1], re.MULTILINE) if front else None
    return named[1] if named else None


def listed(index: str) -> Iterator[tuple[str, str]]:
    """The pages that the toctrees of `index.md` list, each with the caption over it."""
    for options, body in _TOCTREE.findall(index):
        caption = re.search(r"^:caption: (.*)$", options, re.MULTILINE)
        for page in body.split():
            yield f"{page}.md", caption[1] if caption else ""


def wrong_kinds(pages: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the kinds of these pages, by file name, and with the list of `index.md` among them."""
    captions: dict[str, list[str]] = {name: [] for name in pages}
    for name, caption in listed(pages[INDEX]):
        if name not in pages:
            yield f"{INDEX}: expected a page, got {name}, which does not exist"
        else:
            captions[name].append(caption)
    for name, page in pages.items():
        if name == INDEX:
            continue
        kind = kind_of(page)
        if kind not in KINDS:
            yield f"{name}: expected front matter with `kind:` {', '.join(KINDS)}, got {kind}"
        elif captions[name] != [KINDS[kind].caption]:
            yield f"{INDEX}: expected {name} once, under {KINDS[kind].caption}, got {captions[name]}"
