"""Recognise the parts of a report by their content, and write what they say as files of that computer.

A text may contain several parts, because people paste several outputs into one file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from inventory.sources import lspci, packages
from inventory.sources.contents import NamedText
from inventory.sources.root import Root

COLLECTED = "# dlbox collect 1"
"""First line of the list of files in an archive of `dlbox collect`."""
BUG_REPORT = "Start of NVIDIA bug report log file"
_RULER = re.compile(r"^_{20,}\s*$", re.MULTILINE)
_FILE_HEAD = re.compile(r"\s*\*\*\* (/\S+)(?: (does not exist).*)?\n(?:\*\*\* ls: .*\n)?")
_OTHER_BOOT = re.compile(r"journalctl.* -b -[1-9]|^\s*Previous Boot|/Xorg\.\d", re.MULTILINE)
_PLAIN_FILES = re.compile(
    r"(?:^|/)((?:etc/(?:os-release|issue|debian_version|modprobe\.d/[^/]+|udev/rules\.d/[^/]+|apt/apt\.conf\.d/[^/]+)"
    r"|proc/(?:version|modules|cmdline|cpuinfo|meminfo|loadavg|driver/nvidia/(?:\./)?version)"
    r"|usr/lib/modprobe\.d/[^/]+|lib/modprobe\.d/[^/]+|lib/udev/rules\.d/[^/]+|var/log/nvidia-installer\.log"
    r"|var/lib/dkms/nvidia[^/]*/[^/]+/build/make\.log))$"
)
"""Files of a computer that a report may contain under their own names."""
_LOG_LINE = re.compile(
    r"^(?:kern\s*:\s*\w+\s*:\s*)?(?:<\d+>)?\s*(?:\[\s*\d+\.\d{3,}\s*\]|\[\w{2,4}\.? +\w{2,5}\.? +\d+ [\d:]{8} \d{4}\])"
    r"\s*\S.*$"
    r"|^(?:\S+ +\d+|\d{4}-\d\d-\d\d[T ]?)\s*\S+ (?:\S+ )?kernel(?:\[\d+\])?: .*$",
    re.MULTILINE,
)
_LOG_NAME = re.compile(r"dmesg|kern(el)?[._-]?log|kern\.log|journal|syslog|messages", re.IGNORECASE)
_BANNER = re.compile(r"\bLinux version (\d+\.\d+[\w.+~-]*)")
_UNAME = re.compile(
    r"^(?:uname(?: -a)?:\s*)?Linux (\S+) (\d+\.\d+[\w.+~-]*) #.*?\b(x86_64|aarch64|ppc64le)\b.*$",
    re.MULTILINE,
)
_RELEASE_LINE = re.compile(r"\A\s*(\d+\.\d+\.\d+[\w.+~-]*)\s*\Z")
_LSMOD = re.compile(r"^Module\s+Size\s+Used by", re.MULTILINE)
_LSMOD_LINE = re.compile(r"^(\w+)\s+(\d+)\s+(\d+)(?:\s+(\S+))?\s*$", re.MULTILINE)
_PROC_MODULES = re.compile(r"^\w+ \d+ \d+ \S+ (?:Live|Loading|Unloading) 0x[0-9a-f]+.*$", re.MULTILINE)
_NVRM_VERSION = re.compile(r"^NVRM version: .*$", re.MULTILINE)
_OS_RELEASE = re.compile(r"^(?:ID|VERSION_ID|PRETTY_NAME|VERSION_CODENAME|NAME|ID_LIKE)=.*$", re.MULTILINE)
_ISSUE = re.compile(
    r"^(Ubuntu (\d\d\.\d\d)(?:\.\d+)?(?: LTS)?|Debian GNU/Linux (\d+|\w+/sid)) \\n \\l", re.MULTILINE
)
_LSB = re.compile(r"^Distributor ID:\s*(\w+)[\s\S]{0,400}?^Release:\s*(\S+)", re.MULTILINE)
_SECURE_BOOT = re.compile(
    r"^\s*SecureBoot (enabled|disabled)|[Ss]ecure ?[Bb]oot:? (?:is )?(enabled|disabled)", re.MULTILINE
)
_LOCKED = re.compile(r"Kernel is locked down from EFI Secure Boot")
_NO_EFI = re.compile(
    r"EFI variables are not supported on this system|^EFI variables not supported", re.MULTILINE
)
_MODPROBE = re.compile(r"^\s*(?:blacklist|alias|install|options|softdep)\s+[\w-]+(?:\s.*)?$", re.MULTILINE)
_NODES = re.compile(
    r"^c([rw-]{3})([rw-]{3})([rw-]{3})\S*\s+.*\s(/dev/nvidia(?:\d+|ctl|-uvm))\s*$", re.MULTILINE
)
_LIBRARY = re.compile(r"libnvidia-ml\.so\.1\s*->\s*(libnvidia-ml\.so\.\d+\.\d+(?:\.\d+)?)\b")
_POLICY = re.compile(r"^\s+Candidate: ", re.MULTILINE)
_BUS_IN_LOG = re.compile(
    r"pci (?P<address>[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): \[10de:(?P<device>[0-9a-f]{4})\] type 00 class "
    r"(?P<class>0x03(?:00|02)[0-9a-f]{2})"
)
_LOADING = re.compile(r"NVRM: loading (NVIDIA UNIX .*?Kernel Module.*)$", re.MULTILINE)
_COMMAND_LINE = re.compile(r"\] (?:Kernel )?[Cc]ommand line: (.*)$", re.MULTILINE)


class Parts(msgspec.Struct, kw_only=True):
    """What a report contains, apart from the files in ``root``."""

    root: Root
    kinds: set[str] = msgspec.field(default_factory=set)
    """The kinds of text that were recognised: "dmesg", "lspci", "dkms status" ..."""
    smi_texts: list[str] = msgspec.field(default_factory=list)
    logs: list[tuple[str, list[str]]] = msgspec.field(default_factory=list)
    """Name and lines of each kernel log."""
    devices: dict[str, lspci.BusDevice] = msgspec.field(default_factory=dict)
    carries: set[str] = msgspec.field(default_factory=set)
    """Fields of Machine that the report contains, although no Reading says so: "cards", "host.variables" ..."""
    kernel: str = ""
    machine_type: str = ""
    library_version: str = ""
    """Version of the driver's library according to its package."""
    nodes: dict[str, bool] = msgspec.field(default_factory=dict)
    """Device node -> whether every user may use it."""
    collected: bool = False
    """Whether the report is an archive of `dlbox collect`, which contains every file that dlbox reads."""
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    disk: tuple[int, int] | None = None
    """Total and free bytes of the file system of the home folder."""


