"""The door to what the tests of the network share, and functions that nodes spawn by `network_helpers:NAME`.

`fake_network` is the network, `watched_nodes` are the nodes in it, and `raw_peer` has peers that do what no node would.
"""

from __future__ import annotations

from typing import Any

import trio
from fake_network import (
    CAPACITY as CAPACITY,
    Direction as Direction,
    FakeListener as FakeListener,
    FakeNetwork as FakeNetwork,
    Wire as Wire,
    WireEnd as WireEnd,
    place as place,
)
from raw_peer import (
    NO_PORT as NO_PORT,
    RawPeer as RawPeer,
    a_member as a_member,
    connect_raw as connect_raw,
    requests_in as requests_in,
)
from watched_nodes import (
    SECRET as SECRET,
    Inbox as Inbox,
    Notices as Notices,
    network_of as network_of,
    open_pair as open_pair,
    open_test_node as open_test_node,
    peer_of as peer_of,
    until as until,
    warnings_in as warnings_in,
)

from trio_mp import Port, current_node, spawnable

NOT_A_FUNCTION = 5


@spawnable
def installs_a_handler(port: Port, *arguments: Any) -> None:
    @port.on("arguments")
    def answer(reply_to: str) -> None:
        current_node().send(reply_to, *arguments)

    @port.on("die")
    def die(*reason: Any) -> None:
        port.kill(*reason)


@spawnable
async def is_a_process(port: Port, reply_to: str) -> None:
    async for message in port:
        current_node().send(reply_to, *message)
        if message == ("stop",):
            return


@spawnable
async def is_a_process_that_raises(port: Port) -> None:
    await trio.sleep(1)
    raise ValueError("after a second")


@spawnable
def fails_at_once(port: Port, *arguments: Any) -> None:
    raise ValueError(f"cannot be made with {arguments}")


@spawnable
def ends_at_once(port: Port) -> None:
    port.kill()


def is_not_spawnable(port: Port) -> None:
    raise AssertionError("it was called all the same")
