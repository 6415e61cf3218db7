"""Pages that a program follows word by word: the tutorial in three parts, and a first network from a terminal.

`page_steps.py` says how a page directs it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT
from page_follower import HOME, Names, follow_pages, form_of
from page_steps import PageError, changed, check_requirement, requirements_of, steps_of

from trio_mp.cli.parser import all_commands, help_of_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the nodes use Unix sockets, and pages show signals")

TUTORIAL = ("docs/tutorial.md", "docs/tutorial-supervision.md", "docs/tutorial-services.md")
FIRST_NETWORK = "docs/first-network.md"


async def test_the_tutorial_works_word_for_word(short_directory: Path) -> None:
    await follow_pages(TUTORIAL, short_directory)


async def test_the_first_network_works_word_for_word(short_directory: Path) -> None:
    await follow_pages([FIRST_NETWORK], short_directory, "desks")


def test_the_tutorial_installs_what_it_needs() -> None:
    # `trio-mp profile` needs the extra; nothing else in these pages does.
    assert requirements_of(TUTORIAL) == ["trio-mp[cli]"]


@pytest.mark.parametrize("page", [*TUTORIAL, FIRST_NETWORK])
def test_a_new_user_finds_the_commands_by_the_help(page: str) -> None:
    shown = help_of_all()
    names = {command.name for command in all_commands()}
    for step in steps_of(page, (ROOT / page).read_text(encoding="utf-8")):
        if step.kind == "command" and step.words[0] == "trio-mp":
            _, *words = step.words
            assert re.search(rf"^  {words[0]} ", shown, re.MULTILINE), words
            assert words[0] in names or " ".join(words[:2]) in names


# The follower itself -----------------------------------------------------------------------------------------------

GOOD = """
Write `count.py`, and run it:

<!-- file: count.py -->
```python
import os, sys
print("process", os.getpid(), flush=True)
for line in sys.stdin:
    print(len(line) - 1, flush=True)
print("the end")
```

In the terminal `count`:

<!-- terminal: count -->
```console
$ python count.py
process 77
> four
4
```

Change `count.py`, and see in the same terminal `count` that it goes on as it was.

<!-- change: count.py -->
```diff
-print("the end")
+print("another end")
+sys.exit(3)
```

The terminal `count`:

<!-- terminal: count -->
```console
> three
5
^D
the end
$ python count.py
process 78
```

```console
$ mkdir below
$ cd below
$ kill -9 78
```

The terminal `count`:

