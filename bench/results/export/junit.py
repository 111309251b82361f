"""Findings of `dlbox check` as JUnit XML, for test runners."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree  # nosec: this module writes XML and never parses it
from collections.abc import Sequence

from bench.finding import Finding, Status, noise
from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document


def junit_xml(document: Document) -> str:
    """One test suite per theme. "fail" is a failure, "unknown" an error, "skip" skipped; "warn" passes with output. A
    failure that only a disturbed measurement caused has the type "uncertain"."""
    noisy = noise(document.findings)
    root = ElementTree.Element("testsuites", name=_xml_text(f"dlbox {document.command}"))
    for theme in dict.fromkeys(f.theme for f in document.findings):
        group = [f for f in document.findings if f.theme == theme]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml_text(theme),
            tests=str(len(group)),
            failures=str(_count(group, Status.FAIL)),
            errors=str(_count(group, Status.UNKNOWN)),
            skipped=str(_count(group, Status.SKIP)),
            timestamp=_xml_text(document.started_at),
            hostname=_xml_text(document.machine.host.hostname or "localhost"),
        )
        if document.judged_from:
            properties = ElementTree.SubElement(suite, "properties")
            ElementTree.SubElement(
                properties, "property", name="judged_from", value=_xml_text(document.judged_from)
            )
        for finding in group:
            _case(suite, finding, noisy)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, finding: Finding, noisy: Sequence[Finding]) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_xml_text(f"dlbox.{finding.theme}"),
        name=_xml_text(f"{finding.id} {finding.title}"),
        time="0",
    )
    message = _xml_text(finding.message)
    text = _xml_text(f"{finding.message}\n-> {finding.remedy}" if finding.remedy else finding.message)
    if finding.status is Status.FAIL:
        kind = "uncertain" if finding in noisy else "fail"
        ElementTree.SubElement(case, "failure", message=message, type=kind).text = text
    elif finding.status is Status.UNKNOWN:
        ElementTree.SubElement(case, "error", message=message, type="unknown").text = text
    elif finding.status is Status.SKIP:
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = f"{finding.status.value}: {text}"


def _count(findings: Sequence[Finding], status: Status) -> int:
    return sum(1 for f in findings if f.status is status)


def _xml_text(text: str) -> str:
    """XML 1.0 allows no control characters, not even escaped ones: a question mark replaces each."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


register(
    ExportFormat(
        option="junit",
        source="check",
        target="file",
        help="Write a JUnit XML file too.",
        render=junit_xml,
    )
)
