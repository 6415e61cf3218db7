"""A flood of connections against two nodes that talk. argv: [CONNECTIONS [RATE [SECONDS]]] [unix|tcp|tls]

Processes: the attacked node; the flooder, which opens CONNECTIONS at once (10,000), then RATE a second (200) for
SECONDS (60), and keeps all of them open as long as the node does; and the peer, which sends numbered messages to a port
of the node, monitors it, and calls it, while one newcomer after the other connects.

With `tcp` and `unix` the flood says nothing, and comes from one address. With `tls` each of its connections comes from
another address (127.x.y.z, which Linux has all of), greets, begins TLS, which costs the node most, and goes silent.
The newcomers come from an address from which nodes have authenticated before; with `tls` there are as many that each
come from an address of their own.

Printed as JSON: what was sent, delivered, out of order, reported as lost though it was not; the slowest call; how much
memory the attacked node took; and how long newcomers took to be let in.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from trio_mp import Node, Port, open_node, spawnable
from trio_mp._settings.environment import Environment
from trio_mp._transport.addresses import Address, TCPAddress
from trio_mp._transport.pipe import Pipe
from trio_mp._transport.sockets import SocketTransport, _to_pipe
from trio_mp.cli.bench.task import SECRET, Figure, report
from trio_mp.lowlevel import open_node_in

INTERVAL = 0.01
KNOWN = "127.0.0.1"
GREETING = b"aemp;1;stranger;hmac_sha256;msgpack;tls=1.0;incarnation=0123456789abcdef;heartbeat=5;limit=67108864\n"


def memory() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


@spawnable
def counter(port: Port) -> None:
    """Run a port that counts messages and errors in their order, and answers calls with both and the memory taken."""
    received = wrong = 0

    @port.on("number")
    def take(number: int) -> None:
        nonlocal received, wrong
        received += 1
        wrong += number != received

    @port.on("figures")
    def figures(reply: str) -> None:
        port.node.send(reply, received, wrong, memory())


async def serve(address: str) -> None:
    """Run the attacked node."""
    async with open_node("attacked", binds=[address], secret=SECRET, spawn_modules=["benchmarks.flood"]) as node:
        print(node.binds[0], flush=True)
        await trio.sleep_forever()


class SourceTransport(SocketTransport):
    """A transport that dials from one address of this machine.

    Args:
      source: the address to dial from.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    async def dial(self, address: Address) -> Pipe:
        """See `Transport.dial`."""
        assert isinstance(address, TCPAddress)
        return _to_pipe(await trio.open_tcp_stream(address.host, address.port, local_address=self._source))


def sources(first: int) -> Iterator[str]:
    """Yield addresses of this machine, each in a /24 of its own as long as there are any left."""
    for last, second, third in itertools.product(range(1, 255), range(first, 255), range(256)):
        yield f"127.{second}.{third}.{last}"


