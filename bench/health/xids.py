"""The driver's fault codes (Xid): meaning and remedy of each. Source: NVIDIA's Xid catalogue."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from inventory.machine.records import Xid

_PROGRAM = "update the framework; if several programs cause it, test the memory: dlbox check --stress 5"
_RESEAT = (
    "switch off, reseat the card and its power cables, remove riser cables; if the fault returns, try another "
    "slot and another power supply"
)
_LAPTOP = (
    "switch the laptop off and on, and connect its power supply; update its firmware (BIOS); if the card is in an "
    "external enclosure (eGPU), check its cable and its power; if the fault returns, have the laptop checked"
)
_MEMORY = (
    "reboot, then test the memory: dlbox check --stress 5; if there are errors again, the card is defective"
)
_DRIVER = "reboot and update the driver within its branch: dlbox provision"
_HARDWARE = (
    "switch the machine off and on, then: dlbox check --stress 5; if the fault returns, the card is defective"
)
_WATCH = "no action is needed now; check again later whether the fault returned: dlbox check"


class Code(NamedTuple):
    """``is_fault``: True if the code means a fault of the card, its memory, link or driver; False if of a program."""

    meaning: str
    is_fault: bool
    step: str


TABLE = {
    8: Code("a program's kernel ran too long", False, _PROGRAM),
    13: Code(
        "a program made an illegal memory access; if several programs do, the memory may be bad",
        False,
        _PROGRAM,
    ),
    31: Code("a program used an invalid memory address", False, _PROGRAM),
    32: Code("a corrupted command stream; the PCIe link is often the cause", True, _RESEAT),
    38: Code("the driver's firmware failed", True, _DRIVER),
    43: Code("a program's kernel hung and was stopped", False, _PROGRAM),
    44: Code("the graphics engine faulted while switching programs", True, _HARDWARE),
    45: Code("a program was stopped while it used the card", False, _WATCH),
    48: Code("a double-bit memory error, which cannot be corrected", True, _MEMORY),
    56: Code("the display engine failed", True, _HARDWARE),
    57: Code("the link to the card's memory failed to start", True, _HARDWARE),
    58: Code("the clock of the card's memory is unstable", True, "undo overclocking; " + _HARDWARE),
    61: Code("the card's internal controller stopped (clocks or power)", True, _HARDWARE),
    62: Code("the card's internal controller halted", True, _HARDWARE),
    63: Code("a memory page or row was recorded for replacement", False, "reboot: this replaces it"),
    64: Code("a memory page or row could not be recorded for replacement", True, _MEMORY),
    65: Code("the video processor failed", True, _HARDWARE),
    66: Code("an illegal access by the driver", True, _DRIVER),
    67: Code("an illegal access by the driver", True, _DRIVER),
    68: Code("the video decoder failed", False, _PROGRAM),
    69: Code("the graphics engine received an illegal command", False, _PROGRAM),
    73: Code("the video encoder failed", True, _HARDWARE),
    74: Code("an NVLink connection failed", True, "reseat the NVLink bridge; " + _HARDWARE),
    79: Code("the card fell off the bus", True, _RESEAT),
    80: Code("corrupted data on the bus", True, _RESEAT),
    81: Code("the display engine failed", True, _HARDWARE),
    92: Code("many corrected memory errors", False, _WATCH),
    94: Code("a memory error that affected one program only", True, _MEMORY),
    95: Code("a memory error that affected all programs on the card", True, _MEMORY),
    109: Code("a context switch between programs took too long", False, _PROGRAM),
    110: Code("a security violation on the card", True, _HARDWARE),
    119: Code("the card's GSP processor does not answer", True, _DRIVER),
    120: Code("the card's GSP processor failed", True, _DRIVER),
    121: Code("an error on the link between processor and card was corrected", False, _WATCH),
    123: Code("the card's power controller failed", True, _HARDWARE),
    140: Code("an unrecoverable memory error", True, _MEMORY),
    143: Code("the card failed to initialise", True, _HARDWARE),
    144: Code("an NVLink fault", True, _HARDWARE),
    145: Code("an NVLink fault", True, _HARDWARE),
    149: Code("an NVLink fault", True, _HARDWARE),
    154: Code("the driver asks for a reset or a reboot after another fault", True, "reboot"),
    155: Code("an NVLink changed its state", False, _WATCH),
    156: Code("a defective unit of the card was retired", True, _MEMORY),
    158: Code("the card's memory is in a bad state", True, _MEMORY),
}


def of(code: int) -> Code:
    """The entry of ``code``. An unknown code is treated like a fault of a program, so it gives a warning."""
    return TABLE.get(
        code, Code("a code that dlbox does not know", False, "look it up in NVIDIA's Xid catalogue")
    )


def laptop_step(code: int) -> str:
    """The remedy of ``code`` for a laptop, whose card cannot be reseated."""
    step = of(code).step
    return step.replace(_RESEAT, _LAPTOP) if _RESEAT in step else step


PROGRAM_FAULT = 13
_CONSEQUENCES = (45, 154)
"""Reports that follow another fault: a program that the driver stopped, and the recovery that it asks for."""
_RECOVERED = re.compile(r"\bto 0x0\b")
_UNIT = re.compile(
    r"\(GPC (\d+), TPC (\d+)(?:, SM (\d+))?\)|\bGPC (\d+),? TPC (\d+)(?:,? SM (\d+))?", re.IGNORECASE
)
_PROGRAM_NAME = re.compile(r"\bname=([^,\s]+)")
_SEVERAL = 3
"""Fewest reports of one unit that point at the chip."""


def is_fault(entry: Xid) -> bool:
    """Whether a report means a fault of card, memory, bus or driver; not a recovery action that was withdrawn."""
    withdrawn = entry.code == 154 and bool(_RECOVERED.search(entry.message))
    return of(entry.code).is_fault and not withdrawn


def cause(reports: Sequence[Xid]) -> Xid:
    """The report that the others follow from: the first fault that is no consequence, else the first fault, else the
    most frequent code. ``reports``: in order of time, at least one."""
    faults = [entry for entry in reports if is_fault(entry)]
    causes = [entry for entry in faults if entry.code not in _CONSEQUENCES]
    if causes or faults:
        return (causes or faults)[0]
    code = Counter(entry.code for entry in reports).most_common(1)[0][0]
    return next(entry for entry in reports if entry.code == code)


class SuspectUnit(NamedTuple):
    """A unit of the chip ("GPC 2, TPC 3, SM 1") that several reports of illegal accesses name."""

    unit: str
    reports: int
    programs: int
    """Number of different program names in these reports; 0 if they name none."""


def same_unit(reports: Sequence[Xid]) -> SuspectUnit | None:
    """The unit that nearly all of at least three Xid 13 of one card name; None if they name different units or none.

    An illegal access of a program is reported by whichever units ran it. Only a kernel of a single block always runs
    on the same one, so one program alone does not prove a fault of the chip.
    """
    found: list[tuple[str, str, str]] = []
    for entry in reports:
        match = _UNIT.search(entry.message) if entry.code == PROGRAM_FAULT else None
        if match:
            gpc, tpc, sm = match.groups()[:3] if match[1] is not None else match.groups()[3:]
            name = _PROGRAM_NAME.search(entry.message)
            unit = f"GPC {gpc}, TPC {tpc}" + (f", SM {sm}" if sm is not None else "")
            found.append((entry.address, unit, name[1] if name else ""))
    if not found:
        return None
    (address, unit), number = Counter((address, unit) for address, unit, _ in found).most_common(1)[0]
    if number < _SEVERAL or number < 0.8 * len(found):
        return None
    programs = {name for a, u, name in found if (a, u) == (address, unit) and name}
    return SuspectUnit(unit, number, len(programs))


def explanation() -> str:
    """The table as text for ``dlbox check --explain errors.xid``."""
    lines = [
        f"  {code:>4}  {'fault' if entry.is_fault else 'program'}  {entry.meaning}"
        for code, entry in TABLE.items()
    ]
    return (
        "When a program or the card has a fault, the kernel module writes a line with a number, the Xid, to the "
        "kernel log. Codes of programs give a warning, because their usual cause is an error in the program. Codes "
        "of the card, its memory, the bus or the driver are failures. The first fault is the cause; Xid 45 and 154 "
        "follow others. Several Xid 13 that name the same unit of the chip point at the chip, others at a program.\n\n"
        + "\n".join(lines)
    )
