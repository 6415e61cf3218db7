"""docs/from-anyevent-mp.md as a map: it names all that the original's documents do, and what is under "here" runs."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from doc_pages import ROOT
from network_helpers import FakeNetwork, open_pair, until

import trio_mp
from trio_mp import Change, Node, Port, open_node
from trio_mp._settings.settings import TABLE

PAGE = (ROOT / "docs" / "from-anyevent-mp.md").read_text(encoding="utf-8")
CONFIGURATION = PAGE.partition("\n## Configuration\n")[2].partition("\n## ")[0]
MAP = PAGE.replace(CONFIGURATION, "")
"""Without the section whose rows `test_aemp_counterparts` runs, in their order."""

TERMS = {
    "the manual of version 0": """
        `NODE` | `$NODE` | `$PORT` | `snd $port, type => @data` | `rcv` | `_any_` | smart matches | port ID | node port
        noderef | private | hidden | public | master | `become_public` | `become_slave` | `normalise_noderef`
        `~/.aemp-secret` | `$CONNECT_INTERVAL` | `$CONNECT_TIMEOUT` | `%NODE` | `%PORT` | `%LISTENER` | `$UNIQ`
        `add_node` | `relay`
        """,
    "the introduction of version 0": """
        message | tag | node, the process | node ID | condition variables | `AnyEvent->condvar->recv`
        `initialise_node $profile` | `initialise_node $noderef, @seeds` | `AnyEvent::MP::Global` | profile | `binds`
        `AnyEvent::MP::Global::register $port, $group` | `AnyEvent::Handle` | `seeds` | fully connected mesh
        default port | `lookup` | `reg $port, "name"` | registered ports | returns true | several pairs | secret
        `aemp gensecret` | `aemp setsecret` | `aemp gencert` | `~/.perl-anyevent-mp` | certificates | port 4040
        `json` | `storable` | the greeting | TLS | prefix of the package
        """,
    "the introduction of version 1": """
        `configure` | `configure nodeid => "eg_receiver", binds => ["*:4040"]` | `nodeid => "anon/"` | `*:4040`
        `configure nodeid => "eg_sender", seeds => ["*:4040"]` | `PERL_ANYEVENT_MP_WARNLEVEL` | seed nodes
        `PERL_ANYEVENT_MP_TRACE` | `AnyEvent::MP::Global::find $group` | `AnyEvent->timer` | port context
        `aemp profile seed binds "*:4040"` | `aemp seeds "*:4040" nodeid anon/` | `aemp run profile seed` | exception
        `kil $port` | `kil $port, @reason` | the "normal" kill | `kil $SELF` | `die => $@` | `no_such_port`
        `mon $port, $callback` | `mon $port, $rcvport` | `after $seconds, $callback` | `psub { … }` | no holes
        supervisor | `spawn $node` | `"::name"` | `$SELF` | bridge-heads | virtual connections
        `register $NODE, $group` | `aemp run` | `aemp profile mysrvnode services mymod::service::`
        `aemp run profile mysrvnode` | `aemp profile ruth addservice BK::Backend::IRC::` | `AnyEvent->io` | groups
        the node loads the module | retry until the network is there | pass a local port, and `mon` in both directions
        """,
    "the manual of version 1": """
        `node_of $port` | `*SELF` | `snd @msg` | `port` | `port { … }` | `rcv $port, $callback` | `rcv $port, sub { }`
        only for local ports
        `rcv $port, tag => $callback` | `rcv $port, tag` | `peval $port, $code` | `mon $port` | monitors fire once
        `mon $port, $rcvport, @msg` | `$guard = mon …` | `mon_guard $port` | `transport_error => $message`
        `after $seconds, @msg` | `cal $port, @msg, $callback` | `$timeout` | `Coro::MP` | `AnyEvent::MP::DataConn`
        `AnyEvent::MP::LogCatcher` | `AnyEvent::MP::Kernel` | Distributed Erlang | a string, no object | is read-only
        never queued | when TCP does | monitor from a local port | must never die | `configure profile => "seed"`
        `aemp profile seed nodeid anon/ binds '*:4040'` | `aemp run profile seed nodeid "$(hostname)"`
        the name of the profile | by default `*` | a profile wins | never used again
        no effect is visible before `spawn` returns | must call `rcv` | listens nowhere
        node IDs are arbitrary strings | like remote ports | do not queue | sends block | loses messages silently
        the wrong process | not protected | in other languages | more flexible than exit signals
        no names are looked up | strings for IDs | JSON and no objects
        """,
    "what the manual of version 2 adds": """
        `port_is_local $port` | `db_set $family => $subkey => $value` | `db_del $family => $subkey…` | `db_keys`
        `db_reg $family => $port => $value` | `db_family $family => $callback` | `db_values` | global nodes
        `db_mon $family => $callback` | `norc` | `force` | `%n` | `%u` | `unhandled_message` | family, subkey, value
        `secure` | `cbor` | guard that deletes
        """,
    "the lower modules, the protocol and the tool": """
        `grp_reg` | `grp_get` | `grp_mon $group` | `mon_nodes` | `up_nodes` | `known_nodes` | `node_is_up`
        `$SRCNODE` | `snd_on` | `eval_on` | `snd_to_func` | `resolve_node` | `aemp snd` | `aemp cal` | `aemp mon`
        `aemp eval` | `aemp trace` | `aemp restart` | `aemp addseed` | `aemp delseed` | `setseeds` | `delseeds`
        `delbind` | `aemp delsecret` | `aemp setcert` | `delnodeid` | `aemp showprofile` | `aemp showconfig`
        `aemp delprofile` | `aemp profile ruth delservice` | `aemp profile ruth setparent`
        `aemp profile ruth setnodeid` | `AnyEvent::Watchdog` | `mon0` | `mon1` | `kil0` | `kil1` | `g_slave`
        a nonce | `cleartext` | `tls_anon` | `tls_md6_64_256` | `tls_sha3_512` | HMAC-MD6 | HMAC-SHA3-512
        `devnull` | `info` | `time` | `eval` | keep-alive `[]`
        """,
}
"""What the documents name, by document. Of code, the beginning of a piece of code is enough."""

WAITS = {"await trio.sleep_forever()", "await node.wait_death(other)"}
"""What waits for something that does not happen in this test."""


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tables with a column "here", without their heads."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif not line.startswith("| ---"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if not inside:
                head, inside = cells, True
            elif head[1] == "here":
                rows.append(cells)
    return rows


ROWS = rows_of(MAP)
SPANS = list(dict.fromkeys(span for row in ROWS for span in re.findall(r"`([^`]+)`", row[1])))


def terms() -> list[str]:
    lines = [line for listed in TERMS.values() for line in listed.split("\n")]
    return sorted({term.strip() for line in lines for term in line.split(" | ") if term.strip()})


def is_named(term: str, page: str = PAGE) -> bool:
    """Whether a page has a term: code, or the beginning or a word of it, or a piece of text."""
    code = re.fullmatch(r"`([^`]+)`", term)
    if code is None:
        return term in page
    spans = [span for line in page.splitlines() if "```" not in line for span in re.findall(r"`([^`]+)`", line)]
    return any(span.startswith(code[1]) or f" {code[1]}" in span for span in spans)


@pytest.mark.parametrize("term", terms())
def test_every_term_of_the_documents_is_on_the_page(term: str) -> None:
    assert is_named(term), f"docs/from-anyevent-mp.md says nothing of {term}"


def test_a_term_that_is_not_on_the_page_is_noticed() -> None:
    page = "A `mon $port` and a noderef."
    assert [is_named(term, page) for term in ("`mon`", "`$port`", "noderef")] == [True] * 3
    assert not any(is_named(term, page) for term in ("`on`", "`kil $port`", "`noderef`", "seed"))


def test_every_row_says_what_is_there_and_what_is_here() -> None:
    assert len(ROWS) > 150
    for row in ROWS:
        assert len(row) == 3, row
        assert row[0], row
        assert re.search(r"`[^`]+`", row[1]), f"nothing to run: {row}"
    assert len({row[0] for row in ROWS}) == len(ROWS), "two rows for one thing"


def nothing(*_arguments: object) -> None:
    """A function for the code of the page."""


async def sleep_a_little(*_arguments: object) -> None:
    """An async function for the code of the page."""
    await trio.sleep(0.01)


MODULE = """
from trio_mp import spawnable

