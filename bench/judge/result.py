"""One result as it was measured -> its figures and all that is to be said of it. Nothing is measured in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bench.finding import Finding
from bench.judge import baseline, card, plausibility, scaling, slowdown, training
from bench.results.record.document import Result
from bench.results.record.figures import Probes
from bench.results.stats import derived, steadiness
from bench.results.store.history import Run
from inventory.builds.bill import Bill
from inventory.machine.records import Machine


class ResultJudge(msgspec.Struct, frozen=True, kw_only=True):
    """What the results of one run are held against.

    ``baselines``: the newest first. ``runs``: the earlier ones, whose scatter is known. ``on_processor``: that was
    asked for, so a card that does nothing is no fault. ``framework``: what one says of the card, by its name; it is
    asked only where it trained without the card. ``number``: of the run in the history.
    """

    machine: Machine
    baselines: Sequence[Run] = ()
    runs: Sequence[Run] = ()
    probes: Probes | None = None
    bill: Bill | None = None
    on_processor: bool = False
    framework: Callable[[str], Finding] | None = None
    number: int | None = None

    def judge(
        self, result: Result, *, learned: Result | None = None, governor: str | None = None
    ) -> tuple[Result, list[Finding]]:
        """``result`` with its figures, and the findings.

        ``learned``: of the same workload, where it was seen to learn. ``governor``: the processor's as last seen in
        this run before ``result``, None where nobody looked.
        """
        if learned is not None:
            result = msgspec.structs.replace(
                result,
                accuracy=learned.accuracy,
                ceiling=learned.ceiling,
                examples_seen=learned.examples_seen,
                diverged=learned.diverged,
                learning_seen_at_batch=learned.learning_seen_at_batch or learned.batch_size,
            )
            if result.devices > 1:
                result = scaling.against_one(result, learned)
        earlier = baseline.earlier_speeds(result, self.machine, self.runs)
        result = derived.with_figures(
            result,
            probes=self.probes,
            card_tflops=plausibility.of_card(plausibility.card(self.machine), result.precision),
            bill=_price(self.bill),
            earlier=earlier,
            shared=self.machine.host.environment in ("virtual-machine", "container"),
        )
        return result, [
            *training.judge(
                result,
                gpu_expected=self.machine.has_gpu and not self.on_processor,
                governor=governor or self._governor_at_first(result),
                framework=self.framework,
            ),
            *slowdown.judge(result),
            *plausibility.judge(result),
            *([] if self.on_processor else card.judge(result, self.machine)),
            *scaling.judge(result),
            *baseline.judge(
                result,
                self.machine,
                baselines=self.baselines,
                probes=self.probes,
                earlier=earlier,
                number=self.number,
            ),
        ]

    def _governor_at_first(self, result: Result) -> str | None:
        """The processor's as the run began."""
        first, began = steadiness.governors(result)[:1], self.machine.host.cpu_governor.value
        return began if first and began not in first[0].split(", ") else None  # of one clock domain only


def _price(bill: Bill | None) -> tuple[str, float, str] | None:
    return None if bill is None else (bill.name, bill.total_usd, bill.priced_on.isoformat())
