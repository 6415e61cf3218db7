"""`trio-mp unit k8s`: the objects by which Kubernetes runs a node, and seeds for it."""

from __future__ import annotations

import shlex

from .containers import HEALTH_PORT, PORT, SECRETS, USER, ContainerOptions, ContainerPlan, label, plan_containers
from .plan import UnitPlan
from .yaml import Note, write_yaml

HEALTH = f"*:{HEALTH_PORT}"
"""Where a node answers probes: Kubernetes asks from outside of the pod."""

PERIOD = 10
"""How often Kubernetes asks whether a node lives, in seconds."""


def write_kubernetes(plan: UnitPlan, options: ContainerOptions) -> str:
    """Write the objects of a node, for `kubectl apply`.

    Seeds are a StatefulSet behind a headless Service, whose name has the addresses of all its pods: each node finds all
    seeds by one name, and they are updated one after the other. The program is a Deployment, because its pods are
    alike, and a new one is ready before an old one drains. A program with a node ID is a StatefulSet of one pod: that
    never runs two at once, of which the second would be refused.

    Raises:
      ConfigurationError: containers cannot run a node with such settings.
    """
    seeds, own = plan_containers(plan, options, health=HEALTH)
    documents: list[tuple[str, dict[str, object]]] = []
    if seeds is not None:
        documents += _seeds(plan, seeds, options)
    if plan.is_seed:
        documents += _seeds(plan, own, options)
    elif "TRIO_MP_NODE_ID" in own.variables:
        about = "A StatefulSet, because it never runs two pods at once: only one node can have this ID."
        documents.append((about, _stateful_set(plan, own, options)))
    else:
        about = "A new pod is ready before an old one drains. `kubectl scale` changes how many there are."
        documents.append((about, _deployment(plan, own, options)))
        if own.replicas > 1:
            documents.append(("", _disruption_budget(own)))
    files = {**({"secret": plan.secret_file or "secret"} if plan.proves_by_secret else {}), **plan.certificate_files}
    arguments = shlex.join(f"--from-file={name}={path}" for name, path in files.items())
    return "".join(
        [
            f"# {plan.name}, a node of trio_mp, for Kubernetes. Its secret is an object that stands in no file:\n",
            *(["#   trio-mp secret new --file secret\n"] if plan.proves_by_secret and not plan.secret_file else []),
            f"#   kubectl create secret generic {label(plan.name)} {arguments}\n",
            "# Then: kubectl apply -f THIS_FILE\n",
            *(f"---\n{f'# {about}{chr(10)}' if about else ''}{write_yaml(document)}" for about, document in documents),
        ]
    )


def dollars(text: str) -> str:
    """A text as Kubernetes reads it in commands and variables: `$(NAME)` stands for a variable."""
    return text.replace("$", "$$")


def _seeds(plan: UnitPlan, seeds: ContainerPlan, options: ContainerOptions) -> list[tuple[str, dict[str, object]]]:
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": seeds.name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _labels(seeds),
            "ports": [{"name": "trio-mp", "port": PORT}],
        },
    }
    return [
        ("The name of all seeds. They find each other before they are ready.", service),
        ("Updated one after the other, each when the one before is ready.", _stateful_set(plan, seeds, options)),
        ("", _disruption_budget(seeds)),
    ]


def _labels(one: ContainerPlan) -> dict[str, object]:
    return {"app.kubernetes.io/name": one.name}


def _stateful_set(plan: UnitPlan, one: ContainerPlan, options: ContainerOptions) -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": one.name, "labels": _labels(one)},
        "spec": {
            "serviceName": one.name,
            "replicas": one.replicas,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": _labels(one)},
            "template": _template(plan, one, options),
        },
    }


def _deployment(plan: UnitPlan, one: ContainerPlan, options: ContainerOptions) -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": one.name, "labels": _labels(one)},
        "spec": {
            "replicas": one.replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": _labels(one)},
            "template": _template(plan, one, options),
        },
    }


def _disruption_budget(one: ContainerPlan) -> dict[str, object]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": one.name},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(one)}},
    }


def _template(plan: UnitPlan, one: ContainerPlan, options: ContainerOptions) -> dict[str, object]:
    files = [*(["secret"] if plan.proves_by_secret else []), *plan.certificate_files]
    variables: list[dict[str, object]] = []
    if "TRIO_MP_NODE_ID" not in one.variables and plan.certificate is None:
        # As the pod, so that people find one by the other. A certificate names those that it is for.
        variables.append({"name": "TRIO_MP_NODE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    variables.extend({"name": name, "value": dollars(value)} for name, value in one.variables.items())
    container: dict[str, object] = {
        "name": "node",
        "image": options.image,
        "command": list(map(dollars, one.command)),
        "env": variables,
        "startupProbe": _probe(one, "live", period=2, failures=60),
        "readinessProbe": _probe(one, "ready", period=5, failures=2),
        Note("Longer than three heartbeats: others think that it is lost by then."): None,
        "livenessProbe": _probe(one, "live", period=PERIOD, failures=-(-plan.blocked_seconds // PERIOD)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
            {"name": "secret", "mountPath": SECRETS, "readOnly": True},
        ],
    }
    # The pods of the seeds have the secret of the node that they are for.
    secret = {
        "secretName": label(plan.name),
        Note("0400; the group of the pod may read it, too."): None,
        "defaultMode": 0o400,
        "items": [{"key": name, "path": name} for name in files],
    }
    return {
        "metadata": {"labels": _labels(one)},
        "spec": {
            "terminationGracePeriodSeconds": plan.stop_seconds,
            "automountServiceAccountToken": False,
            Note("The variables of a Service whose name begins with trio-mp look like settings."): None,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "secret", "secret": secret}],
        },
    }


def _probe(one: ContainerPlan, question: str, *, period: int, failures: int) -> dict[str, object]:
    """Ask by HTTP, which costs no process; where the node answers in its container alone, by a command in there."""
    if one.variables["TRIO_MP_HEALTH"] == HEALTH:
        asked: dict[str, object] = {"httpGet": {"path": f"/{question}", "port": HEALTH_PORT}}
    else:
        asked = {"exec": {"command": ["trio-mp", "health", f"--{question}"]}}
    return {**asked, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}
