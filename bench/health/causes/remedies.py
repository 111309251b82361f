"""Remedies that depend on how the driver is installed: commands for packages, DKMS, the .run file, containers."""

from __future__ import annotations

import re

from bench.health.causes.records import Remedy
from bench.health.causes.situation import Situation

_FIRST_KERNEL = {"20.04": "5.4", "22.04": "5.15", "24.04": "6.8", "26.04": "7.0"}
"""Kernel that each Ubuntu release came with. Its prebuilt modules follow the metapackage without "hwe"."""
_UBUNTU_OF_MINT = {"21": "22.04", "22": "24.04"}
_MAINLINE = re.compile(r"\d+\.\d+\.\d+-0\d{5}(rc\d+)?-generic")
_POP = re.compile(r"\d+\.\d+\.\d+-7\d{7}-generic")
_OTHER_KERNELS = re.compile(r"-(pve|xanmod\d*|liquorix|zen|cachyos|surface|tkg)\b|microsoft|\+deb\d+-")
_INSIDE = ("container", "wsl2")


def outside(s: Situation, task: str) -> Remedy:
    """For a fault that only the owner of the host can repair."""
    if s.environment == "wsl2":
        return Remedy(
            by_hand=f"on Windows: {task}, then restart WSL in PowerShell: wsl --shutdown",
        )
    return Remedy(by_hand=f"on the host of this container: {task}", then="then restart this container")


BY_DISTRIBUTION = "install a driver that fits card and kernel with the tools of this distribution"


def fitting(s: Situation, remedy: Remedy) -> Remedy:
    """``remedy`` without `dlbox provision` where that command does not know the distribution, as on Mint and Fedora."""
    if s.has_provision or not s.on_host or "dlbox provision" not in remedy.text:
        return remedy
    commands = tuple(c for c in remedy.commands if c not in ("dlbox provision", "dlbox plan"))
    by_hand, then = (
        "; ".join(part for part in text.split("; ") if "dlbox provision" not in part)
        for text in (remedy.by_hand, remedy.then)
    )
    if len(commands) < len(remedy.commands):
        by_hand = "; ".join(part for part in (by_hand, BY_DISTRIBUTION) if part)
    return Remedy(commands=commands, by_hand=by_hand, then=then)


def akmods(s: Situation) -> bool:
    """Whether Fedora's akmods builds the modules: they are in the folder "extra" of a kernel of Fedora."""
    return not s.has_dpkg and any(
        re.match(r"extra/", path) and re.search(r"\.fc\d+", kernel.release)
        for kernel in s.kernels
        for path in kernel.nvidia_modules
    )


def provision(s: Situation) -> Remedy:
    """Install the driver that fits the card; never inside a container or WSL2."""
    if s.environment == "wsl2":
        return Remedy(
            by_hand="install NVIDIA's driver on Windows; never install a Linux driver inside WSL2",
            then="then restart WSL in PowerShell: wsl --shutdown",
        )
    if s.environment == "container":
        return Remedy(
            by_hand=f"start the container with GPU access: {_ACCESS.get(container_name(s), _ANY_ACCESS)}"
        )
    if not s.has_dpkg:
        return Remedy(
            by_hand="install the driver with the tools of this distribution: dlbox plan shows the branch"
        )
    return Remedy(commands=("dlbox provision",), by_dlbox=True)


def initramfs(s: Situation) -> str:
    """The command that writes the initramfs again, with the settings of modprobe."""
    if s.has_dpkg:
        return "sudo update-initramfs -u"
    return "sudo mkinitcpio -P" if "arch" in s.release else "sudo dracut --force"


def command_line(s: Situation) -> str:
    """Where the kernel command line is set."""
    place = "GRUB_CMDLINE_LINUX in /etc/default/grub"
    return f"{place} (with systemd-boot: from /etc/kernel/cmdline)" if s.release.endswith("-pve") else place


def boot_loader(s: Situation) -> str:
    """The command that takes the kernel command line from /etc/default/grub."""
    if s.has_dpkg:
        return "sudo update-grub" + (
            " && sudo proxmox-boot-tool refresh" if s.release.endswith("-pve") else ""
        )
    folder = "grub" if "arch" in s.release else "grub2"
    return f"sudo {folder}-mkconfig -o /boot/{folder}/grub.cfg"


def reboot(s: Situation) -> str:
    return "" if s.environment in _INSIDE else "sudo reboot"


