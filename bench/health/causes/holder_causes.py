"""Causes between card and driver: another driver holds the card, or NVIDIA's driver does not support it."""

from __future__ import annotations

import re

from bench.health.causes import remedies
from bench.health.causes.module_causes import outside_host
from bench.health.causes.records import Hypothesis, Remedy
from bench.health.causes.situation import OLDEST_BRANCH, Situation

_RESERVED = ("vfio-pci", "vfio_pci", "xen-pciback", "pci-stub", "pciback")
_NEEDS_LEGACY = re.compile(r"supported through the NVIDIA (\d+)\.xx Legacy", re.IGNORECASE)
_NEEDS_CLOSED = re.compile(r"not supported by open|does not include the required GPU", re.IGNORECASE)
_NEEDS_OPEN = re.compile(r"requires use of the NVIDIA open kernel modules", re.IGNORECASE)
_BOUND = re.compile(r"is already bound to (\w+)")


# Evidence


def reserved(s: Situation) -> str | None:
    if s.card is None or s.card.driver not in _RESERVED:
        return None
    ids = s.setting(rf"10de:{s.card.device_id:04x}") or s.setting(re.escape(s.card.address))
    asked = f', as {ids.path} asks: "{ids.text[:100]}"' if ids else ""
    return f"sysfs: {s.card.address} is bound to {s.card.driver}{asked}"


def bound_elsewhere(s: Situation) -> str | None:
    if s.card is None or s.card.driver in (None, "", "nvidia", *_RESERVED):
        return None
    return f"sysfs: {s.card.address} is bound to {s.card.driver}"


def _nvidia_bound(s: Situation) -> str | None:
    there = s.card is not None and s.card.driver == "nvidia"
    return f"sysfs: {s.card.address} is bound to nvidia" if there and s.card else None


def _display_only(s: Situation) -> str | None:
    row = s.family
    if not s.display_only:
        return None
    if row is None:
        return f"cards older than Kepler: the last branch is 390, frameworks need {OLDEST_BRANCH}"
    return f"{row.name.capitalize()} cards: the last branch is {row.last_branch}, frameworks need {OLDEST_BRANCH}"


def _wrong_branch(s: Situation) -> str | None:
    row = s.family
    if row is None or s.branch is None or s.card is None:
        return None
    first = row.first_branch_of(s.card.device_id)
    if row.last_branch and s.branch > row.last_branch:
        return f"driver branch {s.branch} is installed, the card's last branch is {row.last_branch}"
    if s.branch < first:
        return f"driver branch {s.branch} is installed, the card's first branch is {first}"
    return None


def _legacy(s: Situation) -> str | None:
    line = s.line(_NEEDS_LEGACY)
    found = _NEEDS_LEGACY.search(line) if line else None
    return f"{s.quote(_NEEDS_LEGACY)}; the card's last branch is {found.group(1)}" if found else None


def _wrong_flavour(s: Situation) -> str | None:
    row = s.family
    if row is None or s.flavour is None or s.flavour in row.flavours:
        return None
    return f"the {s.flavour} module is installed; {row.name.capitalize()} cards {_needs(s)}"


def driver_of_newer_card(s: Situation) -> str | None:
    """The address of a newer card that works, if no driver supports it and this card at once: their kinds of modules
    or their branches differ."""
    row, machine = s.family, s.machine
    if row is None or s.card is None or not machine.nvml.ok:
        return None
    listed = {gpu.pci_address.value for gpu in machine.gpus}
    for other in machine.cards:
        theirs = Situation(machine, other).family
        if theirs is None or other.address not in listed or row.last_branch is None:
            continue
        apart = not set(row.flavours) & set(theirs.flavours)
        if apart or row.last_branch < theirs.first_branch_of(other.device_id):
            return other.address
    return None


def _needs(s: Situation) -> str:
    closed = s.quote(_NEEDS_CLOSED) or (s.family is not None and "open" not in s.family.flavours)
    return "need the proprietary module" if closed else "need the open module"


# Remedies


