"""``machine`` reads a report about another computer into the same Machine that ``gather`` makes of this one.

What the report does not contain is a Reading "not-in-source", or is named in ``Machine.source.missing``.
"""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from common.terminal.shown import place
from inventory.machine import driver_files, host, kernel_log, pci
from inventory.machine.reading import Reading
from inventory.machine.records import (
    DeviceNode,
    Disk,
    Driver,
    Host,
    Installation,
    KernelLog,
    Machine,
    MachineSource,
    PciCard,
)
from inventory.sources import collected, parts, smi
from inventory.sources.contents import NamedText, ReportError, texts
from inventory.sources.packages import add_module
from inventory.sources.parts import Parts
from inventory.sources.root import Root

S = TypeVar("S", bound=msgspec.Struct)

_NOTHING: Reading[Any] = Reading.not_in_source()
_READS = (
    "nvidia-smi -q, nvidia-smi -q -x, nvidia-bug-report.log.gz, an archive of dlbox collect, or a folder or tar "
    "archive of dmesg, lspci -nnk, lsmod, dkms status, dpkg -l"
)


def machine(path: Path) -> Machine:
    """The computer that the report at ``path`` ("-": stdin) is about. Raises ReportError."""
    found = texts(path)
    shown = "stdin" if str(path) == "-" else place(path)
    if not any(one.text.strip() for one in found):
        raise ReportError(f"{shown} contains no text")
    with (
        tempfile.TemporaryDirectory(prefix="dlbox-source-") as folder,
        tempfile.TemporaryDirectory() as empty,
    ):
        read = _machine(found, Root(Path(folder)), Path(empty))
    if read is None:
        raise ReportError(f"{shown} contains nothing that dlbox can read: pass {_READS}")
    return read


def _machine(found: list[NamedText], root: Root, empty: Path) -> Machine | None:
    names = collected.list_of(found)
    if names is not None:
        state = Parts(root=root)
        commands = collected.restore(found, names, root, state)
        known = parts.recognise(commands, root)
        known.kinds |= state.kinds
        known.carries |= state.carries
        known.nodes |= state.nodes
        known.collected, known.variables, known.disk = True, state.variables, state.disk
    else:
        known = parts.recognise(found, root)
    if not known.kinds and not known.collected:
        return None
    lines = parts.from_log(known)
    answer = smi.read(known.smi_texts)
    computer = _host(known, answer, empty)
    cards = pci.cards(root.folder) if known.collected or "cards" in known.carries else ()
    driver = _driver(known, answer, cards)
    nvml = answer.nvml if answer.part else _nvml_without_smi(known, driver, cards)
    return Machine(
        read_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=computer,
        cards=tuple(_marked(card, known) for card in cards),
        driver=driver,
        nvml=nvml,
        gpus=answer.gpus,
        installation=_installation(known, computer),
        kernel_log=_log(lines, known, computer.environment, pci.places(cards)),
        source=MachineSource(
            name=_name(known, answer),
            parts=tuple(sorted(_kinds(known, answer))),
            missing=_missing(known, answer, computer, nvml),
        ),
    )


def _kinds(known: Parts, answer: smi.SmiReport) -> set[str]:
    kinds = known.kinds - {"nvidia-smi", "files", "library"}
    return kinds | ({answer.part} if answer.part else set())


def _name(known: Parts, answer: smi.SmiReport) -> str:
    """The name of the whole report: what it is, or the outputs that it consists of."""
    for whole in ("dlbox collect", "nvidia-bug-report"):
        if whole in known.kinds:
            return whole
    kinds = sorted(_kinds(known, answer))
    return kinds[0] if len(kinds) == 1 else ", ".join(kinds) or "files"


def _marked(record: S, known: Parts) -> S:
    """``record`` with each value that its reader did not find marked as not in the source.

    In an archive of `dlbox collect`, a missing file means that the computer does not have it.
    """
    if known.collected:
        return record
    changes = {
        name: _NOTHING
        for name in record.__struct_fields__
        if isinstance(entry := getattr(record, name), Reading) and entry.state == "not-supported"
    }
    return msgspec.structs.replace(record, **changes)


