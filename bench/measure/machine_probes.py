"""Measure matrix throughput, memory bandwidth and launch latency of this machine in a few seconds before training."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

from bench import health
from bench.measure import backend as frameworks
from bench.measure import stress
from bench.measure.probes import load
from bench.results.record.figures import Probes
from common.processes.child import Child, python_path_variables
from inventory.machine.records import Machine

COMMAND = (sys.executable, "-P", "-m", "bench.measure.probes.load")
_STARTUP_S = 90.0
_SMALL = {
    "recurrent-step": "step_seconds",
    "train-step": "train_step_seconds",
    "product-recurrent": "recurrent_tflops",
    "product-convolution": "convolution_tflops",
}


def measure(machine: Machine, backend: str, seconds: float, *, command: Sequence[str] = COMMAND) -> Probes:
    """Measure the first card, or the CPU if there is no card. Failures are in ``troubles`` of the result."""
    job = msgspec.structs.replace(job_for(machine, backend), seconds=seconds, rates_only=True)
    variables = {**frameworks.environment(backend), **python_path_variables()}
    began = time.monotonic()
    ended = Child([*command, msgspec.json.encode(job).decode()], variables).finish(_STARTUP_S + 4 * seconds)
    found = read(backend, ended.lines, ended.why)
    return msgspec.structs.replace(found, seconds=round(time.monotonic() - began, 2))


def job_for(machine: Machine, backend: str) -> load.ProbeJob:
    """The job of the probe process. Sizes are those of `check --stress`, but larger on a CPU, because small products
    do not reach its peak."""
    subject = next((s for s in health.subjects(machine) if s.gpu.handle.ok), None)
    if subject is None:
        return msgspec.structs.replace(
            stress.job_for(None, 0.0, backend), matrix=2048, stream_bytes=256 << 20, free_bytes=1 << 30
        )
    return stress.job_for(subject, 0.0, backend)


def read(backend: str, lines: Iterable[bytes], why: str = "") -> Probes:
    """The results in the output lines of the probe process; lines that are not events are ignored."""
    found = Probes(backend=backend, device="", on_gpu=False)
    peaks: dict[str, float] = {}
    troubles: dict[str, str] = {}
    for line in lines:
        try:
            event = msgspec.json.decode(line, type=load.Event)
        except msgspec.MsgspecError:
            continue
        match event:
            case load.Opened():
                found = msgspec.structs.replace(found, device=event.device, on_gpu=event.on_gpu)
            case load.Broken():
                troubles[event.name] = event.why
            case load.Rate(name="memory-bandwidth"):
                found = msgspec.structs.replace(found, bandwidth_gb_s=event.value)
            case load.Rate(name="launch"):
                found = msgspec.structs.replace(found, launch_seconds=event.value)
            case load.Rate(name=name) if name in _SMALL:
                found = msgspec.structs.replace(found, **{_SMALL[name]: event.value})
            case load.Rate():
                precision = event.name.removeprefix("matmul-")
                peaks[precision] = max(event.value, peaks.get(precision, 0.0))
            case _:
                continue
    if why:
        troubles["process"] = why
    return msgspec.structs.replace(found, matmul_tflops=peaks, troubles=troubles)