def recognise(texts: Iterable[NamedText], root: Root) -> Parts:
    """Write the files that ``texts`` describe below ``root``, and return what else they say."""
    parts = Parts(root=root)
    named = [one for text in texts for one in _sections(text, parts)]
    for text in named:
        if _OTHER_BOOT.search(text.name) or not text.text.strip():
            continue
        for kind, recognised in _KINDS:
            if recognised(text, parts):
                parts.kinds.add(kind)
    lspci.write(parts.devices, root)
    return parts


def _sections(text: NamedText, parts: Parts) -> Iterable[NamedText]:
    """The sections of a bug report under their own names; any other text as it is."""
    if BUG_REPORT not in text.text[:4096]:
        return [text]
    parts.kinds.add("nvidia-bug-report")
    found = []
    for section in _RULER.split(text.text):
        head = _FILE_HEAD.match(section)
        if head is None:
            title = section.strip().partition("\n")[0][:200]
            found.append(NamedText(f"{title}", section))
        elif not head[2]:
            found.append(NamedText(head[1].lstrip("/"), section[head.end() :]))
    return found


def _smi(text: NamedText, parts: Parts) -> bool:
    if not re.search(
        r"nvidia_smi_log|NVSMI LOG|NVIDIA-SMI|NVML|No devices were found|device handle for G", text.text
    ):
        return False
    parts.smi_texts.append(text.text)
    return True


def _plain_file(text: NamedText, parts: Parts) -> bool:
    """A file that has its own name: it is written where it was."""
    found = _PLAIN_FILES.search(text.name.replace("//", "/"))
    return found is not None and parts.root.write(found[1].replace("/./", "/"), text.text)


