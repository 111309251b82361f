"""The only class of rich console that dlbox uses: it filters the text and does not interpret markup."""

from __future__ import annotations

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
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
