"""Compare release versions and check them against ranges such as ">=9.3.0.75,<10".

Only what stack.yml needs: final releases made of numbers (no rc, dev or local parts) and the operators
``==  !=  <  <=  >  >=``. The tests hold it against the `packaging` library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_RELEASE = re.compile(r"\d{1,9}(\.\d{1,9}){0,9}", re.ASCII)
_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)\s*", re.ASCII)


def release(text: str) -> tuple[int, ...]:
    """ "9.10.2.21" -> (9, 10, 2, 21); trailing zeros are dropped, so that 9.3 equals 9.3.0."""
    if not _RELEASE.fullmatch(text):
        raise ValueError(f"expected a release version such as 2.21.0, got {text!r}")
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def clauses(specifier: str) -> list[tuple[str, tuple[int, ...]]]:
    """ ">=9.3,<10" -> [(">=", (9, 3)), ("<", (10,))]; an empty specifier allows everything."""
    found = []
    for part in filter(None, (piece.strip() for piece in specifier.split(","))):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise ValueError(f"expected a range such as >=9.3,<10, got {specifier!r}")
        found.append((match[1], release(match[2])))
    return found


def allows(specifier: str, version: str) -> bool:
    """Whether ``version`` lies in the range."""
    have = release(version)
    checks = {
        "==": lambda want: have == want,
        "!=": lambda want: have != want,
        "<": lambda want: have < want,
        "<=": lambda want: have <= want,
        ">": lambda want: have > want,
        ">=": lambda want: have >= want,
    }
    return all(checks[operator](want) for operator, want in clauses(specifier))


def split_constraint(text: str) -> tuple[str, str]:
    """ "nvidia-cudnn-cu12<9.11" -> ("nvidia-cudnn-cu12", "<9.11")."""
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*((?:==|!=|<=|>=|<|>).*)", text)
    if match is None:
        raise ValueError(f"expected a constraint such as nvidia-cudnn-cu12<9.11, got {text!r}")
    return match[1], match[3]


def conflicts(pins: dict[str, str], constraints: Iterable[str]) -> list[str]:
    """The constraints that a set of exact pins breaks, in words."""
    broken = []
    for text in constraints:
        name, specifier = split_constraint(text)
        if name in pins and not allows(specifier, pins[name]):
            broken.append(f"{name} {pins[name]} breaks {text}")
    return broken


def in_python_range(version: str, bounds: tuple[str, str]) -> bool:
    """Whether Python "3.12" lies in ("3.10", "3.13"), both ends included."""
    low, high = bounds
    return release(low) <= release(version) <= release(high)
