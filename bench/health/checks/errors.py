"""Theme "errors": faults that the card or the kernel has on record."""

from __future__ import annotations

from collections import Counter

from bench.health import xids
from bench.health.check import Outcome, Subject, check, failed, passed, skipped, unknown, value, warned
from inventory.machine.records import Machine

_CORRECTED = 20_000_000
_MOST_RETIRED = 60
_ECC_CARDS = "cards with error-correcting memory: not GeForce"


@check(
    "errors.xid",
    title="Xid faults in the kernel log",
    scope="machine",
    looks_at="the driver's fault reports (Xid) since boot in /dev/kmsg, the journal or the log file",
    limits="none; those of a program warn, those of card, memory or bus fail",
    source="NVIDIA's Xid catalogue",
    fix="look the code up: dlbox check --explain errors.xid; then read: sudo dmesg | grep -i xid",
    explanation=xids.explanation(),
    needs={"kernel_log": "kernel log"},
)
def xid(machine: Machine) -> Outcome:
    if not machine.kernel_log.ok and machine.kernel_log.state == "no-permission":
        return unknown(
            "the kernel log is closed to this user, so that past faults cannot be seen",
            "sudo usermod -aG systemd-journal,adm $USER, then log in again; or: sudo dlbox check",
        )
    log = value(machine.kernel_log, "kernel log")
    if not log.xids:
        return passed(f"none since boot ({log.source})", 0, 0)
    counts = Counter(entry.code for entry in log.xids)
    worst = min(counts, key=lambda code: (not xids.of(code).is_fault, -counts[code]))
    address = next(entry.address for entry in log.xids if entry.code == worst)
    entry = xids.of(worst)
    others = f"; in all {dict(sorted(counts.items()))}" if len(counts) > 1 else ""
    words = f"Xid {worst} on {address}, {counts[worst]} times: {entry.meaning}{others}"
    judge = failed if entry.is_fault else warned
    return judge(words, len(log.xids), 0, remedy=entry.step)


@check(
    "errors.ecc",
    title="Uncorrected memory errors",
    looks_at="uncorrected ECC errors since the driver was loaded, and over the card's life",
    limits="any since the driver was loaded fails; older ones warn",
    applies_to=_ECC_CARDS,
    source="NVML; NVIDIA's GPU memory error management",
    fix="reboot, so that the bad place is retired; if it comes back, the card's memory is defective",
    needs={
        "gpu.errors.ecc_uncorrected": "ECC counter",
        "gpu.errors.ecc_uncorrected_lifetime": "ECC counter of the card's life",
    },
    optional=("gpu.errors.remap_failed",),
)
def ecc(subject: Subject) -> Outcome:
    """The memory lost data that its code could not repair. Results computed since then are not to be
    trusted."""
    now = value(subject.gpu.errors.ecc_uncorrected, "ECC counter")
    if now and subject.gpu.errors.remap_failed.value:
        return failed(
            f"{now} uncorrected errors since the driver was loaded, and no spare rows are left",
            now,
            0,
            remedy="have the card replaced: its memory is defective and cannot be repaired any more",
        )
    if now:
        return failed(f"{now} uncorrected errors since the driver was loaded", now, 0)
    ever = value(subject.gpu.errors.ecc_uncorrected_lifetime, "ECC counter of the card's life")
    if ever:
        return warned(
            f"{ever} uncorrected errors in the card's life, none since the driver was loaded", ever, 0
        )
    return passed("none", 0, 0)


@check(
    "errors.ecc-corrected",
    title="Corrected memory errors",
    looks_at="corrected ECC errors since the driver was loaded",
    limits=f"up to {_CORRECTED:,}",
    applies_to=_ECC_CARDS,
    source="limit of a large cloud's node health checks",
    fix="watch the number; if it grows by the hour, have the card replaced",
    needs={"gpu.errors.ecc_corrected": "ECC counter"},
    unread="warn",
)
def ecc_corrected(subject: Subject) -> Outcome:
    """Corrected errors do no harm; a flood of them announces worse."""
    number = value(subject.gpu.errors.ecc_corrected, "ECC counter")
    if number > _CORRECTED:
        return warned(f"{number:,}", number, _CORRECTED)
    return passed(f"{number:,}", number, _CORRECTED)


@check(
    "errors.ecc-mode",
    title="ECC setting",
    looks_at="whether error correction is on, now and after the next reset",
    limits="a change that waits warns",
    applies_to=_ECC_CARDS,
    source="NVML",
    fix="reboot, so that the new setting takes effect",
    needs={"gpu.errors.ecc_enabled": "ECC", "gpu.errors.ecc_pending": "ECC after the next reset"},
    unread="warn",
)
def ecc_mode(subject: Subject) -> Outcome:
    """Error correction costs a little memory and speed and finds bit errors; changing it needs a reset."""
    now = value(subject.gpu.errors.ecc_enabled, "ECC")
    pending = value(subject.gpu.errors.ecc_pending, "ECC after the next reset")
    words = "on" if now else "off"
    if pending != now:
        return warned(f"{words}, will be {'on' if pending else 'off'} after the next reset", now, pending)
    return passed(words, now)


