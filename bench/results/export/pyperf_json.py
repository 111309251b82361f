"""Training results as JSON for ``pyperf compare_to``."""

from __future__ import annotations

import json
import platform
import re

from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document, Repeat, Result, with_distinct_kinds


def pyperf_json(document: Document) -> str:
    """JSON of pyperf 1.0 and later: seconds per training step, one pyperf run per process.

    pyperf's significance test treats all blocks as independent; ``dlbox compare`` does not
    (``bench.results.stats.intervals``).
    """
    host = document.machine.host
    common = _clean(
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
            "metadata": _clean(
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
        for r, kind in with_distinct_kinds(document.results)
        if r.blocks
    ]
    return json.dumps({"benchmarks": benchmarks, "metadata": common, "version": "1.0"}) + "\n"


def _name(result: Result, kind: str) -> str:
    """A name that is unique within a document, even if two results have the same batch size."""
    parts = (result.workload, result.backend, result.precision, kind, f"batch {result.batch_size}")
    name = " ".join(filter(None, parts))
    return name if result.devices == 1 else f"{name} on {result.devices} devices"


def _run(repeat: Repeat) -> dict[str, object]:
    steps = {block.steps for block in repeat.blocks}
    metadata: dict[str, object] = {"seed": repeat.seed}
    if len(steps) == 1:
        metadata["loops"] = steps.pop()
    return {"metadata": metadata, "values": [block.seconds / block.steps for block in repeat.blocks]}


def _clean(metadata: dict[str, str | int]) -> dict[str, str | int]:
    """pyperf accepts neither empty strings nor line breaks."""
    lines = {k: re.sub(r"\s+", " ", v).strip() if isinstance(v, str) else v for k, v in metadata.items()}
    return {name: value for name, value in lines.items() if value != ""}


register(
    ExportFormat(
        option="pyperf",
        source="run",
        target="file",
        help="A file for `pyperf compare_to`; - is stdout.",
        render=pyperf_json,
    )
)
