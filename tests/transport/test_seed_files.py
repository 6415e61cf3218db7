"""The files in a directory of seeds: what is written, and what harm the files of others can do."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from trio_mp._transport import seed_files
from trio_mp._transport.addresses import TCPAddress, UnixAddress
from trio_mp._transport.seed_files import (
    LARGEST,
    MOST_ADDRESSES,
    MOST_READ,
    SeedFile,
    name_of,
    read_seed_files,
    remove_seed_files,
    renew_seed_file,
    write_seed_file,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions, links and pipes of POSIX")

NOW = 1_700_000_000.0
RUN = "AAAAAAAAAAAAAAAA"


def run_of(number: int) -> str:
    return f"{number:016d}"


def file_of(run: str = RUN, *, renewed_at: float = NOW) -> SeedFile:
    addresses = (TCPAddress("10.0.0.1", 4040), UnixAddress("/run/eggs"))
    return SeedFile(run, "eggs/1", addresses, NOW - 10, renewed_at)


def read(folder: Path) -> tuple[SeedFile, ...]:
    return read_seed_files(str(folder), old_before=NOW - 100).files


def faults_in(folder: Path) -> tuple[str, ...]:
    return read_seed_files(str(folder), old_before=NOW - 100).faults


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    write_seed_file(str(folder), file_of())
    assert read(folder) == (file_of(),)
    assert [path.name for path in folder.iterdir()] == [name_of(RUN)], "what was written aside is renamed"
    # Each run has a file of its own.
    write_seed_file(str(folder), file_of(run_of(1)))
    write_seed_file(str(folder), file_of(renewed_at=NOW + 5))
    assert read(folder) == (file_of(run_of(1)), file_of(renewed_at=NOW + 5))
    remove_seed_files(str(folder), [RUN, run_of(7)])
    assert read(folder) == (file_of(run_of(1)),)


@posix
def test_nobody_else_can_read_it_or_the_directory(tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    before = os.umask(0)
    try:
        write_seed_file(str(folder), file_of())
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / name_of(RUN)).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_renewed_and_is_not_made_by_that(tmp_path: Path) -> None:
    write_seed_file(str(tmp_path), file_of())
    assert renew_seed_file(str(tmp_path), RUN, NOW + 50)
    assert read(tmp_path) == (file_of(renewed_at=NOW + 50),)
    assert not renew_seed_file(str(tmp_path), run_of(1), NOW)
    assert read(tmp_path) == (file_of(renewed_at=NOW + 50),)


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        write_seed_file(str(tmp_path / "no" / "parent"), file_of())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        read(tmp_path / "file")
    with pytest.raises(OSError, match="directory"):
        write_seed_file(str(tmp_path / "file"), file_of())


@posix
def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "utime", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_seed_file(str(tmp_path), file_of())
    assert list(tmp_path.iterdir()) == []


@posix
def test_the_time_of_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    os.utime(victim, (NOW, NOW))
    (tmp_path / name_of(RUN)).symlink_to(victim)
    renew_seed_file(str(tmp_path), RUN, NOW + 50)
    assert victim.stat().st_mtime == NOW


@posix
def test_a_link_in_the_place_of_what_is_written_aside_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "seeds"
    folder.mkdir()
    (folder / f".{RUN}.tmp").symlink_to(victim)
    (folder / name_of(RUN)).symlink_to(victim)
    write_seed_file(str(folder), file_of())
    assert victim.read_text() == "precious"
    assert read(folder) == (file_of(),)


GOOD = {"run": RUN, "node": "eggs", "since": 5, "addresses": ["10.0.0.1:4040"]}


@pytest.mark.parametrize(
    "content, fault",
    [
        (b"", "is no file of a node"),
        (b"\x00\xff\xfe" * 100, "is no file of a node"),
        (b"[" * LARGEST, "is no file of a node"),
        (b'{"run": 1e999}', "is no file of a node"),
        (json.dumps(GOOD).encode() + b" " * LARGEST, f"has more than {LARGEST} bytes"),
        (json.dumps({**GOOD, "run": run_of(1)}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "node": "not an ID"}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "since": "now"}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "since": float("nan")}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "since": 10**400}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": []}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": [4040]}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": ["*:4040"]}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": ["dir:/elsewhere"]}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": ["unix:/\x1b[2J"]}).encode(), "is no file of a node"),
        (json.dumps({**GOOD, "addresses": ["unix:/\ud800"]}).encode(), "is no file of a node"),
        (json.dumps([GOOD]).encode(), "is no file of a node"),
    ],
)
def test_a_broken_file_is_named_and_the_others_are_read(tmp_path: Path, content: bytes, fault: str) -> None:
    write_seed_file(str(tmp_path), file_of(run_of(5)))
    (tmp_path / name_of(RUN)).write_bytes(content)
    assert read(tmp_path) == (file_of(run_of(5)),)
    assert faults_in(tmp_path) == (f"{name_of(RUN)} {fault}",)


def test_what_has_another_name_is_none_of_our_business(tmp_path: Path) -> None:
    for name in ("README", "eggs.node", f"{RUN}.node~", ".tmp", f"{RUN}x.node"):
        (tmp_path / name).write_bytes(b"x" * 10_000)
    assert read_seed_files(str(tmp_path), old_before=time.time() + 100) == seed_files.SeedFiles()
    assert len(list(tmp_path.iterdir())) == 5


@posix
def test_links_pipes_and_directories_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "target").write_text(json.dumps(GOOD))
    (tmp_path / name_of(run_of(1))).symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / name_of(run_of(2)))
    (tmp_path / name_of(run_of(3))).mkdir()
    (tmp_path / name_of(run_of(4))).symlink_to("/dev/zero")
    assert read(tmp_path) == ()
    assert faults_in(tmp_path) == tuple(f"{name_of(run_of(one))} is no regular file" for one in (1, 2, 3, 4))


@posix
@pytest.mark.parametrize("kind", ["a link", "a pipe"])
def test_a_file_that_becomes_something_else_after_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write_seed_file(str(tmp_path), file_of())
    (tmp_path / "target").write_text(json.dumps(GOOD))
    opened = os.open

    def exchange(path: Path, flags: int) -> int:
        path.unlink()
        if kind == "a link":
            path.symlink_to(tmp_path / "target")
        else:
            os.mkfifo(path)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", exchange)
    assert len(faults_in(tmp_path)) == 1


@posix
def test_the_files_of_other_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_seed_file(str(tmp_path), file_of())
    (tmp_path / f".{RUN}.tmp").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert read(tmp_path) == ()
    assert f"{name_of(RUN)} is another user's" in faults_in(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_many_files_are_not_all_read(tmp_path: Path) -> None:
    for number in range(MOST_READ + 10):
        write_seed_file(str(tmp_path), file_of(run_of(number), renewed_at=NOW + number))
    # Those that were renewed last, in the order of their runs.
    assert [file.run for file in read(tmp_path)] == [run_of(number) for number in range(10, MOST_READ + 10)]
    many = [f"10.0.0.{number}:1" for number in range(100)]
    (tmp_path / name_of(RUN)).write_text(json.dumps({**GOOD, "addresses": many}))
    (file,) = [file for file in read(tmp_path) if file.run == RUN]
    assert len(file.addresses) == MOST_ADDRESSES


def test_what_killed_nodes_have_half_written_is_removed_when_it_is_old(tmp_path: Path) -> None:
    for run, age in ((run_of(1), 200), (run_of(2), 50)):
        (tmp_path / f".{run}.tmp").write_text("{")
        os.utime(tmp_path / f".{run}.tmp", (NOW - age, NOW - age))
    assert read(tmp_path) == ()
    assert [path.name for path in tmp_path.iterdir()] == [f".{run_of(2)}.tmp"]
