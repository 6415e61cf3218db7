"""nats-py and a server of its own: publish and subscribe one way, request and reply for round trips."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time

import nats

from benchmarks.peers import common
from benchmarks.peers.common import TEXT, Figure, Task, expect

PAUSE = 0.02


def start_server() -> tuple[subprocess.Popen[bytes], str]:
    """A private server, and its address."""
    program = shutil.which("nats-server")
    assert program is not None
    port = common.free_port()
    command = [program, "-a", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL), f"nats://127.0.0.1:{port}"


async def connect(address: str) -> nats.NATS:
    """A connection, as soon as the server is there."""
    host, _, port = address.removeprefix("nats://").rpartition(":")
    while True:
        try:
            # nats-py would try again only after two seconds.
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(PAUSE)
        else:
            writer.close()
            return await nats.connect(address, allow_reconnect=False)


async def work(task: Task, address: str) -> None:
    """The second process: says that it is there, then sends or answers."""
    connection = await connect(address)
    if task.name == "round_trip":

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(json.dumps(json.loads(message.data)).encode())

        await connection.subscribe("echo", cb=answer)
        await connection.flush()
        print("ready", flush=True)
        await asyncio.Event().wait()
    data = bytes(task.size)
    common.say_start()
    for number in range(task.count):
        await connection.publish("sink", data or json.dumps(["ping", number, TEXT]).encode())
    await connection.drain()


async def measure(task: Task, address: str) -> Figure:
    """The first process."""
    connection = await connect(address)
    if task.name == "round_trip":
        process = common.start_other("nats", task, address)
        await asyncio.to_thread(common.read_line, process)
        return await ask(task, connection)
    seen, right = 0, True
    done = asyncio.Event()

    async def take(message: nats.aio.msg.Msg) -> None:
        nonlocal seen, right
        right = right and (len(message.data) == task.size if task.size else json.loads(message.data)[1] == seen)
        seen += 1
        if seen == task.count:
            done.set()

    # Without these limits it drops what waits beyond them.
    await connection.subscribe("sink", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await connection.flush()
    process = common.start_other("nats", task, address)
    await done.wait()
    seconds = common.since_start(process)
    expect(right)
    return common.speed(task, seconds)


async def ask(task: Task, connection: nats.NATS) -> Figure:
    """One question after the other."""
    times, clock = [], time.perf_counter_ns
    for number in range(task.count):
        start = clock()
        answer = await connection.request("echo", json.dumps(["ping", number, TEXT]).encode(), timeout=5)
        decoded = json.loads(answer.data)
        times.append(clock() - start)
        expect(decoded[1] == number)
    return common.round_trips(times)


def main(task: Task, *arguments: str) -> Figure | None:
    """All of it."""
    if arguments:
        asyncio.run(work(task, arguments[0]))
        return None
    server, address = start_server()
    try:
        return asyncio.run(measure(task, address))
    finally:
        server.kill()
        server.wait()
