"""What a card did while a workload trained -> findings. Pure, like ``bench.judge.training``; nothing without a card."""

from __future__ import annotations

import math

from bench.finding import TRAINING, Finding, Status
from bench.health import plausible
from bench.health.checks import thermal
from bench.results.record.card import HALF_CLOCK, SOFTWARE_HEAT, CardSummary
from bench.results.record.document import Result
from bench.results.stats import steadiness
from bench.results.stats.steadiness import CARD_BUSY_PERCENT, CARD_DISTURBED_PERCENT
from inventory.machine.records import Machine

HEAT_SHARE = 0.01
"""Of the time; more software thermal slowdown warns. Hardware slowdown and power brake fail at once. The same
limits as `dlbox check --stress`; a power limit and an idle card are harmless."""

_MOST = 0.5
"""Of the time in which the clock was slow; a reason that held for less of it does not explain it."""

_POWER_LIMIT, _BY_THE_USER = thermal.HARMLESS[0x04], thermal.HARMLESS[0x02]

_BUSY_PERCENT = 50
"""A card that works less may rest between kernels and need no clock."""

_LEAST_READINGS = 3

_ABOVE_LIMIT = 1.1
"""Times the highest clock that the driver knows; a higher reading is impossible."""

_END_THEM = "end them (`nvidia-smi` lists them) and run it again before you compare or keep this figure"

_COOL = "clean fans and filters, give the case air and the card its own power cables; then: dlbox check --stress 5"


def judge(result: Result, machine: Machine) -> list[Finding]:
    """Whether this very process used the card, and whether the card was free to run at its speed."""
    if not machine.has_gpu:
        return []
    telemetry = result.telemetry
    summary = telemetry.summary if telemetry is not None else None
    why = telemetry.trouble if telemetry is not None else ""
    why = why or ("no reading fell into the timed training" if telemetry else "")
    why = why or machine.nvml.why or "the card was not watched"
    found = [_evidence(result, summary, machine, why)]
    if not result.on_gpu:
        return found
    if summary is None:
        return [*found, _made(result, "slowdown", Status.SKIP, why)]
    slowdown = _slowdown(result, summary)
    clock = _clock(result, summary, machine)
    if slowdown.status is clock.status is Status.FAIL:  # one fault, one failing finding
        clock = _made(result, "clock", Status.SKIP, f"{clock.message.partition(':')[0]}: see {slowdown.id}")
    return [*found, slowdown, clock, _alone(result, summary)]


