"""Training results as JSON for ``pytest-benchmark compare``."""

from __future__ import annotations

import json
import statistics

from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document, Result, with_distinct_kinds


def pytest_benchmark_json(document: Document) -> str:
    """JSON as ``pytest --benchmark-json`` writes it: one round per timed block, in seconds per training step."""
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
                "benchmarks": [
                    _benchmark(r, kind) for r, kind in with_distinct_kinds(document.results) if r.blocks
                ],
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
    """The statistics of ``pytest_benchmark.stats.Stats``, in seconds.

    Its quartiles are methods 2 (even counts) and 3 (odd counts) of
    https://en.wikipedia.org/wiki/Quartile#Computing_methods; the fences lie 1.5 interquartile ranges outside.
    """
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


register(
    ExportFormat(
        option="pytest-benchmark-json",
        source="run",
        target="file",
        help="A file for `pytest-benchmark compare`; - is stdout.",
        render=pytest_benchmark_json,
    )
)
