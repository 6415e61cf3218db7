"""SRV records, as a real server of DNS answers: one that fails, is silent, or means harm."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import AsyncGenerator

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import trio
import trio.testing
from dns_server import DNSServer, open_dns_server

from trio_mp import ConfigurationError, open_node
from trio_mp._transport.service_records import LONGEST, MOST_TARGETS, ServiceTarget, check_dns, find_records

NAME = "_app._tcp.example.org"


@pytest.fixture
async def server(require_tcp: None) -> AsyncGenerator[DNSServer, None]:
    async with open_dns_server() as server:
        yield server


async def find(server: DNSServer, name: str = NAME) -> list[ServiceTarget]:
    return list((await find_records(name, server.address)).targets)


async def test_the_best_come_first(server: DNSServer) -> None:
    server.records[NAME] = ["10 5 4041 two.example.", "0 1 4040 one.example.", "0 1 4040 one.example.", "10 0 1 a.b."]
    server.seconds = 77
    found = await find_records(NAME, server.address)
    assert found.targets == (
        ServiceTarget(0, 1, "one.example", 4040),
        ServiceTarget(10, 0, "a.b", 1),
        ServiceTarget(10, 5, "two.example", 4041),
    )
    assert found.seconds == 77
    assert str(found.targets[0].address) == "one.example:4040"
    assert (server.asked, server.over_tcp) == (1, 0)


async def test_an_answer_that_was_cut_off_is_asked_for_again_over_tcp(server: DNSServer) -> None:
    server.records[NAME] = ["0 1 4040 one.example."]
    server.cut_off()
    assert await find(server) == [ServiceTarget(0, 1, "one.example", 4040)]
    assert (server.asked, server.over_tcp) == (2, 1)


@pytest.mark.parametrize(
    "records, text",
    [
        (None, "there is no such name"),
        ([], "the name has no SRV records"),
        # RFC 2782: the service is decidedly not there.
        (["0 0 4040 ."], "the SRV records of the name name no host"),
        (["0 0 0 one.example."], "the SRV records of the name name no host"),
    ],
)
async def test_there_is_nothing(server: DNSServer, records: list[str] | None, text: str) -> None:
    if records is not None:
        server.records[NAME] = records
    with pytest.raises(OSError, match=text):
        await find(server)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_a_server_that_cannot_answer(server: DNSServer, code: int) -> None:
    server.fail(code)
    with pytest.raises(OSError, match="DNS cannot be asked: All nameservers failed") as caught:
        await find(server)
    assert "\n" not in str(caught.value)


async def test_silence(server: DNSServer, autojump_clock: trio.testing.MockClock) -> None:
    server.answerer = lambda _, over_tcp: None
    start = trio.current_time()
    with pytest.raises(TimeoutError, match="no server of DNS has answered"):
        await find(server)
    assert trio.current_time() - start <= LONGEST + 1


async def test_nobody_is_there(require_tcp: None, autojump_clock: trio.testing.MockClock) -> None:
    async with open_dns_server() as server:
        address = server.address
    with pytest.raises(OSError, match=r"DNS|nobody"):
        await find_records(NAME, address)


def other_id(question: dns.message.QueryMessage, _: bool) -> bytes:
    answer = dns.message.make_response(question)
    answer.id = (question.id + 1) % 65_536
    answer.answer.append(dns.rrset.from_text(NAME + ".", 60, "IN", "SRV", "0 0 666 evil.example."))
    return answer.to_wire()


def other_question(question: dns.message.QueryMessage, _: bool) -> bytes:
    answer = dns.message.make_response(dns.message.make_query("elsewhere.example", "SRV", id=question.id))
    answer.answer.append(dns.rrset.from_text("elsewhere.example.", 60, "IN", "SRV", "0 0 666 evil.example."))
    return answer.to_wire()


def names_in_circles(question: dns.message.QueryMessage, _: bool) -> bytes:
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text(NAME + ".", 60, "IN", "CNAME", NAME + "."))
    return answer.to_wire()


def pointer_to_itself(question: dns.message.QueryMessage, _: bool) -> bytes:
    wire = bytearray(dns.message.make_response(question).to_wire())
    wire[7] = 1  # one answer, whose name is a pointer to itself
    record = b"\x00\x21\x00\x01\x00\x00\x00\x05\x00\x07\x00\x00\x00\x00\x00\x01\x00"
    return bytes(wire) + bytes([0xC0, len(wire)]) + record


def garbage(question: dns.message.QueryMessage, _: bool) -> bytes:
    return question.id.to_bytes(2, "big") + b"\x81\x80" + b"\xff" * 500


@pytest.mark.parametrize("answerer", [other_id, other_question, names_in_circles, pointer_to_itself, garbage])
async def test_answers_that_make_no_sense(
    server: DNSServer, answerer: object, autojump_clock: trio.testing.MockClock
) -> None:
    server.answerer = answerer  # type: ignore[assignment]
    start = trio.current_time()
    with pytest.raises(OSError, match=r"DNS|SRV"):
        await find(server)
    assert trio.current_time() - start <= LONGEST + 1
    assert server.asked <= 30


async def test_names_that_no_host_has_are_left_out(server: DNSServer) -> None:
    def answer(question: dns.message.QueryMessage, _: bool) -> bytes:
        found = dns.message.make_response(question)
        hostile = dns.name.Name([b"\x1b[2J", b"example", b""]).to_text()
        records = [f"0 0 4040 {name}" for name in (hostile, r"a\032b.example.", "-x.example.", "good.example.")]
        found.answer.append(dns.rrset.from_text(NAME + ".", 60, "IN", "SRV", *records))
        return found.to_wire()

    server.answerer = answer
    assert await find(server) == [ServiceTarget(0, 0, "good.example", 4040)]


async def test_of_many_hosts_some_are_used(server: DNSServer) -> None:
    server.records[NAME] = [f"{number} 0 4040 n{number}.example." for number in range(3 * MOST_TARGETS)]
    server.cut_off()
    assert [one.priority for one in await find(server)] == list(range(MOST_TARGETS))


# The extra -----------------------------------------------------------------------------------------------------------


async def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **named: object) -> object:
        if name.partition(".")[0] == "dns":
            raise ImportError("No module named 'dns'")
        return real(name, *arguments, **named)  # type: ignore[arg-type]

    check_dns()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"^seeds: expected dnspython .* install `trio-mp\[dns\]`$"):
        async with open_node(seeds=[f"srv:{NAME}"], secret="0123456789abcdef", profile=False):
            raise AssertionError("it opened all the same")


def test_it_is_loaded_for_such_a_seed_alone() -> None:
    code = (
        "import sys, trio, trio_mp\n"
        "async def main():\n"
        "    async with trio_mp.open_node(seeds=['dir:nothing/here'], secret='0123456789abcdef', profile=False): pass\n"
        "trio.run(main)\n"
        "assert 'dns' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
