"""The kernel's frequency governors, cheap enough to be read after every timed block."""

from __future__ import annotations

from pathlib import Path

from inventory.machine import kernel_files


class Governors:
    """Of all the processor's clock domains; virtual machines show none."""

    def __init__(self, sysroot: Path = Path("/")) -> None:
        self._files = sorted((sysroot / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor"))

    def read(self) -> str | None:
        """ "performance", or "performance, powersave" where domains differ; None where the kernel shows none."""
        found = {kernel_files.text(file, 64) for file in self._files}  # one whose processors are off has none
        return ", ".join(sorted(name for name in found if name)) or None
