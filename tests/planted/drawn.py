"""Plant faults that a mutation tool makes up: cosmic-ray lists all of them, and a seed draws some at random.

    PYTHONPATH=tests python -m planted.drawn --count 20 --seed 4

A fault that survives is equivalent to the code, and `explained` says why, or it shows a hole in the tests. This needs
cosmic-ray.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import random
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .explained import EXPLAINED
from .fault import Change, Fault
from .trial import SOURCE, try_fault

FILES = (
    *("_protocol/association/association.py", "_protocol/association/outbox.py"),
    *("_protocol/handshake/handshake.py", "_protocol/handshake/greeting.py"),
)

_WORLDS = "tests/protocol/association/test_explorer.py::test_every_interleaving_keeps_the_promise"
TESTS = (
    "tests/protocol/association/test_association.py",
    "tests/protocol/handshake/test_handshake.py",
    "tests/protocol/handshake/test_handshake_admits.py",
    "tests/protocol/handshake/test_session.py",
    "tests/protocol/association/test_association_properties.py",
    f"{_WORLDS}[the lower overflows]",
    f"{_WORLDS}[the higher overflows]",
    f"{_WORLDS}[an early loss at one side, from the lower]",
    f"{_WORLDS}[an early loss at one side, from the higher]",
    f"{_WORLDS}[the lower restarts, and is sent to]",
    f"{_WORLDS}[the higher restarts, and is sent to]",
)
"""The tests of the pure core, the fastest first, and a small run of the explorer."""


class Proposal(NamedTuple):
    """A mutation that the tool proposes: one operator, and the number of the place in a file that it would change."""

    file: str
    operator: str
    number: int
    line: int
    column: int


class _WithoutAnnotations(ast.NodeTransformer):
    """Removes annotations: the package does not evaluate them, so a change in one of them changes nothing."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        return node


def _meaning(text: str) -> str:
    """Return a text that stays the same if only annotations change; an empty one for what is no Python.

    The tool may make no Python because it takes every `*` for a product.
    """
    try:
        return ast.dump(_WithoutAnnotations().visit(ast.parse(text)))
    except SyntaxError:
        return ""


def _lines_changed(before: str, after: str) -> str:
    difference = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    changed = [line for line in difference if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    return "  =>  ".join(line[1:].strip() for line in changed)


def proposals(file: str) -> list[Proposal]:
    """Return all mutations of a file that the tool proposes."""
    nodes = list(ast_nodes(get_ast((SOURCE / file).read_text(encoding="utf-8"))))
    found: list[Proposal] = []
    for name in operator_names():
        kind = get_operator(name)
        if kind.arguments() or name == "core/ExceptionReplacer":
            # The exception replacer fails where an `except` names several exceptions.
            continue
        places = [start for node in nodes for start, _end in kind().mutation_positions(node)]
        found += [Proposal(file, name, number, *place) for number, place in enumerate(places)]
    return found


def planted(proposal: Proposal) -> Fault | None:
    """Return the fault that a proposal makes, or None if it changes nothing that is run."""
    text = (SOURCE / proposal.file).read_text(encoding="utf-8")
    mutant = mutate_code(text, get_operator(proposal.operator)(), proposal.number)
    if mutant is None or _meaning(mutant) in {_meaning(text), ""}:
        return None
    label = f"{Path(proposal.file).stem}:{proposal.line}:{proposal.column} {proposal.operator.removeprefix('core/')}"
    return Fault(label, _lines_changed(text, mutant), (Change(proposal.file, text, mutant),), TESTS)


def draw(count: int, seed: int) -> tuple[list[Fault], int]:
    """Draw `count` faults, each of another kind or at another place. Returns them, and the number of all proposals."""
    # By place first, because the tool proposes seven mutations for each comparison and ten for each `|`.
    places: dict[tuple[str, int, int, str], list[Proposal]] = defaultdict(list)
    for file in FILES:
        for proposal in proposals(file):
            places[file, proposal.line, proposal.column, proposal.operator.partition("_")[0]].append(proposal)
    chance = random.Random(seed)
    order = sorted(places)
    chance.shuffle(order)
    faults: list[Fault] = []
    for place in order:
        fault = planted(chance.choice(places[place]))
        if fault is not None:
            faults.append(fault)
        if len(faults) == count:
            break
    return faults, sum(map(len, places.values()))


def main() -> int:
    """Plant what the command line asks for. Returns 1 if a fault survives that is not explained."""
    parser = argparse.ArgumentParser(prog="planted.drawn", description="Plant faults that are drawn at random.")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    arguments = parser.parse_args()
    faults, number = draw(arguments.count, arguments.seed)
    print(
        f"{len(faults)} of {number} mutants that cosmic-ray proposes for {', '.join(FILES)}, seed {arguments.seed}",
        flush=True,
    )
    survivors = 0
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        outcomes = pool.map(try_fault, faults)
        for fault, outcome in zip(faults, outcomes, strict=True):
            # The tests have also noticed a mutant that hangs, or that cannot be imported.
            verdict, why = outcome.verdict, outcome.test or outcome.why
            if verdict == "survived" and fault.rule in EXPLAINED:
                verdict, why = "explained", EXPLAINED[fault.rule]
            survivors += verdict == "survived"
            print(f"{verdict:9}  {outcome.seconds:5.1f} s  {fault.name}\n{'':11}{fault.rule}\n{'':11}{why}", flush=True)
    print(f"{survivors} of {len(faults)} survived, and are not explained")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