_ANY_ACCESS = (
    "docker run --gpus all ... (on LXC or Proxmox: pass the devices /dev/nvidia* and libraries of the host's driver "
    "version)"
)
_ACCESS = {
    "podman": "podman run --device nvidia.com/gpu=all ...",
    "kubernetes": "set the limit nvidia.com/gpu: 1 in the pod's resources; the node needs NVIDIA's device plugin",
    "apptainer": "apptainer exec --nv ...",
    "lxc": "pass the devices /dev/nvidia* to it, and install libraries of the host's driver version inside, without "
    "kernel modules",
    "systemd-nspawn": "pass each device with --bind=/dev/nvidia0 and DeviceAllow=, and install libraries of the host's "
    "driver version inside, without kernel modules",
}


def container_name(s: Situation) -> str:
    return s.machine.installation.container.value or "container"


def restart_container(s: Situation) -> Remedy:
    """Give a container its card back. The commands run on the host."""
    kind = container_name(s)
    command = {
        "docker": "docker restart NAME",
        "podman": "podman restart NAME",
        "kubernetes": "kubectl delete pod NAME (its controller creates it again)",
        "apptainer": "start it again with apptainer exec --nv",
        "lxc": "pct reboot ID (Proxmox) or lxc restart NAME",
        "systemd-nspawn": "machinectl reboot NAME",
    }.get(kind, "restart it with the tool that started it")
    return Remedy(
        by_hand=f"restart this container, on its host: {command}",
        then="to prevent it, pass the device nodes explicitly (docker run --device /dev/nvidia0 ...) or use CDI"
        if kind in ("docker", "podman", "container")
        else "",
    )


# The kernel's module packages


def foreign_kernel(release: str) -> str | None:
    """What kind of kernel this is, if Ubuntu's archive has no prebuilt modules for it; else None."""
    if _MAINLINE.fullmatch(release):
        return "a mainline build, for which no prebuilt modules exist"
    if _POP.fullmatch(release):
        return "a kernel of Pop!_OS, for which Ubuntu has no prebuilt modules"
    if _OTHER_KERNELS.search(release) or not re.match(r"\d+\.\d+\.\d+-\d+-[a-z]", release):
        return "not a kernel of Ubuntu, which alone has prebuilt modules"
    return None


def headers(release: str) -> str:
    """The package with the headers of a kernel."""
    if release.endswith("-pve"):
        version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
        return f"{'proxmox' if version >= (6, 5) else 'pve'}-headers-{release}"
    return f"linux-headers-{release}"


def label(s: Situation) -> str | None:
    """The part of Ubuntu's package names that names branch and kind of the modules: "580-open"; None if unknown."""
    for pattern in (
        r"linux-(?:modules|objects)-nvidia-(\d+(?:-server)?(?:-open)?)-",
        r"nvidia-(?:driver|headless|headless-no-dkms|dkms|kernel-source)-(\d+(?:-server)?(?:-open)?)$",
    ):
        found = [re.match(pattern, package.name) for package in s.packages]
        names = [match.group(1) for match in found if match]
        if names:
            return max(names, key=lambda name: (int(name.split("-")[0]), name))
    paths = [path for kernel in s.kernels for path in kernel.nvidia_modules]
    built = [re.match(r"kernel/nvidia-(\d+)(srv)?(-open)?/", path) for path in paths]
    return next((f"{m[1]}{'-server' if m[2] else ''}{m[3] or ''}" for m in built if m), None)


def metapackage(s: Situation, release: str, name: str) -> str | None:
    """The package that brings prebuilt modules for each new kernel of this series; None if the series is unknown."""
    flavour = release.rpartition("-")[2]
    version = s.machine.host.distribution.version
    if s.machine.host.distribution.id == "linuxmint":
        version = _UBUNTU_OF_MINT.get(version.partition(".")[0], "")
    first = _FIRST_KERNEL.get(version)
    is_first = first is not None and release.startswith(f"{first}.")
    for package in s.machine.installation.kernel_packages.value or ():
        suffix = re.sub(r"^linux-(image-)?", "", package)
        of_series = flavour not in ("generic", "lowlatency") or (suffix == flavour) == (
            is_first or first is None
        )
        if suffix.split("-")[0] == flavour and of_series:
            return f"linux-modules-nvidia-{name}-{suffix}"
    if flavour not in ("generic", "lowlatency") or first is None:
        return None
    return f"linux-modules-nvidia-{name}-{flavour}" + ("" if is_first else f"-hwe-{version}")


