"""Theme "frameworks": whether each installed framework finds the card and computes on it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from bench.health.check import CheckOutcome, check, failed, passed, skipped
from inventory.machine.records import Machine

NAMES = ("tensorflow", "torch", "jax")


class FrameworkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one framework reported in a separate process."""

    framework: str
    installed: bool = True
    version: str = ""
    cuda_build: bool = True
    """Whether this build can use NVIDIA cards at all."""
    devices: tuple[str, ...] = ()
    computed: bool = False
    """Whether a matrix product on the first device was correct."""
    missing: tuple[str, ...] = ()
    """Names of the libraries that were not found, such as "libcudnn.so.9"."""
    trouble: str = ""
    """The framework's error message, or how its process ended."""


def _judge(seen: FrameworkReport, machine: Machine) -> CheckOutcome:
    name = seen.framework
    if not machine.has_gpu:
        return skipped("no NVIDIA card in this machine")
    if not seen.installed:
        return skipped("not installed")
    label = f"{name} {seen.version}".strip()
    if not seen.cuda_build:
        return failed(
            f"{label} is a build for the CPU only",
            0,
            machine.gpu_count,
            "cards",
            remedy=f"install the build with CUDA: dlbox plan shows which {name} fits this card",
        )
    if seen.devices and seen.computed:
        return passed(f"{label} computes on {seen.devices[0]}", len(seen.devices), machine.gpu_count, "cards")
    if seen.missing:
        return failed(
            f"{label} does not find the card; missing: {', '.join(seen.missing)}",
            0,
            machine.gpu_count,
            "cards",
            remedy=_for_library(seen.missing[0]),
        )
    if _lacks_instruction(seen.trouble):
        return failed(
            f"{label} ended with an illegal instruction: its wheel needs an instruction set, usually AVX, that this "
            "processor does not have",
            0,
            machine.gpu_count,
            "cards",
            remedy="look for AVX: grep -o -m1 -w avx /proc/cpuinfo; without it, train with torch, whose wheels select "
            "their instructions at run time: dlbox plan --framework torch",
        )
    detail = f": {seen.trouble}" if seen.trouble else ""
    if seen.devices:
        return failed(
            f"{label} finds {seen.devices[0]} but cannot compute on it{detail}",
            0,
            machine.gpu_count,
            "cards",
            remedy="the build may contain no code for this card: dlbox plan shows a build that does",
        )
    return failed(f"{label} does not find the card{detail}", 0, machine.gpu_count, "cards")


def _lacks_instruction(trouble: str) -> bool:
    """Whether the import ended because the processor does not know an instruction: by a signal, or by a message."""
    return (
        re.search(r"SIGILL|illegal instruction|built using AVX|compiled to use AVX", trouble, re.I)
        is not None
    )


def _for_library(name: str) -> str:
    if name.startswith("libcuda.so"):
        return "the driver's own library is missing: dlbox provision; on Debian: sudo apt install libcuda1"
    return "reinstall the CUDA wheels of the lock file: delete .venv, then ./dlbox ready"


def judge_of(name: str) -> Callable[..., CheckOutcome]:
    """Return the check of one framework. All frameworks are checked in the same steps."""

    def judge(seen: FrameworkReport, machine: Machine) -> CheckOutcome:
        """A framework that finds no card trains on the CPU without a warning, ten times slower. A separate
        process imports the framework, multiplies two matrices on the card and compares the result."""
        return _judge(seen, machine)

    return judge


for _name, _title in (("tensorflow", "TensorFlow"), ("torch", "PyTorch"), ("jax", "JAX")):
    check(
        f"frameworks.{_name}",
        title=f"{_title} finds the card",
        scope="frameworks",
        looks_at=f"{_title}'s list of devices, and a matrix product on the first device",
        limits="at least one device and the correct result",
        applies_to=f"machines where {_title} is installed",
        source="measured with dlbox",
        fix="unset LD_LIBRARY_PATH and CUDA_VISIBLE_DEVICES, then: dlbox check --frameworks",
    )(judge_of(_name))