@spawnable
def function(*arguments):
    pass

@spawnable
async def stream(stream):
    await stream.send_all(b"bytes")
"""


@asynccontextmanager
async def open_places(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes of one network; what the page spawns is in a module of both."""
    (directory / "package").mkdir()
    (directory / "package" / "module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(directory)
    try:
        settings: dict[str, Any] = {"spawn_modules": ["package.module"], "inspect": "act"}
        async with open_pair(FakeNetwork(), **settings) as (one, two):
            yield two, one
    finally:
        for name in ("package.module", "package"):
            sys.modules.pop(name, None)


def names_for(node: Node, there: Node) -> dict[str, Any]:
    """What the names of the page stand for, but for `port`."""
    other = node.port(nothing)
    other.on("ask")(lambda *arguments: node.send(arguments[-1], "reply"))
    names: dict[str, Any] = {name: getattr(trio_mp, name) for name in trio_mp.__all__}
    names |= {"trio": trio, "node": node, "other": other, "there": there.id, "far": str(there.port(nothing))}
    return names | {"callback": nothing, "function": nothing, "async_function": sleep_a_little, "secret": "x" * 16}


def statement_of(span: str) -> str:
    """Code that can be compiled, from what a cell of the page has room for."""
    if span.startswith("@"):
        return f"{span}\ndef handler(*message):\n    pass"
    if span.startswith("async for "):
        return f"{span}:\n    break"
    if span.startswith(("with ", "async with ")):
        return f"{span}:\n    pass"
    return f"value = {span}"


async def run_span(span: str, names: dict[str, Any]) -> bool:
    """Run code of the page; returns whether it waited in vain."""
    source = f"async def run():\n{textwrap.indent(statement_of(span), '    ')}\n    return locals().get('value')"
    exec(compile(source, span, "exec"), names)
    value: Any = None
    with trio.move_on_after(60) as scope:
        value = await names["run"]()
        if hasattr(type(value), "__aenter__") and not span.startswith("open_node("):
            async with value:
                pass
    tree = ast.parse(statement_of(span)).body[0]
    if isinstance(tree, ast.Assign) and isinstance(tree.value, ast.Compare):
        assert value is True, span
    return scope.cancelled_caught


def is_a_name(span: str) -> bool:
    """Whether it is the name of a setting, of something public, or of a key of the greeting."""
    keys = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"), re.MULTILINE)
    return span in {*TABLE, *trio_mp.__all__, *keys}


def settings_of(call: str) -> set[str]:
    """The settings that a call of `open_node` gives."""
    expression = ast.parse(call, mode="eval").body
    assert isinstance(expression, ast.Call)
    return {str(keyword.arg) for keyword in expression.keywords}


async def test_what_is_here_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    ran = set()
    async with open_places(tmp_path, monkeypatch) as (node, there):
        for group in ("group", "name"):
            there.database.register(group, there.port(nothing))
        for span in SPANS:
            if span.startswith("trio-mp "):
                assert f"### `{span}`" in commands, span
                continue
            if span.isidentifier():
                assert is_a_name(span), span
                continue
            if span.startswith("open_node("):
                assert settings_of(span) <= {"profile", *TABLE}, span
            names = names_for(node, there)
            waited: list[bool] = []

            async def in_port(port: Port, span: str = span, names: dict[str, Any] = names) -> None:
                waited.append(await run_span(span, {**names, "port": port}))  # noqa: B023 - of this pass

            port = node.start_port(in_port)
            node.send(port, "tag", 1)
            reason = await node.wait_death(port)
            assert reason == (), f"{span}: {reason}"
            assert waited == [span in WAITS], span
            ran.add(span)
            await until(lambda: node.peers == (there.id,))
    assert len(ran) > 100


async def test_a_mistake_is_an_error_where_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    section = PAGE.partition("\n## Mistakes on the way\n")[2].partition("\n## ")[0]
    mistakes = re.findall(r"^\| `([^`]+)` \| `(\w+)`: (.+) \|$", section, re.MULTILINE)
    assert len(mistakes) == 10
    async with open_places(tmp_path, monkeypatch) as (node, there), node.open_port() as port:
        for span, error, text in mistakes:
            names = names_for(node, there) | {"port": port, "node": node}
            with pytest.raises(getattr(builtins, error), match=re.escape(text)):
                await run_span(span, names)


async def test_what_the_page_says_of_defaults() -> None:
    async with open_node() as node:
        assert node.id.startswith("anon/")
        assert node.binds == ()
        assert node.peers == ()


async def test_a_lost_node_is_the_second_element_of_the_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, two):
        reason = await one.wait_death("nobody#0000000000000000")
        assert reason[:2] == ("transport_error", "nobody")
        assert len(reason) == 3
        assert two.peers == (one.id,)


def test_what_a_change_has() -> None:
    assert {"table", "added", "changed", "deleted"} <= set(Change.__dataclass_fields__)
    assert "`Change(table, added, changed, deleted)`" in PAGE
