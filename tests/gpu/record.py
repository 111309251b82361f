"""Record the readings of this machine as a scenario: ``python -m tests.gpu.record FILE.yml``.

The file has the format of ``tests/scenarios``, so that tests can read a card that was here once. Identifiers are
replaced: UUIDs, the host name, user names in paths, MAC and IP addresses, and the ids of processes. Serial numbers are
not read.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pynvml
import yaml

from inventory.cards import cards

COUNTED = (
    "PowerUsage", "EnforcedPowerLimit", "PowerManagementLimit", "PowerManagementDefaultLimit", "PerformanceState",
    "NumFans", "CurrPcieLinkGeneration", "MaxPcieLinkGeneration", "GpuMaxPcieLinkGeneration", "CurrPcieLinkWidth",
    "MaxPcieLinkWidth", "PcieReplayCounter", "MemoryBusWidth", "NumGpuCores", "ComputeMode", "PersistenceMode",
    "DisplayActive", "RetiredPagesPendingStatus", "TotalEnergyConsumption", "CurrentClocksEventReasons", "Name",
    "VbiosVersion", "InforomImageVersion", "CudaComputeCapability", "PowerManagementLimitConstraints", "EccMode",
    "MigMode", "GspFirmwareVersion", "FanSpeed", "FanSpeedRPM", "CurrentClocksThrottleReasons",
)  # fmt: skip
"""Functions without arguments; each returns a number, a text or a list of numbers."""

INDEXED = {
    "Temperature": (0,), "TemperatureThreshold": range(8), "ClockInfo": range(4), "MaxClockInfo": range(4),
    "FanSpeed_v2": range(4),
}  # fmt: skip
"""Functions with one number as argument."""

FIELDS = (82, 83, 140, 193, 194, 195, 196, 230, 269, 270, 271)
"""NVML_FI_DEV_*: memory temperature, margins of the temperature limits, errors of PCIe and of the power cables."""

FILES = (
    "etc/os-release", "proc/version", "proc/sys/kernel/osrelease", "proc/loadavg", "proc/meminfo", "proc/modules",
    "proc/driver/nvidia/version", "proc/cmdline", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "sys/class/dmi/id/chassis_type",
    "sys/kernel/iommu_groups/0/type",
)  # fmt: skip
PCI_FILES = (
    "vendor", "device", "class", "current_link_speed", "max_link_speed", "current_link_width", "max_link_width",
    "aer_dev_fatal", "aer_dev_nonfatal", "aer_dev_correctable", "resource",
)  # fmt: skip
LARGEST = 64 << 10
_LOG_LINES = 200

_IDENTIFIERS = (
    (
        re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE),
        "00000000-0000-0000-0000-000000000000",
    ),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "00:00:00:00:00:00"),
    (re.compile(r"\b(?!127\.|0\.)(?:\d{1,3}\.){3}\d{1,3}\b(?!-)"), "192.0.2.1"),
    (re.compile(r"/(home|Users)/[^/\s:\"']+"), r"/\1/user"),
    (re.compile(r"\b(serial(?: ?number)?\W{1,3})\S+", re.IGNORECASE), r"\g<1>0000000000000"),
)


def anonymous(text: str, host: str) -> str:
    """The text without UUIDs, addresses, user names, serial numbers and the name of the host."""
    for pattern, replacement in _IDENTIFIERS:
        text = pattern.sub(replacement, text)
    if len(host) > 1 and host != "localhost":
        text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", "box", text)
    return text


def answer(function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of an NVML function as scenarios write it, or {code: N}; None if the library lacks the function."""
    try:
        return _plain(function(*arguments))
    except pynvml.NVMLError as error:
        return None if error.value == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND else {"code": error.value}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [int(part) for part in value] if isinstance(value, (list, tuple)) else value


