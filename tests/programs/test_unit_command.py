"""`trio-mp unit`: files by which managers of services run a node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from container_texts import in_compose, in_kubernetes
from hypothesis import example, given, strategies as st

from trio_mp import ConfigurationError
from trio_mp._profiles.variables import VARIABLES
from trio_mp.cli import main
from trio_mp.cli.unit import compose, kubernetes
from trio_mp.cli.unit.systemd import quoted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="managers of services of POSIX")

ODD = '100 % of $HOME\'s "eggs" \\ `spam`; é\t#'
"""What no format takes as it is."""


@pytest.fixture(autouse=True)
def folder(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment that gives no settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(short_directory)
    monkeypatch.setenv("TRIO_MP_CONFIG", str(short_directory / "profiles.toml"))
    (short_directory / "profiles.toml").touch(0o600)
    return short_directory


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["unit", *words]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["unit", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


def lines_of(unit: str, key: str) -> list[str]:
    """The values of a key in a unit."""
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]


# What is in the file --------------------------------------------------------------------------------------------------


def test_the_settings_of_a_profile_are_in_the_file_and_no_secret_is(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "profiles.toml").write_text(
        """
        [default]
        secret_file = "secret"
        seeds = ["one.example:4040", "two.example:4040"]
        [profile.ruth]
        node_id = "ruth"
        heartbeat = 20
        connect_timeout = 90
        shutdown_timeout = 8
        services = ["chat.server", ["irc:start", "irc.example", 6667]]
        """
    )
    monkeypatch.setenv("TRIO_MP_CALL_LIMIT", "5")
    monkeypatch.setenv("TRIO_MP_PROFILE", "nobody")
    unit = printed(capsys, "systemd", "--profile", "ruth")
    assert lines_of(unit, "ExecStart")[0].endswith(" run")
    assert lines_of(unit, "LoadCredential") == [f"secret:{folder}/secret"]
    assert lines_of(unit, "Environment") == [
        "PYTHONUNBUFFERED=1",
        "TRIO_MP_CONFIG=/dev/null",
        "TRIO_MP_NODE_ID=ruth",
        "TRIO_MP_CALL_LIMIT=5",
        "TRIO_MP_HEARTBEAT=20",
        "TRIO_MP_CONNECT_TIMEOUT=90",
        "TRIO_MP_SHUTDOWN_TIMEOUT=8",
        '"TRIO_MP_SERVICES=[\\"chat.server\\", [\\"irc:start\\", \\"irc.example\\", 6667]]"',
        "TRIO_MP_SEEDS=one.example:4040,two.example:4040",
        "TRIO_MP_SECRET_FILE=%d/secret",
    ]
    # Longer than the drain and twice the time for unwinding; longer than three heartbeats.
    assert lines_of(unit, "TimeoutStopSec") == [str(25 + 2 * 8 + 10)]
    assert lines_of(unit, "WatchdogSec") == ["80"]


KINDS = {
    "systemd": ["systemd"],
    "compose": ["compose", "--image", "app:1"],
    "k8s": ["k8s", "--image", "app:1"],
    "slurm": ["slurm"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_refused_and_never_shown(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_MP_SECRET", "0123456789abcdef")
    text = refused(capsys, *KINDS[kind], "app")
    assert "TRIO_MP_SECRET: expected a secret_file" in text
    assert "0123456789abcdef" not in text


@pytest.mark.parametrize(
    "words, text",
    [
        (["systemd", "--name", "a b", "app"], "--name: expected"),
        (["systemd", "--user", "a b", "app"], "--user: expected the name of a user"),
        (["systemd", "--bind", "unix:/srv/a/s", "app"], "binds: expected --user USER"),
        (["systemd", "--bind", "unix:s", "app"], "binds: expected an absolute path"),
        (["systemd", "--secret-file", "/etc/a\nUser=root", "--bind", "*:1", "app"], "without control characters"),
        (["systemd", "--workers", "2"], "--workers: expected it with MODULE"),
        (["systemd", "--restart", "never", "app"], "--restart: expected it with --workers"),
        (["systemd", "--seed", "nobody:0", "app"], "--seed: expected"),
        (["systemd", "--secret-file", "/a", "--seed", "a", "app", "\x01"], "without control characters"),
        (["systemd", "--secret-file", "/a", "--seed", "a", "app", "\udc80"], "expected texts of Unicode"),
        (["socket", "app"], "binds: expected addresses at which systemd listens for the node, got none"),
        (["socket", "--bind", "fd:3", "app"], "which systemd listens for the node, got fd:3"),
        (["k8s", "--image", "a", "--bind", "fd:3", "app"], "binds: expected addresses of TCP"),
        (["socket", "--bind", "seed.example:4040", "app"], "binds: expected an IP address or `*`"),
        (["socket", "--bind", "*:0", "app"], "binds: expected a port"),
        (["socket", "--bind", "unix:/run/a/s", "app"], "binds: expected a TCP address, or --user USER"),
        (["compose", "--image", "a", "--seed", "unix:/s", "app"], "seeds: expected addresses of TCP"),
        (["k8s", "--image", "a", "--id", "ruth", "--replicas", "2", "app"], "--replicas: expected 1"),
        (["k8s", "--image", "a", "--bind", "*:1", "app"], "binds: expected seeds beside it, or --replicas 1, because"),
        (["compose", "--image", "a", "--bind", "*:1"], "because each of 2 containers would be a network of its own"),
        (["k8s", "--image", "a", "--seed", "dir:/s", "app"], "seeds: expected addresses of TCP"),
        (["slurm"], "unit slurm: expected MODULE"),
        (["slurm", "--id", "ruth", "app"], "node_id: expected none"),
        (["slurm", "--bind", "*:4040", "app"], "binds: expected none"),
        (["slurm", "--profile", "told", "app"], "advertise: expected none"),
        (["slurm", "--profile", "probed", "app"], "health: expected none"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "profiles.toml").write_text(
        '[profile.told]\nadvertise = ["a:1"]\n[profile.probed]\nhealth = "127.0.0.1:1"\n'
    )
    assert text in refused(capsys, *words)


def test_several_processes_run_it_as_trio_mp_run_does(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "systemd", "--workers", "4", "--restart", "always", "app", "--workers")
    assert lines_of(unit, "ExecStart")[0].endswith(" run --workers 4 --restart always app --workers")
    # Their own time, and that of who waits for them.
    assert lines_of(unit, "TimeoutStopSec") == [str(25 + 2 * 5 + 3 * 5 + 1 + 10)]
    unit = printed(capsys, "k8s", "--image", "app:1", "--workers", "2", "app")
    assert '            - run\n            - "--workers"\n            - "2"\n            - app\n' in unit


def test_names_come_from_the_node_the_profile_or_the_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "profiles.toml").write_text("[profile.eggs]\n")
    common = ("--secret-file", "/s", "--seed", "a")
    for words, name in (
        (("--name", "spam", "--id", "ruth", "--profile", "eggs", "app.main:run"), "spam"),
        (("--id", "ruth/1", "--profile", "eggs", "app.main:run"), "ruth-1"),
        (("--profile", "eggs", "app.main:run"), "eggs"),
        (("app.main:run",), "app.main"),
        (("./app.py",), "app"),
        ((), "trio-mp-seed"),
    ):
        assert lines_of(printed(capsys, "systemd", *common, *words), "Description") == [f"{name}, a node of trio_mp"]


# systemd --------------------------------------------------------------------------------------------------------------


SHORT = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def unquoted(text: str, *, command: bool = False) -> list[str]:
    """Words as the manual systemd.syntax(7) says that they are read, and systemd.unit(5) and systemd.service(5)."""
    text = text.replace("%%", "%")
    words = []
    for quoted_word, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text, re.DOTALL):
        words.append(plain or re.sub(r"\\(.)", lambda found: SHORT[found[1]], quoted_word))
    return [word.replace("$$", "$") if command else word for word in words]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t$%\\\"'; ")), max_size=4))
@example([ODD])
@example(["", ";", "a b", "%d", "${HOME}", "$$", "%%", "\\"])
def test_systemd_reads_words_as_they_were(words: list[str]) -> None:
    for command in (True, False):
        line = " ".join(quoted(word, command=command) for word in words)
        assert "\n" not in line
        assert unquoted(line, command=command) == words


def test_systemd_has_no_control_characters() -> None:
    with pytest.raises(ConfigurationError, match=r"without control characters, as systemd wants it, got '\\x1b'"):
        quoted("\x1b[31m")


SYSTEMD = {
    "seed": ["--bind", "*:4040", "--secret-file", "/etc/app/secret"],
    "odd": ["--bind", "*:443", "--user", "app", "--secret-file", "/etc/app/secret", "app", ODD],
    "unix": ["--bind", "unix:/run/app/s", "--secret-file", "/etc/app/secret", "app"],
    "directory": ["--user", "app", "--seed", "dir:/srv/app", "--secret-file", "/s", "app"],
    "socket": ["--bind", "*:4040,[::1]:4041", "--socket", "--secret-file", "/s", "app"],
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_accepts_the_units(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    units = []
    for name, words in SYSTEMD.items():
        units.append(folder / f"{name}.service")
        units[-1].write_text(printed(capsys, "systemd", "--name", name, "--directory", str(folder), *words))
        if "--socket" in words:
            units.append(folder / f"{name}.socket")
            units[-1].write_text(printed(capsys, "socket", "--name", name, *words[:2], *words[3:]))
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    # It complains of units of the machine, too.
    said = [line for line in done.stderr.splitlines() if any(unit.name in line for unit in units)]
    assert (done.returncode, said) == (0, []), done.stderr
    # What is left is what a node needs: sockets, users, and the processes of its own.
    security = ["systemd-analyze", "--no-pager", "security", "--offline=yes", "--threshold=20", str(units[0])]
    done = subprocess.run(security, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_a_unit_that_systemd_starts_by_a_socket(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--bind", "*:4040,[::1]:4041", "--secret-file", "/s", "app")
    socket = printed(capsys, "socket", *words)
    assert lines_of(socket, "ListenStream") == ["4040", "[::1]:4041"]
    service = printed(capsys, "systemd", "--socket", *words)
    assert "TRIO_MP_BINDS=fd:node" in lines_of(service, "Environment")
    assert lines_of(service, "Requires") == ["app.socket"]
    assert lines_of(socket, "FileDescriptorName") == ["node"]
    seed = printed(capsys, "socket", "--secret-file", "/s")
    assert lines_of(seed, "ListenStream") == ["4040"]
    unix = printed(capsys, "socket", "--user", "app", "--bind", "unix:/run/a/s", "--secret-file", "/s", "app")
    assert lines_of(unix, "ListenStream") == ["/run/a/s"]
    assert (lines_of(unix, "SocketUser"), lines_of(unix, "SocketMode")) == (["app"], ["0600"])


def test_a_node_whose_secret_is_away_for_a_moment_is_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 2, as for any setting that is wrong."""
    unit = printed(capsys, "systemd", "--seed", "a", "--secret-file", "/s", "app")
    assert lines_of(unit, "Restart") == ["on-failure"]
    assert lines_of(unit, "RestartPreventExitStatus") == []


