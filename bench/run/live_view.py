"""The lines below the progress bar while a model trains: speed, loss, step time, time left, and the cards."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext

from bench.measure.card import watch
from bench.measure.events import Block, Event, Imported, TrainingJob, Tried
from bench.measure.runner import WorkerProblem
from bench.results.terminal.live import card_lines
from bench.results.terminal.trends import sparkline

_POINTS = 30
_QUIET_S = 2.0
"""After this time without an event, the view says how long the current step has lasted."""
_STALE_S = 15.0
"""A card without a reading for this time does not answer."""


class LiveView:
    """Collects events of the worker; ``lines`` returns what to show. Both may run in different threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._rates: deque[float] = deque(maxlen=_POINTS)
        self._block: Block | None = None
        self._last_event = clock()

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._last_event = self._clock()
            if isinstance(event, Imported):
                self._rates.clear()
                self._block = None
            elif isinstance(event, Block) and event.seconds > 0:
                self._rates.append(event.examples / event.seconds)
                self._block = event
            elif isinstance(event, Tried) and event.point.samples_per_second:
                self._rates.append(event.point.samples_per_second)

    def lines(self) -> list[str]:
        """The lines, the most important first."""
        with self._lock:
            rates, block, last = tuple(self._rates), self._block, self._last_event
        now = self._clock()
        found = []
        if rates:
            found.append(f"{rates[-1]:,.0f} samples/s {sparkline(rates)}")
        if block is not None:
            loss = "" if block.loss is None else f"loss {block.loss:.4g}, "
            left = block.trained_seconds * (1 / block.done_share - 1) if block.done_share > 0 else None
            time_left = "" if left is None else f", {max(0.0, left):.0f} s of training left"
            found.append(f"{loss}step {1000 * block.seconds / max(1, block.steps):.3g} ms{time_left}")
        if now - last > _QUIET_S:
            found.append(f"waiting for the training process for {now - last:.0f} s")
        for _, (at, gpu) in sorted(watch.LATEST.items()):
            silent = now - at
            found += card_lines(gpu, silent if silent > _STALE_S else None)
        return found


def observed(
    run: Callable[..., WorkerProblem | None], view: LiveView, *, cards: bool
) -> Callable[..., WorkerProblem | None]:
    """``run`` of ``bench.measure.runner``, whose events ``view`` gets too. ``cards``: read the cards meanwhile."""

    def observing(job: TrainingJob, on_event: Callable[[Event], None]) -> WorkerProblem | None:
        def both(event: Event) -> None:
            view.on_event(event)
            on_event(event)

        with watch.Sampler() if cards else nullcontext():
            return run(job, both)

    return observing
