"""The parent's main program, imported in a worker that runs functions of it.

Python knows a main program as `__main__`, and its functions by that name. A worker has a main program of its own. So,
as `multiprocessing` does, it imports its parent's main program under another name, and replaces `__main__` by it. Code
below `if __name__ == "__main__":` does not run in the worker.
"""

from __future__ import annotations

import runpy
import sys
import types
from collections.abc import Collection

from .._errors import ConfigurationError

MAIN = "__main__"

IMPORTED = "__mp_main__"
"""The `__name__` of the main program when a worker imports it; `multiprocessing` uses the same."""

_SKIPPED = frozenset({"__name__", "__loader__", "__spec__", "__builtins__", "__package__"})


class ImportGuard:
    """Keeps a main program from opening workers while a worker imports it.

    Attributes:
      importing: whether this process is a worker that imports its modules.
    """

    importing = False


def describe_main(modules: Collection[str]) -> list[str] | None:
    """Describe how a worker finds the main program of this process; None if `modules` does not name it.

    Raises:
      ConfigurationError: a worker cannot find it, for example because this is an interactive session.
    """
    if MAIN not in modules:
        return None
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return ["module", spec.name]
    file = getattr(main, "__file__", None)
    if not isinstance(file, str):
        raise ConfigurationError(
            "modules: expected modules that a worker can import, got '__main__', which is no file here;"
            " put the functions into a module"
        )
    return ["path", file]


def import_main(description: list[str]) -> None:
    """Import the main program of the parent. Raises whatever it raises."""
    kind, where = description
    if kind == "module":
        found = runpy.run_module(where, run_name=IMPORTED, alter_sys=True)
    else:
        found = runpy.run_path(where, run_name=IMPORTED)
    module = types.ModuleType(IMPORTED)
    vars(module).update({name: value for name, value in found.items() if name not in _SKIPPED})
    sys.modules[IMPORTED] = sys.modules[MAIN] = module


def check_not_importing() -> None:
    """Raise `RuntimeError` in a worker that imports its modules: each worker would start workers, without end."""
    if ImportGuard.importing:
        raise RuntimeError(
            "open_workers() was called while a worker imported the main program:"
            " put what the program does below `if __name__ == '__main__':`"
        )
