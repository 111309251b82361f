"""The records of the diagnosis: a cause as it is declared, and what the evidence of one machine says about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from inventory.machine.records import PciCard

if TYPE_CHECKING:
    from bench.health.causes.situation import Situation

EvidenceTest: TypeAlias = "Callable[[Situation], str | None]"
"""Returns the evidence as a quotable text with its source, or None if the machine has no such evidence."""


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """The next step against one cause, for the way the driver is installed on this machine."""

    commands: tuple[str, ...] = ()
    """Shell commands in their order; each works as it is."""
    by_hand: str = ""
    """What only a person can do: firmware setup, cables, another computer. Comes before the commands."""
    then: str = ""
    """What comes after the commands, or another way."""
    by_dlbox: bool = False
    """Whether `dlbox provision` or `dlbox doctor --fix` can do it."""

    @property
    def text(self) -> str:
        """The remedy as one line of text."""
        return "; ".join(part for part in (self.by_hand, " && ".join(self.commands), self.then) if part)


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """One declared cause. Its id is the id of the finding that names it.

    Proven: a test of ``proves`` has evidence, and no test of ``excludes`` has. Candidate: the same with ``supports``.
    Evidence of ``weakens`` is shown, and moves a candidate down in the order.
    """

    id: str
    title: Callable[[Situation], str]
    """The cause as one clause."""
    remedy: Callable[[Situation], Remedy]
    settle: Callable[[Situation], str]
    """The command that shows whether this is the cause."""
    proves: tuple[EvidenceTest, ...] = ()
    supports: tuple[EvidenceTest, ...] = ()
    excludes: tuple[EvidenceTest, ...] = ()
    weakens: tuple[EvidenceTest, ...] = ()


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One cause with the evidence of this machine."""

    id: str
    title: str
    proven: bool
    evidence: tuple[str, ...] = ()
    """Evidence for the cause, each with its source."""
    against: tuple[str, ...] = ()
    settle: str = ""
    """The command that shows whether this is the cause."""
    remedy: Remedy = Remedy()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why one card, or the whole machine if ``card`` is None, cannot be used.

    ``causes``: if the first is proven, the proven causes in the order in which to repair them; else the candidates,
    the likeliest first. Never empty.
    """

    card: PciCard | None
    causes: tuple[Suspect, ...]
    blocking: bool = True
    """False if the machine can train without this card: another card works, and this one is for the display only or
    is reserved for a virtual machine."""

    @property
    def proven(self) -> bool:
        return self.causes[0].proven

    @property
    def id(self) -> str:
        """Id of the finding: that of the proven cause, else "driver.unusable"."""
        return self.causes[0].id if self.proven else UNPROVEN


UNPROVEN = "driver.unusable"
