"""Files from elsewhere: what no run of dlbox holds is refused, and figures are taken anew from their blocks. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from bench.results import derive
from bench.results.history import summarise
from bench.results.record import Document, Result

_MOST = 1e12
"""Samples/s that no computer of this century trains; more would also leave what a chart can draw."""

_ALIKE = 1e-6
"""Relative difference of a figure from the blocks that it is made of; JSON keeps every digit."""

_STEERING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of the text beside it, or breaks its line."""


def fault(document: Document) -> str | None:
    """Times that are none, figures that cannot be, codes that steer a terminal; None where all is well."""
    try:
        if datetime.fromisoformat(document.started_at).utcoffset() != timedelta():
            return "`started_at` is not in UTC"
    except ValueError:
        return "`started_at` is not a time"
    if any(_steers(text) for text in _texts(msgspec.to_builtins(document))):
        return "control characters in a text"
    for result in document.results:
        why = _of_result(result)
        if why is not None:
            return why
    labels = Counter((r.label, r.backend, r.batch_size) for r in document.results)
    twice = [label for (label, *_), count in labels.items() if count > 1]
    return f"{twice[0]} is in it twice" if twice else None


def _of_result(result: Result) -> str | None:
    name, blocks = result.workload, result.blocks
    if not blocks:
        return f"{name} holds no timed block"
    for block in blocks:
        timed = block.seconds > 0 and block.examples > 0 and block.steps > 0 and block.other_cpu_cores >= 0
        if not timed or block.examples / block.seconds > _MOST:
            return f"a block of {name} cannot have been timed"
    for field in ("accuracy", "accuracy_bar", "ceiling"):
        share = getattr(result, field)
        if share is not None and not 0 <= share <= 1:
            return f"`{field}` of {name} is not between 0 and 1"
    for field in (
        "compile_seconds",
        "import_seconds",
        "tokens_per_second",
        "examples_seen",
        "achieved_tflops",
    ):
        least = getattr(result, field)
        if least is not None and least < 0:
            return f"`{field}` of {name} is below 0"
    steps = result.single_step_seconds
    if steps is not None and not 0 <= steps.p5 <= steps.p50 <= steps.p95:
        return f"`single_step_seconds` of {name} is not in order"
    if not result.samples_per_second.median > 0:
        return f"`samples_per_second` of {name} is not above 0"
    return None if result.batch_size > 0 else f"`batch_size` of {name} is not above 0"


def settled(document: Document) -> Document:
    """A sound document whose figures are those of its blocks: they are what was measured, all else follows."""
    return msgspec.structs.replace(document, results=tuple(_settled(result) for result in document.results))


def _settled(result: Result) -> Result:
    made = summarise(result, result.repeats, partial=result.partial)
    times = made.samples_per_second.median / result.samples_per_second.median
    if math.isclose(times, 1.0, rel_tol=_ALIKE):
        return msgspec.structs.replace(made, tokens=derive.token_rate(made, made.interval))

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * times

    price = result.price
    return msgspec.structs.replace(
        made,
        interval=None,
        tokens=derive.token_rate(made, None),
        single_step_seconds=None,
        tokens_per_second=scaled(result.tokens_per_second),
        achieved_tflops=scaled(result.achieved_tflops),
        share_of_measured_peak=scaled(result.share_of_measured_peak),
        share_of_card_peak=scaled(result.share_of_card_peak),
        price=price
        and msgspec.structs.replace(
            price, samples_per_second_per_usd=price.samples_per_second_per_usd * times
        ),
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from (*_texts(name), *_texts(one))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _steers(text: str) -> bool:
    return any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c in _STEERING for c in text)
