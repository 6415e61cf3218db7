"""Check what runs elsewhere, without running it: `python workflow_checks.py` in a checkout, offline.

check-jsonschema compares workflows, issue forms, dependabot.yml and .readthedocs.yaml with their schemas; zizmor looks
for what an attacker could use in the workflows, such as an action that is not pinned by the hash of a commit. Here it
takes its sternest view; what it is to let pass says so in its line.

Exit status 1, with what the tools say, if something is wrong.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "dependabot": ".github/dependabot.yml",
    "readthedocs": ".readthedocs.yaml",
}
"""Which schema, of those that check-jsonschema brings along, holds for which files."""

PINNED = re.compile(r"\s*(- )?uses: (\./\S+ # zizmor: ignore\[self-repository\]|\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")


def run_tool(name: str, *arguments: str) -> str:
    """Run a tool of this environment; returns what it says if it finds something wrong."""
    command = [str(Path(sysconfig.get_path("scripts")) / name), *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.stdout if run.returncode else ""


def unpinned(text: str) -> list[str]:
    """The lines of a workflow that use an action otherwise than by the hash of a commit, with its version beside it."""
    return [line.strip() for line in text.splitlines() if "uses:" in line and not PINNED.fullmatch(line)]


def wrong_by_schema(root: Path, schema: str) -> list[str]:
    """What a schema says against the files of a checkout for which it holds."""
    files = [str(path) for path in sorted(root.glob(SCHEMAS[schema]))]
    if not files:
        return [f"expected {SCHEMAS[schema]}, got no such file"]
    return list(filter(None, [run_tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)]))


def insecure(root: Path) -> list[str]:
    """What an attacker could use in the workflows of a checkout."""
    wrong = [
        f"{path}: expected ACTION@HASH # vVERSION, got {line}"
        for path in sorted(root.glob(SCHEMAS["github-workflows"]))
        for line in unpinned(path.read_text(encoding="utf-8"))
    ]
    options = ("--offline", "--persona=auditor", "--quiet", "--strict-collection", "--color=never", "--no-config")
    return [*wrong, *filter(None, [run_tool("zizmor", *options, str(root / ".github"))])]


def main() -> int:
    """Check this checkout; returns the exit status."""
    wrong = [*(each for schema in SCHEMAS for each in wrong_by_schema(ROOT, schema)), *insecure(ROOT)]
    print("\n".join(wrong) or "workflows, issue forms and .readthedocs.yaml: nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
