"""`trio-mp cert`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_lines import environment, run_command

from trio_mp import Certificate, open_node
from trio_mp.cli import main

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX, and Unix sockets")


@pytest.fixture
def folder(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(short_directory)
    return short_directory


def cert(*words: str) -> int:
    return main(["cert", *words])


@posix_only
async def test_two_nodes_find_each_other_by_the_certificates_that_were_made(folder: Path) -> None:
    assert cert("authority") == 0
    assert cert("node", "seed", "--global") == 0
    assert cert("node", "ruth", "ruth/1") == 0
    made = sorted(path.name for path in folder.iterdir())
    assert made == [f"{name}.{suffix}" for name in ("authority", "ruth", "seed") for suffix in ("key", "pem")]
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.key")} == {0o600}
    seed = Certificate("seed.pem", "seed.key", "authority.pem")
    ruth = Certificate("ruth.pem", "ruth.key", "authority.pem")
    async with (
        open_node("seed", binds=["unix:s"], certificate=seed, profile=False),
        open_node("ruth/1", seeds=["unix:s"], certificate=ruth, profile=False) as node,
    ):
        assert await node.call("seed", "info") == ("seed",)


def test_nothing_is_overwritten_without_force_and_nothing_lost_with_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cert("authority", "-q") == 0
    assert cert("node", "-q", "a/b") == 0
    assert capsys.readouterr().err == ""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert sorted(path.name for path in before) == ["a_b.key", "a_b.pem", "authority.key", "authority.pem"]
    for words in (["authority"], ["node", "a/b"]):
        assert cert(*words) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.endswith("is there already, and nothing was changed; --force replaces it\n")
    # What cannot be made replaces nothing.
    assert cert("node", "a/b", "--force", "--days", "0") == 2
    assert capsys.readouterr().err == "trio-mp: days: expected a whole number from 1 to 36500, got 0\n"
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert cert("node", "a/b", "--force") == 0
    assert {path.name for path in folder.iterdir() if path.read_bytes() != before[path]} == {"a_b.key", "a_b.pem"}
    if sys.platform != "win32":
        assert (folder / "a_b.key").stat().st_mode & 0o777 == 0o600


def test_what_is_in_a_file_is_shown_without_the_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cert("authority", "--name", "ours")
    cert("node", "ruth", "eggs", "--global", "--days", "2")
    capsys.readouterr()
    assert cert("show", "--json", "ruth.pem", "authority.pem", "ruth.key") == 0
    node, authority, key = map(json.loads, capsys.readouterr().out.splitlines())
    assert node["nodes"] == ["eggs", "ruth"]
    assert (node["global"], authority["global"]) == (True, False)
    assert (node["valid"], authority["valid"]) == (True, True)
    assert node["issuer"] == authority["subject"] == "CN=ours"
    assert node["expires"].endswith("(in 1 days)")
    assert (node["kind"], authority["kind"]) == ("certificate of nodes", "certificate of an authority")
    assert key == {"file": "ruth.key", "kind": "private key", "key": "EC, secp256r1"}
    assert cert("show", "ruth.key", "ruth.pem") == 0
    told = capsys.readouterr().out
    assert "nodes:      eggs, ruth\n" in told
    assert not any(line in told for line in (folder / "ruth.key").read_text().splitlines())


def test_a_certificate_that_has_expired_is_a_no(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import datetime

    from trio_mp._transport import certificates, issuing

    now = certificates.utc_now()
    monkeypatch.setattr(issuing, "utc_now", lambda: now - datetime.timedelta(days=10))
    cert("authority", "--days", "3")
    capsys.readouterr()
    assert cert("show", "authority.pem") == 1
    told = capsys.readouterr().out
    assert "valid:      no\n" in told
    assert "days ago)\n" in told


@pytest.mark.parametrize(
    "words, text",
    [
        (["node", "a b"], "node ID: expected 1 to 255 of the characters"),
        (["node", "a", "--authority", "nothing"], "No such file or directory: 'nothing'"),
        (["node", "a", "--authority", "words"], "words: expected the certificate of an authority in PEM"),
        (["show", "words"], "words: expected certificates or a private key in PEM, got neither"),
        (["show", "half.pem"], "half.pem: expected whole PEM, got something else"),
        (["show", "nothing"], "No such file or directory: 'nothing'"),
    ],
)
def test_what_cannot_work_is_one_line(
    folder: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "words").write_text("words\n")
    (folder / "half.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert cert(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert text in told.err
    assert told.err.count("\n") == 1


def test_as_a_process(folder: Path) -> None:
    said = run_command("cert", "authority", cwd=folder, env=environment())
    assert (said.returncode, said.stdout) == (0, "made authority.pem\nmade authority.key\n")
    assert said.stderr == (
        "trio-mp: authority.pem goes to all nodes; authority.key makes members of the network, so keep it where no"
        " node runs\n"
    )
