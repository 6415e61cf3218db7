"""`trio-mp unit slurm`: a script for `sbatch`, whose tasks are nodes of a network of their own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ..._errors import ConfigurationError
from .plan import UnitPlan, variables_of

_SCRIPT = """\
#!/bin/bash
# {name}: {tasks} nodes of trio_mp in a job of Slurm. Start it with `sbatch THIS_FILE`; add what the job needs.
# `scancel --signal=TERM JOB` drains the nodes, and the job ends by itself. A plain scancel gives them KillWait (30 s).
#SBATCH --job-name={name}
#SBATCH --ntasks={tasks}
# The nodes drain before the time of the job is up.
#SBATCH --signal=TERM@{stop}
set -euo pipefail
umask 077
# What `sbatch` was started with is for no node.
for variable in "${{!TRIO_MP_@}}"; do unset "$variable"; done

# In the folder of the job, which all its machines share: the secret of this run, and where its nodes listen.
job=$PWD/.{name}-$SLURM_JOB_ID
# Of a run of this job that was killed, and queued again.
rm -rf -- "$job"
mkdir -- "$job"
trap 'rm -rf -- "$job"' EXIT
{variables}

# The node takes the place of its shell: Slurm may send SIGTERM to the tasks alone, and not to what they start.
cat >"$job/start" <<'END'
{node_id}exec "$@"
END
srun --kill-on-bad-exit=0 bash "$job/start" {command}
"""

_NODE_ID = """\
# Nobody else is in this network, so the number of a task is enough.
export TRIO_MP_NODE_ID="{name}/$SLURM_PROCID"
"""


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What only a script for Slurm needs to know.

    Attributes:
      command: the program `trio-mp`, and words that belong to it.
      tasks: how many nodes the job has.
    """

    command: Sequence[str]
    tasks: int


def write_slurm(plan: UnitPlan, options: SlurmOptions) -> str:
    """Write the script of a job.

    Raises:
      ConfigurationError: the tasks of a job cannot have such settings.
    """
    if plan.is_seed:
        raise ConfigurationError(
            "unit slurm: expected MODULE, or services in the profile, got neither; the nodes of a job need no seed"
        )
    for name in ("node_id", "binds", "advertise", "health"):
        got = getattr(plan.settings, name)
        if got:
            raise ConfigurationError(
                f"{name}: expected none, because all tasks of a job would have it, got {plan.values.get(name, got)}"
            )
    exports = {"TRIO_MP_CONFIG": "/dev/null", **plan.variables}
    if plan.certificate is not None:
        exports |= plan.certificate_variable(plan.certificate_files)
    if plan.settings.seeds and plan.secret_file:
        exports |= variables_of({"secret_file": plan.secret_file})
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    if not plan.settings.seeds:
        # A list of TOML, because the folder may have a comma in its name.
        lines.append("""export TRIO_MP_SEEDS="['dir:$job/nodes']\"""")
        if plan.proves_by_secret:
            lines.append(f'{shlex.join(options.command)} secret new --file "$job/secret"')
            lines.append('export TRIO_MP_SECRET_FILE="$job/secret"')
    return _SCRIPT.format(
        name=plan.name,
        tasks=options.tasks,
        stop=plan.stop_seconds,
        variables="\n".join(lines),
        node_id=_NODE_ID.format(name=plan.name) if not plan.settings.seeds and plan.certificate is None else "",
        command=shlex.join([*options.command, *plan.command]),
    )
