"""Checks of documents from files: impossible values are refused, and figures are computed again from their blocks."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from bench.results.record.card import Series, Telemetry
from bench.results.record.document import Document, Result
from bench.results.record.grammar import misnamed, steers
from bench.results.stats import derived

_MOST = 1e12
"""Maximum of samples/s, which no computer reaches. A chart cannot draw larger values."""

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("devices|(best_)?batch_size|batch_per_device|steps|examples|tokens_per_sample|cpu_threads", 1, 1e12),
    ("accuracy|accuracy_bar|ceiling|confidence|(waiting_)?shares?", 0, 1),
    ("share_of_.*", 0, 1e6),
    (".*_percent", 0, 1000),
    (".*_c", -273, 1000),
    ("(flop|bytes)_per_sample", 1, 1e18),
    (".*tflops", 0, 1e6),
    ("bandwidth_gb_s", 0, 1e9),
    (".*seconds?|timed", 0, 1e9),
    ("samples_per_second.*|.*_per_second|tokens|interval", 0, 1e15),
    ("usd", 0.01, 1e9),
    ("seed", -(2**63), 2**63 - 1),
    ("examples_seen|parameters|readings|event_reasons", 0, 2**62),
    ("loss", -1e300, 1e300),
    ("measured|expected|options", -1e20, 1e20),
    ("run_id", 1, 2**63 - 1),
    (".*", 0, 1e20),
)
"""Pattern of a field's name -> minimum and maximum of its value. If several names on the path to a value match, the
innermost decides. Names contain the units. The ranges include every computer of the near future and exclude what a
chart cannot draw. Fans can run at more than 100%."""

_RECOMPUTED = {
    ("step_seconds",),
    ("tokens",),
    ("samples_per_second", "mad"),
    ("samples_per_second", "values"),
}
"""Fields of a result that ``recomputed`` replaces, so that their values in the file do not matter."""

_COLUMNS = tuple(name for name in Series.__struct_fields__ if name != "second")

_LENGTHS = {
    "results": 100,
    "repeats": 1_000,
    "blocks": 50_000,
    "findings": 2_000,
    "gpus": 64,
    "cards": 64,
    "timed": 1_000,
    "second": 20_000,
    "processes": 5_000,
    "xids": 10_000,
    "values": 5_000_000,
}
"""Maximum entries of a list or table, by its name; a real run has at most a tenth. ``values`` is recomputed."""
_LENGTH = 1_000
"""Maximum number of entries of any other list or table."""
_ALL_REPEATS, _ALL_BLOCKS = 2_000, 100_000
"""Maximum numbers of entries over all results of a run together, because the report draws every block."""
_LONGEST_TEXT = 20_000
"""Maximum characters of a text; error messages of programs are cut at a tenth of it."""


def fault(document: Document) -> str | None:
    """The first error of a document, as one clause, or None.

    Errors are invalid times and names, impossible figures, too many entries, and control characters.
    """
    plain = msgspec.to_builtins(document)
    for text in _texts(plain):
        if steers(text):
            return "a text contains control characters"
        if len(text) > _LONGEST_TEXT:
            return f"a text has {len(text):,} characters"
    try:
        if datetime.fromisoformat(document.started_at).utcoffset() != timedelta():
            return "`started_at` is not in UTC"
    except ValueError:
        return "`started_at` is not a time"
    why = misnamed(document) or _too_long(document, plain)
    if why is not None:
        return why
    for result in document.results:
        why = _result_fault(result) or _out_of_range(msgspec.to_builtins(result), f" of {result.workload}")
        if why is not None:
            return why
    rest = msgspec.to_builtins(msgspec.structs.replace(document, results=()))
    why = _out_of_range(rest)
    if why is not None:
        return why
    return _duplicate(document)


def _duplicate(document: Document) -> str | None:
    labels = Counter((r.label, r.backend, r.batch_size) for r in document.results)
    repeated = [label for (label, *_), count in labels.items() if count > 1]
    return f"{repeated[0]} appears twice" if repeated else None


def _too_long(document: Document, plain: object) -> str | None:
    """The first list that is too long to come from a real run, as one clause, or None. A report of it would take
    hours to draw."""
    for name, length in _lengths(plain):
        most = _LENGTHS.get(name, _LENGTHS["second"] if name in _COLUMNS else _LENGTH)
        if length > most:
            return f"`{name}` has {length:,} entries, expected at most {most:,}"
    for name, count, most in (
        ("repeats", sum(len(r.repeats) for r in document.results), _ALL_REPEATS),
        ("blocks", sum(len(r.blocks) for r in document.results), _ALL_BLOCKS),
    ):
        if count > most:
            return f"all results together have {count:,} entries in `{name}`, expected at most {most:,}"
    return None


def _lengths(value: object, name: str = "document") -> Iterator[tuple[str, int]]:
    """Name of the field and length of every list and table."""
    if isinstance(value, dict):
        yield name, len(value)
        for key, one in value.items():
            yield from _lengths(one, str(key))
    elif isinstance(value, list | tuple):
        yield name, len(value)
        for one in value:
            if isinstance(one, dict | list | tuple):
                yield from _lengths(one, "entry")


def _telemetry_fault(telemetry: Telemetry) -> str | None:
    """The first error because of which the readings of a card cannot be drawn over time, or None."""
    seconds = telemetry.samples.second
    for name in _COLUMNS:
        if len(getattr(telemetry.samples, name)) not in (0, len(seconds)):
            return f"`telemetry.samples.{name}` and `second` differ in length"
    if any(later < earlier for earlier, later in itertools.pairwise(seconds)):
        return "`telemetry.samples.second` goes back in time"
    if any(end < start for start, end in telemetry.timed):
        return "`telemetry.timed` ends before it starts"
    return None


def _result_fault(result: Result) -> str | None:
    name, blocks = result.workload, result.blocks
    if not blocks:
        return f"{name} has no timed block"
    for block in [*blocks, *(result.cut_short.blocks if result.cut_short else ())]:
        timed = block.seconds > 0 and block.examples > 0 and block.steps > 0 and block.other_cpu_cores >= 0
        if not timed or block.examples > _MOST * block.seconds:  # the quotient could overflow
            return f"a block of {name} has an impossible time"
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
    fault_of_card = _telemetry_fault(result.telemetry) if result.telemetry is not None else None
    if fault_of_card is not None:
        return f"{fault_of_card} ({name})"
    steps = result.single_step_seconds
    if steps is not None and not 0 <= steps.p5 <= steps.p50 <= steps.p95:
        return f"`single_step_seconds` of {name} is not in order"
    if not result.samples_per_second.median > 1e-9:
        return f"`samples_per_second` of {name} is not above 0"
    return None if result.batch_size > 0 else f"`batch_size` of {name} is not above 0"


def _out_of_range(value: object, whose: str = "") -> str | None:
    """The first number that is NaN, infinite or out of its range, as one clause, or None."""
    for names, number in _numbers(value):
        if names[:1] in _RECOMPUTED or names[:2] in _RECOMPUTED:
            continue
        if isinstance(number, float) and not math.isfinite(number):
            return f"`{'.'.join(names)}`{whose} is NaN or infinite"
        low, high = _range(names)
        if not low <= number <= high:
            limit = f"below the minimum of {low:g}" if number < low else f"above the maximum of {high:g}"
            return f"`{'.'.join(names)}`{whose} is {limit}"
    return None


def _range(names: tuple[str, ...]) -> tuple[float, float]:
    for name in reversed(names):
        found = _own_range(name)
        if found is not None:
            return found
    return _RANGES[-1][1:]


@functools.lru_cache(maxsize=1024)
def _own_range(name: str) -> tuple[float, float] | None:
    fitting = ((low, high) for pattern, low, high in _RANGES[:-1] if re.fullmatch(pattern, name))
    return next(fitting, None)


def _numbers(value: object, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int | float]]:
    """Every number with the path of field names that leads to it."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _numbers(one, (*names, str(name)))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one, names)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield names, value


def recomputed(document: Document) -> Document:
    """The document with all figures computed from its timed blocks, which are the measurement.

    The path of a report is removed: it belongs to the machine that wrote the file.
    """
    results = (
        derived.recompute(result, result.repeats, partial=result.partial) for result in document.results
    )
    return msgspec.structs.replace(document, results=tuple(results), report=None)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from (*_texts(name), *_texts(one))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
