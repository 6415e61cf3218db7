"""The rows of the commands that configure: profiles, secrets, certificates."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..command import Command, CommandFamily, whole_number
from .run import add_node_options, add_worker_options

RUN_PROFILE = "trio_mp.cli.profile:run_profile"

PROFILE = """\
NAME is the name of a profile, or `default` for the settings that hold for all profiles. Comments in
the file, and its order, stay.
"""

FAMILIES = [
    CommandFamily("profile", "configure", "show and change the profiles, from which nodes take their settings"),
    CommandFamily("secret", "configure", "make secrets, and replace them while the network runs"),
    CommandFamily("cert", "configure", "make the certificates of an authority and of nodes, and show them"),
    CommandFamily("unit", "configure", "print files by which systemd, Compose, Kubernetes and Slurm run a node"),
]


def _nothing(_: argparse.ArgumentParser) -> None:
    pass


def _name(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?" if optional else None)


def _show(parser: argparse.ArgumentParser) -> None:
    _name(parser, optional=True)
    text = "all settings that a node would take, and where each is from"
    parser.add_argument("--effective", action="store_true", help=text)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=["bash", "zsh", "fish"], help="bash, zsh or fish")


def _setting(parser: argparse.ArgumentParser, *, values: bool = True) -> None:
    _name(parser)
    parser.add_argument("setting", metavar="SETTING")
    if values:
        parser.add_argument("values", metavar="VALUE", nargs="+")


def _new_secret(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="PATH", help="the file, which must not exist yet")


ROTATE = """\
Replaces the secret of a network in three steps, while it runs. The file says itself which step it is
in; without --step, the command begins a rotation, or says how to go on with one. Do each step on one
machine, copy the file to all others, and give the nodes some seconds before the next one. The first
step makes a random secret, so on two machines it would make two that do not fit:

  1  adds a new secret: nodes accept both, and dial with the old one
  2  moves it first: nodes dial with the new one, and still accept the old one
  3  removes the old one

