"""`trio-mp check`."""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest
import trio
from command_lines import environment, run_command

from trio_mp import make_authority, make_certificate, open_node
from trio_mp._transport import certificates, issuing, sockets
from trio_mp.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX, and Unix sockets")

SECRET = "0123456789abcdef"

LONG = f"{'x' * 64}.example"
"""A name that nobody has, which is known without asking anybody."""


@pytest.fixture
def folder(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(short_directory)
    monkeypatch.syspath_prepend(short_directory)
    monkeypatch.setenv("TRIO_MP_CONFIG", str(short_directory / "profiles.toml"))
    secret = short_directory / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    (short_directory / "spam_service.py").write_text("def main(node): pass\n")
    (short_directory / "exits.py").write_text("raise SystemExit(5)\n")
    return short_directory


def write(folder: Path, text: str) -> None:
    path = folder / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, tuple[object, str]], list[str]]:
    """The exit status, the settings with their sources, and what is wrong."""
    status = main(["check", "--json", *words])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    settings = {row["setting"]: (row["value"], row["from"]) for row in rows if "setting" in row}
    return status, settings, [row["wrong"] for row in rows if "wrong" in row]


GOOD = """\
use = "ruth"
[default]
secret_file = "secret"
seeds = ["unix:seed"]
[profile.ruth]
node_id = "ruth"
binds = ["unix:ruth"]
services = ["spam_service"]
"""


def test_nothing_is_wrong_and_nothing_is_left_behind(folder: Path) -> None:
    write(folder, GOOD)
    before = sorted(path.name for path in folder.iterdir())
    said = run_command("check", "--id", "eggs", cwd=folder, env=environment(TRIO_MP_SECRET=SECRET))
    assert said.returncode == 0
    assert [line.split()[0] for line in said.stdout.splitlines()[2:]] == [
        *("node_id", "secret", "binds", "services", "seeds")
    ]
    assert re.search("^node_id +eggs +--id$", said.stdout, re.MULTILINE)
    assert SECRET not in said.stdout + said.stderr
    assert "(hidden)" in said.stdout
    assert said.stderr.endswith("trio-mp: all is well\n")
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == before


def test_all_that_is_wrong_is_said_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        folder,
        '[default]\nheartbeats = 1\nheartbeat = 99\nconnect_timeout = 5\n[profile.ruth]\nnode_id = "a b"\n'
        'services = ["no_such_module", "spam_service:other", "exits"]\nspawn_modules = ["no_such_module"]\n'
        f'seeds = ["unix:no/such/folder/seed", "{LONG}:4040"]\nsecret_file = "nothing"\n'
        'health = "unix:no/such/folder/health"\n',
    )
    monkeypatch.setenv("TRIO_MP_HEARTBEET", "1")
    monkeypatch.setenv("TRIO_MP_CALL_LIMIT", "many")
    file = folder / "profiles.toml"
    status, settings, wrong = check(capsys, "--profile", "ruth")
    assert status == 1
    assert settings["connect_timeout"] == (5, f"{file}: default.connect_timeout")
    expected = [
        "TRIO_MP_HEARTBEET: there is no such setting; did you mean TRIO_MP_HEARTBEAT?",
        "TRIO_MP_CALL_LIMIT: expected a whole number, got 'many'",
        f"{file}: profile.ruth.node_id: expected 1 to 255 of the characters",
        f"{file}: default.heartbeats: there is no such setting (did you mean heartbeat?)",
        f"{file}: default.heartbeat: expected 0.1 to 60 seconds, got 99",
        "heartbeat: expected less than a third of the connect_timeout of 5 s, got 5 s; lower the one or raise the",
        f"{file}: profile.ruth.services: services[0]: cannot import 'no_such_module'",
        f"{file}: profile.ruth.services: services[1]: expected a function other(node) in the module spam_service",
        f"{file}: profile.ruth.services: importing a module ends the program: SystemExit: 5",
        f"{file}: profile.ruth.spawn_modules: spawn_modules: cannot import 'no_such_module'",
        f"{file}: profile.ruth.seeds: unix:no/such/folder/seed: there is no folder {Path.cwd()}/no/such/folder",
        f"{file}: profile.ruth.seeds: {LONG}:4040: the name cannot be resolved: ",
        f"{file}: profile.ruth.secret_file: secret_file: {folder}/nothing: cannot be read: No such file or directory",
        f"{file}: profile.ruth.health: cannot listen on unix:no/such/folder/health: No such file or directory",
    ]
    assert len(wrong) == len(expected)
    for text, beginning in zip(wrong, expected, strict=True):
        assert text.startswith(beginning)


def test_each_variable_is_read_by_itself(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, GOOD)
    monkeypatch.setenv("TRIO_MP_CALL_LIMIT", "many")
    monkeypatch.setenv("TRIO_MP_PORT_LIMIT", "few")
    monkeypatch.setenv("TRIO_MP_HEARTBEAT", "2")
    status, settings, wrong = check(capsys)
    assert status == 1
    assert settings["heartbeat"] == (2, "TRIO_MP_HEARTBEAT")
    assert sorted(text.partition(":")[0] for text in wrong) == ["TRIO_MP_CALL_LIMIT", "TRIO_MP_PORT_LIMIT"]


