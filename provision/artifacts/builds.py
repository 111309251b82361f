"""Which build of the lock files serves a machine: the decision for `./dlbox setup`, by the rules of the resolver."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from inventory.machine.records import Machine
from provision.resolve import boxes, drivers, wheels
from provision.resolve.drivers import Refused
from provision.resolve.hardware.cards_in_use import countable
from provision.resolve.hardware.processor import lacks, refuse_processor
from provision.resolve.load import load
from provision.resolve.model import Request, Target
from provision.resolve.rows import Framework, FrameworkRow, StackData

BuildName = Literal["cpu", "cuda", "torch-cuda"]

LOCKS = Path(str(resources.files("provision"))).parent / "locks"
LOCK_OF: dict[Framework, str] = {"tensorflow": "cuda", "torch": "torch-cuda", "jax": "jax-cuda"}
"""The lock file with the CUDA build of each framework."""


class BuildDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What to install from the lock files on one machine."""

    build: BuildName
    backend: Framework | None
    """The framework to train with; None if no framework of the lock files runs on the cards."""
    additions: tuple[str, ...] = ()
    """Lock files in addition to those of the build: "torch-cpu", "jax-cuda"."""
    why: str
    refusals: dict[Framework, str] = {}
    """Why the lock files' version of a framework does not run on this machine."""


def frameworks_for(
    machine: Machine | Request,
    data: StackData | None = None,
    *,
    framework: Framework | None = None,
    locks: Path = LOCKS,
) -> BuildDecision:
    """The build for a machine, and why; with ``framework``, the build that contains it.

    Without a card that can train, it is the CPU build. If no framework of the lock files runs on the cards, ``backend``
    is None and ``why`` names the command that installs one. Raises ReadingError for an invalid reading of the machine.
    """
    data = data or load()
    request = machine if isinstance(machine, Request) else boxes.of_machine(machine)
    try:
        counted = countable(request, data)
    except Refused:
        counted = msgspec.structs.replace(request, targets=())
    targets = tuple(target for target in counted.targets if drivers.is_supported(target, data))
    if not targets:
        return _without_card(counted, data, framework)
    refusals = {
        name: why for name in LOCK_OF if (why := _refusal(name, targets, counted, data, locks)) is not None
    }
    names = " and ".join(dict.fromkeys(target.name for target in targets))
    if framework is None:
        if "tensorflow" not in refusals:
            return BuildDecision(build="cuda", backend="tensorflow", why=f"for {names}", refusals=refusals)
        framework = "torch" if "torch" not in refusals else None
    if framework is None or framework in refusals:
        option = f" --framework {framework}" if framework else ""
        reason = refusals[framework or "torch"]
        why = f"{reason}: `./dlbox provision{option}` installs a version that runs on {names}"
        return BuildDecision(build="cpu", backend=None, why=why, refusals=refusals)
    if framework == "jax":
        return BuildDecision(
            build="cuda", backend="jax", additions=("jax-cuda",), why=f"for {names}", refusals=refusals
        )
    build: BuildName = "cuda" if framework == "tensorflow" else "torch-cuda"
    return BuildDecision(
        build=build, backend=framework, why=refusals.get("tensorflow", f"for {names}"), refusals=refusals
    )


def _without_card(request: Request, data: StackData, framework: Framework | None) -> BuildDecision:
    refusals: dict[Framework, str] = {}
    for name in LOCK_OF:
        row = refuse_processor(name, request, data)
        if row is not None:
            refusals[name] = lacks(row, request)
    wanted = framework or ("torch" if "tensorflow" in refusals else "tensorflow")
    if wanted in refusals:
        return BuildDecision(build="cpu", backend=None, why=refusals[wanted], refusals=refusals)
    additions = () if wanted == "tensorflow" else (f"{wanted}-cpu",)
    why = refusals.get("tensorflow", "no card that can train")
    return BuildDecision(build="cpu", backend=wanted, additions=additions, why=why, refusals=refusals)


def _refusal(
    name: Framework, targets: tuple[Target, ...], request: Request, data: StackData, locks: Path
) -> str | None:
    """Why the lock file's version of a framework does not run with these cards, this driver and this processor."""
    processor = refuse_processor(name, request, data)
    if processor is not None:
        return lacks(processor, request)
    row = locked_row(name, data, locks)
    if row is None:
        return f"the lock file {LOCK_OF[name]}.txt has a {name} that dlbox's table of versions does not have"
    for target in targets:
        why = wheels.refuse_code(row, target, data)
        if why is not None:
            return why
    branch = drivers.branch_of(request.driver_version)
    return wheels.refuse_driver(row, branch) if branch is not None else None


def locked_row(name: Framework, data: StackData, locks: Path = LOCKS) -> FrameworkRow | None:
    """The row of the wheel that the lock file installs: same version, from PyPI, with the same cuDNN package."""
    versions = _versions(locks / f"{LOCK_OF[name]}.txt")
    for row in data.frameworks:
        same = row.framework == name and row.version in versions.get(name, ())
        if same and row.device == "gpu" and row.index is None and (row.library or "") in versions:
            return row
    return None


@cache
def _versions(path: Path) -> dict[str, tuple[str, ...]]:
    """The versions in a lock file by package; several if they depend on the Python version."""
    found: dict[str, tuple[str, ...]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.M):
        found[name] = (*found.get(name, ()), version)
    return found