_TITLES = {
    "worked": "the GPU did the work of {}",
    "slowdown": "{} is not slowed down by heat or power",
    "clock": "{} runs at the card's clock",
    "alone": "{} has the card to itself",
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
    """The card's own word for it: utilisation, and this process in its list. No word is no evidence against."""
    present, missing, silent = _witnesses(summary, machine)
    if missing and result.on_gpu:
        return _made(
            result,
            "worked",
            Status.FAIL,
            f"{result.backend} says that it trained on {result.device}, but the card does not show it: "
            + " and ".join(missing),
            remedy=f"run `dlbox check --frameworks`: it says what {result.backend} finds and which library is missing",
        )
    if not result.on_gpu:
        told = f"{result.backend} itself says that it trained on the processor"
        if present or missing:
            return _made(
                result, "worked", Status.SKIP, f"{told}; the card shows: {', '.join(present + missing)}"
            )
        return _made(
            result,
            "worked",
            Status.UNKNOWN,
            f"{told}, and the card tells nothing: {why}",
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
    return _made(result, "worked", Status.SKIP, f"only the word of {result.backend} for it: {reason}")


def _witnesses(summary: CardSummary | None, machine: Machine) -> tuple[list[str], list[str], list[str]]:
    """What speaks for the card's work, what against, and what says nothing."""
    if summary is None or summary.readings < _LEAST_READINGS:
        return [], [], ["too few readings"]
    present, missing, silent = [], [], []
    top, mean = summary.utilisation_max_percent, summary.utilisation_mean_percent
    if top is None or mean is None or not (0 <= top <= 100 and 0 <= mean <= 100):
        silent.append("the driver tells no utilisation")
    elif top > 0:
        present.append(f"{mean:.0f}% busy on average, {top}% at most")
    else:
        missing.append("it was never busy (utilisation 0%)")
    environment = machine.host.environment
    if summary.process_seen:
        size = summary.peak_memory_bytes
        present.append(
            f"this process held {size / 2**20:,.0f} MiB of it" if size else "this process is in its list"
        )
    elif summary.process_seen is None or environment in ("container", "wsl2"):
        # A container has process numbers of its own, and WSL2 an empty list.
        silent.append("the driver does not list this process here")
    else:
        missing.append("this process held no memory of it")
    return present, missing, silent


def _slowdown(result: Result, summary: CardSummary) -> Finding:
    harmful = summary.harmful_seconds
    if harmful is None:
        return _made(result, "slowdown", Status.SKIP, "the driver does not give reasons for reduced clocks")
    if not _sound(summary.seconds, *harmful.values()) or not summary.seconds:
        return _made(result, "slowdown", Status.SKIP, "the times of reduced clocks are impossible")
    top = f", at most {summary.temperature_max_c} C" if summary.temperature_max_c is not None else ""
    told = ", ".join(f"{name} for {seconds:.1f} s" for name, seconds in harmful.items())
    told += f" of {summary.seconds:.0f} s of training{top}"
    hard = sum(seconds for name, seconds in harmful.items() if name != SOFTWARE_HEAT)
    if hard > 0:
        return _made(
            result, "slowdown", Status.FAIL, f"the hardware held the clocks down: {told}", round(hard, 2), 0, "s",
            remedy=_COOL,
        )  # fmt: skip
    soft, most = harmful.get(SOFTWARE_HEAT, 0.0), HEAT_SHARE * summary.seconds
    if soft > most:
        return _made(
            result, "slowdown", Status.WARN, f"the figure is too low: {told}", round(soft, 2), round(most, 2), "s",
            remedy=_COOL,
        )  # fmt: skip
    harmless = [name for name in summary.harmless_seconds or {} if name != "idle"]
    words = f"not slowed down{top}" + (f" (harmless: {', '.join(harmless)})" if harmless else "")
    return _made(result, "slowdown", Status.PASS, words, round(soft, 2), round(most, 2), "s")


def _clock(result: Result, summary: CardSummary, machine: Machine) -> Finding:
    """The reason masks do not name everything that can hold a clock: a broken supply, a limit somebody set."""
    now, top, used = summary.sm_mhz_median, summary.sm_mhz_limit, summary.utilisation_mean_percent
    unread = plausible.fault("sm_mhz", now) or plausible.fault("sm_max_mhz", top)
    if unread or now is None or top is None or now > _ABOVE_LIMIT * top:
        return _made(result, "clock", Status.SKIP, "the driver does not tell the clock and its limit")
    words = f"{now} MHz in most of the training, the card knows up to {top}"
    if now >= HALF_CLOCK * top:
        return _made(result, "clock", Status.PASS, words, now, round(HALF_CLOCK * top), "MHz")
    if used is None or not _BUSY_PERCENT <= used <= 100:
        return _made(result, "clock", Status.SKIP, f"{words}; too little load to need more")
    shares = {name: share for name, share in (summary.slow_shares or {}).items() if name != "idle"}
    by_the_user = shares.get(_BY_THE_USER, 0.0) > _MOST
    limited = shares.get(_POWER_LIMIT, 0.0) > _MOST and not summary.harmful_seconds
    capped = (machine.host.is_laptop or limited) and not by_the_user
    told = ", ".join(f"{name} for {share:.0%} of that time" for name, share in shares.items())
    return _made(
        result,
        "clock",
        Status.WARN if capped else Status.FAIL,
        f"{words}: held down ({told or 'for no reason that the driver names'})",
        now,
        round(HALF_CLOCK * top),
        "MHz",
        remedy="take the limit away that somebody set: `sudo nvidia-smi -rgc`, and `sudo nvidia-smi -rac` on a "
        "workstation's or server's card; then run it again"
        if by_the_user
        else "see what limits it: `nvidia-smi -q -d CLOCK,POWER,PERFORMANCE`; undo a clock or power limit that is "
        "too low (`sudo nvidia-smi -rgc`), plug a laptop in, check the card's power cables",
    )


def _alone(result: Result, summary: CardSummary) -> Finding:
    others = summary.other_programs
    if others is None or not (summary.process_seen or others):
        return _made(result, "alone", Status.SKIP, "the driver does not list the programs on the card here")
    if not summary.process_seen:
        return _made(
            result, "alone", Status.SKIP, "this process cannot be told from others in the driver's list"
        )
    shares = summary.other_programs_percent
    if shares is not None and not (_sound(*shares.values()) and set(others) <= set(shares)):
        if not others:
            return _made(result, "alone", Status.SKIP, "the shares of other programs are impossible")
        shares = None
    if shares is None and others:
        return _made(
            result,
            "alone",
            Status.WARN,
            "the figure is too low if they were busy, which the driver does not tell: "
            f"{', '.join(others[:4])} held the card too",
            len(others),
            0,
            "programs",
            remedy=_END_THEM,
        )
    busy = steadiness.others_on_card(result)
    drawing = sum((shares or {}).values()) - busy
    told = ", ".join(f"{name} {share:.0f}%" for name, share in _busiest(shares or {}) if share >= 0.5)
    if busy > CARD_BUSY_PERCENT or drawing > CARD_DISTURBED_PERCENT:
        return _made(
            result,
            "alone",
            Status.FAIL if busy > CARD_DISTURBED_PERCENT else Status.WARN,
            f"other programs ran on the card meanwhile, so the figure is too low: {told} of the time",
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
        f"{', '.join(others[:4])} held memory of the card and computed for {busy:.1f}% of the time",
        round(busy, 1),
        CARD_BUSY_PERCENT,
        "%",
    )


def _sound(*numbers: float) -> bool:
    """Whether each is a duration or a share that can be."""
    return all(math.isfinite(number) and number >= 0 for number in numbers)


def _busiest(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])[:4]
