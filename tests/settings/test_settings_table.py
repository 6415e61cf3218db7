"""The table of the settings, and what repeats it: for type checkers, and for readers."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest
import settings_table

from trio_mp._settings.settings import TABLE, SettingArguments, Settings

CONVERTED = {"binds", "inspect_from", "seeds", "secret", "secret_file", "services", "spawn_modules"}
"""The settings that a program gives in another type than the node works with."""

COMMAND = "python docs/settings_table.py"


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
    assert settings_table.docstring_list(" " * 8) in text, f"write it with `{COMMAND}`"
    assert settings_table.fill_docstring(text) == text


def test_the_page_has_the_table() -> None:
    text = settings_table.PAGE.read_text(encoding="utf-8")
    assert settings_table.markdown_table() in text, f"write it with `{COMMAND}`"
    assert settings_table.fill_page(text) == text
