"""Types of click options that several commands share. Each type reports a wrong value in one sentence."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from common.file_access.files import is_stdout


class _RangeInWords(click.ParamType[Any]):
    """Says a range in words, where click writes 1<=x<=100."""

    min: Any
    max: Any
    min_open: bool

    def _describe_range(self) -> str:
        return range_in_words(self.min, self.max, open_below=self.min_open)

    def fail(
        self, message: str, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> NoReturn:
        super().fail(message.replace(_NOT_IN_RANGE, _OUT_OF_RANGE), param, ctx)


class WholeNumber(_RangeInWords, click.IntRange):
    """A whole number in a range. click's own name for it is "integer range"."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number > sys.maxsize:  # SQLite, itertools and NumPy accept 64 bits
            self.fail(f"{number} is too large: expected at most {sys.maxsize}", param, ctx)
        return number


class FiniteNumber(_RangeInWords, click.FloatRange):
    """A number in a range. click accepts "nan" for every range; this type refuses it."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value}{_NOT_IN_RANGE}{self._describe_range()}.", param, ctx)
        return number


_NOT_IN_RANGE, _OUT_OF_RANGE = " is not in the range ", " is out of range: expected "
"""How click reports a number outside its range, and how dlbox does."""


def range_in_words(low: float | None, high: float | None, *, open_below: bool = False) -> str:
    """A range of numbers in words: "1 to 100", "at least 1", "more than 0, at most 1440"."""
    if open_below:
        return f"more than {low:g}" + (f", at most {high:g}" if high is not None else "")
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"{low} to {high}"


class NamedPath(click.Path):
    """A path that is not empty: pathlib reads "" as ".", but an empty shell variable must not mean this folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the value is empty", param, ctx)
        return super().convert(value, param, ctx)


class Folder(NamedPath):
    """A folder to read from or write to. Refuses "-", which means stdout for file options."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if is_stdout(path):
            raise click.BadParameter(f'expected a folder, got "{value}" (stdout)', ctx, param)
        return path


class CommaSeparatedChoice(click.Choice[str]):
    """One or more of the choices, separated by commas. Use ``merge_lists`` as the callback to get one tuple."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        convert = super().convert
        return tuple(convert(word, param, ctx) for word in split_commas(value, param, ctx))


def split_commas(value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
    """Split a comma-separated list such as "b1, b9" into its words.

    Raises click.BadParameter if there is no word: an empty shell variable must not mean "everything".
    """
    words = [word for word in (part.strip() for part in value.split(",")) if word]
    if not words:
        raise click.BadParameter("the value is empty", ctx, param)
    return words


def merge_lists(ctx: click.Context, param: click.Parameter, groups: tuple[Any, ...]) -> tuple[str, ...]:
    """click callback for several values: returns one tuple in the given order, without duplicates."""
    words = [
        w for group in groups for w in (split_commas(group, param, ctx) if isinstance(group, str) else group)
    ]
    return tuple(dict.fromkeys(words))


def comma_list(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """click callback for an option that is given at most once: like ``merge_lists``, but empty if it is not given."""
    return () if value is None else merge_lists(ctx, param, (value,))
