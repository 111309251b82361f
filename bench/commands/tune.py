"""`dlbox tune`: find the fastest setting of each model, store it, and print what was tried."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from bench.measure import runner
from bench.measure.events import Imported
from bench.measure.workloads import UnknownWorkloadError, Workload, select
from bench.results.store.history import now
from bench.run import quiet, session, tune
from bench.run.live_view import LiveView, observed
from bench.run.tune import TuningResult
from bench.run.tune_candidates import candidates
from bench.run.tuned_settings import device
from common.command_line.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.terminal.console import Console
from common.terminal.progress import ProgressDisplay
from inventory import gather
from inventory.machine import host
from inventory.machine.records import Machine
from workshops.speed import settings
from workshops.speed.settings import TunedEntry


def run(
    *,
    workloads: tuple[str, ...],
    suite: str,
    minutes: float,
    as_json: bool,
    complain: Complain,
    wait_for_quiet: float | None = None,
) -> int:
    """Tune the workloads, store each best setting as soon as it is known, print the table; returns the exit code.

    wait_for_quiet: Minutes to wait at most for other programs before the first trial.
    """
    try:
        chosen = select(workloads, suite)
        session.choose_backend(None)
        settings.read()
    except (UnknownWorkloadError, session.RunOptionsError) as error:
        complain(str(error))
        return EXIT_USAGE
    except settings.TunedSettingsError as error:
        complain(str(error))
        return EXIT_FAILED
    results: list[TuningResult] = []
    code, busy = EXIT_OK, None
    try:
        with ProgressDisplay() as watcher:
            watcher.begin("machine", "reading its hardware")
            machine = gather.gather()
            watcher.done(device(machine))
            needed = quiet.needed_cores(
                machine.host.cpu_threads, machine.host.cpu_cores, on_card=machine.has_gpu
            )
            busy = quiet.before_training(watcher, needed, wait_for_quiet).cores
            view = LiveView()
            watcher.show_details(view.lines)
            started = time.monotonic()
            for number, workload in enumerate(chosen, 1):
                watcher.begin(f"{workload.name} ({number} of {len(chosen)})", "starting")
                result, imported = tune.tune(
                    workload,
                    candidates(session.installed_backends(), machine.has_gpu),
                    deadline=started + 60 * minutes * number / len(chosen),
                    say=watcher.update,
                    run=observed(runner.run, view, cards=machine.has_gpu),
                    on_gpu=machine.has_gpu,
                    flags=host.cpu_flags(Path("/")),
                )
                if result.tried:
                    results.append(result)
                watcher.done(
                    f"{result.best.summary}: {result.samples_per_second:,.0f} samples/s"
                    if result.best
                    else "no setting could be trained"
                )
                if result.best is not None and imported is not None:
                    settings.store(workload.name, _entry(result, workload, imported, machine))
                elif not result.interrupted:
                    code = EXIT_FAILED
                if result.interrupted:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        complain("interrupted; the best setting that was tried before is stored")
        code = EXIT_INTERRUPTED
    except settings.TunedSettingsError as error:
        complain(str(error))
        code = EXIT_FAILED
    if as_json:
        print_json(
            "tune",
            {
                "other_cpu_cores": busy,
                "file": str(settings.default_path()),
                "results": msgspec.to_builtins(results),
            },
        )
    elif results:
        _show(results)
    return code


def _entry(result: TuningResult, workload: Workload, imported: Imported, machine: Machine) -> TunedEntry:
    if result.best is None or result.samples_per_second is None:
        raise ValueError("there is no best setting to store")
    return TunedEntry(
        setting=result.best,
        fingerprint=workload.fingerprint,
        device=device(machine),
        versions=imported.versions,
        samples_per_second=result.samples_per_second,
        default_samples_per_second=result.default_samples_per_second or 0.0,
        at=now(),
    )


def _show(results: Sequence[TuningResult]) -> None:
    title = "Samples/s, at the workshop's batch size unless the setting names another"
    table = Table(title=title, title_justify="left")
    for head in ("model", "setting", "samples/s", ""):
        table.add_column(head, justify="right" if head == "samples/s" else "left")
    for result in results:
        for number, tried in enumerate(result.tried):
            rate = f"{tried.samples_per_second:,.0f}" if tried.samples_per_second else "-"
            note = "stored" if tried.setting == result.best else tried.why
            table.add_row("" if number else result.workload, tried.setting.summary, rate, note)
    console = Console()
    console.print(table)
    for result in results:
        if result.why:
            console.print(f"{result.workload}: {result.why}")
