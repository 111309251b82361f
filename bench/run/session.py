"""One run of `bench` or `ready`: read the machine, check it, train, judge, store, report."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench import health
from bench.finding import Finding, Status
from bench.finding import verdict as overall
from bench.judge import baseline as expectation
from bench.judge import card_scores, plausibility, scaling
from bench.judge.result import ResultJudge
from bench.measure import training, visibility
from bench.measure.workloads import BACKENDS, Workload
from bench.results.record.document import Document
from bench.results.store.history import now
from bench.run import quiet as quiet_machine
from bench.run import rounds
from bench.run import tuned_settings as tuned
from bench.run.recorder import RunRecorder
from common.command_line.whole_numbers import whole
from common.file_access.files import reason, write_atomically
from common.terminal.progress import ProgressDisplay
from common.terminal.shown import shortened, visible
from inventory import gather
from inventory.builds.bill import Bill
from inventory.machine.records import Machine
from workshops.speed import settings

LARGEST_BATCH = 10_000
"""Largest value of --batch: half of the examples of a workload. With larger batches an epoch has only one step."""


class RunOptionsError(Exception):
    """The options cannot be used on this machine; the message names the options that can."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run."""

    command: str
    workloads: tuple[Workload, ...] = ()
    backend: str | None = None
    quick: bool | None = None
    """None: a quick run if the machine has no card and no complete run yet, else a full run."""
    seed: int = 0
    repeats: int | None = None
    output: Path | None = None
    expect_gpus: int | None = None
    report: bool = True
    health_checks: bool = True
    tuned: bool = False
    """Train with the settings that `dlbox tune` stored, if they still apply; they include the backend."""
    baseline: bool = False
    """Make the run the baseline of later runs."""
    batch: str | int | None = None
    """"workshop", "best", "both", or a size. None: both for a full `bench`, else the workshop's."""
    devices: str | None = None
    """"all", a number of cards, or "cpu:2": also train on these devices together."""
    bill: Bill | None = None
    """Parts and prices of the machine."""
    name: str | None = None
    """A name for the run, shown in the history."""
    wait_for_quiet: float | None = None
    """Minutes to wait at most for other programs that keep the processor busy."""


class InterruptedRunError(Exception):
    """Ctrl-C or SIGTERM ended the run. ``document``: the results so far, marked partial unless they are complete;
    None if there are none."""

    def __init__(self, document: Document | None) -> None:
        super().__init__("interrupted")
        self.document = document


def installed_backends() -> list[str]:
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def choose_backend(asked: str | None) -> str:
    """``asked``, or the first backend that is installed. Raises RunOptionsError if it is not installed."""
    there = installed_backends()
    if asked is None and there:
        return there[0]
    if asked in there:
        return str(asked)
    exists = f"installed here: {', '.join(there)}" if there else "none is installed here"
    wanted = asked or BACKENDS[0]
    raise RunOptionsError(
        f"backend {wanted} is not installed ({exists}); get it with: ./dlbox setup {wanted}"
    )


def batch_size(asked: str | None) -> str | int | None:
    """The value of --batch: a word or a number. Raises RunOptionsError."""
    if asked is None or asked in ("workshop", "best", "both"):
        return asked
    size = whole(asked)
    if size is not None and 1 <= size <= LARGEST_BATCH:
        return size
    raise RunOptionsError(
        f"--batch must be workshop, best, both or a number from 1 to {LARGEST_BATCH:,}, not {shortened(asked, 40)!r}"
    )


