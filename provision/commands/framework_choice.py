"""Print which build of a framework the launcher installs on this computer: "cuda:an NVIDIA card is on the bus".

``python -m provision.commands.framework_choice`` prints the name of a lock file and the reason, separated by a colon.
"""

from __future__ import annotations

import sys

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK
from common.command_line.messages import print_error
from inventory import gather
from inventory.machine.records import Machine
from provision.resolve.box_reading import ReadingError
from provision.resolve.boxes import of_machine
from provision.resolve.stack import NoStack, resolve

BUILDS = {"tensorflow": "cuda", "torch": "torch-cuda"}
"""Default backend of the plan -> the lock file with its build for CUDA."""


def main() -> int:
    """Print the choice. 1: no framework can run here; the reason is on stderr."""
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


if __name__ == "__main__":
    sys.exit(main())
