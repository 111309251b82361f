"""Causes on the side of the kernel module: not installed, not built, refused, switched off, not loaded."""

from __future__ import annotations

import re

from bench.health.causes import remedies
from bench.health.causes.records import Hypothesis, Remedy
from bench.health.causes.situation import Situation, removes_card

RAN = re.compile(r"NVRM: |nvidia: (loading out-of-tree module|module license|module verification failed)")
"""Messages of a module that the kernel accepted: it writes them after the check of the signature."""
_FAILED = re.compile(
    r"NVRM: .*(fail|invalid|not supported|None of the|No NVIDIA|already bound|requires|mismatch)|BAR\d is 0M"
)
_REFUSED = re.compile(
    r"Key was rejected by service|Loading of (unsigned )?module|Lockdown:.*module", re.IGNORECASE
)
_PROBE_FAILED = re.compile(
    r"probe routine failed|probe of \S+ failed|probe with driver nvidia failed|None of the NVIDIA|"
    r"No NVIDIA devices probed|Legacy drivers"
)
_OTHER_BUILD = re.compile(
    r"\bnvidia(-current)?(-open)?: (version magic|disagrees about version of symbol|Unknown symbol|no symbol version)"
)
_COMPILER = re.compile(
    r"compiler differs|unrecognized command.line option|gcc.*: not found|cc.*mismatch", re.IGNORECASE
)
_CERTIFICATES = {"debian": "/var/lib/dkms/mok.pub", "ubuntu": "/var/lib/shim-signed/mok/MOK.der",
                 "fedora": "/etc/pki/akmods/certs/public_key.der"}  # fmt: skip
"""Certificate of the key that DKMS signs with: its own key, and on Ubuntu the one that shim-signed creates
(dkms-project/dkms#104; reports from 22.04 and 24.04). Fedora's akmods has its own."""


# Evidence


def module_loaded(s: Situation) -> str | None:
    if not s.loaded:
        return None
    version = s.machine.driver.module_version.value
    named = f"/proc/driver/nvidia/version: the module {version}" if version else "the module nvidia"
    return f"{named} is loaded"


def module_missing(s: Situation) -> str | None:
    """The running kernel's folder is readable and has no module, although a driver is installed."""
    if (
        s.loaded
        or s.modules
        or not s.module_known
        or not s.machine.installation.kernels.ok
        or s.kind in ("none", "container", "wsl2")
    ):
        return None
    if s.running is None:
        return f"/lib/modules has no folder of the running kernel {s.release}"
    others = [k.release for k in s.kernels if k.nvidia_modules]
    beside = f"; {', '.join(others)} has one" if others else ""
    return f"/lib/modules/{s.release} has no nvidia.ko{beside}{_unfinished(s)}"


def _unfinished(s: Situation) -> str:
    return f"; dpkg: {s.unconfigured[0]} is not configured" if s.unconfigured else ""


def module_there(s: Situation) -> str | None:
    return f"/lib/modules/{s.release}/{s.modules[0]} exists" if s.modules else None


def outside_host(s: Situation) -> str | None:
    return f"this is {'a container' if s.environment == 'container' else 'WSL2'}" if not s.on_host else None


def module_ran(s: Situation) -> str | None:
    quote = s.quote(RAN)
    if quote:
        return f"the module ran; {quote}"
    log = s.machine.kernel_log.value
    wrote = log is not None and (bool(log.xids) or any(RAN.search(line) for line in log.nvidia))
    return "the module ran: it wrote to the kernel log" if wrote else None


def _refused(s: Situation) -> str | None:
    return s.quote(_REFUSED)


def _no_refusal(s: Situation) -> str | None:
    return (
        "the kernel log was read and has no refusal of a module" if s.log_read and not _refused(s) else None
    )


def _secure_boot_off(s: Situation) -> str | None:
    state = s.machine.host.secure_boot
    return "Secure Boot is off" if (state.ok and not state.value) or state.state == "not-supported" else None


def _secure_boot_on(s: Situation) -> str | None:
    return "Secure Boot is on" if s.machine.host.secure_boot.value else None


def _no_module(s: Situation) -> str | None:
    known = s.machine.installation.kernels.ok and not s.modules
    return f"/lib/modules/{s.release} has no module that could be refused" if known else None


