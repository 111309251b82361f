"""Findings for other programs: JUnit XML for test runners, Prometheus text for node_exporter's textfile folder."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree  # nosec: written here, never parsed
from collections.abc import Sequence
from datetime import datetime

from bench.finding import Finding, Status
from bench.results.record.document import Document
from bench.results.record.grammar import harmless

STATUS_CODES = {Status.PASS: 0, Status.SKIP: 1, Status.WARN: 2, Status.FAIL: 3, Status.UNKNOWN: 4}
"""The number that stands for a status in Prometheus."""


def junit(document: Document) -> str:
    """One test suite a theme. A fail is a failure, unknown an error, skip skipped; a warn passes with output."""
    root = ElementTree.Element("testsuites", name=_legal(f"dlbox {document.command}"))
    for theme in dict.fromkeys(f.theme for f in document.findings):
        group = [f for f in document.findings if f.theme == theme]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_legal(theme),
            tests=str(len(group)),
            failures=str(_count(group, Status.FAIL)),
            errors=str(_count(group, Status.UNKNOWN)),
            skipped=str(_count(group, Status.SKIP)),
            timestamp=_legal(document.started_at),
            hostname=_legal(document.machine.host.hostname or "localhost"),
        )
        for finding in group:
            _case(suite, finding)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, finding: Finding) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_legal(f"dlbox.{finding.theme}"),
        name=_legal(f"{finding.id} {finding.title}"),
        time="0",
    )
    message = _legal(finding.message)
    text = _legal(f"{finding.message}\n-> {finding.remedy}" if finding.remedy else finding.message)
    if finding.status is Status.FAIL:
        ElementTree.SubElement(case, "failure", message=message, type="fail").text = text
    elif finding.status is Status.UNKNOWN:
        ElementTree.SubElement(case, "error", message=message, type="unknown").text = text
    elif finding.status is Status.SKIP:
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = f"{finding.status.value}: {text}"


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(1 for f in findings if f.status is status)


def _legal(text: str) -> str:
    """XML 1.0 has no control characters, not even escaped."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def prometheus(document: Document) -> str:
    """Gauges: the status of each check as a number, what it measured, whether the box is sound, and when."""
    codes = ", ".join(f"{code} {status.value}" for status, code in STATUS_CODES.items())
    lines = [f"# HELP dlbox_check_status Outcome of a check: {codes}.", "# TYPE dlbox_check_status gauge"]
    lines += [f"dlbox_check_status{_labels(f)} {STATUS_CODES[f.status]}" for f in document.findings]
    lines += [
        "# HELP dlbox_check_measured What a check measured, in its unit.",
        "# TYPE dlbox_check_measured gauge",
    ]
    lines += [
        f"dlbox_check_measured{_labels(f, unit=f.unit or '')} {_number(f.measured)}"
        for f in document.findings
        if isinstance(f.measured, int | float) and f.status not in (Status.SKIP, Status.UNKNOWN)
    ]
    lines += [
        "# HELP dlbox_sound Whether nothing failed and nothing is unknown.",
        "# TYPE dlbox_sound gauge",
        f"dlbox_sound {int(document.verdict != 'not-ready')}",
        "# HELP dlbox_gpus NVIDIA cards in this machine.",
        "# TYPE dlbox_gpus gauge",
        f"dlbox_gpus {document.machine.gpu_count}",
        "# HELP dlbox_check_timestamp_seconds When the checks ran, in seconds since 1970.",
        "# TYPE dlbox_check_timestamp_seconds gauge",
        f"dlbox_check_timestamp_seconds {datetime.fromisoformat(document.started_at).timestamp():.0f}",
    ]
    return "\n".join(lines) + "\n"


def _labels(finding: Finding, **more: str) -> str:
    gpu = "" if finding.subject is None else str(finding.subject)
    labels = {"check": f"{finding.theme}.{finding.check}", "theme": finding.theme, "gpu": gpu, **more}
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """For a label; other control characters end no line in this format, and are no text in any."""
    return harmless(value, keep="\n").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: int | float) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if math.isfinite(value):
        return str(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
