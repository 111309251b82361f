"""Power draw of this machine's card during training, from the history."""

from __future__ import annotations

import bisect

from bench.results.record.document import Result
from bench.results.store.history import COMPARED, History, HistoryError, default_path
from inventory.machine.reading import Reading
from inventory.machine.records import Machine

BUSY_PERCENT = 50
"""Minimum mean utilisation of a card (in percent) for its power draw to count as that of a card under load."""


def remembered_power(machine: Machine) -> tuple[Reading[float], str]:
    """Maximum power draw in watts of the card during timed training, and the date. It is from the newest run that put
    the card under load. If there is no such value, a failed reading with the reason: no history, several cards, or no
    run that recorded this card.
    """
    if len(machine.gpus) != 1:
        return Reading.failed("the history is used only for machines with one card"), ""
    path = default_path()
    if not path.is_file():
        return Reading.failed("the history is empty: train first, for example with `dlbox bench`"), ""
    try:
        history = History(path)
        runs = history.runs(COMPARED)
        history.close()
    except HistoryError as error:
        return Reading.failed(f"the history cannot be read: {error}"), ""
    name = machine.gpus[0].name.value
    for run in reversed(runs):
        document = run.document
        if document is None or [gpu.name.value for gpu in document.machine.gpus] != [name]:
            continue
        if document.machine.host.hostname != machine.host.hostname:
            continue
        watts = [w for w in map(_most_watts, document.results) if w is not None]
        if watts:
            return Reading.of(max(watts)), f"as maximum of run {run.id} on {run.started_at[:10]}"
    return Reading.failed("no stored run recorded this card under load: train with `dlbox bench`"), ""


def _most_watts(result: Result) -> float | None:
    """Maximum of the readings during timed training; None if the card was not under load or not recorded."""
    telemetry = result.telemetry
    if telemetry is None or telemetry.summary is None:
        return None
    if (telemetry.summary.utilisation_mean_percent or 0) < BUSY_PERCENT:
        return None
    starts = [start for start, _ in telemetry.timed]
    found = []
    for second, watts in zip(telemetry.samples.second, telemetry.samples.power_w, strict=False):
        at = bisect.bisect_right(starts, second) - 1
        if watts is not None and at >= 0 and second <= telemetry.timed[at][1]:
            found.append(watts)
    return max(found, default=None)
