"""What managers of containers make of texts in their files."""

from __future__ import annotations

import re


def in_compose(text: str) -> str:
    """What Compose makes of a text, by its reference: `$$` is a dollar, and any other one begins a variable."""
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", text)
    return text.replace("$$", "$")


def in_kubernetes(text: str) -> str:
    """What Kubernetes makes of a text, as its function Expand does it."""
    found, place = [], 0
    while place < len(text):
        if text[place] == "$" and place + 1 < len(text):
            place += 1
            assert text[place] != "(", "a variable"
            found.append("$" if text[place] == "$" else f"${text[place]}")
        else:
            found.append(text[place])
        place += 1
    return "".join(found)
