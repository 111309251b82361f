"""What nvidia-smi reports: the cards, the driver's version, or why it cannot reach a card."""

from __future__ import annotations

import re

import msgspec

from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.sources import smi_gpu
from inventory.sources.smi_trees import text_trees, xml_trees
from inventory.sources.smi_values import Tree, place, plain, reading, shortened, switch

_FAILURES: tuple[tuple[re.Pattern[str], int, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code, why)
    for pattern, code, why in (
        (r"Failed to initialize NVML: Driver/library version mismatch", 18,
         "the library and the kernel module have different versions"),
        (r"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver", 9,
         "the NVIDIA kernel module is not loaded"),
        (r"Failed to initialize NVML: Driver Not Loaded", 9, "the NVIDIA kernel module is not loaded"),
        (r"NVIDIA-SMI couldn't find libnvidia-ml\.so", 12, "the library libnvidia-ml.so.1 was not found"),
        (r"Failed to initialize NVML: (Insufficient Permissions|.*permission)", 4, "no permission"),
        (r"GPU access blocked by the operating system", 17, "the operating system blocks access to the card"),
        (r"Failed to initialize NVML: GPU is lost", 15, "the card has fallen off the bus"),
        (r"Failed to initialize NVML: Unknown Error", 999, "NVML reports an unknown error"),
        (r"Failed to initialize NVML: N/A", 999, "NVML reports an unknown error"),
    )
)  # fmt: skip
"""Message of nvidia-smi, NVML's code for it, and its meaning."""
_NO_DEVICES = re.compile(r"^\s*No devices were found", re.MULTILINE | re.IGNORECASE)
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for (?:GPU|gpu)\s*([\w.]*:?)\s*([0-9A-Fa-f:.]{7,16}):\s*(.+?)\s*$",
    re.MULTILINE,
)
_TABLE = re.compile(
    r"^\|\s*NVIDIA-SMI\s+(?P<smi>[\d.]+)\s+(?:Driver Version|KMD Version):\s*(?P<driver>[\d.]+)"
    r"(?:\s+CUDA (?:UMD )?Version:\s*(?P<cuda>[\d.]+))?",
    re.MULTILINE,
)
_TABLE_CARD = re.compile(
    r"^\|\s*(?P<index>\d+)\s+(?P<name>\S.*?)\s+(?P<persistence>On|Off|N/A)\s*\|\s*"
    r"(?P<bus>[0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d)\s+(?P<display>On|Off|N/A)\s*\|[^|\n]*\|\s*\n"
    r"\|\s*(?P<fan>\d+%|N/A|ERR!|\[[^\]]*\]|Unknown Error)\s+(?P<temperature>\S+)\s+(?P<state>\S+)\s+"
    r"(?P<draw>[^\s/]+(?:/A)?)\s*/\s*(?P<limit>\S+)\s*\|\s*"
    r"(?P<used>[^\s/]+(?:/A)?)\s*/\s*(?P<total>\S+)\s*\|\s*(?P<load>\S+)\s+(?P<mode>[^|\n]+?)\s*\|",
    re.MULTILINE,
)
_MODES = {
    "default": "Default",
    "e. process": "Exclusive_Process",
    "prohibited": "Prohibited",
    "e. thread": "Exclusive_Thread",
}


class SmiReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of nvidia-smi in one report."""

    part: str = ""
    """Which output was read: "nvidia-smi -q -x", "nvidia-smi -q", "nvidia-smi"; "" if there is none."""
    nvml: Reading[bool] = Reading.not_in_source()
    gpus: tuple[Gpu, ...] = ()
    driver_version: Reading[str] = Reading.not_in_source()
    cuda_version: Reading[str] = Reading.not_in_source()
    library_version: str = ""
    """The library's version in the message about a version mismatch."""
    virtual: bool | None = None
    """Whether the card is passed through to a virtual machine or is a vGPU; None if the output does not say."""


def read(texts: list[str]) -> SmiReport:
    """The most detailed output of nvidia-smi in ``texts``: XML, then text, then the table, then its messages."""
    for part, parse in (("nvidia-smi -q -x", xml_trees), ("nvidia-smi -q", text_trees)):
        for text in texts:
            for tree in parse(text) if _may_contain(part, text) else ():
                return _of_tree(part, tree, text)
    for text in texts:
        table = _TABLE.search(text)
        if table:
            return _of_table(table, text)
    for text in texts:
        found = _of_message(text)
        if found is not None:
            return found
    return SmiReport()


