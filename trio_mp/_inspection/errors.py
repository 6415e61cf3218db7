"""Why the inspection service does not answer."""

from __future__ import annotations

from .._errors import CallError


class Unanswered(Exception):
    """A question that gets no answer, but a text that says why.

    Attributes:
      word: what the asker finds in `CallError.type_name`: `refused`, the settings of the node do not allow it;
        `bad_question`, it is malformed, or newer than this node; `gone`, what it is about is not there any more; or
        `busy`, the asker has too many questions in flight.
      text: why, and what to do.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(word, text)
        self.word = word
        self.text = text

    def as_call_error(self) -> CallError:
        """The same, as the asker gets it."""
        return CallError(self.word, self.text, maybe_delivered=False)