<!-- terminal: count -->
<!-- status: 3 -->
```console
Killed
$ python count.py
process 79
^D
another end
```
"""


async def follow(text: str, home: Path) -> None:
    """Follow a page of these words."""
    page = home / "page.md"
    page.write_text(text, encoding="utf-8")
    await follow_pages([str(page)], home)


async def test_the_follower_types_changes_kills_and_compares(short_directory: Path) -> None:
    await follow(GOOD, short_directory)
    assert "sys.exit(3)" in (short_directory / "count.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "right, wrong, told",
    [
        ("5\n^D", "6\n^D", "expected these lines"),
        ("^D\nthe end\n", "^D\n", "expected nothing more in the terminal 'count', got 'the end'"),
        ("<!-- status: 3 -->\n", "", "expected the exit status 0"),
        ("Killed\n", "", "expected nothing more in the terminal 'count', got 'Killed'"),
        ("kill -9 78", "kill -9 80", "expected the number of a process that a program has printed, got 80"),
        ("process 79", "process 78", "expected process 78 to be one name everywhere"),
        ("another end\n```", "another end\nand more\n```", "expected the line 'and more', got the end"),
        ('-print("the end")', '-print("no end")', "expected these lines once in the file, got them 0 times"),
        ("Write `count.py`", "Write a file", "expected the name `count.py` of the file in the text above"),
        ("In the terminal `count`", "In a terminal", "expected the name `count` of the terminal in the text above"),
        ("$ mkdir below\n", "$ mkdir below\nmade it\n", "expected these lines"),
        ("$ mkdir below", "$ python -c pass below\n$ no-such-command", "No such file"),
        ("$ cd below", "$ cd elsewhere", "No such file"),
        ("$ cd below", "$ pip install trio-mp[rockets]", "expected one of the extras"),
    ],
)
async def test_the_follower_notices_a_wrong_page(short_directory: Path, right: str, wrong: str, told: str) -> None:
    assert GOOD.count(right) == 1
    with pytest.raises(PageError, match=re.escape(told)):
        await follow(GOOD.replace(right, wrong), short_directory)


async def test_the_follower_notices_a_program_that_runs_on(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("page_follower.STEP_LIMIT", 3.0)
    text = GOOD.replace("process 79\n^D\nanother end", "process 79").replace("<!-- status: 3 -->\n", "")
    with pytest.raises(PageError, match=r"expected the end of python count.py in the terminal count, got none"):
        await follow(text, short_directory)


@pytest.mark.parametrize(
    "shown, printed, same",
    [
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w1#AAAAAAAA.AAAAAAAAAAAAAAA_: too: slow", True),
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w2#AAAAAAAA.AAAAAAAAAAAAAAA_: too: slow", False),
        ("     1  desk:main  idle  2  326 B  –", " 1  desk:main  idle  2  9 B  5.2", True),
        ("     1  desk:main  idle  2  326 B  –", " 1  desk:main  idle  3  9 B  5.2", False),
        ("w1 is up for 8.5 s", "w1 is up for 1 min 13 s", True),
        ("w1 is up for 8.5 s", "w1 is down for 1 min 13 s", False),
        ("made /home/ruth/secret", "made /tmp/x/secret", True),
        ("made /home/ruth/secret", "made /tmp/y/secret", False),
    ],
)
def test_what_counts_as_the_same(shown: str, printed: str, same: bool) -> None:
    words = ["trio-mp", "ports", "w1"]
    assert (form_of(shown, HOME, words) == form_of(printed, "/tmp/x", words)) == same
    # What a program of the page prints is compared as it is.
    assert form_of("1.5  s", HOME, ["python", "hello.py"]) != form_of("1.6  s", HOME, ["python", "hello.py"])


def test_one_id_of_a_page_is_one_port() -> None:
    names = Names()
    names.learn("it is a#Cnj8G34J.E337aUcA5HO2JE-K", "it is a#AAAAAAAA.AAAAAAAAAAAAAAA_")
    assert names.real("a#Cnj8G34J.E337aUcA5HO2JE-K") == "a#AAAAAAAA.AAAAAAAAAAAAAAA_"
    with pytest.raises(ValueError, match="one name everywhere"):
        names.learn("a#Cnj8G34J.E337aUcA5HO2JE-K", "a#BBBBBBBB.BBBBBBBBBBBBBBB_")
    with pytest.raises(ValueError, match="one name everywhere"):
        names.learn("a#Dnj8G34J.E337aUcA5HO2JE-K", "a#AAAAAAAA.AAAAAAAAAAAAAAA_")


def test_a_change_is_of_whole_lines_and_of_one_place() -> None:
    text = "one\n    two\n\nthree\n"
    assert changed(text, " one\n-    two\n+    2\n@@\n \n+between\n three\n") == "one\n    2\n\nbetween\nthree\n"
    assert changed(text, "-one\n") == "    two\n\nthree\n"
    for wrong, told in [
        ("-two\n+2\n", "0 times"),
        ("-wo\n", "0 times"),
        (" one\n", "lines that stay the same"),
        ("two\n", "begin with a space"),
    ]:
        with pytest.raises(ValueError, match=told):
            changed(text, wrong)
    with pytest.raises(ValueError, match="2 times"):
        changed("a\nb\na\n", "-a\n")


def test_what_pip_is_told_to_install_is_this_package() -> None:
    check_requirement("trio-mp")
    check_requirement("trio-mp[cli]")
    with pytest.raises(ValueError, match="expected the package trio-mp"):
        check_requirement("trio_message_passing")


@pytest.mark.parametrize(
    "text, status, told", [("```console\n$ python --help\n```\n", 1, "page.md:1"), ("", 0, "all is as the pages say")]
)
def test_the_follower_is_a_program(tmp_path: Path, text: str, status: int, told: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "page_follower", str(page)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == status, done
    assert told in done.stdout + done.stderr
