"""Where a child of another node is to run: a node, a function that picks one, or a family of the database."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from .._events import fields
from .._ids import node_of, split_port
from .._runtime import Runtime
from .._services.database import Database

log = logging.getLogger("trio_mp.supervisor")


@dataclass(frozen=True, slots=True)
class Family:
    """A family of the database whose keys are ports or node IDs: a child runs on the node of any of them.

    Each life runs on a node that is picked at random. The node on which the last life was lost, or with which it has
    ended, is picked only if there is no other. While the family is empty a start waits for its first entry.

    Attributes:
      name: the name of the family.

    Raises:
      TypeError: `name` is not a str.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"Family: expected the name of a family of the database, got {self.name!r}")


Place: TypeAlias = str | Family | Callable[[], "str | Awaitable[str]"]
"""A node, by its ID or any port of it; or a family; or a function, perhaps async, that returns a node for each life."""


def check_place(where: object) -> None:
    """Raise `TypeError` or `ValueError` for a value that cannot be a place."""
    if isinstance(where, str):
        split_port(where)
    elif not isinstance(where, Family) and not callable(where):
        raise TypeError(f"spawn(): expected a node ID, a Family, or a function that returns a node ID, got {where!r}")


class PlacePicker:
    """Picks the node of each life of one child.

    Args:
      runtime, database: those of the supervisor's node.
      where: what the program has said.

    Attributes:
      lost: the node on which the last life was lost, or with which it has ended; or an empty text.
    """

    def __init__(self, runtime: Runtime, database: Database, where: Place) -> None:
        self.lost = ""
        self._runtime = runtime
        self._database = database
        self._where = where

    async def pick(self) -> str:
        """Return the ID of the node on which the next life is to run. Cancelled, it changes nothing.

        Raises:
          TypeError, ValueError: the program's function has not returned a node.
          whatever the program's function raises.
        """
        where = self._where
        if isinstance(where, Family):
            return await self._pick_member(where.name)
        if isinstance(where, str):
            return node_of(where)
        found = where()
        picked = await found if inspect.isawaitable(found) else found
        try:
            return node_of(picked)
        except (TypeError, ValueError) as error:
            raise type(error)(f"spawn(): the function that picks a node: {error}") from None

    async def _pick_member(self, family: str) -> str:
        members = self._nodes_of(await self._database.family(family))
        if not members:
            log.warning(
                "the family %s is empty: a child that is to run on a node of it waits for one",
                family,
                extra=fields("family", self._runtime.id),
            )
            async with self._database.watch(family) as changes:
                async for change in changes:
                    members = self._nodes_of(change.table)
                    if members:
                        break
        others = [node_id for node_id in members if node_id != self.lost] or members
        return others[min(int(self._runtime.environment.jitter() * len(others)), len(others) - 1)]

    def _nodes_of(self, keys: object) -> list[str]:
        """Return the nodes of these keys, each once. Other nodes may have set any text as a key."""
        found: dict[str, None] = {}
        for key in keys if isinstance(keys, dict) else ():
            try:
                found[node_of(key)] = None
            except ValueError:
                log.warning(
                    "the key %r of a family of the database is no port and no node ID, and is skipped",
                    key,
                    extra=fields("family", self._runtime.id),
                )
        return sorted(found)
