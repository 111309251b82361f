"""Results for other programs: a table (CSV), MLPerf's log lines, the JSON of pyperf and of pytest-benchmark.

Pure: text comes out, nothing is written.

MLPerf's format is one JSON object a line behind ``:::MLLOG``. Its own writer (``mlperf-logging``) wants pandas
and SciPy installed and notes the path of the program on this machine in each line, so the lines are
written here, and the tests hold them against its encoder, its parser and its compliance checker.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import re
import statistics
from collections.abc import Callable, Iterator
from datetime import datetime

from bench.results.record.document import Document, Repeat, Result, apart

_COLUMNS: dict[str, Callable[[Document, Result], object]] = {
    "run_id": lambda d, r: d.run_id,
    "started_at": lambda d, r: d.started_at,
    "hostname": lambda d, r: d.machine.host.hostname,
    "cpu_model": lambda d, r: d.machine.host.cpu_model,
    "cpu_threads": lambda d, r: d.machine.host.cpu_threads,
    "driver_version": lambda d, r: d.machine.driver.library_version.value,
    "device": lambda d, r: r.device,
    "workload": lambda d, r: r.workload,
    "variant": lambda d, r: r.variant,
    "backend": lambda d, r: r.backend,
    "backend_version": lambda d, r: r.versions.get(r.backend),
    "keras_version": lambda d, r: r.versions.get("keras"),
    "precision": lambda d, r: r.precision,
    "batch_size": lambda d, r: r.batch_size,
    "samples_per_second": lambda d, r: r.samples_per_second.median,
    "samples_per_second_mad": lambda d, r: r.samples_per_second.mad,
    "processes": lambda d, r: len(r.repeats),
    "blocks": lambda d, r: len(r.blocks),
    "step_seconds_p5": lambda d, r: r.step_seconds.p5,
    "step_seconds_p50": lambda d, r: r.step_seconds.p50,
    "step_seconds_p95": lambda d, r: r.step_seconds.p95,
    "single_step_seconds_p5": lambda d, r: r.single_step_seconds.p5 if r.single_step_seconds else None,
    "single_step_seconds_p50": lambda d, r: r.single_step_seconds.p50 if r.single_step_seconds else None,
    "single_step_seconds_p95": lambda d, r: r.single_step_seconds.p95 if r.single_step_seconds else None,
    "import_seconds": lambda d, r: r.import_seconds,
    "compile_seconds": lambda d, r: r.compile_seconds,
    "accuracy": lambda d, r: r.accuracy,
    "examples_seen": lambda d, r: r.examples_seen,
    "gpu_utilisation_mean_percent": lambda d, r: _of_card(r, "utilisation_mean_percent"),
    "gpu_peak_memory_bytes": lambda d, r: _of_card(r, "peak_memory_bytes"),
    "gpu_sm_mhz_median": lambda d, r: _of_card(r, "sm_mhz_median"),
    "gpu_temperature_max_c": lambda d, r: _of_card(r, "temperature_max_c"),
    "gpu_power_mean_w": lambda d, r: _of_card(r, "power_mean_w"),
    "gpu_energy_method": lambda d, r: _of_card(r, "energy_method"),
    "gpu_energy_joules_per_1000_samples": lambda d, r: _of_card(r, "energy_joules_per_1000_samples"),
    "batch_kind": lambda d, r: r.batch_kind,
    "tokens_per_second": lambda d, r: r.tokens_per_second,
    "tokens_per_second_mad": lambda d, r: r.tokens.mad if r.tokens else None,
    "tokens_interval_low": lambda d, r: r.tokens.low if r.tokens else None,
    "tokens_interval_high": lambda d, r: r.tokens.high if r.tokens else None,
    "interval_low": lambda d, r: r.interval.low if r.interval else None,
    "interval_high": lambda d, r: r.interval.high if r.interval else None,
    "input_share": lambda d, r: r.input.share if r.input else None,
    "peak_memory_bytes": lambda d, r: r.memory.peak_bytes if r.memory else None,
    "peak_memory_method": lambda d, r: r.memory.method if r.memory else None,
    "flop_per_sample": lambda d, r: r.work.flop_per_sample if r.work else None,
    "bytes_per_sample": lambda d, r: r.work.bytes_per_sample if r.work else None,
    "achieved_tflops": lambda d, r: r.achieved_tflops,
    "share_of_measured_peak": lambda d, r: r.share_of_measured_peak,
    "share_of_card_peak": lambda d, r: r.share_of_card_peak,
    "gpu_held_down_seconds": lambda d, r: _held_down(r),
    "samples_per_second_per_watt": lambda d, r: _of_card(r, "samples_per_second_per_watt"),
    "samples_per_second_per_usd": lambda d, r: r.price.samples_per_second_per_usd if r.price else None,
    "priced_on": lambda d, r: r.price.priced_on if r.price else None,
    "kernel_path": lambda d, r: r.kernel.path if r.kernel else None,
    "other_cpu_cores": lambda d, r: statistics.median([b.other_cpu_cores for b in r.blocks] or [0.0]),
    "devices": lambda d, r: r.devices,
    "scaling_efficiency": lambda d, r: r.scaling.efficiency if r.scaling else None,
    "setting": lambda d, r: r.trained_as,
    "data": lambda d, r: r.data,
    "fingerprint": lambda d, r: r.fingerprint,
    "partial": lambda d, r: r.partial,
    "dlbox_version": lambda d, r: d.dlbox_version,
}
"""Units are in the names; what was not measured is an empty field."""


def _of_card(result: Result, name: str) -> object:
    """A figure of what the card did meanwhile, or None."""
    told = result.telemetry.summary if result.telemetry is not None else None
    return getattr(told, name, None)


def _held_down(result: Result) -> float | None:
    """Seconds by heat or a power fault, or None where nobody looked."""
    told = _of_card(result, "harmful_seconds")
    return sum(told.values()) if isinstance(told, dict) else None


def table(document: Document) -> str:
    """CSV with a heading, one row a result; rows of several boxes can be put below each other."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in document.results:
        writer.writerow([_inert(column(document, result)) for column in _COLUMNS.values()])
    return buffer.getvalue()


