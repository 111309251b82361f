"""Theme "errors": faults recorded by the card or the kernel."""

from __future__ import annotations

from collections import Counter

from bench.health import xids
from bench.health.check import CheckOutcome, Subject, check, failed, passed, skipped, unknown, value, warned
from inventory.machine.records import Machine

_CORRECTED = 20_000_000
_MOST_RETIRED = 60
_ECC_CARDS = (
    "cards with error-correcting memory: data centre and workstation cards, and the few GeForce cards on which it can "
    "be switched on (RTX 3090 Ti, 4090, 5090)"
)

_HAS_ECC = (
    "gpu.errors.ecc_enabled",
    "gpu.errors.ecc_uncorrected_lifetime",
    "gpu.errors.remap_failed",
    "gpu.errors.retired_pages",
    "gpu.name",
)
"""The readings that ``_without_ecc`` uses."""


@check(
    "errors.xid",
    title="Xid faults in the kernel log",
    scope="machine",
    looks_at="the driver's fault reports (Xid) since boot in /dev/kmsg, the journal or the log file",
    limits="the check warns on an Xid caused by a program, and fails on one caused by card, memory, bus or driver; "
    "the first such report counts, because others follow from it",
    source="NVIDIA's Xid catalogue",
    fix="look up the code: dlbox check --explain errors.xid; then read: sudo dmesg | grep -i xid",
    explanation=xids.explanation(),
    needs={"kernel_log": "kernel log"},
)
def xid(machine: Machine) -> CheckOutcome:
    if not machine.kernel_log.ok and machine.kernel_log.state == "no-permission":
        return unknown(
            "this user has no permission to read the kernel log, so past faults are not visible",
            "sudo usermod -aG systemd-journal,adm $USER, then log in again; or: sudo dlbox check",
        )
    log = value(machine.kernel_log, "kernel log")
    if not log.xids:
        return passed(f"none since boot ({log.source})", 0, 0)
    counts = Counter(entry.code for entry in log.xids)
    first = xids.cause(log.xids)
    code = xids.of(first.code)
    same = sum(1 for entry in log.xids if entry.code == first.code)
    others = f"; counts by code: {dict(sorted(counts.items()))}" if len(counts) > 1 else ""
    message = (
        f"Xid {first.code} on {first.address}, {same} time{'s' if same != 1 else ''}: {code.meaning}{others}"
    )
    suspect = xids.same_unit(log.xids) if first.code == xids.PROGRAM_FAULT else None
    if suspect is not None:
        judge = failed if suspect.programs > 1 else warned
        return judge(
            f"Xid {first.code} on {first.address}: {suspect.reports} reports name the same unit of the chip "
            f"({suspect.unit}), which points at the chip and not at a program{others}",
            len(log.xids),
            0,
            remedy="test the card: dlbox check --stress 5; if the same unit appears with other programs, the chip is "
            "defective: have the card replaced",
        )
    judge = failed if xids.is_fault(first) else warned
    step = xids.laptop_step(first.code) if machine.host.is_laptop else code.step
    return judge(message, len(log.xids), 0, remedy=step)


@check(
    "errors.ecc",
    title="Uncorrected memory errors",
    looks_at="uncorrected ECC errors since the driver was loaded, and over the card's lifetime",
    limits="the check fails on an error since the driver was loaded, and warns on older errors",
    applies_to=_ECC_CARDS,
    source="NVML; NVIDIA's GPU memory error management",
    fix="reboot, so that the bad memory is retired; if new errors occur, the card's memory is defective",
    needs={
        "gpu.errors.ecc_uncorrected": "ECC counter",
        "gpu.errors.ecc_uncorrected_lifetime": "ECC counter of the card's lifetime",
    },
    optional=("gpu.errors.remap_failed", *_HAS_ECC),
)
def ecc(subject: Subject) -> CheckOutcome:
    """Error correction could not restore data in the card's memory. Results computed since then may be
    wrong."""
    without = _without_ecc(subject)
    if without:
        return skipped(without)
    now = value(subject.gpu.errors.ecc_uncorrected, "ECC counter")
    if now and subject.gpu.errors.remap_failed.value:
        return failed(
            f"{now} uncorrected errors since the driver was loaded, and no spare rows are left",
            now,
            0,
            remedy="have the card replaced: its memory is defective and has no spare rows left",
        )
    if now:
        return failed(f"{now} uncorrected errors since the driver was loaded", now, 0)
    ever = value(subject.gpu.errors.ecc_uncorrected_lifetime, "ECC counter of the card's lifetime")
    if ever:
        return warned(
            f"{ever} uncorrected errors in the card's lifetime, none since the driver was loaded", ever, 0
        )
    return passed("none", 0, 0)