def _log(text: NamedText, parts: Parts) -> bool:
    body = text.text
    if "journalctl -b -1" in body:  # the part of a bug report that lists several boots, the newest first
        body = body.partition("journalctl -b -1")[0]
    lines = [found.group(0) for found in _LOG_LINE.finditer(body)]
    if not lines and _LOG_NAME.search(text.name):
        lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < 3 and not any("NVRM" in line or "nouveau" in line for line in lines):
        return False
    last = max((n for n, line in enumerate(lines) if _BANNER.search(line)), default=0)
    parts.logs.append((text.name, lines[last:]))
    return True


def _lspci(text: NamedText, parts: Parts) -> bool:
    if not lspci.found_in(text.text):
        return False
    parts.carries.add("cards")
    for address, one in lspci.devices(text.text).items():
        known = parts.devices.setdefault(address, one)
        known.driver = known.driver or one.driver
        known.names_driver = known.names_driver or one.names_driver
        known.subsystem = known.subsystem or one.subsystem
        known.link = {**one.link, **known.link}
    return True


def _modules(text: NamedText, parts: Parts) -> bool:
    lines = [found.group(0) for found in _PROC_MODULES.finditer(text.text)]
    header = _LSMOD.search(text.text)
    if header:
        body = text.text[header.end() :].lstrip("\n")
        for line in body.splitlines():
            found = _LSMOD_LINE.match(line)
            if not found:
                break
            lines.append(f"{found[1]} {found[2]} {found[3]} {found[4] or '-'} Live 0x0")
    if not lines and not header:
        return False
    parts.carries.add("driver.modules")
    return parts.root.write("proc/modules", "\n".join(lines))


def _driver_version(text: NamedText, parts: Parts) -> bool:
    found = _NVRM_VERSION.search(text.text)
    return found is not None and parts.root.write("proc/driver/nvidia/version", found.group(0))


def _release(text: NamedText, parts: Parts) -> bool:
    uname = _UNAME.search(text.text)
    if uname:
        parts.kernel, parts.machine_type = uname[2], uname[3]
        return True
    if re.search(r"uname|osrelease", text.name) and _RELEASE_LINE.match(text.text):
        parts.kernel = text.text.strip()
        return True
    if re.search(r"machine|arch", text.name.rpartition("/")[2]) and text.text.strip() in (
        "x86_64",
        "aarch64",
    ):
        parts.machine_type = text.text.strip()
        return True
    return False


def _distribution(text: NamedText, parts: Parts) -> bool:
    lines = [found.group(0) for found in _OS_RELEASE.finditer(text.text)]
    if any(line.startswith("ID=") for line in lines):
        return parts.root.write("etc/os-release", "\n".join(lines))
    if parts.root.has("etc/os-release"):
        return False
    issue, lsb = _ISSUE.search(text.text), _LSB.search(text.text)
    if issue:
        name, version = ("ubuntu", issue[2]) if issue[2] else ("debian", issue[3])
        version = version if version[:1].isdigit() else ""
        return parts.root.write(
            "etc/os-release", f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{issue[1]}"\n'
        )
    if lsb:
        name, version = lsb[1].lower(), lsb[2]
        return parts.root.write(
            "etc/os-release", f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{lsb[1]} {version}"\n'
        )
    return False


def _secure_boot(text: NamedText, parts: Parts) -> bool:
    found = _SECURE_BOOT.search(text.text)
    if found or _LOCKED.search(text.text):
        on = found is None or "enabled" in (found[1], found[2])
        parts.root.write(
            "sys/firmware/efi/efivars/SecureBoot-8be4df61", b"\x06\0\0\0" + (b"\x01" if on else b"\0")
        )
        return True
    if _NO_EFI.search(text.text):
        parts.carries.add("host.secure_boot")
        return True
    return False


def _dkms(text: NamedText, parts: Parts) -> bool:
    if not packages.has_dkms(text.text):
        return False
    packages.write_dkms(text.text, parts.root)
    parts.carries.add("installation.dkms")
    return True


def _dpkg(text: NamedText, parts: Parts) -> bool:
    if not packages.has_dpkg(text.text):
        return False
    kernels, library = packages.write_dpkg(text.text, parts.root)
    if kernels:
        parts.carries.add("kernel packages")
    parts.library_version = parts.library_version or library or ""
    return True


def _modinfo(text: NamedText, parts: Parts) -> bool:
    return packages.write_modinfo(text.text, parts.root)


