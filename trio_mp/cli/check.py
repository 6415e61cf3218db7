"""`trio-mp check`: what a node would be started with, and all that is wrong with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import trio

from .._errors import ConfigurationError
from .._ids import random_token
from .._node.services import find_services
from .._peers.secret_file import read_secret_file
from .._profiles.finding import read_configuration
from .._profiles.mistakes import gather_all
from .._profiles.sources import Given, Merged
from .._services.seed_names import SeedName
from .._services.spawning import import_modules
from .._settings import checks
from .._settings.settings import TABLE, check_settings
from .._transport.addresses import Address, DirectorySeed, InheritedBind, SeedAddress, UnixAddress
from .._transport.certificate_files import Certificate
from .._transport.seed_files import read_seed_files
from .._transport.sockets import SocketTransport
from .exits import NO, OK
from .options import command_line_layer
from .output import Output
from .profile import HIDDEN
from .program import find_modules_here

T = TypeVar("T")

RESOLVING = 5.0
"""How long resolving a name may take, in seconds."""


def check(arguments: argparse.Namespace) -> int:
    """Run `trio-mp check`; returns its exit status: `NO` if anything is wrong.

    Raises:
      ConfigurationError: an option has a value that cannot work.
    """
    layer = command_line_layer(arguments)
    merged, mistakes = gather_all(arguments.profile, os.environ, lambda: read_configuration(os.environ), layer)
    mistakes += find_mistakes(merged)
    out = Output(arguments)
    _show(merged, out)
    for mistake in mistakes:
        out.row({"wrong": mistake}, f"wrong: {mistake}")
    out.say(
        f"{len(mistakes)} {'thing is' if len(mistakes) == 1 else 'things are'} wrong" if mistakes else "all is well"
    )
    return NO if mistakes else OK


def _show(merged: Merged, out: Output) -> None:
    """Print the settings, and where each is from."""
    rows = [(name, HIDDEN if name == "secret" else given.value, given.source) for name, given in merged.chosen.items()]
    if rows:
        out.table(["setting", "value", "from"], rows)
    defaults = len(TABLE) - len([name for name in merged.chosen if name in TABLE])
    out.say(f"the other {defaults} settings are those of the program, or the defaults")


def find_mistakes(merged: Merged) -> list[str]:
    """Try what a node would do with these settings when it opens; returns a text for each thing that is wrong."""
    find_modules_here()
    found: list[str] = []
    values = merged.values
    node_id = values.pop("node_id", None)
    try:
        check_settings(node_id, values)  # type: ignore[arg-type]
    except ConfigurationError as error:
        found.append(f"{error}{merged.sources_in(str(error))}")
    for name, given in merged.chosen.items():
        if name in _CHECKS:
            found += [f"{given.source}: {text}" for text in _CHECKS[name](given, merged)]
    return found


def _try(tries: Iterable[Callable[[], object]]) -> list[str]:
    """Call these functions; returns why the others cannot work."""
    found: list[str] = []
    for one in tries:
        try:
            one()
        except ConfigurationError as error:
            found.append(str(error))
        except SystemExit as error:
            # A module may do that when it is imported.
            found.append(f"importing a module ends the program: SystemExit: {error}")
    return found


def _check_secret_file(given: Given, _: Merged) -> list[str]:
    try:
        found = read_secret_file(str(given.value))
    except ConfigurationError as error:
        return [str(error)]
    return [found.warning] if found.warning else []


def _check_certificate(given: Given, merged: Merged) -> list[str]:
    from .._transport.certificates import CertificateTLS  # as long as all the rest, for those who have certificates

    assert isinstance(given.value, Certificate)
    node_id = merged.values.get("node_id") or f"anon/{random_token(os.urandom)}"
    return _try([lambda: CertificateTLS(given.value, str(node_id))])  # type: ignore[arg-type]


def _check_services(given: Given, _: Merged) -> list[str]:
    found: list[str] = []
    for index, service in enumerate(checks.services("services", given.value)):
        # Each by itself, so that one does not hide the others; the error takes it for the first.
        wrong = _try([lambda one=service: find_services([one])])  # type: ignore[misc]
        found += [text.replace("services[0]", f"services[{index}]", 1) for text in wrong]
    return found


def _check_spawn_modules(given: Given, _: Merged) -> list[str]:
    modules = [str(name) for name in given.value]  # type: ignore[attr-defined]
    return _try([lambda name=name: import_modules([name], "spawn_modules") for name in modules])  # type: ignore[misc]


def _check_binds(given: Given, _: Merged) -> list[str]:
    binds = checks.binds("binds", given.value) or ()
    # Sockets that systemd passes are not there now, and another process must not listen on those that are.
    return trio.run(_each, _try_to_listen, [bind for bind in binds if not isinstance(bind, InheritedBind)])


def _check_health(given: Given, _: Merged) -> list[str]:
    address = checks.health("health", given.value)
    return trio.run(_each, _try_to_listen, [address] if address is not None else [])


def _check_seeds(given: Given, _: Merged) -> list[str]:
    return trio.run(_each, _try_to_find, checks.seeds("seeds", given.value))


async def _each(attempt: Callable[[T], Awaitable[str]], tried: Iterable[T]) -> list[str]:
    """Try all addresses at once; returns what is wrong, in their order."""
    found: dict[T, str] = dict.fromkeys(tried, "")

    async def one(address: T) -> None:
        found[address] = await attempt(address)

    async with trio.open_nursery() as nursery:
        for address in found:
            nursery.start_soon(one, address)
    return [text for text in found.values() if text]


async def _try_to_listen(address: Address) -> str:
    """Listen for a moment; returns why that is not possible."""
    try:
        listeners = await SocketTransport().listen(address)
    except OSError as error:
        return f"{error.strerror or error}; if the node runs already, that is why"
    for listener in listeners:
        await listener.aclose()
    return ""


async def _try_to_find(address: SeedAddress) -> str:
    """Resolve the name of a seed; returns why that is not possible. Whether a node is there is for the doctor."""
    if isinstance(address, DirectorySeed):
        return _try_to_use(address)
    if isinstance(address, UnixAddress):
        folder = Path(address.path).absolute().parent
        return "" if folder.is_dir() else f"{address}: there is no folder {folder}"
    with trio.move_on_after(RESOLVING):
        try:
            found = await SeedName(address, SocketTransport(), "").look_up()
        except ConfigurationError as error:
            return str(error)
        except OSError as error:
            return f"{address}: the name cannot be resolved: {error.strerror or error}"
        return "" if found else f"{address}: the name has no address"
    return f"{address}: the name was not resolved within {RESOLVING:g} s"


def _try_to_use(seed: DirectorySeed) -> str:
    """Look into a directory of seeds; returns why a node cannot use it. The first node there makes it."""
    folder = Path(seed.path).absolute()
    try:
        listing = read_seed_files(seed.path, old_before=0)
    except FileNotFoundError:
        return "" if folder.parent.is_dir() else f"{seed}: there is no folder {folder.parent}"
    except OSError as error:
        return f"{seed}: the directory cannot be read: {error.strerror or error}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{seed}: this user may not write there, so no node of this user can be a seed"
    return f"{seed}: {'; '.join(listing.faults)}" if listing.faults else ""


_CHECKS: dict[str, Callable[[Given, Merged], list[str]]] = {
    "secret_file": _check_secret_file,
    "certificate": _check_certificate,
    "services": _check_services,
    "spawn_modules": _check_spawn_modules,
    "binds": _check_binds,
    "seeds": _check_seeds,
    "health": _check_health,
}
"""What is tried for each setting; each function returns what is wrong."""
