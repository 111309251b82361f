"""Theme "frameworks": does each installed framework see the card and compute on it?"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bench.health.check import Outcome, check, failed, passed, skipped
from inventory.machine.records import Machine

NAMES = ("tensorflow", "torch", "jax")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one framework said of itself, in a process of its own."""

    framework: str
    installed: bool = True
    version: str = ""
    cuda_build: bool = True
    """Whether this build can use NVIDIA cards at all."""
    devices: tuple[str, ...] = ()
    computed: bool = False
    """A product on the first device came out right."""
    missing: tuple[str, ...] = ()
    """Libraries that could not be found: "libcudnn.so.9"."""
    trouble: str = ""
    """The framework's own words, or how its process ended."""


def _judge(seen: Seen, machine: Machine) -> Outcome:
    name = seen.framework
    if not machine.has_gpu:
        return skipped("no NVIDIA card in this machine")
    if not seen.installed:
        return skipped("not installed")
    version = f"{name} {seen.version}".strip()
    if not seen.cuda_build:
        return failed(
            f"{version} is a build for processors only",
            0,
            machine.gpu_count,
            "cards",
            remedy=f"install the build with CUDA: dlbox plan shows which {name} fits this card",
        )
    if seen.devices and seen.computed:
        return passed(
            f"{version} computes on {seen.devices[0]}", len(seen.devices), machine.gpu_count, "cards"
        )
    if seen.missing:
        return failed(
            f"{version} does not see the card; missing: {', '.join(seen.missing)}",
            0,
            machine.gpu_count,
            "cards",
            remedy=_for_library(seen.missing[0]),
        )
    detail = f": {seen.trouble}" if seen.trouble else ""
    if seen.devices:
        return failed(
            f"{version} sees {seen.devices[0]} but cannot compute on it{detail}",
            0,
            machine.gpu_count,
            "cards",
            remedy="the build may lack code for this card: dlbox plan shows which one has it",
        )
    return failed(f"{version} does not see the card{detail}", 0, machine.gpu_count, "cards")


def _for_library(name: str) -> str:
    if name.startswith("libcuda.so"):
        return "the driver's own library is missing: dlbox provision; on Debian: sudo apt install libcuda1"
    return "reinstall the CUDA wheels of the lock file: delete .venv, then ./dlbox ready"


def judge_of(name: str) -> Callable[..., Outcome]:
    """The check of one framework; they differ in name only."""

    def judge(seen: Seen, machine: Machine) -> Outcome:
        """A framework that finds no card trains on the processor without a word, ten times slower. It is asked
        in a process of its own, which multiplies two matrices on the card and compares the result."""
        return _judge(seen, machine)

    return judge


for _name, _title in (("tensorflow", "TensorFlow"), ("torch", "PyTorch"), ("jax", "JAX")):
    check(
        f"frameworks.{_name}",
        title=f"{_title} sees the card",
        scope="frameworks",
        looks_at=f"{_title}'s own list of devices, and a product on the first",
        limits="at least one device, and the right result",
        applies_to=f"machines where {_title} is installed",
        source="own measurement",
        fix="unset LD_LIBRARY_PATH and CUDA_VISIBLE_DEVICES, then: dlbox check --frameworks",
    )(judge_of(_name))