def _build_error(s: Situation, *, compiler: bool) -> str | None:
    if s.loaded or s.modules:
        return None
    lines = s.machine.installation.build_errors.value or ()
    known = [line for line in lines if _COMPILER.search(line.text)]
    if compiler:
        hard = [line for line in known if "differs" not in line.text]
        shown = (known[0] if known else None) if hard else None
    else:
        rest = [
            line for line in lines if line not in known and re.search("error|PREEMPT_RT", line.text, re.I)
        ]
        shown = rest[0] if rest and not any("differs" not in line.text for line in known) else None
    return f'{shown.path}: "{shown.text[:160]}"' if shown else None


def _switched_off(s: Situation) -> str | None:
    if s.loaded or not s.module_known or not s.switches:
        return None
    removed = [line for line in s.switches if removes_card(line)]
    if s.card is not None and s.card.driver is None and s.modules:
        lines = s.switches
    elif s.card is None and removed:
        lines = (*removed, *(line for line in s.switches if line not in removed))
    elif s.card is None and s.machine.host.is_laptop and s.packages:
        lines = s.switches
    else:
        return None
    return "; ".join(f'{line.path}: "{line.text[:100]}"' for line in lines[:3])


def _ran_and_failed(s: Situation) -> str | None:
    quote = s.quote(_FAILED)
    return f"the module was loaded and failed; {quote}" if quote else None


def _not_loaded(s: Situation) -> str | None:
    if s.loaded or not s.on_host or not s.module_known:
        return None
    if s.modules:
        return f"/lib/modules/{s.release}/{s.modules[0]} exists, and /proc/modules has no nvidia"
    unread = not s.machine.installation.kernels.ok and (s.code == 9 or s.packages)
    return "/proc/modules has no nvidia" if unread else None


def _nothing_installed(s: Situation) -> str | None:
    installation = s.machine.installation
    if s.loaded or not s.on_host or s.kind != "none" or not s.module_known or s.files_unknown:
        return None
    if not installation.kernels.ok and not installation.packages.ok:
        return None
    return "no driver package, no DKMS module and no nvidia.ko of any kernel"


def _no_access(s: Situation) -> str | None:
    """A container without the host's library and without device nodes: it was started without the card."""
    if s.environment != "container" or s.code not in (9, 12):
        return None
    nodes = s.machine.installation.device_nodes
    return None if nodes else "this container has no device node /dev/nvidia*"


# Remedies


def _enrol(s: Situation) -> Remedy:
    file = _CERTIFICATES.get(s.machine.host.distribution.id, _CERTIFICATES["debian"])
    if s.kind == "prebuilt":
        return Remedy(
            commands=(
                "sudo apt install --reinstall " + f"linux-modules-nvidia-{remedies.label(s)}-{s.release}",
            ),
            then="these modules carry the distribution's signature; else switch Secure Boot off in the firmware setup",
            by_dlbox=True,
        )
    if s.kind == "runfile":
        return Remedy(
            by_hand="run NVIDIA's installer again and let it sign the module, or switch Secure Boot off in the "
            "firmware setup",
            then="a signed module of the distribution needs neither: sudo nvidia-uninstall, then dlbox provision",
        )
    prebuilt = s.machine.host.distribution.id == "ubuntu" and not remedies.foreign_kernel(s.release)
    signed = "install the distribution's signed modules: dlbox provision; or " if prebuilt else ""
    return Remedy(
        by_hand=f"{signed}enrol the signing key",
        commands=(f"sudo mokutil --import {file}",),
        then="reboot and confirm on the screen",
        by_dlbox=s.has_provision,
    )


_UNDO = (
    (r"system76-power", "sudo system76-power graphics nvidia"),
    (r"envycontrol|50-remove-nvidia", "sudo envycontrol -s nvidia"),
    (r"supergfx", "supergfxctl --mode Hybrid"),
    (r"optimus-manager", "optimus-manager --switch nvidia"),
    (r"dgpu_disable", "echo 0 | sudo tee /sys/devices/platform/asus-nb-wmi/dgpu_disable"),
)


