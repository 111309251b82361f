"""Telemetry of a card while a workload trained on it: readings over time, and their summary."""

from __future__ import annotations

from typing import Literal

import msgspec

EnergyMethod = Literal["energy counter", "power samples", "none"]
"""The source of the energy figure: the driver's energy counter (Volta and later), the sum of power readings over
time, or neither.

NVML's power reading is a mean over about one second on Ampere and later.
"""

SOFTWARE_HEAT = "software thermal slowdown"
HARDWARE_HEAT = "hardware thermal slowdown"
POWER_BRAKE = "power brake"
HARDWARE = "hardware slowdown"
"""Names of the harmful reasons for reduced clocks. The last one means that the hardware halves its clocks and does
not report the fault."""

HALF_CLOCK = 0.6
"""Share of the card's maximum clock. The clock of a busy card is reduced if most readings are below it. RTX 2080 SUPER
and 4080 SUPER ran at 0.96 and 0.89 under load, a card at its power limit at 0.75 or more (proposed value: measured on
few cards)."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Readings in columns of equal length; null where the driver gave no value.

    ``second``: seconds since the first reading. Long runs are thinned: a reason for reduced clocks is never lost, and
    the summary is computed from all readings.
    """

    second: tuple[float, ...] = ()
    sm_mhz: tuple[int | None, ...] = ()
    temperature_c: tuple[int | None, ...] = ()
    power_w: tuple[float | None, ...] = ()
    utilisation_percent: tuple[int | None, ...] = ()
    memory_bytes: tuple[int | None, ...] = ()
    """Memory on the card used by the training process and its children."""
    event_reasons: tuple[int | None, ...] = ()
    """NVML's bit mask of the reasons why clocks are below their maximum."""


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary over the timed training of all processes, without imports, compilation, warm-up and evaluation.

    Values that were not read are null, never 0.
    """

    seconds: float
    """Seconds of timed training that are covered by readings."""
    readings: int
    utilisation_mean_percent: float | None = None
    """Percent of the time in which the card ran any kernel, of this process or another."""
    utilisation_max_percent: int | None = None
    process_seen: bool | None = None
    """Whether the training process was in the driver's list of processes; null where there is no list."""
    peak_memory_bytes: int | None = None
    """Peak memory of the training process and its children on the card, including what the framework reserves."""
    sm_mhz_min: int | None = None
    sm_mhz_median: int | None = None
    sm_mhz_max: int | None = None
    sm_mhz_limit: int | None = None
    """The maximum clock of the card."""
    temperature_max_c: int | None = None
    power_mean_w: float | None = None
    harmful_seconds: dict[str, float] | None = None
    """Seconds of clocks reduced by heat or power faults, by reason (the names above): from the driver's counters, or
    from readings where it has none. Empty: none. Null: the driver gives neither."""
    harmless_seconds: dict[str, float] | None = None
    """Seconds below the maximum clock for a normal reason (idle, power limit), by reason, from readings."""
    slow_shares: dict[str, float] | None = None
    """Share of the time below ``HALF_CLOCK`` for which each normal reason applied. Null: the clock was never below it,
    or the driver gives no reasons."""
    energy_method: EnergyMethod = "none"
    energy_joules_per_1000_samples: float | None = None
    """Energy of the card only, without the rest of the computer."""
    samples_per_second_per_watt: float | None = None
    other_programs: tuple[str, ...] | None = None
    """Other compute programs on the card during the timed training, as "python (4242)", without programs that also
    render graphics; null where the driver gives no list."""
    other_programs_percent: dict[str, float] | None = None
    """Percent of the time in which kernels of each other program ran, including programs that both compute and
    render."""


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Telemetry of one workload on one card."""

    gpu: int | None = None
    """Index of the card in NVML's order; null where no card could be read."""
    timed: tuple[tuple[float, float], ...] = ()
    """Start and end of the timed training of each process, in the seconds of ``samples``."""
    samples: Series = Series()
    summary: CardSummary | None = None
    """Null with fewer than two readings during timed training."""
    trouble: str = ""
    """Why reading did not start or ended early; empty without errors."""