def _host(known: Parts, answer: smi.SmiReport, empty: Path) -> Host:
    """Values that come from the computer that runs this program, and not from the report, are left out: they are the
    same for an empty folder."""
    root = known.root
    if known.kernel:
        root.write("proc/sys/kernel/osrelease", known.kernel)
    read, own, default = host.read(root.folder), host.read(empty), Host()
    changes: dict[str, Any] = {}
    for name in read.__struct_fields__:
        if getattr(read, name) == getattr(own, name):
            value = getattr(default, name)
            changes[name] = _NOTHING if isinstance(value, Reading) else value
    kernel = known.kernel or root.text("proc/sys/kernel/osrelease").strip()
    memory, cores = _memory(root.text("proc/meminfo")), root.text("proc/cpuinfo")
    threads = len(re.findall(r"^processor\s*:", cores, re.MULTILINE))
    per_socket = re.search(r"^cpu cores\s*:\s*(\d{1,4})\s*$", cores, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.+)$", cores, re.MULTILINE)
    changes |= {
        "hostname": "",
        "kernel": kernel,
        "architecture": known.machine_type,
        "cpu_model": model[1].strip()[:200] if model else "",
        "cpu_cores": int(per_socket[1]) if per_socket else threads or 1,
        "cpu_threads": threads or 1,
        "memory_bytes": memory.get("MemTotal", 0),
        "memory_available_bytes": memory.get("MemAvailable", 0),
        "swap_bytes": memory.get("SwapTotal", 0),
        "python_version": "",
        "variables": known.variables,
        "library_path_clashes": (),
        "disk": Reading.of(Disk(path="the home folder", total_bytes=known.disk[0], free_bytes=known.disk[1]))
        if known.disk
        else _NOTHING,
    }
    found = msgspec.structs.replace(read, **changes)
    if answer.virtual and found.environment == "bare-metal":
        found = msgspec.structs.replace(found, environment="virtual-machine")
    if known.collected or "host.secure_boot" in known.carries:
        return found
    return _marked(found, known)


def _memory(text: str) -> dict[str, int]:
    """Name of a line of /proc/meminfo -> its value in bytes."""
    lines = re.findall(r"^(MemTotal|MemAvailable|SwapTotal):\s*(\d{1,12}) kB", text, re.MULTILINE)
    return {name: int(number) * 1024 for name, number in lines}


def _driver(known: Parts, answer: smi.SmiReport, cards: tuple[PciCard, ...]) -> Driver:
    found = driver_files.module(known.root.folder)
    bound = tuple(dict.fromkeys(card.driver.replace("-", "_") for card in cards if card.driver))
    modules = found.modules if known.collected or "driver.modules" in known.carries else bound
    not_loaded = (known.collected or "driver.modules" in known.carries) and "nvidia" not in modules
    changes: dict[str, Any] = {"modules": modules, "cuda_version": answer.cuda_version}
    if not found.module_version.ok and not not_loaded:
        changes |= {"module_version": _NOTHING, "module_flavour": _NOTHING}
    if answer.driver_version.ok:
        changes["library_version"] = answer.driver_version
    elif answer.library_version or known.library_version:
        version = answer.library_version or known.library_version
        complete = next(
            (v for v in (found.library_version.value, known.library_version) if v and v.startswith(version)),
            version,
        )
        changes["library_version"] = Reading.of(complete)
    elif not found.library_version.ok and not known.collected:
        changes["library_version"] = _NOTHING
    if answer.part and not answer.nvml.ok:
        changes["cuda_version"] = Reading.not_supported("NVML does not answer")
    return msgspec.structs.replace(found, **changes)


