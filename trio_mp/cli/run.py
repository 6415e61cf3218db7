"""`trio-mp run` and `trio-mp seed`: programs, services and seeds as processes."""

from __future__ import annotations

import argparse

import trio

from .._errors import ConfigurationError
from .._node.node import Node
from .._settings.checks import addresses
from .._settings.settings import SettingArguments
from .._transport.addresses import TCPAddress
from .deployed import DeployedNode, report_program
from .output import Output
from .program import find_modules_here, find_program

EVERYWHERE = "*:4040"
"""Where a seed listens that nobody has told where."""


def run(arguments: argparse.Namespace) -> int:
    """Run `trio-mp run`; returns its exit status.

    Raises:
      ConfigurationError: there is no such program, or a setting cannot work.
      CommandFailed: the node cannot listen where it should.
      SystemExit: the program has raised it.
    """
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    find_modules_here()
    try:
        program = find_program(words) if words else None
    except ConfigurationError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a module raises when it is imported
        return report_program(error)
    output = Output(arguments)

    def adjust(settings: SettingArguments) -> SettingArguments:
        return settings if program else _with_services(settings)

    async def main(node: Node) -> None:
        output.say(f"{program.name if program else 'the services'} run in the node {node.id}{_where(node)}")
        if program:
            await program.run(node)
        else:
            await trio.sleep_forever()

    return DeployedNode(arguments, main, adjust=adjust).run()


def seed(arguments: argparse.Namespace) -> int:
    """Run `trio-mp seed`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work.
      CommandFailed: the node cannot listen where it should.
    """
    output = Output(arguments)

    async def main(node: Node) -> None:
        output.say(f"the seed {node.id} runs until it is stopped; it listens at")
        for bind in node.binds:
            output.row({"bind": bind})
        await trio.sleep_forever()

    # Given on the command line, so that the modules that a profile names are not even imported.
    nothing = {"services": (), "spawn_modules": ()}
    return DeployedNode(arguments, main, defaults={"binds": [EVERYWHERE]}, fixed=nothing, adjust=_as_seed).run()


def _where(node: Node) -> str:
    return f", which listens at {', '.join(node.binds)}" if node.binds else ""


def _with_services(settings: SettingArguments) -> SettingArguments:
    """The settings of a node that has nothing to do but its services."""
    if not settings.get("services"):
        raise ConfigurationError(
            "run: expected MODULE, or services in the profile, got neither; name a program, or run"
            " `trio-mp profile add NAME services MODULE`, and give --profile NAME"
        )
    return settings


def _as_seed(settings: SettingArguments) -> SettingArguments:
    """The settings of a node that is a seed, and global.

    A node is global if it has no seeds, or is among them. So a seed of a network that has several of them gets its own
    addresses as seeds, too.
    """
    found = settings.copy()
    binds = addresses("binds", found.get("binds") or ())
    if not binds:
        raise ConfigurationError("binds: expected an address to listen on for a seed, got none; give --bind ADDRESS")
    seeds = [str(address) for address in addresses("seeds", found.get("seeds") or ())]
    own = [str(bind) for bind in binds if not (isinstance(bind, TCPAddress) and bind.port == 0)]
    if seeds:
        found["seeds"] = list(dict.fromkeys([*seeds, *own]))
    return found
