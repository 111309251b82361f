"""Read one card with NVML into a Gpu: every value has a unit and a valid range, or the reason why it is missing.

Struct versions are those of nvidia-ml-py 13.615.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from inventory.machine.gpu_records import Errors, Gpu, GpuProcess, GpuSample
from inventory.machine.reading import Reading
from inventory.nvml import bounds, sensors
from inventory.nvml.library import converted, first, number, read, switch, text

_MEMORY_SECOND = 0x02000028
"""Version 2 of the memory struct, which counts the driver's reserved memory separately."""

_RECENT_US = 1_000_000
"""Only samples of the last second count for the utilisation of each program."""


def gpus(count: int, skip: frozenset[int] = frozenset()) -> Iterator[Gpu]:
    """Read the cards one after the other. If the process crashes while it reads a card, the earlier cards are already
    reported."""
    for index in range(count):
        if index not in skip:
            yield gpu(index)


def sample(index: int) -> Gpu:
    """Read only the values that change while a card works, which is fast enough for twice a second."""
    handle = read("nvmlDeviceGetHandleByIndex", index)
    if not handle.ok:
        return Gpu(index=index, handle=Reading.failed(handle.why, handle.code))
    device = handle.value
    fields = sensors.fields(device, *sensors.MOMENTARY_FIELDS)
    found = Gpu(
        index=index,
        temperatures=sensors.temperatures(device, fields),
        power=sensors.power(device),
        clocks=sensors.clocks(device, fields),
        link=sensors.link(device),
        fan_percent=sensors.fans(device),
        utilisation_percent=converted(read("nvmlDeviceGetUtilizationRates", device), sensors.utilisation),
        processes=converted(_processes(device), lambda listed: _with_utilisation(device, listed)),
    )
    return bounds.checked_all(found)


def moment(index: int, second: float) -> GpuSample:
    """Read the values that show whether a state lasts, ``second`` seconds after the first reading of the card."""
    handle = read("nvmlDeviceGetHandleByIndex", index)
    if not handle.ok:
        return GpuSample(second=second, temperature_c=Reading.failed(handle.why, handle.code))
    device = handle.value
    return GpuSample(
        second=second,
        temperature_c=sensors.gpu_temperature(device),
        draw_w=sensors.power_draw(device),
        utilisation_percent=converted(read("nvmlDeviceGetUtilizationRates", device), sensors.utilisation),
        clocks=sensors.clocks(device, sensors.fields(device, *sensors.COUNTERS)),
    )


def gpu(index: int) -> Gpu:
    """Read all values of the card with NVML's index ``index``."""
    handle = read("nvmlDeviceGetHandleByIndex", index)
    if not handle.ok:
        return Gpu(
            index=index,
            handle=Reading(
                state="no-permission" if handle.code == 4 else "failed",
                code=handle.code,
                why=handle.why or "NVML returned no handle",
            ),
        )
    device = handle.value
    total, used, reserved = _memory(device)
    fields = sensors.fields(device, sensors.FIELD_RECOVERY_ACTION, *sensors.MOMENTARY_FIELDS)
    pci = read("nvmlDeviceGetPciInfo", device)
    found = Gpu(
        index=index,
        name=text("nvmlDeviceGetName", device),
        uuid=text("nvmlDeviceGetUUID", device),
        pci_address=converted(pci, _address),
        pci_device_id=converted(pci, _device_id),
        compute_capability=converted(read("nvmlDeviceGetCudaComputeCapability", device), _capability),
        memory_total_bytes=total,
        memory_used_bytes=used,
        memory_reserved_bytes=reserved,
        bar1_total_bytes=converted(read("nvmlDeviceGetBAR1MemoryInfo", device), _bar1),
        memory_bus_bits=number("nvmlDeviceGetMemoryBusWidth", device),
        cores=number("nvmlDeviceGetNumGpuCores", device),
        temperatures=sensors.temperatures(device, fields),
        power=sensors.power(device),
        clocks=sensors.clocks(device, fields),
        link=sensors.link(device),
        errors=_errors(device, fields[sensors.FIELD_RECOVERY_ACTION]),
        fan_percent=sensors.fans(device),
        fan_rpm=number("nvmlDeviceGetFanSpeedRPM", device),
        utilisation_percent=converted(read("nvmlDeviceGetUtilizationRates", device), sensors.utilisation),
        compute_mode=number("nvmlDeviceGetComputeMode", device),
        persistence=switch("nvmlDeviceGetPersistenceMode", device),
        display_active=switch("nvmlDeviceGetDisplayActive", device),
        mig=switch("nvmlDeviceGetMigMode", device),
        vbios_version=text("nvmlDeviceGetVbiosVersion", device),
        gsp_version=text("nvmlDeviceGetGspFirmwareVersion", device),
        processes=_processes(device),
    )
    return bounds.checked_all(found)


def _memory(device: Any) -> tuple[Reading[int], Reading[int], Reading[int]]:
    """Total, used by programs, reserved by the driver, in bytes; version 1 of the struct counts reserved as used."""

    second = read("nvmlDeviceGetMemoryInfo", device, _MEMORY_SECOND)
    if second.state != "not-supported":
        return (
            converted(second, lambda m: int(m.total)),
            converted(second, lambda m: int(m.used)),
            converted(second, lambda m: int(m.reserved)),
        )
    plain = read("nvmlDeviceGetMemoryInfo", device)
    return (
        converted(plain, lambda m: int(m.total)),
        converted(plain, lambda m: int(m.used)),
        Reading.not_supported("this driver counts its reserve as used", 13),
    )


