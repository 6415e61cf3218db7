"""Whole nodes with certificates: who gets in, what both sides are told, and new certificates while the nodes run."""

from __future__ import annotations

import datetime
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, FakeNetwork, Inbox, Notices, open_test_node, until, warnings_in

from trio_mp import Certificate, ConfigurationError, Node, make_authority, make_certificate, open_node
from trio_mp._transport.certificates import CertificateTLS, utc_now
from trio_mp._transport.notary import CertificateNotary


class Authority:
    """An authority in a folder, and the certificates that it makes for nodes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file, self.key = folder / "authority.pem", folder / "authority.key"
        make_authority(self.file, self.key)

    def issue(self, *node_ids: str, verify_node_id: bool = True, stem: str = "") -> Certificate:
        stem = stem or node_ids[0]
        chain, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        make_certificate(node_ids, chain, key, authority=self.file, authority_key=self.key)
        return Certificate(chain, key, self.file, verify_node_id)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


def open_certified(network: FakeNetwork, node_id: str, certificate: Certificate | None, **settings: Any) -> Any:
    settings.setdefault("secret", None)
    return open_test_node(network, node_id, certificate=certificate, encryption=True, **settings)


@asynccontextmanager
async def certified_pair(
    network: FakeNetwork, one: Certificate, two: Certificate, **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    async with (
        open_certified(network, "a", one, **settings) as a,
        open_certified(network, "b", two, seeds=["a"], **settings) as b,
    ):
        yield a, b


@pytest.mark.parametrize("secret", [None, SECRET], ids=["certificates alone", "and a secret"])
async def test_two_nodes_of_one_authority(
    autojump_clock: trio.testing.MockClock, authority: Authority, secret: str | None
) -> None:
    network = FakeNetwork()
    async with certified_pair(network, authority.issue("a"), authority.issue("b"), secret=secret) as (a, b):
        inbox, back = Inbox(a), Inbox(b)
        b.send(inbox.port, "there", b"\0" * 1000)
        a.send(back.port, "back")
        await inbox.wait(1)
        await back.wait(1)
        for wire in network.wires:
            assert b"there" not in wire.there.sent
            assert b"back" not in wire.back.sent


async def refused(network: FakeNetwork, a: Any, b: Any, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """Neither gets a connection; what the dialled node and the dialling one say in the log.

    That depends on which of them is the TLS server, which is random for each attempt.
    """
    async with a as one, b as two:
        reason = await two.wait_death(one.port())
        assert reason[0] == "transport_error"
        assert not one.peers
        assert not two.peers
        dialling = [line for line in warnings_in(caplog) if line.startswith("the seed ")]
        dialled = [line for line in warnings_in(caplog) if line.startswith("a connection to ")]
        # Whoever dials says everything once; whoever is dialled cannot know that they are the same.
        assert 1 <= len(dialling) == len(set(dialling))
        assert 1 <= len(set(dialled)) <= 2
    return " ".join(set(dialled)), " ".join(dialling)


async def test_a_node_of_another_authority(
    autojump_clock: trio.testing.MockClock, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    stranger = Authority(tmp_path / "theirs").issue("b")
    a = open_certified(network, "a", authority.issue("a"))
    b = open_certified(network, "b", stranger, seeds=["a"])
    dialled, dialling = await refused(network, a, b, caplog)
    said = dialled + dialling
    assert "the other side's certificate is not signed by our authority" in said


async def test_a_node_whose_certificate_names_another(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """It has been told not to look at its own; the other side does."""
    network = FakeNetwork()
    a = open_certified(network, "a", authority.issue("a"))
    b = open_certified(network, "b", authority.issue("c", verify_node_id=False), seeds=["a"])
    dialled, dialling = await refused(network, a, b, caplog)
    assert "expected a certificate for b, which it says it is, got one for 'c'" in dialled
    assert "does our certificate name this node" in dialling


async def test_one_certificate_for_several_nodes_and_for_any(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    shared = authority.issue("a", "b")
    async with certified_pair(FakeNetwork(), shared, shared) as (a, b):
        await until(lambda: a.peers and b.peers)
    anybody = authority.issue("whoever", verify_node_id=False)
    async with certified_pair(FakeNetwork(), anybody, anybody) as (a, b):
        await until(lambda: a.peers and b.peers)


@pytest.mark.parametrize(
    "with_secret, text",
    [("a", "this node wants a secret, and that one uses certificates alone"), ("b", "that node wants a secret")],
)
async def test_a_secret_on_one_side_only(
    autojump_clock: trio.testing.MockClock,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    with_secret: str,
    text: str,
) -> None:
    network = FakeNetwork()
    secrets = {with_secret: SECRET}
    a = open_certified(network, "a", authority.issue("a"), secret=secrets.get("a"))
    b = open_certified(network, "b", authority.issue("b"), secret=secrets.get("b"), seeds=["a"])
    dialled, _ = await refused(network, a, b, caplog)
    assert text in dialled


@pytest.mark.parametrize("certified", ["a", "b"])
async def test_certificates_on_one_side_only(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture, certified: str
) -> None:
    network = FakeNetwork()
    certificates = {certified: authority.issue(certified)}
    a = open_certified(network, "a", certificates.get("a"), secret=SECRET)
    b = open_certified(network, "b", certificates.get("b"), secret=SECRET, seeds=["a"])
    dialled, dialling = await refused(network, a, b, caplog)
    said = dialled + dialling
    assert "certificate" in said


async def test_a_right_certificate_and_a_wrong_secret(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    a = open_certified(network, "a", authority.issue("a"), secret=SECRET)
    b = open_certified(network, "b", authority.issue("b"), secret="another secret altogether", seeds=["a"])
    dialled, dialling = await refused(network, a, b, caplog)
    assert "the other side has another secret than ours" in dialled
    assert "is the secret the same on both sides?" in dialling


async def test_new_certificates_are_taken_up_and_no_connection_is_dropped(
    autojump_clock: trio.testing.MockClock, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole network moves to another authority: first both are trusted, then certificates change, node by node."""
    caplog.set_level(logging.INFO)
    network = FakeNetwork()
    new = Authority(tmp_path / "new")
    one, two = authority.issue("a"), authority.issue("b")
    async with certified_pair(network, one, two) as (a, b):
        inbox, told = Inbox(a), Notices()
        b.monitor(inbox.port, told)
        b.send(inbox.port, 1)
        await inbox.wait(1)
        authority.file.write_bytes(authority.file.read_bytes() + new.file.read_bytes())
        for certificate, name in ((one, "a"), (two, "b")):
            fresh = new.issue(name)
            # As tools do that replace files: a new one takes the name of the old one.
            Path(fresh.chain).replace(certificate.chain)
            Path(fresh.key).replace(certificate.key)
        b.send(inbox.port, 2)
        await inbox.wait(2)
        assert not told.reasons
        # Who comes now sees the new ones.
        authority.file.write_bytes(new.file.read_bytes())
        async with open_certified(network, "c", new.issue("c"), seeds=["a"]) as c:
            assert await c.call("a", "info") == ("a",)
        b.send(inbox.port, 3)
        assert await inbox.wait(3) == [(1,), (2,), (3,)]
        assert not told.reasons
        assert any("loaded anew" in record.getMessage() for record in caplog.records)
        # And whoever has to connect again does so with the new ones.
        for wire in network.live:
            wire.reset()
        await told.wait()
        b.send(inbox.port, 4)
        await inbox.wait(4)


