"""Raw sockets, blocking: the limit. A length before each message, `batch` of them in one write, msgspec for values."""

from __future__ import annotations

import socket
import time

import msgspec

from benchmarks.peers import common
from benchmarks.peers.common import HEAD, TEXT, Figure, Task, expect


def main(task: Task, *arguments: str) -> Figure | None:
    """Listen, start the second process, and measure."""
    if arguments:
        OTHERS[task.name](task, common.connect(arguments[0]))
        return None
    with common.listening(task) as (server, address):
        process = common.start_other("raw", task, address)
        connection, _ = server.accept()
        with common.without_delay(connection):
            if task.name == "kill":
                return common.kill_and_wait(process, lambda: expect(connection.recv(1) == b""))
            if task.name == "round_trip":
                return ask(task, connection)
            (receive_all if task.name == "one_way" else receive_bulk)(task, connection)
            return common.speed(task, common.since_start(process))


def receive_all(task: Task, connection: socket.socket) -> None:
    """Take messages apart and check their order."""
    decode = msgspec.msgpack.decode
    rest, seen = b"", 0
    while data := connection.recv(65536):
        data = rest + data
        place, end = 0, len(data)
        while end - place >= 4:
            (size,) = HEAD.unpack_from(data, place)
            if end - place - 4 < size:
                break
            _tag, number, _text = decode(data[place + 4 : place + 4 + size])
            expect(number == seen)
            seen += 1
            place += 4 + size
        rest = data[place:]
    expect(seen == task.count)


def send_all(task: Task, connection: socket.socket) -> None:
    """The other side."""
    encode, pack = msgspec.msgpack.Encoder().encode, HEAD.pack
    common.say_start()
    for first in range(0, task.count, task.batch):
        parts = []
        for number in range(first, min(first + task.batch, task.count)):
            text = encode(("ping", number, TEXT))
            parts += [pack(len(text)), text]
        connection.sendall(b"".join(parts))


def ask(task: Task, connection: socket.socket) -> Figure:
    """So many bytes as a small message has, and the same bytes back."""
    question, times, clock = b"x" * 32, [], time.perf_counter_ns
    for _ in range(task.count):
        start = clock()
        connection.sendall(question)
        answer = connection.recv(64)
        times.append(clock() - start)
        expect(answer == question)
    return common.round_trips(times)


def echo(_task: Task, connection: socket.socket) -> None:
    """The other side."""
    while data := connection.recv(64):
        connection.sendall(data)


def receive_bulk(task: Task, connection: socket.socket) -> None:
    """Into one buffer."""
    buffer = memoryview(bytearray(task.size))
    for _ in range(task.count):
        got = 0
        while got < task.size:
            more = connection.recv_into(buffer[got:])
            expect(more > 0)
            got += more


def send_bulk(task: Task, connection: socket.socket) -> None:
    """The other side."""
    data = bytes(task.size)
    common.say_start()
    for _ in range(task.count):
        connection.sendall(data)


def wait(_task: Task, connection: socket.socket) -> None:
    """The other side, until it is killed."""
    connection.recv(1)


OTHERS = {"one_way": send_all, "round_trip": echo, "bulk": send_bulk, "kill": wait}
