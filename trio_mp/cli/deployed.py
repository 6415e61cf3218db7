"""The node of a command that runs until it is stopped: its settings are from outside, and signals end it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import trio

from .._errors import ConfigurationError, NotAttached
from .._node.node import Node
from .._node.opening import open_unstarted
from .._node.outside import from_outside
from .._node.services import FoundService, find_services, start_services
from .._node.signals import STOPPING_PROCESS, Stopping
from .._node.systemd import find_manager
from .._node.trace import trace_of_environment
from .._profiles.sources import Given
from .._settings.checks import services as checked_services
from .._settings.environment import Environment
from .._settings.settings import SettingArguments
from .exits import CANNOT_JOIN, CTRL_C, NO, OK, CommandFailed
from .options import command_line_layer
from .output import Output

NOTHING: Mapping[str, object] = {"services": (), "spawn_modules": ()}
"""The settings of a node that runs nothing that a profile names."""

_OURS = frozenset({"trio", "trio_mp", "contextlib", "importlib"})


NodeFrom = Callable[[str | None, SettingArguments], AbstractAsyncContextManager[Node]]
"""Opens a node with this ID and these settings."""


def open_deployed(node_id: str | None, settings: SettingArguments) -> AbstractAsyncContextManager[Node]:
    """Open a node as programs do, whose services the caller starts."""
    environment = Environment(manager=find_manager(settings))
    return open_unstarted(environment, node_id, instruments=trace_of_environment(), **settings)


StopFrom = Callable[[Node, Callable[[str], object]], Stopping]
"""Makes what stops a node in good order, and tells people so."""


def stop_node(node: Node, tell: Callable[[str], object]) -> Stopping:
    """Have the node drain, and its program end, as `stop_on_signals` does."""
    return Stopping(node, node.drain, seconds=node._runtime.settings.drain_timeout, tell=tell)


class DeployedNode:
    """Runs a node whose settings a command line, variables and profiles give.

    Args:
      arguments: with the options of `add_node_options`.
      main: runs in the node until it returns the exit status, or until it is cancelled, when the node has drained.
      defaults: settings that count where nothing from outside gives them.
      fixed: settings that nothing can change.
      adjust: takes the settings that were found, and returns those of the node; may raise `ConfigurationError`.
      open_node: opens the node.
      watch: takes each service before it is started, and returns what is started in its place.
      stop: makes what stops the node in good order; it gets the node, and what says something to people.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        main: Callable[[Node], Awaitable[int]],
        *,
        defaults: Mapping[str, object] | None = None,
        fixed: Mapping[str, object] | None = None,
        adjust: Callable[[SettingArguments], SettingArguments] = lambda settings: settings,
        open_node: NodeFrom = open_deployed,
        watch: Callable[[FoundService], FoundService] = lambda service: service,
        stop: StopFrom = stop_node,
    ) -> None:
        self._arguments = arguments
        self._main = main
        self._defaults = defaults or {}
        self._fixed = fixed or {}
        self._adjust = adjust
        self._open_node = open_node
        self._watch = watch
        self._stop = stop
        # From then on an exception is one of the program.
        self._opened = False

    def run(self) -> int:
        """Run the node until its main function has ended; returns the exit status of the command.

        Raises:
          ConfigurationError: a setting cannot work.
          CommandFailed: the node cannot listen where it should, or is not attached in its time.
          SystemExit: the program has raised it; or an operator wants the process to be started again.
        """
        if self._arguments.verbose:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        try:
            ended = trio.run(self._serve)
        except SystemExit:
            raise
        except BaseException as error:
            if not self._opened and isinstance(error, ConfigurationError):
                raise
            if not self._opened and isinstance(error, OSError):
                raise CommandFailed(CANNOT_JOIN, error.strerror or str(error)) from None
            if not self._opened and isinstance(error, NotAttached):
                raise CommandFailed(CANNOT_JOIN, str(error)) from None
            return report_program(error)
        if isinstance(ended, SystemExit):
            raise ended
        return ended

    async def _serve(self) -> int | SystemExit:
        """Open the node and run the main function; returns its status, or the exception by which it wants to leave."""
        profile = self._arguments.profile or True
        command_line = dict(command_line_layer(self._arguments))
        command_line |= {name: Given(name, value, "trio-mp") for name, value in self._fixed.items()}
        with (
            # Also while the node is opened, and while it closes. Not around Trio's run, which has a handler of its own.
            STOPPING_PROCESS.hearing() as opening,
            from_outside(None, profile, (), self._defaults, command_line) as (node_id, found),
            opening,
        ):
            settings = self._adjust(found)
            # Started here and not by the node, so that their exceptions can be told from those of its opening.
            services = find_services(checked_services("services", settings.pop("services", ())))
            status = OK
            async with self._open_node(node_id, settings) as node:
                self._opened = True
                async with self._stop(node, Output(self._arguments).say) as stopping:
                    start_services(node, map(self._watch, services))
                    node._runtime.standing.start()
                    try:
                        status = await self._main(node)
                    except SystemExit as left:
                        # The node closes in good order first: what was sent before still goes out.
                        return left
            # Also when the program has ended by itself: leaving the block waits for a drain, which may be cut short.
            return status or stopping.exit_status
        return OK


def where(node: Node) -> str:
    """Say where a node listens, behind its name; empty if it does not listen."""
    return f", which listens at {', '.join(node.binds)}" if node.binds else ""


def complain(text: str) -> None:
    """Say what has failed, on the standard error, also with `-q`."""
    print(f"trio-mp: {text}", file=sys.stderr)


def report_program(error: BaseException) -> int:
    """Show the traceback of an exception that a program has raised; returns the exit status of the command.

    For an interrupt by Ctrl-C it is one line instead.
    """
    interrupted = isinstance(error, KeyboardInterrupt)
    rest: BaseException | None = error
    if isinstance(error, BaseExceptionGroup):
        interrupts, rest = error.split(KeyboardInterrupt)
        interrupted = interrupts is not None
    if rest is not None and not isinstance(rest, KeyboardInterrupt):
        sys.excepthook(type(rest), _without_ours(rest), rest.__traceback__)
    if interrupted:
        complain("interrupted")
    return CTRL_C if interrupted else NO


def _without_ours(error: BaseException) -> BaseException:
    """Take the calls away from the beginning of a traceback by which this package and Trio came to the program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        trace = trace.tb_next
    # Without any call of the program it is about this package, and all of it counts.
    return error.with_traceback(trace) if trace is not None else error
