"""Faults in channels: their credit, their ends, and what each side is told."""

from __future__ import annotations

from .fault import Change, Fault

_CREDIT = "_protocol/credit.py"
_CHANNEL = "_channels/channel.py"
_OUTGOING = "_channels/outgoing.py"
_INCOMING = "_channels/incoming.py"
_ENDS = "_channels/ends.py"
_SERVICE = "_channels/service.py"
_SPAWNING = "_services/spawning.py"
_PURE = "tests/protocol/test_credit.py"
_TESTS = "tests/channels/test_channels.py"
_SOURCES = "tests/channels/test_sources.py"
_STEPS = "tests/channels/test_channels_at_each_step.py"
_SIMULATED = "tests/channels/test_channels_simulated.py"

CHANNELS = (
    Fault(
        "credit_lost",
        "items are given back, and the last of them brings no credit",
        (Change(_CREDIT, "        self.items += items\n", "        self.items += max(1, items - 1)\n"),),
        (f"{_PURE}::test_credit_that_was_not_taken_cannot_be_given_back",),
    ),
    Fault(
        "credit_of_bytes_lost",
        "items are given back, and their bytes are not",
        (Change(_CREDIT, "self.size += sum([oldest()", "sum([oldest()"),),
        (f"{_PURE}::test_credit_that_was_not_taken_cannot_be_given_back",),
    ),
    Fault(
        "credit_invented",
        "the other side may give back more than it was sent",
        (Change(_CREDIT, "if not 1 <= items <= len(self._sizes):", "if not 1 <= items:"),),
        (f"{_PURE}::test_credit_that_was_not_taken_cannot_be_given_back",),
    ),
    Fault(
        "large_item_never_passes",
        "an item that is larger than the buffer waits for ever",
        (Change(_CREDIT, "(size > self.size and self._sizes)", "size > self.size"),),
        (f"{_PURE}::test_a_large_item_passes_alone",),
    ),
    Fault(
        "large_item_passes_beside_others",
        "an item that is larger than the buffer passes while others are there",
        (Change(_CREDIT, "(size > self.size and self._sizes)", "(size > max(self.size, 0) and self.size < 0)"),),
        (f"{_PURE}::test_a_large_item_passes_alone",),
    ),
    Fault(
        "credit_kept_back",
        "the receiver keeps back what it has taken while a sender waits for bytes",
        (Change(_CREDIT, "        self._enough = 1\n", ""),),
        (f"{_PURE}::test_a_sender_that_waits_for_bytes_gets_each_item_back",),
    ),
    Fault(
        "wait_not_said",
        "a sender that lacks bytes does not say so",
        (Change(_OUTGOING, '            self._side.say("wait")\n', "            pass\n"),),
        (f"{_TESTS}::test_bytes_count_between_nodes",),
    ),
    Fault(
        "sent_beyond_the_credit",
        "a side may send more than it was granted, and nobody notices",
        (Change(_CREDIT, "if held > self._items or (", "if False and ("),),
        (f"{_TESTS}::test_words_that_no_side_says",),
    ),
    Fault(
        "failed_send_costs_credit",
        "an item that cannot travel costs credit all the same",
        (Change(_OUTGOING, "            self.credit.refund()\n", ""),),
        (f"{_TESTS}::test_an_item_that_cannot_travel_costs_nothing",),
        hangs=True,
    ),
    Fault(
        "item_overtakes_a_woken_task",
        "an item is sent between the moment a task is told of credit and the moment it runs",
        (
            Change(
                _OUTGOING,
                "        if self.waiting or not self.credit.take(size):",
                "        if (self.waiting and not next(iter(self.waiting)).woken) or not self.credit.take(size):",
            ),
        ),
        (f"{_TESTS}::test_a_task_that_is_woken_by_credit_comes_before_others",),
    ),
    Fault(
        "woken_task_woken_again",
        "a task that is told of credit, and whose clone is closed before it runs, is woken twice",
        (Change(_OUTGOING, "if not waiting.woken:\n            waiting", "if waiting:\n            waiting"),),
        (f"{_TESTS}::test_a_clone_is_closed_before_the_task_runs_that_was_woken_by_credit",),
    ),
    Fault(
        "others_not_served",
        "the task that is told of credit sends its item, and the tasks behind it go on waiting",
        (
            Change(
                _OUTGOING,
                "            del self.waiting[waiting]\n            if self.waiting:\n                self._runtime",
                "            del self.waiting[waiting]\n            if not waiting:\n                self._runtime",
            ),
        ),
        (f"{_TESTS}::test_credit_for_several_is_used_by_all_who_wait",),
        hangs=True,
    ),
    Fault(
        "small_item_overtakes",
        "a small item passes a large one that waits",
        (Change(_OUTGOING, "if self.waiting or not self.credit.take(size):", "if not self.credit.take(size):"),),
        (f"{_TESTS}::test_bytes_count_between_nodes",),
    ),
    Fault(
        "called_off_blocks_others",
        "a large item that is called off still holds back the small one behind it",
        (
            Change(
                _OUTGOING,
                "a send may raise.\n                self._runtime.dispatcher.queue.enqueue(Job(self._serve), ())",
                "a send may raise.\n                pass",
            ),
        ),
        (f"{_TESTS}::test_a_large_item_that_is_called_off_lets_small_ones_pass",),
    ),
    Fault(
        "cancelled_and_sent",
        "a send that is cancelled is sent all the same when there is credit",
        (
            Change(
                _OUTGOING,
                "            del self.waiting[waiting]\n            if self.waiting:\n",
                "            if self.waiting:\n",
            ),
        ),
        (f"{_TESTS}::test_a_cancelled_send_has_sent_nothing_and_cost_nothing",),
    ),
    Fault(
        "end_of_a_death",
        "a death that was not the end is received as one",
        (
            Change(
                _INCOMING,
                "        if self._ended:\n            raise trio.EndOfChannel\n",
                "        if self._ended or (self._side.broken and not self._side.broken.reason):\n"
                "            raise trio.EndOfChannel\n",
            ),
        ),
        (f"{_TESTS}::test_a_normal_death_is_no_end",),
    ),
    Fault(
        "loss_taken_for_the_end",
        "a connection that is lost is received as the end",
        (
            Change(
                _INCOMING,
                "            self.told = True\n            self._side.raise_broken()",
                "            raise trio.EndOfChannel",
            ),
        ),
        (f"{_TESTS}::test_a_lost_connection_breaks_both_ends_behind_what_has_arrived", _SIMULATED),
    ),
    Fault(
        "broken_before_what_has_arrived",
        "what has arrived is dropped when the channel breaks",
        (
            Change(
                _CHANNEL,
                "            self._incoming.wake_all()\n            self.gone()",
                "            self._incoming.items.clear()\n            self.gone()",
            ),
        ),
        (f"{_TESTS}::test_a_lost_connection_breaks_both_ends_behind_what_has_arrived",),
    ),
    Fault(
        "end_of_the_first_clone",
        "the end is said when the first clone is closed",
        (
            Change(
                _OUTGOING,
                "        if not self.clones:\n            self._side.say",
                "        if clone:\n            self._side.say",
            ),
        ),
        (f"{_TESTS}::test_the_end_comes_behind_all_items_when_the_last_clone_is_closed",),
    ),
    Fault(
        "failed_block_says_the_end",
        "a block that is left by an exception says the end",
        (Change(_CHANNEL, "            if not reason:\n", "            if True:\n"),),
        (f"{_TESTS}::test_leaving_the_block_by_an_exception_breaks_the_channel",),
    ),
    Fault(
        "closed_receiver_not_told",
        "a sender does not hear that the other side takes nothing any more",
        (Change(_INCOMING, '            self._side.say("closed")\n', ""),),
        (f"{_TESTS}::test_a_task_that_waits_to_send_is_told_that_the_receiver_is_closed",),
        hangs=True,
    ),
    Fault(
        "waiting_task_left_behind",
        "a task that waits by a clone that is closed waits for ever",
        (Change(_INCOMING, "            if waiting.clone is clone:\n", "            if False:\n"),),
        (f"{_TESTS}::test_closing_an_end_wakes_the_tasks_that_use_it",),
        hangs=True,
    ),
    Fault(
        "never_yields",
        "a task that always has credit lets nobody else run",
        (
            Change(
                _ENDS,
                "        if outgoing.clock() - outgoing.yielded >= YIELD_INTERVAL:\n",
                "        if False:\n",
            ),
        ),
        (f"{_TESTS}::test_a_sender_with_credit_and_a_receiver_with_items_let_others_run",),
    ),
    Fault(
        "function_returns_without_the_end",
        "a function that returns has not said the end",
        (
            Change(
                _SERVICE,
                "        else:\n            channel.leave()\n\n    async def",
                "        else:\n            lifecycle_of(port).die(port, NORMAL)\n\n    async def",
            ),
        ),
        (f"{_TESTS}::test_a_function_that_returns_has_said_the_end",),
    ),
    Fault(
        "channel_to_a_third_node",
        "a node can have another one dial a third, in its own name",
        (Change(_SERVICE, "    return owner == node_id and bool(name)", "    return bool(owner)"),),
        (f"{_TESTS}::test_an_opening_that_cannot_be",),
    ),
    Fault(
        "channel_without_bounds",
        "a node may have another one hold as much as it likes",
        (Change(_SERVICE, "if not (1 <= buffer <= settings.mailbox_limit and", "if not (1 <= buffer and"),),
        (f"{_TESTS}::test_an_opening_that_cannot_be",),
    ),
    Fault(
        "consequence_logged",
        "a function that ends because its channel has ended is logged as a failure",
        (Change(_SERVICE, "            if not channel.is_consequence(error):\n", "            if error:\n"),),
        (f"{_TESTS}::test_leaving_the_block_by_an_exception_breaks_the_channel",),
    ),
    Fault(
        "generator_not_cancelled",
        "a generator that waits goes on when nobody wants its items any more",
        (Change(_SERVICE, "        channel.gone = cancel\n", ""),),
        (f"{_SOURCES}::test_leaving_early_cancels_a_generator_that_waits",),
    ),
    Fault(
        "generator_cancelled_in_its_yield",
        "a generator that is in a yield cannot say goodbye",
        (Change(_SERVICE, "        if waits:\n            scope.cancel()", "        scope.cancel()"),),
        (f"{_SOURCES}::test_leaving_early_closes_the_generator_in_its_task",),
    ),
    Fault(
        "generator_not_closed",
        "a generator is left to the garbage collector",
        (
            Change(
                _SERVICE,
                "        async with aclosing(function(*arguments)) as generator:\n",
                "        if generator := function(*arguments):\n",
            ),
        ),
        (f"{_SOURCES}::test_leaving_early_closes_the_generator_in_its_task",),
    ),
    Fault(
        "generator_spawned",
        "an async generator is spawned as a port, and never runs",
        (Change(_SPAWNING, "if inspect.isasyncgenfunction(function) is not source:", "if False:"),),
        (f"{_SOURCES}::test_a_function_without_yield_is_no_source",),
    ),
)
