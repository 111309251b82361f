"""Training results as TensorBoard logs: one event file per training process.

This module writes the files itself, because every library for this format imports a framework into the process
(tensorboardX imports torch where it is installed). The tests read the files with TensorFlow's own reader.

An event file is a sequence of TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord: length, masked
CRC-32C of it, data, masked CRC-32C of that), each an ``Event`` of tensorflow/core/util/event.proto in protocol
buffers' wire format (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bench.results.export.registry import ExportFormat, register
from bench.results.record.document import Document, Repeat, Result, file_stamp, with_distinct_kinds
from common.file_access.files import inside, safe_name, write_atomically

_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli) with reversed bits: RFC 3720, appendix B.4."""

_LARGEST_FLOAT32 = 3.4028234663852886e38
"""The largest 32-bit float. Larger values (of a loss that diverged) are clipped to it, because struct.pack refuses
them."""


def write(document: Document, folder: Path) -> list[Path]:
    """Write one file per process: ``folder``/RUN/MODEL-BACKEND-batchN/process-0/events.out.tfevents...

    Wall times are the start of the run plus measured durations; steps are training steps. Returns the paths of the
    files. Raises OSError.
    """
    written = []
    clock = datetime.fromisoformat(document.started_at).timestamp()
    for result, kind in with_distinct_kinds(document.results):
        together = f"{result.devices}-devices" if result.devices > 1 else ""
        parts = (result.workload, result.backend, kind, f"batch{result.batch_size}", together)
        below = safe_name("-".join(filter(None, parts)))
        for number, repeat in enumerate(result.repeats):
            name = f"events.out.tfevents.{max(int(clock), 0)}.dlbox"
            path = inside(folder, file_stamp(document), below, f"process-{number}", name)
            write_atomically(path, b"".join(_records(document, result, repeat, clock)), follow=False)
            clock += (repeat.import_seconds or 0.0) + (repeat.compile_seconds or 0.0)
            clock += sum(block.seconds for block in repeat.blocks)
            written.append(path)
    return written


def points(result: Result, repeat: Repeat) -> Iterator[tuple[float, int, dict[str, float]]]:
    """Figures of one process over time: seconds since its start, training steps, name -> value."""
    seconds = (repeat.import_seconds or 0.0) + (repeat.compile_seconds or 0.0)
    start_up = {
        name: value
        for name, value in (
            ("start/import_seconds", repeat.import_seconds),
            ("start/compile_seconds", repeat.compile_seconds),
        )
        if value is not None
    }
    if start_up:
        yield seconds, 0, start_up
    steps = 0
    for block in repeat.blocks:
        seconds, steps = seconds + block.seconds, steps + block.steps
        figures = {
            "speed/samples_per_second": block.samples_per_second,
            "speed/step_milliseconds": block.seconds / block.steps * 1000,
            "machine/other_cpu_cores": block.other_cpu_cores,
        }
        if block.loss is not None:
            figures["training/loss"] = block.loss
        yield seconds, steps, figures
    if repeat.accuracy is not None:
        judged = {"training/held_out_accuracy": repeat.accuracy}
        if repeat.ceiling is not None:
            judged["training/ceiling"] = repeat.ceiling
        yield seconds, max(steps, repeat.examples_seen // max(result.batch_size, 1)), judged


def _records(document: Document, result: Result, repeat: Repeat, clock: float) -> Iterator[bytes]:
    yield _record(_event(clock, 0, _text(3, "brain.Event:2")))
    for seconds, steps, figures in points(result, repeat):
        for name, value in figures.items():
            yield _record(_event(clock + seconds, steps, _message(5, _message(1, _scalar(name, value)))))
    if repeat is not result.repeats[0] or result.telemetry is None:
        return
    samples = result.telemetry.samples  # readings of all processes: written with the first one only
    for name, column in (
        ("card/sm_mhz", samples.sm_mhz),
        ("card/temperature_c", samples.temperature_c),
        ("card/power_w", samples.power_w),
        ("card/utilisation_percent", samples.utilisation_percent),
    ):
        for place, (second, reading) in enumerate(zip(samples.second, column, strict=False)):
            if reading is not None:
                one = _message(5, _message(1, _scalar(name, reading)))
                yield _record(_event(clock + second, place, one))


def _scalar(name: str, value: float) -> bytes:
    """Summary.Value: tag = 1, simple_value = 2 (a 32-bit float)."""
    return (
        _text(1, name) + _key(2, 5) + struct.pack("<f", max(-_LARGEST_FLOAT32, min(value, _LARGEST_FLOAT32)))
    )


def _event(wall_time: float, step: int, what: bytes) -> bytes:
    """Event: wall_time = 1 (double), step = 2 (int64), file_version = 3, summary = 5."""
    return _key(1, 1) + struct.pack("<d", wall_time) + _key(2, 0) + _varint(step) + what


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, data: bytes) -> bytes:
    return _key(field, 2) + _varint(len(data)) + data


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_table_entry(byte) for byte in range(256))


def _write_and_explain(document: Document, folder: Path) -> str:
    write(document, folder)
    return f"view the logs with: tensorboard --logdir {folder}"


register(
    ExportFormat(
        option="tensorboard",
        source="run",
        target="folder",
        help="A folder of TensorBoard logs.",
        write=_write_and_explain,
    )
)