async def test_a_certificate_that_expires_ends_no_connection(
    autojump_clock: trio.testing.MockClock, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it makes no new one is for OpenSSL to say: see test_certificates.py."""
    later = datetime.timedelta()
    for reads_the_clock in (CertificateTLS, CertificateNotary):
        monkeypatch.setattr(reads_the_clock.__init__, "__kwdefaults__", {"now": lambda: utc_now() + later})
    network = FakeNetwork()
    async with certified_pair(network, authority.issue("a"), authority.issue("b")) as (a, b):
        inbox, told = Inbox(a), Notices()
        b.monitor(inbox.port, told)
        b.send(inbox.port, 1)
        await inbox.wait(1)
        wire = network.wire
        later = datetime.timedelta(days=10_000)
        await trio.sleep(3600)
        b.send(inbox.port, 2)
        with trio.fail_after(60):
            await inbox.wait(2)
        assert network.wire is wire
        assert not told.reasons


async def test_over_real_sockets(short_directory: Path, authority: Authority) -> None:
    address = f"unix:{short_directory / 'a.sock'}"
    certificates = {name: authority.issue(name) for name in ("a", "b")}
    with trio.fail_after(20):
        async with (
            open_node("a", binds=[address], certificate=certificates["a"]) as a,
            open_node("b", seeds=[address], binds=(), certificate=certificates["b"]) as b,
        ):
            inbox = Inbox(a)
            b.send(inbox.port, "hello")
            assert await inbox.wait(1) == [("hello",)]


async def test_what_cannot_work_is_refused_when_the_node_opens(authority: Authority) -> None:
    certificate = authority.issue("a")
    with pytest.raises(ConfigurationError, match="encryption: expected True in a node with a certificate"):
        async with open_node("a", binds=["unix:/nowhere"], certificate=certificate, encryption=False):
            pass
    why = "expected a certificate that names this node, b, got one that names a;"
    with pytest.raises(ConfigurationError, match=rf"certificate: .*a\.pem: {why}"):
        async with open_node("b", binds=["unix:/nowhere"], certificate=certificate):
            pass
    with pytest.raises(ConfigurationError, match=r"certificate: .*missing\.pem: cannot be read"):
        async with open_node(
            "a",
            binds=["unix:/nowhere"],
            certificate=Certificate(authority.folder / "missing.pem", certificate.key, certificate.authority),
        ):
            pass
