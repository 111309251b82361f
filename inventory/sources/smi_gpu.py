"""Records of the cards from the Trees of nvidia-smi. Both formats give the same records."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from inventory.machine.gpu_records import Clocks, Errors, Gpu, GpuProcess, Link, Power, Temperatures
from inventory.machine.reading import Reading
from inventory.sources.smi_values import Tree, branch, mib, number, place, plain, reading, switch, whole

MOST_CARDS = 64
_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)
_REASONS = {
    0x1: ("gpu_idle", "idle"),
    0x2: ("applications_clocks_setting",),
    0x4: ("sw_power_cap",),
    0x8: ("hw_slowdown",),
    0x10: ("sync_boost",),
    0x20: ("sw_thermal_slowdown",),
    0x40: ("hw_thermal_slowdown",),
    0x80: ("hw_power_brake_slowdown",),
    0x100: ("display_clocks_setting", "display_clock_setting"),
}
"""Bit in NVML's mask (nvml.h, nvmlClocksEventReasons) -> its names in nvidia-smi."""
_RECOVERY = {
    "none": 0,
    "reset": 1,
    "gpu reset": 1,
    "reboot": 2,
    "node reboot": 2,
    "drain p2p": 3,
    "drain and reset": 4,
}
_COMPUTE_MODES = {"default": 0, "exclusive_thread": 1, "prohibited": 2, "exclusive_process": 3}
_MARGINS = {
    "margin_c": ("gpu_temp_tlimit", "gpu_t_limit_temp"),
    "shutdown_margin_c": ("gpu_temp_max_tlimit_threshold", "gpu_shutdown_t_limit_temp"),
    "slowdown_margin_c": ("gpu_temp_slow_tlimit_threshold", "gpu_slowdown_t_limit_temp"),
    "max_operating_margin_c": ("gpu_temp_max_gpu_tlimit_threshold", "gpu_max_operating_t_limit_temp"),
    "memory_max_margin_c": ("gpu_temp_max_mem_tlimit_threshold", "memory_max_operating_t_limit_temp"),
}
"""Field of Temperatures -> its names in XML and in text."""


def gpus(tree: Tree) -> tuple[Gpu, ...]:
    """All cards of one output, in its order. Raises no error."""
    found = tree.get("gpu", [])
    entries = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    return tuple(_gpu(index, entry) for index, entry in enumerate(entries[:MOST_CARDS]))


def address(text: str) -> str:
    """Shorten nvidia-smi's PCI address "00000000:01:00.0" to sysfs' form "0000:01:00.0". Raises ValueError."""
    found = _ADDRESS.search(text)
    if not found:
        raise ValueError(text)
    domain, bus, device, function = found.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}".lower()


def _gpu(index: int, tree: Tree) -> Gpu:
    memory = branch(tree, "fb_memory_usage")
    name = reading(place(tree, "product_name"), plain)
    return Gpu(
        index=index,
        handle=_handle(tree, name),
        name=name,
        uuid=reading(place(tree, "uuid", "gpu_uuid"), plain),
        pci_address=reading(place(tree, "pci.pci_bus_id", "pci.bus_id", "id"), address),
        pci_device_id=reading(place(tree, "pci.pci_device_id", "pci.device_id"), _device_id),
        compute_capability=Reading.not_in_source(),
        memory_total_bytes=reading(place(memory, "total"), mib),
        memory_used_bytes=reading(place(memory, "used"), mib),
        memory_reserved_bytes=reading(place(memory, "reserved"), mib),
        bar1_total_bytes=reading(place(tree, "bar1_memory_usage.total"), mib),
        memory_bus_bits=Reading.not_in_source(),
        cores=Reading.not_in_source(),
        temperatures=_temperatures(branch(tree, "temperature")),
        power=_power(tree),
        clocks=_clocks(tree),
        link=_link(tree),
        errors=_errors(tree),
        fan_percent=reading(place(tree, "fan_speed"), lambda text: (whole(text),)),
        fan_rpm=Reading.not_in_source(),
        utilisation_percent=reading(place(tree, "utilization.gpu_util", "utilization.gpu"), whole),
        compute_mode=reading(
            place(tree, "compute_mode"), lambda text: _COMPUTE_MODES[_word(text, _COMPUTE_MODES)]
        ),
        persistence=reading(place(tree, "persistence_mode"), switch),
        display_active=reading(place(tree, "display_active"), switch),
        mig=reading(place(tree, "mig_mode.current_mig", "mig_mode.current"), switch),
        vbios_version=reading(place(tree, "vbios_version"), plain),
        gsp_version=reading(place(tree, "gsp_firmware_version"), plain),
        processes=_processes(tree),
    )


def _handle(tree: Tree, name: Reading[str]) -> Reading[bool]:
    """A card whose values are all "GPU is lost" has no handle."""
    if name.state == "failed" and name.code in (15, 16):
        return Reading.failed(name.why, name.code)
    return Reading.of(True)


def _word(text: str, known: dict[str, int]) -> str:
    word = text.strip().lower()
    if word not in known:
        raise ValueError(text)
    return word


