"""The result document: `--json` prints it, the history stores it, the report shows it.

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
from common.command_line.json_output import SCHEMA_VERSION
from inventory.machine.records import Machine
from workshops.speed.settings import Setting


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Measured ``values``, their median, and the median absolute deviation from it (unscaled)."""

    median: float
    mad: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise ``values``. Raises ValueError if there are none."""
        if not values:
            raise ValueError("no values to summarise")
        median = statistics.median(values)
        mad = statistics.median(abs(v - median) for v in values)
        return cls(median=median, mad=mad, values=tuple(values))


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of step times in seconds."""

    p5: float
    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Percentiles of ``values`` in seconds. Raises ValueError if there are none."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("no values to summarise")

        # Linear interpolation, as in NumPy. statistics.quantiles rounds so that p5 can exceed p50 for equal values.
        def at(share: float) -> float:
            place = share * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

        return cls(p5=at(0.05), p50=at(0.5), p95=at(0.95))


class TimedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` training steps between two device synchronisations: the raw measurement."""

    steps: int
    examples: int
    seconds: float
    other_cpu_cores: float
    """Mean number of processor cores that other processes used meanwhile."""
    loss: float | None = None
    """Mean loss of the epoch so far, as Keras reports it; null in results of versions that did not record it."""
    governor: str | None = None
    """The processor's frequency governor at the end of the block ("performance"; several where clock domains differ);
    null where the kernel has none, and in results of versions that did not record it."""
    usable_cores: int | None = None
    """Number of processor threads that the worker may use; null in results of versions that did not record it, as for
    the two following fields."""
    own_cpu_cores: float | None = None
    """Mean number of processor cores that the worker and the command used meanwhile."""
    waiting_share: float | None = None
    """Share of the time of the worker's threads in which they waited for a core: waiting / (running + waiting). Null
    also where the kernel does not count it."""

    @property
    def samples_per_second(self) -> float:
        return self.examples / self.seconds


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh process: its timed blocks in order, and the measurements outside of these blocks."""

    seed: int
    import_seconds: float | None = None
    compile_seconds: float | None = None
    accuracy: float | None = None
    ceiling: float | None = None
    examples_seen: int = 0
    blocks: tuple[TimedBlock, ...] = ()


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """The recurrent kernel: ``path`` is "fused" (cuDNN's, in every recurrent layer), "generic" or "none" (no recurrent
    layer). ``evidence``: how this was determined. ``why``: what prevents the fused kernel."""

    path: Literal["fused", "generic", "none"]
    evidence: str
    why: tuple[str, ...] = ()
    unavoidable: bool | None = None
    """Whether Keras has no fused kernel at all for these layers on this backend, so that no other argument or version
    helps; null in results from before this was recorded."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one backend.

    ``samples_per_second`` has one value per timed block, without warm-up and the first step (``compile_seconds``).
    ``step_seconds``: percentiles of the mean step of each block. ``accuracy``: on held-out examples after training on
    ``examples_seen``; ``ceiling``: the best possible accuracy on them; ``accuracy_bar``: the accuracy that training
    must reach for the speed to count (0: no such requirement).
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
    """The recurrent kernel that ran; null in results of versions that did not determine it."""
    data: str
    """The training data, with the word "synthetic" where it is generated."""
    repeats: tuple[Repeat, ...]
    partial: bool = False
    """Whether the run was interrupted: the figures then include only what was measured before."""
    telemetry: Telemetry | None = None
    """Readings of the card during training; null without a card, or from versions that did not record them."""
    batch_kind: BatchKind = "workshop"
    fused_expected: bool = True
    """False where the arguments in the class's script rule out a fused kernel."""
    variant: Variant | None = None
    """Set for models that exist in two variants; else null."""
    tokens_per_sample: int | None = None
    tokens_per_second: float | None = None
    tokens: TokenRate | None = None
    """``tokens_per_second`` with its spread; null where samples have no tokens."""
    single_step_seconds: Percentiles | None = None
    """Percentiles of single steps, timed on the host; null where the host runs ahead of the device, and in results of
    versions that did not record them."""
    interval: Interval | None = None
    memory: Memory | None = None
    input: InputShare | None = None
    batches: BatchSearch | None = None
    """The search for the fastest batch size; stored with the result at the workshop's batch size."""
    forced_generic: ForcedGeneric | None = None
    work: Work | None = None
    achieved_tflops: float | None = None
    share_of_measured_peak: float | None = None
    """``achieved_tflops`` divided by the matrix peak that the probes measured in this precision."""
    share_of_card_peak: float | None = None
    """``achieved_tflops`` divided by the card's value in inventory/cards/catalogue; null without a card."""
    price: Price | None = None
    learning_seen_at_batch: int | None = None
    """The batch size at which ``accuracy`` was measured, if it differs from ``batch_size``: a large batch takes too
    few steps in the same number of examples."""
    setting: Setting | None = None
    """The settings that `--tuned` applied, if they differ from Keras' defaults."""
    devices: int = 1
    """Number of devices that trained together; ``batch_size`` is their total."""
    scaling: Scaling | None = None
    """Set with several devices."""
    cut_short: Repeat | None = None
    """The process that was running when the run was interrupted, if other processes had ended before. No figure
    includes it."""
    diverged: bool = False
    """Whether the loss on the held-out examples is NaN or infinite. If so, training failed, whatever the accuracy."""

    @property
    def label(self) -> str:
        """Name of this result if its workload has several results: "lstm", "lstm-batch-256", "lstm-2-devices"."""
        name = self.workload if self.batch_kind == "workshop" else f"{self.workload}-batch-{self.batch_size}"
        return name if self.devices == 1 else f"{name}-{self.devices}-devices"

    @property
    def trained_as(self) -> str:
        """Layers and compiler options in words."""
        return (self.setting or Setting(backend=self.backend)).summary

    @property
    def steps(self) -> Percentiles:
        """Percentiles of single steps where they were timed, else of the mean step of each block."""
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
    """Path of the HTML report, or null where none was written."""
    run_id: int | None = None
    """Number in the history, or null where the run could not be stored."""
    started_at: str
    dlbox_version: str
    partial: bool = False
    options: dict[str, str | int | float | bool | None] = {}
    probes: Probes | None = None
    judged_from: str | None = None
    """For `dlbox check --from`: the report that the findings come from, and how many checks it allows."""


def file_stamp(document: Document) -> str:
    """The part of a file name that identifies the run: its number, else the digits of its start time."""
    return f"run{document.run_id}" if document.run_id else re.sub("[^0-9]", "", document.started_at)[:14]


def with_distinct_kinds(results: Iterable[Result]) -> Iterator[tuple[Result, str]]:
    """Each result with a suffix: its batch kind if an earlier result is otherwise the same, else ""."""
    seen: set[tuple[str, str, str, int, int]] = set()
    for result in results:
        kind = (result.workload, result.backend, result.precision, result.batch_size, result.devices)
        yield result, result.batch_kind if kind in seen else ""
        seen.add(kind)


def to_json_line(value: msgspec.Struct) -> bytes:
    """JSON in one line, as UTF-8. Bytes of a path that are not text become replacement characters."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_replace_surrogates(msgspec.to_builtins(value)))


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {_replace_surrogates(name): _replace_surrogates(one) for name, one in value.items()}
    return [_replace_surrogates(one) for one in value] if isinstance(value, list | tuple) else value


def to_json(document: msgspec.Struct) -> str:
    """Indented JSON, as `--json` prints it."""
    return msgspec.json.format(to_json_line(document), indent=2).decode()


def from_json(data: str | bytes) -> Document:
    """Decode a document. Raises msgspec.ValidationError with the field that does not fit."""
    try:
        return msgspec.json.decode(data, type=Document)
    except msgspec.ValidationError:
        given = msgspec.json.decode(data)
        if not _add_missing_remedies(given):
            raise
        return msgspec.convert(given, Document)


def _add_missing_remedies(given: Any) -> bool:
    """Add a remedy to each finding of status unknown that has none, as earlier versions wrote them. Returns whether
    any was added.

    ``given``: a decoded JSON document, which is changed.
    """
    found = given.get("findings") if isinstance(given, dict) else None
    lacking = [
        finding
        for finding in (found if isinstance(found, list) else ())
        if isinstance(finding, dict) and finding.get("status") == "unknown" and not finding.get("remedy")
    ]
    for finding in lacking:
        finding["remedy"] = "check again: dlbox check"
    return bool(lacking)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a result document."""
    schema = msgspec.json.schema(Document)
    schema["$defs"]["Finding"]["required"].insert(
        0, "id"
    )  # derived if it is not given, so it is in every document
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "dlbox result", **schema}


if __name__ == "__main__":
    import sys

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n")