def _switch_on(s: Situation) -> Remedy:
    places = " ".join(line.path for line in s.switches)
    if re.search(r"prime-discrete|50-pm-nvidia|(?<!etc)/modprobe\.d/blacklist-nvidia", places):
        return Remedy(commands=("sudo prime-select nvidia", "sudo reboot"), by_dlbox=True)
    for pattern, command in _UNDO:
        if re.search(pattern, places):
            return Remedy(commands=(command, "sudo reboot"))
    files = list(dict.fromkeys(line.path for line in s.switches if line.path.startswith("/etc/")))
    if "/proc/cmdline" in places:
        words = ", ".join(line.text for line in s.switches if line.path == "/proc/cmdline")
        return Remedy(
            by_hand=f"remove {words} from {remedies.command_line(s)}",
            commands=(remedies.boot_loader(s), "sudo reboot"),
        )
    named = ", ".join(files or [line.path for line in s.switches])
    return Remedy(by_hand=f"remove these lines from {named}", commands=(remedies.initramfs(s), "sudo reboot"))


def _fix_compiler(s: Situation) -> Remedy:
    compiler = s.machine.installation.kernel_compiler.value
    package = compiler.replace(" ", "-") if compiler and compiler.startswith("gcc") else None
    if s.kind == "runfile":
        first = (f"sudo apt install {package}",) if package and s.has_dpkg else ()
        return Remedy(
            commands=(*first, f"sudo CC={package or 'COMPILER'} sh NVIDIA-Linux-x86_64-VERSION.run"),
            then="use the compiler that built the kernel: cat /proc/version",
        )
    if s.kind in ("dkms", "packages") and s.has_dpkg:
        first = (f"sudo apt install {package}",) if package else ()
        return Remedy(
            commands=(*first, f"sudo apt install --reinstall {remedies.headers(s.release)}",
                      f"sudo dkms autoinstall -k {s.release}", "sudo modprobe nvidia"),
            then="the module needs the compiler that built the kernel: cat /proc/version",
        )  # fmt: skip
    return remedies.build(s, s.release)


def _rebuild(s: Situation) -> Remedy:
    if s.kind == "prebuilt" and (name := remedies.label(s)):
        return Remedy(
            commands=(f"sudo apt install --reinstall linux-modules-nvidia-{name}-{s.release}",
                      "sudo modprobe nvidia"),
            by_dlbox=True,
        )  # fmt: skip
    built = s.machine.installation.dkms.value or ()
    sources = [p.name for p in s.packages if "dkms" in p.name]
    if s.kind == "dkms" and not built and sources and s.has_dpkg:
        return Remedy(
            commands=(f"sudo apt install --reinstall {remedies.headers(s.release)} {' '.join(sources)}",
                      "sudo modprobe nvidia"),
        )  # fmt: skip
    if s.kind == "dkms":
        return Remedy(
            commands=(*((f"sudo apt install --reinstall {remedies.headers(s.release)}",) if s.has_dpkg else ()),
                      *(f"sudo dkms {step} --force -k {s.release} {m.name or 'nvidia'}/{m.version}"
                        for m in built[:1] for step in ("build", "install")),
                      "sudo modprobe nvidia"),
        )  # fmt: skip
    return remedies.build(s, s.release)


def _newer_driver(s: Situation) -> Remedy:
    others = [k.release for k in s.kernels if k.nvidia_modules and k.bootable]
    if any("PREEMPT_RT" in line.text for line in s.machine.installation.build_errors.value or ()):
        other = others[-1] if others else "of the distribution without PREEMPT_RT"
        return Remedy(
            by_hand=f"NVIDIA's driver does not support real-time kernels such as {s.release}: start kernel {other}"
        )
    back = f"start kernel {others[-1]}, which has the module, or " if others else ""
    return Remedy(
        by_hand=f"this driver does not compile on kernel {s.release}: {back}install a driver that does",
        commands=("dlbox plan", "dlbox provision"),
        by_dlbox=s.has_dpkg,
    )


def _load(s: Situation) -> Remedy:
    name = remedies.module_name(s)
    return Remedy(
        commands=(f"sudo modprobe {name}",),
        then="if that fails, read why: sudo dmesg | grep -iE 'nvrm|nvidia|module' | tail",
        by_dlbox=s.has_dpkg,
    )


def _build(s: Situation) -> Remedy:
    if s.running is None and s.kernels:
        return Remedy(
            by_hand=f"the files of the running kernel {s.release} were removed, as an upgrade does",
            commands=("sudo reboot",),
        )
    return remedies.build(s, s.release)


def _modprobe(s: Situation) -> str:
    return f"sudo modprobe {remedies.module_name(s)}"


def _in_doubt(s: Situation) -> bool:
    """Whether a module that is not loaded may have been refused, or was loaded and failed."""
    return bool(_secure_boot_on(s) and not module_ran(s)) or _ran_and_failed(s) is not None


