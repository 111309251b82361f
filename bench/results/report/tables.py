"""The tables of the report. A column without a value in any row is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bench.results.record.document import Document, Result
from bench.results.report.charts import label
from bench.results.report.roofline import RooflinePoint


class ReportTable(msgspec.Struct, frozen=True, kw_only=True):
    """``headers``: titles of the columns. ``rows``: one cell per column, the first one names the row; None: no value.
    ``numeric``: for each column, whether its cells are numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    numeric: tuple[bool, ...]


Column = tuple[str, Callable[[Result], str | None]]


def _table(
    first: str, names: Sequence[str], columns: Sequence[tuple[str, Sequence[str | None]]]
) -> ReportTable:
    """A table whose columns all have a value somewhere."""
    filled = [(title, cells) for title, cells in columns if any(cell is not None for cell in cells)]
    rows = tuple((name, *(cells[place] for _, cells in filled)) for place, name in enumerate(names))
    return ReportTable(
        headers=(first, *(title for title, _ in filled)),
        rows=rows,
        numeric=(
            False,
            *(all(not cell or cell[0] in "0123456789-+<" for cell in cells) for _, cells in filled),
        ),
    )


def _of(results: Sequence[Result], columns: Sequence[Column]) -> ReportTable:
    return _table(
        "model", [label(r) for r in results], [(t, [cell(r) for r in results]) for t, cell in columns]
    )


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def speed(results: Sequence[Result]) -> ReportTable:
    """The figures that people compare. Backend and device only if they differ between results."""
    several = len({on(r) for r in results}) > 1
    batches = len({r.batch_size for r in results}) > 1
    return _of(
        results,
        (
            ("backend, device", lambda r: on(r) if several else None),
            ("batch", lambda r: str(r.batch_size) if batches else None),
            ("samples/s", lambda r: f"{r.samples_per_second.median:,.0f}"),
            ("± MAD", lambda r: f"{r.samples_per_second.mad:,.0f}"),
            ("step, ms", lambda r: f"{r.steps.p50 * 1e3:.1f}"),
            ("accuracy", lambda r: _number(r.accuracy, ".3f")),
            ("ceiling", lambda r: _number(r.ceiling, ".3f")),
            ("state", lambda r: "(partial)" if r.partial else None),
        ),
    )


def more(results: Sequence[Result]) -> ReportTable:
    """All other figures of the results."""

    def interval(r: Result) -> str | None:
        ends = r.interval
        if ends is None or ends.low is None or ends.high is None:
            return None
        return f"{ends.low:,.0f} to {ends.high:,.0f}"

    def steps(r: Result) -> str:
        return f"{r.steps.p5 * 1e3:.1f} / {r.steps.p50 * 1e3:.1f} / {r.steps.p95 * 1e3:.1f}"

    return _of(
        results,
        (
            ("batch", lambda r: str(r.batch_size)),
            ("tokens/s", lambda r: _number(r.tokens_per_second, ",.0f")),
            ("expected of another run, samples/s", interval),
            ("step, ms: 5 / 50 / 95%", steps),
            ("import, s", lambda r: _number(r.import_seconds, ".1f")),
            ("compile, s", lambda r: _number(r.compile_seconds, ".1f")),
            ("waiting for data", lambda r: _number(r.input.share, ".0%") if r.input else None),
            ("memory, MiB", lambda r: f"{r.memory.peak_bytes / 2**20:,.0f}" if r.memory else None),
            (
                "samples/s per $",
                lambda r: _number(r.price.samples_per_second_per_usd, ".3g") if r.price else None,
            ),
        ),
    )


def roofline(points: Sequence[RooflinePoint]) -> ReportTable:
    """Work, speed and limit of each model."""
    return _table(
        "model",
        [p.name for p in points],
        (
            ("FLOP per byte", [f"{p.intensity:.3g}" for p in points]),
            ("achieved, GFLOP/s", [f"{p.tflops * 1e3:,.4g}" for p in points]),
            ("limit, GFLOP/s", [f"{p.allowed_tflops * 1e3:,.4g}" for p in points]),
            ("share", [f"{p.share:.0%}" for p in points]),
            ("limited by", [p.bound for p in points]),
        ),
    )


