"""Final release versions such as "9.10.2.21" and ranges such as ">=9.3.0.75,<10", by the `packaging` library.

The data files need neither pre-releases nor local versions nor wildcards, so these are refused.
"""

from __future__ import annotations

import re

from packaging.specifiers import SpecifierSet
from packaging.version import Version

_RELEASE = re.compile(r"\d{1,9}(\.\d{1,9}){0,9}", re.ASCII)
_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*\d{1,9}(\.\d{1,9}){0,9}\s*", re.ASCII)


def release(text: str) -> Version:
    """The version of a final release; "9.3" equals "9.3.0". Raises ValueError."""
    if not _RELEASE.fullmatch(text):
        raise ValueError(f"expected a release version such as 2.21.0, got {text!r}")
    return Version(text)


def version_range(text: str) -> SpecifierSet:
    """The range that a text such as ">=9.3,<10" describes; the empty text allows every version. Raises ValueError."""
    if any(part.strip() and not _CLAUSE.fullmatch(part) for part in text.split(",")):
        raise ValueError(f"expected a range such as >=9.3,<10, got {text!r}")
    return SpecifierSet(text)


def allows(range_text: str, version: str) -> bool:
    """Whether a release is in a range. Raises ValueError."""
    return version_range(range_text).contains(release(version))


def in_python_range(version: str, bounds: tuple[str, str]) -> bool:
    """Whether a version such as "3.12" is in a range such as ("3.10", "3.13"), both ends included."""
    low, high = bounds
    return release(low) <= release(version) <= release(high)
