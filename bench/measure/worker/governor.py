"""The kernel's frequency governors, read after every timed block."""

from __future__ import annotations

from pathlib import Path

from inventory.machine import kernel_files


class Governors:
    """The governors of all clock domains of the CPU; virtual machines have none."""

    def __init__(self, sysroot: Path = Path("/")) -> None:
        self._files = sorted((sysroot / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor"))

    def read(self) -> str | None:
        """ "performance", or "performance, powersave" if clock domains differ; None if the kernel has no governor."""
        found = {
            kernel_files.text(file, 64) for file in self._files
        }  # if no CPU of a domain is active, its file is empty
        return ", ".join(sorted(name for name in found if name)) or None