def card(results: Sequence[Result]) -> ReportTable:
    """Readings of the card during timed training. All ``results`` have a summary of them."""

    def cell(form: Callable[..., str | None]) -> Callable[[Result], str | None]:
        return lambda r: form(r.telemetry.summary) if r.telemetry and r.telemetry.summary else None

    def pair(low: float | None, high: float | None) -> str | None:
        return None if low is None or high is None else f"{low:.0f} / {high:.0f}"

    return _of(
        results,
        (
            (
                "busy, %: mean / max",
                cell(lambda s: pair(s.utilisation_mean_percent, s.utilisation_max_percent)),
            ),
            (
                "memory, MiB",
                cell(
                    lambda s: None if s.peak_memory_bytes is None else f"{s.peak_memory_bytes / 2**20:,.0f}"
                ),
            ),
            ("clock, MHz: min / max", cell(lambda s: pair(s.sm_mhz_min, s.sm_mhz_max))),
            ("max, °C", cell(lambda s: _number(s.temperature_max_c, ".0f"))),
            ("power, W", cell(lambda s: _number(s.power_mean_w, ".0f"))),
            (
                "reduced clocks, s",
                cell(
                    lambda s: None if s.harmful_seconds is None else f"{sum(s.harmful_seconds.values()):.1f}"
                ),
            ),
            ("J per 1,000 samples", cell(lambda s: _number(s.energy_joules_per_1000_samples, ".3g"))),
            ("samples/s per W", cell(lambda s: _number(s.samples_per_second_per_watt, ".3g"))),
        ),
    )


def kernels(results: Sequence[Result]) -> ReportTable:
    """The recurrent kernel of each model, and how it was determined."""
    found = [(r, r.kernel) for r in results if r.kernel is not None]
    paths = []
    for result, kernel in found:
        path: str = "no recurrent layer" if kernel.path == "none" else kernel.path
        if result.forced_generic:
            path += f", {result.forced_generic.speedup:.1f} times the generic one"
        paths.append(path)
    return _table(
        "model",
        [label(r) for r, _ in found],
        (
            ("recurrent kernel", paths),
            ("evidence", [k.evidence for _, k in found]),
            ("reason", ["; ".join(k.why) or None for _, k in found]),
        ),
    )


def scaling(results: Sequence[Result]) -> ReportTable:
    """Training on several devices."""
    found = [(r, r.scaling) for r in results if r.scaling is not None]
    return _table(
        "model",
        [label(r) for r, _ in found],
        (
            ("method", [s.engine for _, s in found]),
            ("devices", [", ".join(s.devices) for _, s in found]),
            ("batch per device", [str(s.batch_per_device) for _, s in found]),
            ("one device, samples/s", [_number(s.one_device_samples_per_second, ",.0f") for _, s in found]),
            ("all devices, samples/s", [f"{r.samples_per_second.median:,.0f}" for r, _ in found]),
            ("efficiency", [_number(s.efficiency, ".0%") for _, s in found]),
        ),
    )


def search(result: Result) -> ReportTable:
    """The search for the fastest batch size."""
    points = result.batches.points if result.batches else ()
    return _table(
        "batch",
        [str(p.batch_size) for p in points],
        (
            ("samples/s", [_number(p.samples_per_second, ",.0f") for p in points]),
            (
                "memory, MiB",
                [
                    None if p.peak_memory_bytes is None else f"{p.peak_memory_bytes / 2**20:,.0f}"
                    for p in points
                ],
            ),
            ("reason", [p.why or None for p in points]),
        ),
    )


def on(result: Result) -> str:
    """Backend, device and precision in words."""
    return f"{result.backend} on {result.device}, {result.precision}"


def machine(document: Document) -> list[tuple[str, str]]:
    """The machine as pairs of name and value."""
    host, driver = document.machine.host, document.machine.driver.module_version
    found = [
        ("System", f"{host.distribution.name}, kernel {host.kernel}"),
        ("Processor", f"{host.cpu_model}, {host.cpu_cores} cores, {host.cpu_threads} threads"),
        ("Memory", f"{host.memory_bytes / 2**30:.1f} GiB"),
    ]
    for gpu in document.machine.gpus:
        size = gpu.memory_total_bytes
        memory = f", {size.value / 2**30:.1f} GiB" if size.ok and size.value is not None else ""
        found.append((f"GPU {gpu.index}", f"{gpu.name.value or 'NVIDIA GPU'}{memory}"))
    if not document.machine.gpus:
        ids = ", ".join(card.pci_id for card in document.machine.cards)
        found.append(("GPU", f"{ids} on the PCI bus, but not found by the driver" if ids else "none"))
    if driver.ok:
        found.append(("Driver", str(driver.value)))
    return found
