"""The only module that imports NVML, NVIDIA's management library; it turns every answer into a Reading.

Import it only in a child process (``inventory.nvml.probe``): NVML can crash or hang if a card has fallen off the bus.
Return codes are those of nvidia-ml-py 13.615. ``inventory.nvml.card`` calls these functions for each card.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pynvml

from inventory.machine.reading import Reading
from inventory.machine.records import Driver

T = TypeVar("T")
R = TypeVar("R")

MEANINGS = {
    1: "the library is not initialised",
    2: "the driver does not accept this call",
    3: "not supported on this card",
    4: "no permission",
    6: "not found",
    8: "the card's extra power cables are not connected",
    9: "the NVIDIA kernel module is not loaded",
    10: "the driver did not answer in time",
    11: "the card's interrupts do not arrive",
    12: "the library libnvidia-ml.so.1 is not installed",
    13: "this driver does not have the function",
    14: "the card's InfoROM is corrupted",
    15: "the card has fallen off the bus",
    16: "the card needs a reset",
    17: "the operating system refused",
    18: "the driver's library and its kernel module have different versions",
    19: "in use",
    20: "out of memory",
    21: "no data",
    25: "this driver has another version of this call",
    26: "this driver no longer has the function",
    27: "the card is not ready",
    28: "the card was not found",
    999: "NVML reports an unknown error",
}
_LARGEST = 1 << 62
_DOES_NOT_HAVE = {2, 3, 6, 13, 21, 25, 26}


def meaning(code: int) -> str:
    """The meaning of a return code as one clause."""
    return MEANINGS.get(code, f"NVML return code {code}")


def read(name: str, *arguments: Any) -> Reading[Any]:
    """Call one function of the library by its name. Its value, or any error, becomes a Reading."""
    function = getattr(pynvml, name, None)
    if function is None:
        return Reading.not_supported("nvidia-ml-py is too old for it", 13)
    try:
        value = function(*arguments)
    except pynvml.NVMLError as error:
        return refused(int(error.value))
    except Exception as error:  # the wrapper raises ctypes, unicode and value errors on garbage
        return Reading.failed(f"NVML returned an invalid answer ({type(error).__name__})")
    return Reading.of(value)


def refused(code: int) -> Reading[Any]:
    """The Reading for a return code other than 0."""
    if code in _DOES_NOT_HAVE:
        return Reading.not_supported(meaning(code), code)
    if code == 4:
        return Reading.no_permission(meaning(code), code)
    return Reading.failed(meaning(code), code)


def first(*readings: Callable[[], Reading[T]]) -> Reading[T]:
    """The first of the readings that is supported: newer drivers rename functions, and older drivers lack some."""
    answer: Reading[T] = Reading.not_supported("not supported on this card")
    for ask in readings:
        answer = ask()
        if answer.state != "not-supported":
            return answer
    return answer


def converted(reading: Reading[Any], convert: Callable[[Any], R]) -> Reading[R]:
    """Apply ``convert`` to the value of a reading. An error in ``convert`` becomes a failed reading."""
    if not reading.ok:
        return Reading(
            state=reading.state if reading.state != "ok" else "failed",
            code=reading.code,
            why=reading.why or "NVML returned no value",
        )
    try:
        return Reading.of(convert(reading.value))
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        return Reading.failed(str(error) or f"NVML returned an invalid answer ({type(error).__name__})")


def number(name: str, *arguments: Any, scale: float = 1, most: int = _LARGEST) -> Reading[Any]:
    """A number times ``scale``. ``inventory.nvml.bounds`` has the physical bounds of each reading; here a number
    below 0 or above ``most`` becomes a failed reading."""

    def check(value: Any) -> float | int:
        if value in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF):
            raise ValueError("NVML marks the value as not available")
        if not 0 <= value <= most:
            raise ValueError(f"NVML returned the impossible value {value}")
        return int(value) if scale == 1 else round(float(value * scale), 3)

    return converted(read(name, *arguments), check)


def text(name: str, *arguments: Any) -> Reading[str]:
    """Text of at most 200 characters, without the control characters that defective cards return."""

    def clean(value: Any) -> str:
        raw = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        printable = "".join(c for c in raw if c.isprintable()).strip()
        if not printable:
            raise ValueError("NVML returned an empty text")
        return printable[:200]

    return converted(read(name, *arguments), clean)


def switch(name: str, *arguments: Any) -> Reading[bool]:
    """Whether a setting is on. If the answer is a pair (current, pending), the current state counts."""

    def check(value: Any) -> bool:
        state = value[0] if isinstance(value, list | tuple) else value
        if state not in (0, 1):
            raise ValueError(f"NVML returned {state} for an on/off state")
        return bool(state)

    return converted(read(name, *arguments), check)


def start() -> Reading[int]:
    """Initialise the library and read the number of cards."""
    with suppress(Exception):
        up = read("nvmlInit")
        if up.state != "ok":
            code = up.code if up.code is not None else 999
            return Reading.no_permission(meaning(4), 4) if code == 4 else Reading.failed(up.why, up.code)
        count = number("nvmlDeviceGetCount", most=256)
        if count.state == "ok":
            return count
        return Reading.failed(f"NVML cannot count the cards: {count.why}", count.code)
    return Reading.failed("NVML could not be started")


def driver() -> Driver:
    """The fields of Driver that NVML reports."""

    def dotted(value: Any) -> str:
        if not 1000 <= value < 100_000:
            raise ValueError(f"NVML returned CUDA version {value}, which is impossible")
        return f"{value // 1000}.{value % 1000 // 10}"

    version = first(
        lambda: converted(read("nvmlSystemGetCudaDriverVersion_v2"), dotted),
        lambda: converted(read("nvmlSystemGetCudaDriverVersion"), dotted),
    )
    return Driver(library_version=text("nvmlSystemGetDriverVersion"), cuda_version=version)
