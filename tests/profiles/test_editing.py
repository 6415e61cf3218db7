"""Changing the file with the profiles: what is meant changes, and comments and order stay."""

from __future__ import annotations

import sys
import tomllib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_mp import ConfigurationError
from trio_mp._profiles.editing import DEFAULT, ProfileEditor

PATH = "/p"

TEXT = """\
# the first comment

[default]  # for all
seeds = [
    "a",  # the old one
    "b",
]

# about ruth
[profile.ruth]
parent = "base"  # why
# services = []

# about base
[profile.base]
heartbeat = 1
"""


def test_what_is_new_stands_behind_the_settings_of_its_table_and_before_the_comments_of_the_next() -> None:
    editor = ProfileEditor(TEXT, PATH)
    editor.set("ruth", "node_id", "ruth")
    editor.set(DEFAULT, "heartbeat", 2.5)
    editor.add(DEFAULT, "seeds", ["c", "a"])
    editor.set("base", "heartbeat", 3)
    editor.use("ruth")
    assert (
        editor.text
        == """\
# the first comment
use = "ruth"

[default]  # for all
seeds = [
    "a",  # the old one
    "b",
    "c",
]
heartbeat = 2.5

# about ruth
[profile.ruth]
parent = "base"  # why
node_id = "ruth"
# services = []

# about base
[profile.base]
heartbeat = 3
"""
    )


def test_a_file_is_begun() -> None:
    editor = ProfileEditor("", PATH)
    editor.set("a b", "binds", [])
    editor.add("a b", "services", ["x", ["y:z", 5]])
    editor.set(DEFAULT, "heartbeat", 2)
    editor.use("a b")
    assert tomllib.loads(editor.text) == {
        "use": "a b",
        "default": {"heartbeat": 2},
        "profile": {"a b": {"binds": [], "services": ["x", ["y:z", 5]]}},
    }


def test_what_looks_like_a_comment_and_is_a_text_stays_whole() -> None:
    text = '[profile.a]\nnode_id = """\n# no comment"""\n'
    editor = ProfileEditor(text, PATH)
    editor.set("a", "heartbeat", 5)
    assert tomllib.loads(editor.text)["profile"]["a"] == {"node_id": "# no comment", "heartbeat": 5}


def test_what_is_not_there_is_not_removed() -> None:
    editor = ProfileEditor(TEXT, PATH)
    assert not editor.unset("ruth", "heartbeat")
    assert not editor.remove(DEFAULT, "seeds", ["a", "x"])
    assert not editor.remove("ruth", "binds", ["a"])
    assert editor.text == TEXT
    assert editor.unset("ruth", "parent")
    assert editor.remove(DEFAULT, "seeds", ["a"])
    assert tomllib.loads(editor.text)["default"] == {"seeds": ["b"]}


def test_a_profile_is_shown_as_it_is_written() -> None:
    assert ProfileEditor(TEXT, PATH).written("ruth").startswith('parent = "base"  # why\n# services = []\n')


def test_what_is_needed_is_not_deleted() -> None:
    editor = ProfileEditor(TEXT, PATH)
    with pytest.raises(ConfigurationError, match=r"^/p: base is the parent of ruth; "):
        editor.delete("base")
    editor.use("ruth")
    with pytest.raises(ConfigurationError, match=r"^/p: ruth is the profile in use; "):
        editor.delete("ruth")
    editor.use(None)
    for name in ("ruth", "base", DEFAULT):
        editor.delete(name)
    assert tomllib.loads(editor.text).get("profile", {}) == {}
    assert "# the first comment" in editor.text


def test_what_is_no_setting_is_named() -> None:
    editor = ProfileEditor(TEXT, PATH)
    with pytest.raises(ConfigurationError, match=r"got 'seed' \(did you mean seeds\?\)"):
        editor.set("ruth", "seed", [])
    with pytest.raises(ConfigurationError, match=r"expected a setting that is a list, .* got 'heartbeat'"):
        editor.add("ruth", "heartbeat", [1])
    with pytest.raises(ConfigurationError, match=r"/p: expected a profile 'rut' \(did you mean ruth\?\)"):
        editor.unset("rut", "heartbeat")
    with pytest.raises(ConfigurationError, match="/p: expected TOML: "):
        ProfileEditor("x = ", PATH)
    assert editor.text == TEXT


NAMES = st.sampled_from([DEFAULT, "ruth", "base", "new", "a b"])
STEPS = st.one_of(
    st.tuples(st.just("set"), NAMES, st.sampled_from(["heartbeat", "port_limit"]), st.integers(1, 9)),
    st.tuples(st.just("set"), NAMES, st.just("seeds"), st.lists(st.sampled_from("abc"), unique=True)),
    st.tuples(st.just("add"), NAMES, st.just("seeds"), st.lists(st.sampled_from("abc"), unique=True)),
    st.tuples(st.just("remove"), NAMES, st.just("seeds"), st.lists(st.sampled_from("abc"), unique=True)),
    st.tuples(st.just("unset"), NAMES, st.sampled_from(["heartbeat", "seeds"]), st.none()),
)


@given(st.lists(STEPS, max_size=8))
def test_the_file_says_what_was_done_to_it_and_keeps_its_comments(steps: list[tuple[str, str, str, Any]]) -> None:
    editor, model = ProfileEditor(TEXT, PATH), tomllib.loads(TEXT)
    for action, profile, name, value in steps:
        tables = model if profile == DEFAULT else model["profile"]
        if action in ("unset", "remove") and profile not in tables:
            continue
        table = tables.setdefault(profile, {})
        match action:
            case "set":
                editor.set(profile, name, value)
                table[name] = value
            case "add":
                editor.add(profile, name, value)
                table[name] = table.get(name, []) + [each for each in value if each not in table.get(name, [])]
            case "unset":
                assert editor.unset(profile, name) is (table.pop(name, None) is not None)
            case _:
                done = set(value) <= set(table.get(name, []))
                assert editor.remove(profile, name, value) is done
                if done and value:
                    table[name] = [each for each in table[name] if each not in value]
    assert tomllib.loads(editor.text) == model
    for comment in ("# the first comment", "# for all", "# about ruth\n[profile.ruth]", "# why", "# services = []"):
        assert comment in editor.text
    assert "# about base\n[profile.base]" in editor.text


def test_without_tomlkit_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(ConfigurationError, match=r"install `trio-mp\[cli\]`; or edit the file by hand"):
        ProfileEditor(TEXT, PATH)
