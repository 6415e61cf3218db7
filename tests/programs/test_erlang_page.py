"""docs/from-erlang.md: no subject is missing, and what it names is there. Its programs run in `test_docs`."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT

import trio_mp
from trio_mp import ChildRef, Database, Monitor, Node, Port, Supervisor
from trio_mp._settings.settings import TABLE

PAGE = (ROOT / "docs" / "from-erlang.md").read_text(encoding="utf-8")
SPANS = [span for line in PAGE.splitlines() if "```" not in line for span in re.findall(r"`([^`]+)`", line)]
OWNERS = {"node": Node, "port": Port, "database": Database, "crew": Supervisor, "server": ChildRef, "Monitor": Monitor}

TERMS = """
    spawn | `Pid ! Message` | receive | `self()` | `node()` | atom | `spawn_link/3` | `link/1` | `monitor/2`
    `'DOWN'` | exit signal | trap_exit | `normal` | `noproc` | `noconnection` | `exit/2` | `exit(Pid, kill)`
    selective receive | gen_server:call | gen_server:cast | handle_info | erlang:send_after | `register/2`
    `global` | `pg` | supervisor | one_for_one | rest_for_one | one_for_all | permanent | transient | temporary
    intensity and period | brutal_kill | application | release | epmd | cookie | hidden nodes | net_kernel
    node name | net_ticktime | creation | rpc | erpc | `ets` | mnesia | port driver | NIF | observer | `dbg`
    proc_lib | init:stop | Preemption | Hot code loading | All cores | order and loss | inet_tls | transitive
    isolation of memory | monitor_nodes | suspended | external term format
    `Name ! Message` | after 0 | unlink | demonitor | flush | `exit(Pid, normal)` | is_process_alive | noreply
    gen_server:reply | gen_statem | gen_event | simple_one_for_one | pg:monitor | {global, Name} | terminate/2 | init
"""


@pytest.mark.parametrize(
    "term", [term.strip() for line in TERMS.split("\n") for term in line.split(" | ") if term.strip()]
)
def test_every_subject_is_on_the_page(term: str) -> None:
    assert term.lower() in " ".join(PAGE.split()).lower()


def test_what_it_names_is_there() -> None:
    named = {match.groups() for span in SPANS for match in re.finditer(r"\b([A-Za-z]+)\.([a-z_]+)", span)}
    known = {(owner, name) for owner, name in named if owner in OWNERS}
    assert len(known) > 20
    for owner, name in known:
        assert hasattr(OWNERS[owner], name) or name in OWNERS[owner].__annotations__, f"{owner}.{name}"
    for name in ("mailbox_limit", "queue_limit", "heartbeat"):
        assert name in TABLE
        assert f"`{name}`" in PAGE
    for name in ("current_port", "current_node", "node_of", "open_node", "PortDied"):
        assert name in trio_mp.__all__
        assert f"`{name}" in PAGE


def test_the_commands_that_it_names_are_there() -> None:
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    named = {match[1] for span in SPANS if (match := re.match(r"trio-mp (\w+)", span))}
    assert named
    for name in named:
        assert f"### `trio-mp {name}`" in commands, name
