"""Runs `trio-mp unit`: plans the node, and prints the file for one of the managers."""

from __future__ import annotations

import argparse
import os
import re
import sys
from importlib.machinery import PathFinder
from io import TextIOWrapper
from pathlib import Path

from ..._errors import ConfigurationError
from ..exits import OK
from ..output import Output
from .compose import write_compose
from .containers import ContainerOptions
from .kubernetes import write_kubernetes
from .plan import UnitPlan, make_plan
from .slurm import SlurmOptions, write_slurm
from .systemd import SystemdOptions, write_service, write_socket

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def print_service(arguments: argparse.Namespace) -> int:
    """Run `trio-mp unit systemd`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work, or systemd cannot run such a node.
    """
    plan = make_plan(arguments, os.environ)
    directory = arguments.directory
    if directory is None:
        directory = _directory_of(plan)
    elif directory:
        directory = str(Path(directory).absolute())
    options = SystemdOptions(_command(), directory, _user(arguments), arguments.socket)
    return _print(arguments, write_service(plan, options))


def print_socket(arguments: argparse.Namespace) -> int:
    """Run `trio-mp unit socket`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work, or systemd cannot listen for such a node.
    """
    return _print(arguments, write_socket(make_plan(arguments, os.environ), _user(arguments)))


def print_compose(arguments: argparse.Namespace) -> int:
    """Run `trio-mp unit compose`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work, or containers cannot run such a node.
    """
    options = ContainerOptions(arguments.image, arguments.replicas)
    return _print(arguments, write_compose(make_plan(arguments, os.environ), options))


def print_kubernetes(arguments: argparse.Namespace) -> int:
    """Run `trio-mp unit k8s`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work, or containers cannot run such a node.
    """
    options = ContainerOptions(arguments.image, arguments.replicas)
    return _print(arguments, write_kubernetes(make_plan(arguments, os.environ), options))


def print_slurm(arguments: argparse.Namespace) -> int:
    """Run `trio-mp unit slurm`; returns its exit status.

    Raises:
      ConfigurationError: a setting cannot work, or the tasks of a job cannot be such nodes.
    """
    return _print(arguments, write_slurm(make_plan(arguments, os.environ), SlurmOptions(_command(), arguments.tasks)))


def _print(arguments: argparse.Namespace, text: str) -> int:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"expected texts of Unicode, got {error.object[error.start : error.end]!r}, which no such file can hold"
        ) from None
    if isinstance(sys.stdout, TextIOWrapper):
        # These files are in UTF-8, whatever the terminal is.
        sys.stdout.reconfigure(encoding="utf-8")
    Output(arguments).own(text.removesuffix("\n"))
    return OK


def _command() -> list[str]:
    """How this program is called by who does not have it on a path: beside the interpreter, or by it."""
    beside = Path(sys.executable).parent / "trio-mp"
    return [str(beside)] if os.access(beside, os.X_OK) else [sys.executable, "-m", "trio_mp.cli"]


def _user(arguments: argparse.Namespace) -> str:
    user = arguments.user or ""
    if user and not _USER.fullmatch(user):
        raise ConfigurationError(f"--user: expected the name of a user, got {user!r}")
    return user


def _directory_of(plan: UnitPlan) -> str:
    """The current folder, if modules of the node are in it; else an empty text: they are installed."""
    modules = [plan.words[0].partition(":")[0]] if plan.words else []
    modules += [service.module for service in plan.settings.services]
    modules += plan.settings.spawn_modules
    here = Path.cwd()
    tops = {Path(module).name.removesuffix(".py").partition(".")[0] for module in modules}
    return str(here) if any(PathFinder.find_spec(top, [str(here)]) is not None for top in tops) else ""
