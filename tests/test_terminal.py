"""Terminal output of a run: it fits into 80 columns, nothing is truncated, and every figure is exact."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console

from bench.measure.workloads import WORKLOADS
from bench.results.record.document import Percentiles, Result
from bench.results.record.figures import InputShare, Interval, Memory, Price
from bench.results.terminal import results as terminal
from tests.samples import document, result


def shown(*results: Result, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    terminal.show(document(results=results), console, verbose=True)
    made: io.StringIO = console.file  # type: ignore[assignment]
    return made.getvalue()


def full() -> list[Result]:
    """A result of every workload, with speeds of many digits."""
    return [
        result(name, 123_456.0, 123_567.0, tokens_per_second=37_036_800.0, variant=WORKLOADS[name].variant)
        for name in WORKLOADS
    ]


def test_a_row_of_every_workload_fits_into_80_columns() -> None:
    table = shown(*full()).split("Trained on", 1)[0]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.split()[:1] != []}
    for name in WORKLOADS:
        assert rows[name] == ["123,512", "56", "37,036,800", "1.5", "s", "0.950"], name
    assert table.splitlines()[0].strip() == "Training on tensorflow, cpu, batch 32"


def test_a_property_that_differs_between_results_has_a_column() -> None:
    table = shown(result("lstm"), result("lstm", batch_size=256, batch_kind="best"))
    assert "batch" in table.splitlines()[2]
    assert [line.split()[:2] for line in table.splitlines()[4:6]] == [["lstm", "32"], ["lstm", "256"]]
    assert "backend" not in table
    assert "backend" in shown(result("lstm"), result("gru", backend="jax"))


def test_the_faithful_variant_is_compared_with_the_fast_one_of_equal_size() -> None:
    assert {w.name: w.variant for w in WORKLOADS.values() if w.variant} == {
        "lstm": "fast",
        "deep-lstm": "fast",
        "cnn-lstm": "fast",
        "lstm-faithful": "faithful",
        "lstm-dropout-faithful": "faithful",
        "deep-lstm-faithful": "faithful",
        "cnn-lstm-faithful": "faithful",
    }
    slow = result("lstm-faithful", 100.0, variant="faithful")
    fast = result("lstm", 250.0, variant="fast")
    assert (
        "lstm-faithful uses the layer arguments of the class's script; its fast variant lstm has 2.50 times"
        in shown(fast, slow)
    )
    other = msgspec.structs.replace(fast, parameters=fast.parameters + 1)
    assert "times the samples/s" not in shown(other, slow)
    assert "lstm-faithful uses the layer arguments of the class's script." in shown(slow)


def test_the_other_figures_of_a_result_are_in_one_line() -> None:
    made = result(
        "lstm",
        400.0,
        single_step_seconds=Percentiles(p5=0.07, p50=0.08, p95=0.1),
        interval=Interval(
            low=380.0,
            high=420.0,
            confidence=0.95,
            processes=5,
            drift=0.04,
            drift_from="assumed for a processor",
        ),
        achieved_tflops=0.0432,
        share_of_measured_peak=0.216,
        input=InputShare(resident_samples_per_second=410.0, pipeline_samples_per_second=400.0, share=0.024),
        memory=Memory(peak_bytes=700 << 20, method="maximum resident set size"),
        price=Price(
            usd=999.0, priced_on="2026-11-01", build="under-1000", samples_per_second_per_usd=400 / 999
        ),
    )
    assert terminal.figures(document(results=(made,))) == [
        "lstm: expected of another run: 380 to 420 samples/s (95%, 5 processes), step 80 ms (70 to 100), "
        "43.2 GFLOP/s, 21.6% of the measured peak, 2% waiting for data, 700 MiB peak memory, "
        "0.40 samples/s per dollar ($999, under-1000, prices from 2026-11-01)"
    ]


def test_a_figure_that_was_not_measured_is_left_out() -> None:
    made = result("lstm", 400.0, single_step_seconds=Percentiles(p5=0.07, p50=0.08, p95=0.1))
    assert terminal.figures(document(results=(made,))) == ["lstm: step 80 ms (70 to 100)"]


def test_one_process_per_model_is_called_too_few() -> None:
    note = "One process per model: too few to estimate run-to-run variation."
    one = result("lstm")
    assert note in " ".join(shown(one).split())
    two = msgspec.structs.replace(one, repeats=one.repeats * 2)
    assert "run-to-run variation" not in shown(two)
