"""The rules of the promise, and the exception that says which one was broken."""

from __future__ import annotations

import enum


class Rule(enum.Enum):
    """The rules of the promise. The values are texts for people."""

    ORDER = "messages from one run of a node to one port are delivered in the order they were sent, each at most once"
    INVENTED = "what is delivered was sent, to that port"
    HOLE = "after a lost message nothing is delivered to its port until the monitors have fired"
    SILENCE = "a message sent under a monitor is delivered, or the monitor fires"
    LATE = "a monitor of a dead port, or of one on an unreachable node, fires within the bound of the cause"
    ONCE = "a monitor fires once, and not when it was cancelled"
    FALSE_DEATH = "a port that is said to have died has died"
    PORT_ID = "a port ID never names two ports"
    DEAD_PORT = "a port that has died, or whose node has, gets nothing"
    MEMORY = "what is queued for a peer stays under queue_limit and one message"
    CONNECTED = "global nodes are connected with each other, and every other node with the one that it is attached to"
    FORM = "seeds are global, global nodes know each other, and every other node is attached to one of them"
    AGREEMENT = "both ends agree on which connection is in use"
    DATABASE = "at rest every global node holds what there is, and nothing that a member has said for others"
    UNANSWERED = "a call ends: with the answer, or with PortDied"
    ANSWERED_TWICE = "a call is handled at most once, and its answer is the one of the handler that has got it"
    GIVEN_UP = "a call that does not begin is one that its caller has given up, or whose connection was lost"
    BEGUN_LATE = "no handler begins a call whose time is up, or that its caller has given up long before"
    TOO_EARLY = "nobody believes that the time of a call is up before it is"
    UNDELIVERED = "no handler gets a call of which the caller was told that it is certainly undelivered"
    CALLED_OFF = "at rest no handler goes on that ends with its call, and for whose answer nobody waits"
    AGAIN = "a call to a group that may be made again is answered, where the group has a member"
    ROSTER = "a group tells in turn that a member joins and leaves, and calls those that have joined"
    DRAINED = (
        "when a node has drained, what others had sent before they heard of it is handled, unless its port has died,"
        " the sender has lost the connection, or the drain names either"
    )
    DRAIN_ENDS = "a drain ends when all have heard that have not been lost, or says what is unfinished"
    WITHDRAWN = "a node that drains has no entry that names a port"
    CONVERGES = "at rest the members of a group are the registered ports that live"
    ITEMS = "the items of a channel are received in their order, none twice, and none is missing before a later one"
    FALSE_END = "the end of a channel is received when it was said, behind all items"
    LEFT_WAITING = "at rest no side of a channel waits for one that has left it, or is dead"
    CREDIT = "at rest the credit of a channel that was taken is with the items that were not given back"
    EPOCHS = "no epoch is used twice, and a turn has a greater one than those that its candidate could see"
    TURNS = "a turn of a singleton has ended before its entry goes, and none begins that could see another one run"
    ONE_TURN = "at rest one turn of a singleton runs, and a resource that keeps the greatest epoch takes it"
    ENTRIES = "an entry names a port that was registered, and goes with it; at rest all nodes find the same ports"
    VANISHED = (
        "no deletion is reported of a node that lives, whose connection with its global node did not break, and of"
        " which no member lies"
    )
    LINGERS = "the entries of a dead node are gone within three heartbeats and the grace"
    LIVES = "a life of a supervised child begins when the one before has ended, and has a greater epoch"
    STOPPED = "a supervised child that was stopped has ended, is not started again, and counts as no restart"
    SUPERVISED = "at rest each child of a supervisor runs, once, and no child of one that has ended"


class PromiseBroken(Exception):
    """The promise was broken.

    Attributes:
      rule: the rule that was broken.
      what: what happened, in words.
      seed: the seed of the simulation.
      trace: the latest events that name the nodes or ports concerned, as text.
    """

    def __init__(self, rule: Rule, what: str, seed: object, trace: str) -> None:
        super().__init__(rule, what, seed, trace)
        self.rule = rule
        self.what = what
        self.seed = seed
        self.trace = trace

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.what} (seed {self.seed!r})\n{self.trace}"
