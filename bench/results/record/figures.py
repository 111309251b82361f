"""What was measured beside the speed, as it is kept. Null is what was not measured; nothing here is a guess."""

from __future__ import annotations

from typing import Literal

import msgspec

Variant = Literal["faithful", "fast"]
"""What the class's scripts ask for, which no fused kernel can do, or the same model with arguments that leave the
fused kernels possible."""

BatchKind = Literal["workshop", "best", "chosen"]
"""The class's batch of 32, the one where this box is fastest, or one that was asked for."""


_UNITS = {"float32": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "bf16"}


def units(precision: str) -> str:
    """What the products of a model in this precision run on: "fp32", "tf32", "fp16" or "bf16"."""
    return _UNITS.get(precision, precision)


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Where the samples/s of another run of the same commit on this machine are expected.

    ``processes``: made of how many fresh processes; with fewer than three there is none (``low`` and ``high``
    null). ``drift``: relative standard deviation between whole runs that is in it, and ``drift_from`` where
    that comes from.
    """

    low: float | None
    high: float | None
    confidence: float
    processes: int
    drift: float
    drift_from: str


class TokenRate(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens/s: median, median absolute deviation (unscaled), and where another run's median is expected.

    Samples/s times the tokens of a sample, which all samples of a workload have alike; ``low`` and ``high`` are null
    where ``Interval`` has none.
    """

    median: float
    mad: float
    low: float | None
    high: float | None


class InputShare(msgspec.Struct, frozen=True, kw_only=True):
    """The same model on one batch that is on the device already, against the real input pipeline.

    Both are medians of looks in turns. ``share``: of a step's time that the pipeline takes, the median of ``shares``:
    1 - pipeline / resident of each pair of looks, not below 0. ``shares`` is empty in results from before there were
    several.
    """

    resident_samples_per_second: float
    pipeline_samples_per_second: float
    share: float
    shares: tuple[float, ...] = ()


class BatchPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One size that was tried; ``samples_per_second`` is null where it did not run, and ``why`` says why."""

    batch_size: int
    samples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    why: str = ""


class BatchSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Doubling until it no longer gets faster, memory ends, or the examples do."""

    points: tuple[BatchPoint, ...]
    best_batch_size: int
    ended: Literal["no-faster", "memory", "examples", "time", "stopped"]
    why: str


class ForcedGeneric(msgspec.Struct, frozen=True, kw_only=True):
    """The same model forced off cuDNN (``use_cudnn=False``), and how many times faster the fused kernel is."""

    samples_per_second: float
    speedup: float


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """One model on several devices at once, each with ``batch_per_device`` samples a step.

    ``efficiency`` is ``speedup`` over the number of devices, with the interval of ``bench.results.stats.intervals``;
    null where one device was not timed in the same run. ``replicas_differ_by``: the largest difference between two
    devices' copies of one weight at the end; null where it is no number.
    """

    engine: str
    devices: tuple[str, ...]
    batch_per_device: int
    replicas_differ_by: float | None
    one_device_samples_per_second: float | None = None
    speedup: float | None = None
    efficiency: float | None = None
    efficiency_low: float | None = None
    efficiency_high: float | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole box, from a bill of materials (``inventory/builds``)."""

    usd: float
    priced_on: str
    build: str
    samples_per_second_per_usd: float


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What training takes by arithmetic (``bench.measure.worker.arithmetic``), not by measurement.

    ``bytes_per_sample``: what has to move to and from memory at this batch size at the least.
    ``recurrent_steps``: steps of all recurrent layers that have to wait for each other, in one forward pass.
    ``recurrent_flop_per_sample``: the part of ``flop_per_sample`` that is done in those steps.
    """

    flop_per_sample: float
    bytes_per_sample: float
    recurrent_steps: int = 0
    recurrent_flop_per_sample: float = 0.0

    @property
    def intensity(self) -> float:
        """FLOP per byte: where the workload stands on the roofline."""
        return self.flop_per_sample / self.bytes_per_sample


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak of the training process. ``method``: whose count it is."""

    peak_bytes: int
    method: str


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine gave to plain operations of the same framework, before the training.

    ``matmul_tflops``: by precision ("fp32", "tf32", "fp16", "bf16"), the best of several sizes.
    ``launch_seconds``: of one operation so small that starting it is all there is to it.
    ``step_seconds``: of one step of Keras' LSTM with next to no arithmetic in it, forward and backward.
    ``train_step_seconds``: of one whole training step of a model of two weights: what ``fit`` itself costs.
    ``recurrent_tflops`` and ``convolution_tflops``: of products as small as those of the workshop's models
    (``bench.measure.probes.step``).
    ``troubles``: probe -> why it gave nothing.
    """

    backend: str
    device: str
    on_gpu: bool
    matmul_tflops: dict[str, float] = {}
    bandwidth_gb_s: float | None = None
    launch_seconds: float | None = None
    step_seconds: float | None = None
    train_step_seconds: float | None = None
    recurrent_tflops: float | None = None
    convolution_tflops: float | None = None
    other_cpu_cores: float = 0.0
    seconds: float = 0.0
    troubles: dict[str, str] = {}
