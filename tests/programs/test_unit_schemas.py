"""The files of `trio-mp unit` pass what checks such files: the dependency group `units`, as in `nox -s docs`.

With TRIO_MP_REQUIRE_SCHEMAS in the environment a missing package is a failure; without, these tests are skipped then.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from container_texts import in_compose, in_kubernetes
from doc_pages import ROOT, pieces_of
from hypothesis import example, given, strategies as st

from trio_mp._profiles.variables import VARIABLES
from trio_mp._settings.texts import in_toml, words
from trio_mp.cli import main
from trio_mp.cli.parser import find_command, parse
from trio_mp.cli.unit.compose import write_compose
from trio_mp.cli.unit.containers import ContainerOptions
from trio_mp.cli.unit.kubernetes import write_kubernetes
from trio_mp.cli.unit.plan import UnitPlan, make_plan
from trio_mp.cli.unit.slurm import SlurmOptions, write_slurm
from trio_mp.cli.unit.yaml import Note, write_yaml


def needed(name: str) -> Any:
    """A package of the group `units`."""
    return importlib.import_module(name) if "TRIO_MP_REQUIRE_SCHEMAS" in os.environ else pytest.importorskip(name)


yaml, jsonschema, kubernetes_validate = map(needed, ("yaml", "jsonschema", "kubernetes_validate"))
needed("check_jsonschema")

ODD = '100 % of $HOME\'s "eggs" \\ `spam`; é\t#: $(HOME) $$'
"""What no format takes as it is."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["no", "Off", "~", "null", "1e3", "0x10", ".5", "1:30", "=", "<<", "- a", "a: b", "a #b", "*a", "!a", "2026-01-01"]
)
DOCUMENTS = st.recursive(
    TEXTS | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(DOCUMENTS)
@example({"a": [], "b": {}, "c": [[1, [2]], {"d": [{"e": True, "f": ""}]}]})
def test_yaml_is_read_as_it_was_written(document: object) -> None:
    assert yaml.safe_load(write_yaml(document)) == document


def test_a_comment_is_no_key() -> None:
    text = write_yaml({"a": [{Note("why"): None, "b": 1}], Note("and: this"): None, "c": 2})
    assert text == "a:\n  - # why\n    b: 1\n# and: this\nc: 2\n"
    assert yaml.safe_load(text) == {"a": [{"b": 1}], "c": 2}


NAME = "app.kubernetes.io/name"

CASES = [
    pytest.param([], id="seeds"),
    pytest.param(["app:main", ODD], id="program"),
    pytest.param(["--replicas", "10", "--secret-file", "/etc/app/secret", "app:main"], id="many"),
    pytest.param(["--id", "ruth", "app:main"], id="one"),
    pytest.param(["--name", "1.My_seeds", "app:main"], id="odd-name"),
    pytest.param(["--seed", "seed.example:4040", "app:main"], id="elsewhere"),
    pytest.param(["--bind", "*:4040", "--replicas", "1", "app:main"], id="alone"),
    pytest.param(["--profile", "probed", "app:main"], id="probed"),
]


@cache
def compose_schema() -> Any:
    file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text('[profile.probed]\nhealth = "unix:/tmp/health"\n')
    path.chmod(0o600)
    return path


@pytest.fixture
def printed(profiles: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Prints a file, where nothing but the profile `probed` is configured."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRIO_MP_CONFIG", str(profiles))

    def run(*words: str) -> str:
        assert main(["unit", *words]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("words", CASES)
def test_the_schema_of_compose_accepts_the_file(words: list[str], printed: Callable[..., str]) -> None:
    found = yaml.safe_load(printed("compose", "--image", "app:1", *words))
    compose_schema().validate(found)
    for service in found["services"].values():
        assert service["stop_grace_period"] == "45s"
        assert service["environment"]["TRIO_MP_SECRET_FILE"] == service["secrets"][0]["target"]
    assert ("--seed" in words or "--bind" in words or not words) == (len(found["services"]) == 1)
    if ODD in words:
        assert in_compose(found["services"]["app"]["command"][-1]) == ODD


@pytest.mark.parametrize("words", CASES)
def test_the_schemas_of_kubernetes_accept_the_objects(words: list[str], printed: Callable[..., str]) -> None:
    text = printed("k8s", "--image", "app:1", *words)
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    for one in objects:
        kubernetes_validate.validate(one, "1.30", strict=True)
    pods = [one["spec"]["template"] for one in objects if "template" in one["spec"]]
    assert all(pod["spec"]["terminationGracePeriodSeconds"] == 45 for pod in pods)
    # All of them have the one secret, which the text says how to make.
    (secret,) = {pod["spec"]["volumes"][1]["secret"]["secretName"] for pod in pods}
    assert f"kubectl create secret generic {secret} --from-file=secret=" in text
    kinds = [one["kind"] for one in objects]
    assert kinds.count("Deployment") == (1 if words and "--id" not in words else 0)
    # Every selector, and the name of the seeds, means pods of this file.
    labels = [pod["metadata"]["labels"] for pod in pods]
    for one in objects:
        selector = one["spec"]["selector"]
        assert selector.get("matchLabels", selector) in labels
    (app,) = [pod for pod in pods if pod["metadata"]["labels"] == {NAME: objects[-1]["metadata"]["name"]}]
    values = {one["name"]: one.get("value") for one in app["spec"]["containers"][0]["env"]}
    assert values["TRIO_MP_NODE_ID"] == ("ruth" if "--id" in words else None)
    # Asked from outside of the pod, unless the node answers in there alone.
    kind = "exec" if "probed" in words else "httpGet"
    container = app["spec"]["containers"][0]
    assert all(kind in container[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    assert values["TRIO_MP_HEALTH"] == ("unix:/tmp/health" if "probed" in words else "*:4041")
    if "Service" in kinds:
        assert values["TRIO_MP_SEEDS"] == f"{objects[0]['metadata']['name']}:{objects[0]['spec']['ports'][0]['port']}"
    if ODD in words:
        assert in_kubernetes(app["spec"]["containers"][0]["command"][-1]) == ODD


MARKS = "\t\n$%\"'`\\#:,;"
PRINTED = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(MARKS), max_size=20)


@given(PRINTED, PRINTED)
@example(ODD, ODD)
def test_the_texts_of_a_profile_and_of_a_command_line_arrive(
    tmp_path_factory: pytest.TempPathFactory, setting: str, word: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.toml"
    path.write_text(f'[profile.odd]\nservices = [["app:start", {in_toml(setting)}]]\n', encoding="utf-8")
    path.chmod(0o600)

    def plan(*given: str) -> UnitPlan:
        command, rest = find_command(["unit", *given, "--profile", "odd", "app", word])
        return make_plan(parse(command, rest), {"TRIO_MP_CONFIG": str(path)})

    options = ContainerOptions("app:1", None)
    arrived: dict[str, tuple[str, str]] = {}
    found = yaml.safe_load(write_compose(plan("compose", "--image", "app:1"), options))["services"]["odd"]
    services = found["environment"]["TRIO_MP_SERVICES"]
    arrived["compose"] = (in_compose(services), in_compose(found["command"][-1]))
    *_, found, _ = yaml.safe_load_all(write_kubernetes(plan("k8s", "--image", "app:1"), options))
    container = found["spec"]["template"]["spec"]["containers"][0]
    (services,) = [one["value"] for one in container["env"] if one["name"] == "TRIO_MP_SERVICES"]
    arrived["k8s"] = (in_kubernetes(services), in_kubernetes(container["command"][-1]))
    script = shlex.split(write_slurm(plan("slurm"), SlurmOptions(["trio-mp"], 2)), comments=True)
    (services,) = [one.partition("=")[2] for one in script if one.startswith("TRIO_MP_SERVICES=")]
    arrived["slurm"] = (services, script[-1])
    for kind, (services, last) in arrived.items():
        assert (words(services), last) == ([["app:start", setting]], word), kind


SCRIPTS = [("slurm",), ("slurm", "--seed", "a,b"), ("slurm", "--name", "eggs", "--tasks", "2")]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_shellcheck_finds_nothing_in_scripts(printed: Callable[..., str], tmp_path: Path) -> None:
    # It takes a dollar, a backtick or a backslash between quotes for a mistake.
    texts = [printed(*words, "app:main", 'it\'s; "odd"') for words in SCRIPTS]
    for page in sorted((ROOT / "docs").glob("*.md")):
        texts += [piece.text for piece in pieces_of(page.read_text(encoding="utf-8")) if piece.kind == "bash"]
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.sh")
        files[-1].write_text(text, encoding="utf-8")
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--severity=style", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
