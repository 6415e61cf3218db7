"""Seeds of the hammer that have failed once; `tests/testing/test_kept_seeds.py` runs them.

A seed is the same run only as long as the hammer is the same. So a failure is first made a test of the rule that was
broken, in the file of that rule, and its seed is kept here beside it: it costs a second, and is one seed more that
has shown to reach something.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeptSeed:
    """A seed that has failed.

    Attributes:
      seed: the seed.
      hammer: the version of the hammer at that time, as `nox -s fresh` prints it.
      failure: what was wrong.
    """

    seed: int
    hammer: str
    failure: str


KEPT = (
    KeptSeed(32, "488a6ba165296841", "a node that became global reported the end of a node that lives"),
    KeptSeed(80, "1e5d339c313b8292", "a task was told of what the end of its supervisor woke, before its cancellation"),
    KeptSeed(5031, "78ff79301d329257", "waiting for the tasks of an abandoned supervisor kept time from going on"),
    KeptSeed(5066, "488a6ba165296841", "the end of a node was reported that had moved and was not connected yet"),
    KeptSeed(5076, "075397365888bbab", "a group's call killed one new member after the other by its full mailbox"),
    KeptSeed(5263, "0a179d48931c8be0", "a start that failed with the crash of its node was tried again for ever"),
    KeptSeed(4986871700060, "1f0df9a4e3a59342", "the hammer made a node part that drained, and lost what came then"),
    KeptSeed(4986871700143, "1f0df9a4e3a59342", "the hammer made a node part that drained, and lost what came then"),
    KeptSeed(4986871700155, "1f0df9a4e3a59342", "the hammer made a node part that drained, and lost what came then"),
)