def _nvml_without_smi(known: Parts, driver: Driver, cards: tuple[PciCard, ...]) -> Reading[bool]:
    """What NVML must answer according to the rest of the report, or "not-in-source" if that does not decide it."""
    if known.collected and not driver.library_version.ok:
        return Reading.failed("the library libnvidia-ml.so.1 was not found", 12)
    modules_known = known.collected or "driver.modules" in known.carries
    if (modules_known and "nvidia" not in driver.modules) or (
        cards and all(card.driver not in (None, "nvidia") for card in cards)
    ):
        return Reading.failed("the NVIDIA kernel module is not loaded", 9)
    module, library = driver.module_version, driver.library_version
    if module.ok and library.ok and module.value != library.value:
        return Reading.failed("the library and the kernel module have different versions", 18)
    return _NOTHING


def _installation(known: Parts, computer: Host) -> Installation:
    root = known.root
    found = driver_files.read(root.folder, computer.environment, computer.kernel)
    if known.nodes or not known.collected:
        nodes = tuple(DeviceNode(path=path, usable=usable) for path, usable in sorted(known.nodes.items()))
        found = msgspec.structs.replace(found, device_nodes=nodes)
    if known.collected:
        return found
    if "kernel packages" in known.carries and re.search(r"^nvidia ", root.text("proc/modules"), re.MULTILINE):
        release = computer.kernel
        add_module(root, release, "updates/dkms/nvidia.ko")
        found = driver_files.read(root.folder, computer.environment, computer.kernel)
        found = msgspec.structs.replace(
            found, device_nodes=tuple(DeviceNode(path=p, usable=u) for p, u in sorted(known.nodes.items()))
        )
    built_here = bool(
        re.search(
            r"^Package: nvidia-(?:\w+-)*(?:dkms|kernel)", root.text("var/lib/dpkg/status"), re.MULTILINE
        )
    )
    complete = "kernel packages" in known.carries and ("installation.dkms" in known.carries or not built_here)
    changes: dict[str, Any] = {}
    if not complete:
        changes["kernels"] = _NOTHING
    if not found.nouveau_blacklisted.value and not root.has("etc/modprobe.d"):
        changes["nouveau_blacklisted"] = _NOTHING
    return _marked(msgspec.structs.replace(found, **changes), known)


def _log(lines: list[str], known: Parts, environment: str, places: tuple[str, ...]) -> Reading[KernelLog]:
    if not lines and known.collected:
        if environment in ("container", "wsl2"):
            return Reading.not_supported("the kernel log belongs to the host and is not visible here")
        return Reading.no_permission("the kernel log is closed to the user who ran dlbox collect")
    if not lines:
        return _NOTHING
    return Reading.of(kernel_log.parse(lines, "the report", places))


def _missing(known: Parts, answer: smi.SmiReport, computer: Host, nvml: Reading[bool]) -> tuple[str, ...]:
    """Fields without a Reading that the report does not contain."""
    has = {
        "cards": known.collected or "cards" in known.carries,
        "cards.driver": known.collected or any(one.names_driver for one in known.devices.values()),
        "driver.modules": known.collected or "driver.modules" in known.carries,
        "gpus": bool(answer.part) or (known.collected and nvml.state == "failed"),
        "host.architecture": bool(computer.architecture),
        "host.cpu_cores": known.root.has("proc/cpuinfo"),
        "host.distribution": computer.distribution.id != "unknown",
        "host.environment": known.collected or "host.environment" in known.carries or bool(answer.virtual),
        "host.is_laptop": known.collected,
        "host.kernel": bool(computer.kernel),
        "host.library_path_clashes": False,
        "host.memory_bytes": computer.memory_bytes > 0,
        "host.swap_bytes": computer.memory_bytes > 0,
        "host.variables": "host.variables" in known.carries,
        "installation.device_nodes": known.collected or bool(known.nodes),
        "installation.unattended_upgrades": known.collected,
    }
    return tuple(sorted(name for name, known_field in has.items() if not known_field))
