"""The evidence of one machine about one card, in the form in which the declarations of the causes ask for it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal

from bench.health import xids
from inventory.cards import architectures
from inventory.cards.cards import architecture_of
from inventory.cards.families import of_id
from inventory.machine.module_settings import blocked
from inventory.machine.records import ConfigLine, InstalledKernel, Machine, Package, PciCard, Xid

Kind = Literal["container", "wsl2", "prebuilt", "dkms", "runfile", "packages", "other", "none"]
"""How the driver is installed. "packages": Debian packages without a module, so that either way of building is open.
"other": by the tools of a distribution without dpkg. "none": not at all."""

_HARMLESS = re.compile(
    r"nvlink|peermem|ib_register_peer|rpcSendMessage|issueRpc|heartbeat|vgaarb|persistenced|"
    r"Xid \(PCI:[^)]*\): 154|NVRM: (GPU at PCI|GPU Board Serial)",
    re.IGNORECASE,
)
"""Messages that name no cause: they appear on machines that work, or follow from another fault."""

_CONSEQUENCES = frozenset({45, 154})
"""Xids that report what the driver does about a fault: it stops a program, it asks for a reset."""

_ADDRESS = re.compile(r"\b(?:PCI:)?([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.[0-7])?\b", re.IGNORECASE)
_DRIVER = re.compile(
    r"nvidia-(driver|dkms|kernel|open|headless|tesla|legacy)|linux-modules-nvidia|cuda-drivers"
)
_DKMS = re.compile(
    r"nvidia-(dkms|kernel-dkms|kernel-open-dkms|open-kernel-dkms)|nvidia-(tesla|legacy)\S*-kernel-dkms"
)
FIRST_MAXWELL_ID = 0x1340
"""PCI device ids below this one are those of Kepler and older chips."""

OLDEST_BRANCH = 525
"""CUDA 12 programs need this branch: CUDA minor version compatibility requires driver >= 525.60.13."""


class Situation:
    """One machine and one of its cards; ``card`` is None for a fault of the whole machine."""

    def __init__(self, machine: Machine, card: PciCard | None = None) -> None:
        self.machine, self.card = machine, card

    @cached_property
    def environment(self) -> str:
        return self.machine.host.environment

    @property
    def on_host(self) -> bool:
        """Whether the driver is installed here, and not by the host of a container or by Windows."""
        return self.environment not in ("container", "wsl2")

    @property
    def code(self) -> int | None:
        """NVML's return code, if it does not start."""
        return None if self.machine.nvml.ok else self.machine.nvml.code

    @property
    def release(self) -> str:
        return self.machine.host.kernel

    @property
    def nvml_read(self) -> bool:
        """Whether NVML was asked at all: a report about another computer may not contain its answer."""
        return self.machine.nvml.state != "not-in-source"

    @cached_property
    def module_known(self) -> bool:
        """Whether it is known which modules are loaded."""
        driver = self.machine.driver
        return self.loaded or bool(driver.modules) or driver.module_version.state == "not-supported"

    @cached_property
    def loaded(self) -> bool:
        driver = self.machine.driver
        return self.machine.nvml.ok or driver.module_version.ok or "nvidia" in driver.modules

    # The kernel log

    @cached_property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Address and text of each message that may name a cause. A message of several lines has the address of its
        first line; the address is empty if the message names no card."""
        log = self.machine.kernel_log.value
        found: list[tuple[str, str]] = []
        address, age = "", 9
        for line in log.nvidia if log else ():
            named = _ADDRESS.search(line)
            address, age = (named.group(1).lower(), 0) if named else (address, age + 1)
            if not _HARMLESS.search(line):
                found.append((address if age <= 3 else "", line))
        return tuple(found)

    def quote(self, pattern: re.Pattern[str]) -> str | None:
        """The first message about this card, or about no card in particular, that has the pattern; with its source."""
        line = self.line(pattern)
        return None if line is None else f'kernel log: "{_message(line)}"'

    def line(self, pattern: re.Pattern[str]) -> str | None:
        """The text of the message that ``quote`` quotes."""
        own = (
            {"", *(place.rpartition(".")[0] for place in (self.card.address, self.card.bridge))}
            if self.card
            else None
        )
        return next(
            (
                text
                for address, text in self.lines
                if pattern.search(text) and (own is None or address in own)
            ),
            None,
        )

    @property
    def log_read(self) -> bool:
        return self.machine.kernel_log.ok

    @cached_property
    def first_fault(self) -> Xid | None:
        """The first Xid of this card that means a fault; its consequences and faults of programs do not count."""
        log = self.machine.kernel_log.value
        own = self.card.address.rpartition(".")[0] if self.card else ""
        return next(
            (
                xid
                for xid in (log.xids if log else ())
                if xid.code not in _CONSEQUENCES
                and xids.of(xid.code).is_fault
                and (not own or xid.address in ("", own))
            ),
            None,
        )

    # The installation

    @cached_property
    def kernels(self) -> tuple[InstalledKernel, ...]:
        return self.machine.installation.kernels.value or ()

    @cached_property
    def running(self) -> InstalledKernel | None:
        return next((kernel for kernel in self.kernels if kernel.release == self.release), None)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Files of NVIDIA's module for the running kernel."""
        return self.running.nvidia_modules if self.running else ()

    @property
    def files_unknown(self) -> bool:
        """Whether a report about another computer leaves open which files and packages of the driver it has."""
        installation = self.machine.installation
        return "not-in-source" in (installation.kernels.state, installation.packages.state)

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """Installed packages that bring a driver; libraries alone do not count."""
        return tuple(p for p in self.machine.installation.packages.value or () if _DRIVER.match(p.name))

    @cached_property
    def kind(self) -> Kind:
        installation = self.machine.installation
        if self.environment == "container":
            return "container"
        if self.environment == "wsl2":
            return "wsl2"
        paths = [path for kernel in self.kernels for path in kernel.nvidia_modules]
        names = [package.name for package in self.packages]
        if installation.dkms.value or any(_DKMS.match(name) for name in names):
            return "dkms" if names or not installation.runfile.ok else "runfile"
        if any(name.startswith("linux-modules-nvidia") for name in names):
            return "prebuilt"
        if any(re.match(r"kernel/nvidia-\d", path) for path in paths):
            return "prebuilt"
        if any("dkms/" in path for path in paths):
            return "dkms"
        if installation.runfile.ok and not names:
            return "runfile"
        if names:
            return "packages"
        if not paths:
            return "none"
        return "runfile" if installation.packages.ok else "other"

    @property
    def has_dpkg(self) -> bool:
        return self.machine.installation.packages.ok or self.machine.host.distribution.id in (
            "debian",
            "ubuntu",
        )

    @cached_property
    def unconfigured(self) -> tuple[str, ...]:
        """Names of the driver's packages whose configuration failed or was interrupted."""
        return tuple(package.name for package in self.packages if not package.configured)

    @property
    def has_provision(self) -> bool:
        """Whether `dlbox provision` knows this distribution. A report may not name it: then it counts as known."""
        return self.machine.host.distribution.id in ("debian", "ubuntu", "unknown")

    @cached_property
    def installed_versions(self) -> tuple[str, ...]:
        """Versions of the driver's module on disk, from DKMS and from the packages of prebuilt modules."""
        found = [module.version for module in self.machine.installation.dkms.value or ()]
        for package in self.packages:
            version = re.search(r"(?:^|:)(\d{3}\.\d+(?:\.\d+)?)", package.version)
            if version and re.match(r"nvidia-(driver|dkms|kernel)", package.name):
                found.append(version.group(1))
        return tuple(dict.fromkeys(found))

    @cached_property
    def branch(self) -> int | None:
        """Driver branch of the loaded module, else of the library, else of the module on disk: 580."""
        driver = self.machine.driver
        loaded = [r.value for r in (driver.module_version, driver.library_version) if r.value]
        for version in (*loaded, *self.installed_versions):
            if version.partition(".")[0].isdigit():
                return int(version.partition(".")[0])
        return None

    @cached_property
    def flavour(self) -> str | None:
        """ "open" or "closed": the kind of the loaded module, else of the one that ran, else of the one on disk."""
        if self.machine.driver.module_flavour.value:
            return self.machine.driver.module_flavour.value
        ran = next((text for _, text in self.lines if "loading NVIDIA UNIX" in text), None)
        if ran:
            return "open" if "Open Kernel Module" in ran else "closed"
        if self.loaded or not self.modules:
            return None
        by_path = {kind for path in self.modules if (kind := _flavour_of(path))}
        if by_path:
            return by_path.pop() if len(by_path) == 1 else None
        names = [package.name for package in self.packages]
        is_open = any(re.search(r"-open(-|$)|^nvidia-open", name) for name in names)
        is_closed = any(
            re.fullmatch(r"nvidia-(driver|dkms)-\d+(-server)?|nvidia-kernel-dkms", name) for name in names
        )
        return None if is_open == is_closed else "open" if is_open else "closed"

    # Settings

    @cached_property
    def settings(self) -> tuple[ConfigLine, ...]:
        return self.machine.installation.settings.value or ()

    def setting(self, pattern: str) -> ConfigLine | None:
        return next((line for line in self.settings if re.search(pattern, line.text, re.IGNORECASE)), None)

    @cached_property
    def switches(self) -> tuple[ConfigLine, ...]:
        """Lines that keep NVIDIA's module from being loaded, or that remove the card from the bus."""
        names = {"nvidia", *(path.rpartition("/")[2].partition(".ko")[0] for path in self.modules)}
        return tuple(
            line for line in self.settings if removes_card(line) or any(blocked(line, name) for name in names)
        )

    # The card

    @cached_property
    def family(self) -> architectures.ArchitectureRow | None:
        """The architecture of the card by its PCI id."""
        if self.card is None:
            return None
        return architectures.find(architecture_of(self.card.device_id) or of_id(self.card.device_id))

    @property
    def display_only(self) -> bool:
        """Whether every driver branch that supports the card is too old for the frameworks."""
        row = self.family
        if row is None:
            return self.card is not None and self.card.device_id < FIRST_MAXWELL_ID
        return row.last_branch is not None and row.last_branch < OLDEST_BRANCH


