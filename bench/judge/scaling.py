"""`--devices`: what was asked for and what there is; how well several devices share the work. Pure."""

from __future__ import annotations

import math
from functools import partial

import msgspec

from bench.finding import TRAINING, Finding, Status
from bench.measure.events import Devices
from bench.results.record.document import Result
from bench.results.stats import intervals
from bench.results.stats.compare import processes, speed
from common.numbers_cli import whole
from common.shown import shortened
from inventory.machine.records import Machine

SAME = 1e-5
"""Two copies of one weight differ by no more: every device applies the same averaged gradient."""


class DevicesError(ValueError):
    """What was asked for is no device, or more than there are; the message says what there is."""


def resolve(asked: str | None, machine: Machine) -> Devices | None:
    """The devices that ``--devices`` means here; None where nothing was asked. Raises DevicesError."""
    if asked is None:
        return None
    cards = sum(gpu.handle.ok for gpu in machine.gpus)
    kind, _, number = asked.strip().lower().rpartition(":")
    if number == "all" and kind in ("", "gpu"):
        if machine.has_gpu and not cards:
            raise DevicesError(
                f"--devices {asked}: there is an NVIDIA card here that cannot be used: `dlbox check` says why; "
                "--devices cpu:2 trains on the processor"
            )
        return Devices(kind="gpu", count=cards) if cards else Devices(kind="cpu", count=1)
    count = whole(number)
    if not count or kind not in ("", "gpu", "cpu"):
        raise DevicesError(
            "--devices is all, a number of cards, or cpu:2 for two virtual devices of the processor, "
            f"not {shortened(asked, 40)!r}"
        )
    if kind == "cpu":
        most = max(2, machine.host.cpu_threads or 2)
        if count > most:
            raise DevicesError(
                f"--devices {asked}: this processor is good for {most} virtual devices at most"
            )
        return Devices(kind="cpu", count=count)
    if count > cards:
        there = (
            f"there {'is' if cards == 1 else 'are'} {cards} here"
            if cards
            else "there is no usable NVIDIA card here; --devices cpu:2 tries it on the processor"
        )
        raise DevicesError(
            f"--devices {asked}: {count} card{'s were' if count > 1 else ' was'} asked for, {there}"
        )
    return Devices(kind="gpu", count=count)


def judge_choice(asked: str | None, devices: Devices | None, machine: Machine) -> list[Finding]:
    """What is to be said of the devices that "all" came to: one of them shows no scaling, and some may be missing."""
    if asked is None or devices is None or not asked.strip().lower().endswith("all"):
        return []
    finding = partial(Finding, theme=TRAINING, check="devices", title="all devices train")
    there = machine.gpu_count
    if devices.count < there:
        return [
            finding(
                status=Status.WARN,
                message=f"--devices {asked}: {devices.count} of {there} cards can be used, the others were left out",
                measured=devices.count,
                expected=there,
                remedy="`dlbox check` says what keeps the others from working",
            )
        ]
    if devices.count > 1:
        return [finding(status=Status.PASS, message=f"{devices.count} cards", measured=there)]
    what = "one card" if there else "no NVIDIA card"
    return [
        finding(
            status=Status.SKIP,
            message=f"there is {what} here, so one device trained and nothing is said of scaling; `--devices cpu:2` "
            "tries it on the processor",
        )
    ]


def against_one(result: Result, one: Result) -> Result:
    """``result`` on several devices with how it compares with ``one`` on a single one, at the same batch a device."""
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


def told(result: Result) -> str:
    """ "2 devices 1.31 times one: efficiency 66% (60 to 71%)"."""
    made = result.scaling
    if made is None or made.speedup is None or made.efficiency is None:
        return f"{result.devices} devices"
    low, high = made.efficiency_low, made.efficiency_high
    span = "" if low is None or high is None else f" ({low:.0%} to {high:.0%})"
    return f"{result.devices} devices {made.speedup:.2f} times one: efficiency {made.efficiency:.0%}{span}"


def judge(result: Result) -> list[Finding]:
    """Whether all devices trained one model, and what that gave; nothing for one device."""
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
            remedy="train on one device (leave out --devices); on cards look at `dlbox check` and "
            "`nvidia-smi topo -m`",
        )

    if made is None:
        return failed(f"{count} devices were to train one model, and nothing shows that they did")
    where = f"{made.engine} on {', '.join(made.devices)}"
    differ = made.replicas_differ_by
    if differ is None or not math.isfinite(differ) or differ < 0:
        return failed(f"{where}; weights are no numbers: nothing was learned")
    words = f"{where}; copies of a weight differ by {differ:.2g} at most"
    if differ > SAME:
        why = "so gradients were not shared: this is no data-parallel training"
        return failed(f"{words}, {why}", differ, SAME)
    if len(set(made.devices)) != count:
        why = f"{count} were asked for: this is no data-parallel training"
        return failed(f"{words}, {why}", len(set(made.devices)), count)
    return finding(status=Status.PASS, message=words)


def _efficiency(result: Result) -> Finding:
    made = result.scaling
    assert made is not None  # noqa: S101 - asked before
    finding = partial(
        Finding,
        theme=TRAINING,
        check="scaling",
        subject=result.label,
        title=f"{result.label}: more devices train faster",
    )
    words = f"{told(result)}, {made.batch_per_device} samples a device and step"
    if made.one_device_samples_per_second is not None:
        now = speed(result.samples_per_second.median)
        words += f"; {now} samples/s against {speed(made.one_device_samples_per_second)}"
    again = f"run it again, so that one device is timed too: `dlbox bench --workload {result.workload}` with --devices"
    if made.speedup is None or made.efficiency is None:
        return finding(
            status=Status.UNKNOWN,
            message=f"{words}: one device was not timed",
            remedy=again,
        )
    if not all(math.isfinite(figure) and figure > 0 for figure in (made.speedup, made.efficiency)):
        return finding(
            status=Status.UNKNOWN,
            message=f"{words}: these figures are impossible",
            remedy=again,
        )
    if not result.on_gpu:
        return finding(
            status=Status.SKIP,
            message=f"{words}; virtual devices share one processor: this shows that it works, not how cards scale",
        )
    slower = made.speedup < 1
    return finding(
        status=Status.WARN if slower else Status.PASS,
        message=words,
        measured=round(made.efficiency, 3),
        expected=round(1 / result.devices, 3) if slower else None,
        remedy="a model as small as this trains faster on one card: leave out --devices, or take a larger --batch"
        if slower
        else None,
    )
