"""Causes on the side of the card: no address space, firmware, power, a card that is lost or does not start."""

from __future__ import annotations

import re

from bench.health import xids
from bench.health.causes import remedies
from bench.health.causes.holder_causes import bound_elsewhere, reserved
from bench.health.causes.module_causes import outside_host
from bench.health.causes.records import Hypothesis, Remedy
from bench.health.causes.situation import Situation

_NO_SPACE = re.compile(
    r"BAR [0-5]\b(?!.*VF).*(can't assign|no space for|failed to assign)|BAR [0-5]: (no space|failed to assign)"
)
_ASSIGNED = re.compile(r"BAR 1\b(?!.*(can't|fail|no space)).*assigned")
_INVALID_BAR = re.compile(r"BAR\d is 0M|PCI I/O region assigned to your NVIDIA device is invalid")
_FIRMWARE_MISSING = re.compile(
    r"nvidia/\S+/gsp\S* failed with error -2\b|No firmware image found", re.IGNORECASE
)
_FIRMWARE_VERSION = re.compile(r"version mismatch: ?(got version|$)|got version \S+, expected version")
_CABLES = re.compile(r"does not have the necessary power cables", re.IGNORECASE)
_GONE = re.compile(r"fallen off the bus|GPU is lost|GPU_IS_LOST", re.IGNORECASE)
_UNPLUGGED = re.compile(r"pciehp: .*Card not present", re.IGNORECASE)
_INIT = re.compile(r"RmInitAdapter failed!? *\((0x[0-9a-f]+):(0x[0-9a-f]+)", re.IGNORECASE)
_INIT_ANY = re.compile(r"RmInitAdapter|rm_init_adapter failed|Cannot initialize GSP", re.IGNORECASE)
_WPR2 = re.compile(r"WPR2 already up|likely in a bad state and may need to be reset", re.IGNORECASE)
_BOOT_TIMEOUT = re.compile(r"GFW_BOOT|GFW boot", re.IGNORECASE)
_VBIOS = re.compile(r"FWSEC|Failed to copy vbios|vbios.*(invalid|corrupt)", re.IGNORECASE)
_PROBE = re.compile(
    r"probe routine failed|nvidia: probe of \S+ failed|probe with driver nvidia failed|None of the NVIDIA",
    re.IGNORECASE,
)
_FATAL = re.compile(r"AER: .*(\bFatal|Uncorrect)", re.IGNORECASE)
_D3COLD = re.compile(r"D3cold to D0", re.IGNORECASE)

_STATUS = {
    0x0F: "NV_ERR_GPU_IS_LOST", 0x1A: "NV_ERR_INSUFFICIENT_RESOURCES", 0x1F: "NV_ERR_INVALID_ARGUMENT",
    0x25: "NV_ERR_INVALID_DATA", 0x40: "NV_ERR_INVALID_STATE", 0x56: "NV_ERR_NOT_SUPPORTED", 0x65: "NV_ERR_TIMEOUT",
}  # fmt: skip
"""The second number of "RmInitAdapter failed! (a:b:c)" is a status of NVIDIA's open kernel modules (nvstatuscodes.h).
The first and the third are a step and a line of the source, which are not documented."""

_OFTEN_MODIFIED = {0x1E04: "RTX 2080 Ti", 0x1E07: "RTX 2080 Ti", 0x2206: "RTX 3080", 0x2216: "RTX 3080",
                   0x2484: "RTX 3070", 0x2488: "RTX 3070", 0x2684: "RTX 4090", 0x2685: "RTX 4090 D"}  # fmt: skip
"""Cards that are sold with more memory than NVIDIA's, which needs a modified VBIOS."""

_LOST_CODES = (15, 16)


# Evidence


def _no_address(s: Situation) -> str | None:
    sizes = s.card.bar_bytes.value if s.card else None
    invalid = s.quote(_INVALID_BAR)
    if invalid:
        bar = s.quote(re.compile(r"BAR\d is 0M"))
        return bar or invalid
    if sizes and len(sizes) > 1 and not sizes[1] and s.card:
        return f"sysfs: BAR 1 of {s.card.address} has no address"
    return None


def _no_space(s: Situation) -> str | None:
    line = s.line(_NO_SPACE)
    return s.quote(_NO_SPACE) if line and s.card and s.card.address in line.lower() else None


