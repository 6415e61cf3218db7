"""What workers compute in benchmarks: in a module of its own, because every process of every peer imports it."""

from __future__ import annotations

from trio_mp import Port, spawnable


@spawnable
def empty() -> None:
    """Nothing."""


@spawnable
async def empty_async() -> None:
    """Nothing, as an async function."""


@spawnable
def identity(number: int) -> int:
    """As little as a mapped function can do."""
    return number


@spawnable
def length(data: bytes) -> int:
    """Take much, return little."""
    return len(data)


@spawnable
def echo(port: Port) -> None:
    """The other side of `Node.call`."""
    port.on("call")(lambda number, reply: port.node.send(reply, number))


@spawnable
def mandelbrot_row(task: list[int]) -> bytes:
    """One row of a picture of the Mandelbrot set: how many steps each point takes to escape, a quarter of that.

    Args:
      task: which row, how many points it has, and how many rows there are.
    """
    row, width, height = task
    imaginary = 2.4 * row / height - 1.2
    steps = bytearray(width)
    for column in range(width):
        point = complex(3.2 * column / width - 2.3, imaginary)
        value = 0j
        count = 0
        while count < 1020 and abs(value) <= 2.0:
            value = value * value + point
            count += 1
        steps[column] = count // 4
    return bytes(steps)