def run_name(asked: str | None) -> str | None:
    """The value of --name in one line. Raises RunOptionsError if it is empty or too long."""
    if asked is None:
        return None
    name = " ".join(visible(asked).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise RunOptionsError(f"--name needs 1 to {LONGEST_NAME} characters, not {len(name)}")
    return name


LONGEST_NAME = 80


def run(options: RunOptions, watcher: ProgressDisplay) -> Document:
    """Run ``bench`` or ``ready``, store it in the history, and write its report.

    Raises InterruptedRunError, RunOptionsError.
    """
    backend = choose_backend(options.backend)
    if options.tuned and options.backend:
        raise RunOptionsError("--tuned selects the backend: leave out --backend or --tuned")
    if options.tuned and options.devices:
        raise RunOptionsError("--devices trains with Keras' own layers: leave out --tuned or --devices")
    try:
        tuned_settings = settings.read() if options.tuned else None
    except settings.TunedSettingsError as error:
        raise RunOptionsError(str(error)) from error
    if options.baseline and (options.repeats or (1 if options.quick else 5)) < expectation.LEAST_PROCESSES:
        raise RunOptionsError(
            f"a baseline needs {expectation.LEAST_PROCESSES} processes per model or more, to "
            "estimate run-to-run variation: leave out --quick, or add --repeats 5"
        )
    recorder = RunRecorder(watcher)
    try:
        return _run(options, backend, recorder, watcher, tuned_settings)
    except KeyboardInterrupt:
        raise InterruptedRunError(recorder.interrupted() if recorder.started else None) from None
    finally:
        recorder.close()


def _run(
    options: RunOptions,
    backend: str,
    recorder: RunRecorder,
    watcher: ProgressDisplay,
    tuned_settings: settings.TunedSettings | None,
) -> Document:
    watcher.begin("machine", "reading its hardware")
    machine = gather.gather()
    devices = scaling.resolve(options.devices, machine)
    quick = options.quick
    if quick is None:
        quick = not machine.has_gpu and options.command == "ready" and recorder.first_run
    document = Document(
        command=options.command,
        verdict="not-ready",
        machine=machine,
        findings=(),
        started_at=now(),
        dlbox_version=importlib.metadata.version("dlbox"),
        partial=True,
        options={
            "quick": quick,
            "seed": options.seed,
            "backend": backend,
            "batch": options.batch,
            **({"name": options.name} if options.name else {}),
            **({"tuned": True} if options.tuned else {}),
            **({"devices": options.devices} if options.devices else {}),
        },
    )
    recorder.start(document)  # store it first, so that the history includes a run that is killed early
    findings: list[Finding] = []
    if options.health_checks or options.expect_gpus is not None:
        findings += health.run(machine, expect_gpus=options.expect_gpus)
    findings += scaling.judge_choice(options.devices, devices, machine)
    if options.health_checks:
        watcher.update("checking that the frameworks find the card")
        findings += [_unless_used(f, backend) for f in visibility.findings(machine)]
    watcher.done(_machine_line(machine))
    on_card = machine.has_gpu and not (devices is not None and devices.kind == "cpu")
    needed = quiet_machine.needed_cores(machine.host.cpu_threads, machine.host.cpu_cores, on_card=on_card)
    quiet_machine.before_training(watcher, needed, options.wait_for_quiet)
    from bench.measure import machine_probes  # imports numpy

    recorder.save(msgspec.structs.replace(recorder.document, findings=tuple(findings)))
    watcher.begin("probes", "matrix products, memory bandwidth, launch latency")
    probes = machine_probes.measure(machine, backend, 3.0 if quick else 6.0)
    findings += plausibility.judge_probes(probes)
    findings += expectation.unreadable()
    watcher.done(plausibility.probes_text(probes))
    recorder.save(msgspec.structs.replace(recorder.document, findings=tuple(findings), probes=probes))
    baselines = recorder.baselines()
    plan = training.Plan(
        backend=backend,
        seed=options.seed,
        repeats=options.repeats or (1 if quick else {"ready": 3}.get(options.command, 5)),
        train_seconds=5.0 if quick else 8.0 if options.command == "ready" else 15.0,
        watch_cards=any(gpu.handle.ok for gpu in machine.gpus),
        resident_seconds=1.0 if quick else 3.0,
        generic_seconds=1.0 if quick else 2.0,
    )
    batch = options.batch or (
        "both" if options.command == "bench" and not quick and devices is None else "workshop"
    )
    schedule = rounds.TrainingSchedule(
        batch=batch,
        judge=ResultJudge(
            machine=machine,
            baselines=() if options.baseline else tuple(baselines),
            runs=recorder.runs(),
            probes=probes,
            bill=options.bill,
            on_processor=devices is not None and devices.kind == "cpu",
            framework=_framework(machine, tuple(findings)),
            number=recorder.document.run_id,
        ),
        recorder=recorder,
        watcher=watcher,
        devices=devices,
        found=findings,
    )
    schedule.run([_entry(workload, plan, tuned_settings, machine) for workload in options.workloads])
    findings = schedule.findings
    why_not = expectation.why_no_baseline(findings, recorder.document)
    if options.baseline:
        findings.append(expectation.marked(recorder.document, why_not))
    document = msgspec.structs.replace(
        recorder.document,
        findings=tuple(findings),
        verdict=overall(findings, has_gpu=machine.has_gpu and not schedule.judge.on_processor),
        partial=False,
    )
    becomes_one = options.baseline and why_not is None
    recorder.finish(
        document,
        baseline_instead_of=expectation.superseded(document, recorder.baselines()) if becomes_one else None,
    )
    if options.report:
        watcher.begin("report", "writing the page")
        _report(options.output, recorder)
    return recorder.document


def _framework(machine: Machine, findings: Sequence[Finding]) -> Callable[[str], Finding]:
    """Returns the finding about a framework's access to the card. If it is not known yet, the first call runs the
    check."""

    @functools.cache
    def finding_of(name: str) -> Finding:
        known = (f for f in findings if (f.theme, f.check) == ("frameworks", name))
        return next(known, None) or visibility.findings(machine, only=(name,))[0]

    return finding_of


def _entry(
    workload: Workload, plan: training.Plan, tuned_settings: settings.TunedSettings | None, machine: Machine
) -> rounds.ScheduledWorkload:
    """``workload`` and the plan for its training: ``plan``, changed to the setting that the tuned settings (if
    given) contain for this workload."""
    if tuned_settings is None:
        return rounds.ScheduledWorkload(workload=workload, plan=plan)
    setting, finding = tuned.look_up(workload, tuned_settings, machine)
    plan = msgspec.structs.replace(
        plan,
        setting=setting,
        backend=setting.backend if setting else plan.backend,
        batch_kind="chosen" if setting and setting.batch_size else "workshop",
    )
    return rounds.ScheduledWorkload(workload=tuned.as_set(workload, setting), plan=plan, findings=(finding,))


def _report(folder: Path | None, recorder: RunRecorder) -> None:
    """Write the page to ``folder``; None: next to the history, readable by this user only."""
    from bench.results.report import page as report

    document = recorder.document
    path = ((folder or recorder.folder / "reports") / report.file_name(document)).absolute()
    document = msgspec.structs.replace(document, report=str(path))
    try:
        page = report.render(document, recorder.runs(), card_scores.measured())
        write_atomically(path, page, private=folder is None, follow=False)
    except OSError as error:
        again = f"`dlbox report {document.run_id}`" if document.run_id else "the same command again"
        recorder.report_problem(
            Finding(
                theme="results",
                check="report",
                status=Status.FAIL,
                title="the report was written",
                message=f"cannot write the report {path}: {reason(error)}; the results are stored",
                remedy=f"free some space or choose another folder with --output, then run {again}",
            )
        )
        document = msgspec.structs.replace(document, report=None)
    recorder.finish(document)


def _unless_used(finding: Finding, backend: str) -> Finding:
    """Reduce failures of frameworks that this run does not use to warnings."""
    if finding.check == backend or finding.status not in (Status.FAIL, Status.UNKNOWN):
        return finding
    remedy = finding.remedy or f"it matters only if you train with it: `--backend {finding.check}`"
    return msgspec.structs.replace(finding, status=Status.WARN, remedy=remedy)


def _machine_line(machine: Machine) -> str:
    host = machine.host
    names = [gpu.name.value or "an NVIDIA GPU" for gpu in machine.gpus] or [
        f"NVIDIA card {card.pci_id}" for card in machine.cards
    ]
    card = ", ".join(names) if names else "no NVIDIA card"
    memory = host.memory_bytes / 2**30
    return f"{card}; {host.cpu_model or 'CPU'}, {host.cpu_threads} threads, {memory:.0f} GiB; {host.distribution.name}"
