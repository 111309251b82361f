"""A click command whose ``--help`` lists its options in named groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

OUTPUT = "Output"


class GroupedCommand(click.Command):
    """A command with many options. ``groups``: heading -> names of options as typed, such as "--seed".

    An option that no group names, such as --help, is listed below the heading ``OUTPUT``.
    """

    def __init__(self, *args: Any, groups: Mapping[str, tuple[str, ...]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.groups = dict(groups)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        heading_of = {name: heading for heading, names in self.groups.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.groups, OUTPUT)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = next((heading_of[name] for name in parameter.opts if name in heading_of), OUTPUT)
                rows[heading].append(record)
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
