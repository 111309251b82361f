"""Render the reports that people send about a computer from a Machine: the formats are those of the public tools."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine

RULER = "____________________________________________"
_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
}
_RECOVERY = {0: "None", 1: "Reset", 2: "Reboot", 3: "Drain P2P", 4: "Drain and Reset"}
_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}


def shown(reading: Reading[Any], form: str = "{}") -> str:
    """The value in nvidia-smi's words."""
    if reading.ok:
        return form.format(reading.value)
    if reading.code == 15:
        return "GPU is lost"
    if reading.code == 16:
        return "GPU requires reset"
    return {"failed": "Unknown Error", "no-permission": "Insufficient Permissions"}.get(reading.state, "N/A")


def onoff(reading: Reading[bool], on: str = "Enabled", off: str = "Disabled") -> str:
    return shown(Reading.of(on if reading.value else off)) if reading.ok else shown(reading)


def mib(reading: Reading[int]) -> str:
    return shown(Reading.of(reading.value >> 20) if reading.value is not None else reading, "{} MiB")


def tag(name: str, content: str | Iterable[str]) -> str:
    inner = escape(content) if isinstance(content, str) else "\n".join(["", *content, ""])
    return f"<{name}>{inner}</{name}>"


def gpu_xml(gpu: Gpu) -> str:
    reasons = gpu.clocks.event_reasons
    device = gpu.pci_device_id
    rows = gpu.errors
    address = (gpu.pci_address.value or "0000:00:00.0").rjust(16, "0")
    none = all(r.state == "not-supported" for r in (rows.remap_pending, rows.remap_failed))
    fans = gpu.fan_percent
    return "\n".join(
        [
            f'<gpu id="{address}">',
            tag("product_name", shown(gpu.name)),
            tag("display_active", onoff(gpu.display_active)),
            tag("persistence_mode", onoff(gpu.persistence)),
            tag("mig_mode", [tag("current_mig", onoff(gpu.mig))]),
            tag("serial", "1234567890123"),
            tag("uuid", shown(gpu.uuid)),
            tag("vbios_version", shown(gpu.vbios_version)),
            tag("inforom_version", [tag("img_version", shown(rows.inforom_version))]),
            tag("gpu_virtualization_mode", [tag("virtualization_mode", "None")]),
            tag(
                "gpu_recovery_action",
                shown(Reading.of(_RECOVERY.get(rows.recovery_action.value or 0, "None")))
                if rows.recovery_action.ok
                else shown(rows.recovery_action),
            ),
            tag("gsp_firmware_version", shown(gpu.gsp_version)),
            tag(
                "pci",
                [
                    tag("pci_device_id", f"{device.value:04X}10DE" if device.value else shown(device)),
                    tag("pci_bus_id", address),
                    tag(
                        "pci_gpu_link_info",
                        [
                            tag(
                                "pcie_gen",
                                [
                                    tag("max_link_gen", shown(gpu.link.generation_max)),
                                    tag("current_link_gen", shown(gpu.link.generation)),
                                    tag("max_device_link_gen", shown(gpu.link.generation_device_max)),
                                ],
                            ),
                            tag(
                                "link_widths",
                                [
                                    tag("max_link_width", shown(gpu.link.width_max, "{}x")),
                                    tag("current_link_width", shown(gpu.link.width, "{}x")),
                                ],
                            ),
                        ],
                    ),
                    tag("replay_counter", shown(gpu.link.replays)),
                ],
            ),
            tag("fan_speed", f"{fans.value[0]} %" if fans.value else shown(fans)),
            tag("performance_state", shown(gpu.clocks.performance_state, "P{}")),
            tag(
                "clocks_event_reasons",
                [
                    tag(
                        f"clocks_event_reason_{name}",
                        "Active" if (reasons.value or 0) & bit else "Not Active",
                    )
                    for bit, name in _REASONS.items()
                ]
                if reasons.ok
                else shown(reasons),
            ),
            tag(
                "fb_memory_usage",
                [
                    tag("total", mib(gpu.memory_total_bytes)),
                    tag("reserved", mib(gpu.memory_reserved_bytes)),
                    tag("used", mib(gpu.memory_used_bytes)),
                ],
            ),
            tag("bar1_memory_usage", [tag("total", mib(gpu.bar1_total_bytes))]),
            tag(
                "compute_mode",
                _MODES[gpu.compute_mode.value or 0] if gpu.compute_mode.ok else shown(gpu.compute_mode),
            ),
            tag("utilization", [tag("gpu_util", shown(gpu.utilisation_percent, "{} %"))]),
            tag(
                "ecc_mode",
                [tag("current_ecc", onoff(rows.ecc_enabled)), tag("pending_ecc", onoff(rows.ecc_pending))],
            ),
            tag(
                "ecc_errors",
                [
                    tag(
                        "volatile",
                        [
                            tag("dram_correctable", shown(rows.ecc_corrected)),
                            tag("dram_uncorrectable", shown(rows.ecc_uncorrected)),
                        ],
                    ),
                    tag("aggregate", [tag("dram_uncorrectable", shown(rows.ecc_uncorrected_lifetime))]),
                ],
            ),
            tag(
                "retired_pages",
                [
                    tag("multiple_single_bit_retirement", [tag("retired_count", shown(rows.retired_pages))]),
                    tag(
                        "double_bit_retirement",
                        [tag("retired_count", "0" if rows.retired_pages.ok else shown(rows.retired_pages))],
                    ),
                    tag("pending_retirement", onoff(rows.retirement_pending, "Yes", "No")),
                ],
            ),
            tag(
                "remapped_rows",
                "N/A"
                if none
                else [
                    tag("remapped_row_corr", shown(rows.remapped_rows_corrected)),
                    tag("remapped_row_unc", shown(rows.remapped_rows_uncorrected)),
                    tag("remapped_row_pending", onoff(rows.remap_pending, "Yes", "No")),
                    tag("remapped_row_failure", onoff(rows.remap_failed, "Yes", "No")),
                ],
            ),
            tag(
                "temperature",
                [
                    tag("gpu_temp", shown(gpu.temperatures.gpu_c, "{} C")),
                    tag("gpu_temp_tlimit", shown(gpu.temperatures.margin_c, "{} C")),
                    tag("gpu_temp_max_tlimit_threshold", shown(gpu.temperatures.shutdown_margin_c, "{} C")),
                    tag("gpu_temp_slow_tlimit_threshold", shown(gpu.temperatures.slowdown_margin_c, "{} C")),
                    tag(
                        "gpu_temp_max_gpu_tlimit_threshold",
                        shown(gpu.temperatures.max_operating_margin_c, "{} C"),
                    ),
                    tag("gpu_temp_max_threshold", shown(gpu.temperatures.shutdown_c, "{} C")),
                    tag("gpu_temp_slow_threshold", shown(gpu.temperatures.slowdown_c, "{} C")),
                    tag("gpu_temp_max_gpu_threshold", shown(gpu.temperatures.max_operating_c, "{} C")),
                    tag("gpu_target_temperature", shown(gpu.temperatures.target_c, "{} C")),
                    tag("memory_temp", shown(gpu.temperatures.memory_c, "{} C")),
                    tag("gpu_temp_max_mem_threshold", shown(gpu.temperatures.memory_max_c, "{} C")),
                ],
            ),
            tag(
                "gpu_power_readings",
                [
                    tag("instant_power_draw", shown(gpu.power.draw_w, "{:.2f} W")),
                    tag("current_power_limit", shown(gpu.power.limit_w, "{:.2f} W")),
                    tag("default_power_limit", shown(gpu.power.default_limit_w, "{:.2f} W")),
                    tag("min_power_limit", shown(gpu.power.min_limit_w, "{:.2f} W")),
                    tag("max_power_limit", shown(gpu.power.max_limit_w, "{:.2f} W")),
                ],
            ),
            tag(
                "clocks",
                [
                    tag("sm_clock", shown(gpu.clocks.sm_mhz, "{} MHz")),
                    tag("mem_clock", shown(gpu.clocks.memory_mhz, "{} MHz")),
                ],
            ),
            tag(
                "max_clocks",
                [
                    tag("sm_clock", shown(gpu.clocks.sm_max_mhz, "{} MHz")),
                    tag("mem_clock", shown(gpu.clocks.memory_max_mhz, "{} MHz")),
                ],
            ),
            tag(
                "processes",
                [
                    tag(
                        "process_info",
                        [
                            tag("pid", str(p.pid)),
                            tag("type", "C+G" if p.draws else "C" if p.kind == "compute" else "G"),
                            tag("process_name", p.name),
                            tag(
                                "used_memory",
                                f"{p.memory_bytes >> 20} MiB" if p.memory_bytes is not None else "N/A",
                            ),
                        ],
                    )
                    for p in gpu.processes.value
                ]
                if gpu.processes.ok
                else shown(gpu.processes),
            ),
            "</gpu>",
        ]
    )