def _device_id(text: str) -> int:
    """ "1E8110DE" and "0x1E8110DE": the device id, then the vendor's."""
    found = re.fullmatch(r"(?:0x)?([0-9a-f]{4})10de", text, re.IGNORECASE)
    if not found:
        raise ValueError(text)
    return int(found[1], 16)


def _temperatures(tree: Tree) -> Temperatures:
    def at(*names: str) -> Reading[int]:
        return reading(place(tree, *names), whole)

    margins = {field: at(*names) for field, names in _MARGINS.items()}
    return Temperatures(
        gpu_c=at("gpu_temp", "gpu_current_temp"),
        memory_c=at("memory_temp", "memory_current_temp"),
        target_c=at("gpu_target_temperature"),
        max_operating_c=at("gpu_temp_max_gpu_threshold", "gpu_max_operating_temp"),
        slowdown_c=at("gpu_temp_slow_threshold", "gpu_slowdown_temp"),
        shutdown_c=at("gpu_temp_max_threshold", "gpu_shutdown_temp"),
        memory_max_c=at("gpu_temp_max_mem_threshold", "memory_max_operating_temp"),
        **margins,
    )


def _power(tree: Tree) -> Power:
    """The name of the part and of its values changed with schema 12 and driver 545."""
    part = branch(tree, "gpu_power_readings", "power_readings")

    def at(*names: str) -> Reading[float]:
        found = [reading(place(part, name), number) for name in names]
        return next(
            (one for one in found if one.ok), next((o for o in found if o.state != "not-in-source"), found[0])
        )

    return Power(
        draw_w=at("power_draw", "instant_power_draw", "average_power_draw", "instantaneous_power_draw"),
        limit_w=at("current_power_limit", "enforced_power_limit", "power_limit"),
        default_limit_w=at("default_power_limit"),
        min_limit_w=at("min_power_limit"),
        max_limit_w=at("max_power_limit"),
        energy_j=Reading.not_in_source(),
    )


def _clocks(tree: Tree) -> Clocks:
    counters = branch(tree, "clocks_event_reasons_counters")

    def microseconds(*names: str) -> Reading[int]:
        return reading(
            place(counters, *(f"clocks_event_reasons_counters_{name}" for name in names), *names), whole
        )

    return Clocks(
        performance_state=reading(place(tree, "performance_state"), whole),
        sm_mhz=reading(place(tree, "clocks.sm_clock", "clocks.sm"), whole),
        sm_max_mhz=reading(place(tree, "max_clocks.sm_clock", "max_clocks.sm"), whole),
        memory_mhz=reading(place(tree, "clocks.mem_clock", "clocks.memory"), whole),
        memory_max_mhz=reading(place(tree, "max_clocks.mem_clock", "max_clocks.memory"), whole),
        event_reasons=_reasons(tree),
        sw_thermal_us=microseconds("sw_therm_slowdown", "sw_thermal_slowdown"),
        hw_thermal_us=microseconds("hw_therm_slowdown", "hw_thermal_slowdown"),
        power_brake_us=microseconds("hw_power_brake", "hw_power_braking"),
    )


def _reasons(tree: Tree) -> Reading[int]:
    """The mask of the reasons that are "Active"; a failed reading if one of them has another text."""
    names = ("clocks_event_reasons", "clocks_throttle_reasons")
    part = branch(tree, *names)
    if not part:
        return reading(place(tree, *names), whole)
    mask, known = 0, 0
    for bit, endings in _REASONS.items():
        prefixes = ("", "clocks_event_reason_", "clocks_event_reasons_", "clocks_throttle_reason_")
        state = reading(place(part, *(f"{p}{ending}" for ending in endings for p in prefixes)), switch)
        if state.state == "failed":
            return Reading.failed(state.why, state.code)
        known += state.ok
        mask |= bit if state.value else 0
    return Reading.of(mask) if known else Reading.not_supported("nvidia-smi gives no value")


def _link(tree: Tree) -> Link:
    part = branch(tree, "pci.pci_gpu_link_info", "pci.gpu_link_info")
    generation = branch(part, "pcie_gen", "pcie_generation")
    width = branch(part, "link_widths", "link_width")

    def at(where: Tree, *names: str) -> Reading[int]:
        return reading(place(where, *names), whole)

    return Link(
        generation=at(generation, "current_link_gen", "current"),
        generation_max=at(generation, "max_link_gen", "max"),
        generation_device_max=at(generation, "max_device_link_gen", "device_max"),
        width=at(width, "current_link_width", "current"),
        width_max=at(width, "max_link_width", "max"),
        replays=reading(place(tree, "pci.replay_counter", "pci.replays_since_reset"), whole),
    )


