"""Faults in workers: who gets a task, what becomes of it, what comes back, what is left behind."""

from __future__ import annotations

from .fault import Change, Fault

_ASSIGNMENT = "_workers/assignment.py"
_BOARD = "_workers/board.py"
_COMPUTING = "_workers/computing.py"
_FAILURES = "_workers/failures.py"
_MAPPING = "_workers/mapping.py"
_POOL = "_workers/pool.py"
_SERVER = "_workers/server.py"
_TESTS = "tests/workers"
_CALLS = f"{_TESTS}/test_calls_of_workers.py"
_MAPS = f"{_TESTS}/test_map_of_workers.py"
_PROCESSES = f"{_TESTS}/test_worker_processes.py"
_RULES = f"{_TESTS}/test_assignment.py"

WORKERS = (
    Fault(
        "gives_all_to_the_first_worker",
        "a task goes to the worker that has the fewest",
        (Change(_ASSIGNMENT, "load.tasks < best.load.tasks", "False"),),
        (f"{_RULES}::test_the_least_busy_is_the_first_that_has_the_fewest_tasks_and_room",),
    ),
    Fault(
        "sends_long_tasks_ahead",
        "a sync task that takes long waits for a worker that computes nothing",
        (Change(_ASSIGNMENT, "self.seconds < SOON", "True"),),
        (f"{_RULES}::test_short_tasks_are_sent_ahead_and_long_ones_are_not",),
    ),
    Fault(
        "never_calls_back",
        "a task behind one that takes long runs on a worker that computes nothing",
        (Change(_POOL, "worker.load.sync_tasks > 1 and now", "False and now"),),
        (f"{_CALLS}::test_tasks_behind_a_long_one_are_called_back",),
        hangs=True,
    ),
    Fault(
        "runs_again_unasked",
        "a task whose worker has ended runs again only if it may run twice",
        (Change(_POOL, "(item.idempotent and item.lives < MOST_LIVES)", "item.lives < MOST_LIVES"),),
        (f"{_CALLS}::test_a_task_whose_worker_ends_is_told_so",),
        hangs=True,
    ),
    Fault(
        "runs_again_for_ever",
        "a task that ends each worker is given up",
        (Change(_POOL, "MOST_LIVES = 3", "MOST_LIVES = 1000"),),
        (f"{_CALLS}::test_an_idempotent_task_is_given_up_at_last",),
        hangs=True,
    ),
    Fault(
        "forgets_what_a_lost_worker_had",
        "each task of a worker that has ended is answered",
        (Change(_POOL, "        self.start_soon(self._sort_out, worker, items, reason)\n", ""),),
        (f"{_CALLS}::test_a_task_whose_worker_ends_is_told_so",),
        hangs=True,
    ),
    Fault(
        "takes_all_for_begun",
        "a task that had not begun runs on another worker",
        (Change(_BOARD, "return ticket <= self._tickets[_ASYNC if asynchronous else _SYNC]", "return True"),),
        (f"{_PROCESSES}::test_tasks_that_had_not_begun_run_on_another_worker",),
    ),
    Fault(
        "begins_before_it_says_so",
        "a worker notes what it begins before it does",
        (Change(_COMPUTING, "self._begins(ticket)\n        start", "start"),),
        (f"{_PROCESSES}::test_a_task_that_runs_is_lost_with_its_worker_unless_it_may_run_twice",),
        hangs=True,
    ),
    Fault(
        "takes_async_tasks_without_a_word",
        "a worker notes an async task when it takes it",
        (Change(_SERVER, "            self._begins(ticket)\n", ""),),
        (f"{_PROCESSES}::test_a_task_that_runs_is_lost_with_its_worker_unless_it_may_run_twice",),
        hangs=True,
    ),
    Fault(
        "leaves_async_functions_running",
        "a cancelled async function is cancelled over there",
        (Change(_SERVER, "self._scopes[ticket].cancel()", "pass"),),
        (f"{_CALLS}::test_cancelling_reaches_an_async_function",),
        hangs=True,
    ),
    Fault(
        "does_not_wait_for_the_end",
        "a cancelled call returns when nothing of it runs any more",
        (
            Change(
                _POOL,
                "        if item.worker is None:\n            # `_assign` passes",
                "        if True:\n            # `_assign` passes",
            ),
        ),
        (
            f"{_CALLS}::test_cancelling_reaches_an_async_function",
            f"{_CALLS}::test_a_sync_function_that_runs_is_waited_for",
        ),
        hangs=True,
    ),
    Fault(
        "lets_cancelled_tasks_go_on",
        "a worker whose cancelled task does not end is killed",
        (Change(_POOL, "self._kill(worker)", "pass"),),
        (f"{_CALLS}::test_a_worker_whose_cancelled_task_does_not_end_is_killed",),
        hangs=True,
    ),
    Fault(
        "runs_what_was_cancelled",
        "a task that waits in a worker is dropped when it is cancelled",
        (
            Change(
                _SERVER,
                'if self._computer.take_back(ticket):\n            self._answer(("cancelled", ticket))\n        elif',
                "if",
            ),
        ),
        (f"{_CALLS}::test_a_sync_task_that_was_sent_ahead_is_cancelled",),
    ),
    Fault(
        "answers_nothing_for_what_cannot_travel",
        "each task has one answer",
        (Change(_SERVER, 'self._sender.send(("failed", ticket, describe(refused), "", None))', "pass"),),
        (f"{_CALLS}::test_what_cannot_travel_is_refused",),
        hangs=True,
    ),
    Fault(
        "sends_without_a_bound",
        "no more is queued for a node than its queue holds",
        (Change(_SERVER, "self._peer.queue.size > HIGH_WATER", "False"),),
        (f"{_CALLS}::test_much_data_waits_outside_of_the_queues",),
    ),
    Fault(
        "misses_a_wake_up",
        "what is computed behind the node's back is answered",
        (Change(_COMPUTING, "if not (self._collecting or self._woken):", "if not self._collecting and self._woken:"),),
        (f"{_CALLS}::test_a_worker_has_one_long_sync_task_and_the_others_wait_here",),
        hangs=True,
    ),
    Fault(
        "is_woken_only_once",
        "the node is woken for each function that takes long, not only for the first",
        (
            Change(
                _COMPUTING,
                "            self._woken = False\n        while True:",
                "            pass\n        while True:",
            ),
        ),
        (f"{_CALLS}::test_a_worker_has_one_long_sync_task_and_the_others_wait_here",),
        hangs=True,
    ),
    Fault(
        "makes_any_exception",
        "only exceptions of Python, Trio and the modules are made again",
        (Change(_FAILURES, "elif module in modules and module in sys.modules:", "elif module in sys.modules:"),),
        (f"{_TESTS}/test_failures.py::test_exceptions_of_other_modules_are_not_made",),
    ),
    Fault(
        "calls_anything_by_its_name",
        "what is called to make an exception again is the type of one",
        (Change(_FAILURES, "isinstance(found, type) and issubclass(found, Exception)", "callable(found)"),),
        (f"{_TESTS}/test_failures.py::test_nothing_but_exceptions_is_called",),
    ),
    Fault(
        "ends_the_loop_with_a_stop",
        "a StopAsyncIteration of a function does not end the loop over the results",
        (
            Change(
                _FAILURES,
                "_MEAN_SOMETHING = (StopIteration, StopAsyncIteration, GeneratorExit)",
                "_MEAN_SOMETHING = ()",
            ),
        ),
        (f"{_MAPS}::test_a_stop_iteration_of_a_function_does_not_end_the_loop",),
    ),
    Fault(
        "calls_what_is_not_released",
        "a worker calls @spawnable functions alone",
        (
            Change(
                "_workers/functions.py",
                "if not is_spawnable(function):\n            raise LookupError",
                "if function is None:\n            raise LookupError",
            ),
        ),
        (f"{_CALLS}::test_a_worker_calls_only_what_is_released",),
    ),
    Fault(
        "takes_one_item_too_many",
        "map() has at most `limit` in flight",
        (Change(_MAPPING, "self._pending() < self._limit:", "self._pending() <= self._limit:"),),
        (f"{_MAPS}::test_no_more_than_the_limit_are_taken",),
    ),
    Fault(
        "goes_on_after_a_failure",
        "the first failure of map() cancels the rest",
        (Change(_MAPPING, "        self._failure = error\n        self._cancel()", "        self._failure = error"),),
        (f"{_MAPS}::test_a_failure_that_nobody_has_asked_for_leaves_the_block",),
        hangs=True,
    ),
    Fault(
        "swallows_a_failure",
        "a failure of map() that nobody has asked for leaves the block",
        (Change(_MAPPING, "if results._failure is not None and not seen:", "if False:"),),
        (f"{_MAPS}::test_a_failure_that_nobody_has_asked_for_leaves_the_block",),
    ),
    Fault(
        "leaves_map_at_once",
        "leaving map() waits for what it has cancelled",
        (Change(_MAPPING, "while self._unfinished:", "while False:"),),
        (f"{_MAPS}::test_leaving_early_cancels_what_runs_and_waits_for_it",),
    ),
    Fault(
        "changes_threads_as_seldom_as_python",
        "a function that computes does not keep the node from answering",
        (Change("_node/worker.py", "sys.setswitchinterval(SWITCH_INTERVAL)", "sys.setswitchinterval(0.2)"),),
        (f"{_PROCESSES}::test_a_computation_stops_neither_the_node_nor_async_functions",),
    ),
    Fault(
        "opens_its_directory_to_all",
        "nobody else can look into the directory of the workers' sockets",
        (
            Change(
                "_workers/opening.py",
                "        yield Path(directory)",
                "        os.chmod(directory, 0o755)\n        yield Path(directory)",
            ),
        ),
        (f"{_PROCESSES}::test_functions_run_in_other_processes_and_nothing_is_left",),
    ),
    Fault(
        "does_not_close_the_pool",
        "who still waits for a task when the workers are closed is told so",
        (Change("_workers/opening.py", "                    pool.close()", "                    pass"),),
        (f"{_PROCESSES}::test_what_still_runs_when_the_block_is_left_is_told_so",),
        hangs=True,
    ),
    Fault(
        "leaves_callers_of_a_crashed_node_waiting",
        "a node that crashes ends its pool's tasks",
        (Change(_POOL, "        finally:\n            self.close()", "        finally:\n            pass"),),
        (f"{_CALLS}::test_a_node_that_crashes_leaves_nobody_waiting",),
        hangs=True,
    ),
)
