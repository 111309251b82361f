"""Print which lock files the launcher installs on this computer: "cuda:for GeForce RTX 3060 12GB".

``python -m provision.commands.framework_choice`` prints the names of lock files and the reason, separated by a colon.
``--framework NAME`` asks for a build with this framework. With ``--fits PYTHON`` it prints nothing; the exit code is 0
if that Python has every package that training needs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common.backends import BACKENDS
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK
from common.command_line.messages import print_error
from inventory import gather
from provision.artifacts import builds, own_wheel
from provision.resolve.box_reading import ReadingError

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
    """Print the choice. 1: the framework asked for cannot run here, with the reason on stderr; or the Python does not
    fit."""
    if arguments[:1] == ["--fits"]:
        return EXIT_OK if fits(Path(arguments[1])) else EXIT_FAILED
    framework = next((name for name in BACKENDS if name in arguments), None)
    try:
        decision = builds.frameworks_for(gather.gather(), framework=framework)
    except ReadingError as error:
        print_error(f"this machine: {error}")
        return EXIT_FAILED
    if framework is not None and decision.backend is None:
        print_error(decision.why.rstrip("."))
        return EXIT_FAILED
    print(f"{' '.join((decision.build, *decision.additions))}:{decision.why}")
    return EXIT_OK


def fits(python: Path) -> bool:
    """Whether another Python has packages that meet every requirement of this dlbox for training."""
    command = [str(python), "-I", "-c", _FITS, *own_wheel.requirements()]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