def _address(info: Any) -> str:
    raw = info.busId
    raw = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
    domain, bus, device = raw.strip().lower().split(":")
    return f"{int(domain, 16):04x}:{int(bus, 16):02x}:{device}"


def _device_id(info: Any) -> int:
    vendor, device = int(info.pciDeviceId) & 0xFFFF, int(info.pciDeviceId) >> 16
    if vendor != 0x10DE:
        raise ValueError(f"NVML returned PCI id {vendor:04x}:{device:04x}, which is not NVIDIA's")
    return device


def _capability(value: Any) -> str:
    major, minor = value
    if not (1 <= major <= 99 and 0 <= minor <= 9):
        raise ValueError(f"NVML returned compute capability {major}.{minor}, which is impossible")
    return f"{major}.{minor}"


def _bar1(info: Any) -> int:
    return int(info.bar1Total)


def _errors(device: Any, recovery_action: Reading[int]) -> Errors:
    def ecc(kind: int, counter: int) -> Reading[int]:
        return number("nvmlDeviceGetTotalEccErrors", device, kind, counter)

    def retired() -> Reading[int]:
        pages = [converted(read("nvmlDeviceGetRetiredPages", device, cause), len) for cause in (0, 1)]
        bad = next((p for p in pages if not p.ok), None)
        return bad if bad is not None else Reading.of(sum(p.value or 0 for p in pages))

    def rows(which: int) -> Reading[Any]:
        return converted(remapped, lambda value: int(value[which]))

    def flag(which: int) -> Reading[bool]:
        return converted(remapped, lambda value: _flag(value[which]))

    def inforom() -> Reading[bool]:
        answer = read("nvmlDeviceValidateInforom", device)
        if answer.code == 14:
            return Reading.of(False)
        return Reading.of(True) if answer.state == "ok" else answer

    remapped = read("nvmlDeviceGetRemappedRows", device)
    mode = read("nvmlDeviceGetEccMode", device)
    return Errors(
        ecc_enabled=converted(mode, lambda m: _flag(m[0])),
        ecc_pending=converted(mode, lambda m: _flag(m[1])),
        ecc_corrected=ecc(0, 0),
        ecc_uncorrected=ecc(1, 0),
        ecc_uncorrected_lifetime=ecc(1, 1),
        retired_pages=retired(),
        retirement_pending=switch("nvmlDeviceGetRetiredPagesPendingStatus", device),
        remapped_rows_corrected=rows(0),
        remapped_rows_uncorrected=rows(1),
        remap_pending=flag(2),
        remap_failed=flag(3),
        inforom_valid=inforom(),
        inforom_version=text("nvmlDeviceGetInforomImageVersion", device),
        recovery_action=recovery_action,
    )


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"NVML returned {value} where 0 or 1 is expected")
    return bool(value)


def _processes(device: Any) -> Reading[tuple[GpuProcess, ...]]:
    """Programs on the card, from the lists for graphics and compute. WSL2 has no such list."""
    found: dict[int, GpuProcess] = {}
    answers = {
        "graphics": _process_list(device, "Graphics"),
        "compute": _process_list(device, "Compute"),
    }
    for kind, answer in answers.items():
        for entry in answer.value or ():
            with suppress(AttributeError, TypeError, ValueError):
                pid = int(entry.pid)
                if 0 < pid < 1 << 31:
                    used = entry.usedGpuMemory
                    found[pid] = GpuProcess(
                        pid=pid,
                        kind="compute" if kind == "compute" else "graphics",
                        name=_process_name(pid),
                        memory_bytes=used if used and used < 1 << 43 else None,
                        draws=pid in found,
                    )
    for answer in (answers["compute"], answers["graphics"]):
        if answer.state == "failed" or (answer is answers["compute"] and answer.state != "ok"):
            return converted(answer, lambda value: ())
    return Reading.of(tuple(found.values()))


def _with_utilisation(device: Any, listed: tuple[GpuProcess, ...]) -> tuple[GpuProcess, ...]:
    """The programs in ``listed`` with their utilisation, if the driver reports it (Maxwell and later, not with MIG)."""
    since = time.time_ns() // 1000 - _RECENT_US
    answer = read("nvmlDeviceGetProcessUtilization", device, since) if listed else Reading.of(())
    if answer.code in (
        0,
        6,
    ):  # No program used the card since then: nvidia-ml-py raises an error for an empty answer.
        answer = Reading.of(())
    shares = converted(answer, _shares)
    if shares.value is None:
        return listed
    return tuple(msgspec.structs.replace(p, sm_percent=shares.value.get(p.pid, 0)) for p in listed)


def _shares(samples: Any) -> dict[int, int]:
    """The newest utilisation in percent by process id; idle processes are missing."""
    ordered = sorted(samples, key=lambda sample: int(sample.timeStamp))
    return {int(s.pid): int(s.smUtil) for s in ordered if 0 <= s.smUtil <= 100}


def _process_list(device: Any, kind: str) -> Reading[Any]:
    return first(
        lambda: read(f"nvmlDeviceGet{kind}RunningProcesses_v3", device),
        lambda: read(f"nvmlDeviceGet{kind}RunningProcesses_v2", device),
    )


def _process_name(pid: int) -> str:
    try:
        return "".join(c for c in Path(f"/proc/{pid}/comm").read_text(errors="replace") if c.isprintable())
    except OSError:
        return ""