@pytest.mark.parametrize(
    "content, mode, text",
    [
        ("", 0o600, "expected 1 to 8 secrets, one a line, got 0"),
        (SECRET, 0o644, "got one with the permissions 644; run `chmod 600 "),
    ],
)
def test_a_file_with_secrets_that_is_empty_or_open_to_others(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, mode: int, text: str
) -> None:
    write(folder, GOOD)
    (folder / "secret").write_text(content)
    (folder / "secret").chmod(mode)
    status, _, (wrong,) = check(capsys)
    assert status == 1
    assert wrong.startswith(f"{folder}/profiles.toml: default.secret_file: secret_file: {folder}/secret: ")
    assert text in wrong


async def test_addresses_that_are_taken(folder: Path) -> None:
    write(folder, GOOD)
    async with open_node("ruth", binds=["unix:ruth"], secret=SECRET, profile=False):
        said = run_command("check", "-q", cwd=folder, env=environment())
    assert said.returncode == 1
    assert said.stderr == ""
    wrong = [line for line in said.stdout.splitlines() if line.startswith("wrong: ")]
    place = f"wrong: {os.environ['TRIO_MP_CONFIG']}: profile.ruth.binds: cannot listen on unix:ruth: "
    why = f"something listens there already ({Path.cwd()}/ruth); if the node runs already, that is why"
    assert wrong == [f"{place}{why}"]


def test_a_certificate_of_another_node_one_with_another_key_and_one_that_has_expired(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_authority("authority.pem", "authority.key")
    make_certificate("ruth", "ruth.pem", "ruth.key", authority="authority.pem", authority_key="authority.key")
    make_certificate("eggs", "eggs.pem", "eggs.key", authority="authority.pem", authority_key="authority.key")
    now = certificates.utc_now()
    monkeypatch.setattr(issuing, "utc_now", lambda: now - datetime.timedelta(days=10))
    make_certificate("ruth", "old.pem", "old.key", authority="authority.pem", authority_key="authority.key", days=3)
    place = f"{folder}/profiles.toml: profile.ruth.certificate: certificate: {folder}"
    for chain, key, text in (
        ("ruth", "ruth", ""),
        (
            "eggs",
            "eggs",
            f"{place}/eggs.pem: expected a certificate that names this node, ruth, got one that names eggs",
        ),
        (
            "ruth",
            "eggs",
            f"{place}/eggs.key: expected the key of the certificate in {folder}/ruth.pem, got another key",
        ),
        ("old", "old", f"{place}/old.pem: the certificate expired on "),
    ):
        write(
            folder, f'{GOOD}certificate = {{chain = "{chain}.pem", key = "{key}.key", authority = "authority.pem"}}\n'
        )
        status, _, wrong = check(capsys)
        assert status == (1 if text else 0)
        assert [one[: len(text)] for one in wrong] == ([text] if text else [])


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("[default\n", "expected TOML"),
        ("[profile.a]\nparent = 'b'\n", "profile.a.parent: expected the name of a profile of this file, got 'b'"),
        ("[default]\nsecret = '0123456789abcdef'\n", "got one with the permissions 644; run `chmod 600"),
    ],
)
def test_a_file_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, text)
    (folder / "profiles.toml").chmod(0o644)
    if "profile.a" in text:
        monkeypatch.setenv("TRIO_MP_PROFILE", "a")
    status, _, found = check(capsys)
    assert (status, len(found)) == (1, 1)
    assert found[0].startswith(f"{folder}/profiles.toml: ")
    assert wrong in found[0]


@pytest.mark.parametrize(
    "seed, wrong",
    [
        ("dir:jobs", ""),
        ("dir:new", ""),
        ("dir:no/such/folder", "dir:no/such/folder: there is no folder "),
        ("dir:secret", "dir:secret: the directory cannot be read: Not a directory"),
        ("dir:broken", f"dir:broken: {'A' * 16}.node is no file of a node"),
        ("srv:_app._tcp.example", "srv:_app._tcp.example: the name cannot be resolved: there is no such name"),
        ("srv:two words", "seeds: expected a name of DNS behind 'srv:'"),
    ],
)
def test_directories_and_services_as_seeds(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: str, wrong: str
) -> None:
    async def find_nothing(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOENT, "there is no such name")

    monkeypatch.setattr(sockets, "find_records", find_nothing)
    for name in ("jobs", "broken"):
        (folder / name).mkdir()
    (folder / "broken" / f"{'A' * 16}.node").touch()
    write(folder, GOOD.replace("unix:seed", seed))
    status, _, found = check(capsys)
    assert status == (1 if wrong else 0)
    assert all(wrong in text for text in found)
    assert len(found) == (1 if wrong else 0)
    assert not (folder / "new").exists()


def test_what_is_advertised_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, f'{GOOD}advertise = ["*:4040"]\n')
    status, _, (wrong,) = check(capsys)
    assert status == 1
    assert "advertise: expected addresses that others can dial, got '*:4040'" in wrong
