"""The same test for a port of the node that uses it, and for a port of another node."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from network_helpers import FakeNetwork, open_pair

from trio_mp import Node, open_node

both = pytest.mark.parametrize("kind", ["here", "there"])
"""Marks a test that is run for a port here, and for one there."""


@asynccontextmanager
async def two_nodes(
    kind: str, network: FakeNetwork | None = None, **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    """The node that calls, and the one of the port: the same, or another one, in this network."""
    if kind == "here":
        async with open_node(**settings) as node:
            yield node, node
    else:
        async with open_pair(network or FakeNetwork(), **settings) as pair:
            yield pair