def beginning_of_tls() -> bytes:
    """Return the bytes of a stranger that greets, and begins TLS as the client, as the smaller nonce asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    nonce = base64.b64encode(b"\xfb\xef\xbe" + os.urandom(30))
    return GREETING + nonce + b"\n" + outgoing.read()


def flood(address: str, connections: int, rate: float, seconds: float, *, begins_tls: bool) -> None:
    """Open connections, and hold each until the other side closes it."""
    origins = sources(16)
    said = beginning_of_tls() if begins_tls else b""
    greeted: set[socket.socket] = set()
    target: str | tuple[str, int] = address.removeprefix("unix:")
    family = socket.AF_UNIX
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        family, target = socket.AF_INET, (host, int(port))
    selector = selectors.DefaultSelector()
    opened = refused = 0
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        due = connections + int(rate * elapsed) - opened
        for _ in range(min(due, 100)):
            stranger = socket.socket(family)
            stranger.setblocking(False)
            if begins_tls:
                stranger.bind((next(origins), 0))
            opened += 1
            try:
                with contextlib.suppress(BlockingIOError):
                    stranger.connect(target)
            except OSError:
                refused += 1
                stranger.close()
                continue
            selector.register(stranger, selectors.EVENT_READ)
        for key, _ in selector.select(0 if due > 0 else 0.005):
            connected = key.fileobj
            assert isinstance(connected, socket.socket)
            try:
                if connected.recv(65536):
                    if said and connected not in greeted:
                        # Only now: the node begins TLS for strangers that have waited for its greeting.
                        greeted.add(connected)
                        connected.send(said)
                    continue
            except OSError:
                pass
            greeted.discard(connected)
            selector.unregister(connected)
            connected.close()
    print(json.dumps({"opened": opened, "refused": refused, "held": len(selector.get_map())}), flush=True)


async def talk(node: Node, port: str, seconds: float) -> dict[str, float]:
    """Talk to the attacked node. Returns what was sent, what the node has received, and the slowest call."""
    losses = []
    node.monitor(port, lambda *reason: losses.append(reason))
    before = (await node.call(port, "figures"))[2]
    sent, slowest, most = 0, 0.0, 0
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        sent += 1
        node.send(port, "number", sent)
        start = time.perf_counter()
        figures = await node.call(port, "figures")
        slowest = max(slowest, time.perf_counter() - start)
        most = max(most, int(str(figures[2])))
        await trio.sleep(INTERVAL)
    received, wrong, _ = await node.call(port, "figures")
    return {
        "sent": sent,
        "received": int(str(received)),
        "out_of_order": int(str(wrong)),
        "false_alarms": len(losses),
        "slowest_call_ms": round(slowest * 1000, 1),
        "memory_grown_mib": round((most - int(str(before))) / 2**20, 2),
    }


async def newcomers(address: str, seconds: float, origins: Iterator[str]) -> list[float]:
    """Connect one newcomer after the other. Returns how long each took to be let in, in seconds."""
    waits = []
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        start = trio.current_time()
        transport = SocketTransport() if address.startswith("unix:") else SourceTransport(next(origins))
        environment = Environment(transport=transport)
        timeout = 2 * seconds
        settings = {"seeds": [address], "binds": (), "secret": SECRET, "connect_timeout": timeout}
        async with open_node_in(environment, **settings) as node:  # type: ignore[arg-type]
            await node.call("attacked", "info")
            waits.append(round(trio.current_time() - start, 3))
        await trio.sleep(1)
    return sorted(waits)


def summary(what: str, waits: list[float]) -> dict[str, float]:
    """Return the figures of newcomers of one kind."""
    return {what: len(waits), f"{what}_median_s": waits[len(waits) // 2], f"{what}_worst_s": waits[-1]}


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start another process, whose output this one reads line by line."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def measure(kind: str, connections: int, rate: float, seconds: float) -> None:
    """Run all processes, and collect their figures."""
    with tempfile.TemporaryDirectory() as folder:
        bind = f"unix:{folder}/node.sock" if kind == "unix" else "127.0.0.1:0"
        command = [sys.executable, "-m", "benchmarks.flood"]
        server = start([*command, "serve", bind])
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            async with open_node("peer", seeds=[address], binds=(), secret=SECRET) as node:
                port = node.spawn("attacked", "benchmarks.flood:counter")
                await node.call(port, "figures")
                arguments = [address, str(connections), str(rate), str(seconds), kind]
                flooder = start([*command, "flood", *arguments])
                assert flooder.stdout is not None
                let_in: dict[str, float] = {}
                async with trio.open_nursery() as nursery:

                    async def admit(what: str, origins: Iterator[str]) -> None:
                        let_in.update(summary(what, await newcomers(address, seconds, origins)))

                    nursery.start_soon(admit, "newcomers", itertools.repeat(KNOWN))
                    if kind == "tls":
                        nursery.start_soon(admit, "unknown_newcomers", sources(1))
                    figures = await talk(node, port, seconds)
                figures |= json.loads(await trio.to_thread.run_sync(flooder.stdout.readline))
                flooder.wait()
        finally:
            server.kill()
            server.wait()
    figures |= let_in
    report(Figure(figures.pop("slowest_call_ms"), "ms slowest call", figures))


def main() -> None:
    """Run the flood that the command line describes."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        trio.run(serve, arguments[1])
    elif arguments[:1] == ["flood"]:
        numbers = [float(argument) for argument in arguments[3:5]]
        flood(arguments[1], int(arguments[2]), *numbers, begins_tls=arguments[5] == "tls")
    else:
        kind = arguments.pop() if arguments and arguments[-1] in {"unix", "tcp", "tls"} else "tcp"
        numbers = [float(argument) for argument in arguments]
        connections, rate, seconds = [*numbers, *(10_000.0, 200.0, 60.0)[len(numbers) :]]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        trio.run(measure, kind, int(connections), rate, seconds)


if __name__ == "__main__":
    main()
