"""Real captures of cards: a sound card gives no alarm, and each fault of a faulty one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from reports import tag

from bench import health
from bench.finding import Status, verdict
from inventory.sources import read

CAPTURES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "captures/captures.yml").read_text())
REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "display_clocks_setting",
)


def said(value: Any, form: str = "{}") -> str:
    if isinstance(value, bool):
        return "Enabled" if value else "Disabled"
    return "N/A" if value is None else form.format(value)


def part(names: tuple[str, ...], values: list[Any], form: str) -> list[str]:
    return [tag(name, said(value, form)) for name, value in zip(names, values, strict=False)]


def card_xml(capture: dict[str, Any], card: dict[str, Any]) -> str:
    """One card in the XML of the capture's schema."""
    schema, bus = capture["schema"], f"00000000:{card['bus']}"
    generation, highest, width, widest = card["link"]
    old = schema < 12 or capture.get("old_power", False)
    word = "throttle" if old else "event"
    active = card.get("reasons", [])
    limits = part(
        (
            "gpu_temp_max_threshold",
            "gpu_temp_slow_threshold",
            "gpu_temp_max_gpu_threshold",
            "gpu_target_temperature",
        ),
        card["limits"],
        "{} C",
    )
    margins = part(
        (
            "gpu_temp_tlimit",
            "gpu_temp_max_tlimit_threshold",
            "gpu_temp_slow_tlimit_threshold",
            "gpu_temp_max_gpu_tlimit_threshold",
        ),
        card.get("margins", []),
        "{} C",
    )
    power = (
        "power_draw" if schema < 13 else "instant_power_draw",
        "enforced_power_limit" if old else "current_power_limit",
        "default_power_limit",
        "min_power_limit",
        "max_power_limit",
    )
    ecc, retired, remapped = card.get("ecc"), card.get("retired"), card.get("remapped")
    return "\n".join(
        [
            f'<gpu id="{bus}">',
            tag("product_name", card["name"]),
            tag("display_active", said(card.get("display"))),
            tag("persistence_mode", said(card.get("persistence"))),
            tag("mig_mode", [tag("current_mig", said(card.get("mig")))]),
            tag("uuid", f"GPU-00000000-0000-0000-0000-0000000000{card['bus'][:2]}"),
            tag("vbios_version", said(card.get("vbios"))),
            tag("gsp_firmware_version", said(capture.get("gsp"))),
            tag("gpu_virtualization_mode", [tag("virtualization_mode", capture.get("virtual", "None"))]),
            *([tag("gpu_recovery_action", capture["recovery"])] if "recovery" in capture else []),
            tag(
                "pci",
                [
                    *([tag("pci_device_id", f"{card['device']}10DE")] if "device" in card else []),
                    tag("pci_bus_id", bus),
                    tag(
                        "pci_gpu_link_info",
                        [
                            tag(
                                "pcie_gen",
                                [
                                    tag("max_link_gen", said(highest)),
                                    tag("current_link_gen", said(generation)),
                                ],
                            ),
                            tag(
                                "link_widths",
                                [
                                    tag("max_link_width", said(widest, "{}x")),
                                    tag("current_link_width", said(width, "{}x")),
                                ],
                            ),
                        ],
                    ),
                    tag("replay_counter", "0"),
                ],
            ),
            tag("fan_speed", said(card["fan"], "{} %")),
            tag("performance_state", f"P{card['state']}"),
            tag(
                f"clocks_{word}_reasons",
                "N/A"
                if active is None
                else [
                    tag(f"clocks_{word}_reason_{name}", "Active" if name in active else "Not Active")
                    for name in REASONS
                ],
            ),
            tag("fb_memory_usage", part(("total", "reserved", "used"), card["memory"], "{} MiB")),
            tag("compute_mode", "Default"),
            tag("utilization", [tag("gpu_util", "0 %")]),
            tag(
                "ecc_mode",
                [
                    tag("current_ecc", said(None if ecc is None else True)),
                    tag("pending_ecc", said(None if ecc is None else True)),
                ],
            ),
            tag(
                "ecc_errors",
                [
                    tag(
                        period,
                        [
                            tag(f"{kind}_{what}", said(ecc))
                            for kind in ("sram", "dram")
                            for what in ("correctable", "uncorrectable")
                        ],
                    )
                    for period in ("volatile", "aggregate")
                ],
            ),
            tag(
                "retired_pages",
                [
                    tag(name, [tag("retired_count", said(retired))])
                    for name in ("multiple_single_bit_retirement", "double_bit_retirement")
                ]
                + [tag("pending_retirement", "N/A" if retired is None else "No")],
            ),
            tag(
                "remapped_rows",
                "N/A"
                if remapped is None
                else [
                    tag("remapped_row_corr", "0"),
                    tag("remapped_row_unc", str(remapped)),
                    tag("remapped_row_pending", "No"),
                    tag("remapped_row_failure", "No"),
                ],
            ),
            tag(
                "temperature",
                [
                    tag("gpu_temp", f"{card['temperature']} C"),
                    *limits,
                    *margins,
                    tag("memory_temp", said(card.get("memory_temperature"), "{} C")),
                    tag("gpu_temp_max_mem_threshold", said(card.get("memory_limit"), "{} C")),
                ],
            ),
            tag("power_readings" if old else "gpu_power_readings", part(power, card["power"], "{:.2f} W")),
            tag("clocks", part(("sm_clock", "mem_clock"), card["clocks"][:2], "{} MHz")),
            tag("max_clocks", part(("sm_clock", "mem_clock"), card["clocks"][2:], "{} MHz")),
            "<processes>\n</processes>",
            "</gpu>",
        ]
    )


def xml(capture: dict[str, Any]) -> str:
    return "\n".join(
        [
            '<?xml version="1.0" ?>',
            f'<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v{capture["schema"]}.dtd">',
            "<nvidia_smi_log>",
            *(
                [tag("driver_version", capture["driver"]), tag("cuda_version", "12.2")]
                if capture["driver"]
                else []
            ),
            tag("attached_gpus", str(len(capture["cards"]))),
            *(card_xml(capture, card) for card in capture["cards"]),
            "</nvidia_smi_log>",
        ]
    )


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture["id"])
def test_a_sound_card_gives_no_alarm_and_each_fault_is_named(capture: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "smi.xml"
    file.write_text(xml(capture))
    machine = read.machine(file)
    assert [gpu.name.value for gpu in machine.gpus] == [card["name"] for card in capture["cards"]]
    findings = health.run(machine)
    expect = capture.get("expect", {})
    failed = {finding.id for finding in findings if finding.status is Status.FAIL}
    assert failed == set(expect.get("fail", ())), [f for f in findings if f.status is Status.FAIL]
    assert not [finding for finding in findings if finding.status is Status.UNKNOWN]
    if not expect:
        assert verdict(findings, has_gpu=True) == "ready"
    for finding in findings:
        assert finding.remedy or finding.status in (Status.PASS, Status.SKIP)


def test_margins_of_cards_since_ada_are_read(tmp_path: Path) -> None:
    capture = next(one for one in CAPTURES if one["id"] == "rtx-4000-sff-ada")
    (tmp_path / "smi.xml").write_text(xml(capture))
    temperatures = read.machine(tmp_path / "smi.xml").gpus[0].temperatures
    assert (temperatures.margin_c.value, temperatures.shutdown_margin_c.value) == (49, -7)
    assert (temperatures.slowdown_margin_c.value, temperatures.max_operating_margin_c.value) == (-2, 0)
