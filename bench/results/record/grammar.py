"""Patterns that names in a result document must match, whether it comes from the history, an export or a file.

Names become parts of file names, charts and labels in formats of other programs. Free text (messages, processor and
card models) does not; it is escaped where it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bench.results.record.document import Document, Result

_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9.+_~:()/ -]{0,100}")
_FINDING = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(\+00:00|Z)")
_HOST = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\<>|\"'`$;&{}]{0,255}")
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f\\<>|\"`${}]{1,200}")
"""Pattern for names of reasons, other programs ("python (4242)") and environment variables."""

_STEERING = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Characters that change the reading direction of the text after them, or break the line."""

_CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff{_STEERING}]")
"""Control characters of terminals, and code points that are not text."""


def steers(text: str) -> bool:
    """Whether ``text`` has control characters other than tabs and line breaks, or changes the reading direction."""
    return _CONTROLS.search(text) is not None


def harmless(text: str, *, keep: str = "") -> str:
    """``text`` in one line: a question mark replaces each control character, a space each line break and tab.

    ``keep``: which of the two characters line break and tab are not replaced.
    """
    return "".join(" " if c in "\n\t" and c not in keep else c for c in _CONTROLS.sub("?", text))


def misnamed(document: Document) -> str | None:
    """The first name that does not match its pattern, as one clause with the field's name, or None."""
    for where, pattern, value in _names(document):
        if not pattern.fullmatch(value):
            return (
                f"`{where}` is not a name that dlbox writes"
                if pattern is not _TIME
                else f"`{where}` is not a time"
            )
    return None


_Named = tuple[str, re.Pattern[str], str]


def _names(document: Document) -> Iterator[_Named]:
    yield "command", _COMMAND, document.command
    yield "dlbox_version", _VERSION, document.dlbox_version
    yield "started_at", _TIME, document.started_at
    yield "machine.host.hostname", _HOST, document.machine.host.hostname
    yield from _keys("machine.host.variables", _KEY, document.machine.host.variables)
    yield from _keys("options", _NAME, document.options)
    for finding in document.findings:
        yield "findings.id", _FINDING, finding.id
    if document.probes is not None:
        yield "probes.backend", _NAME, document.probes.backend
        yield from _keys("probes.matmul_tflops", _NAME, document.probes.matmul_tflops)
        yield from _keys("probes.troubles", _KEY, document.probes.troubles)
    for result in document.results:
        yield from _names_of(result)


def _names_of(result: Result) -> Iterator[_Named]:
    for field in ("workload", "backend", "precision", "fingerprint"):
        yield f"results.{field}", _NAME, getattr(result, field)
    yield from _keys("results.versions", _NAME, result.versions)
    for version in result.versions.values():
        yield "results.versions", _VERSION, version
    if result.setting is not None:
        yield "results.setting.backend", _NAME, result.setting.backend
    summary = result.telemetry.summary if result.telemetry is not None else None
    if summary is not None:
        for field in ("harmful_seconds", "harmless_seconds", "slow_shares", "other_programs_percent"):
            yield from _keys(f"results.telemetry.summary.{field}", _KEY, getattr(summary, field) or ())


def _keys(where: str, pattern: re.Pattern[str], names: Iterable[str]) -> Iterator[_Named]:
    for name in names:
        yield where, pattern, name
