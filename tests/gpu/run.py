"""Check dlbox on a machine with an NVIDIA card, in at most 8 minutes: ``tests/gpu/run.sh [--output FOLDER]``.

Each step is a process with its own time limit. A failed step does not end the run. The folder gets the output of each
step, summary.md for people and summary.json for programs. Steps that need a card are skipped on a machine without one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gpu import verdicts

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ("lstm", "gru", "cnn-lstm")
LIMIT_S = 470.0
"""Time for all steps; with the start and the summary the run stays below 8 minutes."""
LEAST_S = 5.0
"""With less time left a step is skipped, because it would be stopped before it says anything."""

Judge = Callable[["Context", str], tuple[bool, str]]
"""Whether the step passed, and why, by its standard output."""


@dataclass(frozen=True)
class Context:
    """What all steps share."""

    output: Path
    backend: str
    card: bool
    results: dict[str, str]
    """Standard output of the steps that ended, by name."""


@dataclass(frozen=True)
class Step:
    """One process. command: arguments for Python. codes: exit codes with which the output is judged."""

    name: str
    what: str
    timeout_s: float
    command: tuple[str, ...]
    judge: Judge
    needs_card: bool = False
    codes: tuple[int, ...] = (0, 1)


@dataclass
class StepResult:
    """How a step ended: "passed", "failed" or "skipped"."""

    name: str
    what: str
    status: str
    why: str
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)


def steps(output: Path, backend: str) -> list[Step]:
    """All steps in their order: the cheap ones first, so that a short run is useful too."""
    bench = ("-P", "dlbox.py", "bench", "--quick", "--batch", "workshop", "--backend", backend, "--json")
    found = [
        Step("record", "readings of this machine as a scenario", 20,
             ("-P", "-m", "tests.gpu.record", str(output / "scenario.yml")), verdicts.recorded, codes=(0,)),
        Step("check", "health checks", 20, ("-P", "dlbox.py", "check", "--json"), verdicts.checked),
        Step("replay", "the recorded scenario gives the findings of the machine", 20,
             ("-P", "-m", "tests.gpu.replay", str(output / "scenario.yml")), verdicts.replayed, codes=(0,)),
        Step("plan", "the plan for this machine", 15, ("-P", "dlbox.py", "plan", "--json"), verdicts.planned),
        Step("probes", "matrix peak, bandwidth, launch latency", 60,
             ("-P", "-m", "tests.gpu.probes", backend), verdicts.probed),
    ]  # fmt: skip
    for model in MODELS:
        out = ("--output", str(output / f"report-{model}"))
        found += [
            Step(f"bench-{model}", f"training {model}, and its kernel", 60, (*bench, "--workload", model, *out),
                 verdicts.trained(model)),
            Step(f"cudnn-{model}", f"cuDNN without Keras, {model}", 25,
                 ("-P", "-m", "tests.gpu.raw_cudnn", backend, model, "3"), verdicts.compared(model), needs_card=True),
        ]  # fmt: skip
    faults = ("-P", "-m", "tests.gpu.faults")
    found += [
        Step("fault-generic", "planted: the generic kernel is found", 60,
             (*faults, "generic", backend, "lstm", str(output / "report-generic")),
             verdicts.names_fault("lstm", "kernel"), needs_card=True),
        Step("fault-busy", "planted: a second process on the card is found", 75,
             (*faults, "busy", backend, "lstm", str(output / "report-busy")),
             verdicts.names_fault("lstm", "alone"), needs_card=True),
        Step("stress", "health checks under load for a minute", 120,
             ("-P", "dlbox.py", "check", "--stress", "1", "--backend", backend, "--json"), verdicts.checked,
             needs_card=True),
    ]  # fmt: skip
    return found


def run(step: Step, context: Context, left_s: float) -> StepResult:
    """Run one step, for at most its own limit and the time that is left."""
    result = StepResult(step.name, step.what, "skipped", "")
    if step.needs_card and not context.card:
        result.why = "this machine has no NVIDIA card that the driver shows"
        return result
    if left_s < LEAST_S:
        result.why = "no time was left"
        return result
    limit = min(step.timeout_s, left_s)
    out, err = (context.output / f"{step.name}.{kind}" for kind in ("out", "err"))
    began = time.monotonic()
    code = _process(step.command, context, limit, out, err)
    result.seconds = round(time.monotonic() - began, 1)
    result.files = [file.name for file in (out, err) if file.stat().st_size]
    text = out.read_text(encoding="utf-8", errors="replace")
    context.results[step.name] = text
    if code is None:
        result.status, result.why = "failed", f"did not end within {limit:.0f} s; killed"
    elif code not in step.codes:
        last = err.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        result.status, result.why = "failed", f"exit code {code}: {' '.join(last)[:200] or 'no message'}"
    else:
        try:
            passed, result.why = step.judge(context, text)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            passed, result.why = False, f"the output cannot be read ({type(error).__name__}: {error})"[:200]
        result.status = "passed" if passed else "failed"
    return result


def _process(command: tuple[str, ...], context: Context, limit: float, out: Path, err: Path) -> int | None:
    """The exit code, or None if the process was killed because its time was over."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": context.backend,
        "XDG_DATA_HOME": str(context.output / "data"),  # the history of this machine stays as it is
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the step's own session, children included
            process.wait()


