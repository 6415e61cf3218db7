"""`trio-mp secret rotate`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from command_lines import environment, run_command

from trio_mp._peers.secret_file import read_secret_file
from trio_mp.cli import main

OLD = b"0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(OLD + b"\n")
    path.chmod(0o600)
    return path


def rotate(file: Path, *words: str) -> int:
    # As if the last step had been done an hour ago.
    os.utime(file, (time.time() - 3600, time.time() - 3600))
    return main(["secret", "rotate", "--file", str(file), *words])


def in_force(file: Path) -> tuple[bytes, ...]:
    found = read_secret_file(str(file))
    assert not found.warning
    return found.secrets


def test_without_a_step_nothing_is_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert rotate(file) == 0
    assert file.read_bytes() == before
    told = capsys.readouterr()
    assert told.out == f"{file.resolve()}: it holds one secret, and no rotation is under way\n"
    assert f"`trio-mp secret rotate --file {file.resolve()} --step 1` begins one" in told.err


def test_three_steps_each_of_which_can_be_repeated(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rotate(file, "--step", "1") == 0
    old, new = in_force(file)
    assert (old, len(new)) == (OLD, 32)
    # Without a step it only says where the rotation stands.
    for words in ((), ("--step", "1")):
        assert rotate(file, *words) == 0
        assert in_force(file) == (old, new)
    told = capsys.readouterr()
    assert told.out == f"{file.resolve()}: step 1 of 3: nodes dial with the old secret, and accept both\n" * 3
    assert told.err.count(f"run `trio-mp secret rotate --file {file.resolve()} --step 2`") == 3
    for _ in range(2):
        assert rotate(file, "--step", "2") == 0
        assert in_force(file) == (new, old)
    assert rotate(file) == rotate(file, "--step", "1") == 0
    assert in_force(file) == (new, old)
    told = capsys.readouterr()
    assert told.out == f"{file.resolve()}: step 2 of 3: nodes dial with the new secret, and accept both\n" * 4
    for _ in range(2):
        assert rotate(file, "--step", "3") == 0
        assert in_force(file) == (new,)
    told = capsys.readouterr()
    assert told.out == f"{file.resolve()}: it holds one secret, and no rotation is under way\n" * 2
    assert "restart the nodes" in told.err
    # A second rotation.
    assert rotate(file, "--step", "1") == 0
    first, second = in_force(file)
    assert first == new != second


def test_no_secret_is_shown_and_the_permissions_stay(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: set[bytes] = set()
    for step in ("1", "2", "3"):
        assert rotate(file, "--step", step, "--json") == 0
        seen |= set(in_force(file))
        if sys.platform != "win32":
            assert file.stat().st_mode & 0o777 == 0o600
    told = capsys.readouterr()
    assert [json.loads(line)["step"] for line in told.out.splitlines()] == [1, 2, 0]
    assert len(seen) == 2
    assert not any(secret.decode() in told.out + told.err for secret in seen)


def test_no_step_is_left_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rotate(file, "--step", "2") == 1
    assert "expected step 1 before step 2, got it holds one secret" in capsys.readouterr().err
    assert in_force(file) == (OLD,)
    rotate(file, "--step", "1")
    before = in_force(file)
    assert rotate(file, "--step", "3") == 1
    assert "expected step 2 before step 3, got step 1 of 3" in capsys.readouterr().err
    assert in_force(file) == before


def test_a_step_waits_until_nodes_have_read_the_last_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rotate(file, "--step", "1")
    almost = time.time() - 7.7
    os.utime(file, (almost, almost))
    assert main(["secret", "rotate", "--file", str(file), "--step", "2"]) == 0
    assert time.time() - almost >= 8
    assert "waiting for 0 s, until nodes of this machine have read the last step" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, text",
    [
        (b"\n", "expected 1 to 8 secrets, one a line, got 0"),
        (b"short\n", "line 1: expected a secret of at least 16 bytes, got 5"),
        (b"0123456789abcdef\nfedcba9876543210\n", "got 0 empty lines; put one there if the second secret is the new"),
        (b"0123456789abcde1\n0123456789abcde2\n0123456789abcde3\n", "expected one secret, or two"),
    ],
)
def test_a_file_that_cannot_be_rotated_is_left_as_it_is(
    file: Path, content: bytes, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(content)
    assert rotate(file) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert text in told.err
    assert told.err.count("\n") == 1
    assert file.read_bytes() == content


def test_the_file_of_the_profile_behind_a_link_as_a_process(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "profiles.toml").write_text('[profile.a]\nsecret_file = "link"\n')
    variables = environment(TRIO_MP_CONFIG=str(tmp_path / "profiles.toml"))
    said = run_command("secret", "rotate", "--profile", "a", "--step", "1", cwd=tmp_path, env=variables)
    assert (said.returncode, said.stdout.startswith(f"{file.resolve()}: step 1 of 3")) == (0, True)
    assert (tmp_path / "link").is_symlink()
    assert in_force(file)[0] == OLD
    said = run_command("secret", "rotate", cwd=tmp_path, env=variables)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "trio-mp: secret rotate: expected a secret_file in the profile, got none; give --file PATH\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_root_changes_keeps_its_owner(file: Path) -> None:
    try:
        os.chown(file, 4040, 4041)
    except OSError:
        pytest.skip("this namespace has one user")
    assert rotate(file, "--step", "1") == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (4040, 4041)
