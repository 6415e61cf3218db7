"""Pages of the documentation taken apart: which programs they show, and what these must print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^(?P<indent> {0,3})(?P<marks>`{3,}|~{3,})\s*(?P<language>[^\s`]*)")
COMMENT = re.compile(r"^<!--\s*(?P<key>[a-z-]+):\s*(?P<value>.*?)\s*-->$")
DIRECTIVES = frozenset({"file", "change", "terminal", "status", "run-together", "run-services", "output-of"})


@dataclass(frozen=True)
class Piece:
    """What matters of a page: a fenced block, or a comment that directs this harness, or other text (kind "prose")."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Example:
    """Programs that run together, and what those named in `expected` must print.

    Attributes:
      place: where the page says so.
      programs: the files, each with its arguments behind it.
      files: all files of the page up to there.
      expected: by program, what it must print.
      services: whether all programs but the last run for ever.
    """

    place: str
    programs: tuple[str, ...]
    files: Mapping[str, str]
    expected: Mapping[str, str] = field(default_factory=dict)
    services: bool = False


def pieces_of(text: str) -> Iterator[Piece]:
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if fence := FENCE.match(line):
            close = re.compile(rf"^ {{0,3}}{re.escape(fence['marks'][0])}{{{len(fence['marks'])},}}\s*$")
            body: list[str] = []
            for _, inner in lines:
                if close.match(inner):
                    break
                body.append(inner.removeprefix(fence["indent"]) + "\n")
            yield Piece(fence["language"] or "prose", "".join(body), number)
        elif (comment := COMMENT.match(line.strip())) and comment["key"] in DIRECTIVES:
            yield Piece(comment["key"], comment["value"], number)
        elif line.strip():
            yield Piece("prose", line, number)


def examples_of(name: str, text: str) -> list[Example]:
    """The examples of a page, in order."""
    examples: list[Example] = []
    files: dict[str, str] = {}
    before = Piece("prose", "", 0)
    runs: int | None = None  # where in `examples` the last run-together stands
    for piece in pieces_of(text):
        place = f"{name}:{piece.line}"
        if piece.kind == "python" and before.kind == "file":
            files = {**files, before.text: piece.text}
        elif piece.kind == "python":
            examples.append(Example(place, ("program.py",), {"program.py": piece.text}))
        elif piece.kind == "run-together":
            runs = len(examples)
            examples.append(Example(place, tuple(piece.text.split()), files))
        elif piece.kind == "run-services":
            programs = tuple(program.strip() for program in piece.text.split(","))
            examples.append(Example(place, programs, files, services=True))
        elif piece.kind == "text" and before.kind == "output-of":
            if runs is None:
                raise ValueError(f"{place}: output of a program that has not run")
            examples[runs] = expecting(examples[runs], before.text, piece)
        elif piece.kind == "text" and before.kind in ("python", "run-together", "run-services") and examples:
            examples[-1] = expecting(examples[-1], examples[-1].programs[-1], piece)
        before = piece
    for example in examples:
        if missing := {program.split()[0] for program in example.programs} - set(example.files):
            raise ValueError(f"{example.place}: no block is the file {', '.join(sorted(missing))}")
    return examples


def expecting(example: Example, program: str, output: Piece) -> Example:
    if program not in example.programs:
        raise ValueError(f"line {output.line}: {program} is not one of {example.programs}")
    return replace(example, expected={**example.expected, program: output.text})


def files_of(page: str) -> Mapping[str, str]:
    """The files that a page shows, such as those of `docs/chat.md`, for tests that run them in ways of their own."""
    return examples_of(page, (ROOT / page).read_text(encoding="utf-8"))[-1].files
