"""The result document: what `--json` prints, what the history keeps, what the report shows.

The JSON Schema that ships with the package (schema.json) is generated from these types:
``python -m bench.results.record.document > bench/results/record/schema.json``.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from bench.finding import Finding, Verdict
from bench.results.record.card import Telemetry
from bench.results.record.figures import (
    BatchKind,
    BatchSearch,
    ForcedGeneric,
    InputShare,
    Interval,
    Memory,
    Price,
    Probes,
    Scaling,
    TokenRate,
    Variant,
    Work,
)
from inventory.machine.records import Machine
from workshops.speed.settings import Setting

SCHEMA_VERSION = 1
"""Rises when a field changes its meaning or goes; new fields do not raise it."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """``values`` as measured, their median, and the median absolute deviation from it (unscaled)."""

    median: float
    mad: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError for no values."""
        if not values:
            raise ValueError("no values to summarise")
        median = statistics.median(values)
        mad = statistics.median(abs(v - median) for v in values)
        return cls(median=median, mad=mad, values=tuple(values))


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of step times in seconds."""

    p5: float
    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        ordered = sorted(values)
        if not ordered:
            raise ValueError("no values to summarise")

        def at(share: float) -> float:  # linear between neighbours, as NumPy does by default
            place = share * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

        return cls(p5=at(0.05), p50=at(0.5), p95=at(0.95))


class TimedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` training steps between two device synchronisations, as raw as it was measured."""

    steps: int
    examples: int
    seconds: float
    other_cpu_cores: float
    """Processor cores other processes kept busy meanwhile."""
    loss: float | None = None
    """Mean over the epoch up to here, as Keras reports it; null in results from before this was kept."""
    governor: str | None = None
    """The processor's frequency governor at its end ("performance"; several where clock domains differ); null where
    the kernel shows none, and in results from before this was kept."""

    @property
    def samples_per_second(self) -> float:
        return self.examples / self.seconds


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh process: its blocks in order, and what stands apart from them."""

    seed: int
    import_seconds: float | None = None
    compile_seconds: float | None = None
    accuracy: float | None = None
    ceiling: float | None = None
    examples_seen: int = 0
    blocks: tuple[TimedBlock, ...] = ()


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """``path`` "fused" (cuDNN's, in every recurrent layer), "generic" or "none" (no recurrent layer), what shows it,
    and what stands in the way of the fused one."""

    path: Literal["fused", "generic", "none"]
    evidence: str
    why: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one backend.

    ``samples_per_second`` has one value per timed block; warm-up and the first step (``compile_seconds``)
    are apart, and ``step_seconds`` are of the blocks' mean steps. ``accuracy`` is on held-out examples after
    ``examples_seen``; ``ceiling`` is what a perfect reader would score on them, ``accuracy_bar`` what training must
    reach to count (0: not judged by it).
    """

    workload: str
    backend: str
    precision: str
    batch_size: int
    samples_per_second: Spread
    step_seconds: Percentiles
    compile_seconds: float | None
    import_seconds: float | None
    accuracy: float | None
    accuracy_bar: float
    ceiling: float | None
    examples_seen: int
    fingerprint: str
    versions: dict[str, str]
    device: str
    on_gpu: bool
    parameters: int
    kernel: Kernel | None = None
    """Which recurrent kernel ran; null in results from before this was looked at."""
    data: str
    """What it was trained on, with the word synthetic where it is."""
    repeats: tuple[Repeat, ...]
    partial: bool = False
    """The run was cut short: the figures are of what was measured until then."""
    telemetry: Telemetry | None = None
    """What the card did meanwhile; null without a card, and in results from before this was looked at."""
    batch_kind: BatchKind = "workshop"
    fused_expected: bool = True
    """False where the class's script asks for what no fused kernel can do."""
    variant: Variant | None = None
    """Where the class's script asks for another model than the fast one; null where there is one model only."""
    tokens_per_sample: int | None = None
    tokens_per_second: float | None = None
    tokens: TokenRate | None = None
    """``tokens_per_second`` with its spread; null where a sample has no tokens."""
    single_step_seconds: Percentiles | None = None
    """Of every step as the host saw it end; null where it ran ahead of the device, and in results from before this was
    looked at."""
    interval: Interval | None = None
    memory: Memory | None = None
    input: InputShare | None = None
    batches: BatchSearch | None = None
    """How the fastest batch was found; with the result at workshop size."""
    forced_generic: ForcedGeneric | None = None
    work: Work | None = None
    achieved_tflops: float | None = None
    share_of_measured_peak: float | None = None
    """``achieved_tflops`` over the matrix peak that the probes measured in this precision."""
    share_of_card_peak: float | None = None
    """``achieved_tflops`` over the card's figure in inventory/cards/cards.yml; null without a card."""
    price: Price | None = None
    learning_seen_at_batch: int | None = None
    """Where ``accuracy`` is of the same model at another batch size in this run: a large batch takes too few steps
    in the same number of examples."""
    setting: Setting | None = None
    """How it was trained where that is not Keras' default (`--tuned`)."""
    devices: int = 1
    """That trained it together; ``batch_size`` is of all of them."""
    scaling: Scaling | None = None
    """With several devices."""
    cut_short: Repeat | None = None
    """The process in flight when the run ended, where others had ended before: no figure is made of it."""
    diverged: bool = False
    """The loss on the held-out examples was no number: whatever the accuracy, nothing was learned."""

    @property
    def label(self) -> str:
        """What it is called where a workload has several results: "lstm", "lstm-batch-256", "lstm-2-devices"."""
        name = self.workload if self.batch_kind == "workshop" else f"{self.workload}-batch-{self.batch_size}"
        return name if self.devices == 1 else f"{name}-{self.devices}-devices"

    @property
    def trained_as(self) -> str:
        """Layers and compiler, as a person says it."""
        return (self.setting or Setting(backend=self.backend)).summary

    @property
    def steps(self) -> Percentiles:
        """Of single steps where they were seen, else of the blocks' mean steps."""
        return self.single_step_seconds or self.step_seconds

    @property
    def blocks(self) -> list[TimedBlock]:
        return [block for repeat in self.repeats for block in repeat.blocks]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `check`, `bench` or `ready`."""

    schema_version: int = SCHEMA_VERSION
    command: str
    verdict: Verdict
    machine: Machine
    findings: tuple[Finding, ...]
    results: tuple[Result, ...] = ()
    report: str | None = None
    """Path of the page, or null where none was written."""
    run_id: int | None = None
    """Number in the history, or null where it could not be kept."""
    started_at: str
    dlbox_version: str
    partial: bool = False
    options: dict[str, str | int | float | bool | None] = {}
    probes: Probes | None = None


def apart(results: Iterable[Result]) -> Iterator[tuple[Result, str]]:
    """Each result, with its batch kind where it would be taken for one that came before, else with nothing."""
    seen: set[tuple[str, str, str, int, int]] = set()
    for result in results:
        kind = (result.workload, result.backend, result.precision, result.batch_size, result.devices)
        yield result, result.batch_kind if kind in seen else ""
        seen.add(kind)


def encoded(value: msgspec.Struct) -> bytes:
    """As JSON in one line. A path may hold bytes that are no text: each becomes a replacement character."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(value)))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {_as_text(name): _as_text(one) for name, one in value.items()}
    return [_as_text(one) for one in value] if isinstance(value, list | tuple) else value


def to_json(document: msgspec.Struct) -> str:
    return msgspec.json.format(encoded(document), indent=2).decode()


def from_json(data: str | bytes) -> Document:
    """Raises msgspec.ValidationError naming the place that does not fit."""
    return msgspec.json.decode(data, type=Document)


def json_schema() -> dict[str, Any]:
    schema = msgspec.json.schema(Document)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "dlbox result", **schema}


if __name__ == "__main__":
    import sys

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n")
