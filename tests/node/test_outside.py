"""What a node takes from outside its program: from variables and profiles; and who takes nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from chaos.crew import environment
from child_process import launch_program, open_parent

from trio_mp import ConfigurationError, Node, open_node
from trio_mp.lowlevel import Environment, open_node_in
from trio_mp.testing import SimulatedNetwork, simulate

SECRET = "0123456789abcdef"
NONSENSE = {"TRIO_MP_HEARTBEAT": "nonsense", "TRIO_MP_PROFILE": "nonsense"}
"""A node that looks at these cannot be opened."""

WriteProfiles = Callable[[str], Path]


@pytest.fixture
def write_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteProfiles:
    def write(text: str) -> Path:
        path = tmp_path / "profiles.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
        return path

    return write


def settings_of(node: Node) -> Any:
    return node._runtime.settings


# What is taken --------------------------------------------------------------------------------------------------------


async def test_a_profile_makes_a_network(short_directory: Path, write_profiles: WriteProfiles) -> None:
    write_profiles(f"""
        [default]
        secret = "{SECRET}"
        [profile.seed]
        node_id = "the-seed"
        binds = ["unix:{short_directory}/s"]
        [profile.member]
        seeds = ["unix:{short_directory}/s"]
        """)
    async with open_node(profile="seed") as seed:
        assert (seed.id, seed.binds) == ("the-seed", (f"unix:{short_directory}/s",))
        async with open_node("member", profile="member") as member:
            assert member.id == "member"
            with trio.fail_after(20):
                assert await member.call("the-seed", "info") == ("the-seed",)


async def test_who_configures_decides_and_the_log_says_it(
    write_profiles: WriteProfiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_profiles("[profile.a]\nparent = 'b'\nport_limit = 1\n[profile.b]\nnode_id = 'of-b'\ncall_limit = 2\n")
    monkeypatch.setenv("TRIO_MP_MONITOR_LIMIT", "3")
    caplog.set_level(logging.INFO, logger="trio_mp")
    async with open_node("mine", profile="a", port_limit=10, call_limit=20, monitor_limit=30, mailbox_limit=40) as node:
        found = settings_of(node)
        assert (node.id, found.port_limit, found.call_limit, found.monitor_limit) == ("of-b", 1, 2, 3)
        assert found.mailbox_limit == 40
    (line,) = [record.getMessage() for record in caplog.records if "settings" in record.getMessage()]
    assert line == (
        f"settings of the node: monitor_limit is from TRIO_MP_MONITOR_LIMIT; port_limit is from {path}:"
        f" profile.a.port_limit; node_id is from {path}: profile.b.node_id; call_limit is from {path}:"
        f" profile.b.call_limit; the program's port_limit does not count, because {path}: profile.a.port_limit decides;"
        f" the program's call_limit does not count, because {path}: profile.b.call_limit decides; the program's"
        " monitor_limit does not count, because TRIO_MP_MONITOR_LIMIT decides; the program's node_id does not count,"
        f" because {path}: profile.b.node_id decides"
    )


async def test_what_is_fixed_stays_and_a_warning_says_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIO_MP_ENCRYPTION", "false")
    async with open_node(fixed=("encryption",)) as node:
        assert settings_of(node).encryption is True
    assert "TRIO_MP_ENCRYPTION has no effect: the program has fixed it" in caplog.messages
    async with open_node(encryption=True) as node:
        assert settings_of(node).encryption is False


async def test_a_misspelt_variable_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIO_MP_SEED", "unix:x")
    async with open_node():
        pass
    assert caplog.messages == ["TRIO_MP_SEED: there is no such setting; did you mean TRIO_MP_SEEDS?"]


async def test_settings_that_contradict_each_other_are_named_with_their_places(
    write_profiles: WriteProfiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_profiles("[default]\nheartbeat = 20\n")
    monkeypatch.setenv("TRIO_MP_CONNECT_TIMEOUT", "10")
    with pytest.raises(ConfigurationError, match=r"^heartbeat: expected less than a third") as caught:
        async with open_node(profile=True):
            raise AssertionError
    places = f"(connect_timeout is from TRIO_MP_CONNECT_TIMEOUT, heartbeat is from {path}: default.heartbeat)"
    assert str(caught.value).endswith(places)


async def test_an_error_of_the_block_is_not_taken_for_one_of_the_settings() -> None:
    with pytest.raises(ConfigurationError, match=r"^heartbeat$"):
        async with open_node(profile=True, heartbeat=1):
            raise ConfigurationError("heartbeat")


# A bare node ----------------------------------------------------------------------------------------------------------


async def test_a_bare_node_stays_local_whatever_the_file_says(write_profiles: WriteProfiles) -> None:
    write_profiles(f"use = 'a'\n[default]\nsecret = '{SECRET}'\nbinds = ['127.0.0.1:0']\n[profile.a]\nnode_id = 'a'\n")
    async with open_node() as node:
        assert not settings_of(node).networked
        assert node.id.startswith("anon/")


@pytest.mark.parametrize("variable", ["TRIO_MP_SEEDS", "TRIO_MP_BINDS", "TRIO_MP_PROFILE"])
async def test_the_environment_gives_a_bare_node_a_network(
    write_profiles: WriteProfiles, monkeypatch: pytest.MonkeyPatch, short_directory: Path, variable: str
) -> None:
    bind = f"unix:{short_directory}/s"
    write_profiles(f"[default]\nsecret = '{SECRET}'\n[profile.a]\nbinds = ['{bind}']\n")
    monkeypatch.setenv(variable, "a" if variable == "TRIO_MP_PROFILE" else bind)
    async with open_node() as node:
        assert settings_of(node).networked


# The first node -------------------------------------------------------------------------------------------------------


async def test_only_the_first_node_takes_an_id_and_binds_from_outside(
    monkeypatch: pytest.MonkeyPatch, short_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bind = f"unix:{short_directory}/s"
    for name, value in {"NODE_ID": "only", "BINDS": bind, "SECRET": SECRET, "CALL_LIMIT": "5"}.items():
        monkeypatch.setenv(f"TRIO_MP_{name}", value)
    for _ in range(2):
        # Again when the first one has closed, so that a program can restart its node.
        async with open_node("program") as first:
            assert (first.id, first.binds) == ("only", (bind,))
            caplog.set_level(logging.INFO, logger="trio_mp")
            caplog.clear()
            async with open_node("second") as second:
                assert (second.id, second.binds) == ("second", ())
                assert settings_of(second).call_limit == 5
            reason = "does not count, because another node of this process has taken its own from outside"
            assert f"TRIO_MP_NODE_ID {reason}; TRIO_MP_BINDS {reason}" in caplog.text
            assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
            async with open_node() as third:
                assert third.id.startswith("anon/")


async def test_a_node_that_takes_nothing_is_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_MP_NODE_ID", "only")
    async with open_node(profile=False) as one, open_node(fixed=["node_id"]) as other, open_node() as first:
        assert "only" not in (one.id, other.id)
        assert first.id == "only"


async def test_a_node_that_cannot_be_opened_is_not_the_first(
    monkeypatch: pytest.MonkeyPatch, short_directory: Path
) -> None:
    monkeypatch.setenv("TRIO_MP_NODE_ID", "only")
    with pytest.raises(OSError, match="no/such/folder"):
        async with open_node(binds=[f"unix:{short_directory}/no/such/folder"], secret=SECRET):
            raise AssertionError
    async with open_node() as node:
        assert node.id == "only"


# Who takes nothing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NONSENSE.items():
        monkeypatch.setenv(name, value)


async def test_nonsense_is_noticed(nonsense: None) -> None:
    with pytest.raises(ConfigurationError, match=r"^TRIO_MP_HEARTBEAT: expected a number, got 'nonsense'"):
        async with open_node():
            raise AssertionError
    os.environ["TRIO_MP_HEARTBEAT"] = "1"
    with pytest.raises(ConfigurationError, match=r"expected a profile 'nonsense'; it has none"):
        async with open_node():
            raise AssertionError


async def test_without_a_profile_nothing_is_taken(nonsense: None) -> None:
    async with open_node("me", profile=False, heartbeat=2) as node:
        assert (node.id, settings_of(node).heartbeat) == ("me", 2)
    async with open_node_in(Environment(), "me", heartbeat=2) as node:
        assert (node.id, settings_of(node).heartbeat) == ("me", 2)


def test_a_simulation_takes_nothing(nonsense: None) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with network.open_node("a") as a, network.open_node("b", seeds=["a"]) as b:
            assert await b.call(a.id, "info") == ("a",)

    simulate(scenario)


async def test_workers_take_nothing(nonsense: None) -> None:
    async with open_node(profile=False) as node, node.open_workers(1, modules=["worker_functions"]) as workers:
        import worker_functions  # where workers import it from

        assert await workers.run(worker_functions.double, 21) == 42


async def test_a_child_takes_nothing_of_its_parents_environment(short_directory: Path) -> None:
    bind = f"unix:{short_directory}/p"
    async with open_parent(bind, profile=False) as node:
        env = environment() | NONSENSE | {"TRIO_MP_NODE_ID": "parent", "TRIO_MP_BINDS": bind}
        child = await launch_program(node, "server", env=env)
        assert child.node_id != "parent"
        assert await node.call(child.port, "double", 21) == (42,)