_MESSAGES = {
    4: "Failed to initialize NVML: Insufficient Permissions",
    9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running.",
    12: "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver "  # noqa: E501
    "is properly installed and present in your system.",
    15: "Failed to initialize NVML: GPU is lost",
    18: "Failed to initialize NVML: Driver/library version mismatch",
}


def smi_xml(machine: Machine) -> str:
    """The output of `nvidia-smi -q -x` on this computer."""
    if not machine.nvml.ok:
        return _MESSAGES.get(machine.nvml.code or 999, "Failed to initialize NVML: Unknown Error") + "\n"
    answering = [gpu for gpu in machine.gpus if gpu.handle.ok]
    if not machine.gpus:
        return "No devices were found\n"
    lost = [
        f"Unable to determine the device handle for GPU{gpu.index}: {gpu.pci_address.value or f'0000:0{gpu.index + 1}:00.0'}: "  # noqa: E501
        f"{shown(gpu.handle)}\n"
        for gpu in machine.gpus
        if not gpu.handle.ok
    ]
    if not answering:
        return "".join(lost)
    head = [
        '<?xml version="1.0" ?>',
        '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
        "<nvidia_smi_log>",
        tag("timestamp", "Fri Jan  2 03:04:05 2026"),
        tag("driver_version", machine.driver.library_version.value or "N/A"),
        tag("cuda_version", machine.driver.cuda_version.value or "N/A"),
        tag("attached_gpus", str(len(machine.gpus))),
    ]
    return "\n".join([*head, *(gpu_xml(gpu) for gpu in answering), "</nvidia_smi_log>", *lost]) + "\n"