def _has_address(s: Situation) -> str | None:
    sizes = s.card.bar_bytes.value if s.card else None
    if sizes and len(sizes) > 1 and sizes[1]:
        return f"sysfs: BAR 1 has an address, {sizes[1] >> 20} MiB"
    later = s.line(_ASSIGNED)
    return s.quote(_ASSIGNED) if later and s.card and s.card.address in later.lower() else None


def init_failed(s: Situation) -> str | None:
    line = s.line(_INIT)
    found = _INIT.search(line) if line else None
    status = _STATUS.get(int(found.group(2), 16)) if found else None
    return f"{s.quote(_INIT)} ({status})" if status else s.quote(_INIT_ANY)


def _status(s: Situation, *codes: int) -> str | None:
    line = s.line(_INIT)
    found = _INIT.search(line) if line else None
    return init_failed(s) if found and int(found.group(2), 16) in codes else None


def _known_of_address_space(s: Situation) -> str | None:
    """Codes that reports name for cards whose board had Above 4G Decoding or Resizable BAR off."""
    if _status(s, 0x1A):
        return "NV_ERR_INSUFFICIENT_RESOURCES is the status of missing address space"
    if re.search(r"\(0x22:0x56:", s.line(_INIT) or ""):
        return "boards with Above 4G Decoding off gave this code (open-gpu-kernel-modules#862)"
    return None


def _firmware_files(s: Situation) -> str | None:
    """The firmware of the loaded module's version is installed."""
    version = s.machine.driver.module_version.value
    versions = s.machine.installation.firmware_versions.value or ()
    return f"/lib/firmware/nvidia/{version} has the firmware" if version and version in versions else None


def _firmware_absent(s: Situation) -> str | None:
    version = s.machine.driver.module_version.value
    versions = s.machine.installation.firmware_versions.value
    if not version or versions is None or version in versions:
        return None
    return f"the module is {version}, /lib/firmware/nvidia has {', '.join(versions)}"


def _lost(s: Situation) -> str | None:
    if s.code in _LOST_CODES:
        return f"NVML code {s.code}: {s.machine.nvml.why}"
    first = s.first_fault
    if first is not None and first.code != 79:
        return None
    if first is not None:
        return f'kernel log: "Xid {first.code}, {first.message[:120]}", the first fault of the card'
    return s.quote(_GONE) or (s.quote(_UNPLUGGED) if s.card else None)


def _lost_later(s: Situation) -> str | None:
    if _lost(s):
        return None
    log = s.machine.kernel_log.value
    gone = log is not None and any(xid.code == 79 for xid in log.xids)
    return "kernel log: Xid 79 after another fault" if gone else s.quote(_GONE) or _status(s, 0x0F)


def _other_fault(s: Situation) -> str | None:
    first = s.first_fault
    if first is None or first.code == 79:
        return None
    return f'kernel log: "Xid {first.code}, {first.message[:120]}", the first fault of the card'


def _no_extra_power(s: Situation) -> str | None:
    return f"NVML code 8: {s.machine.nvml.why}" if s.code == 8 else s.quote(_CABLES)


def _modified(s: Situation) -> str | None:
    name = _OFTEN_MODIFIED.get(s.card.device_id) if s.card else None
    return f"the {name} is a model that is sold with added memory" if name and init_failed(s) else None


def _silent_module(s: Situation) -> str | None:
    """The module is loaded and lists fewer cards than the bus, and no message says why."""
    ignored = (
        s.loaded
        and s.nvml_read
        and (not s.machine.nvml.ok or s.card is not None)
        and s.code not in (8, 12, 18, 4, *_LOST_CODES)
    )
    return "the NVIDIA module is loaded, and NVML does not list the card" if ignored else None


# Remedies


def _address_space(s: Situation) -> Remedy:
    if s.environment == "virtual-machine":
        return Remedy(
            by_hand="on the host: give this virtual machine a larger 64-bit PCI window (OVMF firmware, q35; "
            "-fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=65536)"
        )
    return Remedy(
        by_hand="firmware setup (BIOS): switch on Above 4G Decoding and Resizable BAR, and switch off CSM; if they "
        "are not there, update the firmware",
        then="to test the card without a change in the firmware setup, add pci=realloc to the kernel command line; a "
        "board without Above 4G Decoding cannot use this card",
    )


