"""Which faults `dlbox doctor --fix` repairs, and with which parts of `dlbox provision`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.doctor.story import Story
from bench.finding import Finding

_BY_DRIVER_ROLE = ("driver.next-boot", "driver.nouveau-blocked", "driver.packages")
"""Findings about a driver that works now. The role that installs the driver also sets what they ask for."""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """One repair: the findings that it is for, the parts of `dlbox provision`, and what the person is shown."""

    findings: tuple[str, ...]
    tags: tuple[str, ...]
    shown: tuple[str, ...]
    """The commands that do the same by hand, or the command that dlbox runs."""

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments of `dlbox` that make the repair."""
        return ("provision", *(word for tag in self.tags for word in ("--tags", tag)), "--yes")


def repairs(story: Story, *, provisioned: bool) -> list[Repair]:
    """The repairs that dlbox can do for this story, the first fault first; empty if a person has to act.

    ``provisioned``: whether `dlbox provision` installed the frameworks of this computer.
    """
    found = []
    broken = story.broken
    if broken is not None and broken.by == "dlbox":
        found.append(Repair(findings=(broken.id,), tags=("driver",), shown=broken.commands))
    elif broken is not None and broken.theme == "frameworks" and provisioned:
        found.append(Repair(findings=(broken.id,), tags=("frameworks", "dlbox"), shown=()))
    elif broken is not None:
        return []
    small = [finding for finding in story.also if finding.id in _BY_DRIVER_ROLE]
    if small and not any("driver" in repair.tags for repair in found):
        found.append(Repair(findings=_ids(small), tags=("driver",), shown=_remedies(small)))
    return found


def _ids(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.id for finding in findings)


def _remedies(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.remedy for finding in findings if finding.remedy)