NOT_INSTALLED = Hypothesis(
    id="driver.loaded",
    title=lambda s: (
        f"no NVIDIA driver {'in this container' if s.environment == 'container' else 'is installed'}"
    ),
    proves=(_nothing_installed,),
    excludes=(module_loaded, module_there),
    settle=lambda s: "ls /dev/nvidia*" if not s.on_host else "modinfo nvidia",
    remedy=remedies.provision,
)
NO_DEVICES = Hypothesis(
    id="driver.loaded",
    title=lambda s: "no NVIDIA driver in this container: it was started without the card",
    proves=(_no_access,),
    settle=lambda s: "ls -l /dev/nvidia*; on the host: nvidia-smi",
    remedy=remedies.provision,
)
PREBUILT_MISSING = Hypothesis(
    id="driver.prebuilt-missing",
    title=lambda s: f"the driver has no prebuilt kernel module for kernel {s.release}, which is running",
    proves=(lambda s: module_missing(s) if s.kind == "prebuilt" and s.running else None,),
    excludes=(module_loaded, module_there, outside_host),
    settle=lambda s: f"ls /lib/modules/{s.release}/kernel | grep nvidia",
    remedy=_build,
)
COMPILER = Hypothesis(
    id="driver.compiler",
    title=lambda s: (
        f"the kernel module was compiled with another compiler or for another kernel than {s.release}"
    ),
    proves=(
        lambda s: None if s.loaded else s.quote(_OTHER_BUILD),
        lambda s: _build_error(s, compiler=True),
    ),
    excludes=(module_loaded, outside_host),
    settle=lambda s: "modinfo -F vermagic nvidia; uname -r; cat /proc/version",
    remedy=lambda s: _rebuild(s) if s.modules else _fix_compiler(s),
)
BUILD_FAILED = Hypothesis(
    id="driver.build-failed",
    title=lambda s: f"DKMS could not compile the driver's module for kernel {s.release}",
    proves=(lambda s: _build_error(s, compiler=False),),
    excludes=(module_loaded, module_there, outside_host),
    settle=lambda s: "less /var/lib/dkms/nvidia*/*/build/make.log",
    remedy=_newer_driver,
)
NOT_BUILT = Hypothesis(
    id="driver.module-built",
    title=lambda s: f"the driver has no kernel module for kernel {s.release}",
    proves=(lambda s: module_missing(s) if s.kind != "prebuilt" or not s.running else None,),
    excludes=(module_loaded, module_there, outside_host),
    settle=lambda s: (
        "dkms status" if s.kind == "dkms" else f"find /lib/modules/{s.release} -name 'nvidia*.ko*'"
    ),
    remedy=_build,
)
SECURE_BOOT = Hypothesis(
    id="driver.secure-boot",
    title=lambda s: "Secure Boot rejects the NVIDIA module",
    proves=(lambda s: _refused(s) if s.modules or (s.files_unknown and _secure_boot_on(s)) else None,),
    supports=(lambda s: _secure_boot_on(s) if s.modules else None,),
    weakens=(_no_refusal,),
    excludes=(module_loaded, module_ran, _secure_boot_off, _no_module, outside_host),
    settle=_modprobe,
    remedy=_enrol,
)
SWITCHED_OFF = Hypothesis(
    id="driver.switched-off",
    title=lambda s: "the NVIDIA card is switched off by the configuration of this machine",
    proves=(_switched_off,),
    excludes=(module_loaded, outside_host),
    settle=lambda s: (
        "grep -rE 'nvidia|10de' /etc/modprobe.d /lib/modprobe.d /etc/udev/rules.d /lib/udev/rules.d"
    ),
    remedy=_switch_on,
)
NOT_LOADED = Hypothesis(
    id="driver.loaded",
    title=lambda s: "the NVIDIA kernel module is not loaded",
    proves=(lambda s: None if _in_doubt(s) else _not_loaded(s),),
    supports=(_not_loaded,),
    weakens=(_ran_and_failed,),
    excludes=(
        module_loaded, outside_host, _switched_off, lambda s: s.quote(_PROBE_FAILED),
        lambda s: _refused(s) if _secure_boot_on(s) and s.modules else None, lambda s: s.quote(_OTHER_BUILD),
        lambda s: f"the card is bound to {s.card.driver}" if s.card and s.card.driver else None,
    ),
    settle=_modprobe,
    remedy=_load,
)  # fmt: skip
