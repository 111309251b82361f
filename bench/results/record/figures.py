"""Records of all measurements other than speed. Null means not measured; no value is estimated."""

from __future__ import annotations

from typing import Literal

import msgspec

Variant = Literal["faithful", "fast"]
"""Variant of a model: "faithful" has the arguments of the class's scripts, which rule out fused kernels; "fast" has
arguments that allow them."""

BatchKind = Literal["workshop", "best", "chosen"]
"""Kind of batch size: the class's 32, the one at which this machine is fastest, or one requested with an option."""


_UNITS = {"float32": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "bf16"}


def units(precision: str) -> str:
    """The number format of matrix products in this precision of Keras: "fp32", "tf32", "fp16" or "bf16"."""
    return _UNITS.get(precision, precision)


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The interval in which the samples/s of another run of the same commit on this machine are expected.

    ``processes``: number of fresh processes that it is computed from; ``low`` and ``high`` are null with fewer than
    three. ``drift``: the relative standard deviation between whole runs that it includes; ``drift_from``: the source
    of that value.
    """

    low: float | None
    high: float | None
    confidence: float
    processes: int
    drift: float
    drift_from: str


class TokenRate(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens/s: median, median absolute deviation (unscaled), and the interval for the median of another run.

    Samples/s times the tokens per sample, which are equal for all samples of a workload. ``low`` and ``high`` are null
    where those of ``Interval`` are.
    """

    median: float
    mad: float
    low: float | None
    high: float | None


class InputShare(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of the input pipeline: the same model on one batch that is already on the device, and with the pipeline.

    Both rates are medians of alternating measurements. ``shares``: 1 - pipeline / resident for each pair of
    measurements, at least 0. ``share``: their median, the share of a step's time that the pipeline takes. ``shares``
    is empty in results of versions that measured one pair.
    """

    resident_samples_per_second: float
    pipeline_samples_per_second: float
    share: float
    shares: tuple[float, ...] = ()


class BatchPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size of the search; ``samples_per_second`` is null where training failed, and ``why`` is the reason."""

    batch_size: int
    samples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    why: str = ""


class BatchSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Doubling of the batch size until it is no longer faster, or memory or examples run out."""

    points: tuple[BatchPoint, ...]
    best_batch_size: int
    ended: Literal["no-faster", "memory", "examples", "time", "stopped"]
    why: str


class ForcedGeneric(msgspec.Struct, frozen=True, kw_only=True):
    """The same model without cuDNN (``use_cudnn=False``); ``speedup``: the fused kernel's speed relative to it."""

    samples_per_second: float
    speedup: float


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """One model on several devices at once, each with ``batch_per_device`` samples per step.

    ``efficiency``: ``speedup`` divided by the number of devices, with the interval of
    ``bench.results.stats.intervals``; null where one device was not timed in the same run. ``replicas_differ_by``: the
    largest difference between two devices' copies of a weight at the end; null where it is NaN.
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
    """Price of the whole computer, from a bill of materials (``inventory/builds``)."""

    usd: float
    priced_on: str
    build: str
    samples_per_second_per_usd: float


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Work of training, computed from the model (``bench.measure.worker.arithmetic``), not measured.

    ``bytes_per_sample``: the minimum number of bytes that move to and from memory at this batch size.
    ``recurrent_steps``: sequential
    steps of all recurrent layers in one forward pass. ``recurrent_flop_per_sample``: the part of ``flop_per_sample``
    in those steps.
    """

    flop_per_sample: float
    bytes_per_sample: float
    recurrent_steps: int = 0
    recurrent_flop_per_sample: float = 0.0

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in FLOP per byte, the x axis of the roofline."""
        return self.flop_per_sample / self.bytes_per_sample


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak memory of the training process. ``method``: the counter that it comes from."""

    peak_bytes: int
    method: str


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of basic operations of the same framework on this machine, measured before the training.

    ``matmul_tflops``: matrix products by precision ("fp32", "tf32", "fp16", "bf16"), the best of several sizes.
    ``launch_seconds``: one operation so small that its launch takes all of the time.
    ``step_seconds``: one step of Keras' LSTM with almost no arithmetic, forward and backward.
    ``train_step_seconds``: one training step of a model with two weights, which is the overhead of ``fit``.
    ``recurrent_tflops`` and ``convolution_tflops``: products as small as those of the workshop's models
    (``bench.measure.probes.step``).
    ``troubles``: probe -> why it has no result.
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
