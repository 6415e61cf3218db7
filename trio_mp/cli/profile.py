"""`trio-mp profile`, `trio-mp init` and `trio-mp secret`: the file with the profiles, from a terminal."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .._errors import ConfigurationError
from .._profiles.document import read_document
from .._profiles.editing import DEFAULT, LISTS, ProfileEditor
from .._profiles.finding import configuration_file, read_configuration
from .._profiles.gathering import Request, gather
from .._settings.settings import TABLE
from .exits import NO, OK, USAGE, CommandFailed
from .files import write_at_once
from .output import Output

HIDDEN = "(hidden)"

SKELETON = """\
# The settings of trio_mp programs of this user: see docs/configuration.md.
# `trio-mp profile --help` shows how to change them from a terminal.

[default]                 # holds for all profiles
secret_file = "secret"    # beside this file; the same on all machines of the network
seeds = ["localhost:4040"]

[profile.seed]            # for the node that others find the network by
binds = ["*:4040"]
seeds = []
"""


def run_profile(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> int:
    """Run one of the commands of this module; returns its exit status.

    Raises:
      ConfigurationError, OSError: the file, or what shall be in it, is wrong.
    """
    run: dict[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
        "init": _init,
        "profile list": _list,
        "profile show": _show,
        "secret new": _new_secret,
    }
    return run.get(parsed.command, _edit)(parsed, environ)


def _list(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    document, out = read_configuration(environ), Output(parsed)
    for name, table in document.profiles.items():
        parent = table.get("parent")
        told = f"{'*' if name == document.use else ' '} {name}{f'  (parent: {parent})' if parent else ''}"
        out.row({"name": name, "parent": parent, "in_use": name == document.use}, told)
    return OK if document.profiles else NO


def _show(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    out = Output(parsed)
    if parsed.effective:
        name = None if parsed.name == DEFAULT else parsed.name
        merged = gather(Request(name or True, frozenset(), {}), environ, lambda: read_configuration(environ))
        rows = [
            (setting, HIDDEN if setting == "secret" else _in_short(given.value), given.source)
            for setting, given in merged.chosen.items()
        ]
        out.table(["setting", "value", "from"], rows)
        return OK
    # As it is written, by whoever may read it.
    path = _path(environ)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    out.own((ProfileEditor(text, str(path)).written(parsed.name) if parsed.name else text).rstrip())
    return OK


def _in_short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _edit(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    path = _path(environ)
    editor = ProfileEditor(path.read_text(encoding="utf-8") if path.exists() else "", str(path))
    done = True
    match parsed.command.split()[1]:
        case "set":
            if parsed.setting == "secret":
                raise ConfigurationError(
                    "secret: expected a setting that others may see, because they see the command lines of this"
                    " machine; use `trio-mp secret new --file PATH`, and set secret_file"
                )
            editor.set(parsed.name, parsed.setting, _value(parsed.setting, parsed.values))
        case "unset":
            done = editor.unset(parsed.name, parsed.setting)
        case "add":
            editor.add(parsed.name, parsed.setting, _items(parsed.setting, parsed.values))
        case "remove":
            done = editor.remove(parsed.name, parsed.setting, _items(parsed.setting, parsed.values))
        case "use":
            editor.use(parsed.name)
        case _:
            editor.delete(parsed.name)
    if not done:
        print(f"trio-mp: {parsed.name} has no such {parsed.setting}; nothing was changed", file=sys.stderr)
        return NO
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    document = read_document(editor.text, str(path), mode if mode & 0o044 and os.name == "posix" else None)
    if parsed.command.split()[1] not in ("use", "delete"):
        # What a node would refuse is not written.
        document.layers(None if parsed.name == DEFAULT else parsed.name)
    write_at_once(path, editor.text.encode(), mode)
    return OK


def _value(setting: str, texts: list[str]) -> object:
    """A value from the words of a command line, as a variable of the environment would have it."""
    if setting in LISTS:
        return _items(setting, texts)
    if len(texts) > 1:
        raise ConfigurationError(f"{setting}: expected one value, got {len(texts)}")
    if setting not in TABLE:
        return texts[0]
    try:
        return TABLE[setting].read(texts[0])
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def _items(setting: str, texts: list[str]) -> list[object]:
    """The items of a list from the words of a command line. A service with arguments is a list of JSON."""
    items: list[object] = []
    for text in texts:
        if setting == "services" and text.startswith("[") and text != "[]":
            try:
                items.append(json.loads(text))
            except ValueError as error:
                raise ConfigurationError(f"{setting}: expected a list of JSON, got {text!r}: {error}") from None
        else:
            try:
                found = TABLE[setting].read(text)
            except ValueError as error:
                raise ConfigurationError(f"{setting}: {error}") from None
            items += found if isinstance(found, list) else [found]
    return items


def _path(environ: Mapping[str, str]) -> Path:
    path = configuration_file(environ)
    if path is None:
        raise ConfigurationError("expected a user with a home folder, or a path in TRIO_MP_CONFIG")
    # A link stays a link: the file behind it is changed.
    return path.resolve()


def _init(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    path = _path(environ)
    secret = path.parent / "secret"
    out = Output(parsed)
    made = [
        (each, text) for each, text in ((path, SKELETON), (secret, f"{secrets.token_hex(16)}\n")) if not each.exists()
    ]
    for each, text in made:
        write_at_once(each, text.encode(), 0o600)
        out.row({"made": str(each)}, f"made {each}")
    if not made:
        print(f"trio-mp: {path} and {secret} are there already; nothing was changed", file=sys.stderr)
        return NO
    out.say(f"copy {secret} to all machines of the network, so that nobody else can read it")
    return OK


def _new_secret(parsed: argparse.Namespace, _: Mapping[str, str]) -> int:
    secret = secrets.token_hex(16)
    if parsed.file is None:
        Output(parsed).row({"secret": secret}, secret)
        return OK
    try:
        with open(parsed.file, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"{secret}\n")
    except FileExistsError:
        raise CommandFailed(
            USAGE,
            f"{parsed.file} is there already and was not changed; go on with it, give another --file, or see"
            " `trio-mp secret rotate` for a network that runs",
        ) from None
    return OK
