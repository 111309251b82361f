"""`dlbox tune`: which backend, layers and compiler train each model fastest here; the best is stored."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench import session
from bench.command import EXIT_INTERRUPTED, EXIT_NOT, EXIT_SOUND, EXIT_USAGE, Complain
from bench.measure import runner
from bench.measure.events import Event, Imported, Job, Tried
from bench.measure.workloads import UnknownWorkloadError, Workload, select
from bench.progress import Watcher
from bench.results.history import now
from bench.results.record import SCHEMA_VERSION
from bench.tuned import device
from inventory import facts
from inventory.machine import Machine
from workshops import settings
from workshops.fast import recurrence
from workshops.settings import Entry, Setting

GAIN = 1.03
"""A setting must beat the default's better figure by this: less may be noise."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and its samples/s, or why there is no figure."""

    setting: Setting
    samples_per_second: float | None = None
    why: str = ""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """One workload. ``tried``: the default first, and once more last; ``best`` is the default where nothing is
    faster by more than ``GAIN``, and None where not even that ran."""

    workload: str
    tried: tuple[Measured, ...] = ()
    best: Setting | None = None
    default_samples_per_second: float | None = None
    samples_per_second: float | None = None
    why: str = ""
    interrupted: bool = False


def candidates(backends: Sequence[str], on_gpu: bool) -> list[Setting]:
    """The default (Keras' own choices on the first backend) first; what cannot differ is left out."""
    tried = [Setting(backend=name) for name in backends]
    compiled = not on_gpu and recurrence.at_hand()
    if "torch" in backends and not on_gpu:
        tried += [Setting(backend="torch", layers="fast"), Setting(backend="torch", layers="split")]
    tried += [
        Setting(backend=name, layers="loops")
        for name in ("tensorflow", "torch")
        if compiled and name in backends
    ]
    if "tensorflow" in backends:
        tried.append(Setting(backend="tensorflow", jit=True))
    return tried


STEPS = (8, 32)
"""Batches a call that are tried with the fastest setting. Keras on torch refuses more than one."""

PROMISING = 0.7
"""A setting whose first blocks stay below this share of the best is not timed any longer."""

BUSY = 0.25
"""Cores that other programs keep busy: more, and the figures are theirs too."""


NEAR = 0.85
"""What several batches a call may still make up for, as a share of the best."""


def longer_calls(tried: Sequence[Measured]) -> list[Setting]:
    """The fastest that can take several batches a call, with these, where it is near the best."""
    rates = {one.setting: one.samples_per_second for one in tried if one.samples_per_second}
    able = {setting: rate for setting, rate in rates.items() if setting.backend != "torch"}
    if not able:
        return []
    setting = max(able, key=lambda one: able[one])
    if able[setting] < NEAR * max(rates.values()):
        return []
    return [msgspec.structs.replace(setting, steps_per_execution=steps) for steps in STEPS]


def busy_cores(seconds: float = 1.0) -> float:
    """Cores that are busy now, while this command waits."""
    import psutil

    before = psutil.cpu_times()
    time.sleep(seconds)
    after = psutil.cpu_times()

    def idle(times: Any) -> float:
        return float(times.idle + getattr(times, "iowait", 0.0))

    return max(0.0, (sum(after) - sum(before) - idle(after) + idle(before)) / seconds)


def choose(tried: Sequence[Measured]) -> tuple[Setting | None, float | None, float | None]:
    """The best setting, its rate and the default's. The default is judged by the better of its two figures."""
    if not tried:
        return None, None, None
    usual = tried[0].setting
    usual_rates = [m.samples_per_second for m in tried if m.setting == usual and m.samples_per_second]
    ran = [m for m in tried if m.samples_per_second and m.setting != usual]
    best = max(ran, key=lambda m: m.samples_per_second or 0.0, default=None)
    default_rate = max(usual_rates, default=None)
    if (
        best is not None
        and best.samples_per_second
        and best.samples_per_second > GAIN * (default_rate or 0.0)
    ):
        return best.setting, best.samples_per_second, default_rate
    return (usual if default_rate else None), default_rate, default_rate