def _firmware(s: Situation) -> Remedy:
    version = s.machine.driver.module_version.value
    if s.kind == "runfile":
        return Remedy(commands=(f"sudo sh NVIDIA-Linux-x86_64-{version or 'VERSION'}.run",))
    if not s.on_host or not s.has_dpkg:
        return (
            remedies.provision(s)
            if s.on_host
            else remedies.outside(s, "reinstall the driver and its firmware")
        )
    name = remedies.label(s)
    if s.machine.host.distribution.id == "ubuntu" and name and version:
        packages = f"nvidia-firmware-{name.split('-')[0]}-{version} nvidia-kernel-common-{name.removesuffix('-open')}"
    elif s.machine.host.distribution.id == "debian":
        packages = "firmware-nvidia-gsp"
    else:
        names = [p.name for p in s.packages if p.name.startswith("nvidia-kernel-common")]
        return (
            Remedy(commands=(f"sudo apt install --reinstall {names[0]}", "sudo reboot"))
            if names
            else remedies.provision(s)
        )
    return Remedy(
        commands=(f"sudo apt install --reinstall {packages}", "sudo reboot"),
        then="module and firmware need the same version; else: dlbox provision",
        by_dlbox=True,
    )


def _power_cycle(s: Situation) -> Remedy:
    if s.environment == "virtual-machine":
        return remedies.outside(s, "") if not s.on_host else Remedy(
            by_hand="shut this virtual machine down; on its host: switch the computer off and on, and look at the "
            "card's seat and power cables",
        )  # fmt: skip
    if not s.on_host:
        return remedies.outside(s, "switch the computer off and on; reseat the card if the fault returns")
    if s.machine.host.is_laptop and s.quote(_UNPLUGGED):
        return Remedy(
            by_hand="the card was unplugged: if it is in an external enclosure (eGPU), connect its cable and power "
            "again, then restart the laptop; if it is the laptop's own, switch the laptop off and on",
        )
    if s.machine.host.is_laptop:
        return Remedy(
            by_hand="switch the laptop off and on (a reboot is not enough); if the fault returns, update its firmware "
            "(BIOS), and keep the card powered: options nvidia NVreg_DynamicPowerManagement=0x00 in /etc/modprobe.d"
        )
    return Remedy(
        by_hand="switch the machine off and on (a reboot is not enough); if the fault returns, reseat the card, its "
        "power cables and riser, try another slot and check the power supply"
    )


def _cables(s: Situation) -> Remedy:
    task = "switch off, connect every power connector of the card to the power supply, switch on"
    if s.environment == "virtual-machine":
        return Remedy(by_hand=f"on the host of this virtual machine: {task}")
    return Remedy(by_hand=task) if s.on_host else remedies.outside(s, task)


def _other_version(s: Situation) -> Remedy:
    if not s.on_host or not s.has_dpkg:
        return (
            remedies.outside(s, "install another driver version") if not s.on_host else remedies.provision(s)
        )
    return Remedy(
        commands=("dlbox plan",),
        then="try another branch of the driver that supports the card: dlbox provision",
        by_dlbox=True,
    )


def _original_firmware(s: Situation) -> Remedy:
    return Remedy(
        by_hand="look at the label and at nvidia-smi -q or the maker's page: a card with added memory needs the VBIOS "
        "that its seller provides, and not every driver version accepts it"
    )


_DMESG = "sudo dmesg | grep -iE 'nvrm|nvidia|BAR' | head -40"
_NOT_HERE = (outside_host,)
CABLES = Hypothesis(
    id="driver.cables",
    title=lambda s: "the extra power cables of a card are not connected",
    proves=(_no_extra_power,),
    settle=lambda s: _DMESG,
    remedy=_cables,
)
BAR_SPACE = Hypothesis(
    id="driver.bar-space",
    title=lambda s: "the firmware gave the card's memory region (BAR 1) no address space",
    proves=(_no_address,),
    supports=(_no_space,),
    excludes=(_has_address, reserved, *_NOT_HERE),
    settle=lambda s: "sudo lspci -vv -d 10de: | grep -i region; sudo dmesg | grep -E 'BAR [0-5]'",
    remedy=_address_space,
)
FIRMWARE = Hypothesis(
    id="driver.gsp-firmware",
    title=lambda s: "the driver's GSP firmware is missing or has another version than the module",
    proves=(
        lambda s: None if _firmware_files(s) else s.quote(_FIRMWARE_MISSING),
        lambda s: s.quote(_FIRMWARE_VERSION),
    ),
    supports=(lambda s: _firmware_absent(s) if init_failed(s) else None,),
    weakens=(_firmware_files,),
    excludes=(bound_elsewhere, reserved, *_NOT_HERE),
    settle=lambda s: "ls /lib/firmware/nvidia/; modinfo -F version nvidia; modinfo -F firmware nvidia",
    remedy=_firmware,
)
LOST = Hypothesis(
    id="driver.lost",
    title=lambda s: "the card needs a reset" if s.code == 16 else "a card fell off the bus",
    proves=(_lost,),
    supports=(_lost_later,),
    weakens=(_other_fault,),
    excludes=(bound_elsewhere, reserved),
    settle=lambda s: "sudo dmesg | grep -iE 'xid|fallen' | head -3; lspci -d 10de:",
    remedy=_power_cycle,
)


