"""`trio-mp completion`: what the shells complete."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import COMMAND

from trio_mp.cli.completion import Choice, CompletedCommand, completed, write_fish, write_zsh
from trio_mp.cli.parser import all_commands

SHELLS = ("bash", "zsh", "fish")

# What the shell does when the key is pressed: it fills these variables, and calls the function that `complete` names.
ASK = """
source "$1"
[[ "$(complete -p trio-mp)" == *"-F _trio_mp trio-mp" ]] || exit 9
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_trio_mp
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    done = subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "trio-mp"
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    path.write_text(script("bash"), encoding="utf-8")
    return path


def complete(path: Path, line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    command = ["bash", "--norc", "-c", ASK, "bash", str(path), *line.split(" ")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=path.parent)
    assert done.stderr == ""
    return done.stdout.split()


CASES = [
    ("trio-mp mon", ["monitor"]),
    ("trio-mp pro", ["profile"]),
    ("trio-mp --v", ["--version"]),
    ("trio-mp profile s", ["show", "set"]),
    ("trio-mp profile show --eff", ["--effective"]),
    ("trio-mp send --se", ["--seed", "--secret-file"]),
    ("trio-mp send w1 --ti", ["--timeout"]),
    ("trio-mp send --secret-file tr", ["trio-mp"]),
    ("trio-mp send --timeout -", []),
    ("trio-mp completion ", ["bash", "zsh", "fish"]),
    ("trio-mp completion z", ["zsh"]),
    ("trio-mp logs --level W", ["WARNING"]),
    ("trio-mp nobody --", []),
]


@pytest.mark.parametrize("line, offered", CASES, ids=[line for line, _ in CASES])
def test_bash_offers(bash: Path, line: str, offered: list[str]) -> None:
    assert complete(bash, line) == offered


def test_bash_offers_every_command(bash: Path) -> None:
    first = {command.name.split()[0] for command in all_commands()}
    assert set(complete(bash, "trio-mp ")) == first | {"--help", "--version"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command_and_option(shell: str) -> None:
    text = script(shell)
    for command in all_commands():
        for word in command.name.split():
            assert word in text
        for option, _ in completed(command).options:
            assert (option if shell != "fish" else f" {option.lstrip('-')}") in text
    checks = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}[shell]
    if shutil.which(checks[0]) is not None:
        subprocess.run([*checks, "/dev/stdin"], input=text, text=True, check=True, timeout=60)


def test_texts_are_quoted() -> None:
    command = CompletedCommand("x y", [Choice("--it", "what's \\ it")], [], {"--it": ["a", "b"]}, [])
    assert r"""        options=('--it:what'"'"'s \ it')""" in write_zsh([command])
    within = "'__fish_seen_subcommand_from x; and __fish_seen_subcommand_from y'"
    assert write_fish([command])[-1] == rf"complete -c trio-mp -n {within} -l it -x -a 'a b' -d 'what\'s \\ it'"
