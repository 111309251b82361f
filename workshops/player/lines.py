"""Lines and tables of text with a maximum width."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence

from rich.table import Table

from common.terminal.console import Console
from common.terminal.shown import visible

GAP = 2
"""Number of blanks before a table and between its columns."""


def folded(text: str, width: int) -> str:
    """Wrap ``text`` to lines of at most ``width`` characters. Continuation lines are indented further. Words that are
    longer than a line are not split."""
    lines = []
    for line in text.split("\n"):
        if len(line) <= width:
            lines.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip(" ")))
        lines += textwrap.wrap(
            line, width, subsequent_indent=indent + "    ", break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False,
        )  # fmt: skip
    return "\n".join(lines)


def beside(name: str, text: str, width: int) -> str:
    """Put ``text`` to the right of ``name``, in lines of at most ``width`` characters."""
    after = " " * (len(name) + GAP)
    return textwrap.fill(
        text, width, initial_indent=name.ljust(len(after)), subsequent_indent=after, break_on_hyphens=False
    )


def flowed(text: str, column: int, width: int) -> tuple[str, int]:
    """Add line breaks to ``text``, which is printed after ``column`` characters. Returns the text and the column at its
    end."""
    out = []
    for word in re.findall(r"\n|[^\S\n]+|\S+", text):
        if word == "\n":
            column = 0
        elif column + len(word) > width and column > 0:
            word, column = ("\n", 0) if word.isspace() else (f"\n{word}", len(word))
        else:
            column += len(word)
        out.append(word)
    return "".join(out), column


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Format ``rows`` as a table of at most ``width`` columns of text. The first column is left-aligned, the others
    are right-aligned. If the table is too wide, rich wraps the widest column."""
    drawn = Table(box=None, padding=(0, 0, 0, GAP), header_style="none")
    for i, header in enumerate(headers):
        drawn.add_column(header, justify="right" if i else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(visible, row))
    out = io.StringIO()
    Console(file=out, width=width, plain=True).print(drawn)
    return [line.rstrip() for line in out.getvalue().splitlines()]
