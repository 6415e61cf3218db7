"""Who may only read never sees the ID of a port, or a part of one: whoever knows it can kill the port."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec
import trio
import trio.testing
from network_helpers import FakeNetwork, open_pair

from trio_mp import Inspector, Port


async def everything(inspector: Inspector) -> str:
    """All that an inspection shows, as one text."""
    seen: list[Any] = [await inspector.ports(by=by, limit=1) for by in ("queue", "age")]
    for page in tuple(seen):
        while page.after is not None:
            page = await inspector.ports(by=page.after.partition(".")[0], limit=1, after=page.after)
            seen.append(page)
    seen += [await inspector.links(), await inspector.tasks(), await inspector.supervisors()]
    return msgspec.json.encode(seen).decode()


async def test_nothing_that_is_shown_holds_an_id(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b):
        secret: list[str] = []

        def note(port: Port) -> Port:
            secret.append(port.name)
            return port

        async def works(*_: Any) -> None:
            await trio.sleep_forever()

        async def lingers(port: Port, *_: Any) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

        async def supervises(port: Port) -> None:
            async with b.open_supervisor(name=f"of {port}") as crew:
                await crew.start(starts)
                async with b.open_supervisor():
                    await trio.sleep_forever()

        async def starts(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            note(port)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(works, port, name=f"a task of {port}")
                await works()

        first = note(b.port(works))
        note(b.port(functools.partial(works, first)))
        note(b.port()).on("a", once=True, reply=True)(functools.partial(works, first))
        note(b.start_port(supervises))
        dying = note(b.start_port(lingers, first))
        first.start_soon(functools.partial(works, first))
        b.send(first, "work")
        await trio.testing.wait_all_tasks_blocked()
        b.kill(dying, "killed", f"by {first}", first.name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.call, first, "a call")
            nursery.start_soon(a.call, first, "a call")
            await trio.sleep(0.1)
            shown = await everything(a.inspect("b"))
            assert "works" in shown
            assert "of b#…" in shown
            assert "killed" in shown
            names = [*secret, *b._runtime.lifecycle.ports, *a._runtime.lifecycle.ports]
            assert len(secret) == 6
            assert [name for name in names if name in shown] == []
            assert not re.search(r"#[A-Za-z0-9_-]", shown)
            own = await everything(b.inspect("b"))
            assert [name for name in secret if name not in own] == []
            nursery.cancel_scope.cancel()