def _release_card(s: Situation) -> Remedy:
    line = s.setting(rf"10de:{s.card.device_id:04x}") if s.card else None
    if line and line.path == "/proc/cmdline":
        return Remedy(
            by_hand=f"use the card in the virtual machine; or give it back: remove {line.text[:80]} from "
            f"{remedies.command_line(s)}",
            commands=(remedies.boot_loader(s), "sudo reboot"),
        )
    if line:
        return Remedy(
            by_hand="use the card in the virtual machine; or give it back: remove it from the vfio-pci options in "
            f"{line.path}",
            commands=(remedies.initramfs(s), "sudo reboot"),
        )
    return Remedy(
        by_hand="use the card in the virtual machine; or give it back: shut that machine down and remove the card from "
        "its devices, or: sudo driverctl unset-override ADDRESS",
    )


def _unbind(s: Situation) -> Remedy:
    driver = (s.card.driver if s.card else None) or "nouveau"
    if driver.lower().startswith("nova"):
        names = "blacklist nova_core\\nblacklist nova_drm\\nblacklist nouveau\\n"
        blacklist = f"printf '{names}' | sudo tee /etc/modprobe.d/blacklist-nova.conf"
    else:
        module = driver.replace("-", "_")
        blacklist = f"echo 'blacklist {module}' | sudo tee /etc/modprobe.d/blacklist-{module}.conf"
    if s.kind == "none" and driver == "nouveau" and s.has_dpkg:
        return Remedy(
            commands=("dlbox provision", "sudo reboot"), then="provision also blocks nouveau", by_dlbox=True
        )
    install = ("dlbox provision",) if s.has_dpkg and s.kind != "runfile" else ()
    update = remedies.initramfs(s)
    driver_first = "" if s.has_dpkg else "install NVIDIA's driver with the tools of this distribution"
    return Remedy(
        by_hand=driver_first, commands=(blacklist, update, *install, "sudo reboot"), by_dlbox=s.has_dpkg
    )


def _other_driver(s: Situation) -> Remedy:
    if s.display_only:
        return Remedy(
            by_hand="train on another card, or on the processor; this card can show the screen with nouveau",
        )
    newer = driver_of_newer_card(s)
    if newer is not None:
        return Remedy(
            by_hand=f"no driver supports this card and {newer} at once: leave it idle or take it out; to train on this "
            "one instead: dlbox plan --use with its name shows the driver",
        )
    if not s.on_host:
        return remedies.outside(s, "install a driver that supports this card")
    if not s.has_dpkg:
        return remedies.provision(s)
    return Remedy(
        commands=("dlbox plan", "dlbox provision"), then="plan shows the driver that fits", by_dlbox=True
    )


_DMESG = "sudo dmesg | grep -iE 'nvrm|nvidia' | head -40"
PASSTHROUGH = Hypothesis(
    id="driver.passthrough",
    title=lambda s: "the card is reserved for a virtual machine",
    proves=(reserved,),
    settle=lambda s: "lspci -nnk -d 10de:",
    remedy=_release_card,
)
DISPLAY_ONLY = Hypothesis(
    id="driver.branch",
    title=lambda s: (
        "no driver branch that the frameworks need supports this card; it is for the display only"
    ),
    proves=(_display_only,),
    settle=lambda s: "lspci -nn -d 10de:",
    remedy=_other_driver,
)
NOUVEAU = Hypothesis(
    id="driver.nouveau",
    title=lambda s: (
        f"the card is bound to {s.card.driver if s.card else 'nouveau'}, a driver of the Linux kernel "
        "that cannot run CUDA programs"
    ),
    proves=(bound_elsewhere,),
    supports=(lambda s: s.quote(_BOUND),),
    excludes=(_nvidia_bound, reserved, outside_host),
    settle=lambda s: "lspci -nnk -d 10de:",
    remedy=_unbind,
)
BRANCH = Hypothesis(
    id="driver.branch",
    title=lambda s: (
        f"driver branch {s.branch} does not support this card"
        if s.branch
        else "the driver's branch does not support this card"
    ),
    proves=(_wrong_branch, _legacy),
    excludes=(bound_elsewhere, reserved, _display_only),
    settle=lambda s: _DMESG,
    remedy=_other_driver,
)
FLAVOUR = Hypothesis(
    id="driver.flavour",
    title=lambda s: (
        f"the kernel module does not support this card: the card {_needs(s).replace('need ', 'needs ')}"
    ),
    proves=(_wrong_flavour, lambda s: s.quote(_NEEDS_CLOSED), lambda s: s.quote(_NEEDS_OPEN)),
    excludes=(bound_elsewhere, reserved, _display_only),
    settle=lambda s: _DMESG,
    remedy=_other_driver,
)
