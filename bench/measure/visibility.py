"""Test in a separate process whether each installed framework finds the card.

``python -m bench.measure.visibility tensorflow`` is that process. It prints one JSON document on stdout.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.finding import Finding
from bench.health.check import REGISTER
from bench.health.checks.frameworks import NAMES, FrameworkReport
from bench.measure import backend
from common.processes.child import Child, die_with_parent, python_path_variables
from inventory.machine.records import Machine

_LIBRARIES = {
    "tensorflow": ("libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcufft.so.11",
                   "libcusolver.so.11", "libcusparse.so.12", "libcudnn.so.9"),
    "torch": (),
    "jax": (),
}  # fmt: skip
"""Libraries without which TensorFlow ignores the card silently. The other frameworks name a missing library."""

_ERROR_LINE = re.compile(r"cannot open shared object|Could not load|Cannot dlopen|CUDA_ERROR|no CUDA-capable|"
                      r"libdevice|Unable to initialize|no kernel image", re.IGNORECASE)  # fmt: skip


def findings(machine: Machine, *, only: Sequence[str] = NAMES, timeout_s: float = 120) -> list[Finding]:
    """One finding per framework. Without a card nothing is imported and all frameworks are skipped."""
    found = []
    for name in only:
        seen = FrameworkReport(framework=name, installed=importlib.util.find_spec(name) is not None)
        if machine.has_gpu and seen.installed:
            seen = ask(name, timeout_s=timeout_s)
        found.append(REGISTER[f"frameworks.{name}"].apply(seen, machine))
    return found


def ask(name: str, *, timeout_s: float, command: Sequence[str] | None = None) -> FrameworkReport:
    """Start the process of framework ``name`` and return its report. If it fails, the report has the reason."""
    argv = command or (sys.executable, "-P", "-m", "bench.measure.visibility", name)
    ended = Child(argv, {**backend.environment(name), **python_path_variables()}).finish(timeout_s)
    for line in ended.lines:
        try:
            return msgspec.json.decode(line, type=FrameworkReport)
        except msgspec.MsgspecError:
            continue
    return FrameworkReport(
        framework=name, version=_version(name), trouble=f"its process {ended.why or 'printed no result'}"
    )


def look(name: str) -> FrameworkReport:
    """In the child process: import the framework, list its devices, compute on the first device."""
    version = _version(name)
    try:
        cuda_build, devices, compute = _LOOK[name]()
    except Exception as error:  # a framework with broken libraries can raise any exception
        return FrameworkReport(
            framework=name, version=version, trouble=_first_line(error), missing=_missing(name)
        )
    if not cuda_build or not devices:
        return FrameworkReport(
            framework=name,
            version=version,
            cuda_build=cuda_build,
            devices=tuple(devices),
            missing=_missing(name) if cuda_build else (),
        )
    try:
        correct = compute()
    except Exception as error:  # no code for the card, out of memory, or a library that cannot be loaded
        return FrameworkReport(
            framework=name, version=version, devices=tuple(devices), trouble=_first_line(error)
        )
    return FrameworkReport(
        framework=name,
        version=version,
        devices=tuple(devices),
        computed=correct,
        trouble="" if correct else "a matrix product was wrong",
    )


_Look = tuple[bool, list[str], Callable[[], bool]]


def _tensorflow() -> _Look:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]

    def compute() -> bool:
        with tf.device("/GPU:0"):
            product = tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
        return "GPU" in product.device and bool(tf.reduce_all(product == 64.0))

    return bool(tf.sysconfig.get_build_info().get("is_cuda_build")), names, compute


def _torch() -> _Look:
    import torch

    if not torch.version.cuda:
        return False, [], lambda: False
    if not torch.cuda.is_available():
        torch.cuda.init()  # raises an exception with the reason

    def compute() -> bool:
        product = torch.ones((64, 64), device="cuda") @ torch.ones((64, 64), device="cuda")
        return bool((product == 64).all())

    return True, [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())], compute


def _jax() -> _Look:
    import jax

    plugin = any(importlib.util.find_spec(f"jax_cuda{major}_plugin") for major in (12, 13))
    if not plugin:
        return False, [], lambda: False
    gpus = [device for device in jax.devices() if device.platform != "cpu"]

    def compute() -> bool:
        ones = jax.device_put(jax.numpy.ones((64, 64)), gpus[0])
        return bool((ones @ ones == 64).all())

    return True, [gpu.device_kind for gpu in gpus], compute


_LOOK: dict[str, Callable[[], _Look]] = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}


def _missing(name: str) -> tuple[str, ...]:
    """Libraries that neither the loader nor NVIDIA's wheels provide; the driver's library is first."""
    return tuple(library for library in ("libcuda.so.1", *_LIBRARIES[name]) if not _loads(library))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return any(
            file.exists() for folder in sys.path for file in Path(folder).glob(f"nvidia/*/lib/{library}")
        )
    return True


def _version(name: str) -> str:
    for distribution in (name, f"{name}-cpu", f"{name}_cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def main(name: str) -> int:
    """Print the report of framework ``name`` on stdout.

    The framework's own output is captured; its first error line becomes part of the report."""
    die_with_parent()
    result = os.fdopen(os.dup(1), "wb")
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        seen = look(name)
        output.seek(0)
        errors = [
            line for line in output.read().decode(errors="replace").splitlines() if _ERROR_LINE.search(line)
        ]
    if errors and not seen.computed and not seen.trouble:
        seen = msgspec.structs.replace(seen, trouble=errors[0].strip()[:300])
    result.write(msgspec.json.encode(seen) + b"\n")
    result.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
