"""The one place where a console of rich is made: whatever is printed there is filtered, and never read as markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from common.shown import visible


class Console(RichConsole):
    """A console whose text may come from outside: ``[bold]`` and ``:name:`` are printed as they stand, control
    characters and those that turn the direction of text as their escapes."""

    def __init__(
        self,
        *,
        stderr: bool = False,
        quiet: bool = False,
        highlight: bool = False,
        file: IO[str] | None = None,
        width: int | None = None,
    ) -> None:
        """``highlight``: numbers and addresses in colour. ``file``, ``width``: instead of stdout and its columns."""
        super().__init__(
            stderr=stderr, quiet=quiet, highlight=highlight, file=file, width=width, markup=False, emoji=False
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
