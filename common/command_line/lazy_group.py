"""A click group that imports a command's module only when that command is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """Where a command is defined ("package.module:attribute"), and its one-line description for ``--help``."""

    target: str
    short_help: str


class LazyGroup(click.Group):
    """A group whose commands are listed in a table: ``--help`` lists all of them and imports none."""

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, LazyCommand] | None = None,
        in_clone: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.table = dict(table or {})
        self.in_clone = dict(in_clone or {})
        """Commands of the launcher in a clone, with their descriptions; ``--help`` lists them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.table, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.table[cmd_name].target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._short_help(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        if self.in_clone:
            with formatter.section("In a clone of dlbox also"):
                formatter.write_dl(list(self.in_clone.items()))

    def _short_help(self, ctx: click.Context, name: str) -> str:
        if name in self.table:
            return self.table[name].short_help
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=100) if command else ""
