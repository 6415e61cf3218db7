"""Which member of a group gets a call: the rules, without I/O.

- Round robin: the one that was used the longest ago; one that was never used comes first.
- Least busy: the one with the fewest calls of this group that are not answered; of several, by round robin.
- By a key: rendezvous hashing. Each pair of a key and a member has a weight, and the member of the greatest weight gets
  the calls of that key. So all groups that know the same members choose the same one, and when a member comes or goes
  only the keys move that it gets or had. After Thaler and Ravishankar, "Using name-based mappings to increase hit
  rates", 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, Protocol, TypeAlias, TypeVar

Choice: TypeAlias = Literal["round_robin", "least_busy"]
"""How a member is chosen where no key is given."""

CHOICES: tuple[Choice, ...] = ("round_robin", "least_busy")


class Used(Protocol):
    """What is known of how a member was used.

    Attributes:
      busy: how many calls of it are not answered.
      used: when it was used last, as a number that rises with each use; 0 if never.
    """

    @property
    def busy(self) -> int:
        """See above."""
        ...

    @property
    def used(self) -> int:
        """See above."""
        ...


M = TypeVar("M", bound=Used)


def weigh(key: str, member: str) -> int:
    """The weight of a pair of a key and a member: 64 bits, the same in every process and on every platform."""
    # The length keeps the pairs ("a", "bc") and ("ab", "c") apart. Surrogates cannot travel, but a key need not.
    text = f"{len(key)}:{key}{member}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def choose_by_key(key: str, members: Iterable[str]) -> str | None:
    """The one of these members that has the greatest weight with the key, or None if there are none."""
    return max(members, key=lambda member: (weigh(key, member), member), default=None)


def choose(members: Iterable[M], by: Choice) -> M | None:
    """One of these members, or None if there are none."""
    if by == "least_busy":
        return min(members, key=lambda member: (member.busy, member.used), default=None)
    return min(members, key=lambda member: member.used, default=None)
