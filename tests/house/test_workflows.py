"""The checks of what runs elsewhere find what is planted in a copy of it.

Their tools are in the environment of `nox -s lint` alone, which runs these tests, too.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from workflow_checks import ROOT, insecure, unpinned, wrong_by_schema

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")

needs_tools = pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema and zizmor: run by nox -s lint"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    shutil.copy(ROOT / ".readthedocs.yaml", tmp_path)
    return tmp_path


def test_the_workflow_has_every_python_that_the_package_is_meant_for() -> None:
    (line,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    versions = [version.strip('" ') for version in line.split(",")]
    prefix = "Programming Language :: Python :: 3."
    said = [each.removeprefix(prefix) for each in PROJECT["project"]["classifiers"] if each.startswith(prefix)]
    assert {f"3.{minor}" for minor in said} <= set(versions)
    assert versions == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize(
    "line, count",
    [
        ("uses: a/b@v4", 1),
        ("uses: a/b@1234567 # v4.0.0", 1),
        (f"uses: a/b@{'0' * 40}", 1),
        (f"      - uses: a/b@{'0' * 40} # v4.0.0", 0),
        ("    uses: ./.github/workflows/tests.yml # zizmor: ignore[self-repository]", 0),
        ("run: python -m pip install nox", 0),
    ],
)
def test_an_action_that_is_not_pinned_is_found(line: str, count: int) -> None:
    assert len(unpinned(line)) == count


WORKFLOWS = ".github/workflows"


@needs_tools
@pytest.mark.parametrize(
    "schema, file, old, new, said",
    [
        ("github-workflows", f"{WORKFLOWS}/tests.yml", "    runs-on: ubuntu-24.04\n", "", "runs-on"),
        ("github-workflows", f"{WORKFLOWS}/release.yml", "\n  push:\n", "\n  pushed:\n", "pushed"),
        ("dependabot", ".github/dependabot.yml", "monthly", "sometimes", "sometimes"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml", "type: textarea", "type: textbox", "textbox"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml", "about:", "abuot:", "abuot"),
        ("readthedocs", ".readthedocs.yaml", "version: 2", "version: 1", "readthedocs"),
    ],
)
def test_what_no_schema_knows_is_found(copy: Path, schema: str, file: str, old: str, new: str, said: str) -> None:
    plant(copy / file, old, new)
    assert said in "\n".join(wrong_by_schema(copy, schema))


@needs_tools
@pytest.mark.parametrize(
    "file, old, new, said",
    [
        ("tests.yml", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("tests.yml", '"$VERSION"', '"${{ github.head_ref }}"', "template-injection"),
        ("tests.yml", "persist-credentials: false\n", "fetch-depth: 1\n", "artipacked"),
        ("release.yml", "permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
        ("release.yml", "e0b5a5461e7c # v8.0.1", "", "expected ACTION@HASH # vVERSION"),
        ("release.yml", "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "a/b@v1", "unpinned-uses"),
    ],
)
def test_what_an_attacker_could_use_is_found(copy: Path, file: str, old: str, new: str, said: str) -> None:
    plant(copy / WORKFLOWS / file, old, new)
    assert said in "\n".join(insecure(copy))


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@needs_tools
def test_what_is_missing_is_found(copy: Path) -> None:
    assert insecure(copy) == []
    (copy / ".readthedocs.yaml").unlink()
    assert wrong_by_schema(copy, "readthedocs") == ["expected .readthedocs.yaml, got no such file"]
