"""Distributions as people and os-release write them."""

from __future__ import annotations

import re

from provision.resolve.rows import DistributionRow, StackData

_WORDS = re.compile(r"\b(gnu|linux|lts|release|server|desktop)\b|[()\"'/,]")
_NAMED = re.compile(r"([a-z][a-z+!]*(?:[ _-][a-z]+)*)(?:[ _-]*v?(\d+(?:\.\d+)*))?")


class UnclearDistributionError(ValueError):
    """The text names no release; the message is one sentence."""


def understand(text: str, data: StackData) -> str:
    """ "Ubuntu 24.04.1 LTS", "ubuntu2404", "noble" -> "ubuntu-24.04"; a release that is not covered: "fedora-40".

    Raises UnclearDistributionError for what names no release at all.
    """
    said = text.strip().lower()
    plain = " ".join(_WORDS.sub(" ", said).split()) or said
    match = _NAMED.fullmatch(plain)
    for row in data.distributions:
        family, _, version = row.id.partition("-")
        if said == row.id or row.codename in plain.split():
            return row.id
        if match and match[1] == family and match[2] and _is(match[2], version):
            return row.id
        if plain == version and "." in version:
            return row.id
    known = ", ".join(row.id for row in data.distributions)
    if match and match[2]:
        return f"{match[1].replace(' ', '-')}-{match[2]}"
    families = {row.id.partition("-")[0] for row in data.distributions}
    first, _, rest = plain.partition(" ")
    if first in families and rest.isalpha():
        return f"{first}-{rest}"  # "debian testing"
    if plain in families:
        mine = " or ".join(row.id for row in data.distributions if row.id.startswith(f"{plain}-"))
        raise UnclearDistributionError(f'"{plain}" alone names no release: say {mine}')
    raise UnclearDistributionError(f'no distribution "{text.strip()[:60]}": known are {known}')


def _is(said: str, version: str) -> bool:
    """A point release is its release: "12.8" is 12, "24.04.1" is 24.04; NVIDIA writes 2404."""
    return said in (version, version.replace(".", "")) or said.startswith(f"{version}.")


def by_nearness(distribution: str, data: StackData) -> list[DistributionRow]:
    """The other releases, the nearest first: same family and the fewest years away, the newer of two; of
    another family first those whose own Python serves."""
    family, _, version = distribution.partition("-")
    here = _number(version)
    pythons = data.python[0].preferred

    def distance(row: DistributionRow) -> tuple[bool, float, float]:
        other, _, theirs = row.id.partition("-")
        if other == family:
            return False, abs(_number(theirs) - here), -_number(theirs)
        fit = pythons.index(row.python) if row.python in pythons else len(pythons)
        return True, fit, -_number(theirs)

    return sorted((row for row in data.distributions if row.id != distribution), key=distance)


def _number(version: str) -> float:
    found = re.match(r"\d+(\.\d+)?", version)
    return float(found[0]) if found else 1000.0  # testing and unstable are newer than all