def _may_contain(part: str, text: str) -> bool:
    return ("<nvidia_smi_log" if part.endswith("-x") else "NVSMI LOG") in text


def _of_tree(part: str, tree: Tree, text: str) -> SmiReport:
    cards = smi_gpu.with_invalid_inforom(smi_gpu.gpus(tree), text)
    cards = _with_lost(cards, text)
    modes = {place(entry, "gpu_virtualization_mode.virtualization_mode") or "" for entry in _entries(tree)}
    return SmiReport(
        part=part,
        nvml=Reading.of(True),
        gpus=cards,
        driver_version=reading(place(tree, "driver_version", "kmd_version"), plain),
        cuda_version=reading(place(tree, "cuda_version", "cuda_umd_version"), plain),
        virtual=True if any("pass" in m.lower() or m.lower() == "vgpu" for m in modes) else None,
    )


def _entries(tree: Tree) -> list[Tree]:
    found = tree.get("gpu", [])
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def _of_table(table: re.Match[str], text: str) -> SmiReport:
    """The table of `nvidia-smi` without options. It shortens names, so the name of a card may be cut ("...")."""
    body = text[table.start() : table.start() + 64_000]
    cards = tuple(_table_card(number, found) for number, found in enumerate(_TABLE_CARD.finditer(body)))
    return SmiReport(
        part="nvidia-smi",
        nvml=Reading.of(True),
        gpus=_with_lost(cards[: smi_gpu.MOST_CARDS], text),
        driver_version=Reading.of(table["driver"]),
        cuda_version=reading(table["cuda"], plain),
    )


def _table_card(index: int, found: re.Match[str]) -> Gpu:
    tree: Tree = {
        "pci": {"pci_bus_id": found["bus"]},
        "persistence_mode": {"On": "Enabled", "Off": "Disabled"}.get(found["persistence"], "N/A"),
        "display_active": {"On": "Enabled", "Off": "Disabled"}.get(found["display"], "N/A"),
        "fan_speed": found["fan"],
        "temperature": {"gpu_temp": found["temperature"]},
        "performance_state": found["state"],
        "power_readings": {"power_draw": found["draw"], "power_limit": found["limit"]},
        "fb_memory_usage": {"used": found["used"], "total": found["total"]},
        "utilization": {"gpu_util": found["load"]},
        "compute_mode": _MODES.get(found["mode"].strip().lower(), found["mode"]),
    }
    if "..." not in found["name"]:
        tree["product_name"] = found["name"]
    (card,) = smi_gpu.gpus({"gpu": tree})
    return msgspec.structs.replace(card, index=index)


def _of_message(text: str) -> SmiReport | None:
    for pattern, code, why in _FAILURES:
        if pattern.search(text):
            nvml: Reading[bool] = Reading.no_permission(why, code) if code == 4 else Reading.failed(why, code)
            library = re.search(r"NVML library version: (\d+\.\d+(?:\.\d+)?)", text)
            return SmiReport(part="nvidia-smi", nvml=nvml, library_version=library[1] if library else "")
    lost = _with_lost((), text)
    if lost or _NO_DEVICES.search(text):
        return SmiReport(part="nvidia-smi", nvml=Reading.of(True), gpus=lost)
    return None


def _with_lost(cards: tuple[Gpu, ...], text: str) -> tuple[Gpu, ...]:
    """``cards`` and those of which nvidia-smi says that it has no handle."""
    found = list(cards)
    for message in list(_NO_HANDLE.finditer(text))[: smi_gpu.MOST_CARDS]:
        try:
            where = smi_gpu.address(message[2] if message[2].count(":") == 2 else f"0000:{message[2]}")
        except ValueError:
            continue
        if any(gpu.pci_address.value == where for gpu in found):
            continue
        why = reading(message[3], switch)
        handle: Reading[bool] = (
            Reading.failed(why.why, why.code)
            if why.code is not None
            else Reading.failed(f"nvidia-smi gives {shortened(message[3])}", 999)
        )
        found.append(Gpu(index=len(found), handle=handle, pci_address=Reading.of(where)))
    return tuple(found)