@check(
    "errors.ecc-corrected",
    title="Corrected memory errors",
    looks_at="corrected ECC errors since the driver was loaded",
    limits=f"up to {_CORRECTED:,}",
    applies_to=_ECC_CARDS,
    source="limit of the node health checks of a large cloud",
    fix="check the number again later; if it grows every hour, have the card replaced",
    needs={"gpu.errors.ecc_corrected": "ECC counter"},
    optional=_HAS_ECC,
    unread="warn",
)
def ecc_corrected(subject: Subject) -> CheckOutcome:
    """Corrected errors do no harm, but very many of them often precede uncorrected errors."""
    without = _without_ecc(subject)
    if without:
        return skipped(without)
    number = value(subject.gpu.errors.ecc_corrected, "ECC counter")
    if number > _CORRECTED:
        return warned(f"{number:,}", number, _CORRECTED)
    return passed(f"{number:,}", number, _CORRECTED)


@check(
    "errors.ecc-mode",
    title="ECC setting",
    looks_at="whether error correction is on, now and after the next reset",
    limits="the check warns if the setting changes at the next reset",
    applies_to=_ECC_CARDS,
    source="NVML",
    fix="reboot, so that the new setting takes effect",
    needs={"gpu.errors.ecc_enabled": "ECC", "gpu.errors.ecc_pending": "ECC after the next reset"},
    unread="warn",
)
def ecc_mode(subject: Subject) -> CheckOutcome:
    """Error correction detects bit errors and costs a little memory and speed. A change takes effect at a reset."""
    now = value(subject.gpu.errors.ecc_enabled, "ECC")
    pending = value(subject.gpu.errors.ecc_pending, "ECC after the next reset")
    state = "on" if now else "off"
    if pending != now:
        return warned(f"{state}, will be {'on' if pending else 'off'} after the next reset", now, pending)
    return passed(state, now)


@check(
    "errors.retired-pages",
    title="Retired memory pages",
    looks_at="pages retired because of ECC errors, and pages pending retirement",
    limits=f"the check fails on a pending page or {_MOST_RETIRED} or more retired pages, and warns on fewer",
    applies_to=_ECC_CARDS + " from Ampere on",
    source="NVIDIA's dynamic page retirement: at most 64 pages",
    fix="reboot, so that pending pages are retired; near the limit of 64 have the card replaced",
    needs={
        "gpu.errors.retired_pages": "retired pages",
        "gpu.errors.retirement_pending": "pages pending retirement",
    },
    optional=_HAS_ECC,
)
def retired_pages(subject: Subject) -> CheckOutcome:
    """The driver stops using bad pages of the memory, up to a limit. A pending page is still in use until the
    driver is loaded again."""
    errors = subject.gpu.errors
    without = _without_ecc(subject)
    if without and not errors.retired_pages.value and not errors.retirement_pending.value:
        return skipped(without)
    number = value(errors.retired_pages, "retired pages")
    if errors.retirement_pending.value:
        return failed("a bad page is pending retirement and still in use", number, 0)
    if number >= _MOST_RETIRED:
        return failed(f"{number} memory pages are retired; the card can retire at most 64", number, 0)
    if number:
        return warned(
            f"{number} pages are retired",
            number,
            0,
            remedy="check the number again after some weeks of use: dlbox check",
        )
    return passed("none", 0, 0)


