"""Findings about the card during training: its use, clocks, heat and other programs. Pure functions; without a card
they return no findings."""

from __future__ import annotations

import math

from bench.finding import TRAINING, Finding, Status
from bench.health.checks import thermal
from bench.results.record.card import HALF_CLOCK, SOFTWARE_HEAT, CardSummary
from bench.results.record.document import Result
from bench.results.stats import steadiness
from bench.results.stats.steadiness import CARD_BUSY_PERCENT, CARD_DISTURBED_PERCENT
from inventory.machine.records import Machine
from inventory.nvml import bounds

HEAT_SHARE = 0.01
"""The finding is a warning if the card spends more than this share of the time in software thermal slowdown, and a
failure on any hardware slowdown or power brake.
These are the limits of `dlbox check --stress`. A power limit and an idle card are harmless."""

_MOST = 0.5
"""A reason explains a slow clock if it was active for at least this share of the time with the slow clock."""

_POWER_LIMIT, _BY_THE_USER = thermal.HARMLESS[0x04], thermal.HARMLESS[0x02]

_BUSY_PERCENT = 50
"""With a lower mean utilisation (in percent), the card may lower its clock between kernels, which is normal."""

_LEAST_READINGS = 3

_ABOVE_LIMIT = 1.1
"""Readings above this multiple of the highest clock that the driver reports are impossible."""

_END_THEM = "close the other programs (`nvidia-smi` lists them) and run this again before you use or compare the speed"

_COOL = (
    "clean fans and filters, improve the airflow, use separate power cables for the card; "
    "then: dlbox check --stress 5"
)


def judge(result: Result, machine: Machine) -> list[Finding]:
    """Whether the training process used the card, and whether heat, power or other programs slowed the card down."""
    if not machine.has_gpu:
        return []
    telemetry = result.telemetry
    summary = telemetry.summary if telemetry is not None else None
    why = telemetry.trouble if telemetry is not None else ""
    why = why or ("no reading was taken during the timed training" if telemetry else "")
    why = why or machine.nvml.why or "the card's sensors were not read"
    found = [_evidence(result, summary, machine, why)]
    if not result.on_gpu:
        return found
    if summary is None:
        return [*found, _made(result, "slowdown", Status.SKIP, why)]
    slowdown = _slowdown(result, summary)
    clock = _clock(result, summary, machine)
    if slowdown.status is clock.status is Status.FAIL:  # one fault must cause only one failed finding
        clock = _made(result, "clock", Status.SKIP, f"{clock.message.partition(':')[0]}: see {slowdown.id}")
    return [*found, slowdown, clock, _alone(result, summary)]


_TITLES = {
    "worked": "the GPU trained {}",
    "slowdown": "{} is not slowed down by heat or power",
    "clock": "{} runs at the card's full clock",
    "alone": "no other program used the card during {}",
}


def _made(
    result: Result,
    what: str,
    status: Status,
    message: str,
    measured: float | None = None,
    expected: float | None = None,
    unit: str | None = None,
    remedy: str | None = None,
) -> Finding:
    return Finding(
        theme=TRAINING,
        check=what,
        subject=result.label,
        status=status,
        title=_TITLES[what].format(result.label),
        message=message,
        measured=measured,
        expected=expected,
        unit=unit,
        remedy=remedy,
    )


