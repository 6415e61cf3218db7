"""The target `tls`: a session with encryption, whose other side does TLS correctly, wrongly or not at all.

TLS has randomness of its own, which Python cannot fix: the same input takes the same way through the package, but its
bytes on the wire differ. The target checks only what the package does with OpenSSL's results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.handshake.session import Session
from trio_mp._transport.throwaway import throwaway_tls
from trio_mp._transport.tls import MemoryTLS

from .conversation import (
    LOCAL,
    NONCE,
    SOONER,
    Driver,
    Setup,
    greeting_of,
    make_session,
    our_greeting,
    peer_greeting,
    with_proof,
)
from .cutting import Outcome, check_agreement, pieces_of

RAW, INSIDE, CHANGED = range(3)
"""The values of the third byte: the rest replaces TLS; is sent inside TLS; or changes what the other side sends."""


class Flights:
    """The flights of TLS between an honest other side and the session, one at a time.

    Attributes:
      peer: the other side's TLS.
    """

    def __init__(self, driver: Driver, *, server: bool) -> None:
        self._driver = driver
        self.peer: MemoryTLS = throwaway_tls(not server)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the flights of the other side's TLS, until it has nothing more to say."""
        session = self._driver.session
        flight = self.peer.start()
        for _ in range(5):
            if flight:
                yield flight
            said = bytes(session.outgoing)
            session.outgoing.clear()
            if not said and not flight:
                return
            try:
                flight = self.peer.receive(said)[1]
            except RemoteProtocolError:
                # The session has refused the flight with an alert.
                return


def _begun(setup: Setup, *, dialler: bool) -> Driver:
    """Return a session that has read the greeting and begun TLS."""
    driver = Driver(make_session(LOCAL, NONCE, dialler=dialler, encryption=True))
    driver.session.outgoing.clear()
    outcome = driver.run([peer_greeting(setup, encryption=True)])
    assert not outcome.error
    assert driver.session.handshake.tls_server is (Setup.TLS_SERVER in setup)
    return driver


def _raw(setup: Setup, pieces: Iterable[bytes], *, dialler: bool) -> tuple[Outcome, Session]:
    driver = _begun(setup, dialler=dialler)
    return driver.run(pieces), driver.session


def _inside(setup: Setup, body: bytes, seed: int | None, *, dialler: bool) -> Outcome:
    """Send bytes inside TLS, from the proof on, in one piece if there is no seed; return the outcome."""
    driver = _begun(setup, dialler=dialler)
    flights = Flights(driver, server=Setup.TLS_SERVER in setup)
    for flight in flights:
        assert not driver.run([flight]).error
    fingerprint = flights.peer.fingerprint
    assert len(fingerprint) == 32
    if Setup.PROOF in setup:
        theirs = greeting_of(peer_greeting(setup, encryption=True) + b"\n")
        assert theirs is not None
        body = with_proof(setup, body, theirs, our_greeting(dialler=dialler, encryption=True), fingerprint)
    pieces = [body] if seed is None else pieces_of(body, seed)
    return driver.run(flights.peer.send(piece) for piece in pieces)


def _changed(setup: Setup, change: bytes, *, dialler: bool) -> None:
    """Change one flight of the other side. Four bytes say which flight, the place and the mask; the rest goes there."""
    number, high, low, mask, *more = change.ljust(4, b"\0")
    driver = _begun(setup, dialler=dialler)
    server = Setup.TLS_SERVER in setup
    for turn, flight in enumerate(Flights(driver, server=server)):
        data = bytearray(flight)
        if turn == number % 3:
            place = (high * 256 + low) % len(data)
            data[place] ^= mask
            data[place:place] = bytes(more)
        if driver.run([bytes(data)]).error:
            return
    assert not driver.authenticated


def tls(data: bytes) -> None:
    """Try a session with encryption.

    The first byte is a `Setup` and, in its uppermost bit, whether this side dialled. The second byte says how the rest
    is cut, the third byte how the rest is used.
    """
    if len(data) < 3:
        return
    setup, dialler, seed, mode, body = Setup(data[0] % 64), data[0] >= 128, data[1], data[2] % 3, data[3:]
    if mode == CHANGED:
        _changed(setup, body, dialler=dialler)
    elif mode == INSIDE:
        fine = _inside(setup, body, 0, dialler=dialler)
        check_agreement(_inside(setup, body, seed or None, dialler=dialler), fine, SOONER)
    else:
        whole, session = _raw(setup, [body], dialler=dialler)
        pieces, other = _raw(setup, pieces_of(body, seed), dialler=dialler)
        assert bool(whole.error) == bool(pieces.error), f"{whole}\n{pieces}"
        assert not session.open
        assert not other.open
