"""The file with the profiles: what it may hold, and how each mistake in it is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_mp import Certificate, ConfigurationError
from trio_mp._profiles.document import Document, read_document
from trio_mp._settings.settings import TABLE, SettingArguments

PATH = "/home/me/profiles.toml"

EVERYTHING = """
use = "all of it"

[default]
heartbeat = 2

[profile."all of it"]
parent = "seed"
node_id = "me"
advertise = ["one.example:4040"]
seeds = []
secret = ["0123456789abcdef", "the one before this"]
secret_file = "secret"
certificate = { chain = "node.pem", key = "/keys/node.key", authority = "~/authority.pem", verify_node_id = false }
encryption = true
heartbeat = 1
connect_timeout = 10.5
idle_timeout = 60
handshake_timeout = 2
attach_timeout = 30
shutdown_timeout = 0.5
drain_timeout = 7.5
busy_poll = 50e-6
queue_limit = 1048576
message_limit = 262144
mailbox_limit = 1
mailbox_size_limit = 1
port_limit = 1
monitor_limit = 1
call_limit = 1
unmonitored_death = "raise"
services = ["app.web", ["app.mail:start", "imap", 3]]
spawn_modules = ["json"]
inspect = "read"
inspect_from = ["ops"]
share_logs = false
health = "127.0.0.1:8081"
tool = false

