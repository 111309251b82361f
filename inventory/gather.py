"""``gather`` reads everything about this computer into one Machine. A reading that fails never raises an error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from common.processes.child import Child, python_path_variables
from inventory.machine import driver_files, host, kernel_log, pci
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Driver, Machine
from inventory.nvml.probe import Line, Opening

PROBE = (sys.executable, "-P", "-m", "inventory.nvml.probe")
_MOST_CARDS = 64
_START_S = 60
"""Maximum time in seconds to start Python in the child process: a busy or emulated computer needs many seconds."""
_RETRY_LIMITS = 2
"""After this many timeouts, the cards that are not read yet are marked as failed."""


def gather(*, timeout_s: float = 10, sysroot: Path = Path("/"), probe: Sequence[str] = PROBE) -> Machine:
    """Read this computer: files below ``sysroot``, and NVML through the ``probe`` command with a time limit.

    The probe is a separate process, because NVML can crash or hang if a card has fallen off the bus. Such a crash
    becomes a failed reading, and the other cards are still read. The probe runs while this process reads the files.
    """
    cards = pci.cards(sysroot)
    child = Child(probe, python_path_variables())
    try:
        computer = host.read(sysroot)
        module = driver_files.module(sysroot)
        installed = driver_files.read(sysroot, computer.environment, computer.kernel)
        log = kernel_log.read(sysroot, computer.environment, addresses=pci.places(cards))
        opening, gpus = _read_cards(child, probe, timeout_s)
    finally:
        child.stop()
    return Machine(
        read_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=computer,
        cards=cards,
        driver=_merged(module, opening.driver if opening.nvml.ok else None),
        nvml=opening.nvml,
        gpus=gpus,
        installation=installed,
        kernel_log=log,
    )


def _read_cards(child: Child, probe: Sequence[str], timeout_s: float) -> tuple[Opening, tuple[Gpu, ...]]:
    """Read all cards. If the child process dies while it reads a card, that card is marked as failed, and another child
    process reads the remaining cards."""
    opening: Opening | None = None
    gpus: dict[int, Gpu] = {}
    deadline = time.monotonic() + _RETRY_LIMITS * timeout_s
    while True:
        result = child.finish(timeout_s, start_s=_START_S)
        found, read, garbage = _parsed(result.lines)
        why = result.why or ("gave an invalid answer" if garbage or found is None else "left this card out")
        opening = opening or found or Opening(nvml=Reading.failed(f"the process that asks NVML {why}"))
        gpus.update(read)
        missing = [index for index in range(min(opening.count, _MOST_CARDS)) if index not in gpus]
        if not opening.nvml.ok or not missing:
            break
        given_up = missing if time.monotonic() > deadline else missing[:1]
        for index in given_up:
            gpus[index] = Gpu(index=index, handle=Reading.failed(f"the process that asks NVML {why}"))
        if given_up == missing:
            break
        skip = [part for index in sorted(gpus) for part in ("--skip", str(index))]
        child = Child([*probe, *skip], python_path_variables())
    return opening, tuple(gpus[index] for index in sorted(gpus))


def _parsed(lines: Sequence[bytes]) -> tuple[Opening | None, dict[int, Gpu], bool]:
    """Parse the output of the probe: its opening record, the cards by index, and whether there were invalid lines."""
    opening: Opening | None = None
    gpus: dict[int, Gpu] = {}
    garbage = False
    for line in lines:
        try:
            parsed = msgspec.json.decode(line, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            garbage = True
            continue
        opening = opening or parsed.opening
        if parsed.gpu is not None:
            gpus[parsed.gpu.index] = parsed.gpu
        elif parsed.sample is not None and parsed.index in gpus:
            gpu = gpus[parsed.index]
            gpus[parsed.index] = msgspec.structs.replace(gpu, samples=(*gpu.samples, parsed.sample))
    return opening, gpus, garbage


def _merged(module: Driver, library: Driver | None) -> Driver:
    """Facts about the driver: the kernel module from files, the library from NVML if NVML answers."""
    if library is None:
        unknown: Reading[Any] = Reading.not_supported("NVML does not answer")
        return msgspec.structs.replace(module, cuda_version=unknown)
    version = library.library_version if library.library_version.ok else module.library_version
    return msgspec.structs.replace(module, library_version=version, cuda_version=library.cuda_version)
