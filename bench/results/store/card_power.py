"""What the card of this machine drew while it trained, as the history remembers it."""

from __future__ import annotations

import bisect

from bench.results.record.document import Result
from bench.results.store.history import History, HistoryError, default_path
from inventory.machine.reading import Reading
from inventory.machine.records import Machine

BUSY_PERCENT = 50
"""Below this mean utilisation a run says little of what the card draws at work."""


def remembered_power(machine: Machine) -> tuple[Reading[float], str]:
    """Most watts that the one card drew in timed training, and when; of the newest run that loaded it.

    Failed with the reason where nothing fits: no history, another card, several cards, no run that watched.
    """
    if len(machine.gpus) != 1:
        return Reading.failed("only a machine with one card is looked up in the history"), ""
    path = default_path()
    if not path.is_file():
        return Reading.failed("no run is kept: train first, for example with `dlbox bench`"), ""
    try:
        history = History(path)
        runs = history.runs()
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
            return Reading.of(max(watts)), f"at most in run {run.id} of {run.started_at[:10]}"
    return Reading.failed("no run kept here watched this card at work: train with `dlbox bench`"), ""


def _most_watts(result: Result) -> float | None:
    """Of the readings inside timed training; None where the card was not at work or nobody watched."""
    told = result.telemetry
    if told is None or told.summary is None or (told.summary.utilisation_mean_percent or 0) < BUSY_PERCENT:
        return None
    starts = [start for start, _ in told.timed]
    found = []
    for second, watts in zip(told.samples.second, told.samples.power_w, strict=False):
        at = bisect.bisect_right(starts, second) - 1
        if watts is not None and at >= 0 and second <= told.timed[at][1]:
            found.append(watts)
    return max(found, default=None)
