"""Writes what the documentation says of the settings, from their table in `trio_mp/_settings/settings.py`.

python docs/settings_table.py

That is the list in the docstring of `open_node`, and the table in docs/api.md. A test fails where they differ.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from trio_mp._settings.settings import MIB, TABLE, SettingArguments, Settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
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
    """The table for docs/api.md."""
    lines = ["| setting | type | default | what it is |", "| --- | --- | --- | --- |"]
    for name, entry in TABLE.items():
        kind = type_of(name).replace("|", "\\|")
        lines.append(f"| `{name}` | `{kind}` | {default_of(name) or 'none'} | {entry.text} |")
    return "\n".join(lines) + "\n"


def fill_docstring(module: str) -> str:
    """The text of `opening.py`, with the list of its docstring as it should be."""
    pattern = rf"^( +)- `{FIRST}`.*?^\1- `{LAST}`.*?\n(?=\n)"
    return re.sub(pattern, lambda found: docstring_list(found[1]), module, count=1, flags=re.DOTALL | re.MULTILINE)


def fill_page(page: str) -> str:
    """The text of docs/api.md, with the table as it should be."""
    pattern = r"(<!-- begin: settings -->\n).*?(<!-- end: settings -->)"
    return re.sub(pattern, lambda found: found[1] + markdown_table() + found[2], page, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    for path, fill in ((OPENING, fill_docstring), (PAGE, fill_page)):
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
