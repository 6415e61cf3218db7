"""`TRIO_MP_LOG`: which log records an operator wants to see, and where they go if the program has no place for them.

Logging is the process's, and not a node's. So a text counts once, when the first node of the process takes it.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from .._errors import ConfigurationError

LOG = "TRIO_MP_LOG"
"""The variable: a level, or levels of loggers, such as `info,trio_mp.connection=debug`."""

PACKAGE = "trio_mp"
"""The logger whose level is meant where none is named."""

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_levels = logging.getLevelNamesMapping


def parse_levels(text: str) -> dict[str, int]:
    """The levels of loggers that a text names.

    Args:
      text: levels of `logging` in any case, or `logger=level`, separated by commas.

    Raises:
      ConfigurationError: it is something else. The text names the variable and the value.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, level = part.rpartition("=")
        number = _levels().get(level.strip().upper())
        if number is None or (equals and not name.strip()):
            known = ", ".join(word.lower() for word, _ in sorted(_levels().items(), key=lambda item: item[1]))
            raise ConfigurationError(
                f"{LOG}: expected a level, or logger=level, or several of these with commas between, got {text!r};"
                f" {part.strip()!r} is none: the levels are {known}"
            )
        found[name.strip() if equals else PACKAGE] = number
    return found


class FallbackHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error, as long as the program has no handler that gets the record.

    It asks at each record: a program may set up its logging after it has opened a node.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless somebody else does. Standard error is the one of this moment."""
        if not has_other_handlers(logging.getLogger(record.name)):
            self.setStream(sys.stderr)
            super().emit(record)


def has_other_handlers(logger: logging.Logger | None) -> bool:
    """Whether a handler of the program gets what a logger lets through."""
    while logger is not None:
        if not all(isinstance(handler, FallbackHandler | logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


class LogVariable:
    """What was taken of the variable, once for each process.

    Attributes:
      taken: the text that was taken last.
    """

    def __init__(self) -> None:
        self.taken = ""
        self._handler = FallbackHandler()

    def take(self, text: str) -> None:
        """Set the levels that a text names, and have their records written if the program does not.

        A text that was taken before changes nothing: the program may have set other levels since.

        Raises:
          ConfigurationError: as `parse_levels`. Then nothing has changed.
        """
        if not text or text == self.taken:
            return
        levels = parse_levels(text)
        self.taken = text
        for name, level in levels.items():
            logger = logging.getLogger(name)
            logger.setLevel(level)
            # Not to one whose records come to this handler already: they would be written twice.
            if not any(name.startswith(f"{other}.") for other in levels):
                logger.addHandler(self._handler)


LOG_VARIABLE = LogVariable()
"""The one of this process."""
