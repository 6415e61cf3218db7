"""`trio-mp run` and `trio-mp seed`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import trio
from command_lines import environment, open_command, run_command
from running_programs import SECRET

from trio_mp import open_node
from trio_mp.cli import main
from trio_mp.cli.run import as_seed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, and signals")

APP = """\
import signal
import sys
import trio

async def main(node, *words):
    print("main", node.id, *words, node._runtime.standing.why_not_ready() or "ready")

async def failing(node):
    raise LookupError("no eggs")

async def full(node):
    raise OSError("no room")

async def leaving(node, port):
    node.send(port, "last words")
    sys.exit(7)

async def sleeping(node, port=""):
    try:
        print("sleeps")
        await trio.sleep_forever()
    finally:
        print("unwinds")
        if port:
            node.send(port, "last words")

async def short(node, word=""):
    if word:
        raise LookupError(word)

async def stubborn(node):
    print("sleeps")
    with trio.CancelScope(shield=True):
        try:
            await trio.sleep(1000)
        except KeyboardInterrupt:
            pass

async def busy(node):
    port = node.port()

    @port.on("work")
    async def work():
        print("works")
        await trio.sleep_forever()

    node.send(port, "work")
    await trio.sleep_forever()

async def stuck(node):
    ours = signal.getsignal(signal.SIGINT)
    print("works")
    while True:
        if signal.getsignal(signal.SIGINT) != ours:
            print("heard")
            ours = signal.getsignal(signal.SIGINT)

async def one(node, word):
    pass

def sync(node):
    print("service", node.id, "|", node._runtime.standing.why_not_ready())

