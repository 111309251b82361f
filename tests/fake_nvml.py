"""A replacement for libnvidia-ml.so.1 that the real nvidia-ml-py calls: ``pynvml.nvmlLib = Library(...)``.

A scenario gives each card its answers under NVML's own names without the prefix: ``Temperature: 40`` answers
nvmlDeviceGetTemperature. An answer may also be ``{code: 15}`` (a return code), ``{hang: 60}`` (seconds),
``{crash: SIGSEGV}`` or, where a function takes an argument, ``{0: 100, 1: 97}`` by that argument.
``{over_time: [60, 61, {code: 15}]}`` gives one answer after the other and then repeats the last. The library lacks
functions that a scenario does not name (code 13).
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pynvml

NOT_SUPPORTED = 3
GONE = 28

UNSIGNED = {
    "PowerUsage", "EnforcedPowerLimit", "PowerManagementLimit", "PowerManagementDefaultLimit",
    "PerformanceState", "NumFans", "FanSpeed", "CurrPcieLinkGeneration", "MaxPcieLinkGeneration",
    "GpuMaxPcieLinkGeneration", "CurrPcieLinkWidth", "MaxPcieLinkWidth", "PcieReplayCounter",
    "MemoryBusWidth", "NumGpuCores", "ComputeMode", "PersistenceMode", "DisplayActive",
    "RetiredPagesPendingStatus", "TotalEnergyConsumption", "CurrentClocksEventReasons",
    "CurrentClocksThrottleReasons",
}  # fmt: skip
"""Functions that return one number."""

INDEXED = {"Temperature", "TemperatureThreshold", "ClockInfo", "MaxClockInfo", "FanSpeed_v2"}
"""Functions with one number as argument that return one number."""

TEXTS = {"Name", "UUID", "VbiosVersion", "InforomImageVersion"}

PAIRS = {"CudaComputeCapability", "PowerManagementLimitConstraints", "EccMode", "MigMode"}
"""Functions that return two numbers."""


class Library:
    """Answers to nvidia-ml-py's calls; an attribute that a scenario does not name does not exist."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.scenario = scenario
        self.cards: list[dict[str, Any]] = scenario.get("gpus", [])

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name in _LIBRARY:
            return lambda *arguments: _LIBRARY[name](self, *arguments)
        key = _key(name)
        if key is None or not any(key in card or "every" in card for card in self.cards):
            raise AttributeError(name)
        return lambda handle, *arguments: self._device(name, key, handle, arguments)

    def _device(self, name: str, key: str, handle: Any, arguments: tuple[Any, ...]) -> int:
        card = self.cards[(_address(handle) >> 4) - 1]
        answer = _now(card.get("every", card.get(key, {"code": 13})))
        if isinstance(answer, dict) and answer and set(answer) <= {"code", "hang", "crash"}:
            return _act(answer)
        if isinstance(answer, dict) and key in INDEXED:
            answer = _now(answer.get(getattr(arguments[0], "value", arguments[0]), {"code": NOT_SUPPORTED}))
            if isinstance(answer, dict):
                return _act(answer)
        return _write(key, answer, arguments)

    def restrict(self, key: str, answer: Any) -> None:
        """Give one answer to every card."""
        for card in self.cards:
            card[key] = answer


def install(scenario: dict[str, Any]) -> Library:
    """Replace the loaded library by a fake one."""
    library = Library(scenario)
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = library
    return library


def functions() -> list[str]:
    """Names that a scenario may use for a card; tests let each fail in turn."""
    return sorted({*UNSIGNED, *INDEXED, *TEXTS, *PAIRS, *_SPECIAL})


def _key(name: str) -> str | None:
    if name == "nvmlDeviceValidateInforom":
        return "ValidateInforom"
    if not name.startswith("nvmlDeviceGet"):
        return None
    key = name.removeprefix("nvmlDeviceGet")
    return {"PciInfo_v3": "PciInfo", "GraphicsRunningProcesses_v3": "GraphicsRunningProcesses",
            "ComputeRunningProcesses_v3": "ComputeRunningProcesses"}.get(key, key)  # fmt: skip


def _now(answer: Any) -> Any:
    """The next answer of ``over_time``; any other answer unchanged."""
    if not isinstance(answer, dict) or set(answer) != {"over_time"}:
        return answer
    left = answer["over_time"]
    return left.pop(0) if len(left) > 1 else left[0]


def _act(answer: dict[str, Any]) -> int:
    if "hang" in answer:
        time.sleep(answer["hang"])
    if "crash" in answer:
        os.kill(os.getpid(), getattr(signal, answer["crash"]))
        time.sleep(5)
    return int(answer.get("code", 0))


def _address(handle: Any) -> int:
    return int(ctypes.cast(handle, ctypes.c_void_p).value or 0)


def _write(key: str, answer: Any, arguments: tuple[Any, ...]) -> int:
    if key in TEXTS or key == "GspFirmwareVersion":
        raw = answer if isinstance(answer, bytes) else str(answer).encode()
        buffer = arguments[0]
        ctypes.memmove(buffer, raw + b"\0", min(len(raw) + 1, ctypes.sizeof(buffer)))
        return 0
    if key in PAIRS:
        for argument, value in zip(arguments, answer, strict=True):
            argument._obj.value = value
        return 0
    if key in UNSIGNED:
        arguments[-1]._obj.value = answer
        return 0
    if key in INDEXED:
        arguments[-1]._obj.value = answer
        return 0
    return _SPECIAL[key](answer, *arguments)


