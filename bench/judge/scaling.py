"""The option `--devices`, and findings about training on several devices. Pure functions."""

from __future__ import annotations

import math
from functools import partial

import msgspec

from bench.finding import TRAINING, Finding, Status
from bench.measure.events import Devices
from bench.results.record.document import Result
from bench.results.stats import intervals
from bench.results.stats.compare import processes, speed
from common.command_line.whole_numbers import whole
from common.terminal.shown import shortened
from inventory.machine.records import Machine

SAME = 1e-5
"""Largest acceptable difference between the copies of a weight on two devices. It is small, because all devices apply
the same averaged gradient."""


class DevicesError(ValueError):
    """The value of --devices is unknown, or the machine has fewer devices; the message names the available ones."""


def resolve(asked: str | None, machine: Machine) -> Devices | None:
    """The devices that ``--devices`` selects on this machine; None without the option. Raises DevicesError."""
    if asked is None:
        return None
    cards = sum(gpu.handle.ok for gpu in machine.gpus)
    kind, _, number = asked.strip().lower().rpartition(":")
    if number == "all" and kind in ("", "gpu"):
        if machine.has_gpu and not cards:
            raise DevicesError(
                f"--devices {asked}: the NVIDIA card of this machine cannot be used: `dlbox check` shows why; "
                "--devices cpu:2 trains on the processor"
            )
        return Devices(kind="gpu", count=cards) if cards else Devices(kind="cpu", count=1)
    count = whole(number)
    if not count or kind not in ("", "gpu", "cpu"):
        raise DevicesError(
            "--devices must be all, a number of cards, or cpu:2 for two virtual devices of the processor, "
            f"not {shortened(asked, 40)!r}"
        )
    if kind == "cpu":
        most = max(2, machine.host.cpu_threads or 2)
        if count > most:
            raise DevicesError(f"--devices {asked}: this processor supports at most {most} virtual devices")
        return Devices(kind="cpu", count=count)
    if count > cards:
        there = (
            f"but this machine has {cards}"
            if cards
            else "but this machine has no usable NVIDIA card; --devices cpu:2 uses virtual devices of the processor"
        )
        raise DevicesError(f"--devices {asked} needs {count} card{'s' if count > 1 else ''}, {there}")
    return Devices(kind="gpu", count=count)


def judge_choice(asked: str | None, devices: Devices | None, machine: Machine) -> list[Finding]:
    """The finding about `--devices all`: whether several cards are usable, and whether some are not."""
    if asked is None or devices is None or not asked.strip().lower().endswith("all"):
        return []
    finding = partial(Finding, theme=TRAINING, check="devices", title="all cards are used")
    there = machine.gpu_count
    if devices.count < there:
        return [
            finding(
                status=Status.WARN,
                message=f"--devices {asked}: {devices.count} of {there} cards are usable, the others were left out",
                measured=devices.count,
                expected=there,
                remedy="`dlbox check` shows why the others are not usable",
            )
        ]
    if devices.count > 1:
        return [finding(status=Status.PASS, message=f"{devices.count} cards", measured=there)]
    what = "one card" if there else "no NVIDIA card"
    return [
        finding(
            status=Status.SKIP,
            message=f"this machine has {what}, so one device trained and scaling was not measured; `--devices cpu:2` "
            "uses virtual devices of the processor",
        )
    ]


def against_one(result: Result, one: Result) -> Result:
    """``result`` on several devices with its speed-up over ``one`` on a single device, at the same batch per device."""
    if result.scaling is None or not processes(result) or not processes(one):
        return result
    ratio = intervals.estimate(processes(one), processes(result))
    count = result.devices
    return msgspec.structs.replace(
        result,
        scaling=msgspec.structs.replace(
            result.scaling,
            one_device_samples_per_second=ratio.a_samples_per_second,
            speedup=ratio.ratio,
            efficiency=ratio.ratio / count,
            efficiency_low=None if ratio.low is None else ratio.low / count,
            efficiency_high=None if ratio.high is None else ratio.high / count,
        ),
    )


