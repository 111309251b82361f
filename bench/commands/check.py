"""`dlbox check`: read the machine, check it, print the findings and export them."""

from __future__ import annotations

import difflib
import importlib.metadata
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import health
from bench.commands import export
from bench.finding import Finding, FindingName, Status, is_sound, verdict
from bench.health import source_needs
from bench.results.record.document import Document, to_json
from bench.results.terminal import check_results
from common.command_line.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.file_access.files import to_stdout
from common.terminal.console import Console
from common.terminal.shown import visible
from inventory import gather
from inventory.builds.bill import BillError, open_bill
from inventory.builds.judge import processor_power
from inventory.machine.records import Machine, PowerSupply
from inventory.sources.contents import ReportError


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `dlbox check`."""

    stress: float | None = None
    """Minutes of load."""
    frameworks: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    expect_gpus: int | None = None
    power_supply: int | None = None
    build: str | None = None
    """Name or file of the bill of materials that has the power supply of this computer."""
    backend: str | None = None
    as_json: bool = False
    exports: dict[str, Path | bool | None] = {}
    """Export formats and where to write them: see ``bench.commands.export``."""
    listing: bool = False
    explain: str | None = None
    from_path: Path | None = None
    """A report about another computer, in place of this one; "-" is stdin."""


def run(options: CheckOptions, complain: Complain) -> int:
    """Print the findings on stdout and everything else on stderr; returns the exit code."""
    problem = _usage_problem(options)
    if problem:
        complain(problem)
        return EXIT_USAGE
    if options.explain is not None:
        return _explain(options.explain, complain)
    if options.listing:
        return _list(options)
    try:
        document = examine(options, complain)
    except (BillError, ReportError) as error:
        complain(str(error))
        return EXIT_USAGE
    if options.as_json:
        to_stdout(visible(to_json(document)) + "\n")
    else:
        check_results.show(document, Console(stderr=export.on_stdout(options.exports)))
    written = export.write(document, options.exports, complain, source="check") == EXIT_OK
    if document.partial:
        return EXIT_INTERRUPTED
    return EXIT_OK if is_sound(document.verdict) and written else EXIT_FAILED


def examine(options: CheckOptions, complain: Complain = lambda sentence: None) -> Document:
    """Check the machine, with --stress under load too.

    Raises BillError if the build cannot be read, ReportError if the report of --from cannot be.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    supply = _power_supply(options)
    read = gather.gather() if options.from_path is None else machine_of_report(options.from_path)
    machine = msgspec.structs.replace(read, power_supply=supply)
    findings = health.run(machine, expect_gpus=options.expect_gpus, only=options.only, skip=options.skip)
    selected = options.frameworks or "frameworks" in options.only
    if selected and health.wanted("frameworks", options.only, options.skip):
        from bench.measure import visibility

        findings += visibility.findings(machine)
    refuse_without_cards(machine, findings)
    interrupted = False
    if options.stress is not None and health.wanted("load", options.only, options.skip):
        found, interrupted = _load(machine, options, complain)
        findings += found
    return Document(
        command="check",
        verdict=verdict(findings, has_gpu=machine.has_gpu),
        machine=machine,
        findings=tuple(findings),
        started_at=started,
        dlbox_version=importlib.metadata.version("dlbox"),
        partial=interrupted,
        judged_from=judged_from(machine, findings),
    )


def machine_of_report(path: Path) -> Machine:
    """The computer that a report describes; "-" is stdin. Raises ReportError."""
    from inventory.sources import read

    return read.machine(path)


def refuse_without_cards(machine: Machine, findings: list[Finding]) -> None:
    """Raises ReportError if a report shows neither the cards of the computer nor a fault of its driver."""
    known = source_needs.knows_cards(machine) or any(f.status is Status.FAIL for f in findings)
    if machine.source is not None and not known:
        raise ReportError(
            f"the report ({machine.source.name}) does not show whether the computer has an NVIDIA card: add the "
            "output of nvidia-smi -q or of lspci -nnk"
        )


def judged_from(machine: Machine, findings: list[Finding]) -> str | None:
    """ "judged from nvidia-smi -q alone: 31 checks could be made"; None for this machine itself."""
    if machine.source is None:
        return None
    made = sum(1 for finding in findings if finding.status is not Status.SKIP)
    alone = " alone" if len(machine.source.parts) <= 1 else ""
    return f"judged from {machine.source.name}{alone}: {made} check{'s' if made != 1 else ''} could be made"


def _power_supply(options: CheckOptions) -> PowerSupply | None:
    """The power supply that the options give, directly or as a part of a build; None if they give none. Raises
    BillError."""
    if options.power_supply is not None:
        return PowerSupply(watts=options.power_supply, source="--power-supply")
    if options.build is not None:
        bill = open_bill(options.build)
        return PowerSupply(
            watts=int(bill.supply.watts * bill.supply.quantity),
            source=f"the build {bill.name}",
            processor_w=processor_power(bill),
            atx_version=bill.supply.atx_version,
        )
    return None


def _load(machine: Machine, options: CheckOptions, say: Complain) -> tuple[list[Finding], bool]:
    from bench.measure import stress

    minutes = options.stress or 0.0
    return stress.findings(machine, minutes=minutes, backend=options.backend, say=say)


def _usage_problem(options: CheckOptions) -> str | None:
    if options.from_path is not None and (options.stress is not None or options.frameworks):
        option = "--stress" if options.stress is not None else "--frameworks"
        return f"{option} needs the computer itself, and --from reads a report about another one: leave one of them out"
    known = health.themes()
    for theme in (*options.only, *options.skip):
        if theme not in known:
            return f"unknown theme {theme!r}; the themes are {', '.join(known)}"
    left = [theme for theme in options.only or known if theme not in options.skip]
    if not left:
        return "--skip removes every theme that --only selects"
    if left == ["load"] and options.stress is None and not options.listing:
        return "the theme load needs a duration: add --stress 2 (minutes)"
    taken = "--json" if options.as_json else None
    return export.impossible(options.exports, taken=taken, source="check") or export.missing(
        options.exports, source="check"
    )


def _explain(wanted: str, complain: Complain) -> int:
    known = {check.id: check for check in health.checks()}
    check = known.get(str(FindingName.of(wanted)._replace(subject=None)))
    if check is None:
        near = difflib.get_close_matches(wanted, list(known), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`dlbox check --list` lists the checks"
        complain(f"unknown check {wanted!r}; {hint}")
        return EXIT_USAGE
    sys.stdout.write(check_results.explanation(check))
    return EXIT_OK


def _list(options: CheckOptions) -> int:
    chosen = [check for check in health.checks() if health.wanted(check.theme, options.only, options.skip)]
    if options.as_json:
        names = ("id", "theme", "title", "looks_at", "limits", "applies_to", "source", "fix", "explanation")
        rows = [{name: getattr(check, name) for name in names} for check in chosen]
        print_json("check --list", {"checks": rows})
    else:
        sys.stdout.write(check_results.listing(chosen))
    return EXIT_OK
