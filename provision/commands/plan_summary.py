"""A plan in five lines: driver, frameworks, download, reboot and the next command."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from common.terminal.console import Console
from provision.artifacts import disk_space
from provision.commands.plan_requests import PlanOptions
from provision.distributions.distribution_file import DriverOrigin
from provision.resolve import drivers
from provision.resolve.model import Nearest
from provision.resolve.stack import Stack

_TITLES = {"tensorflow": "TensorFlow", "torch": "torch", "jax": "JAX"}
SOURCES: dict[DriverOrigin, str] = {
    "prebuilt": "compiled and signed by the distribution",
    "dkms": "from the distribution, compiled on this computer",
    "distribution": "from the distribution, compiled on this computer",
    "nvidia-repository": "from NVIDIA, compiled on this computer",
}
_BYTES_PER_SECOND = 12_500_000
"""100 Mbit/s."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation takes, as estimated from the sizes of the packages."""

    download_bytes: int
    installed_bytes: int
    download_seconds: int
    """Time of the download at 100 Mbit/s."""
    reboots: int


def effort(stack: Stack, *, loaded: str = "", box: dict[str, Any] | None = None) -> Effort:
    """What the installation of a plan takes.

    ``loaded``: version of the driver that runs now. ``box``: a checked reading of the computer, whose existing parts
    are not counted; None: nothing is installed yet.
    """
    box = box or {}
    installed = box.get("packages", {})
    present = stack.driver is not None and bool(set(stack.driver.packages) & set(installed))
    present |= stack.driver is not None and drivers.branch_of(loaded) == stack.driver.branch
    if present and stack.driver is not None:
        box = {**box, "packages": {**dict.fromkeys(stack.driver.packages, ""), **installed}}
    size = disk_space.volume(stack, box)
    return Effort(
        download_bytes=size.download,
        installed_bytes=size.installed,
        download_seconds=round(size.download / _BYTES_PER_SECOND),
        reboots=0 if stack.driver is None or present else 1,
    )


def print_summary(
    stack: Stack, taken: Effort, console: Console, *, following: str = "", warn: bool = True
) -> None:
    """Print the lines of one plan and, with ``warn``, its warnings.

    ``following``: the next command; empty: no line for it.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    rows = [
        ("Driver", _driver(stack)),
        ("Frameworks", _frameworks(stack)),
        ("Download", size_text(taken)),
        ("Reboot", "once, after the driver is installed" if taken.reboots else "not needed"),
    ]
    for title, text in (*rows, *([("Next", following)] if following else [])):
        grid.add_row(title, Text(text))
    console.print(grid)
    for warning in stack.warnings if warn else ():
        console.print(Text.assemble(("! ", "yellow"), warning))


def size_text(taken: Effort) -> str:
    """ "9.8 GB, 21.2 GB on disk, about 13 minutes at 100 Mbit/s"."""
    minutes = max(1, round(taken.download_seconds / 60))
    return (
        f"{taken.download_bytes / 1e9:.1f} GB, {taken.installed_bytes / 1e9:.1f} GB on disk, "
        f"about {minutes} minute{'s' if minutes != 1 else ''} at 100 Mbit/s"
    )


def next_command(options: PlanOptions) -> str:
    """The command after `dlbox plan` with these options."""
    if options.from_path is not None or options.cards or options.distro or options.kernel:
        return "dlbox provision, on the computer of this plan"
    words = ["dlbox", "provision", *options.hosts]
    for flag, values in (("--use", options.use), ("--framework", options.frameworks)):
        words += [word for value in values for word in (flag, value)]
    if options.inventory is not None:
        words += ["--inventory", str(options.inventory)]
    if options.stack_file is not None:
        words += ["--stack", str(options.stack_file)]
    words += ["--cuda-toolkit"] if options.cuda_toolkit else []
    words += ["--pypi-only"] if options.pypi_only else []
    words += ["--flavour", options.flavour] if options.flavour else []
    words += ["--branch", str(options.branch)] if options.branch else []
    return shlex.join(words)


def nearest_command(nearest: Nearest, options: PlanOptions) -> str:
    """The command that shows the nearest plan that exists."""
    words = ["dlbox", "plan"]
    for card in nearest.cards:
        words += ["--card", card]
    words += [] if nearest.cards else ["--use", "none"]
    words += ["--distro", nearest.distribution]
    words += ["--stack", str(options.stack_file)] if options.stack_file else []
    words += ["--pypi-only"] if options.pypi_only else []
    return shlex.join(words)


def _driver(stack: Stack) -> str:
    if stack.driver is not None:
        return f"NVIDIA {stack.driver.branch}, {SOURCES[stack.driver.source]}"
    return "none: no NVIDIA card is used" if not stack.cards else "the one that the host system provides"


def _frameworks(stack: Stack) -> str:
    names = [
        f"{_TITLES[name]} {packages.get(name) or next(iter(packages.values()))}"
        + (" (default)" if name == stack.backend and len(stack.environments) > 1 else "")
        for name, packages in stack.environments.items()
    ]
    missing = [_TITLES[name] for name in stack.missing if name in _TITLES]
    builds = "" if stack.cards else ", for the CPU"
    without = f"; not {' and '.join(missing)}: no build for this computer" if missing else ""
    return f"{', '.join(names)}{builds}{without}"
