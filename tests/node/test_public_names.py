"""Every public name and member is documented and typed, says truly where it lives, and is in exactly one door."""

from __future__ import annotations

import ast
import enum
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import trio_mp

DOORS = [
    name
    for name in ("trio_mp", "trio_mp.lowlevel", "trio_mp.abc", "trio_mp.testing")
    if importlib.util.find_spec(name) is not None
]


def names_of(door: str) -> list[str]:
    # The doors hold public names only; `__version__` and its like speak for themselves.
    return [name for name in importlib.import_module(door).__all__ if not name.startswith("__")]


PUBLIC = [(door, name) for door in DOORS for name in names_of(door)]
each_public_name = pytest.mark.parametrize("door, name", PUBLIC, ids=[f"{door}.{name}" for door, name in PUBLIC])


def resolve(door: str, name: str) -> object:
    found: object = getattr(importlib.import_module(door), name)
    return found


def is_ours(module: object) -> bool:
    return isinstance(module, str) and (module == "trio_mp" or module.startswith("trio_mp."))


def members_of(cls: type) -> Iterator[tuple[str, object]]:
    """The public members of a class that this package defines, inherited ones included, and how it is made."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if not is_ours(base.__module__):
            continue
        for name, member in vars(base).items():
            if name not in seen and (not name.startswith("_") or name == "__init__"):
                seen.add(name)
                yield f"{cls.__name__}.{name}", member


def functions_of(label: str, value: object) -> Iterator[tuple[str, Callable[..., object]]]:
    """The functions behind `value`, a public name or a member of a public class."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        if value.fget is not None:
            yield label, value.fget
    elif isinstance(value, types.FunctionType):
        yield label, value


def public_functions(door: str, name: str) -> Iterator[tuple[str, Callable[..., object]]]:
    value = resolve(door, name)
    if not inspect.isclass(value):
        yield from functions_of(name, value)
        return
    for label, member in members_of(value):
        if not (getattr(value, "_is_protocol", False) and label.endswith(".__init__")):
            # The constructor of a protocol is made by typing, and is never called.
            yield from functions_of(label, member)


def is_generated(value: type) -> bool:
    """Whether the docstring is the signature that dataclasses and named tuples write by themselves."""
    return (value.__doc__ or "").startswith(f"{value.__name__}(")


