"""Opening the node of a process that another node has launched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Unpack

import trio

from .._errors import ConfigurationError, PortDied
from .._ids import node_of
from .._ports.port import state_of
from .._reason import is_normal
from .._settings.settings import SettingArguments
from .._supervision.process_invitation import Invitation, accept_invitation
from .._supervision.process_parent import ParentWatch
from .._supervision.processes import READY
from .node import Node
from .opening import open_node
from .signals import STOPPING_PROCESS

_FROM_THE_PARENT = frozenset({"seeds", "secret", "encryption"})


@asynccontextmanager
async def open_child_node(
    node_id: str | None = None,
    *,
    handler: Callable[..., Any] | None = None,
    context: Any = None,
    **settings: Unpack[SettingArguments],
) -> AsyncGenerator[Node, None]:
    """Run a node for the length of the block, in a process that `Supervisor.run_process` has started.

    The process gets the address of its parent's node, and the secret, by a pipe that it has inherited. The parent's
    `run_process` returns when the block is entered. `open_child_node` first reads the pipe, and starts a thread that
    watches it:

    - If the parent stops the process, the block is cancelled, as by a cancel scope around it: it unwinds, the node
      closes in good order, and the program goes on behind the block.
    - If the parent dies, the same happens. If the process has not ended 0.75 seconds later, the thread ends it,
      whatever it does; only code that holds Python's interpreter lock can delay that. Nobody watches the parent before
      this call: make it early, before imports that take long.

    Args:
      node_id: as for `open_node`.
      handler: takes the messages of a port, as `node.port(handler)`. The parent gets the ID of that port instead of the
        node ID. If the port dies, the block is cancelled. In the handler `current_epoch` says which life of the child
        this is.
      context: as for `open_node`.
      settings: as for `open_node(profile=False)`: none comes from the environment, which is the parent's, or from a
        profile. `seeds`, `secret` and `encryption` are the parent's and cannot be given. A `secret_file` takes the
        place of the parent's secret, so that a process that runs takes up new secrets. In a network with certificates
        the process needs a `certificate` of its own: the parent hands over no private key.

    Raises:
      RuntimeError: nobody has launched this process in this way, or its node was opened before.
      PortDied: the parent's node cannot be reached; or the port of the handler has died abnormally.
      TypeError, ConfigurationError, OSError: as `open_node`.
    """
    async with open_node_beside(Parent(), node_id, handler=handler, context=context, **settings) as node:
        yield node


class Parent:
    """The process that has launched this one. From now on a thread watches it.

    If the parent stops this process, or dies, the block of the node is cancelled. If the parent has died, the thread
    ends this process 0.75 seconds later, whatever it does. A parent does not stop a process whose node is not open yet.

    Attributes:
      invitation: what it has told this process.
      block: the scope of the node's block.

    Raises:
      RuntimeError: nobody has launched this process in this way, or its node was opened before.
    """

    def __init__(self) -> None:
        pipe, invitation = accept_invitation()
        self.invitation: Invitation = invitation
        self.block: trio.CancelScope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        ParentWatch(pipe, self.invitation.pid, self._leave, self._drain).start()

    def enter_trio(self) -> None:
        """Note that the task that calls this is to be reached by a cancellation of `block`."""
        self._token = trio.lowlevel.current_trio_token()

    def _leave(self) -> None:
        """Cancel the block. Called in the thread of the watch."""
        # Also before the block is entered: then it is cancelled on entry. A parent does not stop a process that is not
        # ready, and if the parent dies while the node is opened, the watch ends the process.
        self._in_trio(self.block.cancel)

    def _drain(self) -> None:
        """Have the node drain. Called in the thread of the watch."""
        self._in_trio(self._begin_draining)

    def _begin_draining(self) -> None:
        if STOPPING_PROCESS.hears:
            STOPPING_PROCESS.begin("the supervisor")
        else:
            self.block.cancel()

    def _in_trio(self, function: Callable[[], object]) -> None:
        if self._token is None:
            # Only a parent that has died gets here, and then the watch ends this process.
            return
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            # Trio has ended, and the program is about to.
            return


@asynccontextmanager
async def open_node_beside(
    parent: Parent,
    node_id: str | None = None,
    *,
    handler: Callable[..., Any] | None = None,
    context: Any = None,
    **settings: Unpack[SettingArguments],
) -> AsyncGenerator[Node, None]:
    """Run a node as `open_child_node` does, in a process that has begun to watch its parent before.

    Args:
      parent: the parent.
      node_id, handler, context, settings: as for `open_child_node`.
    """
    parent.enter_trio()
    invitation = parent.invitation
    arguments = _settings_with(invitation, settings)
    # Nothing from outside: the environment is the parent's, with the parent's node ID and binds in it.
    async with open_node(node_id, profile=False, context=context, **arguments) as node:
        _remember_parent(node, invitation)
        port = node.port(handler) if handler is not None else None
        if port is not None:
            state_of(port).epoch = invitation.epoch
        await node.call(invitation.parent, READY, port if port is not None else node.id)
        life = node.move_on_death(port) if port is not None else None
        with parent.block:
            if life is None:
                yield node
            else:
                with life:
                    yield node
        if life is not None and life.reason is not None and not is_normal(life.reason):
            raise PortDied(life.port, life.reason)


def _settings_with(invitation: Invitation, given: SettingArguments) -> SettingArguments:
    """Return the settings of the new node: those of its program, and those of its parent."""
    wrong = sorted(_FROM_THE_PARENT & set(given))
    if wrong:
        raise TypeError(f"open_child_node() takes {', '.join(wrong)} from the parent's node; leave it away")
    if invitation.certificate and given.get("certificate") is None:
        raise ConfigurationError(
            "certificate: expected one for open_child_node(), because the parent's network has certificates, got none;"
            " give the process a Certificate of its own"
        )
    settings = given.copy()
    settings["seeds"] = invitation.seeds
    if given.get("secret_file") is None:
        settings["secret"] = invitation.secrets or None
    settings["encryption"] = invitation.encryption
    return settings


def _remember_parent(node: Node, invitation: Invitation) -> None:
    """Note the parent's addresses on this machine: its seeds may be unreachable, or not know the parent."""
    membership = node._membership
    assert membership is not None
    node._runtime.launched = True
    membership.sightings.connected(node_of(invitation.parent), invitation.addresses)
