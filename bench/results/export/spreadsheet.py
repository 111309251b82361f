"""Training results as a CSV table, one row per result, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable

from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document, Result

_COLUMNS: dict[str, Callable[[Document, Result], object]] = {
    "run_id": lambda d, r: d.run_id,
    "started_at": lambda d, r: d.started_at,
    "hostname": lambda d, r: d.machine.host.hostname,
    "cpu_model": lambda d, r: d.machine.host.cpu_model,
    "cpu_threads": lambda d, r: d.machine.host.cpu_threads,
    "driver_version": lambda d, r: d.machine.driver.library_version.value,
    "device": lambda d, r: r.device,
    "workload": lambda d, r: r.workload,
    "variant": lambda d, r: r.variant,
    "backend": lambda d, r: r.backend,
    "backend_version": lambda d, r: r.versions.get(r.backend),
    "keras_version": lambda d, r: r.versions.get("keras"),
    "precision": lambda d, r: r.precision,
    "batch_size": lambda d, r: r.batch_size,
    "samples_per_second": lambda d, r: r.samples_per_second.median,
    "samples_per_second_mad": lambda d, r: r.samples_per_second.mad,
    "processes": lambda d, r: len(r.repeats),
    "blocks": lambda d, r: len(r.blocks),
    "step_seconds_p5": lambda d, r: r.step_seconds.p5,
    "step_seconds_p50": lambda d, r: r.step_seconds.p50,
    "step_seconds_p95": lambda d, r: r.step_seconds.p95,
    "single_step_seconds_p5": lambda d, r: r.single_step_seconds.p5 if r.single_step_seconds else None,
    "single_step_seconds_p50": lambda d, r: r.single_step_seconds.p50 if r.single_step_seconds else None,
    "single_step_seconds_p95": lambda d, r: r.single_step_seconds.p95 if r.single_step_seconds else None,
    "import_seconds": lambda d, r: r.import_seconds,
    "compile_seconds": lambda d, r: r.compile_seconds,
    "accuracy": lambda d, r: r.accuracy,
    "examples_seen": lambda d, r: r.examples_seen,
    "gpu_utilisation_mean_percent": lambda d, r: _card_figure(r, "utilisation_mean_percent"),
    "gpu_peak_memory_bytes": lambda d, r: _card_figure(r, "peak_memory_bytes"),
    "gpu_sm_mhz_median": lambda d, r: _card_figure(r, "sm_mhz_median"),
    "gpu_temperature_max_c": lambda d, r: _card_figure(r, "temperature_max_c"),
    "gpu_power_mean_w": lambda d, r: _card_figure(r, "power_mean_w"),
    "gpu_energy_method": lambda d, r: _card_figure(r, "energy_method"),
    "gpu_energy_joules_per_1000_samples": lambda d, r: _card_figure(r, "energy_joules_per_1000_samples"),
    "batch_kind": lambda d, r: r.batch_kind,
    "tokens_per_second": lambda d, r: r.tokens_per_second,
    "tokens_per_second_mad": lambda d, r: r.tokens.mad if r.tokens else None,
    "tokens_interval_low": lambda d, r: r.tokens.low if r.tokens else None,
    "tokens_interval_high": lambda d, r: r.tokens.high if r.tokens else None,
    "interval_low": lambda d, r: r.interval.low if r.interval else None,
    "interval_high": lambda d, r: r.interval.high if r.interval else None,
    "input_share": lambda d, r: r.input.share if r.input else None,
    "peak_memory_bytes": lambda d, r: r.memory.peak_bytes if r.memory else None,
    "peak_memory_method": lambda d, r: r.memory.method if r.memory else None,
    "flop_per_sample": lambda d, r: r.work.flop_per_sample if r.work else None,
    "bytes_per_sample": lambda d, r: r.work.bytes_per_sample if r.work else None,
    "achieved_tflops": lambda d, r: r.achieved_tflops,
    "share_of_measured_peak": lambda d, r: r.share_of_measured_peak,
    "share_of_card_peak": lambda d, r: r.share_of_card_peak,
    "gpu_held_down_seconds": lambda d, r: _throttled_seconds(r),
    "samples_per_second_per_watt": lambda d, r: _card_figure(r, "samples_per_second_per_watt"),
    "samples_per_second_per_usd": lambda d, r: r.price.samples_per_second_per_usd if r.price else None,
    "priced_on": lambda d, r: r.price.priced_on if r.price else None,
    "kernel_path": lambda d, r: r.kernel.path if r.kernel else None,
    "other_cpu_cores": lambda d, r: statistics.median([b.other_cpu_cores for b in r.blocks] or [0.0]),
    "devices": lambda d, r: r.devices,
    "scaling_efficiency": lambda d, r: r.scaling.efficiency if r.scaling else None,
    "setting": lambda d, r: r.trained_as,
    "data": lambda d, r: r.data,
    "fingerprint": lambda d, r: r.fingerprint,
    "partial": lambda d, r: r.partial,
    "dlbox_version": lambda d, r: d.dlbox_version,
}
"""Column name -> value. Units are part of the names; a value that was not measured is an empty field."""


def _card_figure(result: Result, name: str) -> object:
    """One field of the card's summary, or None without a card."""
    summary = result.telemetry.summary if result.telemetry is not None else None
    return getattr(summary, name, None)


def _throttled_seconds(result: Result) -> float | None:
    """Seconds of clocks reduced by heat or a power fault, or None where that was not read."""
    seconds = _card_figure(result, "harmful_seconds")
    return sum(seconds.values()) if isinstance(seconds, dict) else None


def csv_table(document: Document) -> str:
    """CSV with a header row and one row per result. Tables of several machines can be concatenated."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in document.results:
        writer.writerow([_escape_formula(column(document, result)) for column in _COLUMNS.values()])
    return buffer.getvalue()


def _escape_formula(cell: object) -> object:
    """Prefix text that a spreadsheet would run as a formula with an apostrophe; numbers stay unchanged
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip()[:1] in tuple("=+-@") else cell


register(
    ExportFormat(
        option="csv",
        source="run",
        target="file",
        help="A file with a table, one row per model; - is stdout.",
        render=csv_table,
    )
)
