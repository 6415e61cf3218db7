"""`trio-mp run` and `trio-mp seed`: programs, services and seeds as processes."""

from __future__ import annotations

import argparse
import dataclasses
import inspect

import trio

from .._errors import ConfigurationError
from .._node.child import Parent
from .._node.node import Node
from .._node.services import FoundService
from .._settings.checks import binds as check_binds, strings
from .._settings.settings import SettingArguments
from .._transport.addresses import InheritedBind, parse_seed
from .deployed import NOTHING, DeployedNode, complain, report_program, where
from .exits import NO, OK, USAGE, CommandFailed
from .output import Output
from .program import find_modules_here, find_program
from .workers import DEFAULT_RESTART, run_workers, worker_opener, worker_stopper

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
    # Before the program is imported, which may take long: a worker whose parent dies must not outlive it.
    parent = _parent() if arguments.worker is not None else None
    find_modules_here()
    if arguments.restart is not None and arguments.workers is None and parent is None:
        raise ConfigurationError("--restart: expected it with --workers, got it alone; give --workers 1")
    if arguments.workers is not None:
        return run_workers(arguments)
    try:
        program = find_program(words) if words else None
    except ConfigurationError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever a module raises when it is imported
        return report_program(error)
    output, services = Output(arguments), ServicesWatch()

    def adjust(settings: SettingArguments) -> SettingArguments:
        return settings if program else _with_services(settings)

    async def main(node: Node) -> int:
        output.say(f"{f'{program.name} runs' if program else 'the services run'} in the node {node.id}{where(node)}")
        if program is None:
            status = await services.wait()
            if status:
                complain(f"no service of {node.id} runs any more, and one has failed or was killed: the node ends")
            return status
        await program.run(node)
        return OK

    if parent is None:
        return DeployedNode(arguments, main, adjust=adjust, watch=services.watch).run()
    return DeployedNode(
        arguments,
        main,
        adjust=adjust,
        open_node=worker_opener(parent, str(arguments.worker)),
        watch=services.watch,
        stop=worker_stopper(parent, arguments.restart or DEFAULT_RESTART),
    ).run()


def seed(arguments: argparse.Namespace) -> int:
    """Run `trio-mp seed`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work.
      CommandFailed: the node cannot listen where it should.
    """
    output = Output(arguments)

    async def main(node: Node) -> int:
        output.say(f"the seed {node.id} runs until it is stopped; it listens at")
        for bind in node.binds:
            output.row({"bind": bind})
        await trio.sleep_forever()

    # Given on the command line, so that the modules that a profile names are not even imported.
    defaults = {"binds": [EVERYWHERE]}
    return DeployedNode(arguments, main, defaults=defaults, fixed=NOTHING, adjust=as_seed).run()


def _parent() -> Parent:
    """Begin to watch the process that has started this worker."""
    try:
        return Parent()
    except RuntimeError:
        raise CommandFailed(
            USAGE, "--worker: expected a process that `run --workers` has started, got another"
        ) from None


class ServicesWatch:
    """Notices when the services of a node have ended."""

    def __init__(self) -> None:
        self._running = 0
        self._failed = False
        self._ended = trio.Event()

    def watch(self, service: FoundService) -> FoundService:
        """Give the service that is started in place of this one."""
        self._running += 1
        if not inspect.iscoroutinefunction(service.function):
            # What it has set up runs as long as the node.
            return service

        async def run(node: Node, *arguments: object) -> None:
            try:
                await service.function(node, *arguments)
            except BaseException:
                # A cancellation, too: somebody has killed its port. Nobody asks when the node closes.
                self._failed = True
                raise
            finally:
                self._running -= 1
                if not self._running:
                    self._ended.set()

        return dataclasses.replace(service, function=run)

    async def wait(self) -> int:
        """Wait until all services have ended; returns the exit status. A checkpoint."""
        await self._ended.wait()
        return NO if self._failed else OK


def _with_services(settings: SettingArguments) -> SettingArguments:
    """The settings of a node that has nothing to do but its services, and what other nodes spawn on it."""
    if not (settings.get("services") or settings.get("spawn_modules")):
        raise ConfigurationError(
            "run: expected MODULE, or services in the profile, got neither; name a program, or run"
            " `trio-mp profile add NAME services MODULE`, and give --profile NAME"
        )
    return settings


def as_seed(settings: SettingArguments) -> SettingArguments:
    """The settings of a node that is a seed, and global.

    A node is global if it has no seeds, or is among them. So a seed of a network that has several of them gets its own
    addresses as seeds, too.
    """
    found = settings.copy()
    binds = check_binds("binds", found.get("binds")) or ()
    if not binds:
        raise ConfigurationError("binds: expected an address to listen on for a seed, got none; give --bind ADDRESS")
    seeds = [str(parse_seed(text, setting="seeds")) for text in strings("seeds", found.get("seeds") or ())]
    # Of the others only a node that listens knows where that is.
    own = [str(bind) for bind in binds if not isinstance(bind, InheritedBind) and getattr(bind, "port", None) != 0]
    if seeds:
        found["seeds"] = list(dict.fromkeys([*seeds, *own]))
    return found
