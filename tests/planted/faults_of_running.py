"""Faults in the commands that run and configure: programs, workers, checks, certificates and secrets."""

from __future__ import annotations

from .fault import Change, Fault

_DEPLOYED = "cli/deployed.py"
_PROGRAM = "cli/program.py"
_RUN = "cli/run.py"
_WORKERS = "cli/workers.py"
_CHECK = "cli/check.py"
_MISTAKES = "_profiles/mistakes.py"
_CERT = "cli/cert.py"
_ROTATE = "cli/rotate.py"
_FILES = "cli/files.py"
_DOCTOR = "cli/doctor.py"
_CHILD = "_node/child.py"
_RUN_TESTS = "tests/programs/test_run_command.py"
_WORKERS_TESTS = "tests/programs/test_workers_command.py"
_CHECK_TESTS = "tests/programs/test_check_command.py"
_CERT_TESTS = "tests/programs/test_cert_command.py"
_ROTATE_TESTS = "tests/programs/test_rotate_command.py"
_DOCTOR_TESTS = "tests/programs/test_doctor_command.py"
_STEPS = f"{_ROTATE_TESTS}::test_three_steps_each_of_which_can_be_repeated"
_ALL_WRONG = f"{_CHECK_TESTS}::test_all_that_is_wrong_is_said_at_once"
_ONE_LINE = f"{_RUN_TESTS}::test_what_cannot_run_is_one_line"
_SERVICES = f"{_WORKERS_TESTS}::test_workers_run_the_services_and_read_the_secrets_themselves"
_GLOBAL = f"{_RUN_TESTS}::test_a_seed_runs_nothing_is_global_and_says_where_it_listens"

