"""The settings of a node: what they may be, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trio_mp import ConfigurationError, open_node
from trio_mp._settings.checks import ServiceReference
from trio_mp._settings.settings import SettingArguments, Settings, check_settings

SECRET = "0123456789abcdef"


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = check_settings(None, {})
    assert settings == Settings()
    assert settings.node_id is None
    assert settings.binds is None
    assert settings.seeds == ()
    assert settings.secret == ()
    assert settings.secret_file is None
    assert settings.certificate is None
    assert settings.encryption is True
    assert settings.heartbeat == 5
    assert settings.connect_timeout == 30
    assert settings.idle_timeout == 600
    assert settings.handshake_timeout == 10
    assert settings.attach_timeout is None
    assert settings.shutdown_timeout == 5
    assert settings.drain_timeout == 25
    assert settings.busy_poll == 0
    assert settings.queue_limit == 256 * 1024**2
    assert settings.message_limit == 64 * 1024**2
    assert settings.mailbox_limit == 1_000_000
    assert settings.mailbox_size_limit == 256 * 1024**2
    assert settings.port_limit == 100_000
    assert settings.monitor_limit == 1_000_000
    assert settings.call_limit == 100_000
    assert settings.unmonitored_death == "log"
    assert settings.services == ()
    assert settings.spawn_modules == ()
    assert settings.inspect == "off"
    assert settings.inspect_from == ()
    assert settings.share_logs is True
    assert settings.health is None
    assert settings.tool is False


def test_every_setting_can_be_given() -> None:
    arguments: SettingArguments = {
        "binds": ["127.0.0.1:0", "unix:/tmp/x.sock"],
        "advertise": ["one.example", "unix:/tmp/x.sock"],
        "seeds": ("localhost", "srv:_app._tcp.example", "dir:/shared/job"),
        "secret": (SECRET, b"the one before this"),
        "secret_file": None,
        "certificate": None,
        "encryption": False,
        "heartbeat": 1,
        "connect_timeout": 10.5,
        "idle_timeout": 60,
        "handshake_timeout": 2,
        "attach_timeout": 30,
        "shutdown_timeout": 0.5,
        "drain_timeout": 7.5,
        "busy_poll": 50e-6,
        "queue_limit": 1024**2,
        "message_limit": 256 * 1024,
        "mailbox_limit": 1,
        "mailbox_size_limit": 1,
        "port_limit": 1,
        "monitor_limit": 1,
        "call_limit": 1,
        "unmonitored_death": "raise",
        "services": ["app.web", ("app.mail:start", "imap", 3), ["_a.b:_c"]],
        "spawn_modules": ["json"],
        "inspect": "act",
        "inspect_from": ["ops", "tools/top"],
        "share_logs": False,
        "health": "unix:/tmp/health",
        "tool": False,
    }
    settings = check_settings("me", arguments)
    assert settings.node_id == "me"
    assert [str(address) for address in settings.binds or ()] == ["127.0.0.1:0", "unix:/tmp/x.sock"]
    assert [str(address) for address in settings.advertise] == ["one.example:4040", "unix:/tmp/x.sock"]
    assert [str(seed) for seed in settings.seeds] == ["localhost:4040", "srv:_app._tcp.example", "dir:/shared/job"]
    assert settings.secret == (SECRET.encode(), b"the one before this")
    assert settings.heartbeat == 1.0
    assert isinstance(settings.heartbeat, float)
    assert settings.services == (
        ServiceReference("app.web", "main"),
        ServiceReference("app.mail", "start", ("imap", 3)),
        ServiceReference("_a.b", "_c"),
    )
    assert settings.spawn_modules == ("json",)
    assert set(arguments) == set(SettingArguments.__annotations__)


WRONG_TYPES: list[tuple[str, Any]] = [
    ("binds", "127.0.0.1:0"),
    ("binds", 5),
    ("binds", [5]),
    ("seeds", b"localhost"),
    ("seeds", [None]),
    ("secret", 5),
    ("secret", bytearray(20)),
    ("secret", [5]),
    ("secret", {"a" * 16}),
    ("secret_file", 5),
    ("secret_file", b"secret"),
    ("secret_file", ["secret"]),
    ("certificate", "node.pem"),
    ("encryption", 1),
    ("encryption", "yes"),
    ("encryption", None),
    ("heartbeat", "5"),
    ("heartbeat", None),
    ("heartbeat", True),
    ("connect_timeout", "30"),
    ("connect_timeout", 1j),
    ("handshake_timeout", [10]),
    ("attach_timeout", "30"),
    ("health", 8081),
    ("health", ["127.0.0.1:8081"]),
    ("shutdown_timeout", False),
    ("queue_limit", 1e9),
    ("queue_limit", "1"),
    ("message_limit", 1e6),
    ("message_limit", True),
    ("mailbox_limit", 1.5),
    ("mailbox_limit", True),
    ("mailbox_limit", None),
    ("mailbox_size_limit", "1"),
    ("port_limit", 1.0),
    ("busy_poll", False),
    ("busy_poll", "0"),
    ("monitor_limit", "many"),
    ("call_limit", "many"),
    ("services", "json"),
    ("services", 5),
    ("services", [5]),
    ("services", [[]]),
    ("services", [[5, "json"]]),
    ("spawn_modules", "json"),
    ("share_logs", 1),
    ("tool", 1),
    ("inspect_from", "ops"),
    ("inspect_from", [5]),
    ("spawn_modules", [5]),
]
WRONG_VALUES: list[tuple[str, Any]] = [
    ("binds", [""]),
    ("binds", ["127.0.0.1:99999"]),
    ("binds", ["unix:"]),
    ("seeds", ["a b"]),
    ("secret", "hunter2"),
    ("secret", b"fifteen bytes.."),
    ("secret", ""),
    ("secret", []),
    ("secret", [SECRET, "hunter2"]),
    ("secret", "\udc80" * 20),
    ("secret_file", ""),
    ("secret_file", "a\0b"),
    ("heartbeat", 0),
    ("heartbeat", -1),
    ("heartbeat", 0.01),
    ("heartbeat", 61),
    ("heartbeat", float("nan")),
    ("connect_timeout", 0),
    ("idle_timeout", 0),
    ("connect_timeout", float("inf")),
    ("connect_timeout", float("nan")),
    ("connect_timeout", 10**400),
    ("handshake_timeout", -1),
    ("attach_timeout", 0),
    ("health", "127.0.0.1"),
    ("health", "unix:"),
    ("shutdown_timeout", 0),
    ("busy_poll", -1e-6),
    ("busy_poll", 0.0011),
    ("busy_poll", float("nan")),
    ("shutdown_timeout", float("inf")),
    ("queue_limit", 0),
    ("queue_limit", -1),
    ("message_limit", 0),
    ("message_limit", 10),
    ("mailbox_limit", 0),
    ("mailbox_limit", -5),
    ("inspect", "write"),
    ("inspect", True),
    ("inspect_from", ["a b"]),
    ("unmonitored_death", "ignore"),
    ("unmonitored_death", None),
    ("unmonitored_death", ["log"]),
    ("services", ["no module"]),
    ("services", ["json:loads:x"]),
    ("services", [":main"]),
    ("services", ["json:a.b"]),
    ("services", ["no_such_module"]),
    ("services", ["json"]),
    ("services", ["json:__name__"]),
    ("spawn_modules", ["no_such_module"]),
]


@pytest.mark.parametrize("name, value", WRONG_TYPES, ids=lambda value: f"{value!r:.20}")
async def test_a_value_of_a_wrong_type_is_refused_by_the_name_of_its_setting(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=rf"^{name}(\[\d\])?: "):
        async with open_node(**arguments):
            raise AssertionError


@pytest.mark.parametrize("name, value", WRONG_VALUES, ids=lambda value: f"{value!r:.20}")
async def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_setting(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=rf"^{name}(\[\d\])?: "):
        async with open_node(**arguments):
            raise AssertionError


@pytest.mark.parametrize(
    "secret", ["hunter2", b"hunter2", bytearray(b"hunter2"), ["hunter2"], "hunter2\udc80..........."]
)
def test_an_error_never_shows_the_secret(secret: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        check_settings(None, {"secret": secret})
    assert "hunter2" not in str(caught.value)


def test_a_configuration_error_is_a_value_error() -> None:
    assert issubclass(ConfigurationError, ValueError)


async def test_an_unknown_setting_is_refused_and_the_known_ones_are_named() -> None:
    arguments: dict[str, Any] = {"heart_beat": 5}
    with pytest.raises(TypeError, match=r"heart_beat.*heartbeat"):
        async with open_node(**arguments):
            raise AssertionError


@pytest.mark.parametrize("node_id", [None, "anon/"])
async def test_a_node_without_an_id_gets_a_random_one(node_id: str | None) -> None:
    async with open_node(node_id) as one, open_node(node_id) as other:
        assert one.id != other.id
        assert one.id.startswith("anon/")


NODE_IDS: list[tuple[Any, type[Exception]]] = [
    ("", ValueError),
    ("a b", ValueError),
    ("a#b", ValueError),
    ("ä", ValueError),
    ("x" * 256, ValueError),
    (5, TypeError),
    (b"me", TypeError),
]


@pytest.mark.parametrize("node_id, error", NODE_IDS)
async def test_what_is_no_node_id_is_refused_by_name(node_id: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        async with open_node(node_id):
            raise AssertionError
    assert repr(node_id) in str(caught.value)


@pytest.mark.parametrize("seed, meant", [("*", "localhost:4040"), ("*:5", "localhost:5"), ("a:5", "a:5")])
def test_a_seed_on_all_interfaces_is_one_on_this_host(seed: str, meant: str) -> None:
    # Not left to the resolver, of which only some take it so.
    settings = check_settings(None, {"secret": SECRET, "seeds": [seed], "binds": ["*:5"]})
    assert [str(address) for address in settings.seeds] == [meant]
    assert list(map(str, settings.binds or ())) == ["*:5"]


@pytest.mark.parametrize("name", ["binds", "seeds"])
async def test_a_network_needs_a_secret(name: str) -> None:
    arguments: dict[str, Any] = {name: ["127.0.0.1:4040"]}
    with pytest.raises(ConfigurationError, match="secret"):
        async with open_node(**arguments):
            raise AssertionError


def test_the_path_of_a_secret_file_may_be_any_path() -> None:
    settings = check_settings(None, {"secret_file": Path("a") / "b", "binds": ["unix:x"]})
    assert settings.secret_file == str(Path("a") / "b")


async def test_a_secret_without_a_network_is_no_error() -> None:
    async with open_node(secret=SECRET, binds=(), seeds=()) as node:
        assert node.binds == ()


def test_binds_and_seeds_make_a_network() -> None:
    assert not check_settings(None, {"secret": SECRET}).networked
    assert check_settings(None, {"secret": SECRET, "binds": ["unix:x"]}).networked
    assert check_settings(None, {"secret": SECRET, "seeds": ["unix:x"]}).networked


@pytest.mark.parametrize("heartbeat, connect_timeout", [(5, 15), (10, 30), (60, 30), (1, 3)])
def test_three_heartbeats_must_be_under_the_connect_timeout(heartbeat: float, connect_timeout: float) -> None:
    with pytest.raises(ConfigurationError, match=r"^heartbeat: "):
        check_settings(None, {"heartbeat": heartbeat, "connect_timeout": connect_timeout})


def test_a_connect_timeout_that_is_too_short_for_the_default_heartbeat_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="connect_timeout"):
        check_settings(None, {"connect_timeout": 15})
    assert check_settings(None, {"connect_timeout": 15.1}).connect_timeout == 15.1


def test_a_message_is_at_most_a_quarter_of_the_queue() -> None:
    check_settings(None, {"message_limit": 1024**2, "queue_limit": 4 * 1024**2})
    with pytest.raises(ConfigurationError, match=r"^message_limit: "):
        check_settings(None, {"message_limit": 1024**2 + 1, "queue_limit": 4 * 1024**2})
    with pytest.raises(ConfigurationError, match="message_limit"):
        check_settings(None, {"queue_limit": 1024**2})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().heartbeat = 3  # type: ignore[misc]
