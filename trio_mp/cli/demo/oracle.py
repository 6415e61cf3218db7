"""The oracle of whole processes: compares their journals, and says whether the promise held.

The demo and the chaos harness of the tests ask it. `trio_mp.testing` has another oracle, which watches the nodes of one
process while they run; this one knows only what processes wrote down before they were killed.

A *stream* is what one run of a node sends to one port; its messages are numbered from 1. A stream has *epochs*, one for
each monitor that the sender has set. The rules:

1. Order: the numbers of delivered messages strictly increase, so no message is delivered twice.
2. Place: a message that is delivered as of an epoch was sent in that epoch, and arrives at the port it was sent to.
3. No hole: the messages delivered of an epoch are the first ones of that epoch.
4. The fence: no message of an earlier epoch is delivered after one of a later epoch.
5. No silence: if a message of an epoch is missing, and the sender has lived to the end, the epoch's monitor has fired.
6. A port ID names one port.

Nobody can say what a run that was killed would have been told. The missing messages of its last epoch are counted
apart, as `untold`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .journal import EntryKind, Journal, JournalEntry


class StreamKey(NamedTuple):
    """Names a stream: the node that sends, the run of that node, and the sender's number for the stream."""

    node: str
    run: int
    stream: int

    def __str__(self) -> str:
        return f"stream {self.stream} of run {self.run} of node {self.node}"


class JournalPlace(NamedTuple):
    """A line of a journal: the journal's name, and the line's number from 0."""

    journal: str
    line: int


class Violation(NamedTuple):
    """A rule that was broken, and the lines that show it."""

    text: str
    places: tuple[JournalPlace, ...]
    key: StreamKey | None = None


@dataclass(slots=True)
class Epoch:
    """What a sender recorded of an epoch; `ended` is the reason with which its monitor fired."""

    first: int
    last: int
    place: JournalPlace
    ended: str | None = None


@dataclass(slots=True)
class SentStream:
    """What a sender recorded of a stream."""

    receiver: str
    port: str
    place: JournalPlace
    epochs: dict[int, Epoch] = field(default_factory=dict)


class Loss(NamedTuple):
    """A monitor that has fired, and how many messages of its epoch were not delivered."""

    sender: str
    receiver: str
    messages: int


class Arrival(NamedTuple):
    """An entry of a receiver about a stream, its place, and the receiver."""

    entry: JournalEntry
    place: JournalPlace
    receiver: str


@dataclass(slots=True)
class Findings:
    """What the comparison of all journals has found.

    Attributes:
      sent, delivered: how many messages.
      reported: messages that were not delivered, and whose sender was told.
      untold: messages that were not delivered, and whose sender was killed before it could be told.
      silent: messages that were not delivered, though the sender lived and was not told.
      streams, epochs: how many there were.
      reasons: why epochs ended, by the first word.
      losses: the monitors that have fired.
      violations: every rule that was broken.
    """

    sent: int = 0
    delivered: int = 0
    reported: int = 0
    untold: int = 0
    silent: int = 0
    streams: int = 0
    epochs: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)


