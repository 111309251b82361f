"""Print which build of a framework the launcher installs on this computer: "cuda:an NVIDIA card is on the bus".

``python -m provision.commands.framework_choice`` prints the name of a lock file and the reason, separated by a colon.
With ``--fits PYTHON`` it prints nothing; the exit code is 0 if that Python has every package that training needs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK
from common.command_line.messages import print_error
from inventory import gather
from inventory.machine.records import Machine
from provision.artifacts import own_wheel
from provision.resolve.box_reading import ReadingError
from provision.resolve.boxes import of_machine
from provision.resolve.stack import NoStack, resolve

BUILDS = {"tensorflow": "cuda", "torch": "torch-cuda"}
"""Default backend of the plan -> the lock file with its build for CUDA."""


_FITS = """
import sys
from importlib.metadata import PackageNotFoundError, version
from packaging.requirements import Requirement
try:
    fit = all(r.specifier.contains(version(r.name), prereleases=True) for r in map(Requirement, sys.argv[1:]))
except PackageNotFoundError:
    fit = False
sys.exit(not fit)
"""


def main(arguments: Sequence[str]) -> int:
    """Print the choice. 1: no framework can run here, with the reason on stderr; or the Python does not fit."""
    if arguments[:1] == ["--fits"]:
        return EXIT_OK if fits(Path(arguments[1])) else EXIT_FAILED
    try:
        build, why = choose(gather.gather())
    except ReadingError as error:
        print_error(f"this machine: {error}")
        return EXIT_FAILED
    print(f"{build}:{why}")
    return EXIT_OK


def choose(machine: Machine) -> tuple[str, str]:
    """The lock file and the reason. The decision is that of `dlbox plan`."""
    if not machine.has_gpu:
        return "cpu", "no NVIDIA card is on the bus"
    outcome = resolve(of_machine(machine))
    if isinstance(outcome, NoStack):
        return "cuda", "an NVIDIA card is on the bus"
    return BUILDS[outcome.backend], f"for {', '.join(outcome.cards)}"


def fits(python: Path) -> bool:
    """Whether another Python has packages that meet every requirement of this dlbox for training."""
    command = [str(python), "-I", "-c", _FITS, *own_wheel.requirements()]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
