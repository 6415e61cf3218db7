"""Who may only read never sees the ID of a port, or a part of one: whoever knows it can kill the port."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_pair

import trio_mp
from trio_mp import Inspector, Port
from trio_mp._inspection.texts import is_ours, is_trios, name_of, without_ids


async def everything(inspector: Inspector) -> str:
    """All that an inspection shows, as one text."""
    seen: list[Any] = [await inspector.ports(by=by, limit=1) for by in ("queue", "age")]
    for page in tuple(seen):
        while page.after is not None:
            page = await inspector.ports(by=page.after.partition(".")[0], limit=1, after=page.after)
            seen.append(page)
    seen += [await inspector.statistics(), await inspector.links()]
    seen += [await inspector.tasks(), await inspector.supervisors()]
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
        # Deaths are counted by what their reasons begin with: the last one is cut in the middle of a name.
        for begins in (first.name, f"by {first}", f"by {first}", 45 * " " + first.name):
            b.kill(b.port(works), begins)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.call, first, "a call")
            nursery.start_soon(a.call, first, "a call")
            await trio.sleep(0.1)
            shown = await everything(a.inspect("b"))
            assert "works" in shown
            assert "of b#…" in shown
            assert "killed" in shown
            assert '"by b#…":2' in shown
            names = [*secret, *b._runtime.lifecycle.ports, *a._runtime.lifecycle.ports]
            assert len(secret) == 6
            assert [name for name in names if name in shown or name[:12] in shown] == []
            assert not re.search(r"#[A-Za-z0-9_-]", shown)
            own = await everything(b.inspect("b"))
            assert [name for name in secret if name not in own] == []
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("w1#6utYygTd.TC2o8T8eA47a4aPY died", "w1#… died"),
        ("6utYygTd.TC2o8T8eA47a4aPY", "…"),
        ("(abcdefgh_-ABCDEF.17.TC2o8T8eA47a4aPY)", "(…)"),
        ("a#an-older-node-names-ports-so", "a#…"),
        ("nothing: to hide, in package.module (worker.py:12)", "nothing: to hide, in package.module (worker.py:12)"),
    ],
)
def test_names_of_ports_are_known_by_their_form(text: str, shown: str) -> None:
    assert without_ids(text) == shown


def test_the_names_of_functions_are_those_of_their_code() -> None:
    class Callable:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    def printer(*_: object) -> None: ...

    here = f"{__name__}:test_the_names_of_functions_are_those_of_their_code.<locals>"
    assert name_of(functools.partial(functools.partial(printer, "w1#6utYygTd.TC2o8T8eA47a4aPY"))) == f"{here}.printer"
    assert name_of(Callable().method) == f"{here}.Callable.method"
    assert name_of(Callable()) == f"{here}.Callable"
    assert name_of(functools.wraps(printer)(Callable())) == f"{here}.printer"
    assert name_of(print) == "builtins:print"
    assert name_of(dict) == "builtins:dict"
    printer.__module__, printer.__qualname__ = "packages", "a_function_of_16"
    assert name_of(printer) == "packages:a_function_of_16"
    printer.__qualname__ = "w1#6utYygTd.TC2o8T8eA47a4aPY"
    assert name_of(printer) == "packages:w1#…"


def test_code_of_this_package_is_not_taken_for_code_of_trio() -> None:
    # Installed, both are in one folder, and one name begins with the other.
    code = trio.sleep.__code__
    assert (is_trios(code), is_ours(code)) == (True, False)
    beside = code.replace(co_filename=str(Path(trio.__file__).parent) + "_mp/mailbox.py")
    assert not is_trios(beside)
    ours = Port.statistics.__code__
    assert (is_trios(ours), is_ours(ours)) == (False, True)
    assert not is_ours(ours.replace(co_filename=str(Path(trio_mp.__file__).parent) + "_of_mine/app.py"))
