"""Causes between library, module and environment: versions, permission, containers, WSL2, crashes of NVML."""

from __future__ import annotations

import re

from bench.health.causes import remedies
from bench.health.causes.module_causes import module_loaded
from bench.health.causes.records import Hypothesis, Remedy
from bench.health.causes.situation import Situation
from inventory.machine.records import Machine

_API = re.compile(r"API mismatch")
_LINUX_DRIVER = re.compile(
    r"nvidia-(driver|dkms|kernel|headless)|libnvidia-(compute|ml)|libcuda1|cuda-drivers"
)


# Evidence


def _versions(s: Situation) -> str | None:
    """The versions of the kernel module and of the driver library; None if they are equal or one is not known."""
    module, library = s.machine.driver.module_version.value, s.machine.driver.library_version.value
    return f"module {module}, library {library}" if module and library and module != library else None


def _mismatch(s: Situation) -> str | None:
    if s.code == 18:
        both = _versions(s)
        return f"NVML code 18: {s.machine.nvml.why}" + (f"; {both}" if both else "")
    return None


def _denied(s: Situation) -> str | None:
    if s.code == 4 or s.machine.nvml.state == "no-permission":
        return f"NVML code 4: {s.machine.nvml.why}"
    return None


def _no_library(s: Situation) -> str | None:
    return f"NVML code 12: {s.machine.nvml.why}" if s.code == 12 and s.loaded else None


def _crashed(s: Situation) -> str | None:
    """NVML ended its process or did not answer: no return code."""
    unread = not s.machine.nvml.ok and s.code is None and s.machine.nvml.state == "failed"
    return s.machine.nvml.why if unread else None


def _taken(s: Situation) -> str | None:
    if s.environment != "container" or s.code != 999:
        return None
    closed = [node.path for node in s.machine.installation.device_nodes if not node.usable]
    if closed:
        return f"NVML code 999 in a container, and {closed[0]} can no longer be opened"
    if s.loaded and not s.machine.installation.device_nodes:
        return "NVML code 999 in a container; the host's module is loaded, and the device nodes are gone"
    return None


def _host_not_loaded(s: Situation) -> str | None:
    """The module list of a container is that of its host. Without device nodes the container may lack access only,
    except if another driver holds the card on the host."""
    if s.environment != "container" or s.loaded or not s.module_known or s.code not in (9, 12):
        return None
    if s.card is not None and s.card.driver not in (None, "", "nvidia"):
        return f"sysfs, which is the host's: {s.card.address} is bound to {s.card.driver}"
    if s.machine.installation.device_nodes and s.code == 9:
        return "/proc/modules, which is the host's, has no nvidia"
    return None


def _unknown_in_container(s: Situation) -> str | None:
    return "NVML code 999 in a container" if s.environment == "container" and s.code == 999 else None


def _inside_wsl(s: Situation) -> str | None:
    return "this is WSL2, where Windows installs the driver" if s.environment == "wsl2" else None


def _linux_driver_in_wsl(s: Situation) -> str | None:
    if s.environment != "wsl2" or s.machine.nvml.ok or not s.machine.installation.windows_library.value:
        return None
    names = [
        p.name for p in s.machine.installation.inside_packages.value or () if _LINUX_DRIVER.match(p.name)
    ]
    return f"dpkg: {', '.join(names[:3])} inside WSL2" if names else None


def _not_on_path(s: Situation) -> str | None:
    there = s.environment == "wsl2" and s.code == 12 and s.machine.installation.windows_library.value
    return (
        "/usr/lib/wsl/lib/libnvidia-ml.so.1 exists, and the loader does not find it (NVML code 12)"
        if there
        else None
    )


def _windows(s: Situation) -> str | None:
    if s.environment != "wsl2" or s.machine.nvml.ok or s.code == 12:
        return None
    if s.code == 9 and not s.machine.installation.windows_library.value:
        return None
    code = f"NVML code {s.code}: " if s.code is not None else ""
    return f"{code}{s.machine.nvml.why}, in the library that Windows provides"


def _not_wsl(s: Situation) -> str | None:
    return None if s.environment == "wsl2" else "this is not WSL2"


