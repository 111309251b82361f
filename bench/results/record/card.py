"""What a card did while a workload trained on it, as it is kept: readings over time and what they come to."""

from __future__ import annotations

from typing import Literal

import msgspec

EnergyMethod = Literal["energy counter", "power samples", "none"]
"""The driver's own count of joules (Volta and later), readings of the draw added up, or neither.

The draw that NVML gives is a mean over about a second on Ampere and later.
"""

SOFTWARE_HEAT = "software thermal slowdown"
HARDWARE_HEAT = "hardware thermal slowdown"
POWER_BRAKE = "power brake"
HARDWARE = "hardware slowdown"
"""Names of the harmful reasons. The last: the hardware halves its clocks and does not say for which fault."""

HALF_CLOCK = 0.6
"""Of the card's highest clock; a busy card below it in most readings is held down. RTX 2080 SUPER and 4080 SUPER
ran at 0.96 and 0.89 under load, a card at its power limit at 0.75 and more (proposal, few cards)."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Readings in columns of one length; null where the driver did not tell.

    ``second`` counts from the start of the first. Of a long run some are left out; reasons for reduced
    clocks are never lost by that, and the summary is made from all.
    """

    second: tuple[float, ...] = ()
    sm_mhz: tuple[int | None, ...] = ()
    temperature_c: tuple[int | None, ...] = ()
    power_w: tuple[float | None, ...] = ()
    utilisation_percent: tuple[int | None, ...] = ()
    memory_bytes: tuple[int | None, ...] = ()
    """Taken on the card by the training process and its children."""
    event_reasons: tuple[int | None, ...] = ()
    """NVML's bit mask of why clocks are below their maximum."""


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Over the timed training of all processes, without imports, compiling, warm-up and judging.

    Null where it is not known; nothing that was not read is 0.
    """

    seconds: float
    """Of timed training that lie between readings."""
    readings: int
    utilisation_mean_percent: float | None = None
    """Share of time in which the card ran any kernel, of this process or another."""
    utilisation_max_percent: int | None = None
    process_seen: bool | None = None
    """Whether the training process was in the driver's list; null where there is no list."""
    peak_memory_bytes: int | None = None
    """Most that the training process and its children took on the card, what a framework keeps in reserve
    included."""
    sm_mhz_min: int | None = None
    sm_mhz_median: int | None = None
    sm_mhz_max: int | None = None
    sm_mhz_limit: int | None = None
    """The highest the card knows."""
    temperature_max_c: int | None = None
    power_mean_w: float | None = None
    harmful_seconds: dict[str, float] | None = None
    """Held down by heat or power faults: seconds by reason (the names above), by the driver's counters where it
    has them, else by readings. Empty: none. Null: the driver does not tell."""
    harmless_seconds: dict[str, float] | None = None
    """Below the maximum for a normal reason (idle, power limit): seconds by reason, by readings."""
    slow_shares: dict[str, float] | None = None
    """Of the time in which the clock was below ``HALF_CLOCK``: the share of it for which each normal reason held. Null:
    it never was, or the driver does not tell."""
    energy_method: EnergyMethod = "none"
    energy_joules_per_1000_samples: float | None = None
    """Of the card alone, not of the computer around it."""
    samples_per_second_per_watt: float | None = None
    other_programs: tuple[str, ...] | None = None
    """Others that were there to compute meanwhile, "python (4242)", not those that draw as well; null where the driver
    does not tell."""
    other_programs_percent: dict[str, float] | None = None
    """Of them, and of programs that compute and draw: percent of the time in which their kernels ran."""


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one card."""

    gpu: int | None = None
    """Which, in NVML's order; null where none could be read."""
    timed: tuple[tuple[float, float], ...] = ()
    """Start and end of each process's timed training, on the clock of ``samples``."""
    samples: Series = Series()
    summary: CardSummary | None = None
    """Null where fewer than two readings fell into timed training."""
    trouble: str = ""
    """Why reading never began or ended early; empty where nothing went wrong."""
