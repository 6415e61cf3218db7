"""`trio-mp completion`: scripts by which shells complete the words of command lines, made from the commands' rows.

A script holds all that it knows. So a shell need not start Python at each press of the key; and after an update of the
package the script is to be made anew.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .command import Command
from .exits import OK
from .output import Output
from .parser import all_commands, all_families, parser_of

FILES = ("PATH", "FILE")
"""The metavars of what is a file."""


class Choice(NamedTuple):
    """A word that a shell may complete."""

    word: str
    help: str


class CompletedCommand(NamedTuple):
    """What a shell knows of one command."""

    name: str
    options: list[Choice]
    """Its options, short ones included."""
    files: list[str]
    """Those among them that are followed by a file."""
    values: dict[str, list[str]]
    """Those that are followed by something else, and the words that this may be, if they are known."""
    words: list[str]
    """What its arguments may be, where that is known."""


def completion(arguments: argparse.Namespace) -> int:
    """Run `trio-mp completion`."""
    write = {"bash": write_bash, "zsh": write_zsh, "fish": write_fish}[arguments.shell]
    Output(arguments).own("\n".join(write([completed(command) for command in all_commands()])))
    return OK


def completed(command: Command) -> CompletedCommand:
    """Return what a shell shall know of a command."""
    found = CompletedCommand(command.name, [], [], {}, [])
    for action in parser_of(command)._actions:
        choices = [str(choice) for choice in action.choices or ()]
        if not action.option_strings:
            found.words.extend(choices)
            continue
        text = (action.help or "") % {**vars(action), "prog": "trio-mp"}
        found.options.extend(Choice(option, text) for option in action.option_strings)
        if action.nargs == 0:
            continue
        for option in action.option_strings:
            if action.type is Path or action.metavar in FILES:
                found.files.append(option)
            else:
                found.values[option] = choices
    return found


def first_words() -> list[Choice]:
    """The first words of all commands."""
    families = {family.name: family.help for family in all_families()}
    helps = {command.name.split()[0]: command.help for command in all_commands()}
    return [Choice(word, families.get(word, text)) for word, text in helps.items()]


def second_words() -> dict[str, list[Choice]]:
    """The second words of the commands that have two, by the first."""
    found: dict[str, list[Choice]] = {}
    for command in all_commands():
        first, *second = command.name.split()
        if second:
            found.setdefault(first, []).append(Choice(second[0], command.help))
    return found


def _joined(choices: Iterable[Choice]) -> str:
    return " ".join(choice.word for choice in choices)


def write_bash(commands: Sequence[CompletedCommand]) -> list[str]:
    """Write the script for bash."""
    lines = [
        "# Completion of trio-mp for bash; put it into ~/.local/share/bash-completion/completions/trio-mp,",
        "# or run: source <(trio-mp completion bash)",
        "_trio_mp() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local command="${COMP_WORDS[1]}" options="" files="" values="" words=""',
        "    COMPREPLY=()",
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        COMPREPLY=($(compgen -W "{_joined(first_words())} --help --version" -- "$current"))',
        "        return",
        "    fi",
        '    case "$command" in',
    ]
    for first, seconds in second_words().items():
        lines += [
            f"    {first})",
            '        if [ "$COMP_CWORD" -eq 2 ]; then',
            f'            COMPREPLY=($(compgen -W "{_joined(seconds)} --help" -- "$current"))',
            "            return",
            "        fi",
            '        command="$command ${COMP_WORDS[2]}"',
            "        ;;",
        ]
    lines += ["    esac", '    case "$command" in']
    for command in commands:
        lines += [
            f'    "{command.name}")',
            f'        options="{_joined(command.options)}" words="{" ".join(command.words)}"',
            f'        files=" {" ".join(command.files)} " values=" {" ".join(command.values)} "',
            '        case "$previous" in',
            *(f'        {option}) words="{" ".join(words)}" ;;' for option, words in command.values.items() if words),
            "        esac",
            "        ;;",
        ]
    lines += [
        "    esac",
        '    if [[ "$files" == *" $previous "* ]]; then',
        '        COMPREPLY=($(compgen -f -- "$current"))',
        '    elif [[ "$values" == *" $previous "* ]]; then',
        '        COMPREPLY=($(compgen -W "$words" -- "$current"))',
        '    elif [[ "$current" == -* ]]; then',
        '        COMPREPLY=($(compgen -W "$options" -- "$current"))',
        "    else",
        '        COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "    fi",
        "}",
        "complete -o filenames -F _trio_mp trio-mp",
    ]
    return lines


def _described(name: str, choices: Iterable[Choice]) -> str:
    """An array of zsh: each word with its text behind a colon."""
    words = (shlex.quote(f"{choice.word}:{choice.help}") for choice in choices)
    return f"{name}=({' '.join(words)})"


def write_zsh(commands: Sequence[CompletedCommand]) -> list[str]:
    """Write the script for zsh."""
    lines = [
        "#compdef trio-mp",
        "# Completion of trio-mp for zsh; put it into a folder of your $fpath, as _trio-mp.",
        "_trio_mp() {",
        '    local command="$words[2]" previous="$words[CURRENT-1]"',
        "    local -a choices options arguments files values",
        "    if (( CURRENT == 2 )); then",
        f"        {_described('choices', first_words())}",
        "        _describe command choices",
        "        return",
        "    fi",
        '    case "$command" in',
    ]
    for first, seconds in second_words().items():
        lines += [
            f"    {first})",
            "        if (( CURRENT == 3 )); then",
            f"            {_described('choices', seconds)}",
            "            _describe command choices",
            "            return",
            "        fi",
            '        command="$command $words[3]"',
            "        ;;",
        ]
    lines += ["    esac", '    case "$command" in']
    for command in commands:
        lines += [
            f'    "{command.name}")',
            f"        {_described('options', command.options)}",
            f"        arguments=({' '.join(command.words)}) files=({' '.join(command.files)})",
            f"        values=({' '.join(command.values)})",
            '        case "$previous" in',
            *(f"        {name}) arguments=({' '.join(words)}) ;;" for name, words in command.values.items() if words),
            "        esac",
            "        ;;",
        ]
    lines += [
        "    esac",
        "    if (( ${files[(Ie)$previous]} )); then",
        "        _files",
        '    elif [[ "$PREFIX" == -* ]] && ! (( ${values[(Ie)$previous]} )); then',
        "        _describe option options",
        "    else",
        "        compadd -a arguments",
        "    fi",
        "}",
        'if [ "$funcstack[1]" = "_trio-mp" ]; then _trio_mp "$@"; else compdef _trio_mp trio-mp; fi',
    ]
    return lines


def _for_fish(text: str) -> str:
    """A text in the quotes of fish, where a backslash stands for itself unless a quote or another one follows."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def write_fish(commands: Sequence[CompletedCommand]) -> list[str]:
    """Write the script for fish."""
    complete = "complete -c trio-mp"
    lines = [
        "# Completion of trio-mp for fish; put it into ~/.config/fish/completions/trio-mp.fish",
        f"{complete} -f",
        f"{complete} -n __fish_use_subcommand -l help -d 'show all commands'",
        f"{complete} -n __fish_use_subcommand -l version -d 'show the version'",
    ]
    for word, text in first_words():
        lines.append(f"{complete} -n __fish_use_subcommand -a {word} -d {_for_fish(text)}")
    for first, seconds in second_words().items():
        known = " ".join(choice.word for choice in seconds)
        only = f"'__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {known}'"
        lines += [f"{complete} -n {only} -a {word} -d {_for_fish(text)}" for word, text in seconds]
    for command in commands:
        within = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.name.split())
        if command.words:
            lines.append(f"{complete} -n '{within}' -a {_for_fish(' '.join(command.words))}")
        for option, text in command.options:
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            follows = " -r -F" if option in command.files else ""
            if option in command.values:
                follows = f" -x -a {_for_fish(' '.join(command.values[option]))}"
            lines.append(f"{complete} -n '{within}' {flag}{follows} -d {_for_fish(text)}")
    return lines
