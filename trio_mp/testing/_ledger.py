"""The ledger of the calls of the hammer: who has asked, who has handled the question, and what became of it.

A question is known by its number, which travels with the call. All nodes of a simulation share one process and one
clock, so a handler can be asked what the caller knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

import trio

from .._errors import CallError, PortDied
from .._ports.calls import current_call
from .._ports.port import Port
from ._network import SimulatedNetwork
from ._rules import Rule
from ._witness import Witness

KINDS = frozenset({"ask", "work", "pass", "mail"})
"""The first elements of messages that are questions. The second one is the number."""


@dataclass(eq=False, slots=True)
class Handling:
    """One handler that has got a question.

    Attributes:
      port, run: the port, and the run of its node.
      clings: whether the handler goes on when nobody waits for its answer.
      going_on: whether the handler has not ended.
    """

    port: str
    run: str
    clings: bool
    going_on: bool = True


@dataclass(eq=False, slots=True)
class Question:
    """One call.

    Attributes:
      number: its number.
      run: the run of the node that has asked.
      about: the port, or the family, that is asked.
      again: whether another member of a group may be asked as well.
      deadline: until when the caller waits, by Trio's clock.
      handlings: who has got it, by the number that is the answer.
      ended: when the caller has stopped waiting.
      undelivered: whether the caller was told that nobody has got it.
      dropped: when the call was not begun, though its caller waited.
    """

    number: int
    run: str
    about: str
    again: bool
    deadline: float
    handlings: dict[int, Handling] = field(default_factory=dict)
    ended: float = inf
    undelivered: bool = False
    dropped: float = inf

    def __str__(self) -> str:
        return f"question {self.number} of {self.run} to {self.about}"


class CallLedger:
    """All questions of one seed, and the rules that they are under.

    Args:
      network: the simulated network.

    Attributes:
      questions: all of them, by their numbers.
      answered: how many were answered.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.questions: dict[int, Question] = {}
        self.answered: int = 0
        self._network = network
        self._oracle = network.oracle
        self._serial = itertools.count(1)

    # The caller ----------------------------------------------------------------------------------------------------

    async def ask(
        self,
        run: str,
        about: str,
        call: Callable[[int], Awaitable[object]],
        *,
        again: bool = False,
        limit: float = inf,
    ) -> Question:
        """Make a call. The reply is the number that the handler has got from `handles`. A checkpoint.

        Args:
          run: the run of the node that asks.
          about: the port, or the family, that is asked.
          call: `await call(number)` makes the call, and returns its reply.
          again: whether another member of a group may be asked as well.
          limit: how long to wait, in seconds.
        """
        number = len(self.questions)
        question = self.questions[number] = Question(number, run, about, again, trio.current_time() + limit)
        try:
            with trio.fail_at(question.deadline) if limit < inf else trio.CancelScope():
                question.deadline = trio.current_effective_deadline()
                answer = await call(number)
            self._answer(question, answer)
        except (PortDied, CallError) as error:
            self._fail(question, error)
        except trio.TooSlowError:
            self._note("gave up", question)
        finally:
            question.ended = trio.current_time()
        return question

    def _answer(self, question: Question, answer: object) -> None:
        self._note("answered", question, answer)
        self.answered += 1
        if not self._oracle.lives(question.run):
            return
        if answer not in question.handlings:
            told = f"expected an answer from {sorted(question.handlings)}, got {answer!r}"
            self._oracle.fail(Rule.ANSWERED_TWICE, f"{question}: {told}", question.about)
        if question.dropped < inf and not question.again:
            self._oracle.fail(Rule.GIVEN_UP, f"{question} was answered, and it had not begun", question.about)

    def _fail(self, question: Question, error: PortDied | CallError) -> None:
        self._note("failed", question, *error.args[:2])
        if not self._oracle.lives(question.run):
            return
        if isinstance(error, CallError) and error.type_name == "expired" and trio.current_time() < question.deadline:
            left = question.deadline - trio.current_time()
            self._oracle.fail(Rule.TOO_EARLY, f"{question} had {left:g} s left, and has expired", question.about)
        if question.again and isinstance(error, PortDied):
            self._oracle.fail(Rule.AGAIN, f"{question} failed: {error}", question.about)
        if error.maybe_delivered is False and not question.again:
            question.undelivered = True
            self._check_undelivered(question)

    def _check_undelivered(self, question: Question) -> None:
        if question.undelivered and question.handlings:
            ports = [handling.port for handling in question.handlings.values()]
            what = f"{question} is certainly undelivered, its caller was told, and {ports} have got it"
            self._oracle.fail(Rule.UNDELIVERED, what, question.about)

    # The port that is called ---------------------------------------------------------------------------------------

    @contextmanager
    def handles(self, number: int, run: str, port: str, *, clings: bool = True) -> Iterator[int]:
        """A handler that has got a question, for as long as it runs. Gives the number that is to be the answer.

        Args:
          number: the question.
          run, port: the port that has got it, and the run of its node.
          clings: whether the handler goes on when nobody waits for its answer.
        """
        question, serial = self.questions[number], next(self._serial)
        handling = Handling(port, run, clings)
        if self._oracle.lives(run):
            self._note("handles", question, port, serial)
            self._check_begins(question, port)
            question.handlings[serial] = handling
            self._check_undelivered(question)
        try:
            yield serial
        finally:
            handling.going_on = False

    def _check_begins(self, question: Question, port: str) -> None:
        oracle, call, now = self._oracle, current_call(), trio.current_time()
        if question.handlings and not question.again:
            before = [handling.port for handling in question.handlings.values()]
            oracle.fail(Rule.ANSWERED_TWICE, f"{port} handles {question}, which {before} have got", port)
        if call is not None:
            # Of a plain call the other node knows no deadline.
            if call.deadline < question.deadline - 1e-6 and call.deadline < inf:
                what = f"{question} is waited for until {question.deadline:g}, and {port} believes {call.deadline:g}"
                oracle.fail(Rule.TOO_EARLY, what, port)
            if call.deadline <= now:
                oracle.fail(Rule.BEGUN_LATE, f"{port} begins {question}, which has expired there", port)
        over = min(question.ended, question.deadline)
        if oracle.lives(question.run) and oracle.calm_since(over) > oracle.bounds.latency:
            oracle.fail(Rule.BEGUN_LATE, f"{port} begins {question}, for which nobody waits since {over:g}", port)

    def follow(self, witness: Witness) -> None:
        """Note each question that a port of this node does not begin."""
        dispatcher = witness.node._runtime.dispatcher
        before = dispatcher.tell_expired

        def tell(port: Port, message: tuple[Any, ...]) -> None:
            if message[0] in KINDS:
                self.dropped(message[1], str(port))
            before(port, message)

        dispatcher.tell_expired = tell

    def dropped(self, number: int, port: str) -> None:
        """Note that a port has not begun a call, because nobody waited for the answer."""
        question, now = self.questions[number], trio.current_time()
        self._note("dropped", question, port)
        if question.ended > now and question.deadline > now:
            # Then the connection is lost, and the caller is told of that: it gets no answer from there.
            question.dropped = min(question.dropped, now)

    # At rest -------------------------------------------------------------------------------------------------------

    def judge(self, answerable: Collection[str] = ()) -> None:
        """Check that each question has come to its end. To be called when the network is at rest.

        Args:
          answerable: the families that have members.
        """
        oracle = self._oracle
        for question in self.questions.values():
            alive = oracle.lives(question.run)
            if question.ended == inf and alive:
                rule = Rule.AGAIN if question.again and question.about in answerable else Rule.UNANSWERED
                oracle.fail(rule, f"{question} has not ended", question.about)
            for handling in question.handlings.values():
                if handling.going_on and not handling.clings and oracle.lives(handling.run):
                    what = f"{handling.port} goes on with {question}, for which nobody waits since {question.ended:g}"
                    oracle.fail(Rule.CALLED_OFF, what, handling.port)

    def _note(self, kind: str, question: Question, *details: object) -> None:
        self._network.trace.record(kind, str(question), *map(str, details))
