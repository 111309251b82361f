"""Settings that decide which driver gets an NVIDIA card: modprobe's configuration, udev rules, the kernel command line.

Reads files only. A file in /etc replaces the file of the same name in /run and /usr/lib, as modprobe.d(5) and udev(7)
define it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import ConfigLine

_MODPROBE = (
    "etc/modprobe.d",
    "run/modprobe.d",
    "usr/local/lib/modprobe.d",
    "usr/lib/modprobe.d",
    "lib/modprobe.d",
)
_UDEV = (
    "etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d",
)  # fmt: skip
_ABOUT_CARDS = re.compile(r"nvidia|nouveau|nova|vfio|10de", re.IGNORECASE)
_SWITCHES = ("etc/prime-discrete", "sys/devices/platform/asus-nb-wmi/dgpu_disable")
"""Files of one word that switch a laptop's NVIDIA card: that of `prime-select`, and that of ASUS firmware."""

_MOST_LINES = 200
_LONGEST_LINE = 300


def read(sysroot: Path) -> Reading[tuple[ConfigLine, ...]]:
    """The lines that name an NVIDIA driver, a card of NVIDIA or vfio, each with the file it is in.

    Comments and empty lines are left out; at most 200 lines of 300 characters. Not supported: the system has none of
    the folders.
    """
    there = any((sysroot / folder).is_dir() for folder in (*_MODPROBE, *_UDEV))
    command_line = kernel_files.text(sysroot / "proc/cmdline")
    if not there and command_line is None:
        return Reading.not_supported("no configuration of modprobe or udev here")
    lines = [
        ConfigLine(path=path, text=line[:_LONGEST_LINE])
        for folders, suffix in ((_MODPROBE, ".conf"), (_UDEV, ".rules"))
        for path, line in _lines(sysroot, folders, suffix)
        if _ABOUT_CARDS.search(line)
    ]
    for name in _SWITCHES:
        word = kernel_files.text(sysroot / name, 64)
        if word and len(word.split()) == 1:
            lines.append(ConfigLine(path=f"/{name}", text=word))
    words = [word for word in (command_line or "").split() if _ABOUT_CARDS.search(word)]
    lines += [ConfigLine(path="/proc/cmdline", text=word[:_LONGEST_LINE]) for word in words]
    return Reading.of(tuple(lines[:_MOST_LINES]))


def _lines(sysroot: Path, folders: tuple[str, ...], suffix: str) -> Iterator[tuple[str, str]]:
    """The path and text of each line that counts; a line that ends with a backslash continues in the next."""
    seen: set[str] = set()
    for folder in folders:
        for file in kernel_files.entries(sysroot / folder):
            if file.suffix != suffix or file.name in seen:
                continue
            seen.add(file.name)
            content = (kernel_files.text(file) or "").replace("\\\n", " ")
            for line in content.splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    yield f"/{folder}/{file.name}", " ".join(line.split())


def blocks_nouveau(settings: Reading[tuple[ConfigLine, ...]]) -> Reading[bool]:
    """Whether the settings keep the module nouveau from being loaded."""
    if not settings.ok:
        return Reading(state=settings.state, code=settings.code, why=settings.why)
    return Reading.of(any(blocked(line, "nouveau") for line in settings.value or ()))


def blocked(line: ConfigLine, module: str) -> bool:
    """Whether the line keeps ``module`` ("nvidia", "nouveau") from being loaded by its card's alias.

    ``blacklist``, ``alias NAME off`` and an ``install`` command that does nothing are the ways of modprobe.d(5); on
    the kernel command line ``modprobe.blacklist=``, ``rd.driver.blacklist=`` and ``module_blacklist=`` are. Debian's
    ``install nvidia modprobe -i nvidia-current`` loads the module and does not count.
    """
    name = re.escape(module)
    if line.path == "/proc/cmdline":
        listed = re.fullmatch(
            r"(?:modprobe\.blacklist|rd\.driver\.blacklist|module_blacklist)=(.*)", line.text
        )
        return listed is not None and module in re.split(r"[,\s]", listed.group(1).strip("\"'"))
    if "/modprobe.d/" not in line.path:
        return False
    return bool(
        re.match(rf"\s*(blacklist\s+{name}\s*(#.*)?$|alias\s+{name}\s+off\b)", line.text)
        or re.match(rf"\s*install\s+{name}\s+(/usr)?/?s?(bin/)?(false|true|:)\b", line.text)
    )
