"""pyzmq, blocking, with msgpack: PUSH and PULL one way, two DEALERs for round trips. ZeroMQ batches by itself."""

from __future__ import annotations

import time

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message

from benchmarks.peers import common
from benchmarks.peers.common import TEXT, Figure, Task, expect

PAUSE = 0.1


def main(task: Task, *arguments: str) -> Figure | None:
    """Listen, start the second process, and measure."""
    context = zmq.Context()
    if arguments:
        work(task, context, arguments[0])
        # Flushes.
        context.destroy(linger=None)
        return None
    with common.folder() as folder:
        there = context.socket(zmq.PULL if task.name in {"one_way", "bulk"} else zmq.DEALER)
        if task.name == "bulk":
            there.hwm = 16
        if task.transport == "tcp":
            address = f"tcp://127.0.0.1:{there.bind_to_random_port('tcp://127.0.0.1')}"
        else:
            there.bind(address := f"ipc://{folder}/s")
        monitor = there.get_monitor_socket(zmq.EVENT_DISCONNECTED) if task.name == "kill" else None
        process = common.start_other("zeromq", task, address)
        if monitor is not None:
            there.recv()
            return common.kill_and_wait(process, lambda: recv_monitor_message(monitor))
        if task.name == "round_trip":
            return ask(task, there)
        (receive if task.name == "one_way" else receive_bulk)(task, there)
        return common.speed(task, common.since_start(process))


def receive(task: Task, there: zmq.Socket[bytes]) -> None:
    """Check the order."""
    for wanted in range(task.count):
        _tag, number, _text = msgpack.unpackb(there.recv())
        expect(number == wanted)


def ask(task: Task, there: zmq.Socket[bytes]) -> Figure:
    """One question after the other."""
    times, clock = [], time.perf_counter_ns
    for number in range(task.count):
        start = clock()
        there.send(msgpack.packb(["ping", number, TEXT]))
        answer = msgpack.unpackb(there.recv())
        times.append(clock() - start)
        expect(answer[1] == number)
    return common.round_trips(times)


def receive_bulk(task: Task, there: zmq.Socket[bytes]) -> None:
    """Without copies."""
    for _ in range(task.count):
        expect(len(there.recv(copy=False)) == task.size)


def work(task: Task, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
    """The second process."""
    here = context.socket(zmq.PUSH if task.name in {"one_way", "bulk"} else zmq.DEALER)
    if task.name == "bulk":
        here.hwm = 16
    here.connect(address)
    if task.name in {"one_way", "bulk"}:
        # Until now it has not been connected: that is not part of the work.
        time.sleep(PAUSE)
        common.say_start()
    if task.name == "one_way":
        for number in range(task.count):
            here.send(msgpack.packb(("ping", number, TEXT)))
    elif task.name == "bulk":
        data = bytes(task.size)
        for _ in range(task.count):
            here.send(data, copy=False)
    elif task.name == "round_trip":
        for _ in range(task.count):
            here.send(msgpack.packb(msgpack.unpackb(here.recv())))
    else:
        here.send(b"here")
        here.recv()