@check(
    "errors.retired-pages",
    title="Retired memory pages",
    looks_at="pages taken out of use because of ECC errors, and those that wait for it",
    limits=f"a page that waits, or {_MOST_RETIRED} and more, fails; any warns",
    applies_to=_ECC_CARDS + " from Ampere on",
    source="NVIDIA's dynamic page retirement: at most 64 pages",
    fix="reboot, so that waiting pages are retired; near the limit have the card replaced",
    needs={
        "gpu.errors.retired_pages": "retired pages",
        "gpu.errors.retirement_pending": "pages that wait to be retired",
    },
    optional=("gpu.name",),
)
def retired_pages(subject: Subject) -> Outcome:
    """Bad places of the memory are mapped out, up to a limit. One that waits is still in use until the
    driver is loaded again."""
    errors = subject.gpu.errors
    if _geforce(subject) and not errors.retired_pages.value and not errors.retirement_pending.value:
        return skipped("GeForce cards do not retire pages")
    number = value(errors.retired_pages, "retired pages")
    if errors.retirement_pending.value:
        return failed("a bad page waits to be retired and is still in use", number, 0)
    if number >= _MOST_RETIRED:
        return failed(f"{number} pages are retired, 64 is the end", number, 0)
    if number:
        return warned(
            f"{number} pages are retired",
            number,
            0,
            remedy="watch the number: dlbox check after some weeks of use",
        )
    return passed("none", 0, 0)


@check(
    "errors.remapped-rows",
    title="Remapped memory rows",
    looks_at="rows replaced by spare ones because of ECC errors",
    limits="a failed or waiting remap fails; rows with uncorrected errors warn",
    applies_to="data centre cards from Ampere on; GeForce answers the question without having the feature",
    source="NVIDIA's row remapping",
    fix="reboot, so that waiting rows are replaced; after a failed remap have the card replaced",
    needs={
        "gpu.errors.remapped_rows_uncorrected": "remapped rows",
        "gpu.errors.remapped_rows_corrected": "remapped rows",
        "gpu.errors.remap_failed": "failed remaps",
        "gpu.errors.remap_pending": "waiting remaps",
    },
    optional=("gpu.name", "gpu.errors.ecc_uncorrected"),
)
def remapped_rows(subject: Subject) -> Outcome:
    """The card swaps bad rows of its memory for spare ones at the next reset. When there are no spare rows
    left, the remap fails and the card must go back."""
    if _geforce(subject):
        return skipped("GeForce cards do not remap rows, whatever the driver answers")
    errors = subject.gpu.errors
    uncorrected = value(errors.remapped_rows_uncorrected, "remapped rows")
    if errors.remap_failed.value and errors.ecc_uncorrected.value:
        return warned("a bad row could not be replaced, see the uncorrected errors", True, False)
    if errors.remap_failed.value:
        return failed("a bad row could not be replaced: no spare rows are left", True, False)
    if errors.remap_pending.value:
        return failed("a bad row waits to be replaced and is still in use", True, False)
    corrected = value(errors.remapped_rows_corrected, "rows replaced after corrected errors")
    if uncorrected:
        return warned(
            f"{uncorrected} rows replaced after uncorrected errors",
            uncorrected,
            0,
            remedy="watch the number: dlbox check after some weeks of use",
        )
    return passed(f"{corrected} after corrected errors, none after others", corrected)


@check(
    "errors.inforom",
    title="InfoROM",
    looks_at="the checksum of the card's own configuration memory",
    limits="valid",
    source="NVML, code 14",
    fix="power the machine off and on; if it stays corrupted, ask the card's maker for a new one",
    needs={"gpu.errors.inforom_valid": "InfoROM check"},
    optional=("gpu.errors.inforom_version",),
)
def inforom(subject: Subject) -> Outcome:
    """The InfoROM holds serial number, settings and error history. A corrupted one makes other readings
    worthless."""
    if 14 in (subject.gpu.handle.code, subject.gpu.errors.inforom_version.code, subject.gpu.name.code):
        return failed("corrupted", False, True)
    valid = value(subject.gpu.errors.inforom_valid, "InfoROM check")
    if not valid:
        return failed("corrupted", False, True)
    version = subject.gpu.errors.inforom_version.value
    return passed(f"valid{', ' + version if version else ''}", True, True)


def _geforce(subject: Subject) -> bool:
    """Without error-correcting memory: by the catalogue, else by the name."""
    if subject.card is not None:
        return not subject.card.has_ecc
    return "geforce" in value(subject.gpu.name, "the card's name").lower()
