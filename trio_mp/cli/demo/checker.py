"""The verdict: whether what the receivers recorded agrees with what the senders were told.

A *stream* is what one run of a node sends to one port. It has *eras*: one for each monitor that the sender has set on
that port, each beginning when the one before has fired. No hole means, for every stream:

1. Nothing arrives that was not sent, nothing twice, nothing in another order than it was sent, nothing at another port.
2. What arrives of an era is the beginning of it: after the first message that is missing, no other of that era arrives.
3. If anything of an era is missing, its monitor has fired.

Together with the order across eras this is the promise: nothing that was sent after a lost message arrives unless the
sender was told in between.

Of a run that was killed nobody can say what it would have been told, or whether the very last message that it recorded
had left it. So rule 3 does not bind a run that did not finish, and what is missing at the end of its streams is counted
apart: `untold`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .journal import Journal, Kind


class StreamKey(NamedTuple):
    """Which run of which node sends, and its number for the port that it sends to."""

    node: int
    run: int
    stream: int


class Delivery(NamedTuple):
    """A message as it was received, and by which run of which node."""

    era: int
    number: int
    receiver: tuple[int, int]


class ReportedLoss(NamedTuple):
    """A monitor that fired, and how many messages of its era did not arrive."""

    sender: int
    receiver: int
    messages: int


@dataclass(slots=True)
class SentStream:
    """What the sender recorded of one stream.

    Attributes:
      receiver: the node that it sends to.
      eras: the numbers of the messages that were sent, by era.
      fired: the eras whose monitor has fired.
      monitored: the era whose monitor is in place, or 0.
    """

    receiver: int
    eras: dict[int, list[int]] = field(default_factory=dict)
    fired: set[int] = field(default_factory=set)
    monitored: int = 0


@dataclass(slots=True)
class Verdict:
    """What came out.

    Attributes:
      sent, delivered: messages, in all streams.
      reported: messages that did not arrive, and whose sender was told.
      untold: messages that did not arrive, and whose sender did not live to be told.
      unaccounted: messages that did not arrive, though the sender lived and was not told.
      streams: how many streams there were.
      losses: the monitors that fired.
      problems: every violation, in words.
    """

    sent: int = 0
    delivered: int = 0
    reported: int = 0
    untold: int = 0
    unaccounted: int = 0
    streams: int = 0
    losses: list[ReportedLoss] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether there was no hole, and each message is accounted for."""
        accounted = self.delivered + self.reported + self.untold
        return not self.problems and not self.unaccounted and accounted == self.sent


def check(journals: Iterable[Journal]) -> Verdict:
    """Compare what all runs of all nodes have recorded."""
    verdict = Verdict()
    sent: dict[StreamKey, SentStream] = {}
    finished: set[tuple[int, int]] = set()
    received: dict[StreamKey, list[Delivery]] = defaultdict(list)
    for journal in journals:
        verdict.problems += _read(journal, sent, finished, received)
    for key in received.keys() - sent.keys():
        verdict.problems.append(f"{_name(key)}: {len(received[key])} messages arrived that nobody sent")
    for key, stream in sent.items():
        _check_stream(verdict, key, stream, received.get(key, []), (key.node, key.run) in finished)
    return verdict


def _name(key: StreamKey) -> str:
    return f"stream {key.stream} of run {key.run} of node {key.node}"


def _read(
    journal: Journal,
    sent: dict[StreamKey, SentStream],
    finished: set[tuple[int, int]],
    received: dict[StreamKey, list[Delivery]],
) -> Iterator[str]:
    """Sort what one run has recorded into these tables; yields what it must not have recorded."""
    here = (journal.node, journal.run)
    for record in journal.records:
        if record.kind is Kind.FINISHED:
            finished.add(here)
        elif record.kind is Kind.DELIVERED:
            delivery = Delivery(record.era, record.number, here)
            received[StreamKey(record.node, record.run, record.stream)].append(delivery)
        elif record.kind is Kind.MISDIRECTED:
            key = StreamKey(record.node, record.run, record.stream)
            yield f"{_name(key)}: message {record.number} arrived at the port of another stream"
        else:
            key = StreamKey(*here, record.stream)
            stream = sent.get(key)
            if stream is None:
                stream = sent[key] = SentStream(record.node)
            if here in finished:
                yield f"{_name(key)}: it goes on after it has finished"
            problem = _read_sender(stream, record.kind, record.era, record.number)
            if problem:
                yield f"{_name(key)}: {problem}"


def _read_sender(stream: SentStream, kind: Kind, era: int, number: int) -> str:
    """Note what a sender recorded; returns what is wrong with it, if something is."""
    if kind is Kind.MONITORED:
        stale = stream.monitored or era in stream.eras or any(era < other for other in stream.eras)
        stream.monitored = era
        stream.eras.setdefault(era, [])
        return f"era {era} begins while another is monitored, or again" if stale else ""
    stale = era != stream.monitored
    if kind is Kind.FIRED:
        stream.fired.add(era)
        stream.monitored = 0
        return f"the monitor of era {era} fired, but was not set" if stale else ""
    stream.eras.setdefault(era, []).append(number)
    return f"message {number} of era {era} was sent while that was not monitored" if stale else ""


def _check_stream(
    verdict: Verdict, key: StreamKey, stream: SentStream, deliveries: list[Delivery], finished: bool
) -> None:
    verdict.streams += 1
    verdict.problems += [f"{_name(key)}: {problem}" for problem in _check_order(stream, deliveries)]
    arrived = {(delivery.era, delivery.number) for delivery in deliveries}
    for era, numbers in stream.eras.items():
        missing = [number for number in numbers if (era, number) not in arrived]
        verdict.sent += len(numbers)
        verdict.delivered += len(numbers) - len(missing)
        if missing and missing != numbers[-len(missing) :]:
            verdict.problems.append(
                f"{_name(key)}: a hole: message {missing[0]} of era {era} is missing, a later one has arrived,"
                " and nothing was reported in between"
            )
        if era in stream.fired:
            verdict.reported += len(missing)
            verdict.losses.append(ReportedLoss(key.node, stream.receiver, len(missing)))
        elif finished:
            verdict.unaccounted += len(missing)
            if missing:
                verdict.problems.append(
                    f"{_name(key)}: lost in silence: {len(missing)} messages of era {era}, from {missing[0]} on"
                )
        else:
            verdict.untold += len(missing)


def _check_order(stream: SentStream, deliveries: list[Delivery]) -> Iterator[str]:
    """Rule 1: sent, once, in order, and all at the same port."""
    places: dict[tuple[int, int], int] = {}
    for era, numbers in stream.eras.items():
        for number in numbers:
            if (era, number) in places:
                yield f"message {number} of era {era} was sent twice"
            places[era, number] = len(places)
    seen: set[tuple[int, int]] = set()
    last = -1
    for era, number, receiver in deliveries:
        place = places.get((era, number))
        if place is None:
            yield f"message {number} of era {era} arrived, but was not sent"
            continue
        if (era, number) in seen:
            yield f"message {number} of era {era} arrived twice"
        elif place < last:
            yield f"message {number} of era {era} arrived after one that was sent later"
        seen.add((era, number))
        last = max(last, place)
        if receiver[0] != stream.receiver:
            yield f"message {number} of era {era} arrived at node {receiver[0]}, not {stream.receiver}"
    runs = sorted({receiver for _, _, receiver in deliveries})
    if len(runs) > 1:
        yield f"it arrived at more than one run of a node: {runs}"