def _is_desktop(s: Situation) -> bool:
    """Whether a person can take the card out of this computer."""
    return s.environment == "bare-metal" and not s.machine.host.is_laptop


def _fault_title(s: Situation) -> str:
    first = s.first_fault
    if first is None:
        return "the card or its power supply is defective"
    return f"a fault of the card came first: Xid {first.code}, {xids.of(first.code).meaning}"


def _after_fault(s: Situation) -> Remedy:
    first = s.first_fault
    if first is None or s.environment != "bare-metal":
        return _power_cycle(s)
    if s.machine.host.is_laptop:
        return Remedy(by_hand=xids.laptop_step(first.code))
    return Remedy(
        by_hand=xids.of(first.code).step, then="if the fault returns, try the card in another computer"
    )


# Candidates: nothing in the log or in sysfs proves them.

CARD_FAULT = Hypothesis(
    id="driver.card-fault",
    title=_fault_title,
    supports=(
        _other_fault,
        lambda s: s.quote(_BOOT_TIMEOUT),
        lambda s: None if s.machine.host.is_laptop else s.quote(_D3COLD),
        lambda s: s.quote(_FATAL),
    ),
    excludes=(bound_elsewhere, reserved, *_NOT_HERE),
    settle=lambda s: (
        "sudo dmesg | grep -iE 'nvrm|xid' | head -5"
        + ("; then try the card in another computer" if _is_desktop(s) else "")
    ),
    remedy=_after_fault,
)
POWER_CYCLE = Hypothesis(
    id="driver.power-cycle",
    title=lambda s: "the card is in a state that only a power cycle clears",
    supports=(
        lambda s: s.quote(_WPR2),
        lambda s: s.quote(_D3COLD) if s.machine.host.is_laptop else None,
        lambda s: _status(s, 0x40, 0x65),
        lambda s: None if _known_of_address_space(s) else _silent_module(s),
    ),
    excludes=(bound_elsewhere, reserved, *_NOT_HERE),
    settle=lambda s: "switch the machine off for a minute, then: dlbox check",
    remedy=_power_cycle,
)
FIRMWARE_SETUP = Hypothesis(
    id="driver.bar-space",
    title=lambda s: "the firmware setup gives the card too little address space",
    supports=(
        lambda s: _status(s, 0x1A, 0x56),
        _known_of_address_space,
        _no_space,
        lambda s: s.quote(_PROBE),
    ),
    weakens=(_has_address,),
    excludes=(
        bound_elsewhere,
        reserved,
        lambda s: None if _known_of_address_space(s) else _has_address(s),
        *_NOT_HERE,
    ),
    settle=lambda s: "sudo lspci -vv -d 10de: | grep -i region",
    remedy=_address_space,
)
REGRESSION = Hypothesis(
    id="driver.version",
    title=lambda s: "this version of the driver does not start this card",
    supports=(init_failed, lambda s: s.quote(_PROBE), lambda s: _status(s, 0x1F, 0x40)),
    weakens=(_other_fault,),
    excludes=(bound_elsewhere, reserved, *_NOT_HERE),
    settle=lambda s: "sudo dmesg | grep -i nvrm | head; then compare with another branch of the driver",
    remedy=_other_version,
)
MODIFIED = Hypothesis(
    id="driver.modified-card",
    title=lambda s: "the card's memory or VBIOS was modified, and this driver does not accept it",
    supports=(_modified, lambda s: s.quote(_VBIOS)),
    excludes=(bound_elsewhere, reserved, *_NOT_HERE),
    settle=lambda s: "nvidia-smi -q | grep -iE 'fb memory|vbios' with a driver that starts the card",
    remedy=_original_firmware,
)
IGNORED = Hypothesis(
    id="driver.version",
    title=lambda s: "the driver does not support this card, or its installation is damaged",
    supports=(_silent_module,),
    weakens=(init_failed,),
    excludes=(bound_elsewhere, reserved, init_failed, _other_fault, *_NOT_HERE),
    settle=lambda s: _DMESG,
    remedy=_other_version,
)
