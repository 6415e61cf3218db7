"""What a file of `trio-mp unit` has to say of a node, before it is written in the words of a manager."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..._errors import ConfigurationError
from ..._profiles.finding import read_configuration
from ..._profiles.gathering import Request, gather
from ..._profiles.sources import Merged
from ..._profiles.variables import PREFIX, PROFILE
from ..._settings import texts
from ..._settings.settings import SettingArguments, Settings, check_settings
from ..._transport.certificate_files import Certificate
from ..options import command_line_layer

MARGIN = 10.0
"""For how many seconds a manager waits longer than a node should take to stop, because machines may be slow."""

UNRESPONSIVE = 30.0
"""For how many seconds a node may be blocked at least, before its manager starts it anew."""

HEARTBEATS = 4
"""After how many heartbeats a manager may think that a node is blocked. After three its peers have told their programs
that it is lost, so nothing is lost by its end that is not lost already."""

# With `node-` before it and `-seeds` behind it, it is the name of a StatefulSet, which may have 52 characters.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9])?")

_APART = ("node_id", "secret", "secret_file", "certificate")
"""Settings that a file says in another way than by their variables."""

_OF_ONE_NODE = ("binds", "advertise", "seeds", "services", "spawn_modules", "attach_timeout", "health")
"""Settings that a seed beside the node does not share with it."""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """A node that a manager is to run.

    Attributes:
      name: what the manager calls it: letters, digits, and `_`, `.` and `-` between them.
      words: the program and its arguments, as `trio-mp run` takes them. Without any, it runs the services alone.
      workers: the options that have several processes run it; none for one process.
      is_seed: whether it runs neither a program nor services, so that it is a seed.
      settings: all settings, checked.
      values: the settings that are given, by name, without those that name the node or hold its secret.
      secret_file: the file with the secret, as it was given; empty if none was.
      certificate: the certificate, if there is one.
    """

    name: str
    words: tuple[str, ...]
    workers: tuple[str, ...]
    is_seed: bool
    settings: Settings
    values: Mapping[str, object]
    secret_file: str
    certificate: Certificate | None

    @property
    def proves_by_secret(self) -> bool:
        """Whether the node proves itself by a secret; if it does not, it has a certificate."""
        return self.certificate is None or bool(self.secret_file)

    @property
    def finds_nobody(self) -> bool:
        """Whether the settings name neither seeds nor an address to listen on, so that the file has to."""
        return not self.settings.networked

    @property
    def command(self) -> list[str]:
        """The command of the node, without what it is called by."""
        return ["seed"] if self.is_seed else ["run", *self.workers, *self.words]

    @property
    def variables(self) -> dict[str, str]:
        """The variables that give the settings, and the node ID."""
        given = {} if self.settings.node_id is None else {"node_id": self.settings.node_id}
        return variables_of({**given, **self.values})

    @property
    def variables_of_a_seed(self) -> dict[str, str]:
        """The variables that give a seed of the same network what all its nodes have in common."""
        return variables_of({name: value for name, value in self.values.items() if name not in _OF_ONE_NODE})

    @property
    def certificate_files(self) -> dict[str, str]:
        """The files of the certificate, by what they hold."""
        found = self.certificate
        return {"chain": found.chain, "key": found.key, "authority": found.authority} if found is not None else {}

    def certificate_variable(self, files: Mapping[str, str]) -> dict[str, str]:
        """The variable that gives the certificate.

        Args:
          files: where the node finds the files, by what they hold.
        """
        assert self.certificate is not None
        more = {} if self.certificate.verify_node_id else {"verify_node_id": False}
        return variables_of({"certificate": {**files, **more}})

    @property
    def stop_seconds(self) -> int:
        """How long the manager waits between SIGTERM and SIGKILL: longer than the node drains, unwinds and closes.

        With workers, they do so, and are killed if they take longer; then their supervisor unwinds and closes.
        """
        more = 3 * self.settings.shutdown_timeout + 1 if self.workers else 0.0
        return math.ceil(self.settings.drain_timeout + 2 * self.settings.shutdown_timeout + more + MARGIN)

    @property
    def blocked_seconds(self) -> int:
        """For how long the node may be blocked, before the manager starts it anew."""
        return math.ceil(max(UNRESPONSIVE, HEARTBEATS * self.settings.heartbeat))


def variables_of(values: Mapping[str, object]) -> dict[str, str]:
    """The variables that give these settings."""
    return {PREFIX + name.upper(): texts.written(value) for name, value in values.items()}


def make_plan(arguments: argparse.Namespace, environ: Mapping[str, str], **more: object) -> UnitPlan:
    """Plan the node that `trio-mp run` would run with these arguments, here and now.

    Args:
      arguments: with the options of `add_node_options`, and `name` and `words`.
      environ: the variables of this process, which give settings, too.
      more: settings that count where none of them is given.

    Raises:
      ConfigurationError: a setting cannot work, or a secret stands where others would see it.
    """
    words = tuple(arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words)
    merged = _gather(arguments, environ)
    if "secret" in merged.chosen:
        raise ConfigurationError(
            f"{merged.chosen['secret'].source}: expected a secret_file, because no secret stands in a file that others"
            " may read, got a secret; `trio-mp secret new --file PATH` makes such a file"
        )
    values = merged.values
    node_id = cast("str | None", values.get("node_id"))
    secret_file, certificate = values.get("secret_file"), cast("Certificate | None", values.get("certificate"))
    for path in (secret_file, *(getattr(certificate, name, None) for name in ("chain", "key", "authority"))):
        if path is not None and not str(path).isprintable():
            # They stand in comments, too, and would end them.
            raise ConfigurationError(f"expected the path of a file without control characters, got {str(path)!r}")
    kept = {name: value for name, value in values.items() if name not in _APART}
    kept = {**{name: value for name, value in more.items() if name not in kept}, **kept}
    settings = _check(node_id, kept, secret_file, certificate, merged)
    is_seed = not (words or settings.services or settings.spawn_modules)
    workers = _worker_options(arguments)
    if is_seed and workers:
        raise ConfigurationError("--workers: expected it with MODULE, or services in the profile, got neither")
    return UnitPlan(
        _name(arguments, node_id, words, merged),
        words,
        workers,
        is_seed,
        settings,
        kept,
        # As `trio-mp run` would find it here; a manager starts nodes in another folder.
        str(Path(str(secret_file)).absolute()) if secret_file else "",
        certificate,
    )


def _gather(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Merged:
    # The command line wins over the variable, as for every setting, so nobody needs to be told.
    environ = {name: text for name, text in environ.items() if name != PROFILE or not arguments.profile}
    request = Request(arguments.profile or True, frozenset(), {})
    return gather(request, environ, lambda: read_configuration(environ), command_line=command_line_layer(arguments))


def _check(
    node_id: str | None,
    values: Mapping[str, object],
    secret_file: object,
    certificate: Certificate | None,
    merged: Merged,
) -> Settings:
    """Check the settings as `open_node` does, and that each can be written."""
    given = {**values, "certificate": certificate}
    # Where the secret will be is for the file to say.
    given["secret_file"] = secret_file or (None if certificate else "secret")
    try:
        settings = check_settings(node_id, cast(SettingArguments, given))
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}{merged.sources_in(str(error))}") from None
    for name, value in values.items():
        source = merged.chosen[name].source if name in merged.chosen else name
        try:
            text = texts.written(value)
        except ValueError as error:
            raise ConfigurationError(f"{source}: {error}") from None
        if "\0" in text:
            raise ConfigurationError(f"{source}: expected a text that a variable can hold, got one with a NUL")
    return settings


def _worker_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The options of `trio-mp run` about its workers. The tasks of a job have none."""
    count, restart = getattr(arguments, "workers", None), getattr(arguments, "restart", None)
    if count is None and restart is not None:
        raise ConfigurationError("--restart: expected it with --workers, got it alone; give --workers 1")
    given = (("--workers", count), ("--restart", restart))
    return tuple(word for name, value in given if value is not None for word in (name, str(value)))


def _name(arguments: argparse.Namespace, node_id: str | None, words: tuple[str, ...], merged: Merged) -> str:
    """What the manager calls the node: as `--name` says, or after the node, the profile or the program."""
    given = cast("str | None", arguments.name)
    if given is not None:
        if not _NAME.fullmatch(given):
            raise ConfigurationError(
                f"--name: expected 1 to 40 letters, digits and, between them, `_`, `.` and `-`, got {given!r}"
            )
        return given
    module = words[0].partition(":")[0].removesuffix(".py").rpartition("/")[2] if words else ""
    for text in (node_id, arguments.profile, module):
        found = _NAME.match(re.sub(r"[^A-Za-z0-9_.-]+", "-", text or "").strip("_.-"))
        if found:
            return found[0]
    return "trio-mp-node" if merged.chosen.get("services") else "trio-mp-seed"
