"""`trio-mp unit systemd` and `socket`: a service of systemd, and the socket that it may be started by."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import PurePosixPath

from ..._errors import ConfigurationError
from ..._transport.addresses import DEFAULT_PORT, Address, InheritedBind, TCPAddress, UnixAddress
from .plan import UnitPlan, variables_of

SECRET = "/etc/trio_mp/secret"  # noqa: S105 - a path
"""Where the secret is if the settings do not say it."""

FOLDER = "/etc/systemd/system"

DESCRIPTORS = "node"
"""What systemd calls the sockets that it opens for a node."""

_PLAIN = re.compile(r"[A-Za-z0-9_/.:=,@+*\[\]-]+")
_HOMES = ("/home", "/root", "/run/user")

_HARDENING = """\
# What a node does not need. Take lines away for what the program needs.
NoNewPrivileges=yes
ProtectSystem=strict
{home}
{temporary}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{capabilities}
UMask=0077
LimitNOFILE=65536
"""


@dataclass(frozen=True, slots=True)
class SystemdOptions:
    """What only a service of systemd needs to know.

    Attributes:
      command: the absolute path of the program `trio-mp`, and words that belong to it.
      directory: the absolute path of the folder in which the program's modules are; empty if they are installed.
      user: the user that the node runs as; empty for one of its own, which systemd makes.
      activated: whether systemd listens for the node, by a socket unit.
    """

    command: Sequence[str]
    directory: str
    user: str
    activated: bool


def write_service(plan: UnitPlan, options: SystemdOptions) -> str:
    """Write the service of a node.

    Raises:
      ConfigurationError: systemd cannot run a node with such settings.
    """
    return "\n".join(
        [
            f"# {FOLDER}/{plan.name}.service: a node of trio_mp, for systemd 250 and later.",
            *_how_to(plan, options),
            "",
            "[Unit]",
            f"Description={plan.name}, a node of trio_mp",
            "Wants=network-online.target",
            "After=network-online.target",
            *([f"Requires={plan.name}.socket", f"After={plan.name}.socket"] if options.activated else []),
            "# It is started again however often it fails.",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            *_starting(plan, options),
            "",
            *_ending(plan),
            "",
            *_identity(plan, options),
            "",
            *_hardening(plan, options),
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def write_socket(plan: UnitPlan, user: str) -> str:
    """Write the socket unit of a node: systemd listens in its place, so connections wait while the node starts anew.

    Raises:
      ConfigurationError: systemd cannot listen where the settings say.
    """
    binds = _binds(plan)
    if any(isinstance(bind, UnixAddress) for bind in binds) and not user:
        raise ConfigurationError(
            "binds: expected a TCP address, or --user USER, because the socket of a unit belongs to root otherwise, got"
            f" {next(str(bind) for bind in binds if isinstance(bind, UnixAddress))}"
        )
    return "\n".join(
        [
            f"# {FOLDER}/{plan.name}.socket: where systemd listens for {plan.name}.service.",
            "",
            "[Unit]",
            f"Description=The addresses of {plan.name}, a node of trio_mp",
            "",
            "[Socket]",
            *(f"ListenStream={_listened(bind)}" for bind in binds),
            f"FileDescriptorName={DESCRIPTORS}",
            *(["SocketMode=0600", f"SocketUser={user}"] if user else ["SocketMode=0600"]),
            "",
            "[Install]",
            "WantedBy=sockets.target",
            "",
        ]
    )


def quoted(text: str, *, command: bool = False) -> str:
    """A word as systemd reads it.

    Args:
      text: the word.
      command: whether it stands in a command line, where `$` begins a variable.

    Raises:
      ConfigurationError: it has a character that systemd refuses.
    """
    if bad := next((one for one in text if (ord(one) < 32 or ord(one) == 127) and one not in "\t\n"), None):
        raise ConfigurationError(f"expected a text without control characters, as systemd wants it, got {bad!r}")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped.replace("$", "$$") if command else escaped}"'


def _environment(variables: dict[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        try:
            yield f"Environment={quoted(f'{name}={value}')}"
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None


def _how_to(plan: UnitPlan, options: SystemdOptions) -> Iterator[str]:
    secret = plan.secret_file or SECRET
    if _has_secret(plan):
        yield f"# It takes the secret from {secret}, which only {options.user or 'root'} needs to read. To make it:"
        yield f"#   trio-mp secret new --file {shlex.quote(secret)}"
        if not options.user:
            yield "# When it is replaced, start the service again; with --user USER the node reads it itself."
    for folder in _directories(plan) if options.user else []:
        if not re.fullmatch(r"/run/[^/]+", folder):
            yield f"# It writes into {folder}, which has to be there. To make it:"
            yield f"#   install -d -m 0700 -o {options.user} {shlex.quote(folder)}"
    both = f"{plan.name}.socket {plan.name}" if options.activated else plan.name
    yield f"# Then: systemctl daemon-reload; systemctl enable --now {both}"


def _starting(plan: UnitPlan, options: SystemdOptions) -> Iterator[str]:
    words = [*options.command, *plan.command]
    if _has_network(plan):
        yield "# Ready when it listens and its services have started. `systemctl status` says whether it is attached."
        yield "Type=notify"
        yield "NotifyAccess=main"
    else:
        yield "# It has no network, so it tells nobody when it is ready."
        yield "Type=exec"
    yield f"ExecStart={' '.join(quoted(word, command=True) for word in words)}"
    if options.directory:
        yield f"WorkingDirectory={_raw(options.directory)}"
    variables = plan.variables
    if options.activated:
        _binds(plan)
        variables |= variables_of({"binds": [f"fd:{DESCRIPTORS}"]})
    yield from _environment({"PYTHONUNBUFFERED": "1", "TRIO_MP_CONFIG": "/dev/null", **variables})


def _ending(plan: UnitPlan) -> list[str]:
    watchdog = [
        "# A node that is blocked for longer than three heartbeats is lost for its peers already.",
        f"WatchdogSec={plan.blocked_seconds}",
    ]
    return [
        "# SIGTERM drains the node. It may take longer than the drain may, and tells systemd how long.",
        "# The node tells its own processes when they are to end.",
        "KillMode=mixed",
        f"TimeoutStopSec={plan.stop_seconds}",
        *(watchdog if _has_network(plan) else []),
        "# 75 asks for another start, as `trio-mp restart` does.",
        "Restart=on-failure",
        "RestartSec=2",
        "RestartForceExitStatus=75",
        "SuccessExitStatus=75",
    ]


def _identity(plan: UnitPlan, options: SystemdOptions) -> Iterator[str]:
    """Who the node is, for the machine and for the network."""
    if options.user:
        yield f"User={options.user}"
        if _has_secret(plan):
            yield from _environment(variables_of({"secret_file": _absolute("secret_file", plan.secret_file or SECRET)}))
    else:
        yield "# A user of its own, as long as the node runs."
        yield "DynamicUser=yes"
        if _has_secret(plan):
            yield _credential("secret", _absolute("secret_file", plan.secret_file or SECRET))
            yield "Environment=TRIO_MP_SECRET_FILE=%d/secret"
    yield from _certificate(plan, options)


def _certificate(plan: UnitPlan, options: SystemdOptions) -> Iterator[str]:
    if plan.certificate is None:
        return
    files = {name: _absolute(f"certificate.{name}", path) for name, path in plan.certificate_files.items()}
    if options.user:
        yield from _environment(plan.certificate_variable(files))
        return
    for name, path in files.items():
        yield _credential(name, path)
    # The folder is a specifier, which quoting would make a text.
    folder = "/the-folder-of-credentials"
    (line,) = _environment(plan.certificate_variable({name: f"{folder}/{name}" for name in files}))
    yield line.replace(folder, "%d")


def _credential(name: str, path: str) -> str:
    return f"LoadCredential={name}:{_raw(path)}"


def _raw(path: str) -> str:
    """A path where systemd reads the rest of the line as it is, without quotes."""
    if not path.isprintable() or path != path.strip() or path.endswith("\\"):
        raise ConfigurationError(f"expected a path that systemd can have in a line, got {path!r}")
    return path.replace("%", "%%")


def _has_secret(plan: UnitPlan) -> bool:
    """Whether the node has a network, and proves itself there by a secret."""
    return plan.proves_by_secret and _has_network(plan)


def _has_network(plan: UnitPlan) -> bool:
    return plan.settings.networked or plan.is_seed


def _absolute(name: str, path: str) -> str:
    if not path.startswith("/"):
        raise ConfigurationError(
            f"{name}: expected an absolute path, because systemd starts the node in another folder, got {path!r}"
        )
    return path


def _hardening(plan: UnitPlan, options: SystemdOptions) -> list[str]:
    folders = _folders(plan)
    used = [*folders, options.directory, options.command[0]]
    if options.user:
        # The node reads them itself; for others systemd does.
        used += [plan.secret_file, *plan.certificate_files.values()]
    homes = any(_below(path, _HOMES) for path in used)
    temporary = any(_below(path, ("/tmp", "/var/tmp")) for path in used)  # noqa: S108 - they are looked for
    low = any(isinstance(bind, TCPAddress) and 0 < bind.port < 1024 for bind in plan.settings.binds or ())
    text = _HARDENING.format(
        home=f"ProtectHome={'read-only' if homes else 'yes'}",
        temporary=f"PrivateTmp={'no' if temporary else 'yes'}",
        capabilities="CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE"
        if low and not options.activated
        else "CapabilityBoundingSet=",
    )
    return [*_writable(folders, options), text]


def _writable(folders: list[str], options: SystemdOptions) -> Iterator[str]:
    """The folders in which the node makes sockets or files."""
    for folder in folders:
        own = re.fullmatch(r"/run/([A-Za-z0-9_.-]+)", folder)
        if own and own[1] != "user":
            yield "# For its sockets. It stays when the node stops, because other nodes may use it."
            yield f"RuntimeDirectory={own[1]}"
            yield "RuntimeDirectoryMode=0700"
            yield "RuntimeDirectoryPreserve=yes"
        elif options.user:
            yield f"ReadWritePaths={quoted(folder)}"
        else:
            raise ConfigurationError(
                "binds: expected --user USER, because a user that systemd makes can write only to a folder below /run,"
                f" got an address in {folder}"
            )


def _folders(plan: UnitPlan) -> list[str]:
    """The folders of the file system in which a node writes."""
    settings = plan.settings
    paths = [("binds", address) for address in map(str, settings.binds or ())]
    if settings.binds is None:
        # It listens beside its seed.
        paths += [("seeds", address) for address in map(str, settings.seeds)]
    if settings.health is not None:
        paths.append(("health", str(settings.health)))
    found = [
        str(PurePosixPath(_absolute(name, address.removeprefix("unix:"))).parent)
        for name, address in paths
        if address.startswith("unix:")
    ]
    return list(dict.fromkeys([*found, *_directories(plan)]))


def _directories(plan: UnitPlan) -> list[str]:
    """The directories that are seeds of a node."""
    seeds = [str(seed) for seed in plan.settings.seeds]
    return [_absolute("seeds", seed.removeprefix("dir:")) for seed in seeds if seed.startswith("dir:")]


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _binds(plan: UnitPlan) -> list[Address]:
    """Where systemd is to listen for the node."""
    binds = plan.settings.binds or ()
    found = [bind for bind in binds if not isinstance(bind, InheritedBind)]
    if not binds and plan.is_seed:
        return [TCPAddress("*", DEFAULT_PORT)]
    if not found or len(found) < len(binds):
        got = ", ".join(map(str, binds)) or "none"
        raise ConfigurationError(f"binds: expected addresses at which systemd listens for the node, got {got}")
    return found


def _listened(bind: Address) -> str:
    if isinstance(bind, UnixAddress):
        return _raw(_absolute("binds", bind.path))
    if bind.port == 0:
        raise ConfigurationError(f"binds: expected a port that can be told to systemd, got {bind}")
    if bind.host == "*":
        return str(bind.port)
    try:
        ip_address(bind.host)
    except ValueError:
        raise ConfigurationError(f"binds: expected an IP address or `*`, as systemd wants it, got {bind}") from None
    return str(bind)
