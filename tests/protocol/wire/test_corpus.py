"""What the fuzzer has found worth keeping, and what it begins with, tried again: see `tests/fuzzing`."""

from __future__ import annotations

import hashlib

import pytest
from fuzzing.campaign import CORPUS, kept_inputs
from fuzzing.conversation import LOCAL, NONCE, Driver, Setup, make_session, stream_of
from fuzzing.cutting import pieces_of
from fuzzing.encrypted import INSIDE
from fuzzing.seeds import SEEDS, frames_of, json_of, seeds
from fuzzing.targets import TARGETS

each_target = pytest.mark.parametrize("name", TARGETS)


def try_input(name: str, data: bytes, source: str) -> None:
    try:
        TARGETS[name](data)
    except BaseException as error:
        error.add_note(f"{source}: {data!r}")
        raise


@each_target
def test_what_the_fuzzer_has_kept(name: str) -> None:
    for path in kept_inputs(name):
        try_input(name, path.read_bytes(), str(path))


@each_target
def test_what_the_fuzzer_begins_with(name: str) -> None:
    for index, data in enumerate(seeds(name)):
        try_input(name, data, f"seed {index}")


@each_target
def test_nothing_at_all(name: str) -> None:
    for data in (b"", b"\0", b"\0\0", b"\0\0\0", bytes(range(256))):
        try_input(name, data, "written by hand")


def test_every_target_has_seeds_and_a_corpus() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(kept_inputs(name) for name in TARGETS)


def test_the_corpus_is_small_and_named_by_hash() -> None:
    paths = [path for name in TARGETS for path in kept_inputs(name)]
    assert len(paths) < 1000
    assert sum(path.stat().st_size for path in paths) < 1_000_000
    for path in paths:
        # Also shows that no tool has changed the ends of lines in it.
        assert path.name.split("-")[-1] == hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(), path


@pytest.mark.parametrize("dialler", [True, False])
@pytest.mark.parametrize("framing", [Setup(0), Setup.JSON])
@pytest.mark.parametrize("side", [Setup(0), Setup.GREATER])
def test_the_right_proof_opens_a_session(dialler: bool, framing: Setup, side: Setup) -> None:
    """Else the fuzzer would never see a frame."""
    batch = (("", "ping"), ("abc", 1))
    said = (b"link\n" if side else b"ok\n") + (json_of(batch) if framing else frames_of(batch))
    driver = Driver(make_session(LOCAL, NONCE, dialler=dialler))
    stream = stream_of(Setup.GREETING | Setup.PROOF | framing | side, said, dialler=dialler)
    outcome = driver.run(pieces_of(stream, 0))
    assert not outcome.error
    assert driver.session.open
    assert outcome.events[-1] == "(('abc', 1), None)"
    # Without the proof, nothing.
    stranger = Driver(make_session(LOCAL, NONCE, dialler=dialler))
    assert stranger.run([stream_of(Setup.GREETING | framing | side, said, dialler=dialler)]).error
    assert not stranger.authenticated


@pytest.mark.parametrize("server", [Setup(0), Setup.TLS_SERVER])
def test_what_is_said_within_tls_arrives(server: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[bool] = []
    run = Driver.run

    def watched(self: Driver, pieces: list[bytes]) -> object:
        outcome = run(self, pieces)
        ends.append(self.session.open and outcome.events[-1:] == ("(('', 'ping'), Ping())",))
        return outcome

    monkeypatch.setattr(Driver, "run", watched)
    TARGETS["tls"](bytes([server | Setup.PROOF, 9, INSIDE]) + b"ok\n" + frames_of((("", "ping"),)))
    assert any(ends)
