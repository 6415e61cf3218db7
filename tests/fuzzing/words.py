"""The messages that a member of the network may send to a node: every word, with arguments that are mostly right.

A node refuses almost every message of arbitrary values at once. So each word has a pattern of its arguments, and a
message is made of that. Now and then a value in it is replaced, taken away, doubled or nested.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

from trio_mp._ids import spawned_prefix, spawner_mark

Message: TypeAlias = tuple[Any, ...]

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308, "", "x", "ä\0\n", "\U0001f600"),
    *([], {}, [[]], [{}], {"": None}, ["x"], {"x": 1}, {"x": ["y"]}, "x" * 300, "#", "n#", "#x", "n"),
    *("n#x.1", [None] * 20),
)
"""Values that fit almost nowhere."""

FAMILIES = ("trio_mp.nodes", "red", "blue", "", "trio_mp.x", "x" * 300)
FUNCTIONS = (
    *("installs", "echoes", "fails", "ends", "streams", "breaks_off", "sleeps", "starts", "never_starts", "absent"),
    "__import__",
)
QUESTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "ports": {
        "by": ("queue", "age", "rate"),
        "limit": (1, 2, 50, 1000, 1001, 0),
        "after": (None, None, "queue.1.1", "age.2.1", "queue.1.999999999", "queue..", "x" * 101),
    },
    "links": {"after": ("", "", "a", "x" * 255, "x" * 256)},
    "tasks": {"limit": (1, 5, 1000, 1001), "stacks": (True, False)},
    "statistics": {},
    "supervisors": {},
    "stacks": {"number": (1, 2, 3, 2**62, 0)},
    "trace": {
        "number": (1, 2, 3, None, 2**62),
        "port": (None, None, "n#x", "#"),
        "to": ("T" * 16, "mine.1.mine.1.mine", "", "x" * 65),
        "limit": (1, 3, 10_000, 10_001),
        "seconds": (0.1, 5.0, 1, 0, 3601.0),
    },
    # Not as a drain is asked for: it would end what the other members of the round may expect.
    "drain": {"at_once": (True,)},
    "stop": {"restart": (True, False, 1), "force": (True, None)},
    # Of no port that there is: one of a bystander would be killed as it should.
    "kill": {"number": (2**62, 0, -1), "reason": ([], ["x"], ["killed", {"by": [None]}], None)},
}
"""The questions to the inspection service of a node, with values of their arguments."""
CHANNELS = {"trio_mp:channel": ("pumps", "takes", "ends_early"), "trio_mp:source": ("rows", "no_rows")}
"""The names under which the far ends of channels are started, and the functions that these then run."""

MODULE = "fuzzing.programs"


class Speaker:
    """Makes the messages of one member, from what the member knows.

    Args:
      numbers: makes all choices.
      node_id, incarnation: those of the member.
      nodes: the IDs of the nodes that it knows.
      places: addresses that it knows.
      json: whether it may use only values that JSON has.

    Attributes:
      ports: the IDs of ports that it was told.
      asked: the names of ports that it was asked to start.
      called: the tickets of calls of its ports.
      channels: the names of ports over there that serve a channel.
    """

    def __init__(
        self, numbers: random.Random, node_id: str, incarnation: str, nodes: list[str], places: list[str], *, json: bool
    ) -> None:
        self.numbers = numbers
        self.node_id = node_id
        self.incarnation = incarnation
        self.nodes = nodes
        self.places = places
        self.json = json
        self.ports: list[str] = []
        self.asked: list[str] = []
        self.called: list[str] = []
        self.channels: list[str] = []
        self._counter = 0
        # The beginning of the names that it gives.
        self._mark = spawner_mark(node_id, incarnation)
        self._spawned = [self._spawned_name(0)]
        self._tokens = ["T" * 16]
        # The tickets of its own calls.
        self._tickets = ["C" * 16]
        self._sequence = 0
        self._question = ""
        self._patterns = self._all_patterns()
        self._words = list(self._patterns)
        self._channel_patterns = self._all_channel_patterns()

    # What belongs in the blanks ------------------------------------------------------------------------------------

    def new_name(self) -> str:
        """Return a name for a port that it spawns: mostly the next one that it may give."""
        if self.numbers.random() < 0.1:
            return self.name()
        self._counter += 1
        self._spawned = [*self._spawned[-20:], self._spawned_name(self._counter)]
        return self._spawned[-1]

    def _spawned_name(self, counter: int) -> str:
        return f"{spawned_prefix(self._mark, counter)}{self.numbers.randrange(10**16):016}"

    def asked_name(self) -> str:
        """Return the name of a port: mostly of one that it was asked to start."""
        return self.numbers.choice(self.asked) if self.asked and self.numbers.random() < 0.8 else self.name()

    def name(self) -> str:
        """Return the name of a port of the other node."""
        choice = self.numbers.random()
        if choice < 0.5:
            return self.numbers.choice(self._spawned)
        if choice < 0.9 and self.ports:
            return self.numbers.choice(self.ports).partition("#")[2]
        return self.numbers.choice(("x.1", "A" * 16 + ".1", "x" * 300, "", "\0", f"{self.incarnation}.{2**70}"))

    def port(self) -> str:
        """Return the ID of a port: of the other node, of the member, or of a third node."""
        if self.ports and self.numbers.random() < 0.5:
            return self.numbers.choice(self.ports)
        node_id = self.node_id if self.numbers.random() < 0.6 else self.node()
        return f"{node_id}#{self.numbers.choice((f'{self.incarnation}.7', 'mine.1', '', self.name()))}"

    def port_or_none(self) -> str | None:
        """Return the ID of a port to which a new port is linked, or None."""
        return self.port() if self.numbers.random() < 0.3 else None

    def epoch(self) -> int | None:
        """Return the epoch of a port that is started."""
        return self.numbers.choice((None, None, 0, 1, 2**63 - 1, 2**63, -1))

    def node(self) -> str:
        """Return a node ID, or a text that is none."""
        if self.numbers.random() < 0.1:
            ghost = f"ghost{self.numbers.randrange(9)}"
            return self.numbers.choice(("", "nobody", "x" * 255, "x" * 256, "a b", "a#b", ghost))
        return self.numbers.choice([*self.nodes, self.node_id])

    def function(self) -> str:
        """Return the reference of a function."""
        if self.numbers.random() < 0.1:
            return self.numbers.choice(("", ":", "::main", "os:system", "x" * 2000, "a.b:c", "fuzzing.programs:"))
        return f"{MODULE}:{self.numbers.choice(FUNCTIONS)}"

    def token(self) -> str:
        """Return the token of a stream."""
        if self.numbers.random() < 0.7:
            self._tokens.append(f"{self.numbers.randrange(10**16):016}")
        return self.numbers.choice(self._tokens[-5:])

    def new_ticket(self) -> str:
        """Return the ticket of a call that it makes: mostly a new one."""
        if self.numbers.random() < 0.8:
            self._tickets = [*self._tickets[-20:], f"{self.numbers.randrange(10**16):016}"]
        return self.own_ticket()

    def own_ticket(self) -> str:
        """Return the ticket of a call that it has made."""
        return self.numbers.choice(self._tickets[-5:]) if self.numbers.random() < 0.9 else self.name()

    def called_ticket(self) -> str:
        """Return the ticket of a call that it was asked: mostly of one that waits for its answer."""
        return self.numbers.choice(self.called) if self.called and self.numbers.random() < 0.8 else self.own_ticket()

    def seconds_left(self) -> float | None:
        """Return how long it waits for the answer to a call."""
        return self.numbers.choice((None, None, 0, 0.0, 0.01, 5, 1e308, -1.0, 2**64 - 1))

    def question(self) -> str:
        """Return what is asked of a node."""
        self._question = self.numbers.choice((*QUESTIONS, *QUESTIONS, "", "eval", "x" * 300))
        return self._question

    def asked_of_a_node(self) -> dict[str, Any]:
        """Return the arguments of the question: mostly those that it has."""
        arguments = {name: self.numbers.choice(values) for name, values in QUESTIONS.get(self._question, {}).items()}
        if self.numbers.random() < 0.3:
            arguments[self.numbers.choice((*arguments, "more"))] = self.value()
        return arguments

    def addresses(self) -> list[Any]:
        """Return addresses on which a node may listen."""
        places = [*self.places, "nobody", "unix:/nowhere", "*:0", "", "[::1]:4040", "x:99999", "\ud7ff:1", "a" * 400]
        return [self.numbers.choice(places) for _ in range(self.numbers.choice((0, 1, 1, 2, 20)))]

    def family(self) -> str:
        """Return the name of a family."""
        return self.numbers.choice(FAMILIES)

    def key(self) -> str:
        """Return a key: mostly one that the member may set."""
        return self.numbers.choice((self.node_id, self.node(), "k", "l", "", "x" * 300, self.port()))

    def sequence(self) -> int:
        """Return a number that mostly grows."""
        self._sequence += 1
        return self.numbers.choice((self._sequence,) * 6 + (0, 1, 2**63, self._sequence + 10**6, -1))

    def value(self) -> Any:
        """Return any value that may travel."""
        kind = self.numbers.randrange(8)
        if kind < 4:
            value = self.numbers.choice(ODD)
        elif kind == 4:
            value = [self.value() for _ in range(self.numbers.randrange(3))]
        elif kind == 5:
            value = {self.key(): self.value() for _ in range(self.numbers.randrange(3))}
        elif kind == 6:
            value = self.deep(self.numbers.choice((5, 50, 95)))
        else:
            value = self.key() if self.json else bytes(self.numbers.randrange(9))
        return value

    def deep(self, levels: int) -> Any:
        """Return a value that nests."""
        value: Any = None
        for _ in range(levels):
            value = [value] if self.numbers.random() < 0.5 else {"d": value}
        return value

    def reason(self) -> Message:
        """Return a reason of death."""
        known: tuple[Message, ...] = ((), ("die", "ValueError: x"), ("transport_error", "n", "x"))
        return self.numbers.choice((*known, (self.value(),), ("k", self.value())))

    def said_of_a_node(self) -> list[Any]:
        """Return an entry of the family of nodes."""
        return [self.numbers.choice((self.incarnation, "A" * 16, "", 7)), *self.addresses()]

    def tables(self) -> dict[str, Any]:
        """Return entries by family."""
        return {
            family: {self.key(): self.numbers.choice((self.value(), self.said_of_a_node())) for _ in range(2)}
            for family in self.numbers.sample(FAMILIES, self.numbers.randrange(3))
        }

    def ticket(self) -> int:
        """Return the ticket of a question to the database."""
        return self.numbers.choice((0, 1, 2, 3, 4, 5, 100, 2**63, -1))

    # The words -----------------------------------------------------------------------------------------------------

    def _all_patterns(self) -> dict[tuple[str, ...], tuple[Callable[[], Any], ...]]:
        """Return the pattern of each word: functions that make its arguments. A tuple stands for several."""
        flag = lambda: self.numbers.random() < 0.5  # noqa: E731
        rest = lambda: tuple(self.value() for _ in range(self.numbers.randrange(3)))  # noqa: E731
        two = lambda: (self.node(), self.node())  # noqa: E731
        globals_ = lambda: {self.node(): self.addresses() for _ in range(self.numbers.randrange(4))}  # noqa: E731
        version = lambda: (self.sequence(), self.incarnation, self.sequence(), self.sequence())  # noqa: E731
        entries = lambda: {self.key(): self.value() for _ in range(self.numbers.randrange(4))}  # noqa: E731
        keys = lambda: [self.key() for _ in range(self.numbers.randrange(4))]  # noqa: E731
        value = lambda: self.numbers.choice((self.value(), self.said_of_a_node()))  # noqa: E731
        patterns: dict[tuple[str, ...], tuple[Callable[[], Any], ...]] = {
            ("mon1",): (self.name,),
            ("mon0",): (self.name,),
            ("kil0",): (self.name, self.reason),
            ("kil",): (self.name, self.reason),
            ("spawn",): (self.new_name, self.function, rest),
            ("spawn_linked",): (self.new_name, self.function, self.port, rest),
            ("start",): (self.new_name, self.function, self.port_or_none, self.epoch, rest),
            ("started",): (self.asked_name, self.value, lambda: self.numbers.choice((5.0, 0, 0.5, -1.0, 1e308))),
            ("keep",): (self.name,),
            ("call",): (self.name, self.new_ticket, self.seconds_left, self._asked_of_a_port),
            ("inspect",): (self.new_ticket, self.seconds_left, self.question, self.asked_of_a_node),
            ("call_off",): (lambda: tuple(self.own_ticket() for _ in range(self.numbers.randrange(4))),),
            ("reply",): (self.called_ticket, self.value),
            ("call_error",): (self.called_ticket, flag, *(lambda: self.numbers.choice(("", "busy", "x" * 300)),) * 3),
            ("call_died",): (self.called_ticket, flag, self.reason),
            ("refused",): (self.name, lambda: self.numbers.choice((1, 5, 0, -1, 2**63)), lambda: "why"),
            ("stream",): (self.new_name, self.token, self.function, rest),
            ("stream_ready",): (self.name,),
            ("stream_dial",): (self.name,),
            ("snd",): (self.port, rest),
            **{(word,): (self.port, rest) for word in ("info", "time", "up_nodes", "known_nodes")},
            ("lookup",): (self.family, self.port, rest),
            **{(word,): () for word in ("ping", "pong", "draining", "heard", "devnull", "")},
            ("join",): (flag, self.addresses),
            ("welcome",): (self.addresses, globals_),
            ("attach",): (),
            ("decline",): (lambda: "it may not",),
            ("meet",): (self.node, self.addresses),
            ("dial",): (two, self.addresses),
            ("log",): (lambda: self.numbers.choice((0, 10, 30, 50, -1, 2**63)), self.port),
            ("db", "pull"): (),
            ("db", "leave"): (),
            ("db", "begin"): (flag,),
            ("db", "record"): (self.node, version),
            ("db", "entries"): (self.tables,),
            ("db", "done"): (),
            ("db", "set"): (self.node, self.sequence, self.family, self.key, value),
            ("db", "delete"): (self.node, self.sequence, self.family, keys),
            ("db", "gone"): (self.node,),
            ("db", "subscribe"): (self.ticket, self.family),
            ("db", "unsubscribe"): (self.ticket,),
            ("db", "get"): (self.ticket, self.family, lambda: self.numbers.choice(((), (self.key(),)))),
            ("db", "view"): (self.ticket, entries, flag),
            ("db", "change"): (self.ticket, entries, keys, flag),
        }
        return patterns

    def _all_channel_patterns(self) -> dict[str, tuple[Callable[[], Any], ...]]:
        """Return the pattern of each word of a channel."""
        absurd = (0, -1, True, 1.0, 2**31, 2**63, None, "1")
        credit = lambda: self.numbers.choice((*(1, 1, 1, 1, 1, 1, 2, 2, 4, 32) * 4, *absurd))  # noqa: E731
        item = (lambda: self.numbers.choice((self.value(), "x" * 5000, b"" if self.json else bytes(70_000))),)
        return {"item": item, "credit": (credit,), "wait": (), "end": (), "closed": ()}

    def channel(self) -> str:
        """Return the name of a port that serves a channel: mostly of the latest ones."""
        return self.numbers.choice(self.channels[-self.numbers.choice((1, 1, 3, 10)) :] or [self.name()])

    def _open_channel(self) -> Message:
        """Return a request for the far end of a channel, whose near end is a port of the member."""
        kind = self.numbers.choice(list(CHANNELS))
        name = self.new_name()
        self.channels = [*self.channels[-10:], name]
        near = self.port() if self.numbers.random() < 0.1 else f"{self.node_id}#{self.incarnation}.{self._counter}"
        buffer, size = self.numbers.choice((1, 2, 64, 64, 200, 201, 0)), self.numbers.choice((1, 4096, 1 << 20, 2**63))
        function = f"{MODULE}:{self.numbers.choice(CHANNELS[kind])}"
        rest = tuple(self.value() for _ in range(self.numbers.randrange(2)))
        if self.numbers.random() < 0.1:
            return self._spoilt(("", "spawn", name, kind, function, near, buffer, size, *rest), 2)
        return self._spoilt(("", "start", name, kind, None, self.epoch(), function, near, buffer, size, *rest), 2)

    def _say_in_a_channel(self) -> Message:
        """Return a word for a port that serves a channel. Items and credit come more often than all else."""
        words = [*self._channel_patterns, *["item"] * 5, *["credit"] * 5, *["wait"] * 2]
        word = self.numbers.choice(words)
        return self._spoilt((self.channel(), word, *self._blanks(self._channel_patterns[word])), 1)

    def _asked_of_a_port(self) -> Message:
        """Return the message of a call to a port of a program."""
        what = self.numbers.choice(("answer", "answer_slowly", "send", "call", self.value()))
        return (what, self.port(), self.value())

    def message(self) -> Message:
        """Return the next message; its first element is the name of a port, empty for the node port."""
        choice = self.numbers.random()
        if choice < 0.25 and self.ports:
            # To a port of a program, which does what others ask.
            what = self.numbers.choice(
                ("send", "watch", "stream", "call", "start", "kill", "link", "set", "later", "channel", "source")
            )
            name = self.numbers.choice(self.ports).partition("#")[2]
            return self._spoilt((name, what, self.port(), self.value(), self.value()), 1)
        if choice < 0.28 and self.ports:
            # A log record, to a port that may collect log records.
            name = self.numbers.choice(self.ports).partition("#")[2]
            level, created = self.numbers.choice((0, 10, 40, 2**63)), self.numbers.choice((0.0, -1.0, 1.6e9))
            logger = self.numbers.choice(("x", "", "trio_mp", "trio_mp.trace", "x.y.z", "x" * 300))
            return self._spoilt((name, "record", logger, level, created, "text", self.key(), self.ticket()), 2)
        if choice < 0.4 and self.channels:
            return self._say_in_a_channel()
        if choice < 0.43:
            return self._open_channel()
        if choice < 0.432:
            return ("", self.numbers.choice(("idle", "bye", "busy")))
        if choice < 0.45:
            return ("", *(self.value() for _ in range(self.numbers.randrange(4))))
        word = self.numbers.choice(self._words)
        return self._spoilt(("", *word, *self._blanks(self._patterns[word])), 1 + len(word))

    def _blanks(self, pattern: tuple[Callable[[], Any], ...]) -> list[Any]:
        filled: list[Any] = []
        for make in pattern:
            made = make()
            filled += made if isinstance(made, tuple) else [made]
        return filled

    def _spoilt(self, message: Message, fixed: int) -> Message:
        """Return the message, sometimes with a value in it that does not belong there."""
        if self.numbers.random() < 0.75:
            return message
        parts = list(message)
        place = self.numbers.randrange(min(fixed, len(parts)), len(parts) + 1)
        what = self.numbers.randrange(5)
        if what == 0:
            parts[place : place + 1] = [self.value()]
        elif what == 1:
            del parts[place:]
        elif what == 2:
            parts[place:place] = [self.value()]
        elif what == 3:
            parts[place : place + 1] = [parts[place : place + 1]]
        else:
            # A tag that no request has.
            parts[1:2] = [self.value()]
        return tuple(parts)
