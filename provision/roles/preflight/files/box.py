"""Prints the state of a machine before the installation as one JSON document; the role preflight runs it there.

It needs only the standard library of Python 3.8 or later: no root, no network and no driver.
A value that cannot be read is null.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

NVIDIA = 0x10DE
DISPLAY = (0x0300, 0x0302)
"""PCI classes of VGA and 3D controllers. The ids of audio and USB functions look like ids of older cards."""

LOCKS = (
    "var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
)  # fmt: skip
PACKAGES = re.compile(
    r"(lib)?nvidia[-.]|libcuda\d|libnvcuvid|cuda-|linux-(modules|objects)-nvidia|xserver-xorg-video-nvidia"
)
REPOSITORIES = re.compile(
    r"developer\.download\.nvidia\.com/compute|ppa\.launchpad(content)?\.net/graphics-drivers"
    r"|/var/(cuda|nvidia)-[\w.-]*repo[\w.-]*|apt\.pop-os\.org|archive\.lambda(labs\.com|\.ai)"
)
"""Addresses of sources with drivers. They count only where apt has no package lists; see driver_sources.py."""
KERNEL_PACKAGE = re.compile(r"(?:(?:linux|proxmox|pve)-headers|linux-modules-nvidia-\d+(?:-open)?)-(\S+)$")
"""Its group is a kernel or the end of a metapackage's name."""
WSL_FILES = ("proc/sys/fs/binfmt_misc/WSLInterop", "proc/sys/fs/binfmt_misc/WSLInterop-late", "run/WSL")
CONTAINER_FILES = (
    ".dockerenv", "run/.containerenv", "run/systemd/container", "run/host/container-manager",
    "run/secrets/kubernetes.io", "var/run/secrets/kubernetes.io", "dev/lxd/sock", "dev/incus/sock",
    ".singularity.d", ".flatpak-info",
)  # fmt: skip
CONTAINER_GROUP = re.compile(r"docker|kubepods|libpod|lxc|containerd|crio|machine\.slice/.*nspawn")
CONTAINER_LAYER = re.compile(r"(docker|containerd|containers|crio|buildkit)/")
VIRTUAL_VENDOR = re.compile(r"QEMU|KVM|VMware|innotek|VirtualBox|Xen|Parallels|OpenStack|Bochs|Nutanix|oVirt")
WINDOWS_CARD = re.compile(
    r"\s*(?:[0-9A-F]{4})?([0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7]),\s*0x([0-9A-F]{4})10DE,\s*([\d.]*)",
    re.I,
)
INSTRUCTION_SETS = {"sse4_1", "sse4_2", "avx", "avx2", "fma", "avx512f"}
PLACES = ("/", "/boot", "/usr", "/opt", "/var")
INITRAMFS = (
    "etc/initramfs-tools/modules", "etc/initramfs-tools/initramfs.conf", "etc/initramfs-tools/conf.d/*",
    "usr/share/initramfs-tools/modules.d/*", "usr/share/initramfs-tools/conf-hooks.d/*",
    "etc/dracut.conf.d/*.conf",
)  # fmt: skip
"""Files that decide which modules an initramfs includes."""
RUNFILE = ("usr/bin/nvidia-uninstall", "usr/bin/nvidia-installer", "var/log/nvidia-installer.log")


def read(root: Path) -> dict[str, Any]:
    """The whole document, read from the system files below ``root``."""
    name = os.uname()
    where = environment(root)
    return {
        "schema_version": 1,
        "machine_type": name.machine,
        "kernel": name.release,
        "kernels": kernels(root),
        "distribution": distribution(root),
        "environment": where,
        "cpu_flags": cpu_flags(root),
        "secure_boot": secure_boot(root),
        "cards": cards(root, where),
        "modules": loaded(root),
        "module_version": module_version(root, where),
        "packages": packages(root),
        "repositories": repositories(root),
        "runfile": [f"/{path}" for path in RUNFILE if (root / path).exists()],
        "locks": locks(root),
        "interrupted": interrupted(root),
        "apt_packages": apt_packages(root, kernels(root)),
        "compiled_headers": [
            one for one in kernels(root) if (root / "lib/modules" / one / "build/Makefile").exists()
        ],
        "free_bytes": {place: free(root, place)[0] for place in PLACES},
        "file_systems": {place: free(root, place)[1] for place in PLACES},
        "initramfs": initramfs(root),
        "environments": [path.name for path in entries(root / "opt/dlbox/venv") if path.name[0] != "."],
    }


