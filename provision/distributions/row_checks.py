"""Checks that the stack file and the distribution files share: versions, names, and messages with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

from common.file_access import yaml_lines
from common.versions import release
from provision.clean_text import plain

_LONGEST = 400
"""Maximum length, in characters, of a value from a file when a message quotes it."""

APT_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*(?<!-)", re.ASCII)
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(?<!-)", re.ASCII)
"""Grammar of a name that becomes part of a package name, such as a kernel flavour or a codename."""
PACKAGE_PATTERN = re.compile(r"[A-Za-z0-9*.+_-]+", re.ASCII)
COMPONENT = re.compile(r"[a-z0-9][a-z0-9./-]*", re.ASCII)
ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/%+-]+", re.ASCII)
PATH = re.compile(r"/[A-Za-z0-9._/-]+", re.ASCII)
WHEEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_PACKAGE = re.compile(r"(?:[a-z0-9][a-z0-9+.-]*)?(?:\{(?:kernel_flavour|headers)\})?[a-z0-9+.-]*", re.ASCII)


class StackFileError(ValueError):
    """The stack file or a distribution file is wrong; the message is one sentence for the person who edits it."""


class RowChecks:
    """Checks fields of one document. ``where`` is the place of a row: ("drivers", 2), ("archive",) or ()."""

    def __init__(self, document: yaml_lines.YamlDocument) -> None:
        self.document = document

    def fail(self, where: yaml_lines.Where, field: str, expected: str) -> NoReturn:
        """Raises the error for one field, with the file's name and the line."""
        match where:
            case (str(table), int(index)):
                row = f" of row {index + 1} of `{table}`"
            case (str(section),):
                row = f" of `{section}`"
            case _:
                row = ""
        text = " ".join(plain(expected).split())[:_LONGEST]
        raise self.document.error((*where, field), f"`{field}`{row}: {text}")

    def versions(self, where: yaml_lines.Where, field: str, values: Iterable[str | None]) -> None:
        """Check that every value is None or a final release version."""
        for value in values:
            try:
                if value is not None:
                    release(value)
            except ValueError as error:
                self.fail(where, field, str(error))

    def version_bounds(self, where: yaml_lines.Where, field: str, bounds: tuple[str, str]) -> None:
        """Check a pair of release versions, the lowest first."""
        low, high = bounds
        self.versions(where, field, bounds)
        if release(low) > release(high):
            self.fail(where, field, f"expected the lowest first, got {low} and {high}")

    def names(
        self, where: yaml_lines.Where, field: str, grammar: re.Pattern[str], values: Iterable[str | None]
    ) -> None:
        """Check that every value is None or matches the grammar."""
        for value in values:
            if value is not None and not grammar.fullmatch(value):
                self.fail(where, field, f"expected a name of letters, digits and .-, got {value}")

    def packages(self, where: yaml_lines.Where, field: str, values: Iterable[str]) -> None:
        """Check package names for apt, in which {kernel_flavour} or {headers} may replace a part."""
        for value in values:
            filled = re.sub(r"\{(?:kernel_flavour|headers)\}", "x", value)
            if not _PACKAGE.fullmatch(value) or not APT_NAME.fullmatch(filled):
                what = "expected names of packages, with {kernel_flavour} or {headers} at most"
                self.fail(where, field, f"{what}, got {value}")