@check(
    "errors.remapped-rows",
    title="Remapped memory rows",
    looks_at="rows replaced by spare rows because of ECC errors",
    limits="the check fails if a remap failed or is pending, and warns if rows had uncorrected errors",
    applies_to=_ECC_CARDS
    + ", from Ampere on; with ECC off, GeForce cards report values that have no meaning",
    source="NVIDIA's row remapping",
    fix="reboot, so that pending rows are replaced; after a failed remap have the card replaced",
    needs={
        "gpu.errors.remapped_rows_uncorrected": "remapped rows",
        "gpu.errors.remapped_rows_corrected": "remapped rows",
        "gpu.errors.remap_failed": "failed remaps",
        "gpu.errors.remap_pending": "pending remaps",
    },
    optional=("gpu.errors.ecc_uncorrected", *_HAS_ECC),
)
def remapped_rows(subject: Subject) -> CheckOutcome:
    """At a reset the card replaces bad rows of its memory by spare rows. If no spare rows are left, the remap
    fails and the card has to be replaced."""
    without = _without_ecc(subject)
    if without:
        return skipped(f"{without}; the rows that the driver reports have no meaning")
    errors = subject.gpu.errors
    uncorrected = value(errors.remapped_rows_uncorrected, "remapped rows")
    if errors.remap_failed.value and errors.ecc_uncorrected.value:
        return warned("a bad row could not be replaced; see the uncorrected errors", True, False)
    if errors.remap_failed.value:
        return failed("a bad row could not be replaced: no spare rows are left", True, False)
    if errors.remap_pending.value:
        return failed("a bad row is pending replacement and still in use", True, False)
    corrected = value(errors.remapped_rows_corrected, "rows replaced after corrected errors")
    if uncorrected:
        return warned(
            f"{uncorrected} rows replaced after uncorrected errors",
            uncorrected,
            0,
            remedy="check the number again after some weeks of use: dlbox check",
        )
    return passed(f"{corrected} after corrected errors, none after uncorrected errors", corrected)


@check(
    "errors.inforom",
    title="InfoROM",
    looks_at="the checksum of the card's configuration memory",
    limits="valid",
    source="NVML, code 14",
    fix="power the machine off and on; if the InfoROM is still corrupted, have the card replaced",
    needs={"gpu.errors.inforom_valid": "InfoROM check"},
    optional=("gpu.errors.inforom_version",),
)
def inforom(subject: Subject) -> CheckOutcome:
    """The InfoROM contains serial number, settings and error history. If it is corrupted, other readings
    are unreliable."""
    if 14 in (subject.gpu.handle.code, subject.gpu.errors.inforom_version.code, subject.gpu.name.code):
        return failed("the InfoROM is corrupted", False, True)
    valid = value(subject.gpu.errors.inforom_valid, "InfoROM check")
    if not valid:
        return failed("the InfoROM is corrupted", False, True)
    version = subject.gpu.errors.inforom_version.value
    return passed(f"valid{', ' + version if version else ''}", True, True)


def _without_ecc(subject: Subject) -> str | None:
    """Why the card's ECC counters and remapped rows have no meaning; None if they count.

    One rule for all these checks: a setting that NVML reports shows that the card has error correction. Otherwise the
    catalogue decides, and the name if the card is not listed.
    """
    enabled = subject.gpu.errors.ecc_enabled
    if subject.card is not None and subject.card.has_ecc is not None:
        always = subject.card.has_ecc
    else:
        always = "geforce" not in value(subject.gpu.name, "the card's name").lower()
    if enabled.ok and not enabled.value:
        return None if always and _has_errors(subject) else "error correction (ECC) is off"
    return None if enabled.ok or always else "this card has no error correction (ECC)"


def _has_errors(subject: Subject) -> bool:
    """Whether the card recorded errors before ECC was switched off."""
    errors = subject.gpu.errors
    return bool(
        errors.ecc_uncorrected_lifetime.value or errors.remap_failed.value or errors.retired_pages.value
    )