def text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def number(path: Path) -> int | None:
    try:
        return int((text(path) or "").strip(), 16)
    except ValueError:
        return None


def entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def cards(root: Path, where: str) -> list[dict[str, Any]]:
    """The NVIDIA display functions that this system may use, with the kernel driver that is bound to each.

    They come from the PCI bus, which WSL2 does not show: there they come from nvidia-smi.
    """
    if where == "wsl2":
        return [
            {"address": address, "device_id": device, "driver": None}
            for address, device, _ in windows_cards(root)
        ]
    found: list[dict[str, Any]] = []
    for folder in entries(root / "sys/bus/pci/devices"):
        kind, device = number(folder / "class"), number(folder / "device")
        if number(folder / "vendor") != NVIDIA or kind is None or device is None or kind >> 8 not in DISPLAY:
            continue
        driver = folder / "driver"
        bound = os.path.basename(os.readlink(str(driver))) if driver.is_symlink() else None  # noqa: PTH115, PTH119
        found.append({"address": folder.name, "device_id": device, "driver": bound})
    allowed = [card for card in found if passed_in(root, card["address"])] if where == "container" else []
    return allowed or found


def passed_in(root: Path, address: str) -> bool:
    """Whether a container has the device file of a card. /sys shows it all cards of its host."""
    information = text(root / "proc/driver/nvidia/gpus" / address.lower() / "information") or ""
    minor = re.search(r"^Device Minor:\s*(\d+)", information, re.M)
    return minor is not None and (root / "dev" / ("nvidia" + minor.group(1))).exists()