RUNNING = (
    # Programs.
    Fault(
        "exit_cuts_the_node",
        "what a program has sent before it leaves by sys.exit() is lost",
        (Change(_DEPLOYED, "except SystemExit as left:", "except ZeroDivisionError as left:"),),
        (f"{_RUN_TESTS}::test_a_program_that_leaves_by_sys_exit_has_its_status_and_what_it_has_sent_goes_out",),
        hangs=True,
    ),
    Fault(
        "folder_not_found",
        "a program in the current folder is not found",
        (Change(_PROGRAM, "        sys.path.insert(0, here)\n", "        pass\n"),),
        (f"{_RUN_TESTS}::test_the_exception_of_a_program_is_shown_from_where_the_program_begins",),
    ),
    Fault(
        "variable_decides",
        "a profile of the environment wins over that of the command line",
        (Change("_node/outside.py", "        environ.pop(PROFILE, None)\n", "        pass\n"),),
        (f"{_RUN_TESTS}::test_a_program_runs_with_the_services_of_its_profile_and_the_command_line_decides",),
    ),
    Fault(
        "sync_program_run",
        "a function that is not async is run as a program",
        (Change(_PROGRAM, "if not _is_async(function):", "if not callable(function):"),),
        (f"{_ONE_LINE}[app:sync]",),
    ),
    Fault(
        "program_blamed_on_us",
        "an exception of the program is one line, as if the configuration were wrong",
        (Change(_DEPLOYED, "                self._opened = True\n", "                pass\n"),),
        (f"{_RUN_TESTS}::test_an_error_of_the_program_that_looks_like_one_of_ours",),
    ),
    Fault(
        "ended_services_idle",
        "a process whose services have all failed stays, and nobody starts it again",
        (Change(_RUN, "                if not self._running:\n", "                if False:\n"),),
        (f"{_RUN_TESTS}::test_services_that_have_ended_end_the_command",),
        hangs=True,
    ),
    Fault(
        "failed_service_is_well",
        "the exit status does not say that a service has failed",
        (Change(_RUN, "                self._failed = True\n", "                pass\n"),),
        (f"{_RUN_TESTS}::test_services_that_have_ended_end_the_command[failed]",),
    ),
    Fault(
        "seed_runs_services",
        "a seed imports and runs what a profile names",
        (Change(_RUN, "defaults=defaults, fixed=NOTHING, adjust=as_seed", "defaults=defaults, adjust=as_seed"),),
        (_GLOBAL,),
    ),
    Fault(
        "seed_of_others",
        "a seed of a network with several seeds is not global, because it is not among its own",
        (Change(_RUN, "dict.fromkeys([*seeds, *own])", "dict.fromkeys(seeds)"),),
        (f"{_RUN_TESTS}::test_a_seed_is_among_its_own_seeds",),
    ),
    # Workers.
    Fault(
        "worker_watches_late",
        "a worker imports its program before it watches its parent, and may outlive it",
        (
            Change(
                _RUN,
                "    parent = _parent() if arguments.worker is not None else None\n    find_modules_here()\n",
                "    find_modules_here()\n",
            ),
            Change(
                _RUN,
                "    output, services = Output(arguments), ServicesWatch()\n\n    def adjust(",
                "    parent = _parent() if arguments.worker is not None else None\n"
                "    output, services = Output(arguments), ServicesWatch()\n\n    def adjust(",
            ),
        ),
        (f"{_WORKERS_TESTS}::test_no_worker_outlives_a_parent_that_is_killed",),
        hangs=True,
    ),
    Fault(
        "failure_of_a_worker_unsaid",
        "the exit status does not say that a worker has failed",
        (Change(_WORKERS, "    return NO if failed else OK\n", "    return OK\n"),),
        (f"{_WORKERS_TESTS}::test_the_exit_status_says_whether_a_worker_has_failed[never-1]",),
    ),
    Fault(
        "worker_never_restarted",
        "a worker that fails is not started again unless that is asked for",
        (Change(_WORKERS, "arguments.restart or DEFAULT_RESTART", 'arguments.restart or "never"'),),
        (f"{_WORKERS_TESTS}::test_workers_that_end_by_themselves_end_their_parent_and_need_no_network_of_their_user",),
    ),
    Fault(
        "supervisor_runs_the_services",
        "the process that supervises the workers runs the services, too",
        (Change(_WORKERS, "main, fixed=NOTHING, adjust=adjust", "main, adjust=adjust"),),
        (_SERVICES,),
    ),
    Fault(
        "child_keeps_its_secret",
        "a process with a secret_file of its own uses the secret with which its parent has launched it",
        (Change(_CHILD, '    if given.get("secret_file") is None:\n', "    if True:\n"),),
        (_SERVICES,),
    ),
    # Checks.
    Fault(
        "first_mistake_hides_others",
        "a wrong variable hides what else is wrong in the environment",
        (
            Change(
                _MISTAKES,
                "[partial(variables_layer, {name: environ[name]}) for name in VARIABLES if name in environ]",
                "[partial(variables_layer, environ)]",
            ),
        ),
        (f"{_CHECK_TESTS}::test_each_variable_is_read_by_itself",),
    ),
    Fault(
        "open_secret_is_well",
        "a file with secrets that others may read is well",
        (Change(_CHECK, "return [found.warning] if found.warning else []", "return []"),),
        (f"{_CHECK_TESTS}::test_a_file_with_secrets_that_is_empty_or_open_to_others",),
    ),
    Fault(
        "mistakes_are_well",
        "the exit status does not say that anything is wrong",
        (Change(_CHECK, "    return NO if mistakes else OK\n", "    return OK\n"),),
        (_ALL_WRONG,),
    ),
    Fault(
        "check_keeps_listening",
        "a check leaves the file of a socket behind",
        (Change(_CHECK, "        await listener.aclose()\n", "        pass\n"),),
        (f"{_CHECK_TESTS}::test_nothing_is_wrong_and_nothing_is_left_behind",),
    ),
    Fault(
        "certificate_unchecked",
        "a certificate that the node cannot use is well",
        (Change(_CHECK, '    "certificate": _check_certificate,\n', ""),),
        (f"{_CHECK_TESTS}::test_a_certificate_of_another_node_one_with_another_key_and_one_that_has_expired",),
    ),
    # Certificates and secrets.
    Fault(
        "old_certificate_lost",
        "a certificate that cannot be made takes the old one away",
        (
            Change(
                _CERT,
                "            _replace(files, make)\n",
                "            [file.unlink() for file in files]\n            make(*files)\n",
            ),
        ),
        (f"{_CERT_TESTS}::test_nothing_is_overwritten_without_force_and_nothing_lost_with_it",),
    ),
    Fault(
        "expired_is_yes",
        "a certificate that has expired is a yes",
        (Change(_CERT, "    return OK if valid else NO\n", "    return OK\n"),),
        (f"{_CERT_TESTS}::test_a_certificate_that_has_expired_is_a_no",),
    ),
    Fault(
        "new_secret_first",
        "a rotation begins with the new secret, which other nodes do not accept yet",
        (Change(_ROTATE, 'return [found[0], b"", new]', 'return [new, b"", found[0]]'),),
        (_STEPS,),
    ),
    Fault(
        "new_secret_removed",
        "the last step removes the new secret",
        (Change(_ROTATE, "    return found[:1]\n", "    return found[1:]\n"),),
        (_STEPS,),
    ),
    Fault(
        "step_repeated",
        "a step that is done already is done again",
        (Change(_ROTATE, "    if wanted == state + 1:\n", "    if wanted >= state:\n"),),
        (_STEPS,),
    ),
    Fault(
        "step_left_out",
        "the old secret is removed while nodes still dial with it",
        (Change(_ROTATE, "    if wanted > state + 1 and not", "    if False and not"),),
        (f"{_ROTATE_TESTS}::test_no_step_is_left_out",),
    ),
    Fault(
        "step_too_soon",
        "nodes dial with a secret that others of the machine have not read",
        (Change(_ROTATE, "            _wait_until_read(path, out)\n", "            pass\n"),),
        (f"{_ROTATE_TESTS}::test_a_step_waits_until_nodes_have_read_the_last_one",),
    ),
    Fault(
        "owner_lost",
        "a service cannot read the secrets that root has changed for it",
        (Change(_FILES, "        _keep_owner(path, temporary)\n", ""),),
        (f"{_ROTATE_TESTS}::test_a_file_that_root_changes_keeps_its_owner",),
    ),
    # The doctor.
    Fault(
        "wrong_is_well",
        "the exit status does not say that something is wrong",
        (Change(_DOCTOR, "            self.status = NO\n", "            pass\n"),),
        (f"{_DOCTOR_TESTS}::test_what_is_wrong_and_what_to_do",),
    ),
    Fault(
        "clock_of_another_day",
        "a clock that is wrong is fine",
        (Change(_DOCTOR, "if least <= CLOCKS and most >= -CLOCKS:", "if True:"),),
        (f"{_DOCTOR_TESTS}::test_a_network_in_which_a_clock_and_a_version_differ",),
    ),
)
