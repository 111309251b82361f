"""Read `lspci` (plain, -n, -nn, -k, -v): the NVIDIA display functions, as files of sysfs."""

from __future__ import annotations

import re

import msgspec

from inventory.cards import cards
from inventory.sources.root import Root

DEVICES = "sys/bus/pci/devices"
_HEAD = re.compile(
    r"^(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<slot>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+(?P<kind>[^:\n]{3,80}):\s+(?P<what>.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_IDS = re.compile(r"\[?\b(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\b\]?", re.IGNORECASE)
_DISPLAY = re.compile(r"\b(?:VGA compatible|3D|Display) controller\b", re.IGNORECASE)
_GENERATIONS = ("2.5", "5", "8", "16", "32", "64")


class BusDevice(msgspec.Struct, kw_only=True):
    """One NVIDIA display function as lspci lists it; a value that this output does not show is None."""

    address: str
    device_id: int
    class_code: int = 0x030000
    subsystem: tuple[int, int] | None = None
    driver: str | None = None
    names_driver: bool = False
    """Whether the output would name a driver that is bound to this device. If it would, and ``driver`` is None, no
    driver is bound."""
    link: dict[str, str] = {}
    """Name of a file in sysfs -> its content."""


def found_in(text: str) -> bool:
    """Whether ``text`` contains the output of lspci."""
    found = _HEAD.search(text)
    return found is not None and (
        _class_of(found) is not None
        or bool(re.search(r"controller|device|bridge", found["kind"], re.IGNORECASE))
    )


def devices(text: str) -> dict[str, BusDevice]:
    """The NVIDIA display functions in ``text`` by address. Several outputs in one text are merged."""
    heads = list(_HEAD.finditer(text))
    shows_drivers = bool(re.search(r"^\s+Kernel (driver in use|modules):", text, re.MULTILINE))
    found: dict[str, BusDevice] = {}
    for number, head in enumerate(heads):
        code = _class_of(head)
        device_id = _device_id(head["what"], head["kind"]) if code is not None else None
        if code is None or device_id is None:
            continue
        end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
        body = _indented(text[head.end() : min(end, head.end() + 60_000)])
        address = f"{int(head['domain'] or '0', 16):04x}:{head['slot'].lower()}"
        one = found.setdefault(address, BusDevice(address=address, device_id=device_id, class_code=code))
        one.names_driver = one.names_driver or (shows_drivers and bool(body))
        _attributes(one, body)
    return found


def _indented(body: str) -> str:
    lines = body.lstrip("\n").splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip() and not line[:1].isspace()), len(lines))
    return "\n".join(lines[:end])


def _class_of(head: re.Match[str]) -> int | None:
    numbered = re.search(r"\[?\b(03[0-9a-f]{2})\b\]?\s*$", head["kind"], re.IGNORECASE)
    if numbered:
        code = int(numbered[1], 16)
        return code << 8 if code in (0x0300, 0x0302) else None
    if not _DISPLAY.search(head["kind"]):
        return None
    return 0x030200 if "3d" in head["kind"].lower() else 0x030000


def _device_id(what: str, kind: str) -> int | None:
    """The device id of an NVIDIA card; from its name in the catalogue where lspci ran without -n or -nn."""
    numbers = [found["device"] for found in _IDS.finditer(what) if found["vendor"].lower() == "10de"]
    if numbers:
        return int(numbers[-1], 16)
    if "nvidia" not in what.lower():
        return None
    name = re.findall(r"\[([^\]]+)\]", what)
    unnamed = re.search(r"\bDevice ([0-9a-f]{4})\b", what)
    if unnamed:
        return int(unnamed[1], 16)
    for text in reversed(name):
        try:
            ids = cards.find(text.split(" / ")[0]).pci_ids
            return int(ids[0].rpartition(":")[2], 16) if ids else None
        except (cards.UnknownCard, ValueError):
            continue
    return None


def _attributes(one: BusDevice, body: str) -> None:
    subsystem = re.search(r"^\s*Subsystem:.*?\[?\b([0-9a-f]{4}):([0-9a-f]{4})\]?\s*$", body, re.MULTILINE)
    if subsystem:
        one.subsystem = (int(subsystem[1], 16), int(subsystem[2], 16))
    driver = re.search(r"^\s*Kernel driver in use:\s*(\S+)", body, re.MULTILINE)
    if driver:
        one.driver, one.names_driver = driver[1], True
    for word, prefix in (("LnkCap", "max"), ("LnkSta", "current")):
        line = re.search(rf"^\s*{word}:.*?Speed ([\d.]+)GT/s.*?Width x(\d+)", body, re.MULTILINE)
        if line and line[1] in _GENERATIONS:
            one.link[f"{prefix}_link_speed"] = f"{float(line[1]):.1f} GT/s PCIe"
            one.link[f"{prefix}_link_width"] = line[2]


def write(found: dict[str, BusDevice], root: Root) -> None:
    """Write the devices as files of sysfs. A device that ``root`` has already is left as it is."""
    for address, one in found.items():
        folder = f"{DEVICES}/{address}"
        if root.has(folder):
            continue
        root.write(f"{folder}/vendor", "0x10de")
        root.write(f"{folder}/device", f"0x{one.device_id:04x}")
        root.write(f"{folder}/class", f"0x{one.class_code:06x}")
        if one.subsystem:
            root.write(f"{folder}/subsystem_vendor", f"0x{one.subsystem[0]:04x}")
            root.write(f"{folder}/subsystem_device", f"0x{one.subsystem[1]:04x}")
        if one.driver:
            root.write(f"{folder}/driver", one.driver)
        for name, content in one.link.items():
            root.write(f"{folder}/{name}", content)
