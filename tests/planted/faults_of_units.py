"""Faults in the files that `trio-mp unit` prints."""

from __future__ import annotations

from .fault import Change, Fault

_UNIT = "tests/programs/test_unit_command.py"
_PROFILE = f"{_UNIT}::test_the_settings_of_a_profile_are_in_the_file_and_no_secret_is"
_WORDS = f"{_UNIT}::test_systemd_reads_words_as_they_were"
_DOLLARS = f"{_UNIT}::test_dollars_stay_dollars"
_JOB = f"{_UNIT}::test_the_tasks_of_a_job_are_a_network_of_their_own"

UNITS: tuple[Fault, ...] = (
    Fault(
        "killed_while_draining",
        "a manager kills a node before its drain may be over",
        (Change("cli/unit/plan.py", "self.settings.drain_timeout + 2 *", "2 *"),),
        (_PROFILE,),
    ),
    Fault(
        "impatient_watchdog",
        "a manager kills a node whose heartbeats are slow before its peers would miss one",
        (Change("cli/unit/plan.py", "max(UNRESPONSIVE, HEARTBEATS * self.settings.heartbeat)", "UNRESPONSIVE"),),
        (_PROFILE,),
    ),
    Fault(
        "secret_in_the_unit",
        "a secret of a variable stands in the file",
        (
            Change("cli/unit/plan.py", 'if "secret" in merged.chosen:', "if False:"),
            Change(
                "cli/unit/plan.py",
                '_APART = ("node_id", "secret", "secret_file", "certificate")',
                '_APART = ("node_id", "secret_file", "certificate")',
            ),
        ),
        (f"{_UNIT}::test_a_secret_is_refused_and_never_shown",),
    ),
    Fault(
        "line_in_a_comment",
        "a path with a line break ends the comment that shows it, and adds a line to the unit",
        (Change("cli/unit/plan.py", "if path is not None and not str(path).isprintable():", "if False:"),),
        (f"{_UNIT}::test_what_cannot_work_is_one_line",),
    ),
    Fault(
        "systemd_expands_percents",
        "systemd takes a percent sign of an argument for a specifier",
        (Change("cli/unit/systemd.py", """.replace("%", "%%")\n    escaped""", """\n    escaped"""),),
        (_WORDS,),
    ),
    Fault(
        "systemd_expands_dollars",
        "systemd takes a dollar of an argument for a variable",
        (Change("cli/unit/systemd.py", """{escaped.replace("$", "$$") if command else escaped}""", "{escaped}"),),
        (_WORDS,),
    ),
    Fault(
        "compose_expands_dollars",
        "Compose takes a dollar of an argument for a variable of its own",
        (Change("cli/unit/compose.py", """return text.replace("$", "$$")""", "return text"),),
        (_DOLLARS,),
    ),
    Fault(
        "kubernetes_expands_dollars",
        "Kubernetes takes a dollar of an argument for a variable",
        (Change("cli/unit/kubernetes.py", """return text.replace("$", "$$")""", "return text"),),
        (_DOLLARS,),
    ),
    Fault(
        "two_nodes_of_one_id",
        "an update runs a second node of an ID beside the first one",
        (Change("cli/unit/kubernetes.py", """elif "TRIO_MP_NODE_ID" in own.variables:""", "elif False:"),),
        (f"{_UNIT}::test_a_program_with_a_node_id_never_runs_twice",),
    ),
    Fault(
        "never_ready",
        "systemd waits for a word of a node that has no network, and so says none",
        (Change("cli/unit/systemd.py", "    return plan.settings.networked or plan.is_seed\n", "    return True\n"),),
        (f"{_UNIT}::test_a_program_without_a_network_tells_systemd_nothing",),
    ),
    Fault(
        "wide_capabilities",
        "a node whose port is below 1024 cannot listen there",
        (Change("cli/unit/systemd.py", "0 < bind.port < 1024", "0 < bind.port < 100"),),
        (f"{_UNIT}::test_what_a_unit_protects_fits_what_the_node_uses",),
    ),
    Fault(
        "secret_of_a_job_stays",
        "the secret of a job stays in its folder when the job has ended",
        (Change("cli/unit/slurm.py", """trap 'rm -rf -- "$job"' EXIT\n""", ""),),
        (_JOB,),
    ),
    Fault(
        "job_with_the_variables_of_its_user",
        "the tasks of a job take what the user has set for something else",
        (Change("cli/unit/slurm.py", """; do unset "$variable"; done""", """; do : "$variable"; done"""),),
        (_JOB,),
    ),
    Fault(
        "signal_for_the_shell",
        "the task of a job is a shell, which gets SIGTERM in the place of the node",
        (Change("cli/unit/slurm.py", 'exec "$@"', '"$@"'),),
        (_JOB,),
    ),
)
