"""`python -m trio_mp.cli` is `trio-mp`."""

from __future__ import annotations

import sys

from .parser import main

if __name__ == "__main__":
    sys.exit(main())
