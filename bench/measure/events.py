"""The job of a worker, and the events that it reports: one JSON object per line.

JSON has neither NaN nor infinity; msgspec writes null instead. A field that can become NaN in training has the type
float or None, where None means NaN or infinity. A null in any other field ends the run (``bench.measure.runner``).
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
    """Train on the first ``count`` devices of this kind at once. Devices of kind "cpu" are virtual and share the
    CPU."""

    kind: Literal["cpu", "gpu"]
    count: int


class TrainingJob(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one new process."""

    workload: Workload
    backend: str
    seed: int = 0
    train_seconds: float = 15.0
    """Minimum time of the timed training, which also continues until ``examples_before_judging`` of the workload."""
    warmup_steps: int = 20
    block_seconds: float = 0.5
    """Steps are timed in blocks of about this length. The device is synchronised at the end of each block."""
    parent_pid: int = 0
    resident_seconds: float = 0.0
    """After the timed training: seconds to train on one batch that is already on the device, in alternation with the
    same time on the usual input pipeline. 0: not measured."""
    generic_seconds: float = 0.0
    """On a card: seconds to train the same model without cuDNN, after all other measurements. 0: not measured."""
    batch_sizes: tuple[int, ...] = ()
    """If not empty, the worker only tries these batch sizes, in this order, and does not train otherwise."""
    search_seconds: float = 1.5
    """Seconds per batch size."""
    give_up_below: float = 0.0
    """Speed in samples/s: a batch size that is clearly slower than this is not timed to the end."""
    setting: Setting | None = None
    """How the model is trained; None: with the defaults of Keras."""
    devices: Devices | None = None
    """None: the device that the framework selects. ``workload.batch_size`` is the sum over all devices."""
    rank: int = 0
    """Number of this process among those that train one model together; only the first one reports events."""
    rendezvous_file: str = ""
    """The file that these processes use to connect to each other."""


class Imported(msgspec.Struct, frozen=True, tag="imported", kw_only=True):
    seconds: float
    versions: dict[str, str]
    device: str
    """"cpu", or the framework's name of the GPU."""
    on_gpu: bool
    precision: str
    """"float32", "tf32" if float32 products run on TF32 units, or the name of a mixed policy of Keras."""
    parameters: int = 0
    pid: int = 0
    """Process id of the worker, which leads its own session with all its child processes."""
    work: Work | None = None


class Compiled(msgspec.Struct, frozen=True, tag="compiled", kw_only=True):
    seconds: float
    """Seconds from the call of ``fit`` to the end of the first step: tracing, compilation, loading data, running the
    step."""


class Block(msgspec.Struct, frozen=True, tag="block", kw_only=True):
    steps: int
    examples: int
    seconds: float
    other_cpu_cores: float
    """Mean number of CPU cores that other processes used during the block."""
    trained_seconds: float
    """Seconds since the end of the warm-up."""
    examples_seen: int
    """Examples since the start of training, including the warm-up."""
    done_share: float
    """Finished share of the job's training, 0 to 1."""
    loss: float | None = None
    """Mean loss of the epoch so far, as Keras reports it."""
    governor: str | None = None
    """Frequency governor at the end of the block, see ``bench.measure.worker.governor``."""
    single_steps: tuple[float, ...] = ()
    """Seconds per step as seen by the host; empty if the device ran asynchronously and hid them."""
    usable_cores: int | None = None
    own_cpu_cores: float | None = None
    waiting_share: float | None = None
    """These three as in ``bench.results.record.document.TimedBlock``."""


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated", kw_only=True):
    accuracy: float
    ceiling: float | None
    """Accuracy of a perfect model on the same test examples, if known."""
    loss: float | None
    """None: NaN or infinity."""
    test_examples: int
    examples_seen: int
    seconds: float


class Failed(msgspec.Struct, frozen=True, tag="failed", kw_only=True):
    kind: Literal["error", "out-of-memory", "no-backend", "crash", "killed"]
    message: str


class Peak(msgspec.Struct, frozen=True, tag="peak", kw_only=True):
    """Peak memory at the end of the timed training."""

    memory: Memory


class Resident(msgspec.Struct, frozen=True, tag="resident", kw_only=True):
    """Pairs of samples/s: on one batch that is already on the device, and with the input pipeline directly before or
    after."""

    pairs: tuple[tuple[float, float], ...]


class Generic(msgspec.Struct, frozen=True, tag="generic", kw_only=True):
    """Samples/s of the same model without cuDNN."""

    samples_per_second: float


class Replicas(msgspec.Struct, frozen=True, tag="replicas", kw_only=True):
    """The devices that trained together, by name, and the largest difference between two copies of one weight; None if
    it is NaN or infinite."""

    engine: str
    devices: tuple[str, ...]
    differ_by: float | None

    @property
    def difference(self) -> float:
        """``differ_by``, or infinity if that is None."""
        return math.inf if self.differ_by is None else self.differ_by


class Tried(msgspec.Struct, frozen=True, tag="tried", kw_only=True):
    """Result of one batch size of a search."""

    point: BatchPoint
    ended: bool = False
    """Whether the memory was not sufficient for this batch size."""


Event = (
    Imported | Kernels | Compiled | Block | Evaluated | Peak | Resident | Generic | Tried | Replicas | Failed
)
