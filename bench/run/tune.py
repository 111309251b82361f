"""`dlbox tune`: with what (backend, layers, compiler, precision, batch) each model trains fastest here; stores it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from bench.measure import runner
from bench.measure.batches import LEAST_EXAMPLES_PER_SIZE
from bench.measure.events import Evaluated, Event, Imported, Job, Tried
from bench.measure.workloads import UnknownWorkloadError, Workload, select
from bench.results.store.history import now
from bench.run import session
from bench.run.tune_candidates import GAIN, Measured, candidates, choose, longer_calls, precisions
from bench.run.tuned_settings import as_set, device
from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Complain
from common.json_output import SCHEMA_VERSION
from common.progress import ProgressDisplay
from inventory import gather
from inventory.machine import host
from inventory.machine.records import Machine
from workshops.speed import settings
from workshops.speed.settings import Setting, TunedEntry


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


PROMISING = 0.7
"""A setting whose first blocks stay below this share of the best is not timed any longer."""

BUSY = 0.25
"""Cores that other programs keep busy: more, and the figures are theirs too."""


WORTH = 1.1
"""A batch must be as much faster than half of it: it changes what is learned, and takes another look at that."""


def busy_cores(seconds: float = 1.0) -> float:
    """Cores that are busy now, while this command waits."""
    import psutil

    before = psutil.cpu_times()
    time.sleep(seconds)
    after = psutil.cpu_times()

    def idle(times: Any) -> float:
        return float(times.idle + getattr(times, "iowait", 0.0))

    return max(0.0, (sum(after) - sum(before) - idle(after) + idle(before)) / seconds)


Run = Callable[..., runner.Problem | None]


class _Trial:
    """The settings of one workload, tried one after the other."""

    def __init__(
        self, workload: Workload, deadline: float, say: Callable[[str], None], seconds: float, run: Run,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.workload, self.deadline, self.say, self.seconds = workload, deadline, say, seconds
        self.run, self.clock = run, clock
        self.tried: list[Measured] = []
        self.told: dict[Setting, Imported] = {}

    @property
    def fastest(self) -> float:
        return max((one.samples_per_second or 0.0 for one in self.tried if not one.why), default=0.0)

    @property
    def recurs(self) -> bool:
        """Whether the model has a recurrent layer, as far as its workers said."""
        works = [one.work for one in self.told.values() if one.work is not None]
        return not works or any(work.recurrent_steps for work in works)

    def go(self, setting: Setting, words: str = "", *, worth: float = GAIN) -> Measured:
        """Samples/s of ``setting``. Raises _TimeIsUpError.

        One that learns otherwise counts where it is ``worth`` times as fast as all before and still learns.
        """
        if self.tried and not words and self.clock() >= self.deadline:
            raise _TimeIsUpError
        self.say(setting.summary + words)
        give_up = 0.0 if words or not self.tried else PROMISING * self.fastest
        one = _measure(self.workload, setting, self.seconds, self.run, self.told, give_up)
        if setting.changes_training and one.samples_per_second:
            if one.samples_per_second < worth * self.fastest:
                why = f"less than {worth - 1:.0%} faster: whether it learns was not looked at"
                one = msgspec.structs.replace(one, why=why)
            else:
                self.say(f"{setting.summary}: does it still learn?")
                one = _learning(one, self.workload, self.run)
        self.tried.append(one)
        return one

    def best(self) -> Setting | None:
        return choose(self.tried)[0]

    def larger_batches(self, setting: Setting) -> None:
        """Twice the batch of before, as long as that is worth it and the model still learns."""
        size, one = 2 * self.workload.batch_size, Measured(setting=setting)
        while not one.why and size * LEAST_EXAMPLES_PER_SIZE <= self.workload.train_examples:
            one = self.go(msgspec.structs.replace(setting, batch_size=size), worth=WORTH)
            size *= 2


class _TimeIsUpError(Exception):
    pass


def tune(
    workload: Workload,
    settings_to_try: Sequence[Setting],
    *,
    deadline: float,
    say: Callable[[str], None],
    seconds: float = 6.0,
    run: Run = runner.run,
    clock: Callable[[], float] = time.monotonic,
    on_gpu: bool = False,
    flags: Collection[str] = (),
) -> tuple[Tuned, Imported | None]:
    """Try each setting in a fresh process until ``deadline``; the default first and, after something faster, again.

    Then the fastest with longer calls, in other numbers and with larger batches; ``flags``: of the processor. Also
    gives what the worker of the best setting said of itself. Ctrl-C ends it with what was measured until then.
    """
    trial = _Trial(workload, deadline, say, seconds, run, clock)
    why, interrupted = "", False
    try:
        try:
            for setting in settings_to_try:
                if setting.layers == "stock" or trial.recurs:
                    trial.go(setting)
            for setting in longer_calls(trial.tried):
                trial.go(setting)
            best = trial.best()
            if best is not None:
                for setting in precisions(best, on_gpu, flags):
                    trial.go(setting)
                trial.larger_batches(trial.best() or best)
        except _TimeIsUpError:
            why = "the time was up (--minutes)"
        best = trial.best()
        if best is not None and best != trial.tried[0].setting:
            trial.go(trial.tried[0].setting, ", once more")
    except KeyboardInterrupt:
        why, interrupted = "it was interrupted", True
    best, rate, usual = choose(trial.tried)
    done = Tuned(
        workload=workload.name, tried=tuple(trial.tried), best=best, samples_per_second=rate,
        default_samples_per_second=usual, why=f"not all was tried: {why}" if why else "", interrupted=interrupted,
    )  # fmt: skip
    return done, trial.told.get(best) if best else None


def _learning(one: Measured, workload: Workload, run: Run) -> Measured:
    """``one`` with the accuracy that it reaches, and why it does not count where that is under the workload's bar."""
    if not workload.accuracy_bar:
        return msgspec.structs.replace(
            one, why="how this model learns is not judged: nothing would show a loss"
        )
    seen: list[Evaluated] = []

    def hear(event: Event) -> None:
        if isinstance(event, Evaluated):
            seen.append(event)

    job = Job(
        workload=as_set(workload, one.setting),
        backend=one.setting.backend,
        parent_pid=os.getpid(),
        train_seconds=1.0,
        setting=one.setting,
    )
    problem = run(job, hear)
    if not seen:
        return msgspec.structs.replace(
            one, why=f"not seen to learn: {problem.message if problem else 'nothing was said'}"
        )
    if seen[-1].loss is None:
        return msgspec.structs.replace(one, why="it did not learn: the loss is no number")
    accuracy = max(look.accuracy for look in seen)
    low = accuracy < workload.accuracy_bar
    why = f"it learned too little: accuracy {accuracy:.3f}, {workload.accuracy_bar} is due" if low else ""
    return msgspec.structs.replace(one, accuracy=accuracy, why=why)


