"""All that decides about the settings of one node: what its program says, the environment, and the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._settings.settings import TABLE
from .sources import KEYS, PROGRAM, Given, Layer, Merged, Overridden, merge, nearest, program_layer
from .variables import NETWORK, PROFILE, variables_layer

if TYPE_CHECKING:
    # For the type alone: programs without profiles do not load what reads them.
    from .document import Document

ONCE = ("node_id", "binds", "advertise", "services", "health")
"""What two nodes cannot share, or should not run twice. So only the first node of a process takes it from outside."""

TAKEN = "another node of this process has taken its own from outside"
"""Why a setting of `ONCE` cannot come from outside."""

NOT_FOR_TOOLS = ("node_id", "binds", "advertise", "services", "spawn_modules", "attach_timeout", "health")
"""What a profile says of the service that it is for, and not of a tool that joins the same network with it."""

A_TOOL = "the node is a tool"
"""Why a setting of `NOT_FOR_TOOLS` cannot come from outside. It is no mistake, so nobody is told."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the program says when it opens a node.

    Attributes:
      profile: the name of a profile, or True for the one that is configured; None if the program says nothing.
      fixed: the settings that cannot be changed from outside.
      arguments: the settings that the program gives, among them `node_id`.
    """

    profile: str | bool | None
    fixed: frozenset[str]
    arguments: Mapping[str, object]

    @property
    def barred(self) -> dict[str, str]:
        """The settings that cannot come from outside, each with the reason."""
        tool = dict.fromkeys(NOT_FOR_TOOLS, A_TOOL) if self.arguments.get("tool") else {}
        return {**dict.fromkeys(self.fixed, "the program has fixed it"), **tool}

    @property
    def wants_network(self) -> bool:
        """Whether the program says that the node shall have a network, by itself or from outside."""
        return bool(self.profile or self.arguments.get("binds") or self.arguments.get("seeds"))


def check_request(
    node_id: object, profile: object, fixed: Iterable[str], settings: Mapping[str, object]
) -> Request | None:
    """Check the arguments of `open_node` about the outside. None if the program takes nothing from there.

    Raises:
      TypeError: one has a wrong type, or `fixed` names no setting.
    """
    if not isinstance(profile, str | bool | None):
        raise TypeError(f"profile: expected the name of a profile, True, False or None, got {profile!r}")
    names = (fixed,) if isinstance(fixed, str) else tuple(fixed)
    if isinstance(fixed, str) or not all(isinstance(name, str) for name in names):
        hint = f"; write [{fixed!r}]" if isinstance(fixed, str) else ""
        raise TypeError(f"fixed: expected a tuple or list with the names of settings, got {fixed!r}{hint}")
    for name in names:
        if name not in KEYS:
            raise TypeError(f"fixed: expected names of settings, got {name!r}{nearest(name, KEYS)}")
    if profile is False:
        return None
    # They are looked at more than once.
    arguments = {name: tuple(value) if isinstance(value, Iterator) else value for name, value in settings.items()}
    if node_id is not None:
        arguments["node_id"] = node_id
    return Request(profile, frozenset(names), arguments)


def gather(
    request: Request,
    environ: Mapping[str, str],
    read_file: Callable[[], Document],
    *,
    barred: Mapping[str, str] | None = None,
    command_line: Layer | None = None,
) -> Merged:
    """Gather the settings of one node from everywhere.

    Args:
      request: what the program says.
      environ: the variables of the process.
      read_file: reads the file with the profiles. It is called only if the program or the environment wants a network:
        a program that uses ports of its own process alone shall not depend on what its user has configured.
      barred: more settings that cannot come from outside, each with the reason.
      command_line: the settings that a command line gives.

    Raises:
      ConfigurationError: a setting from outside cannot work, or the file cannot be read. The text names the place.
      TypeError: an argument of the program has a wrong type.
    """
    outside: list[Layer] = [command_line or {}, variables_layer(environ)]
    unused: list[Overridden] = []
    named = environ.get(PROFILE) or None
    if request.wants_network or any(environ.get(variable) for variable in NETWORK):
        document = read_file()
        if isinstance(request.profile, str):
            if named not in (None, request.profile):
                unused += [Overridden(Given("profile", named, PROFILE), "the program names another", barred=True)]
            named = request.profile
        outside += document.layers(named or document.use)
    merged = merge(outside, program_layer(request.arguments), {**request.barred, **(barred or {})})
    for one in merged.overridden:
        name = one.given.name
        if one.given.source == PROGRAM and name in TABLE:
            # A mistake of the program is one everywhere, also where others decide.
            TABLE[name].check(name, one.given.value)
    return Merged(merged.chosen, (*merged.overridden, *unused))


def explain(merged: Merged) -> list[str]:
    """Say where each setting comes from that is not the program's, and which arguments do not count: a text for each.

    No value is in it, because it goes to the log, and a value may be a secret.
    """
    told = [f"{name} is from {given.source}" for name, given in merged.outside.items()]
    for one in merged.overridden:
        if one.given.source == PROGRAM:
            told.append(f"the program's {one.given.name} does not count, because {one.why}")
        elif one.why == TAKEN:
            told.append(f"{one.given.source} does not count, because {one.why}")
    return told


def explain_barred(merged: Merged) -> list[str]:
    """Say which settings from outside have no effect because the program does not let them, a text for each."""
    barred = [one for one in merged.overridden if one.barred and one.why not in (TAKEN, A_TOOL)]
    return [f"{one.given.source} has no effect: {one.why}" for one in barred]
