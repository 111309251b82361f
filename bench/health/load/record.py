"""LoadRun: everything that was measured while a card worked, before anyone judged it."""

from __future__ import annotations

import msgspec

from bench.health import plausible
from inventory.machine.records import Gpu


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """The memory test."""

    tested_bytes: int
    free_bytes: int
    wrong_cells: int
    patterns: int


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    times: int
    different: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The card at one moment of the load."""

    second: float
    gpu: Gpu


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """Throughput of the steady load over about one second."""

    second: float
    tflops: float


class LoadRun(msgspec.Struct, frozen=True, kw_only=True):
    """One card, or the processor, under load by one framework."""

    backend: str = ""
    device: str = ""
    on_gpu: bool = False
    pinned: bool = False
    seconds: float = 0.0
    rates: dict[str, float] = {}
    """"matmul-fp32" in TFLOPS; "memory-bandwidth", "to-device", "from-device" in 10^9 bytes a second."""
    troubles: dict[str, str] = {}
    """Probes that broke, with the framework's words."""
    skipped: dict[str, str] = {}
    """Probes that do not apply, with the reason."""
    pattern: Pattern | None = None
    repeats: Repeats | None = None
    soak: tuple[Soaked, ...] = ()
    samples: tuple[Sample, ...] = ()
    new_xids: tuple[int, ...] = ()
    """Codes that appeared in the kernel log during the load."""
    xids_known: bool = False
    """Whether the kernel log could be read before and after."""
    interrupted: bool = False
    """Ended by the person before its time: what was measured until then still counts."""
    problem: str = ""
    """How the process that makes the load broke; empty where it ended by itself."""

    def best_link(self) -> tuple[int | None, int | None]:
        """Highest PCIe generation and width seen under load."""
        links = [plausible.checked_all(s.gpu.link) for s in self.samples]
        generations = [link.generation.value for link in links if link.generation.value is not None]
        widths = [link.width.value for link in links if link.width.value is not None]
        return max(generations, default=None), max(widths, default=None)