def prebuilt(s: Situation, release: str, *, running: bool = True) -> Remedy:
    """Install the prebuilt modules of a kernel, and the metapackage that follows its series."""
    name, foreign = label(s), foreign_kernel(release)
    others = [k.release for k in s.kernels if k.nvidia_modules and k.bootable and k.release != release]
    if foreign or name is None:
        back = f"start the installed kernel {others[-1]}, which has the modules" if others else ""
        why = f"kernel {release} is {foreign}" if foreign else "the branch of the modules is not known"
        ask = "a driver that fits this kernel: dlbox plan"
        return Remedy(by_hand=f"{why}: {back + ', or install ' if back else 'install '}{ask}", by_dlbox=False)
    meta = metapackage(s, release, name)
    wanted = [f"linux-modules-nvidia-{name}-{release}", *([meta] if meta else [])]
    load = ("sudo modprobe nvidia",) if running else ()
    return Remedy(
        commands=("sudo apt update", f"sudo apt install {' '.join(wanted)}", *load),
        then="or: dlbox provision",
        by_dlbox=True,
    )


def dkms(s: Situation, release: str, *, running: bool = True) -> Remedy:
    """Build the module of a kernel with DKMS; first install the headers if they are missing."""
    kernel = next((k for k in s.kernels if k.release == release), None)
    install = () if kernel and kernel.has_headers else (f"sudo apt install {headers(release)}",)
    if not s.has_dpkg and install:
        return Remedy(
            by_hand=f"install the headers of kernel {release} with the tools of this distribution",
            commands=(f"sudo dkms autoinstall -k {release}",),
        )
    if _MAINLINE.fullmatch(release) and install:
        return Remedy(
            by_hand=f"install the package of headers from where the mainline kernel {release} came from",
            commands=(f"sudo dkms autoinstall -k {release}",),
            then="or start a kernel of the distribution",
        )
    load = ("sudo modprobe nvidia",) if running else ()
    build = "sudo dpkg --configure -a" if s.unconfigured else f"sudo dkms autoinstall -k {release}"
    return Remedy(
        commands=(*install, build, *load),
        then="" if install else "if the build fails, read /var/lib/dkms/nvidia*/*/build/make.log",
        by_dlbox=s.has_dpkg,
    )


def runfile(s: Situation, release: str, *, running: bool = True) -> Remedy:
    """Build the module of a kernel again with NVIDIA's installer."""
    version = s.installed_versions[0] if s.installed_versions else s.machine.driver.library_version.value
    kernel = next((k for k in s.kernels if k.release == release), None)
    install = (
        ()
        if kernel is None or kernel.has_headers or not s.has_dpkg
        else (f"sudo apt install {headers(release)}",)
    )
    return Remedy(
        commands=(
            *install,
            f"sudo sh NVIDIA-Linux-x86_64-{version or 'VERSION'}.run --kernel-name={release}",
        ),
        then="the driver was installed with NVIDIA's installer, which has to run again for each new kernel; packages "
        "do this by themselves: sudo nvidia-uninstall, then dlbox provision",
    )


def build(s: Situation, release: str, *, running: bool = True) -> Remedy:
    """Get a module for the kernel ``release``, the way the driver was installed."""
    if s.kind == "prebuilt":
        return prebuilt(s, release, running=running)
    if s.kind == "dkms":
        return dkms(s, release, running=running)
    if s.kind == "runfile":
        return runfile(s, release, running=running)
    if s.kind == "packages":
        name = label(s)
        if name and s.machine.host.distribution.id == "ubuntu" and not foreign_kernel(release):
            return Remedy(
                commands=("dlbox provision",),
                then=f"or by hand, prebuilt: sudo apt install linux-modules-nvidia-{name}-{release}; or to build it "
                f"here: sudo apt install linux-headers-{release} nvidia-dkms-{name}",
                by_dlbox=True,
            )
        return Remedy(
            commands=(f"sudo apt install {headers(release)}", "dlbox provision"),
            by_dlbox=True,
        )
    if akmods(s):
        return Remedy(
            commands=(
                f"sudo akmods --force --kernels {release}",
                *(("sudo modprobe nvidia",) if running else ()),
            ),
            then="akmods needs the package kernel-devel of this kernel",
        )
    return provision(s)


def module_name(s: Situation) -> str:
    """The name for modprobe: Debian renames the file, and its alias may be missing."""
    stem = s.modules[0].rpartition("/")[2].partition(".ko")[0] if s.modules else "nvidia"
    return stem or "nvidia"
