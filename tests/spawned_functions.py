"""Functions that the tests of the command line spawn."""

from __future__ import annotations

from trio_mp import Port, current_port, spawnable


@spawnable
def store(port: Port, *values: object) -> None:
    """Answers `get` with what it was made with, and with what `put` has brought."""
    kept = list(values)
    port.on("put")(kept.append)
    port.on("get", reply=True)(lambda: kept)

    @port.on("fail", reply=True, errors=(LookupError,))
    def fail(text: str) -> None:
        raise LookupError(text)

    @port.on("crash")
    def crash() -> None:
        raise ValueError("as you wish")


@spawnable(on_bad="refuse")
def picky(port: Port) -> None:
    """Takes nothing but `number` with one number."""
    port.on("number")(lambda number: number)


@spawnable
async def short(port: Port) -> None:
    """Ends at once."""
    assert port is current_port()
