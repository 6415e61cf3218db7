"""`trio-mp doctor`: tries each step by which a node joins the network, and says what to do about what does not work."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable

import trio

from .._errors import CallError, PortDied
from .._node.node import Node
from .._node.opening import open_node_from
from .._peers.dialled import Dialled
from .._peers.network import Network
from .._peers.standing import SHOWN
from .._protocol.database.records import NODES
from .._reason import listed
from .._services.seed_names import SeedName
from .._transport.addresses import Address, DirectorySeed, SeedAddress
from .._transport.seed_files import SeedFiles, read_seed_files
from .exits import NO, OK
from .options import command_line_layer
from .output import Output

FINE, WARNING, WRONG = "ok", "warning", "wrong"

RESOLVING, ANSWERING, JOINING = 5.0, 5.0, 10.0
"""How long resolving a name, an answer, and joining may take, in seconds. Dialling has the `handshake_timeout`."""

SETTLING = 1.0
"""How long a connection may take to be in use, in seconds, behind which another one has ended."""

CLOCKS = 2.0
"""From how many seconds on a difference of two clocks is worth a warning."""

FEW_FILES = 1024
"""Below how many open files a node of a network of usual size may run out of them: each connection needs one."""


def doctor(arguments: argparse.Namespace) -> int:
    """Run `trio-mp doctor`; returns its exit status: `NO` if anything is wrong.

    Raises:
      ConfigurationError: a setting cannot work.
      trio.TooSlowError: the time of `--timeout` is up.
    """
    if not arguments.verbose:
        # What matters of the log is said here, once.
        logging.getLogger("trio_mp").addHandler(logging.NullHandler())
    diagnosis = Diagnosis(Output(arguments))
    trio.run(_examine, arguments, diagnosis)
    return diagnosis.status


class Diagnosis:
    """What was found.

    Args:
      out: prints each line when it is found.
    """

    def __init__(self, out: Output) -> None:
        self.status: int = OK
        self._out = out

    def say(self, subject: str, result: str, text: str, since: float | None = None) -> None:
        """Print a line.

        Args:
          subject: what was tried.
          result: `FINE`, `WARNING` or `WRONG`.
          text: what was found, and what to do.
          since: when that was begun, by Trio's clock.
        """
        if result == WRONG:
            self.status = NO
        seconds = None if since is None else round(trio.current_time() - since, 3)
        took = "" if seconds is None else f" ({seconds:g} s)"
        row = {"result": result, "subject": subject, "text": text, "seconds": seconds}
        self._out.row(row, f"{result:9}{subject}: {text}{took}")


async def _examine(arguments: argparse.Namespace, diagnosis: Diagnosis) -> None:
    _look_at_limits(diagnosis)
    layer = command_line_layer(arguments)
    # As a tool, so that the node that is configured may run, too.
    async with open_node_from(layer, profile=arguments.profile or True, tool=True) as node:
        network = node._runtime.network
        seeds = network.settings.seeds if network is not None else ()
        if network is None or not seeds:
            todo = "give --seed, or set them in a profile"
            diagnosis.say("seeds", WRONG, f"there are none, so this node finds nobody; {todo}")
            return
        with trio.fail_after(math.inf if arguments.timeout is None else arguments.timeout):
            found = [name for seed in seeds for name in await _try_seed(seed, node, network, diagnosis)]
            if found:
                await _join(node, network, diagnosis)


def _look_at_limits(diagnosis: Diagnosis) -> None:
    if sys.platform == "win32":
        return
    import resource  # which is not there on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FEW_FILES:
        diagnosis.say("open files", FINE, f"at most {'any number' if soft == resource.RLIM_INFINITY else soft}")
    else:
        todo = "raise it by `ulimit -n 4096`, or where the service is set up"
        diagnosis.say("open files", WARNING, f"at most {soft}, and each connection needs one; {todo}")


async def _look_up(seed: SeedAddress, network: Network, diagnosis: Diagnosis) -> list[Address]:
    """Find the addresses that a seed stands for, and say what they are; none if that is not possible."""
    begun = trio.current_time()
    if isinstance(seed, DirectorySeed):
        return await _look_into(seed, network, diagnosis)
    addresses: list[Address] = []
    with trio.move_on_after(RESOLVING):
        try:
            places = await SeedName(seed, network.environment.transport, network.dispatcher.id).look_up()
            addresses = [place.address for place in places]
        except OSError as error:
            todo = "is it right, and does this machine resolve names?"
            diagnosis.say(f"{seed}", WRONG, f"the name cannot be resolved: {error.strerror or error}; {todo}", begun)
            return []
    if not addresses:
        diagnosis.say(f"{seed}", WRONG, f"the name has no address, or none within {RESOLVING:g} s", begun)
    elif [str(address) for address in addresses] != [str(seed)]:
        diagnosis.say(f"{seed}", FINE, f"is {', '.join(map(str, addresses))}", begun)
    return addresses


async def _look_into(seed: DirectorySeed, network: Network, diagnosis: Diagnosis) -> list[Address]:
    """Find the addresses that nodes have written in a directory, and say which nodes."""
    begun = trio.current_time()
    listing: SeedFiles | None = None
    with trio.move_on_after(RESOLVING):
        try:
            listing = await network.environment.in_thread(lambda: read_seed_files(seed.path, old_before=0))
        except OSError as error:
            todo = "is the path right, may this user read it, and has a node with this seed run?"
            text = f"the directory cannot be read: {error.strerror or error}; {todo}"
            diagnosis.say(f"{seed}", WRONG, text, begun)
            return []
    if listing is None:
        diagnosis.say(f"{seed}", WRONG, f"the file system does not answer within {RESOLVING:g} s", begun)
        return []
    if listing.faults:
        diagnosis.say(f"{seed}", WARNING, f"files that are not read: {'; '.join(listing.faults)}", begun)
    named = ", ".join(file.node_id for file in listing.files)
    text = f"these nodes are written there: {named}" if named else "no node is written there; does one run?"
    diagnosis.say(f"{seed}", FINE if named else WRONG, text, begun)
    return list(dict.fromkeys(address for file in listing.files for address in file.addresses))


async def _try_seed(seed: SeedAddress, node: Node, network: Network, diagnosis: Diagnosis) -> list[str]:
    """Try to connect with a seed; returns the IDs of the nodes that are there."""
    addresses = await _look_up(seed, network, diagnosis)
    tried: list[tuple[Address, Dialled, float]] = []
    for address in addresses:
        begun = trio.current_time()
        tried.append((address, await _dial(address, network), begun))
        if _works(tried[-1][1], network):
            await _talk(address, tried[-1][1], node, network, diagnosis, begun)
    works = [dialled.node_id for _, dialled, _ in tried if _works(dialled, network)]
    for address, dialled, begun in tried:
        if not _works(dialled, network):
            # A name may have an address at which nothing listens, such as ::1 of `localhost`.
            diagnosis.say(f"{address}", WARNING if works else WRONG, _why_not(dialled), begun)
    return list(dict.fromkeys(works))


async def _dial(address: Address, network: Network) -> Dialled:
    """Dial an address while the node of this command looks for the network itself, and may dial there, too."""
    dialled = await network.dial(address)
    if _works(dialled, network) or not dialled.node_id:
        return dialled
    # Of two connections that begin at the same time one is closed, perhaps before it says why. Behind the other one a
    # third is answered.
    with trio.move_on_after(SETTLING):
        while dialled.node_id not in network.up_nodes():  # noqa: ASYNC110 - there is no peer yet to park at
            await trio.sleep(SETTLING / 50)
        return await network.dial(address)
    return dialled


def _works(dialled: Dialled, network: Network) -> bool:
    """Whether a node is there that knows the secret, also if it is another run of the node that is configured."""
    return dialled.id_in_use or network.is_there(dialled)


def _why_not(dialled: Dialled) -> str:
    if dialled.connection is None:
        todo = "does the node run, does it listen there, and does no firewall stop it?"
        return f"no connection: {dialled.failure}; {todo}"
    return f"the port is open, and the handshake fails: {dialled.failure}"


async def _talk(
    address: Address, dialled: Dialled, node: Node, network: Network, diagnosis: Diagnosis, begun: float
) -> None:
    """Say what is to be said of a node with which there is a connection: its version, and its clock."""
    name = dialled.node_id
    proof = "its certificate is good" if not network.secrets else "the secret agrees"
    in_use = "; the ID of this node is in use, so it runs already" if dialled.id_in_use else ""
    diagnosis.say(f"{address}", FINE, f"the node {name} is there, and {proof}{in_use}", begun)
    info = dialled.connection.session.handshake.peer if dialled.connection is not None else None
    if info is not None:
        lacks = [word for word in network.local.words if word not in info.words]
        text = f"{info.provider}, which this node is, too"
        if info.provider != network.local.provider:
            text = f"{info.provider}; this node is {network.local.provider}"
        if lacks:
            text += f"; it does not understand {', '.join(lacks)}; bring both to one version"
        same = info.provider == network.local.provider and not lacks
        diagnosis.say(f"{name}: version", FINE if same else WARNING, text)
    if not dialled.id_in_use:
        await _compare_clocks(name, node, network.environment.wall_clock, diagnosis)


async def _compare_clocks(name: str, node: Node, clock: Callable[[], float], diagnosis: Diagnosis) -> None:
    begun, before = trio.current_time(), clock()
    subject = f"{name}: clock"
    try:
        with trio.fail_after(ANSWERING):
            (there,) = await node.call(name, "time")
    except (PortDied, CallError, trio.TooSlowError) as error:
        text = f"it did not answer within {ANSWERING:g} s" if isinstance(error, trio.TooSlowError) else f"{error}"
        diagnosis.say(subject, WRONG, f"{text}; the connection is there, so look at that node", begun)
        return
    # It was asked at some time between the two.
    least, most = there - clock(), there - before
    if least <= CLOCKS and most >= -CLOCKS:
        diagnosis.say(subject, FINE, f"differs by at most {max(abs(least), abs(most)):.3f} s", begun)
        return
    text = (
        f"differs by {(least + most) / 2:+.1f} s; set both by NTP: certificates and the epochs of supervisors need it"
    )
    diagnosis.say(subject, WARNING, text, begun)


async def _join(node: Node, network: Network, diagnosis: Diagnosis) -> None:
    """Wait until this node has heard which nodes there are."""
    begun = trio.current_time()
    with trio.move_on_after(JOINING):
        async with node.watch_nodes() as changes:
            await anext(changes)
            there = await node.database.family(NODES)
            others = len(there) - (node.id in there)
            diagnosis.say("network", FINE, f"this node has joined it; nodes there: {others}", begun)
            return
    # A seed that answers may still refuse this node, such as one that no tool makes global.
    refused = listed(network.failures.items(), SHOWN, ": ".join)
    why = f": {refused}" if refused else "; look at the log with -v"
    diagnosis.say("network", WRONG, f"this node has not joined it within {JOINING:g} s{why}", begun)