@dataclass(slots=True)
class _Tables:
    """All journals, sorted by stream."""

    streams: dict[StreamKey, SentStream] = field(default_factory=dict)
    arrivals: dict[StreamKey, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    ports: dict[str, JournalPlace] = field(default_factory=dict)
    finished: set[tuple[str, int]] = field(default_factory=set)


def check(journals: Iterable[Journal]) -> Findings:
    """Compare the journals of all runs of all nodes."""
    tables, findings = _Tables(), Findings()
    for journal in journals:
        findings.violations += _sort(journal, tables)
    for key, arrivals in tables.arrivals.items():
        # A sender that was killed between its request for a port and its entry about the port has sent nothing there.
        places = tuple(arrival.place for arrival in arrivals if arrival.entry.kind is not EntryKind.MADE)[:1]
        if key not in tables.streams and places:
            findings.violations.append(Violation(f"{key}: it arrived, and nobody has sent it", places, key))
    for key, stream in tables.streams.items():
        _check_stream(findings, key, stream, tables.arrivals.get(key, []), (key.node, key.run) in tables.finished)
    return findings


# Sorting ----------------------------------------------------------------------------------------------------------


def _sort(journal: Journal, tables: _Tables) -> Iterator[Violation]:
    here = (journal.node, journal.run)
    for line, entry in enumerate(journal.entries):
        place = JournalPlace(journal.name, line)
        match entry.kind:
            case EntryKind.FINISHED:
                tables.finished.add(here)
            case EntryKind.MADE | EntryKind.GOT | EntryKind.WRONG:
                key = StreamKey(entry.peer, entry.run, entry.stream)
                tables.arrivals[key].append(Arrival(entry, place, journal.node))
                other = tables.ports.setdefault(entry.text, place) if entry.kind is EntryKind.MADE else place
                if other != place:
                    yield Violation(f"{key}: its port {entry.text} is there already", (other, place), key)
            case _:
                key = StreamKey(*here, entry.stream)
                problem = _sort_sent(tables, key, entry, place)
                if here in tables.finished and entry.kind is EntryKind.SEND:
                    problem = "it sends after it has finished"
                if problem:
                    yield Violation(f"{key}: a broken journal: {problem}", (place,), key)


def _sort_sent(tables: _Tables, key: StreamKey, entry: JournalEntry, place: JournalPlace) -> str:
    """Note an entry of a sender. Returns what is wrong with the entry, or an empty text."""
    stream = tables.streams.get(key)
    if entry.kind is EntryKind.OPEN:
        tables.streams[key] = SentStream(entry.peer, entry.text, place)
        return "it is opened twice" if stream is not None else ""
    if stream is None:
        return "it was not opened"
    latest = stream.epochs.get(len(stream.epochs))
    if entry.kind is EntryKind.BEGIN:
        expected = latest.last + 1 if latest is not None else 1
        stream.epochs[entry.epoch] = Epoch(entry.first, entry.first - 1, place)
        if entry.epoch != len(stream.epochs) or entry.first != expected:
            return f"epoch {entry.epoch} begins with {entry.first}, not epoch {len(stream.epochs)} with {expected}"
        return "an epoch begins in another" if latest is not None and latest.ended is None else ""
    epoch = stream.epochs.get(entry.epoch)
    if epoch is None or epoch is not latest or epoch.ended is not None:
        return f"epoch {entry.epoch} is not the one whose monitor is set"
    if entry.kind is EntryKind.END:
        epoch.ended = entry.text
        return ""
    expected, epoch.last = epoch.last + 1, entry.last
    return f"{entry.first} is sent, not {expected}" if entry.first != expected else ""


# Checking ---------------------------------------------------------------------------------------------------------


def _check_stream(
    findings: Findings, key: StreamKey, stream: SentStream, arrivals: list[Arrival], finished: bool
) -> None:
    counts, violations = _check_arrivals(stream, arrivals)
    findings.violations += [Violation(f"{key}: {text}", places, key) for text, places in violations]
    findings.streams += 1
    findings.epochs += len(stream.epochs)
    for number, epoch in stream.epochs.items():
        size = epoch.last - epoch.first + 1
        missing = max(0, size - counts[number])
        findings.sent += size
        findings.delivered += size - missing
        if epoch.ended is not None:
            findings.reported += missing
            findings.losses.append(Loss(key.node, stream.receiver, missing))
            findings.reasons[(epoch.ended.split() or ["normal"])[0]] += 1
        elif not finished:
            findings.untold += missing
        elif missing:
            findings.silent += missing
            where = f"of epoch {number}, from {epoch.first + counts[number]} on"
            text = f"{key}: lost in silence: {missing} of the {size} messages {where}"
            findings.violations.append(Violation(text, (epoch.place, *(one.place for one in arrivals[-1:])), key))


def _check_arrivals(
    stream: SentStream, arrivals: Sequence[Arrival]
) -> tuple[Counter[int], list[tuple[str, tuple[JournalPlace, ...]]]]:
    """Count the messages that arrived, by epoch, and find what is wrong with them."""
    counts: Counter[int] = Counter()
    violations: list[tuple[str, tuple[JournalPlace, ...]]] = []
    last, last_epoch, home = 0, 0, arrivals[0].place.journal if arrivals else ""
    for entry, place, receiver in arrivals:
        problem = ""
        if receiver != stream.receiver:
            problem = f"it arrived at {receiver}, not {stream.receiver}"
        elif place.journal != home:
            problem = f"it arrived at {home} and at {place.journal}"
        elif entry.kind is EntryKind.MADE:
            problem = f"its port is {entry.text}, not {stream.port}" if entry.text != stream.port else ""
        elif entry.kind is EntryKind.WRONG:
            problem = entry.text
        else:
            problem = _check_range(stream, entry, last, last_epoch, counts)
            counts[entry.epoch] += entry.last - entry.first + 1
            last, last_epoch = max(last, entry.last), max(last_epoch, entry.epoch)
        if problem:
            epoch = stream.epochs.get(entry.epoch)
            violations.append((problem, (place, epoch.place if epoch is not None else stream.place)))
    return counts, violations


def _check_range(stream: SentStream, entry: JournalEntry, last: int, last_epoch: int, counts: Counter[int]) -> str:
    """Say what is wrong with the delivery of a range of messages, after those delivered before; or an empty text."""
    what = f"{entry.first} to {entry.last} of epoch {entry.epoch}"
    epoch = stream.epochs.get(entry.epoch)
    if epoch is None or entry.first < epoch.first or entry.last > epoch.last:
        return f"{what} arrived, and were not sent in it"
    if entry.epoch < last_epoch:
        return f"{what} arrived after something of epoch {last_epoch}, which was sent after the loss was reported"
    if entry.first <= last:
        return f"{what} arrived after {last}: twice, or out of order"
    expected = epoch.first + counts[entry.epoch]
    if entry.first != expected:
        return f"a hole: {what} arrived, and {expected} did not, and nothing was reported in between"
    return ""
