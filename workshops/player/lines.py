"""Lines and tables of text with a maximum width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

GAP = 2
"""Number of blanks before a table and between its columns."""


def folded(text: str, width: int) -> str:
    """Wrap ``text`` to lines of at most ``width`` characters. Continuation lines are indented further. Words longer
    than a
    line are not split."""
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
    """Format rows as columns. The first column is left-aligned. If the table is too wide, its widest column is
    wrapped."""
    cells = [list(headers), *(list(row) for row in rows)]
    room = width - GAP * len(headers)
    columns = _narrowed([[row[i] for row in cells] for i in range(len(headers))], room)
    lines = []
    for row in cells:
        folds = [textwrap.wrap(text, size) or [""] for text, size in zip(row, columns, strict=True)]
        for height in range(max(map(len, folds))):
            parts = [fold[height] if height < len(fold) else "" for fold in folds]
            aligned = [
                text.ljust(size) if i == 0 else text.rjust(size)
                for i, (text, size) in enumerate(zip(parts, columns, strict=True))
            ]
            lines.append((" " * GAP + (" " * GAP).join(aligned)).rstrip())
    return lines


def _narrowed(columns: list[list[str]], room: int) -> list[int]:
    """Width of each column. The total is at most ``room`` if the longest words allow it."""
    sizes = [max(1, *map(len, texts)) for texts in columns]
    least = [max((len(word) for text in texts for word in text.split()), default=1) for texts in columns]
    while sum(sizes) > room:
        able = [i for i, size in enumerate(sizes) if size > least[i]]
        if not able:  # words are split only as a last resort
            able = [i for i, size in enumerate(sizes) if size > 4]
            if not able:
                break
        widest = max(able, key=lambda i: sizes[i])
        sizes[widest] -= 1
    return sizes
