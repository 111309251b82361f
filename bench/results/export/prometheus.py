"""Findings of `dlbox check` as Prometheus text, for the textfile folder of node_exporter."""

from __future__ import annotations

import math
from datetime import datetime

from bench.finding import Finding, Status, is_sound
from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document
from bench.results.record.grammar import harmless

STATUS_CODES = {Status.PASS: 0, Status.SKIP: 1, Status.WARN: 2, Status.FAIL: 3, Status.UNKNOWN: 4}
"""Status -> its number in Prometheus."""


def prometheus_text(document: Document) -> str:
    """Prometheus gauges for the status of each check (as a number), its measured value, the verdict, and the time of
    the checks."""
    codes = ", ".join(f"{code} {status.value}" for status, code in STATUS_CODES.items())
    lines = [f"# HELP dlbox_check_status Status of a check: {codes}.", "# TYPE dlbox_check_status gauge"]
    lines += [f"dlbox_check_status{_labels(f)} {STATUS_CODES[f.status]}" for f in document.findings]
    lines += [
        "# HELP dlbox_check_measured Value that a check measured, in its unit.",
        "# TYPE dlbox_check_measured gauge",
    ]
    lines += [
        f"dlbox_check_measured{_labels(f, unit=f.unit or '')} {_number(f.measured)}"
        for f in document.findings
        if isinstance(f.measured, int | float) and f.status not in (Status.SKIP, Status.UNKNOWN)
    ]
    lines += [
        "# HELP dlbox_sound 1 if no check failed and none is unknown, else 0 (also for the verdict uncertain).",
        "# TYPE dlbox_sound gauge",
        f"dlbox_sound {int(is_sound(document.verdict))}",
        "# HELP dlbox_gpus NVIDIA cards in this machine.",
        "# TYPE dlbox_gpus gauge",
        f"dlbox_gpus {document.machine.gpu_count}",
        "# HELP dlbox_check_timestamp_seconds When the checks ran, in seconds since 1970.",
        "# TYPE dlbox_check_timestamp_seconds gauge",
        f"dlbox_check_timestamp_seconds {datetime.fromisoformat(document.started_at).timestamp():.0f}",
    ]
    if document.machine.source is not None:
        lines += [
            "# HELP dlbox_source_info The report that the checks were made from, in place of the machine itself.",
            "# TYPE dlbox_source_info gauge",
            f'dlbox_source_info{{source="{_escaped(document.machine.source.name)}"}} 1',
        ]
    return "\n".join(lines) + "\n"


def _labels(finding: Finding, **more: str) -> str:
    gpu = "" if finding.subject is None else str(finding.subject)
    labels = {"check": f"{finding.theme}.{finding.check}", "theme": finding.theme, "gpu": gpu, **more}
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Escape the value of a label. Control characters other than line breaks are replaced."""
    return harmless(value, keep="\n").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: int | float) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if math.isfinite(value):
        return str(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


register(
    ExportFormat(
        option="prometheus",
        source="check",
        target="file",
        help="Write a file for node_exporter's textfile folder too.",
        render=prometheus_text,
    )
)
