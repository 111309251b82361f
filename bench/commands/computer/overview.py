"""`dlbox` without a command: where this computer stands, and the one next command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from bench.finding import Status, words
from bench.results.store.access import open_history_to_read
from bench.results.store.history import HistoryError
from bench.results.store.rows import Run
from common.backends import BACKENDS
from common.command_line.exit_codes import EXIT_OK, Complain
from common.command_line.json_output import print_json
from common.command_line.messages import print_error
from common.terminal.console import Console
from inventory.cards import cards
from inventory.machine import driver_files, host, pci
from inventory.machine.records import Driver, Host, PciCard

_STALE_DAYS = 30
"""After this time a verdict counts as old: kernels and drivers have changed since then."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the start screen shows. ``why``: the reason for the next command, one clause."""

    version: str
    computer: str
    cards: tuple[str, ...]
    driver: str
    frameworks: tuple[str, ...]
    verdict: str | None
    verdict_run: int | None
    verdict_at: str | None
    findings: tuple[str, ...]
    """The ids of the findings that made the last verdict "not-ready"."""
    next_command: str
    why: str


def show(*, as_json: bool) -> int:
    """Print the start screen. It reads files and the last run only, so it takes a fraction of a second."""
    problems: list[str] = []
    seen = overview(complain=problems.append)
    for problem in problems:
        print_error(problem)
    if as_json:
        print_json("dlbox", msgspec.to_builtins(seen))
        return EXIT_OK
    console = Console()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    table.add_row("Computer", seen.computer)
    table.add_row("Card", ", ".join(seen.cards) or "no NVIDIA card")
    if seen.cards:
        table.add_row("Driver", seen.driver)
    table.add_row("Frameworks", ", ".join(seen.frameworks) or "none yet: the first training installs one")
    table.add_row("Verdict", "unknown: the history cannot be read" if problems else _verdict_text(seen))
    console.print(Text(f"dlbox {seen.version}: a deep learning computer that is known to work", style="bold"))
    console.print()
    console.print(table)
    console.print()
    console.print(Text.assemble("Next: ", (seen.next_command, "bold"), f"   ({seen.why})"))
    console.print("All commands: dlbox --help", style="dim")
    return EXIT_OK


def overview(
    sysroot: Path = Path("/"), now: datetime | None = None, complain: Complain | None = None
) -> Overview:
    """Read what the start screen shows. NVML is not asked: it may take seconds, and `dlbox check` does it.

    ``complain`` gets the sentence if the history cannot be read.
    """
    computer, found, module = host.read(sysroot), pci.cards(sysroot), driver_files.module(sysroot)
    try:
        run, problem = _last_verdict(), ""
    except HistoryError as error:
        run, problem = None, str(error)
    document = run.document if run else None
    command, why = _next(found, module, run, now or datetime.now(UTC))
    if problem:
        command, why = (
            "dlbox doctor",
            "it needs no history: `dlbox ready` works again when the history is readable",
        )
        if complain is not None:
            complain(problem)
    return Overview(
        version=importlib.metadata.version("dlbox"),
        computer=_computer(computer),
        cards=tuple(_card_name(card) for card in found),
        driver=_driver(module),
        frameworks=tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None),
        verdict=document.verdict if document else None,
        verdict_run=run.id if run else None,
        verdict_at=run.started_at if run else None,
        findings=tuple(f.id for f in document.findings if f.status in (Status.FAIL, Status.UNKNOWN))
        if document
        else (),
        next_command=command,
        why=why,
    )


def age(since: str, now: datetime) -> str:
    """The time since ``since`` (ISO 8601) in words: "3 hours ago"."""
    seconds = max(0.0, (now - datetime.fromisoformat(since)).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


def _computer(computer: Host) -> str:
    parts = [computer.cpu_model or computer.architecture, f"{computer.cpu_threads} threads"]
    return f"{', '.join(part for part in parts if part)}; {computer.distribution.name}"


def _card_name(card: PciCard) -> str:
    known = cards.match(None, card.device_id, None)
    return known.name if known else f"NVIDIA card {card.pci_id}"


def _driver(module: Driver) -> str:
    if module.module_version.ok:
        flavour = f" ({module.module_flavour.value} modules)" if module.module_flavour.ok else ""
        return f"NVIDIA {module.module_version.value}{flavour}"
    if "nouveau" in module.modules:
        return "nouveau, which cannot train"
    return "no NVIDIA driver is loaded"


def _last_verdict() -> Run | None:
    """The newest complete run of `dlbox ready`; None if there is none. Raises HistoryError."""
    store = open_history_to_read()
    return store.last_verdict() if store else None


def _verdict_text(seen: Overview) -> str:
    if seen.verdict is None or seen.verdict_at is None:
        return "none yet"
    word, _ = words(seen.verdict, has_gpu=bool(seen.cards))  # type: ignore[arg-type]
    when = age(seen.verdict_at, datetime.now(UTC))
    because = f": {', '.join(seen.findings[:3])}" if seen.findings else ""
    return f"{word}{because} ({when}, run {seen.verdict_run})"


def _next(found: tuple[PciCard, ...], module: Driver, run: Run | None, now: datetime) -> tuple[str, str]:
    """The one command to run next, and why."""
    document = run.document if run else None
    if found and not module.module_version.ok:
        return "dlbox doctor", "the card has no working driver: it names the cause and the remedy"
    if run is None or document is None:
        return "dlbox ready", "it checks this computer, trains, and gives a verdict"
    if document.verdict == "not-ready":
        return "dlbox doctor", f"run {run.id} was NOT READY: it says what is wrong now"
    if document.verdict == "uncertain":
        return "dlbox ready --wait-for-quiet 10", f"run {run.id} was UNCERTAIN: other programs disturbed it"
    if (now - datetime.fromisoformat(run.started_at)).days >= _STALE_DAYS:
        return "dlbox ready", f"the last verdict is older than {_STALE_DAYS} days"
    return "dlbox workshop list", "this computer works: choose a lesson"