def attributes_of(cls: type) -> set[str]:
    """The public names that a class of ours assigns: in its body, in its slots, and to its instances."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    names = set(vars(cls).get("__slots__", ()))
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign | ast.Assign):
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    # What is inherited from outside, as the arguments of an exception, is documented there.
    return {name for name in names if not name.startswith("_") and not isinstance(vars(cls).get(name), property)}


def announced_in(docstring: str) -> set[str]:
    """The names that a docstring says something about, under `Attributes:` or `Args:`."""
    heads = re.findall(r"^ *((?:\w+, )*\w+): ", docstring, re.MULTILINE)
    return {name for head in heads for name in head.split(", ")}


def undocumented_attributes(cls: type) -> list[str]:
    """The attributes of a public class that neither its docstrings nor those of its bases tell of."""
    ours = [base for base in cls.__mro__ if is_ours(base.__module__)]
    announced = {name for base in ours for name in announced_in(base.__doc__ or "")}
    if issubclass(cls, enum.Enum):
        # The value of a member is its text for people.
        announced |= {name for name, member in cls.__members__.items() if isinstance(member.value, str)}
    if issubclass(cls, tuple):
        # Sphinx shows the fields of a named tuple as members, so each has a docstring of its own.
        announced |= described_in(ast.parse(inspect.getsource(cls)).body[0].body)  # type: ignore[attr-defined]
    return sorted(name for base in ours for name in attributes_of(base) if name not in announced)


def described_in(body: list[ast.stmt]) -> set[str]:
    """The annotated names of a class that are followed by a string."""
    return {
        statement.target.id
        for statement, following in pairwise(body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }


@cache
def documented_assignments() -> frozenset[str]:
    """The module-level names whose assignment is followed by a string, or preceded by a `#:` comment."""
    names: set[str] = set()
    for path in Path(trio_mp.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        body = ast.parse(text).body
        for statement, following in zip(body, [*body[1:], None], strict=True):
            if isinstance(statement, ast.Assign):
                targets = statement.targets
            elif isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            else:
                continue
            described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            commented = lines[statement.lineno - 2].startswith("#:") if statement.lineno > 1 else False
            if described or commented:
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return frozenset(names)


def test_the_installed_package_is_under_test() -> None:
    """Not the checkout beside the tests; asked for by the sessions that install it."""
    checkout = Path(__file__).resolve().parents[2] / "trio_mp"
    if os.environ.get("TRIO_MP_TEST_INSTALLED") == "1":
        assert Path(trio_mp.__file__).resolve().parent != checkout


def test_each_name_is_in_one_door() -> None:
    names = [name for _, name in PUBLIC]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("door", DOORS)
def test_doors_are_documented(door: str) -> None:
    assert inspect.getdoc(importlib.import_module(door))


@pytest.mark.parametrize("door", DOORS)
def test_no_public_name_is_missing_from_its_door(door: str) -> None:
    """What is visible without an underscore is announced, and what is announced exists."""
    module = importlib.import_module(door)
    visible = {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert visible - {"annotations"} <= set(module.__all__) | {"TYPE_CHECKING"}
    assert all(hasattr(module, name) for name in module.__all__)


@each_public_name
def test_documented(door: str, name: str) -> None:
    value = resolve(door, name)
    if inspect.isclass(value):
        assert "__doc__" in vars(value)
        assert value.__doc__
        assert not is_generated(value), f"{name} has a generated docstring"
    elif not callable(value) or isinstance(value, types.GenericAlias):
        # A constant or a type alias carries no docstring of its own: the source must hold one under it.
        documented = is_ours(type(value).__module__) and bool(type(value).__doc__)
        assert documented or name in documented_assignments()
    for label, function in public_functions(door, name):
        if not label.endswith(".__init__"):
            assert inspect.getdoc(function), f"{label} has no docstring"


@each_public_name
def test_members_are_documented(door: str, name: str) -> None:
    """Public is what the documentation tells of. All else that a class keeps has an underscore."""
    value = resolve(door, name)
    if inspect.isclass(value):
        assert not undocumented_attributes(value)


def test_the_documentation_leaves_no_member_out() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    for page in [*docs.glob("api*.md"), docs / "conf.py"]:
        text = page.read_text(encoding="utf-8")
        assert "exclude-members" not in text
        assert "autodoc-skip-member" not in text


class Sample:
    """A class for the next test.

    Attributes:
      told, also_told: documented.
    """

    __slots__ = ("_hidden", "also_told", "in_slots", "told", "untold")
    in_body: int

    def __init__(self) -> None:
        self.told = self.also_told = self.untold = self._hidden = 0

    @property
    def computed(self) -> int:
        """Documented by itself."""
        return self.untold


def test_members_that_are_not_documented_are_found() -> None:
    assert attributes_of(Sample) - announced_in(Sample.__doc__ or "") == {"in_body", "in_slots", "untold"}


@each_public_name
def test_typed(door: str, name: str) -> None:
    for label, function in public_functions(door, name):
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, f"{label}: what it returns has no type"
        receiver = next(iter(signature.parameters), None) if "." in label else None
        for parameter in signature.parameters.values():
            if parameter.name not in (receiver, "self", "cls"):
                assert parameter.annotation is not inspect.Parameter.empty, f"{label}: {parameter.name} has no type"


@each_public_name
def test_module_is_true(door: str, name: str) -> None:
    """What `__module__` and `__qualname__` say leads back to the object, as pickling and documentation need."""
    value = resolve(door, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert is_ours(value.__module__)
        home: object = importlib.import_module(value.__module__)
        for part in value.__qualname__.split("."):
            home = getattr(home, part)
        assert home is value


PLAIN = """
import sys
import trio
import trio_mp

async def main():
    settings = {"secret": "0123456789abcdef", "encryption": False}
    async with (
        trio_mp.open_node("a", binds=["unix:" + sys.argv[1]], **settings),
        trio_mp.open_node("b", binds=(), seeds=["unix:" + sys.argv[1]], **settings) as b,
    ):
        await b.call("a", "time")

trio.run(main)
assert not any(name.split(".")[0] in {"cryptography", "rich"} for name in sys.modules), sorted(sys.modules)
assert callable(trio_mp.make_authority)
assert "cryptography" in sys.modules
"""


def test_what_makes_certificates_is_loaded_when_it_is_wanted(short_directory: Path) -> None:
    subprocess.run([sys.executable, "-c", PLAIN, str(short_directory / "s")], check=True)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'make_port'"):
        trio_mp.make_port  # type: ignore[attr-defined]  # noqa: B018
