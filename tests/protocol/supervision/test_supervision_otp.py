"""The same histories for OTP's supervisor and for ours: the same sequence of starts and stops.

`tests/otp/answers.txt` holds what OTP has answered, one history a line, behind its version. Where `escript` is on the
path OTP is asked again; `python tests/protocol/supervision/test_supervision_otp.py`, run there, writes the file anew.

Debian's `erl` names the directory that its package is installed in. Where it is only unpacked, put a script before it
on the path that sets `ESCRIPT_EMULATOR` to one that sets `ROOTDIR`, `BINDIR`, `EMU` and `PROGNAME`, and runs `erlexec`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from trio_mp._protocol.supervision import Action, AutoShutdown, Ended, Restart, Start, Stop, Strategy, Supervision, Wait

DIRECTORY = Path(__file__).resolve().parents[2] / "otp"
ANSWERS = DIRECTORY / "answers.txt"

EVENTS = (
    ("one death after the other", "b crash,a crash,c crash,b normal,a normal,c normal"),
    ("starts that fail", "fail b 2,b crash,fail a 1,a crash,fail c 2,a crash"),
    ("too many", "a crash,b crash,c crash,a crash"),
    ("taken out", "remove b,a crash,c crash,remove a,c crash,end"),
    ("normal deaths first", "b normal,c normal,a crash,b normal,end"),
)
CHILDREN = (
    "a:permanent,b:permanent,c:permanent",
    "a:permanent,b:transient,c:temporary",
    "a:temporary,b:permanent,c:transient",
    "a:transient,b:temporary,c:permanent",
)
SIGNIFICANT = (
    "a:transient:s,b:temporary:s,c:permanent;a crash,a normal,b crash,c crash",
    "a:permanent,b:transient:s,c:transient:s;b crash,c normal,a crash,b normal",
    "a:temporary:s,b:permanent,c:transient:s;remove a,c crash,c normal,b crash",
)


def histories() -> list[str]:
    """`strategy;limit;auto_shutdown;children;events`; see `supervise.escript`."""
    strategies = [strategy.value for strategy in Strategy]
    ordinary = [
        f"{strategy};{2 if name == 'too many' else 20};never;{children};{events}"
        for strategy, children, (name, events) in product(strategies, CHILDREN, EVENTS)
    ]
    autos = ("any_significant", "all_significant")
    return ordinary + [f"{one};20;{auto};{rest}" for one, auto, rest in product(strategies, autos, SIGNIFICANT)]


class Ours:
    """Plays a history on our rules; every start and stop is answered at once."""

    def __init__(self, history: str) -> None:
        strategy, limit, auto, children, events = history.split(";")
        settings = {"limit": int(limit), "within": 3600.0, "auto_shutdown": AutoShutdown(auto)}
        self.rules = Supervision(Strategy(strategy), **settings)  # type: ignore[arg-type]
        self.running: set[str] = set()
        self.failing: dict[str, int] = {}
        self.story: list[str] = []
        for child in children.split(","):
            name, restart, *significant = child.split(":")
            self.do(self.rules.add(name, Restart(restart), 0.0, significant=bool(significant)))
        self.answer = "|".join(self.happen(event) for event in events.split(","))

    def happen(self, event: str) -> str:
        self.story = []
        match event.split():
            case ["fail", name, count]:
                self.failing[name] = int(count)
            case ["remove", name]:
                self.do(self.rules.remove(name, 0.0))
            case ["end"]:
                self.do(self.rules.end(0.0))
            case [name, how] if name in self.running:
                self.running.discard(name)
                self.do(self.rules.died(name, 0.0, 0.0, normal=how == "normal"))
            case _:
                """A death of what does not run."""
        return " ".join(self.story)

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(name):
                    self.story.append(f"+{name}")
                    if self.failing.get(name, 0):
                        self.failing[name] -= 1
                        self.do(self.rules.failed(name, 0.0, 0.0))
                    else:
                        self.running.add(name)
                        self.do(self.rules.started(name, 0.0))
                case Stop(name):
                    self.story.append(f"-{name}")
                    self.running.discard(name)
                    self.do(self.rules.stopped(name, 0.0))
                case Ended():
                    self.story.append("ended")
                case Wait():
                    raise AssertionError("OTP does not wait, and was not asked to")


def recorded() -> tuple[str, dict[str, str]]:
    """Which OTP was asked, and what it has answered to each history."""
    version, *lines = ANSWERS.read_text().splitlines()
    return version, dict(line.split(" => ") for line in lines)


def ask_otp(path: Path) -> tuple[str, list[str]]:
    """Which OTP is here, and what it answers to the histories of a file."""
    command = ["escript", str(DIRECTORY / "supervise.escript"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.fail(f"expected escript to run, got status {done.returncode} from {command[0]}: {done.stderr.strip()}")
    version, *answers = done.stdout.splitlines()
    return version, answers


def test_there_are_enough_histories() -> None:
    version, answers = recorded()
    assert version.startswith("OTP ")
    assert list(answers) == histories()
    assert len(histories()) >= 40


@pytest.mark.parametrize("history", histories())
def test_the_same_starts_and_stops_as_otp(history: str) -> None:
    _, answers = recorded()
    assert Ours(history).answer == answers[history]


def test_what_was_recorded_is_what_otp_answers(tmp_path: Path) -> None:
    if shutil.which("escript") is None:
        pytest.skip("Erlang is not here")
    some = histories()[::7]
    path = tmp_path / "histories.txt"
    path.write_text("\n".join(some))
    then, answers = recorded()
    now, told = ask_otp(path)
    assert told == [answers[history] for history in some], f"recorded of {then}, and this is {now}"


if __name__ == "__main__":
    ANSWERS.write_text("\n".join(histories()))
    asked, found = ask_otp(ANSWERS)
    lines = [f"{history} => {answer}" for history, answer in zip(histories(), found, strict=True)]
    ANSWERS.write_text("\n".join([asked, *lines]) + "\n")
    print(asked, len(lines), "histories", file=sys.stderr)
