"""Settings in the environment."""

from __future__ import annotations

import re

import pytest

from trio_mp import Certificate, ConfigurationError
from trio_mp._profiles.sources import KEYS
from trio_mp._profiles.variables import VARIABLES, find_misspelt, variables_layer

EVERYTHING: dict[str, tuple[str, object]] = {
    "TRIO_MP_NODE_ID": ("me", "me"),
    "TRIO_MP_BINDS": ("*:4040, unix:/tmp/s", ["*:4040", "unix:/tmp/s"]),
    "TRIO_MP_ADVERTISE": ("one.example, two.example:1", ["one.example", "two.example:1"]),
    "TRIO_MP_SEEDS": ("localhost,[::1]:4040", ["localhost", "[::1]:4040"]),
    "TRIO_MP_SECRET": ("a secret, with a comma", "a secret, with a comma"),
    "TRIO_MP_SECRET_FILE": ("secret", "secret"),
    "TRIO_MP_CERTIFICATE": (
        '{chain = "node.pem", key = "node.key", authority = "/a.pem"}',
        Certificate("node.pem", "node.key", "/a.pem"),
    ),
    "TRIO_MP_ENCRYPTION": ("True", True),
    "TRIO_MP_HEARTBEAT": ("0.5", 0.5),
    "TRIO_MP_CONNECT_TIMEOUT": ("10", 10.0),
    "TRIO_MP_IDLE_TIMEOUT": ("60", 60.0),
    "TRIO_MP_HANDSHAKE_TIMEOUT": ("2", 2.0),
    "TRIO_MP_ATTACH_TIMEOUT": ("30", 30.0),
    "TRIO_MP_SHUTDOWN_TIMEOUT": ("1e-3", 0.001),
    "TRIO_MP_DRAIN_TIMEOUT": ("7.5", 7.5),
    "TRIO_MP_BUSY_POLL": ("50e-6", 50e-6),
    "TRIO_MP_QUEUE_LIMIT": ("1048576", 1048576),
    "TRIO_MP_MESSAGE_LIMIT": ("262144", 262144),
    "TRIO_MP_MAILBOX_LIMIT": ("1", 1),
    "TRIO_MP_MAILBOX_SIZE_LIMIT": ("1", 1),
    "TRIO_MP_PORT_LIMIT": ("1", 1),
    "TRIO_MP_MONITOR_LIMIT": ("1", 1),
    "TRIO_MP_CALL_LIMIT": ("1", 1),
    "TRIO_MP_UNMONITORED_DEATH": ("raise", "raise"),
    "TRIO_MP_SERVICES": ("app.web, app.mail:start", ["app.web", "app.mail:start"]),
    "TRIO_MP_SPAWN_MODULES": ("json", ["json"]),
    "TRIO_MP_INSPECT": ("act", "act"),
    "TRIO_MP_INSPECT_FROM": ("ops, top", ["ops", "top"]),
    "TRIO_MP_SHARE_LOGS": ("0", False),
    "TRIO_MP_HEALTH": ("127.0.0.1:8081", "127.0.0.1:8081"),
    "TRIO_MP_TOOL": ("true", True),
}


def test_every_setting_can_be_in_the_environment() -> None:
    layer = variables_layer({name: text for name, (text, _) in EVERYTHING.items()})
    assert {one.source: one.value for one in layer.values()} == {name: value for name, (_, value) in EVERYTHING.items()}
    assert tuple(layer) == KEYS == tuple(VARIABLES.values())
    assert set(VARIABLES) == set(EVERYTHING)


def test_other_variables_and_empty_ones_say_nothing() -> None:
    empty = dict.fromkeys(VARIABLES, "")
    assert variables_layer({"HOME": "/", "TRIO_MP_PARENT_PIPE": "5", **empty}) == {}


def test_a_list_of_toml_says_what_commas_cannot() -> None:
    layer = variables_layer(
        {
            "TRIO_MP_SEEDS": '["unix:/run/a,b", "[::1]:4040"]',
            "TRIO_MP_BINDS": "[::1],[::2]",
            "TRIO_MP_SERVICES": ' [ ["irc:start", "irc.example", 6667], "chat" ] ',
        }
    )
    assert {name: one.value for name, one in layer.items()} == {
        "seeds": ["unix:/run/a,b", "[::1]:4040"],
        "binds": ["[::1]", "[::2]"],
        "services": [["irc:start", "irc.example", 6667], "chat"],
    }


def test_no_address_at_all_can_be_said() -> None:
    layer = variables_layer({"TRIO_MP_BINDS": "[]", "TRIO_MP_SEEDS": " , "})
    assert {name: one.value for name, one in layer.items()} == {"binds": [], "seeds": []}


@pytest.mark.parametrize(
    "name, text, error",
    [
        ("HEARTBEAT", "5s", "expected a number, got '5s'"),
        ("HEARTBEAT", "100", "expected 0.1 to 60 seconds, got 100.0"),
        ("MAILBOX_LIMIT", "1e6", "expected a whole number, got '1e6'"),
        ("ENCRYPTION", "no", "expected true or false, got 'no'"),
        ("NODE_ID", "a b", "expected 1 to 255 of the characters .* got 'a b'"),
        ("SEEDS", "*:0", "expected addresses that can be dialled"),
        ("BINDS", "a b", ".*'a b'"),
        ("BINDS", '["a"', "expected a list of TOML in one line"),
        ("SECRET", "short", "expected at least 16 bytes, got 5"),
        ("UNMONITORED_DEATH", "ignore", "expected 'log' or 'raise', got 'ignore'"),
        ("CERTIFICATE", "node.pem", "expected a table of TOML in one line"),
        ("CERTIFICATE", "5", "expected a trio_mp.Certificate"),
    ],
)
def test_an_error_names_the_variable_and_the_reason(name: str, text: str, error: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        variables_layer({f"TRIO_MP_{name}": text})
    assert re.match(f"TRIO_MP_{name}: {error}", str(caught.value)), str(caught.value)


def test_a_misspelt_variable_is_named_and_those_of_others_are_not() -> None:
    right = dict.fromkeys([*VARIABLES, "TRIO_MP_PROFILE", "TRIO_MP_CONFIG", "TRIO_MP_PARENT_PIPE", "TRIO_MP_LOG"], "x")
    others = {"TRIO_MP_REQUIRE_TCP": "1", "TRIO_MP_TEST_INSTALLED": "1", "SEEDS": "x", "TRIO_MQ_SEEDS": "x"}
    assert find_misspelt({**right, **others, "TRIO_MP_SEED": "x", "TRIO_MP_NODEID": "x"}) == [
        "TRIO_MP_NODEID: there is no such setting; did you mean TRIO_MP_NODE_ID?",
        "TRIO_MP_SEED: there is no such setting; did you mean TRIO_MP_SEEDS?",
    ]