def has_card() -> bool:
    """Whether the driver shows a card."""
    code = "import pynvml; pynvml.nvmlInit(); raise SystemExit(pynvml.nvmlDeviceGetCount() < 1)"
    try:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=15).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def installed_backend() -> str | None:
    """The first of the frameworks with code for new cards that is installed."""
    return next((name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)), None)


def summary(results: list[StepResult], context: Context, seconds: float) -> str:
    """The summary for people, as Markdown."""
    counts = {s: sum(r.status == s for r in results) for s in ("passed", "failed", "skipped")}
    lines = [
        "# dlbox on this machine",
        "",
        f"{', '.join(f'{number} {status}' for status, number in counts.items())} in {seconds:.0f} s, "
        f"{'with' if context.card else 'without'} a card, framework: {context.backend}.",
        "",
        "| step | result | seconds | what | why |",
        "|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.status} | {r.seconds:g} | {r.what} | {r.why.replace('|', '/')} |"
            for r in results
        ),
        "",
        "`scenario.yml` is the machine as a test scenario (identifiers replaced): copy it to `tests/scenarios/`.",
    ]
    return "\n".join(lines) + "\n"


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/gpu/run.sh", description=__doc__)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    parser.add_argument("--output", type=Path, default=Path(f"gpu-{stamp}"), help="folder of all output")
    parser.add_argument("--steps", default="", help="only these steps, separated by commas")
    parser.add_argument(
        "--backend", choices=("torch", "jax", "tensorflow"), help="default: the first installed"
    )
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="time for all steps")
    parser.add_argument(
        "--list", action="store_true", help="list the steps and their time limits, and run nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 if no step failed, 1 if one failed, 2 for wrong arguments."""
    options = _arguments(arguments)
    output: Path = options.output.absolute()
    backend = options.backend or installed_backend() or "torch"
    chosen = steps(output, backend)
    if options.list:
        for step in chosen:
            note = ", needs a card" if step.needs_card else ""
            print(f"{step.name:15} {step.what} (at most {step.timeout_s:.0f} s{note})")
        return 0
    names = {step.name for step in chosen}
    asked = [name for name in options.steps.split(",") if name]
    if unknown := [name for name in asked if name not in names]:
        print(f"run.sh: no step {unknown[0]}: --list shows the steps", file=sys.stderr)
        return 2
    output.mkdir(parents=True, exist_ok=True)
    context = Context(output, backend, has_card(), {})
    began = time.monotonic()
    results: list[StepResult] = []
    for step in chosen:
        if asked and step.name not in asked:
            continue
        result = run(step, context, options.limit - (time.monotonic() - began))
        results.append(result)
        print(f"{result.status:8} {result.name:15} {result.seconds:5.1f} s  {result.why}", flush=True)
        _write(output, results, context, time.monotonic() - began)
    return int(any(result.status == "failed" for result in results))


def _write(output: Path, results: list[StepResult], context: Context, seconds: float) -> None:
    """Written after each step, so that a run that is killed leaves what it found."""
    (output / "summary.md").write_text(summary(results, context, seconds), encoding="utf-8")
    document: dict[str, Any] = {
        "card": context.card,
        "backend": context.backend,
        "seconds": round(seconds, 1),
        "steps": [asdict(result) for result in results],
    }
    (output / "summary.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
