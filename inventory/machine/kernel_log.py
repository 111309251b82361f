"""Kernel messages about the cards since boot: Xid reports and messages of the drivers."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from common.processes.child import Child
from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import Environment, KernelLog, Xid

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)(?:,\s*(.*))?")
_RELEVANT = re.compile(
    r"NVRM|nvidia|nouveau|\bnova[-_]?(?:core|drm)\b|vfio-pci|Loading of (?:unsigned )?module|Key was rejected|"
    r"module verification|Lockdown:.*module|pciehp|D3cold to D0|"
    r"\bBAR \d+\b.*(?:can't assign|no space|failed to assign|assigned)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
_BOOT = re.compile(r"\bLinux version \d")
_FIRST = _LAST = 100
_FIRST_XIDS, _LAST_XIDS = 200, 800
_MOST_RECORDS = 200_000


def read(
    sysroot: Path, environment: Environment, *, timeout_s: float = 3, addresses: Collection[str] = ()
) -> Reading[KernelLog]:
    """Read the kernel log from the first source that this user may read: /dev/kmsg, the journal or the log file.

    ``addresses``: see ``parse``.

    The ring buffer /dev/kmsg drops its oldest lines when it is full. If it has dropped lines, the journal is tried
    first.
    """
    ring, complete = _ring_buffer(sysroot / "dev/kmsg")
    elsewhere = environment not in ("container", "wsl2") and sysroot == Path("/")
    if ring is not None and (complete or not elsewhere):
        return Reading.of(parse(ring, "/dev/kmsg", addresses))
    if ring is None and environment in ("container", "wsl2"):
        return Reading.not_supported("the kernel log belongs to the host and is not visible here")
    if elsewhere:
        journal = Child(["journalctl", "--dmesg", "--boot", "--output=cat", "--no-pager", "--quiet"])
        ended = journal.finish(timeout_s)
        if not ended.why and ended.output.strip():
            lines = (line.decode("utf-8", "replace") for line in ended.lines)
            return Reading.of(parse(lines, "journalctl", addresses))
    if ring is not None:
        return Reading.of(parse(ring, "/dev/kmsg, which has lost its oldest lines", addresses))
    for name in ("var/log/kern.log", "var/log/messages", "var/log/syslog"):
        content = kernel_files.text(sysroot / name, 64 << 20)
        if content:
            return Reading.of(parse(_since_boot(content.splitlines()), f"/{name}", addresses))
    if not (sysroot / "dev/kmsg").exists():
        return Reading.not_supported("this system shows no kernel log")
    return Reading.no_permission("this user may not read the kernel log")


def parse(lines: Iterable[str], source: str, addresses: Collection[str] = ()) -> KernelLog:
    """Select the Xid reports, and the messages that may explain why a card does not work.

    ``addresses``: PCI addresses of the cards and of the bridges above them. Messages of the PCI bus count if they name
    one of these, all messages that do if the addresses are not known. The first and the last messages are kept: the
    first fault is usually the cause, and one fault may be followed by thousands of lines.
    """
    xids: list[Xid] = []
    others: list[str] = []
    places = {address.lower() for address in addresses}
    for line in lines:
        found = _XID.search(line)
        if found:
            message = (found.group(3) or "").strip()[:200]
            xids.append(Xid(code=int(found.group(2)), address=_full(found.group(1)), message=message))
        elif _counts(line, places):
            others.append(line.strip()[:300])
    dropped = max(0, len(others) - _FIRST - _LAST)
    if dropped:
        others = others[:_FIRST] + others[-_LAST:]
    if len(xids) > _FIRST_XIDS + _LAST_XIDS:
        xids = xids[:_FIRST_XIDS] + xids[-_LAST_XIDS:]
    return KernelLog(source=source, xids=tuple(xids), nvidia=tuple(others), dropped=dropped)


def _named(line: str) -> set[str]:
    return {address.lower() for address in _ADDRESS.findall(line)}


def _counts(line: str, places: Collection[str]) -> bool:
    """Whether the line may explain why a card does not work: not a bus message about a device outside ``places``."""
    if "AER:" in line:
        return bool(_named(line) & set(places))
    if not _RELEVANT.search(line):
        return False
    if not places or re.search(r"NVRM|nvidia|nouveau|nova|module", line, re.IGNORECASE):
        return True
    named = _named(line)
    return not named or bool(named & set(places))


def _full(address: str) -> str:
    """The PCI address in lower case and without the function number, such as "0000:01:00"."""
    return address.lower().partition(".")[0]


def _ring_buffer(path: Path) -> tuple[list[str] | None, bool]:
    """Messages in the kernel's ring buffer; does not wait for new messages. None: this user may not read the buffer.

    Each read of the device returns one record: "priority,sequence,time,flags;text". The second value is whether the
    first record is the first one since boot.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None, False
    records: list[str] = []
    try:
        while len(records) < _MOST_RECORDS:
            try:
                record = os.read(descriptor, 8192)
            except BrokenPipeError:
                continue  # Records were overwritten since the last read: continue after the gap.
            except BlockingIOError:
                break
            except OSError:
                return None, False
            if not record:
                break
            records += record.decode("utf-8", "replace").splitlines()
    finally:
        os.close(descriptor)
    first = re.match(r"\d+,(\d+),", records[0]) if records else None
    lines = [line.partition(";")[2] if re.match(r"\d+,\d+,", line) else line for line in records]
    return lines, first is None or int(first.group(1)) == 0


def _since_boot(lines: list[str]) -> list[str]:
    """The lines of the current boot, which follow the last kernel banner: a log file contains several boots."""
    last = max((number for number, line in enumerate(lines) if _BOOT.search(line)), default=0)
    return lines[last:]
