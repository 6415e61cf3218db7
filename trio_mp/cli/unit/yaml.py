"""Writing YAML, as far as files of containers need it: what is written is read by every version of YAML as the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# A text that no version of YAML takes for anything else begins with a letter, and is none of these words.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Note(str):
    """A key of a mapping that is no key, but a comment: it stands in front of the next one. Its value is None."""

    __slots__ = ()


def write_yaml(value: object) -> str:
    """Write a document.

    Args:
      value: mappings, lists, texts, whole numbers, and booleans.

    Raises:
      TypeError: another value.
    """
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            if isinstance(key, Note):
                yield f"# {key}"
            elif _is_nested(one):
                yield f"{scalar(key)}:"
                yield from (f"  {line}" for line in _lines(one))
            else:
                yield f"{scalar(key)}: {scalar(one)}"
    elif isinstance(value, list | tuple) and value:
        for one in value:
            first, *rest = _lines(one) if _is_nested(one) else [scalar(one)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield scalar(value)


def _is_nested(value: object) -> bool:
    """Whether a value needs lines of its own."""
    return isinstance(value, Mapping | list | tuple) and bool(value)


def scalar(value: object) -> str:
    """A value that fits into a line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
                return value
            return f'"{"".join(map(_escaped, value))}"'
        case Mapping() if not value:
            return "{}"
        case Sequence() if not value:
            return "[]"
        case _:
            raise TypeError(f"expected a text, a whole number, a boolean, a list or a mapping, got {value!r}")


def _escaped(character: str) -> str:
    """A character between the quotes of a text."""
    if character in _SHORT:
        return _SHORT[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"
