"""The process that fuzzes one target, or merges its corpus: `python -m fuzzing.child TARGET LIBFUZZER-ARGUMENTS…`."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Fuzz. Does not return: libFuzzer ends the process."""
    # By name, because atheris is installed only for fuzzing, and has no types.
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["trio_mp", "cryptography.x509"]):
        # Imported with coverage instrumentation.
        targets = importlib.import_module("fuzzing.targets")
    name, *arguments = sys.argv[1:]
    # To merge, libFuzzer starts its first argument again, a script that `campaign` has made.
    atheris.Setup([arguments[0], *arguments[1:]], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