def _modprobe(text: NamedText, parts: Parts) -> bool:
    if "blacklist" not in text.text and not text.name.endswith(".conf"):
        return False
    lines = [found.group(0) for found in _MODPROBE.finditer(text.text)]
    if not any(line.split()[0] == "blacklist" for line in lines):
        return False
    name = re.sub(r"[^\w.-]", "_", text.name.rpartition("/")[2])[:80]
    return parts.root.write(f"etc/modprobe.d/{name.removesuffix('.conf')}.conf", "\n".join(lines))


def _nodes(text: NamedText, parts: Parts) -> bool:
    found = {node[4]: node[3].startswith("rw") for node in _NODES.finditer(text.text)}
    parts.nodes.update(found)
    return bool(found)


def _library(text: NamedText, parts: Parts) -> bool:
    found = _LIBRARY.search(text.text)
    return found is not None and parts.root.link("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", found[1])


def _policy(text: NamedText, parts: Parts) -> bool:
    return _POLICY.search(text.text) is not None and "nvidia" in text.text


_KINDS: tuple[tuple[str, Callable[[NamedText, Parts], bool]], ...] = (
    ("nvidia-smi", _smi),
    ("files", _plain_file),
    ("dmesg", _log),
    ("lspci", _lspci),
    ("lsmod", _modules),
    ("/proc/driver/nvidia/version", _driver_version),
    ("uname", _release),
    ("os-release", _distribution),
    ("mokutil", _secure_boot),
    ("dkms status", _dkms),
    ("dpkg -l", _dpkg),
    ("modinfo", _modinfo),
    ("modprobe.d", _modprobe),
    ("ls -l /dev", _nodes),
    ("library", _library),
    ("apt-cache policy", _policy),
)


def from_log(parts: Parts) -> list[str]:
    """The lines of the best kernel log; what they say about bus, module and kernel is added where it is missing."""
    if not parts.logs:
        return []
    _, lines = max(parts.logs, key=_worth)
    body = "\n".join(lines)
    banner, loading = _BANNER.search(body), list(_LOADING.finditer(body))
    if banner and not parts.kernel:
        parts.kernel = banner[1]
    if banner:
        parts.root.write(
            "proc/version", next(line for line in lines if _BANNER.search(line)).partition("] ")[2]
        )
        parts.carries.add("host.environment")
    if banner and "Hypervisor detected" in body and not parts.root.has("proc/cpuinfo"):
        parts.root.write("proc/cpuinfo", "flags : hypervisor")
    known = parts.collected or "driver.modules" in parts.carries
    names_driver = any(one.names_driver for one in parts.devices.values())
    if known:
        loaded = re.search(r"^nvidia ", parts.root.text("proc/modules"), re.MULTILINE) is not None
    else:
        loaded = not names_driver or any(one.driver == "nvidia" for one in parts.devices.values())
    if loading and loaded and not parts.root.has("proc/driver/nvidia/version"):
        parts.root.write("proc/driver/nvidia/version", f"NVRM version: {loading[-1][1]}")
    command_line = _COMMAND_LINE.search(body)
    if command_line and not parts.root.has("proc/cmdline"):
        parts.root.write("proc/cmdline", command_line[1])
    if "cards" not in parts.carries:
        _bus_from_log(body, parts)
    return lines


def _worth(log: tuple[str, list[str]]) -> tuple[bool, int, int]:
    """A log that begins with the boot is the best, then the one with the most lines about cards."""
    _, lines = log
    about = sum("NVRM" in line or "nouveau" in line for line in lines)
    return any(_BANNER.search(line) for line in lines[:5]), about, len(lines)


def _bus_from_log(body: str, parts: Parts) -> None:
    """The cards that the kernel found at boot, and the driver that claimed each last."""
    for found in _BUS_IN_LOG.finditer(body):
        address = found["address"]
        one = lspci.BusDevice(
            address=address, device_id=int(found["device"], 16), class_code=int(found["class"], 16)
        )
        claims = re.findall(rf"\b(nouveau|nvidia|vfio-pci|NovaCore) {re.escape(address)}: ", body)
        if claims:
            one.driver, one.names_driver = claims[-1], True
        parts.devices[address] = one
        parts.carries.add("cards")
    lspci.write(parts.devices, parts.root)