def _inert(cell: object) -> object:
    """A text that a spreadsheet would take for a formula, with the apostrophe before it that makes it text there
    (https://owasp.org/www-community/attacks/CSV_Injection). Numbers are no text and stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip()[:1] in tuple("=+-@") else cell


def mllog(document: Document) -> str:
    """MLPerf log lines: each process is a run of its own in the namespace ``label/backend/number``.

    Only durations are measured, so ``time_ms`` counts them up from the start of the document; what passed
    between processes is not in it. ``run_stop`` is "success" where held-out accuracy reached the bar and
    "aborted" where it did not or was not looked at: after the first process training is only timed.
    """
    clock = datetime.fromisoformat(document.started_at).timestamp()
    lines = []
    for result in document.results:
        for number, repeat in enumerate(result.repeats):
            namespace = f"{result.label}/{result.backend}/{number}"
            for seconds, kind, name, value, metadata in _events(document, result, repeat):
                clock += seconds
                entry = {
                    "namespace": namespace,
                    "time_ms": round(clock * 1000),
                    "event_type": kind,
                    "key": name,
                    "value": value,
                    "metadata": metadata,
                }
                lines.append(f":::MLLOG {json.dumps(entry)}\n")
    return "".join(lines)


_Event = tuple[float, str, str, object, dict[str, object]]
"""Seconds since the one before it, event type, key, value, metadata."""


def _events(document: Document, result: Result, repeat: Repeat) -> Iterator[_Event]:
    point, start, end = "POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"
    host = document.machine.host
    yield 0, point, "submission_benchmark", result.workload, {"fingerprint": result.fingerprint}
    about: dict[str, object] = {"host": host.hostname, "precision": result.precision, **result.versions}
    yield 0, point, "submission_platform", f"{result.device}, {host.cpu_model}", about
    yield 0, point, "global_batch_size", result.batch_size, {}
    yield 0, point, "seed", repeat.seed, {}
    yield 0, start, "init_start", None, {"times": "counted up from measured durations"}
    yield (repeat.import_seconds or 0.0) + (repeat.compile_seconds or 0.0), end, "init_stop", None, {}
    yield 0, start, "run_start", None, {}
    seen = 0
    for block in repeat.blocks:
        yield 0, start, "block_start", None, {"samples_count": seen}
        seen += block.examples
        yield block.seconds, end, "block_stop", None, {"samples_count": seen}
        yield 0, point, "tracked_stats", {"throughput": block.samples_per_second}, {"samples_count": seen}
    if repeat.accuracy is not None:
        yield 0, point, "eval_accuracy", repeat.accuracy, {"samples_count": repeat.examples_seen}
    judged = repeat.accuracy is not None and result.accuracy_bar > 0
    learned = judged and (repeat.accuracy or 0.0) >= result.accuracy_bar
    told = ("seen" if learned else "missed") if judged else "not judged"
    yield 0, end, "run_stop", None, {"status": "success" if learned else "aborted", "learning": told}


def pyperf(document: Document) -> str:
    """JSON of pyperf 1.0 and later, for ``pyperf compare_to``: seconds of a training step, one run a process.

    Its own test takes all blocks for independent; ``dlbox compare`` does not (``bench.results.stats.intervals``).
    """
    host = document.machine.host
    common = _told(
        {
            "unit": "second",
            "hostname": host.hostname,
            "cpu_model_name": host.cpu_model,
            "cpu_count": host.cpu_threads,
            "python_version": host.python_version or platform.python_version(),
            "dlbox_version": document.dlbox_version,
            "started_at": document.started_at,
        }
    )
    benchmarks = [
        {
            "metadata": _told(
                {
                    "name": _name(r, kind),
                    "device": r.device,
                    "fingerprint": r.fingerprint,
                    **{
                        f"{name}_version": version for name, version in r.versions.items() if name != "python"
                    },
                }
            ),
            "runs": [_run(repeat) for repeat in r.repeats if repeat.blocks],
        }
        for r, kind in apart(document.results)
        if r.blocks
    ]
    return json.dumps({"benchmarks": benchmarks, "metadata": common, "version": "1.0"}) + "\n"


def _name(result: Result, kind: str) -> str:
    """One for each result of a document: a batch may be shared by one device and be another's best."""
    parts = (result.workload, result.backend, result.precision, kind, f"batch {result.batch_size}")
    name = " ".join(filter(None, parts))
    return name if result.devices == 1 else f"{name} on {result.devices} devices"