def _evidence(result: Result, summary: CardSummary | None, machine: Machine, why: str) -> Finding:
    """Whether the card's utilisation and process list show the training. Missing readings are no evidence against
    it."""
    present, missing, silent = _witnesses(summary, machine)
    if missing and result.on_gpu:
        return _made(
            result,
            "worked",
            Status.FAIL,
            f"{result.backend} reports that it trained on {result.device}, but the card's readings contradict it: "
            + " and ".join(missing),
            remedy=f"run `dlbox check --frameworks`: it lists what {result.backend} finds and which library is missing",
        )
    if not result.on_gpu:
        message = f"{result.backend} reports that it trained on the processor"
        if present or missing:
            return _made(
                result,
                "worked",
                Status.SKIP,
                f"{message}; the card's readings: {', '.join(present + missing)}",
            )
        return _made(
            result,
            "worked",
            Status.UNKNOWN,
            f"{message}, and the card gives no readings: {why}",
            remedy=f"see what {result.backend} finds: `dlbox check --frameworks`; and what the driver reads: "
            "`nvidia-smi`",
        )
    if present:
        return _made(
            result,
            "worked",
            Status.PASS,
            ", ".join(present) + (f" ({'; '.join(silent)})" if silent else ""),
            measured=summary.utilisation_mean_percent if summary else None,
            unit="%" if summary and summary.utilisation_mean_percent is not None else None,
        )
    reason = "; ".join(silent) if summary is not None else why
    return _made(
        result,
        "worked",
        Status.SKIP,
        f"{result.backend} reports it, but the card's readings cannot confirm it: {reason}",
    )


def _witnesses(summary: CardSummary | None, machine: Machine) -> tuple[list[str], list[str], list[str]]:
    """Three lists of clauses: readings that show that the card trained, readings that contradict it, and missing
    readings."""
    if summary is None or summary.readings < _LEAST_READINGS:
        return [], [], ["too few readings"]
    present, missing, silent = [], [], []
    top, mean = summary.utilisation_max_percent, summary.utilisation_mean_percent
    if top is None or mean is None or not (0 <= top <= 100 and 0 <= mean <= 100):
        silent.append("the driver does not report the utilisation")
    elif top > 0:
        present.append(f"{mean:.0f}% busy on average, {top}% at most")
    else:
        missing.append("it was idle (utilisation 0%)")
    environment = machine.host.environment
    if summary.process_seen:
        size = summary.peak_memory_bytes
        present.append(
            f"this process used {size / 2**20:,.0f} MiB of its memory"
            if size
            else "this process is in its list"
        )
    elif summary.process_seen is None or environment in ("container", "wsl2"):
        # Process ids in a container differ from those of the driver, and WSL2 gives an empty list.
        silent.append("the driver does not list this process here")
    else:
        missing.append("this process used none of its memory")
    return present, missing, silent


def _slowdown(result: Result, summary: CardSummary) -> Finding:
    harmful = summary.harmful_seconds
    if harmful is None:
        return _made(result, "slowdown", Status.SKIP, "the driver does not report reasons for reduced clocks")
    if not _sound(summary.seconds, *harmful.values()) or not summary.seconds:
        return _made(result, "slowdown", Status.SKIP, "the times of reduced clocks have impossible values")
    top = f", at most {summary.temperature_max_c} C" if summary.temperature_max_c is not None else ""
    message = ", ".join(f"{name} for {seconds:.1f} s" for name, seconds in harmful.items())
    message += f" of {summary.seconds:.0f} s of training{top}"
    hard = sum(seconds for name, seconds in harmful.items() if name != SOFTWARE_HEAT)
    if hard > 0:
        return _made(
            result, "slowdown", Status.FAIL, f"the hardware reduced the clocks: {message}", round(hard, 2), 0, "s",
            remedy=_COOL,
        )  # fmt: skip
    soft, most = harmful.get(SOFTWARE_HEAT, 0.0), HEAT_SHARE * summary.seconds
    if soft > most:
        return _made(
            result, "slowdown", Status.WARN, f"this speed is too low: {message}", round(soft, 2), round(most, 2), "s",
            remedy=_COOL,
        )  # fmt: skip
    harmless = [name for name in summary.harmless_seconds or {} if name != "idle"]
    words = f"not slowed down{top}" + (f" (harmless: {', '.join(harmless)})" if harmless else "")
    return _made(result, "slowdown", Status.PASS, words, round(soft, 2), round(most, 2), "s")


