"""The first lines of the report: what trained, its verdict, its score, and how fast it should be."""

from __future__ import annotations

import datetime
import math
import re
import statistics

import msgspec

from bench.finding import TRAINING, Finding, words
from bench.results.record.document import Document
from bench.results.stats import score
from bench.results.stats.score import Score


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """``subject``: the card or processor that trained. ``word`` and ``meaning``: the verdict. ``should``: its speed
    relative to what is known of it, or "". ``state``: the verdict as a CSS class, "partial" for an interrupted run."""

    subject: str
    word: str
    meaning: str
    score: Score | None
    should: str
    state: str
    day: str

    @property
    def score_text(self) -> str:
        """The score as a whole number; "" without one."""
        return "" if self.score is None else f"{self.score.value:,.0f}"

    @property
    def half_text(self) -> str:
        half = self.score.half if self.score else None
        return "" if half is None else f"± {half:,.0f}"


def of(document: Document) -> Headline:
    """The headline of a run."""
    word, meaning = words(document.verdict, has_gpu=document.machine.has_gpu, findings=document.findings)
    if document.partial:
        word, meaning = "INTERRUPTED", "the results until then are below, marked partial."
    return Headline(
        subject=subject(document),
        word=word,
        meaning=meaning,
        score=None if document.partial else score.of(document),
        should=should(document),
        state="partial" if document.partial else document.verdict,
        day=day(document.started_at),
    )


def subject(document: Document) -> str:
    """Names of the cards, else the processor, without the words that every product of a vendor has."""
    named = [gpu.name.value for gpu in document.machine.gpus if gpu.name.value]
    named = named or list(
        dict.fromkeys(r.device for r in document.results if r.on_gpu and "cuda" not in r.device)
    )
    if named:
        counts = {name: named.count(name) for name in dict.fromkeys(named)}
        return ", ".join(
            (f"{count} x " if count > 1 else "") + name.removeprefix("NVIDIA ").removeprefix("GeForce ")
            for name, count in counts.items()
        )
    model = re.sub(r"\((R|TM|tm|r)\)|\bCPU\b|\bProcessor\b|@.*", " ", document.machine.host.cpu_model)
    return " ".join(model.split()) or "processor"


def should(document: Document) -> str:
    """How fast this run is in comparison with the bands of its card, else its baseline, else its probes."""
    for check, made in (("band", _band), ("baseline", _baseline), ("predicted", _predicted)):
        found = [f for f in document.findings if (f.theme, f.check) == (TRAINING, check) and _ratio(f)]
        if found:
            return made(document, found)
    return ""


def _ratio(finding: Finding) -> float | None:
    """Measured divided by expected speed, if both are known."""
    one, other = finding.measured, finding.expected
    if isinstance(one, bool) or isinstance(other, bool) or finding.unit != "samples/s":
        return None
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return None
    if not (math.isfinite(one) and math.isfinite(other) and one > 0 and other > 0):
        return None
    return float(one) / float(other)


def _percent(findings: list[Finding]) -> str:
    """Geometric mean of the ratios in percent; with several, ± the standard error of their mean."""
    logs = [math.log(ratio) for ratio in map(_ratio, findings) if ratio]
    value = 100 * math.exp(statistics.fmean(logs))
    if len(logs) < 3:
        return f"{value:.0f}%"
    return f"{value:.0f}% ± {value * statistics.stdev(logs) / math.sqrt(len(logs)):.0f}"


def _models(findings: list[Finding]) -> str:
    return "1 model" if len(findings) == 1 else f"{len(findings)} models"


def _band(document: Document, findings: list[Finding]) -> str:
    fine = [f for f in findings if f.status.value == "pass"]
    if len(fine) < len(findings):
        slow = len(findings) - len(fine)
        return f"Slower than every measured {subject(document)} in {slow} of {_models(findings)}."
    percent, models = _percent(findings), _models(findings)
    return f"As fast as {subject(document)} should be: {percent} of the slowest measured in {models}."


def _baseline(document: Document, findings: list[Finding]) -> str:
    return f"Compared with its own baseline: {_percent(findings)} in {_models(findings)}."


def _predicted(document: Document, findings: list[Finding]) -> str:
    what = "this card" if any(r.on_gpu for r in document.results) else "this processor"
    return f"Compared with the prediction from the probes of {what}: {_percent(findings)} in {_models(findings)}."


def day(started_at: str) -> str:
    """ "22 November 2026, 20:00 UTC"; a time that cannot be read as it is."""
    try:
        at = datetime.datetime.fromisoformat(started_at).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return started_at
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
