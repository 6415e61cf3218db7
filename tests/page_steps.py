"""Pages of the documentation taken apart into the steps that their reader does, which `page_follower.py` does.

What a page can say:

- `<!-- file: NAME -->`, and a block below it: the block is written to the file.
- `<!-- change: NAME -->`, and a `diff` block below it: the file is changed. The lines of the block that begin with a
  space or a minus stand in the file, once, and those with a plus come there. A line `@@` divides two such changes.
- A `console` block is a terminal. `$ ` precedes a command, `> ` a line that is typed into the program that runs there;
  `^C` and `^D` are those keys, which end the program; any other line is printed. `<!-- terminal: NAME -->` before the
  block says which terminal it is. A command of a terminal without a name ends before the page goes on; in one with a
  name it may run on.
- `<!-- status: N -->` before the block is the exit status of its program, if it is not 0.
- `…` in a terminal stands for lines that are left out, up to the next one that the page shows.

The text above such a block must name the file or the terminal, because a reader does not see these comments.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from doc_pages import ROOT, pieces_of

KEYS = ("^C", "^D")
LEFT_OUT = "…"


class PageError(Exception):
    """A page says something else than what happens. The text begins with the place on the page."""


@dataclass
class Step:
    """One thing that a page says.

    Attributes:
      place: the page and the line.
      kind: `file`, `change`, `command`, `type`, `key` or `look`, which only compares.
      text: the content of the file, the change, the command, the line or the key.
      name: of the file, or of the terminal; the terminal where commands end has none.
      status: the exit status of a program that ends in this block.
      lines: what is printed next in the terminal.
    """

    place: str
    kind: str
    text: str
    name: str = ""
    status: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words of a command."""
        return shlex.split(self.text)


def steps_of(page: str, text: str) -> Iterator[Step]:
    """What a page says, in order.

    Raises:
      PageError: the text does not say the name of a file or of a terminal, or a block has nothing to do.
    """
    said: dict[str, str] = {}
    prose = ""
    for piece in pieces_of(text):
        place = f"{page}:{piece.line}"
        if piece.kind == "prose":
            prose += piece.text + "\n"
            said = {}
            continue
        if piece.kind in ("file", "change", "terminal", "status"):
            said[piece.kind] = piece.text
            continue
        for kind in ("file", "change", "terminal"):
            if kind in said and f"`{said[kind]}`" not in prose:
                raise PageError(f"{place}: expected the name `{said[kind]}` of the {kind} in the text above the block")
        if "file" in said:
            yield Step(place, "file", piece.text, said["file"])
        elif "change" in said:
            if piece.kind != "diff":
                raise PageError(f"{place}: expected a block diff behind a change, got {piece.kind}")
            yield Step(place, "change", piece.text, said["change"])
        elif piece.kind == "console":
            yield from _steps_of_terminal(place, piece.text, said)
        said, prose = {}, ""


def _steps_of_terminal(place: str, text: str, said: dict[str, str]) -> list[Step]:
    name, status = said.get("terminal", ""), int(said.get("status", "0"))
    steps: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(place, "command", line[2:], name))
        elif line.startswith("> "):
            steps.append(Step(place, "type", line[2:], name))
        elif line in KEYS:
            steps.append(Step(place, "key", line, name))
        else:
            if not steps:
                steps.append(Step(place, "look", "", name))
            steps[-1].lines.append(line)
    if not steps:
        raise PageError(f"{place}: expected a command or a line in the block, got none")
    if not name and any(step.kind != "command" for step in steps):
        raise PageError(f"{place}: expected the name of the terminal, because its program runs on")
    steps[-1].status = status
    return steps


def changed(text: str, change: str) -> str:
    """A text with the changes of a `diff` block.

    Raises:
      ValueError: what is to be changed does not stand there, or more than once.
    """
    for hunk in re.split(r"^@@.*\n", change, flags=re.MULTILINE):
        lines = [line or " " for line in hunk.splitlines()]
        if not lines:
            continue
        if wrong := [line for line in lines if line[0] not in " +-"]:
            raise ValueError(f"expected lines that begin with a space, a plus or a minus, got {wrong[0]!r}")
        # At the beginning of a line, and to its end.
        old = "".join("\n" + line[1:].rstrip() for line in lines if line[0] in " -") + "\n"
        new = "".join("\n" + line[1:].rstrip() for line in lines if line[0] in " +") + "\n"
        if old == new:
            raise ValueError("expected a change, got lines that stay the same")
        if (count := ("\n" + text).count(old)) != 1:
            raise ValueError(f"expected these lines once in the file, got them {count} times:{old}")
        text = ("\n" + text).replace(old, new)[1:]
    return text


def requirements_of(pages: Sequence[str]) -> list[str]:
    """What the `pip install` lines of pages name."""
    steps = [step for page in pages for step in steps_of(page, (ROOT / page).read_text(encoding="utf-8"))]
    return [word for step in steps if step.kind == "command" and is_pip(step.words) for word in step.words[2:]]


def is_pip(words: Sequence[str]) -> bool:
    return list(words[:2]) == ["pip", "install"]


def check_requirement(requirement: str) -> None:
    """Check that this is the package, with extras that it has, and that all that it needs is installed.

    Raises:
      ValueError: it is not.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement)
    if found is None or found[1] != project["name"]:
        raise ValueError(f"expected the package {project['name']}, got {requirement!r}")
    extras = found[2].split(",") if found[2] else []
    for extra in extras:
        if extra not in project["optional-dependencies"]:
            raise ValueError(f"expected one of the extras {list(project['optional-dependencies'])}, got {extra!r}")
    for needed in metadata.requires(project["name"]) or []:
        about, _, marker = needed.partition(";")
        wanted = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if wanted is None or wanted[1] in extras:
            name = re.match(r"[\w.-]+", about)
            assert name is not None, needed
            try:
                metadata.version(name[0])
            except metadata.PackageNotFoundError:
                raise ValueError(f"expected {needed} to be installed, as pip would do") from None
