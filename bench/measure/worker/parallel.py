"""Data-parallel training on several devices with the engine of the backend. Used in a worker only.

Keras' distribution on JAX and ``tf.distribute`` on TensorFlow use all devices from one process. torch's
DistributedDataParallel needs one process per device: the worker is the first one and starts the others with a ``rank``
in their job; these train on their share of the examples and report no events. All devices get the same number of
examples per step.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.measure.events import Event, Failed, Replicas, TrainingJob
from common.processes import exit_reason

RENDEZVOUS_S = 300.0
"""Time limit in seconds for all processes to import the framework and to connect."""

Emit = Callable[[Event], None]


class NotEnoughError(Exception):
    """The framework finds fewer devices than the job requests."""


class Engine:
    """Training on one device. The subclasses override the methods that differ on several devices."""

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which the model has to be built."""
        return contextlib.nullcontext()

    def take(self, model: Any) -> None:
        """Make the built model train on all devices."""

    def batch_size(self, size: int) -> int:
        """The batch size for ``fit`` if a step has ``size`` examples on all devices together."""
        return size

    def share(self, *arrays: Any) -> tuple[Any, ...]:
        """The examples that this process trains on; all processes have the same number."""
        return arrays

    def agree(self, value: int) -> int:
        """The value that the first process passes; waits until all processes have called this."""
        return value

    def replicas(self, model: Any) -> Replicas | None:
        """A report on the devices and the difference of their weights; None for one device."""
        return None


def engine(job: TrainingJob, emit: Emit) -> Engine:
    """The engine (data-parallel training method) for ``job``. Create it before any model. Raises NotEnoughError."""
    if job.devices is None or job.devices.count == 1:
        return Engine()
    if job.backend == "torch":
        return Torch(job, emit)
    return Tensorflow(job) if job.backend == "tensorflow" else Jax(job)


def environment(job: TrainingJob) -> dict[str, str]:
    """Variables that a worker of ``job`` needs before the first import."""
    if job.devices is None or job.devices.kind == "gpu":
        return {}
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    if job.backend == "jax":
        flags = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={job.devices.count}"
        )
        hidden["XLA_FLAGS"] = flags.strip()
    return hidden


def largest_difference(differences: Sequence[float]) -> float | None:
    """The largest value; None if one is NaN or infinite (``max`` ignores NaN)."""
    return max(differences, default=0.0) if all(map(math.isfinite, differences)) else None


def _first(found: Sequence[Any], job: TrainingJob, who: str) -> list[Any]:
    assert job.devices is not None  # noqa: S101 - not called with one device
    if len(found) < job.devices.count:
        raise NotEnoughError(f"{job.devices.count} devices were requested, {who} finds {len(found)}")
    return list(found[: job.devices.count])


class Tensorflow(Engine):
    def __init__(self, job: TrainingJob) -> None:
        import tensorflow as tf

        assert job.devices is not None  # noqa: S101
        count = job.devices.count
        if job.devices.kind == "cpu":
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
            names = [device.name for device in tf.config.list_logical_devices("CPU")]
        else:
            names = [device.name for device in tf.config.list_logical_devices("GPU")]
        self.devices = _first(names, job, "TensorFlow")
        self.strategy = tf.distribute.MirroredStrategy(self.devices)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.strategy.scope()  # type: ignore[no-any-return]

    def replicas(self, model: Any) -> Replicas:
        copies = [self.strategy.experimental_local_results(v.value) for v in model.trainable_variables]
        where = dict.fromkeys(str(part.device) for parts in copies for part in parts)
        far = [float(abs(part.numpy() - parts[0].numpy()).max()) for parts in copies for part in parts[1:]]
        return Replicas(
            engine="tf.distribute.MirroredStrategy",
            devices=tuple(_short(name) for name in where),
            differ_by=largest_difference(far),
        )


class Jax(Engine):
    def __init__(self, job: TrainingJob) -> None:
        import jax
        import keras

        assert job.devices is not None  # noqa: S101
        found = _first(jax.devices(job.devices.kind), job, "JAX")
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=[f"{device.platform}:{device.id}" for device in found])
        )

    def replicas(self, model: Any) -> Replicas:
        import numpy as np

        parts = [[(str(s.device), np.asarray(s.data)) for s in v.value.addressable_shards]
                 for v in model.trainable_variables]  # fmt: skip
        where = dict.fromkeys(name for shards in parts for name, _ in shards)
        far = [float(abs(copy - shards[0][1]).max()) for shards in parts for _, copy in shards[1:]]
        return Replicas(
            engine="keras.distribution.DataParallel",
            devices=tuple(_short(name) for name in where),
            differ_by=largest_difference(far),
        )