def removes_card(line: ConfigLine) -> bool:
    """Whether the line takes an NVIDIA card off the bus, or says that a program has switched the card off."""
    if "/rules.d/" in line.path:
        return "0x10de" in line.text.lower() and re.search(r'ATTR\{remove\}\s*=\s*"1"', line.text) is not None
    if "/modprobe.d/" in line.path:
        return re.match(r"options\s+bbswitch\b.*\bload_state=0", line.text) is not None
    if line.path.endswith("/prime-discrete"):
        return line.text == "off"
    return line.path.endswith("/dgpu_disable") and line.text == "1"


def _flavour_of(path: str) -> str | None:
    """The kind of a module by its path: Ubuntu's folders and Debian's names tell it, DKMS' nvidia.ko does not."""
    if re.search(r"-open(/|\.ko)", path):
        return "open"
    return "closed" if re.search(r"kernel/nvidia-\d+(srv)?/|nvidia-(current|tesla|legacy)", path) else None


def _message(line: str) -> str:
    """The message without the date, host name and time stamp of a log file, at most 160 characters."""
    text = re.sub(r"^.*?\bkernel: ", "", line)
    text = re.sub(r"^\[\s*\d+\.\d+\]\s*", "", text)
    return text if len(text) <= 160 else text[:159] + "…"
