"""A server of DNS that a test controls: over UDP, and over TCP for answers that were cut off, on 127.0.0.1."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio

Answerer = Callable[[dns.message.QueryMessage, bool], bytes | None]
"""Takes a question, and whether it came over TCP; returns the answer, or None for silence."""


class DNSServer:
    """A server of DNS.

    Attributes:
      address: where it listens.
      records: what it answers: texts such as `0 5 4040 one.example.`, by the name.
      seconds: the time to live of its records.
      answerer: makes all answers in place of these, if it is not None.
      asked: how often a question has come, over UDP or TCP.
      over_tcp: how many of them over TCP.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.records: dict[str, list[str]] = {}
        self.seconds = 60
        self.answerer: Answerer | None = None
        self.asked = self.over_tcp = 0

    def answer(self, data: bytes, over_tcp: bool) -> bytes | None:
        self.asked += 1
        self.over_tcp += over_tcp
        question = dns.message.from_wire(data)
        assert isinstance(question, dns.message.QueryMessage)
        if self.answerer is not None:
            return self.answerer(question, over_tcp)
        return self.ordinary(question).to_wire()

    def ordinary(self, question: dns.message.QueryMessage) -> dns.message.Message:
        """The answer that the records give."""
        answer = dns.message.make_response(question)
        name = question.question[0].name
        found = self.records.get(name.to_text(omit_final_dot=True))
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(dns.rrset.from_text(name, self.seconds, "IN", "SRV", *found))
        return answer

    def fail(self, code: int) -> None:
        """Answer with an error from now on."""

        def answer(question: dns.message.QueryMessage, _: bool) -> bytes:
            failing = dns.message.make_response(question)
            failing.set_rcode(dns.rcode.Rcode(code))
            return failing.to_wire()

        self.answerer = answer

    def cut_off(self) -> None:
        """Say over UDP that there is more, from now on."""

        def answer(question: dns.message.QueryMessage, over_tcp: bool) -> bytes:
            if over_tcp:
                return self.ordinary(question).to_wire()
            short = dns.message.make_response(question)
            short.flags |= dns.flags.TC
            return short.to_wire()

        self.answerer = answer


@asynccontextmanager
async def open_dns_server() -> AsyncGenerator[DNSServer, None]:
    """Run a server of DNS for the length of the block."""
    datagrams = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    with datagrams:
        await datagrams.bind(("127.0.0.1", 0))
        server = DNSServer(datagrams.getsockname())

        async def serve_datagrams() -> None:
            while True:
                data, source = await datagrams.recvfrom(65_535)
                if (answer := server.answer(data, False)) is not None:
                    await datagrams.sendto(answer, source)

        async def serve_stream(stream: trio.SocketStream) -> None:
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            if (answer := server.answer(data[2:], True)) is not None:
                await stream.send_all(struct.pack("!H", len(answer)) + answer)

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(server.address[1], host="127.0.0.1")
            nursery.start_soon(serve_datagrams)
            nursery.start_soon(trio.serve_listeners, serve_stream, listeners)
            yield server
            nursery.cancel_scope.cancel()