def _short(name: str) -> str:
    """ "gpu:1" for "/job:localhost/replica:0/task:0/device:GPU:1", "cuda:1" for "cuda:1"."""
    parts = name.lower().replace("_", ":").split(":")
    return f"{parts[-2].rpartition('/')[2]}:{parts[-1]}".replace("tfrt", "")


class Torch(Engine):
    """The first process (rank 0) starts the others. They connect through a file and use the loopback device."""

    def __init__(self, job: TrainingJob, emit: Emit) -> None:
        import torch

        assert job.devices is not None  # noqa: S101
        self.rank, self.count = job.rank, job.devices.count
        on_gpu = job.devices.kind == "gpu"
        if on_gpu:
            found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
            self.device = _first(found, job, "torch")[self.rank]
            torch.cuda.set_device(self.device)
        else:
            self.device = f"cpu:{self.rank}"
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // self.count))
        if self.rank == 0:
            folder = tempfile.mkdtemp(prefix="dlbox-rendezvous-")
            job = msgspec.structs.replace(job, rendezvous_file=str(Path(folder) / "torch"))
            _start_others(job, emit)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.group = "nccl" if on_gpu else "gloo"
        torch.distributed.init_process_group(
            self.group,
            init_method=f"file://{job.rendezvous_file}",
            rank=self.rank,
            world_size=self.count,
            timeout=timedelta(seconds=RENDEZVOUS_S),
        )
        if self.rank == 0:
            with contextlib.suppress(OSError):  # all processes are connected; the file is not needed any more
                Path(job.rendezvous_file).unlink(missing_ok=True)
                Path(job.rendezvous_file).parent.rmdir()

    def take(self, model: Any) -> None:
        import torch

        whole = torch.nn.parallel.DistributedDataParallel(
            model, device_ids=[self.device] if self.group == "nccl" else None
        )
        plain = type(model)

        class Parallel(plain):  # type: ignore[misc,valid-type]
            """Calls DistributedDataParallel, which averages the gradients, when ``fit`` calls the model."""

            def train_step(self, data: Any) -> Any:
                inside.append(True)
                try:
                    return super().train_step(data)
                finally:
                    inside.pop()

            def __call__(self, *inputs: Any, **how: Any) -> Any:
                if not inside:
                    return super().__call__(*inputs, **how)
                inside.pop()  # DistributedDataParallel then calls the model itself
                try:
                    return whole(*inputs, **how)
                finally:
                    inside.append(True)

        inside: list[bool] = []
        model.__class__ = Parallel
        Parallel.__name__ = plain.__name__

    def batch_size(self, size: int) -> int:
        return size // self.count

    def share(self, *arrays: Any) -> tuple[Any, ...]:
        each = len(arrays[0]) // self.count
        return tuple(array[self.rank * each : (self.rank + 1) * each] for array in arrays)

    def agree(self, value: int) -> int:
        import torch

        shared = torch.tensor(
            [value], dtype=torch.int64, device=self.device if self.group == "nccl" else "cpu"
        )
        torch.distributed.broadcast(shared, src=0)
        return int(shared.item())

    def replicas(self, model: Any) -> Replicas:
        import torch

        far: list[float] = []
        for variable in model.trainable_variables:
            copies = [torch.zeros_like(variable.value) for _ in range(self.count)]
            torch.distributed.all_gather(copies, variable.value.detach().contiguous())
            far += [float((copy - copies[0]).abs().max()) for copy in copies[1:]]
        names: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(names, self.device)
        return Replicas(
            engine=f"torch DistributedDataParallel ({self.group})",
            devices=tuple(names),
            differ_by=largest_difference(far),
        )


def _start_others(job: TrainingJob, emit: Emit) -> None:
    """Start a worker for each further device. If one dies, this process reports it and exits."""
    assert job.devices is not None  # noqa: S101
    for rank in range(1, job.devices.count):
        other = msgspec.structs.replace(job, rank=rank, parent_pid=os.getpid())
        before = exit_reason.oom_kills()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.measure.worker.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stdin is not None  # noqa: S101 - Popen was called with a pipe
        process.stdin.write(msgspec.json.encode(other) + b"\n")
        process.stdin.close()
        threading.Thread(target=_watch, args=(process, rank, emit, before), daemon=True).start()


def _watch(process: subprocess.Popen[bytes], rank: int, emit: Emit, oom_kills_before: int | None) -> None:
    code = process.wait()
    if code == 0:
        return
    found = exit_reason.explain(code, oom_kills_before)
    emit(Failed(kind=found.kind, message=f"the process of device {rank} {found.why}"))
    os._exit(1)