def test_a_program_without_a_network_tells_systemd_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    unit = printed(capsys, "systemd", "app")
    assert lines_of(unit, "Type") == ["exec"]
    assert lines_of(unit, "WatchdogSec") == lines_of(unit, "LoadCredential") == []


async def test_what_a_unit_says_is_what_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """This plays systemd: it starts what the unit says, hears that it is ready and lives, and stops it."""
    (folder / "app.py").write_text(
        "import trio\nasync def main(node, word):\n    print(node.id, word)\n    await trio.sleep_forever()\n"
    )
    (folder / "secret").write_text("0123456789abcdef\n")
    (folder / "secret").chmod(0o600)
    options = ("--user", "app", "--id", "ruth", "--bind", f"unix:{folder}/s", "--secret-file", "secret")
    unit = printed(capsys, "systemd", *options, "app", ODD)
    words = unquoted(lines_of(unit, "ExecStart")[0], command=True)
    variables = dict(unquoted(line)[0].split("=", 1) for line in lines_of(unit, "Environment"))
    manager = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
    with manager:
        await manager.bind(f"{folder}/notify")
        process = await trio.lowlevel.open_process(
            words,
            cwd=lines_of(unit, "WorkingDirectory")[0],
            env={
                **{name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"},
                **variables,
                "NOTIFY_SOCKET": f"{folder}/notify",
                "WATCHDOG_USEC": f"{int(lines_of(unit, 'WatchdogSec')[0]) * 1_000_000}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        heard = b""
        try:
            with trio.fail_after(30):
                while not {b"READY=1", b"WATCHDOG=1"} <= set(heard.split(b"\n")):
                    heard += await manager.recv(10_000) + b"\n"
                process.terminate()
                assert await process.wait() == 0
                assert process.stdout is not None
                assert await process.stdout.receive_some() == f"ruth {ODD}\n".encode()
        finally:
            process.kill()


def test_what_a_unit_protects_fits_what_the_node_uses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "app.py").touch()
    common = ("systemd", "--secret-file", "/etc/app/secret")
    here = printed(capsys, *common, "--bind", "*:443", "app:main")
    assert lines_of(here, "WorkingDirectory") == [str(folder.resolve())]
    assert lines_of(here, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    installed = printed(capsys, *common, "--bind", "*:4040", "other:main")
    assert lines_of(installed, "WorkingDirectory") == []
    assert lines_of(installed, "CapabilityBoundingSet") == [""]
    own = printed(capsys, *common, "--directory", "/opt/app", "--bind", "unix:/run/eggs/s", "app")
    assert lines_of(own, "WorkingDirectory") == ["/opt/app"]
    assert lines_of(own, "RuntimeDirectory") == ["eggs"]
    ruths = ("--user", "ruth", "--seed", "unix:/tmp/eggs/s", "--directory", "/home/ruth")
    shared = printed(capsys, *common, *ruths, "app")
    assert lines_of(shared, "User") == ["ruth"]
    assert lines_of(shared, "ReadWritePaths") == ["/tmp/eggs"]
    assert lines_of(shared, "PrivateTmp") == ["no"]
    assert lines_of(shared, "ProtectHome") == ["read-only"]
    assert "TRIO_MP_SECRET_FILE=/etc/app/secret" in lines_of(shared, "Environment")
    assert lines_of(shared, "LoadCredential") == []


def test_a_unit_shows_the_node_the_files_that_it_reads_and_the_folders_that_it_writes_to(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("systemd", "--directory", "/opt/app", "--bind", "*:1")
    monkeypatch.setattr("trio_mp.cli.unit.main._command", lambda: ["/opt/app/bin/trio-mp"])
    ruths = printed(capsys, *common, "--user", "ruth", "--secret-file", "/home/ruth/secret", "app")
    assert lines_of(ruths, "ProtectHome") == ["read-only"]
    # systemd reads it.
    assert lines_of(printed(capsys, *common, "--secret-file", "/home/ruth/secret", "app"), "ProtectHome") == ["yes"]
    (folder / "profiles.toml").write_text('[profile.probed]\nhealth = "unix:/run/eggs/health"\n')
    probed = printed(capsys, *common, "--profile", "probed", "--secret-file", "/s", "app")
    assert lines_of(probed, "RuntimeDirectory") == ["eggs"]
    written = printed(capsys, *common, "--user", "ruth", "--seed", "dir:/srv/my job", "--secret-file", "/s", "app")
    assert "#   install -d -m 0700 -o ruth '/srv/my job'\n" in written


def test_a_certificate_is_files_as_the_secret_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_MP_CERTIFICATE", '{chain = "/a/n.pem", key = "/a/n.key", authority = "/a/a.pem"}')
    unit = printed(capsys, "systemd", "--seed", "a", "app")
    assert lines_of(unit, "LoadCredential") == ["chain:/a/n.pem", "key:/a/n.key", "authority:/a/a.pem"]
    variable = '{\\"chain\\" = \\"%d/chain\\", \\"key\\" = \\"%d/key\\", \\"authority\\" = \\"%d/authority\\"}'
    assert f'"TRIO_MP_CERTIFICATE={variable}"' in lines_of(unit, "Environment")
    unit = printed(capsys, "systemd", "--user", "ruth", "--seed", "a", "app")
    assert lines_of(unit, "LoadCredential") == []
    assert "/a/n.key" in "".join(lines_of(unit, "Environment"))


# Containers -----------------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("$({})a"), max_size=8))
def test_dollars_stay_dollars(text: str) -> None:
    assert in_compose(compose.dollars(text)) == text
    assert in_kubernetes(kubernetes.dollars(text)) == text


def test_a_program_with_a_node_id_never_runs_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """That the files pass their schemas is tested where these are."""
    common = ("k8s", "--image", "app:1", "--seed", "seed.example:4040")
    alike = printed(capsys, *common, "app:main")
    assert "kind: Deployment\n" in alike
    assert "  replicas: 3\n" in alike
    one = printed(capsys, *common, "--id", "ruth", "app:main")
    assert "kind: Deployment\n" not in one
    assert "kind: StatefulSet\n" in one
    assert "  replicas: 1\n" in one
    one = printed(capsys, "compose", *common[1:], "--id", "ruth", "app:main")
    assert "replicas: 1\n" in one


def test_the_file_for_compose_is_not_for_swarm(capsys: pytest.CaptureFixture[str]) -> None:
    """Swarm kills who is not healthy, and a node whose network is away for a while is not ready."""
    text = printed(capsys, "compose", "--image", "app:1", "app")
    assert '- "--ready"\n' in text
    assert "Swarm" not in text
    assert "update_config" not in text


# Slurm ----------------------------------------------------------------------------------------------------------------

SRUN = """\
#!/bin/bash
# As srun starts the tasks of a job on one machine, and waits for all of them.
while [[ $1 == --* ]]; do shift; done
for ((SLURM_PROCID = 0; SLURM_PROCID < 2; SLURM_PROCID++)); do
    export SLURM_PROCID
    "$@" &
    echo $! >"task-$SLURM_PROCID"
    tasks+=($!)
done
status=0
for task in "${tasks[@]}"; do wait "$task" || status=$?; done
exit "$status"
"""

TASK = """\
import os, stat
from pathlib import Path
import trio

async def main(node, word):
    with trio.fail_after(15):
        await run(node, word)

async def run(node, word):
    number = os.environ["SLURM_PROCID"]
    async with node.watch_nodes() as changes:
        async for change in changes:
            if change.node_id != node.id:
                break
    mode = stat.S_IMODE(os.stat(os.environ["TRIO_MP_SECRET_FILE"]).st_mode)
    Path(f"done-{number}").write_text(f"{node.id} {word} {mode:o} {os.environ.get('TRIO_MP_CALL_LIMIT')} {os.getpid()}")
    while not all(Path(f"done-{one}").exists() for one in (0, 1)):
        await trio.sleep(0.02)
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_tasks_of_a_job_are_a_network_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder /= "a,b"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.sh").write_text(printed(capsys, "slurm", "--name", "eggs", "--tasks", "2", "task", ODD))
    left = folder / ".eggs-7"
    left.mkdir()
    programs = folder / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    environ = {
        **{name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"},
        "PATH": f"{programs}:{os.environ['PATH']}",
        # What the user has set for something else is for no task.
        "TRIO_MP_CALL_LIMIT": "5",
        "TRIO_MP_SEEDS": "nobody.example",
        "SLURM_JOB_ID": "7",
    }
    done = subprocess.run(
        ["bash", "job.sh"], capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=environ
    )
    assert done.returncode == 0, done.stderr
    for number in (0, 1):
        # SIGTERM is sent to the process that srun has started, which is the node.
        started = (folder / f"task-{number}").read_text().strip()
        assert (folder / f"done-{number}").read_text() == f"eggs/{number} {ODD} 600 None {started}"
    # Nothing is left of the job, above all not its secret.
    assert not list(folder.glob(".eggs-*"))
