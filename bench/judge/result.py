"""Judges one result: computes its derived figures and all findings. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bench.finding import Finding
from bench.judge import baseline, card, plausibility, scaling, slowdown, training
from bench.results.record.document import Result
from bench.results.record.figures import Probes
from bench.results.stats import derived, steadiness
from bench.results.store.rows import Run
from inventory.builds.bill import Bill
from inventory.machine.records import Machine


class ResultJudge(msgspec.Struct, frozen=True, kw_only=True):
    """What the results of one run are compared with.

    baselines: The newest first. runs: Earlier runs, for the run-to-run variation. probes: Of this run. bill: Parts and
    prices of the machine. on_processor: The processor was selected, so an unused card is not a fault. framework:
    Returns the finding about a backend's access to the card; called only if it trained without the card. number:
    The run's number in the history.
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
        """``result`` with its derived figures, and its findings.

        learned: The result of the same workload whose accuracy was measured, if not ``result`` itself. governor: The
        frequency governor before ``result`` in this run; None if it is not known.
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
        """The frequency governor at the start of the run; None if it is not known."""
        first, began = steadiness.governors(result)[:1], self.machine.host.cpu_governor.value
        return (
            began if first and began not in first[0].split(", ") else None
        )  # known only if all clock domains had the same governor


def _price(bill: Bill | None) -> tuple[str, float, str] | None:
    return None if bill is None else (bill.name, bill.total_usd, bill.priced_on.isoformat())
