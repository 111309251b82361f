"""Training results as MLPerf log lines: one JSON object per line after ``:::MLLOG``.

MLPerf's own writer (``mlperf-logging``) needs pandas and SciPy and puts the path of the calling program into each
line, so this module writes the lines itself. The tests check them with MLPerf's encoder, parser and compliance
checker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document, Repeat, Result


def mllog(document: Document) -> str:
    """MLPerf log lines. Each process is a separate run in the namespace ``label/backend/number``.

    Only durations are measured, so ``time_ms`` adds them up from the start of the document; time between processes is
    not included. ``run_stop`` is "success" where the held-out accuracy reached the required minimum, and "aborted"
    where it did not or was not evaluated: only the first process is evaluated, the others are timed.
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
"""Each item: seconds since the previous event, event type, key, value, metadata."""


def _events(document: Document, result: Result, repeat: Repeat) -> Iterator[_Event]:
    point, start, end = "POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"
    host = document.machine.host
    yield 0, point, "submission_benchmark", result.workload, {"fingerprint": result.fingerprint}
    platform: dict[str, object] = {"host": host.hostname, "precision": result.precision, **result.versions}
    yield 0, point, "submission_platform", f"{result.device}, {host.cpu_model}", platform
    yield 0, point, "global_batch_size", result.batch_size, {}
    yield 0, point, "seed", repeat.seed, {}
    yield 0, start, "init_start", None, {"times": "sums of measured durations"}
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
    learning = ("seen" if learned else "missed") if judged else "not judged"
    yield 0, end, "run_stop", None, {"status": "success" if learned else "aborted", "learning": learning}


register(
    ExportFormat(
        option="mllog",
        source="run",
        target="file",
        help="A file of MLPerf log lines; - is stdout.",
        render=mllog,
    )
)
