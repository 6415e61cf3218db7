"""`trio-mp unit compose`: a file for Docker Compose."""

from __future__ import annotations

import shlex

from .containers import HEALTH, READY, SECRETS, USER, ContainerOptions, ContainerPlan, label, plan_containers
from .plan import UnitPlan
from .yaml import Note, write_yaml


def write_compose(plan: UnitPlan, options: ContainerOptions) -> str:
    """Write the file of a project: the node, and seeds for it if it has none elsewhere.

    Raises:
      ConfigurationError: containers cannot run a node with such settings.
    """
    seeds, own = plan_containers(plan, options, health=HEALTH)
    services = {one.name: _service(plan, one, options) for one in (seeds, own) if one is not None}
    files = {**({"secret": plan.secret_file or "./secret"} if plan.proves_by_secret else {}), **plan.certificate_files}
    document: dict[str, object] = {"name": label(plan.name), "services": services}
    if files:
        document["secrets"] = {name: {"file": dollars(path)} for name, path in files.items()}
    secret = shlex.quote(files.get("secret", ""))
    return "".join(
        [
            f"# compose.yaml: {plan.name}, a node of trio_mp. Start it with `docker compose up --detach --wait`.\n",
            f"# The user {USER} of the containers has to read the secret, and nobody else:\n" if files else "",
            f"#   trio-mp secret new --file {secret}; sudo chown {USER} {secret}\n" if plan.proves_by_secret else "",
            write_yaml(document),
        ]
    )


def dollars(text: str) -> str:
    """A text as Compose reads it: `$` begins a variable of the shell that runs Compose."""
    return text.replace("$", "$$")


def _service(plan: UnitPlan, one: ContainerPlan, options: ContainerOptions) -> dict[str, object]:
    files = [*(["secret"] if plan.proves_by_secret else []), *plan.certificate_files]
    return {
        "image": dollars(options.image),
        "command": list(map(dollars, one.command)),
        "environment": {name: dollars(value) for name, value in one.variables.items()},
        **({"secrets": [{"source": name, "target": f"{SECRETS}/{name}"} for name in files]} if files else {}),
        Note("SIGTERM drains the node; this is longer than the drain may take."): None,
        "stop_grace_period": f"{plan.stop_seconds}s",
        Note("75, by which a node asks for another start, is such a failure, too."): None,
        "restart": "on-failure",
        "healthcheck": {
            "test": ["CMD", *READY],
            "interval": "10s",
            "timeout": "5s",
            Note("Longer than three heartbeats: others think that it is lost by then."): None,
            "retries": -(-plan.blocked_seconds // 10),
            "start_period": "30s",
        },
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - of the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "deploy": {"replicas": one.replicas},
    }
