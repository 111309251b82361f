"""NVIDIA display functions on the PCI bus, read from sysfs without a driver and without waking a card."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import PciCard

_NVIDIA = 0x10DE
_DISPLAY_CLASSES = (0x0300, 0x0302)
"""PCI classes of VGA and 3D controllers. Cards since Turing also have USB and audio functions, whose device ids
resemble those of cards."""

_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

_UNSET = 0x20000000
"""IORESOURCE_UNSET of the kernel: the region has no address yet."""

_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
"""Transfer rate in GT/s -> PCI Express generation."""


def cards(sysroot: Path = Path("/")) -> tuple[PciCard, ...]:
    """All NVIDIA graphics cards on the bus, sorted by address."""
    found = (_card(folder) for folder in kernel_files.entries(sysroot / "sys/bus/pci/devices"))
    return tuple(card for card in found if card is not None)


def places(found: Iterable[PciCard]) -> tuple[str, ...]:
    """Addresses of the cards and of the bridges above them."""
    return tuple(address for card in found for address in (card.address, card.bridge) if address)


def _card(folder: Path) -> PciCard | None:
    vendor = kernel_files.whole(folder / "vendor", 16)
    device = kernel_files.whole(folder / "device", 16)
    class_code = kernel_files.whole(folder / "class", 16)
    if vendor != _NVIDIA or device is None or class_code is None or class_code >> 8 not in _DISPLAY_CLASSES:
        return None
    slot = _bridge(folder)
    return PciCard(
        address=folder.name.lower(),
        device_id=device,
        subsystem_vendor_id=kernel_files.whole(folder / "subsystem_vendor", 16) or 0,
        subsystem_device_id=kernel_files.whole(folder / "subsystem_device", 16) or 0,
        class_code=class_code,
        driver=_driver(folder),
        runtime_status=kernel_files.text(folder / "power/runtime_status", 64) or "",
        link_generation=_generation(folder / "current_link_speed"),
        link_generation_max=_generation(folder / "max_link_speed"),
        link_width=_width(folder / "current_link_width"),
        link_width_max=_width(folder / "max_link_width"),
        slot_generation_max=_generation(slot / "max_link_speed") if slot else _no_slot(),
        slot_width_max=_width(slot / "max_link_width") if slot else _no_slot(),
        aer_fatal=_aer_total(folder / "aer_dev_fatal"),
        aer_nonfatal=_aer_total(folder / "aer_dev_nonfatal"),
        aer_correctable=_aer_total(folder / "aer_dev_correctable"),
        bar_bytes=_bars(folder / "resource"),
        bridge=slot.name.lower() if slot else "",
    )


def _bars(path: Path) -> Reading[tuple[int, ...]]:
    """Sizes of the memory regions BAR 0 to 5, from the lines "start end flags" of the file. A region to which the
    kernel could not give an address has only zeros, or starts at 0."""
    sizes: list[int] = []
    for line in (kernel_files.text(path, 4096) or "").splitlines()[:6]:
        try:
            start, end, flags = (int(number, 16) for number in line.split())
        except ValueError:
            return Reading.failed("the list of memory regions is invalid")
        sizes.append(end - start + 1 if start and end > start and not flags & _UNSET else 0)
    return Reading.of(tuple(sizes)) if any(sizes) else Reading.not_supported("no memory regions are listed")


def _driver(folder: Path) -> str | None:
    """Name of the driver that is bound to the device. In sysfs it is the target of a link; a copy of sysfs may have a
    file
    with the name instead."""
    link = folder / "driver"
    try:
        if link.is_symlink():
            return link.readlink().name or None
    except OSError:
        return None
    return kernel_files.text(link, 64) or None


def _bridge(folder: Path) -> Path | None:
    """The PCI bridge that the card is connected to: the parent folder of the device, if that is a PCI device."""
    try:
        parent = folder.resolve().parent
    except (OSError, RuntimeError):
        return None
    return parent if _ADDRESS.fullmatch(parent.name.lower()) else None


def _no_slot() -> Reading[int]:
    return Reading.not_supported("the bridge above the card is not visible")


def _generation(path: Path) -> Reading[int]:
    content = kernel_files.text(path, 64) or ""
    rate = re.match(r"([0-9.]+)\s*GT/s", content)
    try:
        generation = _GENERATIONS.get(float(rate.group(1))) if rate else None
    except ValueError:
        generation = None
    return Reading.of(generation) if generation else Reading.not_supported(f"{path.name} is not known")


def _width(path: Path) -> Reading[int]:
    """Number of lanes. A missing or sleeping card reports 0 or 255; both become an unknown value."""
    lanes = kernel_files.whole(path, 10)
    if lanes in (1, 2, 4, 8, 12, 16, 32):
        return Reading.of(lanes)
    return Reading.not_supported(f"{path.name} is not known")


def _aer_total(path: Path) -> Reading[int]:
    """Number of PCIe errors of one class since boot, from the line TOTAL_ERR_... of the file."""
    content = kernel_files.text(path) or ""
    total = re.search(r"^TOTAL_ERR_\w+\s+(\d+)$", content, re.MULTILINE)
    return Reading.of(int(total.group(1))) if total else Reading.not_supported("no PCIe error counters")
