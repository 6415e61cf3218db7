"""The rows of the commands that look inside a running network."""

from __future__ import annotations

from ..command import Command, CommandFamily

FAMILIES: list[CommandFamily] = []

COMMANDS: list[Command] = []
