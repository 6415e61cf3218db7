"""Faults in processes that a node launches: what they are told, and how they end."""

from __future__ import annotations

from .fault import Change, Fault

_CHILDREN = "_supervision/processes.py"
_INVITATION = "_supervision/process_invitation.py"
_PARENT = "_supervision/process_parent.py"
_TESTS = "tests/supervision/test_processes.py"
_GONE = f"{_TESTS}::test_nothing_is_left_of_a_parent_that_was_killed"
_SECRET = f"{_TESTS}::test_the_secret_is_told_by_the_pipe_alone"

PROCESSES = (
    Fault(
        "pipe_handed_on",
        "what a process starts inherits the pipe from its parent",
        (Change(_INVITATION, "    os.set_inheritable(pipe, False)\n", ""),),
        (_SECRET,),
    ),
    Fault(
        "invitation_handed_on",
        "what a process starts takes itself for a child of its parent",
        (Change(_INVITATION, 'os.environ.pop(VARIABLE, "")', 'os.environ.get(VARIABLE, "")'),),
        (_SECRET,),
    ),
    Fault(
        "any_pipe_taken",
        "whoever is told of a pipe reads it, whosever it is",
        (Change(_INVITATION, " and (descriptor == 0 or found.st_ino == number)", ""),),
        (f"{_TESTS}::test_what_names_no_pipe_of_ours",),
        hangs=True,
    ),
    Fault(
        "pipe_left_open",
        "the pipe of a process that has ended is never closed",
        (Change(_CHILDREN, "            self._pipe.close()\n            self._runtime", "            self._runtime"),),
        (f"{_TESTS}::test_what_has_ended_leaves_no_descriptor",),
    ),
    Fault(
        "orphan_unnoticed",
        "a process relies on the end of the pipe, of which a fork of its parent holds a copy",
        (Change(_PARENT, "return not self._is_orphan()", "return True"),),
        (f"{_GONE}[idle blocking forked]",),
    ),
    Fault(
        "orphan_only_asked",
        "a process whose parent has died is asked to leave, and lives on if it does not",
        (
            Change(_PARENT, "        end_process()\n", ""),
            Change(_PARENT, "        set_alarm(GRACE + 2 * _TELLING)\n", ""),
        ),
        (f"{_GONE}[blocking]",),
    ),
    Fault(
        "orphan_ended_in_silence",
        "nobody is told where a process was that did not leave",
        (Change(_PARENT, "        end_process()\n", ""),),
        (f"{_TESTS}::test_a_process_that_does_not_leave_says_where_it_is",),
    ),
    Fault(
        "end_left_to_threads",
        "a process whose parent has died may take for ever to tear its interpreter down",
        (Change(_PARENT, "        set_alarm(GRACE + 2 * _TELLING)\n", ""),),
        (f"{_GONE}[finalising]",),
    ),
    Fault(
        "leader_killed_alone",
        "what runs behind a shell survives it",
        (Change(_CHILDREN, "os.killpg(self.pid", "os.kill(self.pid"),),
        (f"{_TESTS}::test_a_process_behind_a_shell_is_killed_with_it",),
    ),
    Fault(
        "standstill_borne",
        "a process whose node is lost is left to itself",
        (Change(_CHILDREN, "            self._give(timeout, f", "            str(f"),),
        (f"{_TESTS}::test_a_process_that_stands_still_is_killed",),
    ),
    Fault(
        "stop_without_end",
        "who is told to stop may take for ever",
        (Change(_CHILDREN, "        if limit is not None:\n", "        if limit is not None and limit < 0:\n"),),
        (f"{_TESTS}::test_a_process_that_does_not_leave_is_killed",),
    ),
    Fault(
        "stop_killed_at_once",
        "a process that is stopped is not given the time to unwind",
        (
            Change(
                _CHILDREN, "        self._pipe.ask_to_stop()\n        if limit", "        self.kill()\n        if limit"
            ),
        ),
        (f"{_TESTS}::test_a_process_that_is_stopped_unwinds",),
    ),
    Fault(
        "every_parent_a_seed",
        "a node that launches a process becomes global, though it has seeds",
        (Change(_CHILDREN, "seeds=seeds or own", "seeds=own or seeds"),),
        (f"{_TESTS}::test_a_parent_with_seeds_becomes_no_seed",),
    ),
    Fault(
        "parent_found_by_seeds_alone",
        "a process looks for its parent at the seeds, which may be away",
        (Change("_node/child.py", "        _remember_parent(node, invitation)\n", ""),),
        (f"{_TESTS}::test_the_seeds_of_a_parent_may_be_away",),
    ),
    Fault(
        "one_secret_of_two",
        "a process is told the first secret alone, and refuses nodes that dial with another one",
        (Change(_CHILDREN, "secrets=network.secrets,", "secrets=network.secrets[:1],"),),
        (f"{_TESTS}::test_a_process_accepts_all_secrets_of_its_parent",),
    ),
)
