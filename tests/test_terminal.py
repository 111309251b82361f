"""What a person reads in a terminal: 80 columns hold it, nothing is cut off, and what was asked for is in it."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from bench.measure.workloads import WORKLOADS
from bench.results.record.document import Result
from bench.results.terminal import results as terminal
from tests import pages
from tests.samples import document, result


def shown(*results: Result, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    terminal.show(document(results=results), console)
    made: io.StringIO = console.file  # type: ignore[assignment]
    return made.getvalue()


def full() -> list[Result]:
    """Every workload there is, with rates and tokens of many digits."""
    return [
        result(name, 123_456.0, 123_567.0, tokens_per_second=37_036_800.0, variant=WORKLOADS[name].variant)
        for name in WORKLOADS
    ]


def test_every_workload_fits_into_80_columns_with_every_figure() -> None:
    table = shown(*full()).split("Trained on", 1)[0]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
    for name in WORKLOADS:
        assert sum(name in line.split() for line in table.splitlines()) == 1, name
    assert table.splitlines()[0].strip() == "Training on tensorflow, cpu, batch 32"


def test_what_differs_has_a_column() -> None:
    table = shown(result("lstm"), result("lstm", batch_size=256, batch_kind="best"))
    assert "batch" in table.splitlines()[2]
    assert [line.split()[:2] for line in table.splitlines()[4:6]] == [["lstm", "32"], ["lstm", "256"]]
    assert "backend" not in table
    assert "backend" in shown(result("lstm"), result("gru", backend="jax"))


def test_the_class_s_own_variant_is_held_against_the_fast_one() -> None:
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
    assert "lstm, the fast variant, trains 2.50 times its samples/s" in shown(fast, slow)
    other = msgspec.structs.replace(fast, parameters=fast.parameters + 1)
    assert "times its samples/s" not in shown(other, slow)
    assert "lstm-faithful is as the class's script asks for it." in shown(slow)


@pytest.mark.parametrize(
    "words", ["step", "GFLOP/s", "samples/s per dollar", "another run", "waiting for data"]
)
def test_what_was_measured_beside_the_speed_is_told(words: str) -> None:
    assert words in shown(*pages.twelve().results)