Without --step it says where the rotation stands, and changes nothing. A step that is done already
changes nothing either. The command never prints a secret.
"""


def _rotate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", metavar="PATH", help="the file with the secret; that of the profile by default")
    parser.add_argument("--profile", metavar="NAME", help="the profile whose secret_file it is")
    parser.add_argument("--step", type=whole_number(1, 3), metavar="N", help="the step to do: 1, 2 or 3")


CHECK = """\
Reads the options, the variables TRIO_MP_… and the profile, as a node would, and shows the settings
and where each is from. Then it tries what a node would do with them: it reads the file with secrets
and those of the certificate, imports the services, listens for a moment, and resolves the names of
seeds. It names all that is wrong. For a connection with the seeds, see `trio-mp doctor`.
"""


def _pair(parser: argparse.ArgumentParser, days: int) -> None:
    parser.add_argument(
        "--days", type=int, default=days, metavar="N", help="how many days it is valid (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there already")


def _cert_authority(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--certificate", default="authority.pem", metavar="PATH", help="the new file (default: %(default)s)"
    )
    parser.add_argument(
        "--key", default="authority.key", metavar="PATH", help="the new file with its key (default: %(default)s)"
    )
    parser.add_argument("--name", default="trio_mp authority", help="its name (default: %(default)s)")
    _pair(parser, 3650)


def _cert_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node_ids", metavar="ID", nargs="+", help="a node that the certificate names")
    parser.add_argument("--chain", metavar="PATH", help="the new file (default: the first ID, with .pem)")
    parser.add_argument("--key", metavar="PATH", help="the new file with its key (default: the first ID, with .key)")
    parser.add_argument(
        "--authority", default="authority.pem", metavar="PATH", help="who signs it (default: %(default)s)"
    )
    parser.add_argument(
        "--authority-key", default="authority.key", metavar="PATH", help="with this key (default: %(default)s)"
    )
    parser.add_argument(
        "--global",
        dest="may_be_global",
        action="store_true",
        help="the nodes may be global for all others: for seeds, unless all nodes name the same seeds",
    )
    _pair(parser, 365)


def _cert_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file with certificates, or with a key")


UNIT = """\
Prints a file that runs what `trio-mp run` would run with the same options, words and profile: a program, or
services, or both; a seed, if there is neither. The settings are in the file, as variables. No secret is:
it is a file of its own, and the text says how to make it.
"""


def _unit(parser: argparse.ArgumentParser) -> None:
    # Of its own argparse would show `...` for the words.
    parser.usage = "%(prog)s [OPTION …] [MODULE[:FUNCTION] [ARGUMENT …]]"
    add_node_options(parser)
    parser.add_argument("--name", metavar="NAME", help="what it is called there; by default as its node or profile")
    parser.add_argument(
        "words",
        metavar="MODULE[:FUNCTION] [ARGUMENT …]",
        nargs=argparse.REMAINDER,
        help="the program, and what its function gets behind the node",
    )


def _unit_user(parser: argparse.ArgumentParser) -> None:
    _unit(parser)
    add_worker_options(parser)
    parser.add_argument("--user", metavar="USER", help="who runs it; by default a user that systemd makes for it")


def _unit_systemd(parser: argparse.ArgumentParser) -> None:
    _unit_user(parser)
    parser.add_argument("--socket", action="store_true", help="systemd listens for it; see `trio-mp unit socket`")
    parser.add_argument(
        "--directory",
        metavar="PATH",
        help="where its modules are; by default the current folder, if they are in it",
    )


def _unit_container(parser: argparse.ArgumentParser) -> None:
    _unit(parser)
    add_worker_options(parser)
    parser.add_argument("--image", metavar="IMAGE", required=True, help="the image with trio-mp and the program")
    parser.add_argument("--replicas", type=whole_number(1), metavar="N", help="how many run at once (default: 3)")


def _unit_slurm(parser: argparse.ArgumentParser) -> None:
    _unit(parser)
    parser.add_argument(
        "--tasks",
        type=whole_number(1),
        default=4,
        metavar="N",
        help="how many nodes the job has (default: %(default)s)",
    )


_row = partial(Command, group="configure", run=RUN_PROFILE, joins=False)

_unit_row = partial(
    _row, description=UNIT, status="exit status: 0 it is printed, 2 a setting is wrong, or cannot be said there"
)

COMMANDS: list[Command] = [
    _row(
        name="init",
        help="make the file with the profiles, and a file with a new secret beside it",
        description="Makes both files where they are missing, so that nobody else can read them, and says where.",
        example="trio-mp init",
        add_arguments=_nothing,
    ),
    _row(
        name="profile list",
        help="the names of the profiles, one a line; * marks the one in use",
        example="trio-mp profile list",
        add_arguments=_nothing,
    ),
    _row(
        name="profile show",
        help="a profile as it is written; without a name the whole file",
        description=PROFILE,
        example="trio-mp profile show ruth --effective",
        add_arguments=_show,
    ),
    _row(
        name="profile set",
        help="set a setting; several values, or one with commas, are a list; `[]` is an empty one",
        description=PROFILE,
        example="trio-mp profile set ruth node_id ruth",
        add_arguments=_setting,
    ),
    _row(
        name="profile unset",
        help="remove a setting from a profile",
        description=PROFILE,
        example="trio-mp profile unset ruth heartbeat",
        add_arguments=partial(_setting, values=False),
    ),
    _row(
        name="profile add",
        help="add values to a list: binds, seeds, services, spawn_modules",
        description=PROFILE,
        example="""trio-mp profile add ruth services chat.server '["irc:start", "irc.example", 6667]'""",
        add_arguments=_setting,
    ),
    _row(
        name="profile remove",
        help="remove values from a list",
        description=PROFILE,
        example="trio-mp profile remove ruth services chat.server",
        add_arguments=_setting,
    ),
    _row(
        name="profile use",
        help="say which profile programs get that name none; without a name, none",
        example="trio-mp profile use ruth",
        add_arguments=partial(_name, optional=True),
    ),
    _row(
        name="profile delete",
        help="delete a profile",
        example="trio-mp profile delete ruth",
        add_arguments=_name,
    ),
    _row(
        name="secret new",
        help="print a new secret, or write it to a file that only you can read",
        example="trio-mp secret new --file secret",
        add_arguments=_new_secret,
    ),
    _row(
        name="secret rotate",
        help="replace the secret of a network in three steps, while it runs",
        description=ROTATE,
        example="trio-mp secret rotate --file secret --step 1",
        add_arguments=_rotate,
        run="trio_mp.cli.rotate:rotate",
        status="exit status: 0 the file is in that step, 1 another step comes first, 2 the file is wrong",
    ),
    _row(
        name="cert authority",
        help="make the certificate of an authority, and its key",
        example="trio-mp cert authority --days 3650",
        add_arguments=_cert_authority,
        run="trio_mp.cli.cert:authority",
        status="exit status: 0 both files are made, 2 nothing was changed",
    ),
    _row(
        name="cert node",
        help="make the certificate of a node, or of several that share it, and its key",
        example="trio-mp cert node ruth --days 90",
        add_arguments=_cert_node,
        run="trio_mp.cli.cert:node",
        status="exit status: 0 both files are made, 2 nothing was changed",
    ),
    _row(
        name="cert show",
        help="show what is in a file with certificates or with a key: the nodes, and until when it is valid",
        example="trio-mp cert show authority.pem",
        add_arguments=_cert_show,
        run="trio_mp.cli.cert:show",
        status="exit status: 0 all certificates are valid now, 1 one is not, 2 a file is wrong",
    ),
    _row(
        name="check",
        help="say what a node would be started with, and all that is wrong with it",
        description=CHECK,
        example="trio-mp check --profile ruth",
        add_arguments=add_node_options,
        run="trio_mp.cli.check:check",
        status="exit status: 0 nothing is wrong, 1 something is, 2 an option is wrong",
    ),
    _unit_row(
        name="unit systemd",
        help="print a service of systemd that runs a node",
        example="trio-mp unit systemd --bind '*:4040' --secret-file /etc/app/secret app:main > app.service",
        add_arguments=_unit_systemd,
        run="trio_mp.cli.unit.main:print_service",
    ),
    _unit_row(
        name="unit socket",
        help="print the socket by which systemd listens for a node, so that connections wait while it starts anew",
        example="trio-mp unit socket --bind '*:4040' --secret-file /etc/app/secret app:main > app.socket",
        add_arguments=_unit_user,
        run="trio_mp.cli.unit.main:print_socket",
    ),
    _unit_row(
        name="unit compose",
        help="print a file of Docker Compose that runs nodes, and seeds for them",
        example="trio-mp unit compose --image app:1.0 app:main > compose.yaml",
        add_arguments=_unit_container,
        run="trio_mp.cli.unit.main:print_compose",
    ),
    _unit_row(
        name="unit k8s",
        help="print the objects by which Kubernetes runs nodes, and seeds for them",
        example="trio-mp unit k8s --image app:1.0 --replicas 10 app:main > app.yaml",
        add_arguments=_unit_container,
        run="trio_mp.cli.unit.main:print_kubernetes",
    ),
    _unit_row(
        name="unit slurm",
        help="print a script for sbatch, whose tasks are nodes of a network of their own",
        example="trio-mp unit slurm --tasks 64 app:main > app.sh",
        add_arguments=_unit_slurm,
        run="trio_mp.cli.unit.main:print_slurm",
    ),
    Command(
        "completion",
        "configure",
        "print a script by which a shell completes the commands and their options",
        "trio-mp completion bash > ~/.local/share/bash-completion/completions/trio-mp",
        _completion,
        "trio_mp.cli.completion:completion",
        joins=False,
        prints=False,
        description="The script says where it belongs. Make it anew after an update of trio_mp.",
    ),
]
