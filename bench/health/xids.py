"""What the driver's fault codes (Xid) mean and what to do. After NVIDIA's Xid catalogue, in own words."""

from __future__ import annotations

from typing import NamedTuple

_PROGRAM = "update the framework; if several programs cause it, test the memory: dlbox check --stress 5"
_RESEAT = (
    "switch off, reseat the card and its power cables, take out riser cables; if it comes back, try another "
    "slot and another power supply"
)
_MEMORY = "reboot, then test the memory: dlbox check --stress 5; errors again mean a defective card"
_DRIVER = "reboot and update the driver within its branch: dlbox provision"
_HARDWARE = (
    "switch the machine off and on, then: dlbox check --stress 5; if it comes back, the card is defective"
)
_WATCH = "no action now; watch whether it comes back: dlbox check"


class Code(NamedTuple):
    """``is_fault``: of the card, its memory, its link or its driver; else of the program that ran."""

    meaning: str
    is_fault: bool
    step: str


TABLE = {
    8: Code("a program's kernel ran too long", False, _PROGRAM),
    13: Code(
        "a program made an illegal access in a kernel; with several programs, bad memory", False, _PROGRAM
    ),
    31: Code("a program used an address that is not its own", False, _PROGRAM),
    32: Code("a damaged command stream; often the PCIe link", True, _RESEAT),
    38: Code("the driver's firmware failed", True, _DRIVER),
    43: Code("a program's kernel stopped and was ended", False, _PROGRAM),
    44: Code("the graphics engine faulted while switching programs", True, _HARDWARE),
    45: Code("a program was ended with work on the card", False, _WATCH),
    48: Code("memory error of two bits that could not be corrected", True, _MEMORY),
    56: Code("the display engine failed", True, _HARDWARE),
    57: Code("the link to the card's memory failed to start", True, _HARDWARE),
    58: Code("unstable clocks of the card's memory", True, "undo overclocking; " + _HARDWARE),
    61: Code("the card's own controller stopped, clocks or power", True, _HARDWARE),
    62: Code("the card's own controller halted", True, _HARDWARE),
    63: Code("a memory page or row was recorded for replacement", False, "reboot, so that it is replaced"),
    64: Code("a memory page or row could not be recorded for replacement", True, _MEMORY),
    65: Code("the video processor failed", True, _HARDWARE),
    66: Code("an illegal access by the driver", True, _DRIVER),
    67: Code("an illegal access by the driver", True, _DRIVER),
    68: Code("the video decoder failed", False, _PROGRAM),
    69: Code("the graphics engine met an illegal command", False, _PROGRAM),
    73: Code("the video encoder failed", True, _HARDWARE),
    74: Code("an NVLink connection failed", True, "reseat the NVLink bridge; " + _HARDWARE),
    79: Code("the card fell off the bus", True, _RESEAT),
    80: Code("damaged data on the bus", True, _RESEAT),
    81: Code("the display part failed", True, _HARDWARE),
    92: Code("many corrected memory errors", False, _WATCH),
    94: Code("a memory error that hit one program only", True, _MEMORY),
    95: Code("a memory error that hit everything on the card", True, _MEMORY),
    109: Code("a program could not be switched out in time", False, _PROGRAM),
    110: Code("a security fault of the card", True, _HARDWARE),
    119: Code("the card's GSP processor does not answer", True, _DRIVER),
    120: Code("the card's GSP processor failed", True, _DRIVER),
    121: Code("the link between processor and card was corrected", False, _WATCH),
    123: Code("the card's power controller failed", True, _HARDWARE),
    140: Code("a memory error without recovery", True, _MEMORY),
    143: Code("the card did not start up", True, _HARDWARE),
    144: Code("an NVLink fault", True, _HARDWARE),
    145: Code("an NVLink fault", True, _HARDWARE),
    149: Code("an NVLink fault", True, _HARDWARE),
    154: Code("the driver asks for a reset or a reboot", True, "reboot"),
    155: Code("a link changed its state", False, _WATCH),
    156: Code("a resource was retired", True, _MEMORY),
    158: Code("the card's memory is in a bad state", True, _MEMORY),
}


def of(code: int) -> Code:
    """An unknown code is taken for a program's: it warns and names itself."""
    return TABLE.get(
        code, Code("not in dlbox's table of codes", False, "look it up in NVIDIA's Xid catalogue")
    )


def explanation() -> str:
    """The whole table, for ``dlbox check --explain errors.xid``."""
    lines = [
        f"  {code:>4}  {'fault' if entry.is_fault else 'program'}  {entry.meaning}"
        for code, entry in TABLE.items()
    ]
    return (
        "When a program or the card misbehaves, the kernel module writes a line with a number, the Xid. Numbers "
        "of programs warn, for they are mostly errors in what ran; numbers of card, memory, bus or driver "
        "fail.\n\n" + "\n".join(lines)
    )