def _errors(tree: Tree) -> Errors:
    mode = branch(tree, "ecc_mode")
    rows = branch(tree, "remapped_rows")
    none = place(tree, "remapped_rows")

    def row(*names: str) -> Reading[Any]:
        return reading(place(rows, *names) or none, whole)

    def row_flag(*names: str) -> Reading[bool]:
        return reading(place(rows, *names) or none, switch)

    return Errors(
        ecc_enabled=reading(place(mode, "current_ecc", "current"), switch),
        ecc_pending=reading(place(mode, "pending_ecc", "pending"), switch),
        ecc_corrected=_ecc(tree, "volatile", ("single_bit.total",), "correctable"),
        ecc_uncorrected=_ecc(tree, "volatile", ("double_bit.total",), "uncorrectable"),
        ecc_uncorrected_lifetime=_ecc(tree, "aggregate", ("double_bit.total",), "uncorrectable"),
        retired_pages=_retired(branch(tree, "retired_pages")),
        retirement_pending=reading(
            place(
                branch(tree, "retired_pages"),
                "pending_retirement",
                "pending_page_blacklist",
                "pending_blacklist",
            ),
            switch,
        ),
        remapped_rows_corrected=row("remapped_row_corr", "correctable_error", "correctable_errors"),
        remapped_rows_uncorrected=row("remapped_row_unc", "uncorrectable_error", "uncorrectable_errors"),
        remap_pending=row_flag("remapped_row_pending", "pending"),
        remap_failed=row_flag("remapped_row_failure", "remapping_failure_occurred"),
        inforom_valid=Reading.not_in_source(),
        inforom_version=reading(
            place(tree, "inforom_version.img_version", "inforom_version.image_version"), plain
        ),
        recovery_action=reading(
            place(tree, "gpu_recovery_action"), lambda text: _RECOVERY[_word(text, _RECOVERY)]
        ),
    )


def _ecc(tree: Tree, period: str, totals: tuple[str, ...], kind: str) -> Reading[int]:
    """Errors of one period: the total (schemas 10 and 11), else the sum of SRAM and DRAM (schema 12 on)."""
    part = branch(tree, f"ecc_errors.{period}")
    if not part:
        return reading(place(tree, "ecc_errors"), whole)
    total = place(part, *totals)
    if total is not None:
        return reading(total, whole)
    counted = [
        reading(text, whole)
        for name, text in part.items()
        if isinstance(text, str) and re.fullmatch(rf"(sram|dram)_{kind}(_parity|_sec_?ded|_errors)?", name)
    ]
    bad = next((one for one in counted if one.state == "failed"), None)
    if bad is not None:
        return bad
    known = [one.value or 0 for one in counted if one.ok]
    if known:
        return Reading.of(sum(known))
    return counted[0] if counted else Reading.not_in_source()


def _retired(part: Tree) -> Reading[int]:
    texts = [
        place(part, "multiple_single_bit_retirement.retired_count", "single_bit_ecc"),
        place(part, "double_bit_retirement.retired_count", "double_bit_ecc"),
    ]
    counts = [reading(text, whole) for text in texts]
    bad = next((count for count in counts if not count.ok), None)
    return bad if bad is not None else Reading.of(sum(count.value or 0 for count in counts))


def _processes(tree: Tree) -> Reading[tuple[GpuProcess, ...]]:
    """The programs on the card. An empty list in XML and "None" in text mean that there are none."""
    part = tree.get("processes")
    if part is None:
        return Reading.not_in_source()
    if isinstance(part, str):
        return Reading.of(()) if part.lower() in ("", "none") else reading(part, _no_processes)
    if not isinstance(part, dict):
        return Reading.not_in_source()
    listed = part.get("process_info")
    entries = [one for one in (listed if isinstance(listed, list) else [listed]) if isinstance(one, dict)]
    if listed is None:
        columns = ("process_id", "type", "name", "used_gpu_memory")
        values = [part.get(name, []) for name in columns]
        lists = [value if isinstance(value, list) else [value] for value in values]
        entries = [dict(zip(("pid", "type", "process_name", "used_memory"), row, strict=True))
                   for row in zip(*lists, strict=False)]  # fmt: skip
    return Reading.of(tuple(process for entry in entries if (process := _process(entry)) is not None))


def _no_processes(text: str) -> tuple[GpuProcess, ...]:
    raise ValueError(text)


def _process(entry: Tree) -> GpuProcess | None:
    pid = reading(place(entry, "pid", "process_id"), whole)
    if not pid.ok or not 0 < (pid.value or 0) < 1 << 31:
        return None
    kind = (place(entry, "type") or "").upper()
    return GpuProcess(
        pid=pid.value or 0,
        kind="compute" if "C" in kind else "graphics",
        name=(place(entry, "process_name", "name") or "")[:200],
        memory_bytes=reading(place(entry, "used_memory", "used_gpu_memory"), mib).value,
        draws="G" in kind and "C" in kind,
    )


def with_invalid_inforom(cards: tuple[Gpu, ...], text: str) -> tuple[Gpu, ...]:
    """``cards`` with the warning "infoROM is corrupted at gpu ADDRESS", which ends the output of nvidia-smi."""
    damaged = {
        address(found)
        for found in re.findall(r"infoROM is corrupted at gpu (\S+)", text)
        if _ADDRESS.search(found)
    }
    return tuple(
        msgspec.structs.replace(
            gpu, errors=msgspec.structs.replace(gpu.errors, inforom_valid=Reading.of(False))
        )
        if gpu.pci_address.value in damaged
        else gpu
        for gpu in cards
    )