def _memory_v2(answer: dict[str, int], out: Any) -> int:
    for name, value in answer.items():
        setattr(out._obj, name, value)
    return 0


def _pci(answer: dict[str, Any], out: Any) -> int:
    out._obj.busId = str(answer["bus_id"]).encode()
    out._obj.pciDeviceId = answer["device"] << 16 | answer.get("vendor", 0x10DE)
    return 0


def _bar1(answer: int, out: Any) -> int:
    out._obj.bar1Total = answer
    return 0


def _utilisation(answer: int, out: Any) -> int:
    out._obj.gpu = answer
    return 0


def _ecc(answer: dict[str, int], kind: Any, counter: Any, out: Any) -> int:
    names = {
        (0, 0): "corrected",
        (1, 0): "uncorrected",
        (0, 1): "corrected_lifetime",
        (1, 1): "uncorrected_lifetime",
    }
    out._obj.value = answer.get(names[kind.value, counter.value], 0)
    return 0


def _remapped(answer: list[int], *outs: Any) -> int:
    for out, value in zip(outs, answer, strict=True):
        out._obj.value = value
    return 0


def _pages(answer: int, cause: Any, count: Any, pages: Any) -> int:
    number = answer if cause.value == 1 else 0
    count._obj.value = number
    return 0 if pages is not None or not number else 7


def _processes(answer: list[dict[str, int]], count: Any, entries: Any) -> int:
    count._obj.value = len(answer)
    if entries is None:
        return 7 if answer else 0
    for entry, given in zip(entries, answer, strict=False):
        entry.pid, entry.usedGpuMemory = given["pid"], given.get("memory", 0)
    return 0


def _process_shares(answer: list[dict[str, int]], samples: Any, count: Any, since: Any) -> int:
    """As the driver: its samples after ``since``, and code 6 if there are none."""
    count._obj.value = len(answer)
    if samples is None:
        return 7 if answer else 6
    for number, given in enumerate(answer):
        samples[number].pid, samples[number].smUtil = given["pid"], given["sm"]
        samples[number].timeStamp = since.value + 1 + given.get("later", 0)
    return 0


def _fields(answer: dict[int, Any], count: Any, out: Any) -> int:
    for entry in out._obj:
        given = _now(answer.get(entry.fieldId, {"code": NOT_SUPPORTED}))
        if isinstance(given, dict):
            entry.nvmlReturn = _act(given)
        else:
            entry.nvmlReturn, entry.valueType, entry.value.uiVal = 0, 1, given
    return 0


def _margin(answer: int, out: Any) -> int:
    out._obj.marginTemperature = answer
    return 0


def _rpm(answer: int, out: Any) -> int:
    out._obj.speed = answer
    return 0


_SPECIAL: dict[str, Callable[..., int]] = {
    "MemoryInfo_v2": _memory_v2,
    "MemoryInfo": _memory_v2,
    "PciInfo": _pci,
    "BAR1MemoryInfo": _bar1,
    "UtilizationRates": _utilisation,
    "TotalEccErrors": _ecc,
    "RemappedRows": _remapped,
    "RetiredPages": _pages,
    "ComputeRunningProcesses": _processes,
    "GraphicsRunningProcesses": _processes,
    "ProcessUtilization": _process_shares,
    "FieldValues": _fields,
    "FanSpeedRPM": _rpm,
    "GspFirmwareVersion": lambda answer, buffer: 0,
    "MarginTemperature": _margin,
    "ValidateInforom": lambda answer: int(answer),
}


def _init(library: Library, *arguments: Any) -> int:
    answer = library.scenario.get("init", 0)
    return _act(answer) if isinstance(answer, dict) else int(answer)


def _count(library: Library, out: Any) -> int:
    answer = library.scenario.get("count", len(library.cards))
    if isinstance(answer, dict):
        return _act(answer)
    out._obj.value = answer
    return 0


def _handle(library: Library, index: Any, out: Any) -> int:
    number = index.value if hasattr(index, "value") else int(index)
    if number >= len(library.cards):
        return GONE
    answer = _now(library.cards[number].get("handle"))
    if answer is not None:
        code = _act(answer)
        if code:
            return code
    ctypes.cast(ctypes.pointer(out._obj), ctypes.POINTER(ctypes.c_void_p))[0] = (number + 1) << 4
    return 0


def _system_text(key: str) -> Callable[..., int]:
    def answer(library: Library, buffer: Any, length: Any) -> int:
        given = library.scenario.get(key, {"code": NOT_SUPPORTED})
        if isinstance(given, dict):
            return _act(given)
        ctypes.memmove(buffer, str(given).encode() + b"\0", len(str(given)) + 1)
        return 0

    return answer


def _cuda(library: Library, out: Any) -> int:
    given = library.scenario.get("cuda", {"code": NOT_SUPPORTED})
    if isinstance(given, dict):
        return _act(given)
    out._obj.value = given
    return 0


_LIBRARY: dict[str, Callable[..., int]] = {
    "nvmlInitWithFlags": _init,
    "nvmlShutdown": lambda library: 0,
    "nvmlDeviceGetCount_v2": _count,
    "nvmlDeviceGetHandleByIndex_v2": _handle,
    "nvmlSystemGetDriverVersion": _system_text("driver"),
    "nvmlSystemGetCudaDriverVersion_v2": _cuda,
    "nvmlSystemGetCudaDriverVersion": _cuda,
}
