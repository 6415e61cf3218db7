"""The services of a node: functions that its settings name, and that it calls when it opens."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .._errors import ConfigurationError
from .._events import fields
from .._ports.port import Port
from .._services.spawning import import_modules
from .._settings.checks import ServiceReference
from .node import Node

log = logging.getLogger("trio_mp")


@dataclass(frozen=True, slots=True)
class FoundService:
    """A service whose module has been imported.

    Attributes:
      name: the name for the log, `package.module:function`.
      function, arguments: it is called as `function(node, *arguments)`.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[object, ...]


def find_services(references: Iterable[ServiceReference]) -> list[FoundService]:
    """Import the modules of services, and find their functions.

    Raises:
      ConfigurationError: a module cannot be imported, or has no such function.
    """
    found: list[FoundService] = []
    for index, reference in enumerate(references):
        place = f"services[{index}]"
        import_modules([reference.module], place)
        name = f"{reference.module}:{reference.function}"
        function = vars(sys.modules[reference.module]).get(reference.function)
        if not callable(function) or inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            got = "none of that name" if function is None else repr(function)
            raise ConfigurationError(
                f"{place}: expected a function {reference.function}(node) in the module {reference.module}, got {got};"
                " write 'package.module:function' for another one"
            )
        found.append(FoundService(name, function, reference.arguments))
    return found


def start_services(node: Node, services: Iterable[FoundService]) -> None:
    """Call the sync services, and start a port for each async one, in their order. Not a checkpoint.

    Raises:
      whatever a sync service raises. Those behind it are not started.
    """
    for service in services:
        if inspect.iscoroutinefunction(service.function):
            port = node.start_port(_serve, node, service)
            log.info("the service %s is the port %s", service.name, port, extra=fields("service", node.id))
            continue
        result = service.function(node, *service.arguments)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                f"the service {service.name}: expected an async function, or a sync one that does not return a"
                " coroutine, got an async function behind a sync one; decorate it async"
            )


async def _serve(_port: Port, node: Node, service: FoundService) -> None:
    """The task of a service's port."""
    await service.function(node, *service.arguments)