def _measure(
    workload: Workload,
    setting: Setting,
    seconds: float,
    run: Run,
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
        batch_sizes=(setting.batch_size or workload.batch_size,),
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
    except settings.TunedSettingsError as error:
        complain(str(error))
        return EXIT_FAILED
    done: list[Tuned] = []
    code, busy = EXIT_OK, None
    try:
        with ProgressDisplay() as watcher:
            watcher.begin("machine", "reading what it is")
            machine = gather.gather()
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
                    workload, tried, deadline=begun + 60 * minutes * place / len(chosen), say=watcher.update,
                    on_gpu=machine.has_gpu, flags=host.cpu_flags(Path("/")),
                )  # fmt: skip
                if one.tried:
                    done.append(one)
                watcher.done(
                    f"{one.best.summary}: {one.samples_per_second:,.0f} samples/s"
                    if one.best
                    else "nothing ran"
                )
                if one.best is not None and imported is not None:
                    settings.store(workload.name, _entry(one, workload, imported, machine))
                elif not one.interrupted:
                    code = EXIT_FAILED
                if one.interrupted:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        complain("interrupted; the best of what was tried until then is stored")
        code = EXIT_INTERRUPTED
    except settings.TunedSettingsError as error:
        complain(str(error))
        code = EXIT_FAILED
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "command": "tune", "other_cpu_cores": busy,
                    "file": str(settings.default_path()),
                    "results": msgspec.to_builtins(done)}  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    elif done:
        _show(done)
    return code


def _entry(one: Tuned, workload: Workload, imported: Imported, machine: Machine) -> TunedEntry:
    if one.best is None or one.samples_per_second is None:
        raise ValueError("nothing to store")
    return TunedEntry(
        setting=one.best,
        fingerprint=workload.fingerprint,
        device=device(machine),
        versions=imported.versions,
        samples_per_second=one.samples_per_second,
        default_samples_per_second=one.default_samples_per_second or 0.0,
        at=now(),
    )


def _show(done: Sequence[Tuned]) -> None:
    table = Table(title="Samples/s, at the workshop's batch where no other is named", title_justify="left")
    for head in ("model", "setting", "samples/s", ""):
        table.add_column(head, justify="right" if head == "samples/s" else "left")
    for one in done:
        for number, measured in enumerate(one.tried):
            rate = f"{measured.samples_per_second:,.0f}" if measured.samples_per_second else "-"
            mark = "stored" if measured.setting == one.best and number < len(one.tried) else measured.why
            table.add_row("" if number else one.workload, measured.setting.summary, rate, mark)
    console = Console()
    console.print(table)
    for one in done:
        if one.why:
            console.print(f"{one.workload}: {one.why}")