def tune(
    workload: Workload,
    settings_to_try: Sequence[Setting],
    *,
    deadline: float,
    say: Callable[[str], None],
    seconds: float = 6.0,
    run: Callable[..., runner.Problem | None] = runner.run,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Tuned, Imported | None]:
    """Try each setting in a fresh process until ``deadline``; the default first and, after something faster, again.

    Also gives what the worker of the best setting said of itself. Ctrl-C ends it with what was measured until then.
    """
    tried: list[Measured] = []
    told: dict[Setting, Imported] = {}

    def go(setting: Setting, give_up_below: float = 0.0, words: str = "") -> bool:
        if tried and not words and clock() >= deadline:
            return False
        say(setting.told + words)
        tried.append(_measure(workload, setting, seconds, run, told, give_up_below))
        return True

    why, interrupted = "", False
    try:
        for setting in settings_to_try:
            so_far = max((one.samples_per_second or 0.0 for one in tried), default=0.0)
            if not go(setting, PROMISING * so_far):
                why = "the time was up (--minutes)"
                break
        fastest = max((one.samples_per_second or 0.0 for one in tried), default=0.0)
        for setting in longer_calls(tried):
            if not go(setting, PROMISING * fastest):
                why = "the time was up (--minutes)"
                break
        best, _, _ = choose(tried)
        if best is not None and best != tried[0].setting:
            go(tried[0].setting, words=", once more")
    except KeyboardInterrupt:
        why, interrupted = "it was interrupted", True
    best, rate, usual = choose(tried)
    done = Tuned(
        workload=workload.name, tried=tuple(tried), best=best, samples_per_second=rate,
        default_samples_per_second=usual, why=f"not all was tried: {why}" if why else "", interrupted=interrupted,
    )  # fmt: skip
    return done, told.get(best) if best else None


def _measure(
    workload: Workload,
    setting: Setting,
    seconds: float,
    run: Callable[..., runner.Problem | None],
    told: dict[Setting, Imported],
    give_up_below: float = 0.0,
) -> Measured:
    rates: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Imported):
            told[setting] = event
        elif isinstance(event, Tried) and event.point.samples_per_second:
            rates.append(event.point.samples_per_second)

    job = Job(
        workload=workload,
        backend=setting.backend,
        parent_pid=os.getpid(),
        batch_sizes=(workload.batch_size,),
        search_seconds=seconds,
        give_up_below=give_up_below,
        setting=setting,
    )
    problem = run(job, hear)
    if rates:
        return Measured(setting=setting, samples_per_second=rates[0])
    return Measured(setting=setting, why=problem.message if problem else "it gave no figure")


def command(
    *, workloads: tuple[str, ...], suite: str, minutes: float, as_json: bool, complain: Complain
) -> int:
    """Tune the workloads, store each as soon as it is known, print the table."""
    try:
        chosen = select(workloads, suite)
        session.choose_backend(None)
        settings.read()
    except (UnknownWorkloadError, session.UsageError) as error:
        complain(str(error))
        return EXIT_USAGE
    except settings.SettingsError as error:
        complain(str(error))
        return EXIT_NOT
    done: list[Tuned] = []
    code, busy = EXIT_SOUND, None
    try:
        with Watcher() as watcher:
            watcher.begin("machine", "reading what it is")
            machine = facts.gather()
            watcher.done(device(machine))
            busy = busy_cores()
            if busy > BUSY:
                watcher.say(
                    f"Other programs keep {busy:.1f} cores busy: what is found now may not be the fastest on a quiet "
                    "machine. End them and tune again."
                )
            begun = time.monotonic()
            for place, workload in enumerate(chosen, 1):
                watcher.begin(f"{workload.name} ({place} of {len(chosen)})", "starting")
                tried = candidates(session.installed_backends(), machine.has_gpu)
                one, imported = tune(
                    workload, tried, deadline=begun + 60 * minutes * place / len(chosen), say=watcher.update
                )
                if one.tried:
                    done.append(one)
                watcher.done(
                    f"{one.best.told}: {one.samples_per_second:,.0f} samples/s" if one.best else "nothing ran"
                )
                if one.best is not None and imported is not None:
                    settings.keep(workload.name, _entry(one, workload, imported, machine))
                elif not one.interrupted:
                    code = EXIT_NOT
                if one.interrupted:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        complain("interrupted; the best of what was tried until then is stored")
        code = EXIT_INTERRUPTED
    except settings.SettingsError as error:
        complain(str(error))
        code = EXIT_NOT
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "command": "tune", "other_cpu_cores": busy,
                    "file": str(settings.default_path()),
                    "results": msgspec.to_builtins(done)}  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    elif done:
        _show(done)
    return code


def _entry(one: Tuned, workload: Workload, imported: Imported, machine: Machine) -> Entry:
    if one.best is None or one.samples_per_second is None:
        raise ValueError("nothing to store")
    return Entry(
        setting=one.best,
        fingerprint=workload.fingerprint,
        device=device(machine),
        versions=imported.versions,
        samples_per_second=one.samples_per_second,
        default_samples_per_second=one.default_samples_per_second or 0.0,
        at=now(),
    )


def _show(done: Sequence[Tuned]) -> None:
    table = Table(title="Samples/s at the workshop's batch", title_justify="left")
    for head in ("model", "setting", "samples/s", ""):
        table.add_column(head, justify="right" if head == "samples/s" else "left")
    for one in done:
        for number, measured in enumerate(one.tried):
            rate = f"{measured.samples_per_second:,.0f}" if measured.samples_per_second else "-"
            mark = "stored" if measured.setting == one.best and number < len(one.tried) else measured.why
            table.add_row("" if number else one.workload, measured.setting.told, rate, mark)
    console = Console(highlight=False)
    console.print(table)
    for one in done:
        if one.why:
            console.print(f"{one.workload}: {one.why}")
