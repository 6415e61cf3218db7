"""Running a node for the length of a block."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Unpack

import trio

from .._errors import NotAttached
from .._ports.instruments import Instrument, check_instruments
from .._profiles.sources import Layer
from .._reason import node_failed
from .._services.spawning import import_modules
from .._settings.environment import Environment
from .._settings.settings import SettingArguments, Settings, check_settings
from .node import Node
from .outside import from_outside
from .secrets import load_secrets
from .services import find_services, start_services
from .signals import is_cancellation
from .systemd import find_manager
from .trace import trace_of_environment


@asynccontextmanager
async def open_node(
    node_id: str | None = None,
    *,
    profile: str | bool | None = None,
    fixed: Iterable[str] = (),
    context: Any = None,
    instruments: Iterable[Instrument] = (),
    **settings: Unpack[SettingArguments],
) -> AsyncGenerator[Node, None]:
    """Run a node for the length of the block.

    Args:
      node_id: 1 to 255 of the characters `A-Z a-z 0-9 _ - . : /`, unique in the network; random by default, as with
        `"anon/"`.
      profile: the name of a configuration profile; True for the profile that the user has configured, by the variable
        `TRIO_MP_PROFILE` or by `use` in the file; False to take no setting from outside the program. By default a node
        takes the settings of the variables `TRIO_MP_…`; and those of the configured profile, if the program gives
        `binds` or `seeds`, or `TRIO_MP_PROFILE`, `TRIO_MP_BINDS` or `TRIO_MP_SEEDS` is set. What comes from outside
        replaces what the program says. Of the nodes of a process that are open at the same time, only the first takes
        a node ID, `binds`, `advertise`, `services` or `health` from outside.
      fixed: names of settings, or `node_id`, that cannot be changed from outside.
      context: any object of the program, which `Node.context` gives back, and which is never sent.
      instruments: instruments that watch the node from its first moment; see `trio_mp.abc.Instrument`.
      settings: without `binds` and `seeds` the node is this process only. Times are in seconds, sizes in bytes.

        - `binds`: addresses to listen on: `unix:PATH` or `host:port`. A host without a port means
          port 4040. `*` stands for all interfaces, and port 0 or `*` for any free port. `fd:N` is a
          listening socket with which the process was started, by the number of its descriptor, and
          `fd:NAME` one that systemd passes by this name. Without `binds` a node with seeds listens
          beside the first seed that it reaches: on a socket in the directory of a `unix:` seed,
          else on a free port of the IP address from which it reaches the seed. With `()` it listens
          nowhere.
        - `advertise`: addresses that other nodes are told, in place of those where the node
          listens. For a node with `binds` that others reach by other addresses: through a published
          port of a container, or address translation. The node takes a seed at one of these
          addresses for itself.
        - `seeds`: addresses of nodes by which the node finds the network. A host without a port
          means port 4040. A host name stands for all of its IP addresses, and `*` for `localhost`.
          `srv:NAME` stands for what the SRV records of a name say, and needs the extra `dns`.
          `dir:PATH` is a directory in which nodes write where they listen; without `binds` a node
          that writes itself there listens at a free port of all interfaces. The node dials seeds
          until they answer. A node with `binds` or `seeds` needs a `secret` or a `certificate`.
          Where it has both, a peer must prove both.
        - `secret`: at least 16 bytes, as str or bytes, which all nodes of the network know and
          nobody else. Of a tuple of secrets the node dials with the first, and accepts each.
        - `secret_file`: the path of a file with secrets, one a line, in place of `secret`. The node
          dials with the first, and accepts each. It reads the file again every five seconds, and
          takes up what has changed. Of a file that cannot be used the log has a warning, and the
          secrets that were read before stay in force. Connections keep the secret that they began
          with.
        - `certificate`: a `Certificate`, by which the node proves who it is.
        - `encryption` (True): whether connections are encrypted. Both sides must say False for a
          connection without encryption. It authenticates all the same.
        - `heartbeat` (5 s): how often each connection says that the node is alive, 0.1 to 60; a
          peer is lost after three silent ones.
        - `connect_timeout` (30 s): how long messages and monitors wait for a connection before they
          are given up, and reported. It must be longer than three heartbeats.
        - `idle_timeout` (600 s): a connection that nothing needs is closed when it has carried
          nothing for so long, and the peer agrees. A monitor of either side needs the connection.
          Closing it loses nothing: the next message opens another one. Of the two sides' settings
          the shorter one counts.
        - `handshake_timeout` (10 s): how long dialling an address may take, and then the handshake.
        - `attach_timeout`: how long `open_node` waits until the node is in the network; then it
          raises `NotAttached`. The services and the block begin when the node has a global node, or
          is one and has tried each of its seeds once. Without this setting they begin at once, and
          the node dials its seeds for as long as it takes.
        - `shutdown_timeout` (5 s): how long the tasks of a dead port may take to unwind, and a
          closing node to flush what is queued.
        - `drain_timeout` (25 s): how long the node may drain when a signal or an operator stops it,
          in `stop_on_signals` and `trio-mp run`. Then it is cut short. Whoever runs the process
          should give it this time, the `shutdown_timeout`, and some seconds more.
        - `busy_poll` (0 s): how long a connection is polled after each read from it, at most 0.001.
          Answers then come in a fraction of the time, for processor time: 50e-6 is usual where
          latency is what counts, and where each process has a core. Polling stops as soon as
          another task is runnable, and after 1 ms in any case. While it polls one connection, the
          node does not notice what other connections bring.
        - `queue_limit` (256 MiB): how much may wait in the queue for one peer; more is a loss, and
          reported.
        - `message_limit` (64 MiB): the largest message that travels, at most a quarter of
          `queue_limit`.
        - `mailbox_limit` (1,000,000): how many messages may wait in one port; one more kills the
          port.
        - `mailbox_size_limit` (256 MiB): how much memory waiting messages of other nodes may take
          in one port; more kills the port.
        - `port_limit` (100,000): how many live ports one other node may have spawned here; more
          spawns fail.
        - `monitor_limit` (1,000,000): how many ports one other node may monitor here; more monitors
          fire.
        - `call_limit` (100,000): how many calls of one other node may be in flight here; more fail
          with `busy`.
        - `unmonitored_death` ("log"): what becomes of an exception that kills an unmonitored port:
          `"log"`, or `"raise"` to crash the node.
        - `services`: functions to call with the node when it opens: `package.module:function`, or a
          list of that and of arguments. A module alone stands for its function `main`. The module
          is imported. A sync function runs before the block, and its exception leaves `open_node`.
          An async one is the task of a port of its own, with a mailbox: when it raises, that port
          dies.
        - `spawn_modules`: modules, imported when the node opens, whose `@spawnable` functions other
          nodes may spawn.
        - `inspect` ("off"): what other nodes may see of this one: nothing, its state without IDs
          (`"read"`), or all, and act (`"act"`). With `act` they see the IDs of ports and stacks,
          trace messages, and kill ports; each act is logged here. A node may always inspect itself.
        - `inspect_from`: the IDs of the nodes that may inspect this one; without any, every node of
          the network may. Where certificates name nodes the ID is proven. With a secret alone every
          member may claim any ID, so this keeps out mistakes, and nobody who means harm.
        - `share_logs` (True): whether other nodes get log records of this process when they ask for
          them.
        - `health`: where the node answers probes over HTTP, at `/ready` and `/live`: `unix:PATH` or
          `127.0.0.1:PORT`. Nobody has to prove anything to ask. A Unix socket answers this user
          alone, `127.0.0.1` everybody on this machine, and `*` everybody who reaches it. A node is
          live as long as its loop turns within three heartbeats.
        - `tool` (False): whether the node is a tool: a member that comes to look or to say
          something, and goes. It listens nowhere, is never global, and does not make another node
          global. `watch_nodes` and `peers` of other nodes leave it out; `watch_nodes(tools=True)`
          does not. Its node ID is the one that its certificate names, else a random one. From
          outside it takes no node ID, `binds`, `advertise`, `services`, `spawn_modules`,
          `attach_timeout` or `health`.

    Leaving the block kills the ports, with the reason `("node_closed", nodeid)`, or `("node_failed", …)` after an
    exception; it waits until they have unwound, flushes the queues for other nodes, and closes. After a cancellation
    nothing is flushed. An exception of the block leaves it unwrapped. An exception that crashes the node itself cancels
    the block and leaves as an `ExceptionGroup`. Entering and leaving are checkpoints.

    Raises:
      TypeError, ConfigurationError: a setting is unknown, or has a value that cannot work; or the file of profiles
        cannot be used. The text names the place.
      OSError: it cannot listen where it should; the text names the address.
      NotAttached: the setting `attach_timeout` is given, and the node was not in the network when it had passed.
      RuntimeError: no task of Trio's calls this; asyncio runs the caller, for example.
    """
    with from_outside(node_id, profile, fixed, settings) as (found_id, found):
        watching = (*check_instruments(instruments), *trace_of_environment(profile))
        environment = Environment(manager=find_manager(found) if profile is not False else None)
        async with open_node_in(environment, found_id, context=context, instruments=watching, **found) as node:
            yield node


@asynccontextmanager
async def open_node_from(
    command_line: Layer, *, profile: str | bool | None = None, **settings: Unpack[SettingArguments]
) -> AsyncGenerator[Node, None]:
    """Open a node as `open_node` does, for a command whose user can give settings that decide about all others.

    Args:
      command_line: these settings.
      profile, settings: as for `open_node`.
    """
    with from_outside(None, profile, (), settings, command_line) as (found_id, found):
        async with open_node_in(Environment(), found_id, instruments=trace_of_environment(profile), **found) as node:
            yield node


@asynccontextmanager
async def open_node_in(
    environment: Environment,
    node_id: str | None = None,
    *,
    context: Any = None,
    instruments: Iterable[Instrument] = (),
    **settings: Unpack[SettingArguments],
) -> AsyncGenerator[Node, None]:
    """Open a node as `open_node` does, with a transport, clocks and randomness that tests and simulations can replace.

    It takes no setting from outside the program, as with `open_node(profile=False)`.

    Args:
      environment: the source of randomness, the transport and the clocks.
      node_id, context, instruments, settings: as for `open_node`.
    """
    async with open_unstarted(environment, node_id, context=context, instruments=instruments, **settings) as node:
        node._runtime.standing.start()
        yield node


@asynccontextmanager
async def open_unstarted(
    environment: Environment,
    node_id: str | None = None,
    *,
    context: Any = None,
    instruments: Iterable[Instrument] = (),
    **settings: Unpack[SettingArguments],
) -> AsyncGenerator[Node, None]:
    """Open a node as `open_node_in` does, for callers that start more services: when they have, they tell its standing.

    Args:
      environment, node_id, context, instruments, settings: as for `open_node_in`.
    """
    _check_trio()
    watching = check_instruments(instruments)
    checked = check_settings(node_id, settings)
    import_modules(checked.spawn_modules, "spawn_modules")
    services = find_services(checked.services)
    checked = await load_secrets(checked, environment)
    node = Node(checked, environment, context, open_node_in)
    runtime = node._runtime
    await _listen(node, checked)
    for instrument in watching:
        node.add_instrument(instrument)
    failure: BaseException | None = None
    failures: list[BaseExceptionGroup[BaseException]] = []
    with node._watchdog.at_work(wanted=checked.networked or bool(runtime.probed_at)):
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                runtime.start(nursery, node._tasks)
                try:
                    try:
                        await _attach(node, checked.attach_timeout)
                        start_services(node, services)
                        yield node
                        # A cancelled block must not begin to close in good order: one that is pending is raised here.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    except BaseException as error:  # noqa: BLE001 - kept until the node has closed
                        failure = error
                    # Not after Cancelled, a KeyboardInterrupt, or a group with one: then the node ends without closing.
                    if failure is None or isinstance(failure, Exception):
                        await runtime.close(failure)
                    elif runtime.ends_in_order and is_cancellation(failure):
                        # It is inside the block of another node, which the same signal has stopped, too.
                        with trio.CancelScope(shield=True):
                            await runtime.close(None)
                    else:
                        await runtime.stop_supervisors(node_failed(_told(failure)))
                finally:
                    runtime.stop()
        except trio.Cancelled as error:
            failure = failure or error
        except BaseExceptionGroup as group:
            failures += [group]
        try:
            runtime.finish(failure)
        except ExceptionGroup as group:
            failures += [group]
    _raise_all(failure, failures)
    if runtime.exit_status is not None:
        # An operator has asked for it; see `stop_on_signals`. Before, it would have kept the node from closing.
        raise SystemExit(runtime.exit_status)


async def _listen(node: Node, settings: Settings) -> None:
    """Begin to listen, for other nodes and for probes. A checkpoint. Raises `OSError`, and then it listens nowhere."""
    runtime = node._runtime
    if settings.health is None:
        await runtime.prepare()
        return
    from .health import Health, open_health  # with a server: for those who are probed

    health = Health(runtime.standing, node._watchdog.blocked, 3 * settings.heartbeat)
    listener = await open_health(settings.health, health, node.id)
    try:
        # Last: sockets that were inherited would be closed for good by a failure behind it.
        await runtime.prepare()
    except BaseException:
        listener.close()
        raise
    runtime.probed_at = listener.addresses
    # At the very end, so that there are answers while the node closes.
    runtime.observers.ended += [listener.close]


async def _attach(node: Node, seconds: float | None) -> None:
    """Wait until a node is attached, for so many seconds at most. A checkpoint, unless there is no limit.

    Raises:
      NotAttached: the time is up.
    """
    if seconds is None:
        return
    with trio.move_on_after(seconds), node._runtime.standing.waits_to_attach():
        await node.wait_attached()
    wrong = node._membership.give_up() if node._membership is not None else None
    if wrong:
        raise NotAttached(seconds, wrong)


def _told(failure: BaseException) -> BaseException | None:
    """Return the exception for the reason of the ports; None for a cancellation, which would say nothing."""
    return None if isinstance(failure, trio.Cancelled) else failure


def _check_trio() -> None:
    """Raise `RuntimeError` outside of Trio. Otherwise asyncio would raise "Task got bad yield", and later."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        whose = "asyncio's" if _asyncio_runs() else "none"
        raise RuntimeError(
            f"open_node() expects a task of Trio's, got {whose}: start the program with trio.run(main), or with"
            " anyio.run(main, backend='trio')"
        ) from None


def _asyncio_runs() -> bool:
    # Not by an import, which a program without asyncio would pay for.
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is not None and asyncio.get_running_loop() is not None
    except RuntimeError:
        return False


def _raise_all(failure: BaseException | None, failures: list[BaseExceptionGroup[BaseException]]) -> None:
    """Raise the exceptions of the end of a node: the block's unwrapped, the node's own failures as a group."""
    if not failures:
        if failure is not None:
            raise failure
        return
    errors = [error for group in failures for error in group.exceptions]
    if isinstance(failure, BaseExceptionGroup):
        # The node's failure has cancelled the block; no other scope needs these cancellations.
        failure = failure.split(trio.Cancelled)[1]
    if failure is not None and not isinstance(failure, trio.Cancelled):
        errors.insert(0, failure)
    raise BaseExceptionGroup("a node failed", errors) from None
