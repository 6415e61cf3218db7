"""What the documentation says of the settings, from their table in `trio_mp/_settings/settings.py`.

That is the list in the docstring of `open_node`, and the tables of docs/settings.md; `reference.py` writes both.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from trio_mp._errors import ConfigurationError
from trio_mp._profiles.editing import LISTS
from trio_mp._profiles.gathering import ONCE
from trio_mp._settings.settings import MIB, TABLE, SettingArguments, Settings

ROOT = Path(__file__).resolve().parents[1]
OPENING = ROOT / "trio_mp" / "_node" / "opening.py"

WIDTH = 100
FIRST, LAST = next(iter(TABLE)), next(reversed(TABLE))


def default_of(name: str) -> str:
    """The default of a setting, for readers; nothing if it is not given at all by default."""
    value, unit = getattr(Settings(), name), TABLE[name].unit
    if value in (None, ()):
        return ""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value)
    if unit == "bytes" and value % MIB == 0:
        return f"{value // MIB:,} MiB"
    return f"{value:,.16g} {unit}".strip()


def type_of(name: str) -> str:
    """The type in which a program gives a setting."""
    kind = get_type_hints(SettingArguments)[name]
    if get_origin(kind) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(kind))
    annotation = SettingArguments.__annotations__[name]
    return str(getattr(annotation, "__forward_arg__", annotation))


def docstring_list(margin: str) -> str:
    """The list for the docstring of `open_node`, each line of it behind a margin."""
    lines: list[str] = []
    for name, entry in TABLE.items():
        default = default_of(name)
        text = f"- `{name}`{f' ({default})' if default else ''}: {entry.text}. {entry.more}".strip()
        lines += textwrap.wrap(
            text, WIDTH, initial_indent=margin, subsequent_indent=margin + "  ", break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """All settings, one in a row."""
    lines = ["| setting | type | default | what it is |", "| --- | --- | --- | --- |"]
    for name, entry in TABLE.items():
        kind = type_of(name).replace("|", "\\|")
        lines.append(f"| [`{name}`](#{name}) | `{kind}` | {default_of(name) or 'none'} | {entry.text} |")
    return "\n".join(lines) + "\n"


EXAMPLES: dict[str, object] = {
    "binds": ["*:4040", "unix:/run/app.sock"],
    "advertise": ["one.example:14040"],
    "seeds": ["one.example:4040", "two.example:4040"],
    "secret": "use a long random text instead",
    "secret_file": "secret",
    "certificate": {"chain": "node.pem", "key": "node.key", "authority": "authority.pem"},
    "attach_timeout": 30,
    "health": "127.0.0.1:8081",
    "services": ["chat.server", "irc.backend:start"],
    "spawn_modules": ["app.jobs", "app.reports"],
    "inspect_from": ["ruth", "ops/1"],
}
"""A value of each setting that has no default; of the others the default serves as the example."""


def example_of(name: str) -> object:
    """A value of a setting, as a profile has it."""
    return EXAMPLES[name] if name in EXAMPLES else getattr(Settings(), name)


def in_toml(value: object) -> str:
    """A value as a profile has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {in_toml(one)}" for key, one in value.items()) + "}"
    # JSON and TOML write texts, numbers, booleans and lists of them alike.
    return json.dumps(value)


def in_variable(value: object) -> str:
    """A value as the variable of its setting has it."""
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else in_toml(value)


_PROBES = (object(), "", "x", -1, 0, 1, 10**9, [""], [b""], ["x"])
"""Values of which each check refuses some."""


def expected_of(name: str) -> list[str]:
    """What a value of a setting must be, in the words of the errors about values that are not like that."""
    found: dict[str, None] = {}
    for probe in _PROBES:
        try:
            TABLE[name].check(name, probe)
        except (TypeError, ConfigurationError) as error:
            wanted = re.match(r"[^:]*: expected (.*?), got ", str(error))
            found |= dict.fromkeys([wanted[1]] if wanted else [])
    return list(found)


def sections() -> str:
    """What there is to say of each setting: more of what it is, what it must be, and how it is given from outside."""
    parts = []
    for name, entry in TABLE.items():
        value = example_of(name)
        lines = [
            f"- In a program: `{type_of(name)}`; {default_of(name) or 'none'} by default.",
            f"- Expected: {'; '.join(expected_of(name))}.",
            f"- Variable: `TRIO_MP_{name.upper()}={in_variable(value)}`",
            f"- In a profile: `{name} = {in_toml(value)}`",
        ]
        if name in LISTS:
            lines.append("- `trio-mp profile add` and `remove` change one value of it.")
        if name in ONCE:
            lines.append("- Only the first node of a process takes it from outside.")
        text = f"{entry.text[0].upper()}{entry.text[1:]}. {entry.more}".strip()
        parts += [f"### `{name}`", text, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def fill_docstring(module: str) -> str:
    """The text of `opening.py`, with the list of its docstring as it should be."""
    pattern = rf"^( +)- `{FIRST}`.*?^\1- `{LAST}`.*?\n(?=\n)"
    return re.sub(pattern, lambda found: docstring_list(found[1]), module, count=1, flags=re.DOTALL | re.MULTILINE)