[profile.seed]
binds = ["*:4040"]
"""


def values(document: Document, profile: str | None) -> list[dict[str, object]]:
    return [{name: one.value for name, one in layer.items()} for layer in document.layers(profile)]


def test_every_setting_can_be_in_a_profile() -> None:
    document = read_document(EVERYTHING, PATH)
    assert document.use == "all of it"
    own, parent, default = values(document, document.use)
    assert set(own) | set(parent) == {"node_id", *TABLE} == {"node_id", *SettingArguments.__annotations__}
    assert (parent, default) == ({"binds": ["*:4040"]}, {"heartbeat": 2})
    expected = Certificate("/home/me/node.pem", "/keys/node.key", Path.home() / "authority.pem", verify_node_id=False)
    assert own["certificate"] == expected
    assert own["secret_file"] == "/home/me/secret"
    assert values(document, None) == [{"heartbeat": 2}]


def test_a_source_is_the_file_and_the_key() -> None:
    own, parent, default = read_document(EVERYTHING, PATH).layers("all of it")
    assert own["heartbeat"].source == f'{PATH}: profile."all of it".heartbeat'
    assert parent["binds"].source == f"{PATH}: profile.seed.binds"
    assert default["heartbeat"].source == f"{PATH}: default.heartbeat"


def test_an_empty_file_has_no_profiles() -> None:
    assert read_document("", PATH) == Document(PATH)
    assert read_document("# nothing\n[profile.a]\n", PATH).layers("a") == [{}, {}]


WRONG: list[tuple[str, str]] = [
    ("x = \n", f"{PATH}: expected TOML: .*line 1"),
    ("seeds = []", rf"{PATH}: seeds: expected one of use, default, profile; settings stand in \[default\]"),
    ("[profiles.a]", rf"{PATH}: profiles: expected one of .* \(did you mean profile\?\)"),
    ("use = 5", f"{PATH}: use: expected the name of a profile, got 5"),
    ("default = 5", f"{PATH}: default: expected a table, got a value of the type int"),
    ("profile = []", f"{PATH}: profile: expected a table, got a value of the type list"),
    ("[profile.default]", f"{PATH}: profile.default: expected another name"),
    ("[profile]\na = 5", f"{PATH}: profile.a: expected a table, got a value of the type int"),
    ("[profile.A]\n[profile.'b c']", f"{PATH}: expected a profile 'a'; it has A, b c"),
    ("", f"{PATH}: expected a profile 'a'; it has none"),
    ("[profile.a]\nseed = []", rf"{PATH}: profile.a.seed: there is no such setting \(did you mean seeds\?\)"),
    ("[profile.a]\n[default]\nparent = 'a'", f"{PATH}: default.parent: there is no such setting"),
    ("[profile.a]\nparent = 'b'", f"{PATH}: profile.a.parent: expected the name of a profile of this file, got 'b'"),
    ("[profile.a]\nparent = ['b']\n[profile.b]", rf"{PATH}: profile.a.parent: expected .*, got \['b'\]"),
    ("[profile.a]\nparent = 'a'", f"{PATH}: profile.a.parent: .* got a circle: a -> a"),
    (
        "[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'c'\n[profile.c]\nparent = 'b'",
        f"{PATH}: profile.c.parent: expected parents that come to an end, got a circle: b -> c -> b",
    ),
    ("[profile.a]\nnode_id = 'a b'", f"{PATH}: profile.a.node_id: expected 1 to 255 of .*, got 'a b'"),
    ("[profile.a]\nnode_id = 5", f"{PATH}: profile.a.node_id: expected a str, got 5"),
    ("[profile.a]\nheartbeat = '5'", f"{PATH}: profile.a.heartbeat: expected a number of seconds, got '5'"),
    ("[profile.a]\nheartbeat = 0", f"{PATH}: profile.a.heartbeat: expected .*, got 0"),
    ("[profile.a]\nbinds = 'x'", rf"{PATH}: profile.a.binds: expected .* got 'x'; write \['x'\]"),
    ("[profile.a]\nbinds = ['unix:x', 'a b']", f"{PATH}: profile.a.binds: .*'a b'"),
    ("[profile.a]\nsecret = 5", f"{PATH}: profile.a.secret: expected a str"),
    ("[profile.a]\nservices = [['a b', 5]]", rf"{PATH}: profile.a.services\[0\]: expected .* got 'a b'"),
    ("[profile.a]\nsecret_file = ''", f"{PATH}: profile.a.secret_file: expected the path of a file, got ''"),
    ("[profile.a]\nencryption = 1", f"{PATH}: profile.a.encryption: expected True or False, got 1"),
    ("[profile.a]\nencryption = 1980-01-01", f"{PATH}: profile.a.encryption: expected True or False, got "),
    ("[profile.a]\ncertificate = 'node.pem'", f"{PATH}: profile.a.certificate: expected "),
    ("[profile.a]\ncertificate = {}", f"{PATH}: profile.a.certificate: expected a table with chain, key and authority"),
    ("[profile.a.certificate]\nchains = 'x'", rf"{PATH}: profile.a.certificate.chains: .*\(did you mean chain\?\)"),
    (
        "[profile.a.certificate]\nchain = 'x'\nkey = 'y'\nauthority = 5",
        f"{PATH}: profile.a.certificate: .*authority: expected the path of a file",
    ),
    ("[profile.a]\n[default]\nheartbeat = 0", f"{PATH}: default.heartbeat: "),
    ("[profile.a]\nparent = 'b'\n[profile.b]\nheartbeat = 0", f"{PATH}: profile.b.heartbeat: "),
]


@pytest.mark.parametrize("text, error", WRONG, ids=[text.replace("\n", " ")[:40] for text, _ in WRONG])
def test_an_error_names_the_file_the_key_and_the_reason(text: str, error: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_document(text, PATH).layers("a")
    assert re.match(error, str(caught.value)), str(caught.value)


def test_a_mistake_in_another_profile_is_no_mistake_of_this_one() -> None:
    document = read_document("[profile.a]\nheartbeat = 1\n[profile.b]\nheartbeats = 0\nparent = 'c'", PATH)
    assert values(document, "a") == [{"heartbeat": 1}, {}]


@pytest.mark.parametrize("table", ["profile.a", "profile.b", "default"])
def test_a_secret_that_others_may_read_is_refused_with_the_command_that_mends_it(table: str) -> None:
    text = f"[profile.a]\nparent = 'b'\n[profile.b]\n[default]\n[profile.c]\nsecret = '{'c' * 16}'\n"
    text = text.replace(f"[{table}]\n", f"[{table}]\nsecret = '0123456789abcdef'\n")
    path = "/my files/profiles.toml"
    with pytest.raises(ConfigurationError) as caught:
        read_document(text, path, 0o644).layers("a")
    assert str(caught.value) == (
        f"{path}: {table}.secret: expected a file that nobody but its owner may read, because it holds a secret, got"
        f" one with the permissions 644; run `chmod 600 '{path}'`"
    )
    assert read_document(text, path, None).layers("a")


def test_a_file_without_a_secret_in_use_may_be_read_by_all() -> None:
    text = "[profile.a]\nheartbeat = 1\n[profile.b]\nsecret = '0123456789abcdef'"
    assert values(read_document(text, PATH, 0o644), "a") == [{"heartbeat": 1}, {}]


@pytest.mark.parametrize("text", ["[profile.a]\nsecret = 'hunter2'", "[profile.a]\nsecret = ['hunter2']"])
def test_an_error_never_shows_the_secret(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_document(text, PATH).layers("a")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(read_document(text, PATH))


GRAPHS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["", "a", "b", "c", "d"]), min_size=1)


@given(GRAPHS)
def test_a_chain_ends_or_its_circle_is_named(parents: dict[str, str]) -> None:
    profiles: dict[str, Any] = {name: {"parent": parent} if parent else {} for name, parent in parents.items()}
    document = Document(PATH, None, {}, profiles)
    for start in parents:
        walked, name = [start], start
        while (name := parents.get(name, "")) and name not in walked:
            walked.append(name)
        if not name and not parents.get(walked[-1], "missing"):
            assert document.chain(start) == walked
            continue
        with pytest.raises(ConfigurationError) as caught:
            document.chain(start)
        if name:
            assert str(caught.value).endswith(" -> ".join([*walked[walked.index(name) :], name]))
        else:
            assert f"got {walked[-1]!r}" in str(caught.value)