def scaling_text(result: Result) -> str:
    """Speed-up and efficiency: "2 devices are 1.31 times as fast as one: efficiency 66% (60 to 71%)"."""
    made = result.scaling
    if made is None or made.speedup is None or made.efficiency is None:
        return f"{result.devices} devices"
    low, high = made.efficiency_low, made.efficiency_high
    span = "" if low is None or high is None else f" ({low:.0%} to {high:.0%})"
    return (
        f"{result.devices} devices are {made.speedup:.2f} times as fast as one: efficiency "
        f"{made.efficiency:.0%}{span}"
    )


def judge(result: Result) -> list[Finding]:
    """Findings about whether all devices trained one model, and about their efficiency. Empty if only one device
    trained."""
    if result.devices == 1 or (result.partial and result.scaling is None):
        return []
    return [_together(result)] if result.scaling is None else [_together(result), _efficiency(result)]


def _together(result: Result) -> Finding:
    made, count = result.scaling, result.devices
    finding = partial(
        Finding,
        theme=TRAINING,
        check="replicas",
        subject=result.label,
        title=f"{result.label}: all devices train one model",
    )

    def failed(message: str, measured: float | None = None, expected: float | None = None) -> Finding:
        return finding(
            status=Status.FAIL,
            message=message,
            measured=measured,
            expected=expected,
            remedy="train on one device (leave out --devices); with cards, look at `dlbox check` and "
            "`nvidia-smi topo -m`",
        )

    if made is None:
        return failed(f"the worker reported nothing about training one model on {count} devices")
    where = f"{made.engine} on {', '.join(made.devices)}"
    differ = made.replicas_differ_by
    if differ is None or not math.isfinite(differ) or differ < 0:
        return failed(f"{where}; training diverged (weights are NaN)")
    words = f"{where}; copies of a weight differ by at most {differ:.2g}"
    if differ > SAME:
        why = "so gradients were not shared: this is not data-parallel training"
        return failed(f"{words}, {why}", differ, SAME)
    if len(set(made.devices)) != count:
        why = f"not {count}: this is not data-parallel training"
        return failed(f"{words}, {why}", len(set(made.devices)), count)
    return finding(status=Status.PASS, message=words)


def _efficiency(result: Result) -> Finding:
    made = result.scaling
    assert made is not None  # noqa: S101 - checked by the caller
    finding = partial(
        Finding,
        theme=TRAINING,
        check="scaling",
        subject=result.label,
        title=f"{result.label}: more devices train faster",
    )
    words = f"{scaling_text(result)}, {made.batch_per_device} samples per device and step"
    if made.one_device_samples_per_second is not None:
        now = speed(result.samples_per_second.median)
        words += f"; {now} samples/s against {speed(made.one_device_samples_per_second)}"
    again = (
        f"run it again to measure one device too: `dlbox bench --workload {result.workload}` with --devices"
    )
    if made.speedup is None or made.efficiency is None:
        return finding(
            status=Status.UNKNOWN,
            message=f"{words}: one device was not measured",
            remedy=again,
        )
    if not all(math.isfinite(figure) and figure > 0 for figure in (made.speedup, made.efficiency)):
        return finding(
            status=Status.UNKNOWN,
            message=f"{words}: these values are impossible",
            remedy=again,
        )
    if not result.on_gpu:
        return finding(
            status=Status.SKIP,
            message=f"{words}; virtual devices share one processor, so this does not show how cards scale",
        )
    slower = made.speedup < 1
    return finding(
        status=Status.WARN if slower else Status.PASS,
        message=words,
        measured=round(made.efficiency, 3),
        expected=round(1 / result.devices, 3) if slower else None,
        remedy="this model is so small that it trains faster on one card: leave out --devices, or use a larger --batch"
        if slower
        else None,
    )
