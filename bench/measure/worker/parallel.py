"""Train on several devices at once, data-parallel, through the backend's own engine. Used in a worker only.

Keras' distribution on JAX and ``tf.distribute`` on TensorFlow drive all devices from the one process; torch's
DistributedDataParallel wants a process a device: the worker is the first and starts the others as workers of a job
with a ``rank``, which train on their own share of the examples and say nothing. Every device sees as many examples a
step.
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

from bench.measure.events import Event, Failed, Job, Replicas
from common import ending

MEETING_S = 300.0
"""All processes have imported the framework and found each other by then."""

Emit = Callable[[Event], None]


class NotEnoughError(Exception):
    """The framework sees fewer devices than were asked for."""


class Engine:
    """One device: everything stays as it is. The others differ from this where they must."""

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """What a model has to be built in."""
        return contextlib.nullcontext()

    def take(self, model: Any) -> None:
        """Make the built model train on all devices."""

    def batch_size(self, size: int) -> int:
        """What ``fit`` is told where a step is of ``size`` examples in all."""
        return size

    def share(self, *arrays: Any) -> tuple[Any, ...]:
        """The examples that this process trains on; every process has as many."""
        return arrays

    def agree(self, value: int) -> int:
        """What the first process says; returns when all are here."""
        return value

    def replicas(self, model: Any) -> Replicas | None:
        """Who trained, and whether they still have the same weights; None for one device."""
        return None


def engine(job: Job, emit: Emit) -> Engine:
    """Of ``job``, ready; to be made before any model. Raises NotEnoughError."""
    if job.devices is None or job.devices.count == 1:
        return Engine()
    if job.backend == "torch":
        return Torch(job, emit)
    return Tensorflow(job) if job.backend == "tensorflow" else Jax(job)


def environment(job: Job) -> dict[str, str]:
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


def furthest(differences: Sequence[float]) -> float | None:
    """The largest; None where one is no number, which Python's ``max`` passes over."""
    return max(differences, default=0.0) if all(map(math.isfinite, differences)) else None


def _first(found: Sequence[Any], job: Job, who: str) -> list[Any]:
    assert job.devices is not None  # noqa: S101 - one device has no such engine
    if len(found) < job.devices.count:
        raise NotEnoughError(f"{job.devices.count} devices were asked for, {who} sees {len(found)}")
    return list(found[: job.devices.count])


class Tensorflow(Engine):
    def __init__(self, job: Job) -> None:
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
            differ_by=furthest(far),
        )


class Jax(Engine):
    def __init__(self, job: Job) -> None:
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
            differ_by=furthest(far),
        )


def _short(name: str) -> str:
    """ "GPU:1" of "/job:localhost/replica:0/task:0/device:GPU:1" and of "cuda:1"."""
    parts = name.lower().replace("_", ":").split(":")
    return f"{parts[-2].rpartition('/')[2]}:{parts[-1]}".replace("tfrt", "")


class Torch(Engine):
    """The first process (rank 0) starts the others. They meet over a file and talk over the loopback device."""

    def __init__(self, job: Job, emit: Emit) -> None:
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
            folder = tempfile.mkdtemp(prefix="dlbox-meeting-")
            job = msgspec.structs.replace(job, meeting=str(Path(folder) / "torch"))
            _start_others(job, emit)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self.group = "nccl" if on_gpu else "gloo"
        torch.distributed.init_process_group(
            self.group,
            init_method=f"file://{job.meeting}",
            rank=self.rank,
            world_size=self.count,
            timeout=timedelta(seconds=MEETING_S),
        )
        if self.rank == 0:
            with contextlib.suppress(OSError):  # all are here: nobody needs it any more
                Path(job.meeting).unlink(missing_ok=True)
                Path(job.meeting).parent.rmdir()

    def take(self, model: Any) -> None:
        import torch

        whole = torch.nn.parallel.DistributedDataParallel(
            model, device_ids=[self.device] if self.group == "nccl" else None
        )
        plain = type(model)

        class Parallel(plain):  # type: ignore[misc,valid-type]
            """``fit`` calls the model; its gradients are averaged where DistributedDataParallel is called."""

            def train_step(self, data: Any) -> Any:
                inside.append(True)
                try:
                    return super().train_step(data)
                finally:
                    inside.pop()

            def __call__(self, *inputs: Any, **how: Any) -> Any:
                if not inside:
                    return super().__call__(*inputs, **how)
                inside.pop()  # what DistributedDataParallel calls is the model itself
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

        told = torch.tensor([value], dtype=torch.int64, device=self.device if self.group == "nccl" else "cpu")
        torch.distributed.broadcast(told, src=0)
        return int(told.item())

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
            differ_by=furthest(far),
        )


def _start_others(job: Job, emit: Emit) -> None:
    """A worker for each further device; when one of them dies, so does this process, after it has said so."""
    assert job.devices is not None  # noqa: S101
    for rank in range(1, job.devices.count):
        other = msgspec.structs.replace(job, rank=rank, parent_pid=os.getpid())
        before = ending.oom_kills()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.measure.worker.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(msgspec.json.encode(other) + b"\n")
        process.stdin.close()
        threading.Thread(target=_watch, args=(process, rank, emit, before), daemon=True).start()


def _watch(process: subprocess.Popen[bytes], rank: int, emit: Emit, oom_kills_before: int | None) -> None:
    code = process.wait()
    if code == 0:
        return
    found = ending.explain(code, oom_kills_before)
    emit(Failed(kind=found.kind, message=f"the process of device {rank} {found.why}"))
    os._exit(1)