def _run(repeat: Repeat) -> dict[str, object]:
    steps = {block.steps for block in repeat.blocks}
    metadata: dict[str, object] = {"seed": repeat.seed}
    if len(steps) == 1:
        metadata["loops"] = steps.pop()
    return {"metadata": metadata, "values": [block.seconds / block.steps for block in repeat.blocks]}


def _told(metadata: dict[str, str | int]) -> dict[str, str | int]:
    """pyperf takes no empty text and no line breaks."""
    lines = {k: re.sub(r"\s+", " ", v).strip() if isinstance(v, str) else v for k, v in metadata.items()}
    return {name: value for name, value in lines.items() if value != ""}


def pytest_benchmark(document: Document) -> str:
    """JSON as ``pytest --benchmark-json`` writes it, for ``pytest-benchmark compare``: one round a timed block,
    in seconds a training step."""
    host = document.machine.host
    return (
        json.dumps(
            {
                "machine_info": {
                    "node": host.hostname,
                    "machine": host.architecture,
                    "release": host.kernel,
                    "system": "Linux",
                    "python_version": host.python_version,
                    "cpu": {"brand_raw": host.cpu_model, "count": host.cpu_threads},
                },
                "commit_info": {
                    "id": "unversioned",
                    "dirty": False,
                    "project": "dlbox",
                    "branch": "(unknown)",
                },
                "benchmarks": [_benchmark(r, kind) for r, kind in apart(document.results) if r.blocks],
                "datetime": document.started_at,
                "version": "5.0.0",
                "dlbox_version": document.dlbox_version,
            }
        )
        + "\n"
    )


def _benchmark(result: Result, kind: str) -> dict[str, object]:
    params: dict[str, str | int] = {
        "backend": result.backend,
        "precision": result.precision,
        "batch_size": result.batch_size,
    }
    if result.devices > 1:
        params["devices"] = f"{result.devices}-devices"
    if kind:
        params["batch_kind"] = kind
    param = "-".join(str(value) for value in params.values())
    name = f"{result.workload}[{param}]"
    return {
        "group": result.workload,
        "name": name,
        "fullname": f"dlbox::{name}",
        "params": params,
        "param": param,
        "extra_info": {
            "samples_per_second": result.samples_per_second.median,
            "processes": len(result.repeats),
            "accuracy": result.accuracy,
            "device": result.device,
            "fingerprint": result.fingerprint,
            "partial": result.partial,
            "versions": result.versions,
        },
        "options": {"timer": "perf_counter", "disable_gc": False, "warmup": True},
        "stats": _rounds([block.seconds / block.steps for block in result.blocks]),
    }


def _rounds(seconds: list[float]) -> dict[str, object]:
    """The figures of ``pytest_benchmark.stats.Stats``. Its quartiles are methods 2 (even) and 3 (odd counts) of
    https://en.wikipedia.org/wiki/Quartile#Computing_methods; fences lie 1.5 quartile ranges outside."""
    ordered, count = sorted(seconds), len(seconds)
    mean, median = statistics.fmean(ordered), statistics.median(ordered)
    deviation = statistics.stdev(ordered) if count > 1 else 0.0
    half, quarter = count // 2, count // 4
    if count == 1:
        q1 = q3 = median
    elif count % 2 == 0:
        q1, q3 = statistics.median(ordered[:half]), statistics.median(ordered[half:])
    elif count % 4 == 1:
        q1 = 0.25 * ordered[quarter - 1] + 0.75 * ordered[quarter]
        q3 = 0.75 * ordered[3 * quarter] + 0.25 * ordered[3 * quarter + 1]
    else:
        q1 = 0.75 * ordered[quarter] + 0.25 * ordered[quarter + 1]
        q3 = 0.25 * ordered[3 * quarter + 1] + 0.75 * ordered[3 * quarter + 2]
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond_fences = sum(not low <= value <= high for value in ordered)
    beyond_deviation = sum(abs(value - mean) > deviation for value in ordered) if count > 1 else 0
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": count,
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_fences,
        "stddev_outliers": beyond_deviation,
        "outliers": f"{beyond_deviation};{beyond_fences}",
        "ld15iqr": min(value for value in ordered if value >= low),
        "hd15iqr": max(value for value in ordered if value <= high),
        "ops": count / sum(ordered),
        "total": sum(ordered),
        "data": seconds,
        "iterations": 1,
    }


FORMATS: dict[str, Callable[[Document], str]] = {
    "csv": table,
    "mllog": mllog,
    "pyperf": pyperf,
    "pytest_benchmark_json": pytest_benchmark,
}