def windows_cards(root: Path) -> list[tuple[str, int, str]]:
    """PCI address, device id and driver version of each card that Windows shares with WSL2."""
    for place in ("usr/lib/wsl/lib/nvidia-smi", "usr/bin/nvidia-smi"):
        if not (root / place).exists():
            continue
        question = [
            str(root / place),
            "--query-gpu=pci.bus_id,pci.device_id,driver_version",
            "--format=csv,noheader",
        ]
        try:
            done = subprocess.run(
                question, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return parse_cards(done.stdout.decode("utf-8", "replace"))
    return []


def parse_cards(answer: str) -> list[tuple[str, int, str]]:
    """The cards in lines such as "00000000:01:00.0, 0x250310DE, 560.94"; other lines are ignored."""
    found = []
    for line in answer.splitlines():
        match = WINDOWS_CARD.match(line)
        if match:
            found.append((match.group(1).lower(), int(match.group(2), 16), match.group(3)))
    return found


def kernels(root: Path) -> list[str]:
    """The installed kernels with modules, the newest last by the numbers in their names."""
    installed = [path.name for path in entries(root / "lib/modules") if (path / "modules.order").exists()]
    return sorted(installed, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


def distribution(root: Path) -> dict[str, str]:
    fields = {}
    for line in (text(root / "etc/os-release") or text(root / "usr/lib/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip().strip("\"'")
    return {
        "id": fields.get("ID", "unknown"),
        "version": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
    }


def environment(root: Path) -> str:
    """As inventory/machine/environment.py of dlbox; a test compares both."""
    if is_wsl(root):
        return "wsl2"
    if is_container(root):
        return "container"
    return "virtual-machine" if is_virtual(root) else "bare-metal"


def is_wsl(root: Path) -> bool:
    release = "{}\n{}".format(
        (text(root / "proc/version") or "")[:200], text(root / "proc/sys/kernel/osrelease") or ""
    )
    if re.search(r"^(Linux version )?\S*(microsoft|WSL)", release, re.I | re.M):
        return True
    manager = (text(root / "run/systemd/container") or "").strip()
    return manager == "wsl" or any((root / file).exists() for file in WSL_FILES)


def is_container(root: Path) -> bool:
    if any((root / file).exists() for file in CONTAINER_FILES):
        return True
    variables = (text(root / "proc/1/environ") or "").split("\0")
    if any(re.match(r"container=.", variable) for variable in variables):
        return True
    if CONTAINER_GROUP.search(text(root / "proc/1/cgroup") or ""):
        return True
    for line in (text(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        place = (left.split() + [""] * 5)[4]
        if place.startswith("/proc/") and right.startswith("fuse.lxcfs"):
            return True
        if place == "/" and right.startswith("overlay") and CONTAINER_LAYER.search(right):
            return True
    return False


def is_virtual(root: Path) -> bool:
    if "control_d" in (text(root / "proc/xen/capabilities") or ""):
        return False
    if re.search(r"^flags\s*:.*\bhypervisor\b", text(root / "proc/cpuinfo") or "", re.M):
        return True
    vendor = (text(root / "sys/class/dmi/id/sys_vendor") or "").strip()
    product = (text(root / "sys/class/dmi/id/product_name") or "").strip()
    if vendor == "Amazon EC2":
        return not product.endswith(".metal")
    if vendor == "Microsoft Corporation":
        return product == "Virtual Machine"
    if vendor == "Google":
        return product == "Google Compute Engine"
    return bool(VIRTUAL_VENDOR.search(f"{vendor} {product}"))


def cpu_flags(root: Path) -> list[str] | None:
    """Instruction sets of the processor that wheels may need; None: /proc/cpuinfo lists none."""
    match = re.search(r"^flags\s*:(.*)$", text(root / "proc/cpuinfo") or "", re.M)
    found = set(match.group(1).split()) if match else set()
    return sorted(found.intersection(INSTRUCTION_SETS)) if found else None


def secure_boot(root: Path) -> bool | None:
    """False without UEFI; None if the firmware's variable cannot be read."""
    if not (root / "sys/firmware/efi").exists():
        return False
    for path in entries(root / "sys/firmware/efi/efivars"):
        if path.name.startswith("SecureBoot-"):
            try:
                return path.read_bytes()[4:5] == b"\x01"
            except OSError:
                return None
    return None


def loaded(root: Path) -> list[str]:
    names = [line.split(" ", 1)[0] for line in (text(root / "proc/modules") or "").splitlines()]
    return sorted(name for name in names if name == "nouveau" or name.startswith("nvidia"))


def module_version(root: Path, where: str) -> str | None:
    """The version of the driver that is loaded: in a container its host's, under WSL2 that of Windows."""
    if where == "wsl2":
        return next((version for _, _, version in windows_cards(root) if version), None)
    match = re.search(r"Kernel Module\D*([\d.]+)", text(root / "proc/driver/nvidia/version") or "")
    return match.group(1) if match else None


def packages(root: Path) -> dict[str, str]:
    """The installed packages of a driver, with their versions."""
    found = {}
    for block in (text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        name = fields.get("Package", "")
        if PACKAGES.match(name) and fields.get("Status", "").endswith(" installed"):
            found[name] = fields.get("Version", "")
    return found


def repositories(root: Path) -> list[dict[str, str]]:
    """The enabled apt sources with drivers, without the distribution's own sources."""
    found = []
    folder = root / "etc/apt/sources.list.d"
    for path in [root / "etc/apt/sources.list", *entries(folder)]:
        if path.suffix not in (".list", ".sources"):
            continue
        for addresses in enabled(text(path) or "", path.suffix):
            match = REPOSITORIES.search(addresses)
            if match:
                found.append({"file": "/" + str(path.relative_to(root)), "uri": match.group(0)})
    return found


def apt_packages(root: Path, installed: list[str]) -> list[str] | None:
    """The packages with headers and prebuilt modules that apt offers, for the installed kernels and as metapackages.

    None if apt's package lists are empty or cannot be read.
    """
    lists = [path for path in entries(root / "var/lib/apt/lists") if "_Packages" in path.name]
    if str(root) != "/" or not lists:
        return None
    found = set()
    for prefix in ("linux-headers-", "linux-modules-nvidia-", "proxmox-headers-", "pve-headers-"):
        command = ["apt-cache", "pkgnames", prefix]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return None
        found.update(done.stdout.split())
    return offered(found, installed)


def offered(names: set[str], installed: list[str]) -> list[str] | None:
    """The names that matter for the installed kernels; None if there are no headers at all."""
    if not any(name.startswith("linux-headers-") for name in names):
        return None
    kernels_of = {name: match.group(1) for name in sorted(names) if (match := KERNEL_PACKAGE.match(name))}
    return [name for name, one in kernels_of.items() if one in installed or not one[0].isdigit()][:2000]


def enabled(content: str, suffix: str) -> list[str]:
    """The addresses of each enabled source in a file of apt: in one line, or in paragraphs (deb822)."""
    if suffix == ".list":
        lines = [line.partition("#")[0].strip() for line in content.splitlines()]
        return [line for line in lines if re.match(r"deb(-src)?\s", line)]
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", content):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
        pairs = (line.split(":", 1) for line in joined.splitlines() if ":" in line)
        fields = {key.strip().lower(): value.strip() for key, value in pairs}
        if fields.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable", "0"):
            found.append(fields.get("uris", ""))
    return found


def locks(root: Path) -> list[dict[str, Any]]:
    """Processes that hold a lock of apt or dpkg."""
    inodes = {}
    for name in LOCKS:
        try:
            inodes[(root / name).stat().st_ino] = f"/{name}"
        except OSError:
            continue
    found = []
    for line in (text(root / "proc/locks") or "").splitlines():
        match = re.search(r"WRITE\s+(\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+)", line)
        if match and int(match.group(2)) in inodes:
            who = (text(root / "proc" / match.group(1) / "comm") or "").strip()
            found.append({"file": inodes[int(match.group(2))], "pid": int(match.group(1)), "name": who})
    return found


def interrupted(root: Path) -> bool:
    """Whether a dpkg run was interrupted: its journal is not empty, or a package is not fully installed."""
    if any(path.name.isdigit() for path in entries(root / "var/lib/dpkg/updates")):
        return True
    status = text(root / "var/lib/dpkg/status") or ""
    return bool(
        re.search(r"^Status: \S+ \S+ (half-installed|unpacked|half-configured|triggers-\S+)$", status, re.M)
    )


def initramfs(root: Path) -> dict[str, Any]:
    """Number of initramfs files in /boot, size of the largest, and whether they are to include NVIDIA's modules."""
    sizes = []
    for path in entries(root / "boot"):
        if re.match(r"initrd\.img-|initramfs-.*\.img$", path.name):
            try:
                sizes.append(path.stat().st_size)
            except OSError:
                continue
    lines = []
    for place in INITRAMFS:
        for path in sorted(root.glob(place)):
            lines += [line.partition("#")[0] for line in (text(path) or "").splitlines()]
    named = any(re.search(r"\bnvidia|^\s*FRAMEBUFFER=[\"']?y", line) for line in lines)
    return {"files": len(sizes), "largest": max(sizes, default=0), "has_driver": named}


def free(root: Path, place: str) -> tuple[int | None, int | None]:
    """Free bytes for users on the file system of a folder, which may not exist yet, and its number; None: unknown."""
    path = root / place.lstrip("/")
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        state = os.statvfs(str(path))
        return state.f_bavail * state.f_frsize, path.stat().st_dev
    except OSError:
        return None, None


if __name__ == "__main__":
    json.dump(read(Path(sys.argv[1] if len(sys.argv) > 1 else "/")), sys.stdout)
