"""Nodes of two versions in one network: what the page about upgrading says that an older one lacks."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import reference
import trio.testing
from network_helpers import FakeNetwork, open_test_node, until

from trio_mp import CallError
from trio_mp._node import assembly
from trio_mp._protocol.requests import WORDS


def test_the_page_has_every_word() -> None:
    assert [*reference.LACKING] == [*WORDS]


@pytest.mark.parametrize("lacks", [*([word] for word in WORDS), [*WORDS]], ids=",".join)
async def test_a_node_of_an_older_version_goes_on(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, lacks: list[str]
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "new", inspect="act") as new, AsyncExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(assembly, "WORDS", tuple(word for word in WORDS if word not in lacks))
            old = await stack.enter_async_context(open_test_node(network, "old", seeds=["new"], inspect="act"))
        for one, other in ((new, old), (old, new)):
            port, deaths = one.port(), list[object]()
            # As programs of the first version answer: by the reply port behind the message.
            port.on("double")(lambda number, reply, one=one: one.send(reply, number * 2))
            other.monitor(port, lambda *reason, deaths=deaths: deaths.append(reason))
            assert await other.call(port, "double", 21) == (42,)
            port.kill("eggs")
            await until(lambda deaths=deaths: deaths)  # type: ignore[misc]
            assert deaths == [("eggs",)]
        await old.inspect("new").ports()
        if "inspect" in lacks:
            with pytest.raises(CallError, match="old") as caught:
                await new.inspect("old").ports()
            assert caught.value.type_name == "not_understood"
        else:
            await new.inspect("old").ports()
        drained = await new.drain()
        assert [each.port for each in drained.unfinished] == (["old"] if "draining" in lacks else [])