def lspci(machine: Machine) -> str:
    """The output of `lspci -nnDvvv`, shortened."""
    lines = ["0000:00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3e0f]", ""]
    for card in machine.cards:
        kind = (
            "3D controller [0302]" if card.class_code >> 8 == 0x0302 else "VGA compatible controller [0300]"
        )
        lines += [
            f"{card.address} {kind}: NVIDIA Corporation Device [10de:{card.device_id:04x}] (rev a1) (prog-if 00 [VGA controller])",  # noqa: E501
            f"\tSubsystem: Vendor Device [{card.subsystem_vendor_id:04x}:{card.subsystem_device_id:04x}]",
        ]
        if card.driver:
            lines.append(f"\tKernel driver in use: {card.driver}")
        lines += ["\tKernel modules: nvidiafb, nouveau", ""]
    return "\n".join(lines)


def bug_report(machine: Machine, *, files: dict[str, str], dmesg: str) -> str:
    """The text of nvidia-bug-report.log. ``files``: content of files below / by path."""
    kernel = machine.host.kernel
    sections = [
        "\nStart of NVIDIA bug report log file.  Please include this file, along\nwith a detailed description of your "
        "problem, when reporting a graphics\ndriver bug via the NVIDIA Linux forum (see forums.developer.nvidia.com)\n"
        "or by sending email to 'linux-bugs@nvidia.com'.\n\nnvidia-bug-report.sh Version: 34275561\n\n"
        f"Date: Fri Jan  2 03:04:05 AM UTC 2026\nuname: Linux somehost {kernel} #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n"  # noqa: E501
        "command line flags: \n"
    ]
    for path, content in files.items():
        sections.append(
            f"\n*** /{path}\n*** ls: -r--r--r-- 1 root root 0 2026-01-02 03:04:05.000000000 +0000 /{path}\n{content}\n"
        )
    sections += [
        f"\n/usr/bin/lspci -nnDvvvxxxx\n\n{lspci(machine)}\n",
        f"\n/usr/bin/nvidia-smi --query\n\n{smi_xml(machine)}\n",
        f"\n/usr/bin/dmesg\n\n{dmesg}\n",
        "\njournalctl -b -1 _COMM=Xorg\n\n-- No entries --\n",
        "\nEnd of NVIDIA bug report log file.\n",
    ]
    return "".join(f"{RULER}\n{section}\n" for section in sections)


def kernel_lines(lines: Iterable[str], kernel: str = "6.8.0-60-generic") -> str:
    """A kernel log as `dmesg` prints it."""
    first = f"Linux version {kernel} (buildd@lcy02-amd64-059) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0) 13.2.0) #63-Ubuntu SMP"  # noqa: E501
    return "".join(f"[{number:12.6f}] {line}\n" for number, line in enumerate([first, *lines]))


def program(folder: Path, name: str, output: str, code: int = 0) -> None:
    """A program in ``folder`` that prints ``output``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(output)
    file = folder / name
    file.write_text(f'#!/bin/sh\ncat "{folder / name}.txt"\nexit {code}\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
