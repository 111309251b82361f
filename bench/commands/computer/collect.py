"""`dlbox collect`: pack what this computer says about its card, for `dlbox check --from` on another computer.

The work is done by a shell script that ships with dlbox and also runs where dlbox is not installed.
"""

from __future__ import annotations

import subprocess  # nosec: runs the script that ships with this package
import sys
from importlib import resources
from pathlib import Path

from common.command_line.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Complain
from common.file_access.files import to_stdout


def run(*, output: Path, yes: bool, script: bool, complain: Complain) -> int:
    """Make the archive, or print the script on stdout; returns the exit code."""
    with resources.as_file(resources.files("inventory.sources") / "collect.sh") as file:
        if script:
            to_stdout(file.read_text())
            return 0
        if not yes and not sys.stdin.isatty():
            complain("stdin is not a terminal: pass --yes")
            return EXIT_USAGE
        command = ["sh", str(file), "-o", str(output), *(["--yes"] if yes else [])]
        try:
            code = subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except OSError as error:
            complain(f"the program sh cannot be run: {error.strerror}")
            return EXIT_FAILED
    return code if code >= 0 else EXIT_FAILED
