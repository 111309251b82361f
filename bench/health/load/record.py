"""LoadRun: the measurements of a card under load, before they are checked."""

from __future__ import annotations

import msgspec

from inventory.machine.gpu_records import Gpu
from inventory.nvml import bounds


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the memory test."""

    tested_bytes: int
    free_bytes: int
    wrong_cells: int
    patterns: int


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """How often one matrix product was repeated, and how many results differed from the first."""

    times: int
    different: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of the card ``second`` seconds after the load began."""

    second: float
    gpu: Gpu


class ThroughputSample(msgspec.Struct, frozen=True, kw_only=True):
    """Throughput of the steady load over about one second."""

    second: float
    tflops: float


class CardUnderLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of one card under load, to compare it with others of its model; None where nothing was read."""

    index: int
    tflops: float | None = None
    """Median rate of the steady load."""
    clock_mhz: float | None = None
    """Median clock of the chip."""
    hottest_c: int | None = None


class LoadRun(msgspec.Struct, frozen=True, kw_only=True):
    """One card, or the processor, under load by one framework."""

    backend: str = ""
    device: str = ""
    on_gpu: bool = False
    pinned: bool = False
    seconds: float = 0.0
    rates: dict[str, float] = {}
    """"matmul-fp32" in TFLOPS; "memory-bandwidth", "to-device", "from-device" in GB/s (10^9 bytes per second)."""
    troubles: dict[str, str] = {}
    """Probes that failed, with the framework's error message."""
    skipped: dict[str, str] = {}
    """Probes that do not apply to this device, with the reason."""
    pattern: Pattern | None = None
    repeats: Repeats | None = None
    soak: tuple[ThroughputSample, ...] = ()
    samples: tuple[Sample, ...] = ()
    new_xids: tuple[int, ...] = ()
    """Codes that appeared in the kernel log during the load."""
    xids_known: bool = False
    """Whether the kernel log could be read before and after."""
    interrupted: bool = False
    """The user interrupted the run; the measurements up to that time still count."""
    problem: str = ""
    """Why the process that produces the load failed; empty if it ended normally."""
    peers: tuple[CardUnderLoad, ...] = ()
    """The other cards of this model in this computer, under the same load."""

    def best_link(self) -> tuple[int | None, int | None]:
        """Highest PCIe generation and width under load; None if no reading succeeded."""
        links = [bounds.checked_all(s.gpu.link) for s in self.samples]
        generations = [link.generation.value for link in links if link.generation.value is not None]
        widths = [link.width.value for link in links if link.width.value is not None]
        return max(generations, default=None), max(widths, default=None)
