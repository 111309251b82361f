"""What a worker is asked, and what it says while it works: one JSON object a line.

JSON has no word for NaN and infinity, and msgspec writes null in their place. What training can make so is a float or
None, which means that it is no number; a null anywhere else ends the run (``bench.measure.runner``).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from bench.measure.kernel_path import Kernels
from bench.measure.workloads import Workload
from bench.results.record.figures import BatchPoint, Memory, Work
from workshops.speed.settings import Setting


class Devices(msgspec.Struct, frozen=True, kw_only=True):
    """Train on the first ``count`` of this kind at once; "cpu": virtual devices that share the processor."""

    kind: Literal["cpu", "gpu"]
    count: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work for one fresh process."""

    workload: Workload
    backend: str
    seed: int = 0
    train_seconds: float = 15.0
    """Timed training goes on at least this long, and until the workload has seen enough to be judged."""
    warmup_steps: int = 20
    block_seconds: float = 0.5
    """Steps are timed in blocks of about this length, each with the device synchronised at its end."""
    parent_pid: int = 0
    resident_seconds: float = 0.0
    """After the timed training: train so long on one batch that is on the device already, in turns with as long on
    the usual pipeline. 0: not at all."""
    generic_seconds: float = 0.0
    """On a card, after that: train so long with the same model forced off cuDNN. 0: not at all."""
    batch_sizes: tuple[int, ...] = ()
    """Where it is not empty, the job is to try these sizes, in this order, and nothing else."""
    search_seconds: float = 1.5
    """Of each size."""
    give_up_below: float = 0.0
    """Samples/s: a size that is clearly slower is not timed any longer."""
    setting: Setting | None = None
    """How the model is trained; None: as Keras does by itself."""
    devices: Devices | None = None
    """None: the one that the framework picks. A step is of ``workload.batch_size`` examples on all of them together."""
    rank: int = 0
    """Which of the processes that train one model together; only the first says anything."""
    meeting: str = ""
    """The file over which they find each other."""


class Imported(msgspec.Struct, frozen=True, tag="imported", kw_only=True):
    seconds: float
    versions: dict[str, str]
    device: str
    """"cpu", or what the framework calls the GPU it will use."""
    on_gpu: bool
    precision: str
    """"float32", "tf32" where float32 products run on TF32 units, or Keras' name of a mixed policy."""
    parameters: int = 0
    pid: int = 0
    """Of the worker, which leads a session of its own: everything it starts is in it."""
    work: Work | None = None


class Compiled(msgspec.Struct, frozen=True, tag="compiled", kw_only=True):
    seconds: float
    """From the call of ``fit`` to the end of the first step: tracing, compiling, first data, first step."""


class Block(msgspec.Struct, frozen=True, tag="block", kw_only=True):
    steps: int
    examples: int
    seconds: float
    other_cpu_cores: float
    """Processor cores that processes other than this benchmark kept busy meanwhile."""
    trained_seconds: float
    """Since the end of the warm-up."""
    examples_seen: int
    """Since the start of training, warm-up included."""
    done_share: float
    """How much of this job's training is behind it, 0 to 1."""
    loss: float | None = None
    """Mean over the epoch up to here, as Keras reports it."""
    governor: str | None = None
    """At the end of the block, see ``bench.measure.worker.governor``."""
    single_steps: tuple[float, ...] = ()
    """Seconds of each step as the host saw it end; empty where the device ran behind the host, so that it saw none."""


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated", kw_only=True):
    accuracy: float
    ceiling: float | None
    """Accuracy of a perfect reader on these very test examples, where it is known."""
    loss: float | None
    """None: it is no number."""
    test_examples: int
    examples_seen: int
    seconds: float


class Failed(msgspec.Struct, frozen=True, tag="failed", kw_only=True):
    kind: Literal["error", "out-of-memory", "no-backend", "crash", "killed"]
    message: str


class Peak(msgspec.Struct, frozen=True, tag="peak", kw_only=True):
    """After the timed training."""

    memory: Memory


class Resident(msgspec.Struct, frozen=True, tag="resident", kw_only=True):
    """Pairs of samples/s: on one batch on the device, and with the real pipeline right before or after it."""

    looks: tuple[tuple[float, float], ...]


class Generic(msgspec.Struct, frozen=True, tag="generic", kw_only=True):
    """Samples/s of the same model forced off cuDNN."""

    samples_per_second: float


class Replicas(msgspec.Struct, frozen=True, tag="replicas", kw_only=True):
    """Who trained together: ``devices`` by name, and the largest difference between two copies of one weight; None
    where that is no number."""

    engine: str
    devices: tuple[str, ...]
    differ_by: float | None

    @property
    def apart(self) -> float:
        return math.inf if self.differ_by is None else self.differ_by


class Tried(msgspec.Struct, frozen=True, tag="tried", kw_only=True):
    """One batch size of a search."""

    point: BatchPoint
    ended: bool = False
    """Memory ended here."""


Event = (
    Imported | Kernels | Compiled | Block | Evaluated | Peak | Resident | Generic | Tried | Replicas | Failed
)
