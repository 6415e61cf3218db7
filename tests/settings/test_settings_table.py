"""The table of the settings, and what repeats it: for type checkers, and for readers."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import reference
import settings_table

from trio_mp._profiles.editing import LISTS
from trio_mp._profiles.gathering import ONCE
from trio_mp._settings.settings import TABLE, SettingArguments, Settings

CONVERTED = {
    "advertise",
    "binds",
    "health",
    "inspect_from",
    "seeds",
    "secret",
    "secret_file",
    "services",
    "spawn_modules",
}
"""The settings that a program gives in another type than the node works with."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_type_checkers_know_the_same_settings() -> None:
    names = [one.name for one in fields(Settings) if one.name != "node_id"]
    assert names == list(TABLE) == list(SettingArguments.__annotations__)


def test_type_checkers_know_the_same_types() -> None:
    given, kept = get_type_hints(SettingArguments), get_type_hints(Settings)
    assert {name for name in TABLE if given[name] != kept[name]} == CONVERTED


@pytest.mark.parametrize("name", TABLE)
def test_a_default_is_what_its_check_allows(name: str) -> None:
    default = getattr(Settings(), name)
    assert TABLE[name].check(name, None if name == "secret" else default) == default


@pytest.mark.parametrize("name", TABLE)
def test_the_text_of_a_setting_is_a_phrase_and_more_of_it_are_sentences(name: str) -> None:
    entry = TABLE[name]
    assert entry.text
    assert not entry.text.endswith(".")
    assert not entry.more or (entry.more[-1] == "." and entry.more[:1] != " ")


def test_the_docstring_of_open_node_is_that_of_the_table() -> None:
    text = settings_table.OPENING.read_text(encoding="utf-8")
    assert settings_table.docstring_list(" " * 8) in text, f"write it with `{reference.COMMAND}`"
    assert settings_table.fill_docstring(text) == text


def test_the_page_has_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert settings_table.markdown_table() in text, f"write it with `{reference.COMMAND}`"
    assert settings_table.sections() in text, f"write it with `{reference.COMMAND}`"


@pytest.mark.parametrize("name", TABLE)
def test_the_examples_of_the_page_say_the_same_in_a_variable_and_in_a_profile(name: str) -> None:
    value = settings_table.example_of(name)
    in_profile = tomllib.loads(f"{name} = {settings_table.in_toml(value)}")[name]
    assert in_profile == value
    if name != "certificate":
        # A file says of a certificate in which files it is.
        in_variable = TABLE[name].read(settings_table.in_variable(value))
        assert TABLE[name].check(name, in_variable) == TABLE[name].check(name, in_profile)
    else:
        assert TABLE[name].read(settings_table.in_variable(value)) == in_profile


@pytest.mark.parametrize("name", TABLE)
def test_each_check_says_what_it_expects(name: str) -> None:
    assert settings_table.expected_of(name)


def test_what_is_said_of_some_settings_only_is_said() -> None:
    parts = settings_table.sections().split("### ")
    for part in parts[1:]:
        name = part.split("`")[1]
        assert ("profile add" in part) == (name in LISTS)
        assert ("first node" in part) == (name in ONCE)
