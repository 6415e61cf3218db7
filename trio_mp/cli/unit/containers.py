"""What the files for containers have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..._errors import ConfigurationError
from .plan import UnitPlan, variables_of

PORT = 4040
"""Where seeds of their own listen."""

SEEDS = 2
"""How many seeds of their own there are: one can be started anew while the other goes on."""

USER = 10001
"""The user in the container: any that is not root, and that no user of the machine is likely to be."""

SECRETS = "/run/secrets/trio_mp"
"""The folder of the secret, and of the files of the certificate, in the container."""

HEALTH_PORT = 4041
HEALTH = f"127.0.0.1:{HEALTH_PORT}"
"""Where a node says whether it is ready, to whoever is in its container, if its settings do not say where."""

READY = ("trio-mp", "health", "--ready")
"""The question of a probe that is a command."""


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """What only files for containers need to know.

    Attributes:
      image: the image, in which `trio-mp` and the program are.
      replicas: how many containers run the program; None for the usual number.
    """

    image: str
    replicas: int | None


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One kind of containers.

    Attributes:
      name: what the manager calls them; also a label of DNS.
      command: the words of the command.
      variables: the variables.
      replicas: how many there are.
    """

    name: str
    command: tuple[str, ...]
    variables: dict[str, str]
    replicas: int


def label(name: str) -> str:
    """A name as DNS can have it, in small letters, and with a letter first, as that of a Service."""
    found = name.lower().replace("_", "-").replace(".", "-")
    return found if found[0].isalpha() else f"node-{found}"


def plan_containers(
    plan: UnitPlan, options: ContainerOptions, *, health: str
) -> tuple[ContainerPlan | None, ContainerPlan]:
    """Plan the containers: those of seeds, if the network has none elsewhere, and those of the node itself.

    Args:
      plan, options: what is to run.
      health: where nodes answer probes whose settings do not say it.

    Raises:
      ConfigurationError: containers cannot run a node with such settings.
    """
    _check(plan)
    name = label(plan.name)
    common = {"PYTHONUNBUFFERED": "1", **_proof(plan)}
    probed = variables_of({"health": health})
    if plan.settings.node_id is not None and (options.replicas or 1) > 1:
        raise ConfigurationError(
            f"--replicas: expected 1, because only one node can have the ID {plan.settings.node_id}, got"
            f" {options.replicas}; leave node_id away"
        )
    # Seeds alone are one kind of containers, whose name is that of the node.
    alone = plan.is_seed and plan.finds_nobody
    usual = SEEDS if plan.is_seed else 3
    replicas = options.replicas or (1 if plan.settings.node_id is not None else usual)
    own = {**common, **probed, **plan.variables}
    if not plan.finds_nobody:
        if not plan.settings.seeds and replicas > 1:
            raise ConfigurationError(
                f"binds: expected seeds beside it, or --replicas 1, because each of {replicas} containers would be a"
                f" network of its own, got {', '.join(map(str, plan.settings.binds or ()))}"
            )
        return None, ContainerPlan(name, ("trio-mp", *plan.command), own, replicas)
    seeds = name if alone else f"{name}-seeds"
    found = variables_of({"seeds": [f"{seeds}:{PORT}"]})
    seed = ContainerPlan(
        seeds,
        ("trio-mp", "seed"),
        {
            **common,
            **probed,
            **plan.variables_of_a_seed,
            **variables_of({"binds": [f"*:{PORT}"]}),
            **found,
        },
        replicas if alone else SEEDS,
    )
    if alone:
        return None, replace(seed, variables={**seed.variables, **plan.variables})
    return seed, ContainerPlan(name, ("trio-mp", *plan.command), {**own, **found}, replicas)


def _proof(plan: UnitPlan) -> dict[str, str]:
    """The variables for the secret and the certificate."""
    found = variables_of({"secret_file": f"{SECRETS}/secret"}) if plan.proves_by_secret else {}
    if plan.certificate is not None:
        found |= plan.certificate_variable({name: f"{SECRETS}/{name}" for name in plan.certificate_files})
    return found


def _check(plan: UnitPlan) -> None:
    for name, addresses in (("binds", plan.settings.binds or ()), ("seeds", plan.settings.seeds)):
        for address in map(str, addresses):
            if address.startswith(("unix:", "dir:", "fd:")):
                raise ConfigurationError(
                    f"{name}: expected addresses of TCP, because containers share no files, got {address}"
                )