def _is_wsl(s: Situation) -> str | None:
    return _inside_wsl(s)


# Remedies


def _same_version(s: Situation) -> Remedy:
    module = s.machine.driver.module_version.value or "VERSION"
    library = s.machine.driver.library_version.value
    if s.environment == "container":
        kind = remedies.container_name(s)
        if kind == "kubernetes":
            return Remedy(
                by_hand="delete the pod, so that its controller creates it again with the libraries of the host's "
                f"driver {module}",
                then="and remove driver libraries that were installed in the image",
            )
        if kind == "apptainer":
            return Remedy(
                by_hand=f"start it with --nv, which takes the libraries of the host's driver {module}",
                then="and remove driver libraries that were installed in the image",
            )
        if kind in ("docker", "podman"):
            return Remedy(
                by_hand=f"create the container again with {kind} run, so that it gets the libraries of the host's "
                f"driver {module}",
                then="and remove driver libraries that were installed in the image",
            )
        return Remedy(
            by_hand=f"install the host's version {module} inside the container, without kernel modules",
            commands=(f"sh NVIDIA-Linux-x86_64-{module}.run --no-kernel-modules",),
        )
    if s.environment == "wsl2":
        return remedies.outside(s, "update NVIDIA's driver")
    disk = [version for version in s.installed_versions if library and version != library]
    if library and disk and library not in s.installed_versions:
        return Remedy(
            commands=("dlbox provision", "sudo reboot"),
            then=f"the module on disk is {disk[0]} and the library {library}, so a reboot alone does not help: all "
            "packages of the driver need one version",
            by_dlbox=True,
        )
    return Remedy(
        commands=("sudo reboot",),
        by_hand="reboot, so that the kernel loads the module of the same version",
    )


def _permit(s: Situation) -> Remedy:
    if s.environment == "container":
        return Remedy(by_hand="pass the devices /dev/nvidia* to the container with read and write permission")
    if s.environment == "wsl2":
        return remedies.outside(s, "update NVIDIA's driver")
    return Remedy(commands=("sudo usermod -aG video,render $USER",), then="then log in again")