spam = 5
"""


@pytest.fixture
def folder(short_directory: Path) -> Path:
    (short_directory / "app.py").write_text(APP)
    return short_directory


# The program ---------------------------------------------------------------------------------------------------------


def test_a_program_runs_with_the_services_of_its_profile_and_the_command_line_decides(folder: Path) -> None:
    (folder / "profiles.toml").write_text(
        '[profile.eggs]\nnode_id = "profile"\nservices = ["app:sync"]\nheartbeat = 1\n'
    )
    variables = environment(TRIO_MP_CONFIG="profiles.toml", TRIO_MP_NODE_ID="variable", TRIO_MP_PROFILE="spam")
    said = run_command("run", "--profile", "eggs", "--id", "ruth", "app", "a", "--id", "b", cwd=folder, env=variables)
    assert said.stdout == "service ruth | services are starting\nmain ruth a --id b ready\n"
    assert said.stderr == "trio-mp: app:main runs in the node ruth\n"
    assert said.returncode == 0


def test_the_exception_of_a_program_is_shown_from_where_the_program_begins(folder: Path) -> None:
    said = run_command("run", "-q", "app:failing", cwd=folder, env=environment())
    assert said.returncode == 1
    assert said.stdout == ""
    lines = said.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('app.py", line 9, in failing')
    assert lines[-1] == "LookupError: no eggs"
    assert len(lines) <= 5


def test_an_error_of_the_program_that_looks_like_one_of_ours(folder: Path) -> None:
    said = run_command("run", "-q", "app:full", cwd=folder, env=environment())
    assert said.returncode == 1
    assert said.stderr.startswith("Traceback")
    assert said.stderr.endswith("OSError: no room\n")


async def test_sigterm_has_the_program_unwind_and_what_it_sends_goes_out(folder: Path) -> None:
    async with (
        open_node("hub", binds=[f"unix:{folder}/hub"], secret=SECRET, profile=False) as hub,
        hub.open_port() as port,
        open_command(
            *("run", "--seed", f"unix:{folder}/hub", "app:sleeping", str(port)),
            cwd=folder,
            env=environment(TRIO_MP_SECRET=SECRET),
        ) as program,
    ):
        await program.expect("^sleeps$")
        program.process.send_signal(signal.SIGTERM)
        assert await port.receive() == ("last words",)
        assert await program.process.wait() == 0
        await program.expect("^unwinds$")


async def test_a_program_that_leaves_by_sys_exit_has_its_status_and_what_it_has_sent_goes_out(folder: Path) -> None:
    async with (
        open_node("hub", binds=[f"unix:{folder}/hub"], secret=SECRET, profile=False) as hub,
        hub.open_port() as port,
        open_command(
            *("run", "--seed", f"unix:{folder}/hub", "app:leaving", str(port)),
            cwd=folder,
            env=environment(TRIO_MP_SECRET=SECRET),
        ) as program,
    ):
        assert await port.receive() == ("last words",)
        assert await program.process.wait() == 7


async def test_ctrl_c_drains_and_is_one_line(folder: Path) -> None:
    async with open_command("run", "--id", "ruth", "app:sleeping", cwd=folder) as program:
        await program.expect("^sleeps$")
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 0
        await program.expect("^unwinds$")
        first, *lines = program.lines
        assert first == "trio-mp: app:sleeping runs in the node ruth"
        assert lines == ["sleeps", "trio-mp: SIGINT: the node ruth drains, for at most 25 s", "unwinds"]


async def test_a_drain_that_is_cut_short_is_a_failure(folder: Path) -> None:
    variables = environment(TRIO_MP_DRAIN_TIMEOUT="0.1", TRIO_MP_NODE_ID="ruth")
    async with open_command("run", "app:busy", cwd=folder, env=variables) as program:
        await program.expect("^works$")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 1
        await program.expect("^trio-mp: the node ruth was cut short; unfinished: ruth#.*: its handler runs$")


@pytest.mark.parametrize("what, heard", [("busy", "the node ruth drains"), ("stuck", "^heard$")])
async def test_a_second_ctrl_c_ends_a_program_that_is_busy_or_stuck(folder: Path, what: str, heard: str) -> None:
    async with open_command("run", "--id", "ruth", f"app:{what}", cwd=folder) as program:
        await program.expect("^works$")
        program.process.send_signal(signal.SIGINT)
        await program.expect(heard)
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 130
        await program.ended.wait()
        assert program.lines[-1] == "trio-mp: interrupted"
        assert not [line for line in program.lines if "Traceback" in line]


async def test_a_second_sigterm_ends_a_program_that_does_not_unwind(folder: Path) -> None:
    async with open_command("run", "app:stubborn", cwd=folder) as program:
        await program.expect("^sleeps$")
        program.process.send_signal(signal.SIGTERM)
        while program.process.returncode is None:
            # The second may come before Python has handled the first one; then a third one is needed.
            program.process.send_signal(signal.SIGTERM)
            with trio.move_on_after(0.05):
                await program.process.wait()
        assert program.process.returncode == -signal.SIGTERM


async def test_sigterm_while_the_node_waits_for_its_network(folder: Path) -> None:
    variables = environment(TRIO_MP_SECRET=SECRET, TRIO_MP_ATTACH_TIMEOUT="1000")
    async with open_command("run", "-v", "--seed", "unix:nobody", "app:sleeping", cwd=folder, env=variables) as program:
        await program.expect("the seed .* cannot be used")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0


async def test_services_alone_run_until_they_are_stopped(folder: Path) -> None:
    variables = environment(TRIO_MP_SERVICES="app:sync,app:sleeping", TRIO_MP_NODE_ID="ruth")
    async with open_command("run", cwd=folder, env=variables) as program:
        await program.expect("^service ruth ")
        await program.expect("^sleeps$")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
        await program.expect("^unwinds$")


@pytest.mark.parametrize("service, status", [("app:short", 0), (["app:short", "no eggs"], 1)], ids=["well", "failed"])
def test_services_that_have_ended_end_the_command(folder: Path, service: object, status: int) -> None:
    (folder / "profiles.toml").write_text(f"[default]\nservices = ['app:short', {service!r}]\n")
    said = run_command("run", "-q", cwd=folder, env=environment(TRIO_MP_CONFIG="profiles.toml"))
    assert said.returncode == status
    assert ("LookupError: no eggs" in said.stderr) == (status == 1)


def test_nobody_is_a_worker_by_himself(folder: Path) -> None:
    said = run_command("run", "--worker", "ruth/1", "app", cwd=folder, env=environment())
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "trio-mp: --worker: expected a process that `run --workers` has started, got another\n"


# What cannot run -----------------------------------------------------------------------------------------------------

WRONG = [
    (["--restart", "always", "app"], "--restart: expected it with --workers, got it alone; give --workers 1"),
    (["ap"], "expected the name of a module that Python finds in {} or where packages are installed, got 'ap'"),
    (["app.py"], "expected the name of a module, got the file app.py; write app"),
    (["app:"], "expected MODULE or MODULE:FUNCTION, got 'app:'"),
    (["app:mian"], "no function mian in the module app; did you mean app:main?"),
    (["json"], "no function main in the module json; write `async def main(node)`"),
    (["app:spam"], "expected an async function, `async def spam(node)`, got 5"),
    (["app:sync"], "expected an async function, `async def sync(node)`, got a sync one"),
    (
        ["app:one"],
        "app:one(node, word): the arguments [] behind the node do not fit: missing a required argument: 'word'",
    ),
    (["app:one", "a", "b"], "app:one(node, word): the arguments ['a', 'b'] behind the node do not fit: too many"),
    (["profile", "seed"], "run: expected MODULE, got 'profile seed'; write --profile seed"),
    (["profile"], "run: expected MODULE, got 'profile'; write --profile NAME"),
    ([], "expected MODULE, or services in the profile, got neither"),
    (["--id", "/%", "app"], "--id: expected 1 to 255 of the characters"),
    (["--seed", "x:y", "app"], "--seed: expected"),
    (["--bind", "unix:s", "app"], "secret: expected one, or a secret_file or a certificate"),
    (["--profile", "nobody", "app"], "expected a profile 'nobody'"),
]


@pytest.mark.parametrize("words, text", WRONG, ids=[" ".join(words) or "nothing" for words, _ in WRONG])
def test_what_cannot_run_is_one_line(
    folder: Path, words: list[str], text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    assert main(["run", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("trio-mp: ")
    assert text.format(Path.cwd()) in told.err
    assert told.err.count("\n") == 1


def test_a_module_that_cannot_be_imported_is_shown_by_its_traceback(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_thing\n")
    said = run_command("run", "broken", cwd=folder, env=environment())
    assert said.returncode == 1
    assert "broken.py" in said.stderr
    assert said.stderr.endswith("ModuleNotFoundError: No module named 'no_such_thing'\n")
    assert len(said.stderr.splitlines()) == 4


def test_an_address_that_is_taken_is_one_line(folder: Path) -> None:
    (folder / "taken").write_text("")
    said = run_command(*("run", "--bind", "unix:taken", "app"), cwd=folder, env=environment(TRIO_MP_SECRET=SECRET))
    assert said.returncode == 3
    assert said.stdout == ""
    assert said.stderr.startswith("trio-mp: cannot listen on unix:taken: there is a file of that name")
    assert said.stderr.count("\n") == 1


def test_a_network_that_is_not_there_ends_it_when_its_time_is_up(folder: Path) -> None:
    variables = environment(TRIO_MP_SECRET=SECRET, TRIO_MP_ATTACH_TIMEOUT="0.05")
    said = run_command("run", "-q", "--seed", "unix:none", "app", cwd=folder, env=variables)
    assert said.returncode == 3
    assert said.stdout == ""
    # The log has warned of the seed before.
    last = said.stderr.splitlines()[-1]
    assert last.startswith("trio-mp: no global node was reached within the attach_timeout of 0.05 s: unix:none: No")
    assert "Traceback" not in said.stderr


# A seed --------------------------------------------------------------------------------------------------------------


async def test_a_seed_runs_nothing_is_global_and_says_where_it_listens(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    # It is one of two seeds, and the other one is away: it must not wait for that one.
    (folder / "profiles.toml").write_text(
        '[default]\nseeds = ["unix:other", "unix:seed"]\nsecret_file = "secret"\nservices = ["app:sync"]\n'
    )
    variables = environment(TRIO_MP_CONFIG="profiles.toml")
    async with open_command("seed", "--id", "seed", "--bind", "unix:seed", cwd=folder, env=variables) as program:
        after = await program.expect("^unix:seed$")
        async with open_node("eggs", seeds=[f"unix:{folder}/seed"], secret=SECRET, profile=False) as node:
            assert await node.call("seed", "info") == ("seed",)
            async with node.watch_nodes() as changes:
                async for change in changes:
                    if change.node_id == "seed":
                        break
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
        assert not [line for line in program.lines if line.startswith("service")]
        assert program.lines[after - 2] == "trio-mp: the seed seed runs until it is stopped; it listens at"


def test_a_seed_is_among_its_own_seeds() -> None:
    # So it is global, even if no other seed is up. Where it listens at a free port, nobody can say that before.
    found = as_seed({"binds": ["*:4040", "127.0.0.1:0", "unix:s"], "seeds": ["other:4040", "unix:s"]})
    assert found["seeds"] == ["other:4040", "unix:s", "*:4040"]
    assert as_seed({"binds": ["*:4040"]}) == {"binds": ["*:4040"]}


def test_a_seed_needs_an_address(folder: Path) -> None:
    said = run_command("seed", "--bind", "[]", cwd=folder, env=environment(TRIO_MP_SECRET=SECRET))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "trio-mp: binds: expected an address to listen on for a seed, got none; give --bind ADDRESS\n"


def test_a_seed_that_has_a_directory_or_a_service_for_a_seed_is_among_its_seeds() -> None:
    found = as_seed({"binds": ["unix:s"], "seeds": ["dir:jobs", "srv:_app._tcp.example"]})
    assert found["seeds"] == ["dir:jobs", "srv:_app._tcp.example", "unix:s"]