def card(handle: Any, number: int) -> dict[str, Any]:
    """The answers about one card."""
    found: dict[str, Any] = {"UUID": f"GPU-00000000-0000-0000-0000-{number + 1:012}"}
    for name in COUNTED:
        found[name] = answer(getattr(pynvml, f"nvmlDeviceGet{name}", _absent), handle)
    for name, arguments in INDEXED.items():
        function = getattr(pynvml, f"nvmlDeviceGet{name}", _absent)
        found[name] = _indexed({i: answer(function, handle, i) for i in arguments})
    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    found["PciInfo"] = {"bus_id": _plain(pci.busId), "device": pci.pciDeviceId >> 16}
    memory = answer(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    found["MemoryInfo_v2"] = memory if isinstance(memory, dict) or memory is None else {
        name: int(getattr(memory, name)) for name in ("total", "reserved", "used", "free")
    }  # fmt: skip
    found["BAR1MemoryInfo"] = answer(lambda: int(pynvml.nvmlDeviceGetBAR1MemoryInfo(handle).bar1Total))
    found["UtilizationRates"] = answer(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    found["RemappedRows"] = answer(pynvml.nvmlDeviceGetRemappedRows, handle)
    found["TotalEccErrors"] = _ecc(handle)
    found["RetiredPages"] = answer(lambda: len(pynvml.nvmlDeviceGetRetiredPages(handle, 1)))
    found["ValidateInforom"] = answer(lambda: pynvml.nvmlDeviceValidateInforom(handle) or 0)
    for kind in ("ComputeRunningProcesses", "GraphicsRunningProcesses"):
        function = getattr(pynvml, f"nvmlDeviceGet{kind}")
        found[kind] = answer(lambda f=function: f(handle)) if _fails(function, handle) else [
            {"pid": 4_000_001 + i, "memory": int(p.usedGpuMemory or 0)} for i, p in enumerate(function(handle))
        ]  # fmt: skip
    found["FieldValues"] = _fields(handle)
    return {name: value for name, value in found.items() if value is not None}


def _absent(*_: Any) -> None:
    return None


def _fails(function: Callable[..., Any], handle: Any) -> bool:
    try:
        function(handle)
    except pynvml.NVMLError:
        return True
    return False


def _indexed(answers: dict[int, Any]) -> Any:
    """One code if every argument gives the same code; else the answers that are not "not supported"."""
    codes = [value for value in answers.values() if isinstance(value, dict)]
    if len(codes) == len(answers) and all(code == codes[0] for code in codes):
        return codes[0]
    supported = {i: v for i, v in answers.items() if v is not None and v not in ({"code": 3}, {"code": 2})}
    return supported or None


def _ecc(handle: Any) -> Any:
    names = {
        (0, 0): "corrected",
        (1, 0): "uncorrected",
        (0, 1): "corrected_lifetime",
        (1, 1): "uncorrected_lifetime",
    }
    answers = {
        name: answer(pynvml.nvmlDeviceGetTotalEccErrors, handle, *kind) for kind, name in names.items()
    }
    failed = [value for value in answers.values() if isinstance(value, dict)]
    return failed[0] if failed else answers


def _fields(handle: Any) -> dict[int, Any] | None:
    try:
        values = pynvml.nvmlDeviceGetFieldValues(handle, list(FIELDS))
    except pynvml.NVMLError:
        return None
    return {
        entry.fieldId: int(entry.value.uiVal) if entry.nvmlReturn == 0 else {"code": int(entry.nvmlReturn)}
        for entry in values
        if entry.nvmlReturn != pynvml.NVML_ERROR_NOT_SUPPORTED
    }


def nvml() -> dict[str, Any]:
    """The ``nvml`` part of a scenario."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"init": {"code": error.value}, "gpus": []}
    count = pynvml.nvmlDeviceGetCount()
    return {
        "driver": answer(pynvml.nvmlSystemGetDriverVersion),
        "cuda": answer(pynvml.nvmlSystemGetCudaDriverVersion),
        "gpus": [card(pynvml.nvmlDeviceGetHandleByIndex(i), i) for i in range(count)],
    }


def files(root: Path, host: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The ``files`` and ``links`` of a scenario, read below ``root``."""
    found: dict[str, Any] = {}
    links: dict[str, str] = {}
    for name in FILES:
        _add(found, root, name, host)
    model = re.search(r"^model name\s*:.*$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    flags = re.search(r"^flags\s*:.*$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    found["proc/cpuinfo"] = "processor : 0\n" + "\n".join(m[0] for m in (model, flags) if m) + "\n"
    for boot in sorted((root / "sys/firmware/efi/efivars").glob("SecureBoot-*"))[:1]:
        found[str(boot.relative_to(root))] = {"hex": boot.read_bytes().hex()}
    for entry in _entries(root / "sys/bus/pci/devices"):
        if (_text(entry / "vendor") or "").strip() != "0x10de":
            continue
        folder = entry.resolve()
        if folder.is_relative_to(root.resolve()):
            folder = folder.relative_to(root.resolve())
            links[f"sys/bus/pci/devices/{entry.name}"] = f"../../../{folder.relative_to('sys')}"
            for file in PCI_FILES:
                _add(found, root, f"{folder}/{file}", host)
            for file in ("max_link_width", "max_link_speed"):
                _add(found, root, f"{folder.parent}/{file}", host)
            driver = root / folder / "driver"
            if driver.is_symlink():
                links[f"{folder}/driver"] = f"../../../../bus/pci/drivers/{driver.resolve().name}"
    for node in _entries(root / "dev"):
        if node.name.startswith("nvidia") and not node.is_dir():
            found[f"dev/{node.name}"] = ""
    found["dev/kmsg"] = "".join(_log(root, host))
    return found, links


def _add(found: dict[str, Any], root: Path, name: str, host: str) -> None:
    text = _text(root / name)
    if text is not None:
        found[name] = anonymous(text, host)


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode(errors="replace")
    except OSError:
        return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _log(root: Path, host: str) -> Iterable[str]:
    """The kernel's lines about the card: the first and the last ones."""
    lines: list[str] = []
    try:
        descriptor = os.open(root / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        while len(lines) < 20_000:
            lines.append(os.read(descriptor, 8192).decode(errors="replace").split("\n")[0])
            if not lines[-1]:
                break
    except OSError:
        pass
    finally:
        os.close(descriptor)
    about = [line for line in lines if re.search(r"nvidia|NVRM|Xid|nouveau|nova|10de|Linux version", line)]
    shown = about if len(about) <= _LOG_LINES else about[: _LOG_LINES // 2] + about[-_LOG_LINES // 2 :]
    return [f"{anonymous(line, host)}\n" for line in shown]


def scenario(root: Path = Path("/")) -> dict[str, Any]:
    """The readings of this machine as a scenario."""
    host = socket.gethostname().split(".")[0]
    read, links = files(root, host)
    answers = nvml()
    verdict = "ready" if answers["gpus"] else "cpu-only"
    return {"nvml": answers, "files": read, "links": links, "expect": {"verdict": verdict}}


def main(path: Path) -> int:
    content = scenario()
    found = content["nvml"]["gpus"]
    names = [cards.match(gpu["Name"], gpu["PciInfo"]["device"], None) for gpu in found]
    head = (
        ", ".join(card.name if card else "a card that is not in the catalogue" for card in names) or "no card"
    )
    driver = content["nvml"].get("driver", "no driver")
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(
        f"# {head}, driver {driver}: recorded by tests/gpu/record.py, identifiers replaced.\n{text}"
    )
    print(f"recorded: {head}, driver {driver}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
