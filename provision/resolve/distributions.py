"""Finds a distribution by a name as users or /etc/os-release write it, and the releases nearest to it."""

from __future__ import annotations

import re

from provision.distributions.distribution_file import DistributionRow
from provision.resolve.rows import StackData

_WORDS = re.compile(r"\b(gnu|linux|lts|release|server|desktop)\b|[()\"'/,]")
_NAMED = re.compile(r"([a-z][a-z+!]*(?:[ _-][a-z]+)*)(?:[ _-]*v?(\d+(?:\.\d+)*))?")


class UnclearDistributionError(ValueError):
    """The text does not name one release; the message is one sentence."""


def understand(text: str, data: StackData) -> str:
    """ "Ubuntu 24.04.1 LTS", "ubuntu2404", "noble" -> "ubuntu-24.04"; an unsupported release: "fedora-40".

    Raises UnclearDistributionError if the text does not name a release.
    """
    lower = text.strip().lower()
    plain = " ".join(_WORDS.sub(" ", lower).split()) or lower
    match = _NAMED.fullmatch(plain)
    for row in data.distributions:
        if lower in (row.id, *row.aliases) or row.codename in plain.split():
            return row.id
        if match and match[1] == row.family and match[2] and _names_release(match[2], row.release):
            return row.id
        if plain == row.release and "." in row.release:
            return row.id
    known = ", ".join(row.id for row in data.distributions)
    if match and match[2]:
        return f"{match[1].replace(' ', '-')}-{match[2]}"
    families = {row.family for row in data.distributions}
    first, _, rest = plain.partition(" ")
    if first in families and rest.isalpha():
        return f"{first}-{rest}"  # "debian testing"
    if plain in families:
        mine = " or ".join(row.id for row in data.distributions if row.family == plain)
        raise UnclearDistributionError(f'"{plain}" does not name a release: write {mine}')
    raise UnclearDistributionError(f'no distribution "{text.strip()[:60]}"; dlbox supports {known}')


def _names_release(text: str, version: str) -> bool:
    """Whether ``text`` means release ``version``: "12.8" means 12; "24.04.1" and NVIDIA's "2404" mean 24.04."""
    return text in (version, version.replace(".", "")) or text.startswith(f"{version}.")


def by_nearness(distribution: str, data: StackData) -> list[DistributionRow]:
    """The other releases, the nearest first.

    Releases of the same distribution come first, by the distance of their version numbers (the newer of two at the
    same distance first), then other distributions, those with a preferred Python first.
    """
    family, _, version = distribution.partition("-")
    here = _number(version)
    pythons = data.python.preferred

    def distance(row: DistributionRow) -> tuple[bool, float, float]:
        theirs = _number(row.release)
        if row.family == family:
            return False, abs(theirs - here), -theirs
        fit = pythons.index(row.python) if row.python in pythons else len(pythons)
        return True, fit, -theirs

    return sorted((row for row in data.distributions if row.id != distribution), key=distance)


def _number(version: str) -> float:
    found = re.match(r"\d+(\.\d+)?", version)
    return float(found[0]) if found else 1000.0  # testing and unstable are newer than every release
