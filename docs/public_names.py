"""A Sphinx extension: names in signatures and docstrings lead to where the reference has them.

- A signature names a class by the private module that defines it, and a docstring by its name alone. This finds it by
  its public name.
- A class that no program makes is shown without the arguments by which the package makes it.
- In a docstring `single backticks` hold a name or any other piece of code, and become a link where there is something
  to link to. With `nitpicky` that is a must for the names of this package and of Trio, and for no others: an argument
  or the name of a setting has no place of its own.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

DOORS = ("trio_mp", "trio_mp.abc", "trio_mp.lowlevel", "trio_mp.testing")

MADE_BY_PROGRAMS = {
    *("Backoff", "Certificate", "Family"),
    *("MemoryTransport", "TCPAddress", "UnixAddress"),
    *("Bounds", "Link", "Oracle", "SimulatedNetwork", "Trace", "Witness"),
}
"""The classes, beside exceptions, whose constructors are for programs and tests, with arguments that can be read."""

_MUST_LEAD_SOMEWHERE = re.compile(r"(trio|trio_mp|[A-Z]\w*)(\.\w+)+")
"""Names of Trio and of this package, and members of classes."""


@cache
def public_names() -> dict[str, str]:
    """The public names of all classes and functions: by the place in a private module, and by the name alone."""
    found = {}
    for door in DOORS:
        module = importlib.import_module(door)
        for name in module.__all__:
            value = getattr(module, name)
            place = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
            found[place] = found[name] = f"{door}.{name}"
    return found


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a reference to a class, a function or a member of a class by the public name."""
    target = node.get("reftarget", "")
    first, dot, member = target.partition(".")
    names = public_names()
    public = names[target] if target in names else f"{names[first]}.{member}" if dot and first in names else None
    if public is None or node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, content)


def may_lead_nowhere(app: Sphinx, domain: object, node: pending_xref) -> bool | None:
    """Whether a reference needs no target: a text in single backticks, or words about what is raised, such as "what
    send raises". True keeps Sphinx from the warning.
    """
    target = node.get("reftarget", "")
    is_code = node.get("reftype") == "obj" and not _MUST_LEAD_SOMEWHERE.fullmatch(target)
    is_prose = node.get("reftype") == "exc" and (" " in target or target.endswith("."))
    return True if is_code or is_prose else None


def hide_constructor(
    app: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Leave out the arguments of a class that no program makes."""
    if what == "class" and name.rpartition(".")[2] not in MADE_BY_PROGRAMS:
        return "", None
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("missing-reference", find_public)
    app.connect("warn-missing-reference", may_lead_nowhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
