"""The only class of rich console that dlbox uses: it filters the text and does not interpret markup."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from common.terminal.shown import visible


class Console(RichConsole):
    """A console for text from outside, such as file contents.

    It prints ``[bold]`` and ``:name:`` unchanged, and escapes control characters and characters that change the
    direction of text.
    """

    def __init__(
        self,
        *,
        stderr: bool = False,
        quiet: bool = False,
        highlight: bool = False,
        file: IO[str] | None = None,
        width: int | None = None,
        plain: bool = False,
    ) -> None:
        """``highlight`` colours numbers and addresses. ``file`` and ``width`` replace stdout and its width. ``plain``:
        text without colours, whatever FORCE_COLOR is. In a notebook the output is plain text too, not HTML."""
        super().__init__(
            stderr=stderr,
            quiet=quiet,
            highlight=highlight,
            file=file,
            width=width,
            markup=False,
            emoji=False,
            force_jupyter=False,
            color_system=None if plain else "auto",
            _environ=_usable_environment(),
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


def _usable_environment() -> dict[str, str]:
    """The environment without a COLUMNS or LINES of 0 (a terminal of unknown size), for which rich prints nothing."""
    sizes = {name: os.environ.get(name, "") for name in ("COLUMNS", "LINES")}
    wrong = {
        name for name, text in sizes.items() if not (text.isascii() and text.isdigit() and int(text[:9]))
    }
    return {name: value for name, value in os.environ.items() if name not in wrong}