def _library(s: Situation) -> Remedy:
    if s.environment == "container":
        return Remedy(
            by_hand="start the container with the driver's libraries: docker run --gpus all -e "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility ... (on LXC: install the host's version inside, without "
            "kernel modules)"
        )
    if s.environment == "wsl2" or not s.has_dpkg:
        return remedies.provision(s)
    if s.kind == "runfile":
        version = s.machine.driver.module_version.value or "VERSION"
        return Remedy(commands=(f"sudo sh NVIDIA-Linux-x86_64-{version}.run",))
    by_hand = "sudo apt install libnvidia-ml1" if s.machine.host.distribution.id == "debian" else ""
    return Remedy(commands=("dlbox provision",), then=f"or: {by_hand}" if by_hand else "", by_dlbox=True)


def _unstable(s: Situation) -> Remedy:
    if s.environment == "container":
        return remedies.restart_container(s)
    if s.environment == "virtual-machine":
        return Remedy(
            by_hand="on the host: look for errors of the card, then restart this virtual machine",
            commands=("sudo dmesg | grep -i xid",),
        )
    return Remedy(
        commands=("sudo dmesg | grep -i xid",),
        then="then reboot; if the fault returns, reseat the card and its power cables",
    )


def windows_driver(s: Situation) -> Remedy:
    """NVML of Windows' driver crashed or failed: CUDA may work all the same."""
    return Remedy(
        by_hand="update NVIDIA's driver on Windows, then restart WSL in PowerShell: wsl --shutdown",
        then="CUDA programs may work all the same: dlbox check --frameworks",
    )


def silent_card(machine: Machine, code: int | None) -> str | None:
    """The next step for a card that does not answer, where it is not the owner's to reseat: under WSL2,
    in a container and in a virtual machine. None elsewhere. ``code``: NVML's return code, None after a crash."""
    s = Situation(machine)
    if s.environment == "wsl2":
        return windows_driver(s).text
    if s.environment == "container":
        restart = remedies.restart_container(s).text
        return restart if code == 999 else f"on the host: dlbox check; if the card works there, {restart}"
    if s.environment == "virtual-machine":
        return "shut this virtual machine down; on its host: look for errors of the card (sudo dmesg | grep -i xid)"
    return None


def _remove_linux_driver(s: Situation) -> Remedy:
    packages = s.machine.installation.inside_packages.value or ()
    names = [p.name for p in packages if _LINUX_DRIVER.match(p.name)]
    return Remedy(
        commands=(f"sudo apt remove {' '.join(names)}",),
        then="then restart WSL in PowerShell: wsl --shutdown; Windows provides the driver",
    )


MISMATCH = Hypothesis(
    id="driver.mismatch",
    title=lambda s: "the driver's library and its kernel module have different versions",
    proves=(_mismatch,),
    supports=(lambda s: s.quote(_API) if not s.machine.nvml.ok else None,),
    settle=lambda s: "cat /proc/driver/nvidia/version; ls -l /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.*",
    remedy=_same_version,
)
PERMISSION = Hypothesis(
    id="driver.permission",
    title=lambda s: "the driver denies access to this user",
    proves=(_denied,),
    settle=lambda s: "ls -l /dev/nvidia*; id",
    remedy=_permit,
)
LIBRARY = Hypothesis(
    id="driver.library",
    title=lambda s: "the library libnvidia-ml.so.1 is missing",
    proves=(_no_library,),
    settle=lambda s: "ldconfig -p | grep nvidia-ml",
    remedy=_library,
)
CRASHED = Hypothesis(
    id="driver.stable",
    title=lambda s: "NVML cannot be queried",
    proves=(_crashed,),
    excludes=(_is_wsl,),
    settle=lambda s: "nvidia-smi; sudo dmesg | tail -20",
    remedy=_unstable,
)
CONTAINER_LOST = Hypothesis(
    id="driver.container-lost",
    title=lambda s: "the container has lost its access to the card",
    proves=(_taken,),
    supports=(_unknown_in_container,),
    settle=lambda s: "on the host: nvidia-smi (it works there if only this container lost the card)",
    remedy=remedies.restart_container,
)
HOST_NOT_LOADED = Hypothesis(
    id="driver.loaded",
    title=lambda s: "the host of this container has not loaded the NVIDIA module",
    proves=(_host_not_loaded,),
    settle=lambda s: "on the host: nvidia-smi; lspci -nnk -d 10de:",
    remedy=lambda s: remedies.outside(s, "find the reason there: dlbox check"),
)
HOST_CARD = Hypothesis(
    id="driver.lost",
    title=lambda s: "the card of the host does not work",
    supports=(_unknown_in_container,),
    weakens=(module_loaded,),
    settle=lambda s: "on the host: nvidia-smi; sudo dmesg | grep -i xid",
    remedy=lambda s: remedies.outside(s, "check the card there: dlbox check"),
)
LINUX_DRIVER_IN_WSL = Hypothesis(
    id="driver.wsl",
    title=lambda s: "a Linux driver is installed inside WSL2 and hides the driver of Windows",
    proves=(_linux_driver_in_wsl,),
    excludes=(_not_wsl,),
    settle=lambda s: "dpkg -S libnvidia-ml.so.1; ls -l /usr/lib/wsl/lib",
    remedy=_remove_linux_driver,
)
NOT_ON_PATH = Hypothesis(
    id="driver.wsl",
    title=lambda s: "the library of Windows' driver is not on the loader's path",
    proves=(_not_on_path,),
    excludes=(_not_wsl,),
    settle=lambda s: "ldconfig -p | grep nvidia-ml",
    remedy=lambda s: Remedy(
        commands=("echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf", "sudo ldconfig"),
    ),
)
WINDOWS = Hypothesis(
    id="driver.wsl",
    title=lambda s: "the NVIDIA driver of Windows does not answer inside WSL2",
    proves=(_windows,),
    excludes=(_not_wsl,),
    settle=lambda s: "in PowerShell: nvidia-smi",
    remedy=windows_driver,
)
