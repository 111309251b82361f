"""The reference of the commands, made from the command line itself: ``python -m tests.commands_page``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).resolve().parent.parent

_HEAD = """# Commands

Every command with its options, generated from the command line by `./dlbox regenerate`. `dlbox COMMAND --help` prints
the same text. The [guides](../README.md) show how the commands are used together.

A clone has three more commands, which belong to the launcher `./dlbox`: `setup`, `test` and `regenerate`. They are
described by `./dlbox setup --help`.

Exit codes of every command: 0 success, 1 a fault was found or the command failed, 2 invalid call, 130 interrupted
(Ctrl-C, SIGTERM, or a closed terminal). With `--json`, stdout has one JSON document and everything else is written to
stderr.

"""


class Entry(NamedTuple):
    """One command of the tree, with the context that its help text needs."""

    words: str
    """What a person types, as in "dlbox workshop run"."""
    command: click.Command
    context: click.Context


def entries() -> Iterator[Entry]:
    """Every command and group that ``--help`` lists, each group before its commands."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    cli = importlib.import_module("dlbox").cli  # not `import dlbox`: ruff refuses that
    return _below("dlbox", cli, None)


def _below(name: str, command: click.Command, parent: click.Context | None) -> Iterator[Entry]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    command._help_option = None  # click keeps the option that it made for another context
    yield Entry(context.command_path, command, context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            if found is not None and not found.hidden:
                yield from _below(word, found, context)


def plain_help() -> str:
    """The ``--help`` text of every command at 80 columns, each below a line "# dlbox COMMAND"."""
    return "".join(f"# {one.words}\n{_help(one)}\n" for one in entries())


def _help(one: Entry) -> str:
    before = click.formatting.FORCED_WIDTH
    click.formatting.FORCED_WIDTH = 78  # what click uses on a terminal with 80 columns
    try:
        return one.command.get_help(one.context)
    finally:
        click.formatting.FORCED_WIDTH = before


def page() -> str:
    """The whole page as Markdown."""
    every = list(entries())
    lines = [f"- [`{one.words}`](#{one.words.replace(' ', '-')}): {_summary(one.command)}" for one in every]
    return _HEAD + "\n".join(lines) + "\n" + "".join(_section(one) for one in every)


def _section(entry: Entry) -> str:
    usage = " ".join([entry.words, *entry.command.collect_usage_pieces(entry.context)])
    lines = ["", f"## {entry.words}", "", f"    {usage}", "", _plain(entry.command.help or "")]
    rows = [row for one in entry.command.get_params(entry.context) if (row := _row(one, entry.context))]
    if rows:
        lines += ["", "| option | meaning | values | default |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    """One row of the table; None for what ``--help`` does not describe, and for the --help of a command."""
    record = parameter.get_help_record(context)
    if record is None or not isinstance(parameter, click.Option):
        return None
    if "--help" in parameter.opts and context.parent is not None:
        return None
    extra = parameter.get_help_extra(context)
    text, _, note = (parameter.help or "").partition("[default:")
    name, values = record[0], extra.get("range", "")
    if isinstance(parameter.type, click.Choice):
        name = name.removesuffix(f" {parameter.make_metavar(context)}")
        values = ", ".join(f"`{value}`" for value in parameter.type.choices)
    return _cells(f"`{name}`", _plain(text), values, note.rstrip("] ").strip() or extra.get("default", ""))


def _summary(command: click.Command) -> str:
    return _plain(command.get_short_help_str(limit=200)).rstrip(".")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _cells(*cells: str) -> str:
    return "".join(f"| {cell.replace('|', chr(92) + '|')} " if cell else "| " for cell in cells) + "|"


if __name__ == "__main__":
    sys.stdout.write(page())
