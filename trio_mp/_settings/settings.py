"""The settings of a node. The table of all of them is the class `Settings`.

A new setting needs a line in `Settings`, with the function of `checks.py` that checks it, and a line in
`SettingArguments`, which tells type checkers what a program may write. `python docs/reference.py` then writes the
docstring of `open_node` and docs/settings.md anew; a test holds all of these against each other.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict, TypeVar

from .._errors import ConfigurationError
from .._ids import check_node_id
from .._transport.addresses import Address, BindAddress, SeedAddress
from .._transport.certificate_files import Certificate
from . import checks, texts
from .checks import InspectionLevel, ServiceReference, UnmonitoredDeath

T = TypeVar("T")

MIB = 1024 * 1024


class SettingArguments(TypedDict, total=False):
    """The settings of `open_node`, with the types in which a program gives them.

    Type checkers read this class where it stands as `**settings: Unpack[SettingArguments]`, and they cannot derive it
    from `Settings`, whose values are checked and converted.
    """

    binds: Iterable[str] | None
    advertise: Iterable[str]
    seeds: Iterable[str]
    secret: str | bytes | Iterable[str | bytes] | None
    secret_file: str | os.PathLike[str] | None
    certificate: Certificate | None
    encryption: bool
    heartbeat: float
    connect_timeout: float
    idle_timeout: float
    handshake_timeout: float
    attach_timeout: float | None
    shutdown_timeout: float
    drain_timeout: float
    busy_poll: float
    queue_limit: int
    message_limit: int
    mailbox_limit: int
    mailbox_size_limit: int
    port_limit: int
    monitor_limit: int
    call_limit: int
    unmonitored_death: UnmonitoredDeath
    services: Iterable[str | Sequence[Any]]
    spawn_modules: Iterable[str]
    inspect: InspectionLevel
    inspect_from: Iterable[str]
    share_logs: bool
    health: str | None
    tool: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """The part of a table's line that is not the name, the type and the default of the setting.

    Attributes:
      check: takes the name of the setting and what the program gave; returns the value, or raises `TypeError` or
        `ConfigurationError`.
      text: what the setting is, in a phrase, for the documentation.
      more: further sentences for the documentation; empty if there are none.
      unit: the unit of the value: `"s"`, `"bytes"`, or empty.
      read: takes the text of an environment variable; returns what a program would give, or raises `ValueError`.
    """

    check: Callable[[str, object], object]
    text: str
    more: str
    unit: str
    read: texts.Reader


_KEY = "setting"


def _entry(
    default: T,
    check: Callable[[str, object], T],
    text: str,
    *,
    more: str = "",
    unit: str = "",
    read: texts.Reader | None = None,
) -> T:
    """Make one line of the table. Type checkers compare the types of default, check and field by this signature."""
    entry = Entry(check, text, more, unit, read or texts.reader_for(default))
    field_of_table: T = field(default=default, metadata={_KEY: entry})
    return field_of_table


@dataclass(frozen=True, slots=True)
class Settings:
    """The table of all settings, and the settings of one node; times in seconds, sizes in bytes."""

    # The node ID is an argument of `open_node` and no line of the table.
    node_id: str | None = None
    binds: tuple[BindAddress, ...] | None = _entry(
        None,
        checks.binds,
        "addresses to listen on: `unix:PATH` or `host:port`",
        more="A host without a port means port 4040."
        " `*` stands for all interfaces, and port 0 or `*` for any free port. `fd:N` is a listening socket with"
        " which the process was started, by the number of its descriptor, and `fd:NAME` one that systemd passes by this"
        " name."
        " Without `binds` a node with seeds listens beside the first seed that it reaches: on a socket in the directory"
        " of a `unix:` seed, else on a free port of the IP address from which it reaches the seed. With `()` it listens"
        " nowhere.",
        read=texts.words,
    )
    advertise: tuple[Address, ...] = _entry(
        (),
        checks.advertised,
        "addresses that other nodes are told, in place of those where the node listens",
        more="For a node with `binds` that others reach by other addresses: through a published port of a container, or"
        " address translation. The node takes a seed at one of these addresses for itself.",
    )
    seeds: tuple[SeedAddress, ...] = _entry(
        (),
        checks.seeds,
        "addresses of nodes by which the node finds the network",
        more="A host without a port means port 4040."
        " A host name stands for all of its IP addresses, and `*` for `localhost`. `srv:NAME` stands for what the"
        " SRV records of a name say, and needs the extra `dns`. `dir:PATH` is a directory in which nodes write where"
        " they listen; without `binds` a node that writes itself there listens at a free port of all interfaces. The"
        " node dials seeds until they answer. A node with `binds` or `seeds` needs a `secret` or a `certificate`. Where"
        " it has both, a peer must prove both.",
    )
    secret: tuple[bytes, ...] = _entry(
        (),
        checks.secrets,
        "at least 16 bytes, as str or bytes, which all nodes of the network know and nobody else",
        more="Of a tuple of secrets the node dials with the first, and accepts each.",
        read=texts.word,
    )
    secret_file: str | None = _entry(
        None,
        checks.path,
        "the path of a file with secrets, one a line, in place of `secret`",
        more="The node dials with the first, and accepts each. It reads the file again every five seconds, and takes up"
        " what has changed. Of a file that cannot be used the log has a warning, and the secrets that were read before"
        " stay in force. Connections keep the secret that they began with.",
    )
    certificate: Certificate | None = _entry(  # noqa: RUF009 - a field, which is what dataclasses take
        None, checks.certificate, "a `Certificate`, by which the node proves who it is", read=texts.table
    )
    encryption: bool = _entry(
        True,
        checks.flag,
        "whether connections are encrypted",
        more="Both sides must say False for a connection without encryption. It authenticates all the same.",
    )
    heartbeat: float = _entry(
        5.0,
        checks.heartbeat,
        "how often each connection says that the node is alive, 0.1 to 60; a peer is lost after three silent ones",
        unit="s",
    )
    connect_timeout: float = _entry(
        30.0,
        checks.seconds,
        "how long messages and monitors wait for a connection before they are given up, and reported",
        more="It must be longer than three heartbeats.",
        unit="s",
    )
    idle_timeout: float = _entry(
        600.0,
        checks.seconds,
        "a connection that nothing needs is closed when it has carried nothing for so long, and the peer agrees",
        more="A monitor of either side needs the connection. Closing it loses nothing: the next message opens another"
        " one. Of the two sides' settings the shorter one counts.",
        unit="s",
    )
    handshake_timeout: float = _entry(
        10.0,
        checks.seconds,
        "how long dialling an address may take, and then the handshake",
        unit="s",
    )
    attach_timeout: float | None = _entry(
        None,
        checks.optional_seconds,
        "how long `open_node` waits until the node is in the network; then it raises `NotAttached`",
        more="The services and the block begin when the node has a global node, or is one and has tried each of its"
        " seeds once. Without this setting they begin at once, and the node dials its seeds for as long as it takes.",
        unit="s",
        read=texts.number,
    )
    shutdown_timeout: float = _entry(
        5.0,
        checks.seconds,
        "how long the tasks of a dead port may take to unwind, and a closing node to flush what is queued",
        unit="s",
    )
    drain_timeout: float = _entry(
        25.0,
        checks.seconds,
        "how long the node may drain when a signal or an operator stops it, in `stop_on_signals` and `trio-mp run`",
        more="Then it is cut short. Whoever runs the process should give it this time, the `shutdown_timeout`, and some"
        " seconds more.",
        unit="s",
    )
    busy_poll: float = _entry(
        0.0,
        checks.busy_poll,
        "how long a connection is polled after each read from it, at most 0.001",
        more="Answers then come in a fraction of the time, for processor time: 50e-6 is usual where latency is what"
        " counts, and where each process has a core. Polling stops as soon as another task is runnable, and after 1 ms"
        " in any case. While it polls one connection, the node does not notice what other connections bring.",
        unit="s",
    )
    queue_limit: int = _entry(
        256 * MIB,
        checks.count,
        "how much may wait in the queue for one peer; more is a loss, and reported",
        unit="bytes",
    )
    message_limit: int = _entry(
        64 * MIB,
        checks.message_limit,
        "the largest message that travels, at most a quarter of `queue_limit`",
        unit="bytes",
    )
    mailbox_limit: int = _entry(
        1_000_000,
        checks.count,
        "how many messages may wait in one port; one more kills the port",
    )
    mailbox_size_limit: int = _entry(
        256 * MIB,
        checks.count,
        "how much memory waiting messages of other nodes may take in one port; more kills the port",
        unit="bytes",
    )
    port_limit: int = _entry(
        100_000,
        checks.count,
        "how many live ports one other node may have spawned here; more spawns fail",
    )
    monitor_limit: int = _entry(
        1_000_000,
        checks.count,
        "how many ports one other node may monitor here; more monitors fire",
    )
    call_limit: int = _entry(
        100_000,
        checks.count,
        "how many calls of one other node may be in flight here; more fail with `busy`",
    )
    unmonitored_death: UnmonitoredDeath = _entry(  # noqa: RUF009 - a field, which is what dataclasses take
        "log",
        checks.unmonitored_death,
        'what becomes of an exception that kills an unmonitored port: `"log"`, or `"raise"` to crash the node',
    )
    services: tuple[ServiceReference, ...] = _entry(
        (),
        checks.services,
        "functions to call with the node when it opens: `package.module:function`, or a list of that and of arguments",
        more="A module alone stands for its function `main`. The module is imported. A sync function runs before the"
        " block, and its exception leaves `open_node`. An async one is the task of a port of its own, with"
        " a mailbox: when it raises, that port dies.",
    )
    spawn_modules: tuple[str, ...] = _entry(
        (),
        checks.strings,
        "modules, imported when the node opens, whose `@spawnable` functions other nodes may spawn",
    )
    inspect: InspectionLevel = _entry(  # noqa: RUF009 - a field, which is what dataclasses take
        "off",
        checks.inspection_level,
        'what other nodes may see of this one: nothing, its state without IDs (`"read"`), or all, and act (`"act"`)',
        more="With `act` they see the IDs of ports and stacks, trace messages, and kill ports; each act is logged here."
        " A node may always inspect itself.",
    )
    inspect_from: tuple[str, ...] = _entry(
        (),
        checks.node_ids,
        "the IDs of the nodes that may inspect this one; without any, every node of the network may",
        more="Where certificates name nodes the ID is proven. With a secret alone every member may claim any ID, so"
        " this keeps out mistakes, and nobody who means harm.",
    )
    share_logs: bool = _entry(
        True,
        checks.flag,
        "whether other nodes get log records of this process when they ask for them",
    )
    health: Address | None = _entry(  # noqa: RUF009 - a field, which is what dataclasses take
        None,
        checks.health,
        "where the node answers probes over HTTP, at `/ready` and `/live`: `unix:PATH` or `127.0.0.1:PORT`",
        more="Nobody has to prove anything to ask. A Unix socket answers this user alone, `127.0.0.1` everybody on this"
        " machine, and `*` everybody who reaches it. A node is live as long as its loop turns within three heartbeats.",
    )
    tool: bool = _entry(
        False,
        checks.flag,
        "whether the node is a tool: a member that comes to look or to say something, and goes",
        more="It listens nowhere, is never global, and does not make another node global. `watch_nodes` and `peers` of"
        " other nodes leave it out; `watch_nodes(tools=True)` does not. Its node ID is the one that its certificate"
        " names, else a random one. From outside it takes no node ID, `binds`, `advertise`, `services`,"
        " `spawn_modules`, `attach_timeout` or `health`.",
    )

    @property
    def networked(self) -> bool:
        """Whether the node has a network; without one it only has ports of its own."""
        return bool(self.binds or self.seeds)


TABLE: dict[str, Entry] = {one.name: one.metadata[_KEY] for one in fields(Settings) if one.metadata}
"""The entries of all settings, by name, in the order in which the documentation shows them."""


def check_settings(node_id: str | None, arguments: SettingArguments) -> Settings:
    """Check the arguments of `open_node`; returns the settings of the node.

    Raises:
      TypeError: a setting is unknown, or its value has a wrong type.
      ConfigurationError: a value cannot work; the text names the setting.
    """
    given: dict[str, Any] = dict(arguments)
    unknown = sorted(set(given) - set(TABLE))
    if unknown:
        named = ", ".join(f"{name}{_nearest(name)}" for name in unknown)
        raise TypeError(f"open_node() has no setting {named}; its settings are {', '.join(sorted(TABLE))}")
    checked: dict[str, Any] = {name: TABLE[name].check(name, value) for name, value in given.items()}
    if node_id is not None and node_id != "anon/":
        checked["node_id"] = check_node_id(node_id)
    if checked.get("tool"):
        _check_tool(checked)
    settings = Settings(**checked)
    _check_together(settings)
    return settings


def _check_tool(checked: dict[str, Any]) -> None:
    """Have a tool listen nowhere. Raises `ConfigurationError` where it is told to listen."""
    if checked.get("binds"):
        raise ConfigurationError(
            f"binds: expected none in a tool, which listens nowhere, got {checked['binds'][0]}; leave it or tool away"
        )
    checked["binds"] = ()


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), ["node_id", "profile", *TABLE], n=1, cutoff=0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def _check_together(settings: Settings) -> None:
    """Raise `ConfigurationError` for settings that contradict each other."""
    if settings.networked and settings.advertise and not settings.binds:
        raise ConfigurationError(
            f"advertise: expected it in a node with binds, got {settings.advertise[0]} and no binds; say in binds where"
            " the node listens, or leave advertise away"
        )
    if settings.secret and settings.secret_file is not None:
        raise ConfigurationError("secret_file: expected it without a secret, got both; leave one of them away")
    if not (settings.secret or settings.secret_file or settings.certificate) and settings.networked:
        raise ConfigurationError(
            "secret: expected one, or a secret_file or a certificate, in a node with binds or seeds, got none: there"
            " is no unauthenticated network; give every node the same secret of at least 16 random bytes"
        )
    if settings.certificate is not None and not settings.encryption:
        raise ConfigurationError(
            "encryption: expected True in a node with a certificate, which is part of TLS, got False;"
            " leave encryption on, or certificate away"
        )
    if 3 * settings.heartbeat >= settings.connect_timeout:
        raise ConfigurationError(
            f"heartbeat: expected less than a third of the connect_timeout of {settings.connect_timeout:g} s,"
            f" got {settings.heartbeat:g} s; lower the one or raise the other"
        )
    if settings.message_limit > settings.queue_limit // 4:
        raise ConfigurationError(
            f"message_limit: expected at most a quarter of the queue_limit of {settings.queue_limit} bytes,"
            f" got {settings.message_limit}; lower the one or raise the other"
        )
