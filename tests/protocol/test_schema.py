"""The tables of messages: each row reads what it writes, no other place spells a message, the docs show them all."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from trio_mp._protocol import log_records, requests
from trio_mp._protocol.database import messages as database
from trio_mp._protocol.database.messages import DATABASE
from trio_mp._protocol.log_records import LOG_RECORDS, LOG_REQUESTS
from trio_mp._protocol.membership.messages import MEMBERSHIP
from trio_mp._protocol.requests import REQUESTS, ForService, Malformed, parse
from trio_mp._protocol.schema import FLAG, LIST, NAME, NODE, PORT, TABLE, TEXT, Field, Schema, Vocabulary

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "trio_mp"
PROTOCOL = REPOSITORY / "docs" / "protocol.md"

# By what accepts it, since a field can be called anything.
SAMPLES: dict[object, object] = {
    FLAG.accepts: True,
    LIST.accepts: ["unix:/n"],
    NAME.accepts: "abcdefghABCDEFGH.7",
    NODE.accepts: "node",
    PORT.accepts: "node#abcdefghABCDEFGH.7",
    TABLE.accepts: {"other": ["unix:/o"]},
    TEXT.accepts: "text",
    database._is_anything: None,
    database._is_count: 3,
    requests._is_count: 3,
    requests._is_reason_text: "why",
    requests._is_anything: {"any": ["thing"]},
    requests._is_port_or_none: None,
    requests._is_epoch_or_none: 7,
    requests._is_seconds: 5.0,
    requests._is_seconds_or_none: 5.0,
    log_records._is_level: 20,
    log_records._is_logger: "a.logger",
    log_records._is_number: 7,
    log_records._is_time: 1.5,
}


def samples(schema: Schema[..., Any]) -> list[object]:
    if schema.word == "entries":
        return [{"a family": {"a key": ["unix:/o"]}}]
    # A token, such as `stream` has one, is the only kind of field that one row alone has.
    arguments = [SAMPLES.get(accepts, "tokentokentoken0") for accepts in schema.accepts]
    return [*arguments, ("the", {"rest": 1})] if schema.rest else arguments


VOCABULARIES: dict[str, Vocabulary[Any]] = {
    "requests": REQUESTS,
    "membership": MEMBERSHIP,
    "database": DATABASE,
    "log requests": LOG_REQUESTS,
    "log records": LOG_RECORDS,
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES)
def test_what_a_row_writes_the_table_reads(vocabulary: Vocabulary[Any]) -> None:
    for schema in vocabulary.schemas:
        arguments = samples(schema)
        message: tuple[object, ...] = schema.write(*arguments)
        assert message[schema.at] == schema.word
        assert vocabulary.read(message) == schema.make(*arguments)


def test_a_row_shows_its_message_as_the_documentation_does() -> None:
    assert Schema("w", lambda: None).shape == '"w"'
    assert Schema("w", lambda a, b: (a, b), NAME, TEXT.called("why")).shape == '"w", name, why'
    assert Schema("w", lambda a, b: (a, b), NAME, rest="more").shape == '"w", name, *more'


def test_a_row_takes_neither_more_nor_less_nor_something_else() -> None:
    plain = Schema("w", lambda text, flag: (text, flag), TEXT, FLAG)
    assert plain.write("a", True) == ("w", "a", True)
    assert plain.read(("w", "a", True)) == ("a", True)
    assert [plain.read(message) for message in (("w",), ("w", "a"), ("w", "a", True, 1), ("w", "a", 1))] == [None] * 4
    resting = Schema("w", lambda text, rest: (text, rest), TEXT, rest="more")
    assert resting.write("a", (1, 2)) == ("w", "a", 1, 2)
    assert resting.read(("w", "a", 1, 2)) == ("a", (1, 2))
    assert resting.read(("w", "a")) == ("a", ())
    assert [resting.read(message) for message in (("w",), ("w", 1), ("w", None, 1))] == [None] * 3
    longest = Schema("w", lambda text, flag, rest: (text, flag, rest), TEXT, FLAG, rest="more")
    assert longest.write("a", False, (1,)) == ("w", "a", False, 1)
    assert longest.read(("w", "a", False, 1)) == ("a", False, (1,))


def test_rows_of_the_same_word_are_tried_in_order() -> None:
    odd = Field("odd", lambda value: isinstance(value, int) and value % 2 == 1)
    number = Field("number", lambda value: isinstance(value, int))
    vocabulary: Vocabulary[str] = Vocabulary(
        Schema("w", lambda value: f"odd {value}", odd), Schema("w", lambda value: f"any {value}", number)
    )
    assert vocabulary.words == {"w"}
    assert vocabulary.read(("w", 3)) == "odd 3"
    assert vocabulary.read(("w", 4)) == "any 4"
    assert vocabulary.read(("w", "x")) is None
    unread: list[tuple[Any, ...]] = [(), ("v", 3), (None,), ([],)]
    assert [vocabulary.read(message) for message in unread] == [None] * 4


def test_a_service_reads_its_own_messages() -> None:
    assert parse(("welcome", [], {})) == ForService("welcome", ([], {}))
    assert isinstance(parse(("welcome", *[None] * 2**15)), Malformed)


def table_under(heading: str) -> list[str]:
    """The messages in the first column of the tables under a heading of docs/protocol.md, without their brackets."""
    section = PROTOCOL.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [shape for cell in cells for shape in re.findall(r"`([^`]*)`", cell)]


def test_the_documentation_shows_the_requests_of_the_table() -> None:
    shapes = [f'["", {schema.shape}]' for schema in REQUESTS.schemas if schema.word not in MEMBERSHIP.words]
    assert sorted(table_under("Messages to the node port")) == sorted([*shapes, "[]"])


def test_the_documentation_shows_the_messages_about_membership() -> None:
    shapes = [f'["", {schema.shape}]' for schema in MEMBERSHIP.schemas]
    assert sorted(table_under("Messages about membership")) == sorted(shapes)


def test_the_documentation_shows_the_messages_of_the_database() -> None:
    shapes = [schema.shape.replace('"', "") for schema in DATABASE.schemas]
    assert sorted(table_under("Messages of the shared database")) == sorted(shapes)


def test_the_documentation_shows_the_messages_about_log_records() -> None:
    shapes = [f'["", {schema.shape}]' for schema in LOG_REQUESTS.schemas]
    shapes += [f"[name, {schema.shape}]" for schema in LOG_RECORDS.schemas]
    assert sorted(table_under("Messages about log records")) == sorted(shapes)


@pytest.mark.parametrize(
    "message",
    [
        *(("log", level, "node#abcdefghABCDEFGH.7") for level in (-1, "INFO", None, 1.0)),
        *(("log", 20, port) for port in ("", "node#short", None, 7)),
        ("record", "x" * 256, 20, 1.5, "text", "", 0),
        ("record", b"logger", 20, 1.5, "text", "", 0),
        ("record", "logger", "INFO", 1.5, "text", "", 0),
        ("record", "logger", 20, 1, "text", "", 0),
        ("record", "logger", 20, 1.5, b"text", "", 0),
        ("record", "logger", 20, 1.5, "text", None, 0),
        ("record", "logger", 20, 1.5, "text", "", "0"),
    ],
    ids=repr,
)
def test_what_no_node_says_of_log_records(message: tuple[object, ...]) -> None:
    assert LOG_REQUESTS.read(message) is None
    assert LOG_RECORDS.read(message) is None


# Places where tuples begin with one of these words and are no messages: patterns of handlers, values of settings.
NO_MESSAGES = {"cli", "testing", "_settings"}


def test_no_other_place_spells_a_message() -> None:
    words = {word for word in REQUESTS.words | MEMBERSHIP.words if word}
    spelt = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in NO_MESSAGES or place.name in {"requests.py", "messages.py", "log_records.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            first = node.elts[0] if isinstance(node, ast.Tuple) and node.elts else None
            if isinstance(first, ast.Constant) and first.value in words:
                spelt.append(f"{place}:{first.lineno}: {ast.unparse(node)}")
    assert not spelt