def _clock(result: Result, summary: CardSummary, machine: Machine) -> Finding:
    """Whether the clock was high enough. The driver does not report every cause as a reason: for example, not a
    faulty power supply."""
    now, top, used = summary.sm_mhz_median, summary.sm_mhz_limit, summary.utilisation_mean_percent
    unread = bounds.fault("sm_mhz", now) or bounds.fault("sm_max_mhz", top)
    if unread or now is None or top is None or now > _ABOVE_LIMIT * top:
        return _made(result, "clock", Status.SKIP, "the driver does not report the clock and its limit")
    words = f"median clock {now} MHz, the card's maximum is {top}"
    if now >= HALF_CLOCK * top:
        return _made(result, "clock", Status.PASS, words, now, round(HALF_CLOCK * top), "MHz")
    if used is None or not _BUSY_PERCENT <= used <= 100:
        return _made(result, "clock", Status.SKIP, f"{words}; the load was too low to need a higher clock")
    shares = {name: share for name, share in (summary.slow_shares or {}).items() if name != "idle"}
    by_the_user = shares.get(_BY_THE_USER, 0.0) > _MOST
    limited = shares.get(_POWER_LIMIT, 0.0) > _MOST and not summary.harmful_seconds
    capped = (machine.host.is_laptop or limited) and not by_the_user
    message = ", ".join(f"{name} for {share:.0%} of that time" for name, share in shares.items())
    return _made(
        result,
        "clock",
        Status.WARN if capped else Status.FAIL,
        f"{words}: reduced ({message or 'the driver reports no reason'})",
        now,
        round(HALF_CLOCK * top),
        "MHz",
        remedy="remove the configured limit: `sudo nvidia-smi -rgc`, and `sudo nvidia-smi -rac` on a workstation or "
        "server card; then run it again"
        if by_the_user
        else "find what limits it: `nvidia-smi -q -d CLOCK,POWER,PERFORMANCE`; remove a clock or power limit that is "
        "too low (`sudo nvidia-smi -rgc`), connect a laptop to mains power, check the card's power cables",
    )


def _alone(result: Result, summary: CardSummary) -> Finding:
    others = summary.other_programs
    if others is None or not (summary.process_seen or others):
        return _made(result, "alone", Status.SKIP, "the driver does not list the programs on the card")
    if not summary.process_seen:
        return _made(
            result, "alone", Status.SKIP, "this process cannot be identified in the driver's list of programs"
        )
    shares = summary.other_programs_percent
    if shares is not None and not (_sound(*shares.values()) and set(others) <= set(shares)):
        if not others:
            return _made(result, "alone", Status.SKIP, "the shares of other programs have impossible values")
        shares = None
    if shares is None and others:
        return _made(
            result,
            "alone",
            Status.WARN,
            "this speed is too low if they were computing, which the driver does not report: "
            f"{', '.join(others[:4])} had the card open too",
            len(others),
            0,
            "programs",
            remedy=_END_THEM,
        )
    busy = steadiness.others_on_card(result)
    drawing = sum((shares or {}).values()) - busy
    message = ", ".join(f"{name} {share:.0f}%" for name, share in _busiest(shares or {}) if share >= 0.5)
    if busy > CARD_BUSY_PERCENT or drawing > CARD_DISTURBED_PERCENT:
        return _made(
            result,
            "alone",
            Status.FAIL if busy > CARD_DISTURBED_PERCENT else Status.WARN,
            f"other programs computed on the card meanwhile, so this speed is too low: {message} of the time",
            round(max(busy, drawing), 1),
            CARD_BUSY_PERCENT if busy > CARD_BUSY_PERCENT else CARD_DISTURBED_PERCENT,
            "%",
            remedy=_END_THEM,
        )
    if not others:
        return _made(result, "alone", Status.PASS, "no other program computed on the card")
    return _made(
        result,
        "alone",
        Status.PASS,
        f"{', '.join(others[:4])} had memory of the card and computed for {busy:.1f}% of the time",
        round(busy, 1),
        CARD_BUSY_PERCENT,
        "%",
    )


def _sound(*numbers: float) -> bool:
    """Whether each value is possible as a duration or a share."""
    return all(math.isfinite(number) and number >= 0 for number in numbers)


def _busiest(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])[:4]
