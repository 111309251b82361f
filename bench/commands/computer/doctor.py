"""`dlbox doctor`: check, plan and frameworks in one story, and repairs with --fix."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from bench import health
from bench.commands.check import judged_from, machine_of_report, refuse_without_cards
from bench.doctor import repairs, story
from bench.doctor.repairs import Repair
from bench.doctor.story import Story
from bench.health.causes.explain import explain
from common.backends import BACKENDS
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.file_access.files import STANDARD
from common.processes.child import environment, python_path_variables
from common.terminal.console import Console
from inventory import gather
from inventory.machine.records import Machine
from inventory.sources.contents import ReportError

_PROVISIONED = Path("/opt/dlbox/venv")
_PLAN_LIMIT_S = 60
_WORKS_SHOWN = 6

Confirm = Callable[[str], bool]
Start = Callable[[Sequence[str]], int]
"""Runs `dlbox` with these arguments on the terminal, and returns its exit code."""


def run(
    *,
    from_path: Path | None,
    fix: bool,
    as_json: bool,
    complain: Complain,
    confirm: Confirm | None = None,
    start: Start | None = None,
) -> int:
    """Tell the story, with ``fix`` also repair; returns the exit code: 0 if the computer can train.

    ``confirm``: asks before each repair; None: every repair is confirmed. ``start``: see ``Start``.
    """
    if fix and from_path is not None:
        complain(
            "--fix repairs this computer, and --from reads a report about another one: leave one of them out"
        )
        return EXIT_USAGE
    if fix and as_json:
        complain("--fix asks questions on the terminal: leave out --json")
        return EXIT_USAGE
    try:
        with tempfile.TemporaryDirectory() as folder:
            told = _look(_readable(from_path, Path(folder)))
    except ReportError as error:
        complain(str(error).replace(str(Path(folder) / "stdin"), "stdin"))
        return EXIT_USAGE
    if as_json:
        print_json("doctor", msgspec.to_builtins(told))
    else:
        show(told, Console())
    if fix:
        told = _repair(told, complain, confirm or (lambda question: True), start or _start)
    return EXIT_OK if told.state == "works" else EXIT_FAILED


def _look(from_path: Path | None) -> Story:
    """Read the computer or the report, check it, and make its plan. Raises ReportError."""
    machine = gather.gather() if from_path is None else machine_of_report(from_path)
    findings = health.run(machine)
    frameworks = tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)
    if from_path is None and frameworks and machine.nvml.ok and machine.has_gpu:
        from bench.measure import visibility

        findings += visibility.findings(machine)
    refuse_without_cards(machine, findings)
    return story.tell(
        machine,
        findings,
        explain(machine),
        _plan(from_path, machine),
        judged_from=judged_from(machine, findings),
    )


def _readable(path: Path | None, folder: Path) -> Path | None:
    """The report as a file that two readers can open: stdin is copied to ``folder``."""
    if path != STANDARD:
        return path
    copied = folder / "stdin"
    copied.write_bytes(sys.stdin.buffer.read(_LARGEST_REPORT + 1))
    return copied


_LARGEST_REPORT = 512 << 20


def _plan(from_path: Path | None, machine: Machine) -> dict[str, Any] | None:
    """The document of `dlbox plan --json`, from a process of its own: provision is a sibling of this package."""
    words = ["plan", "--json", *(["--from", str(from_path)] if from_path is not None else [])]
    try:
        ended = subprocess.run(
            _command(words), capture_output=True, timeout=_PLAN_LIMIT_S, check=False, env=_environment()
        )
        found = json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return found if isinstance(found, dict) else None


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "dlbox", *words]


def _environment() -> dict[str, str]:
    return environment({**os.environ, **python_path_variables()})


def _start(words: Sequence[str]) -> int:
    return subprocess.run(_command(words), check=False, env=_environment()).returncode


def _repair(told: Story, complain: Complain, confirm: Confirm, start: Start) -> Story:
    """Offer each repair, run the confirmed ones, and look again after each. Returns the last story."""
    console, tried = Console(), set[tuple[str, ...]]()
    refused = False
    while True:
        offers = [
            repair
            for repair in repairs.repairs(told, provisioned=_PROVISIONED.is_dir())
            if repair.findings not in tried
        ]
        if not offers:
            break
        offer = offers[0]
        tried.add(offer.findings)
        _show_repair(offer, console)
        if not confirm("Run this now?"):
            complain("nothing was changed")
            refused = True
            break
        code = start(offer.words)
        if code != 0:
            complain(f"the repair ended with exit code {code}: its own messages are above")
        told = _look(None)
        show(told, console)
    if told.broken is None:
        console.print(Text("Nothing is broken any more. Next: dlbox ready", style="bold"))
    elif not refused:
        by_hand = " && ".join(told.broken.commands) or told.broken.remedy
        console.print(
            Text(f"dlbox cannot repair this. Do this yourself: {by_hand}", style="bold"), soft_wrap=True
        )
    return told


def _show_repair(offer: Repair, console: Console) -> None:
    console.print()
    console.print(Text(f"Repair of {', '.join(offer.findings)}", style="bold"))
    console.print(Text(f"  dlbox runs: dlbox {' '.join(offer.words)}"), soft_wrap=True)
    for command in offer.shown:
        console.print(Text(f"  by hand it would be: {command}"), soft_wrap=True)


def show(told: Story, console: Console) -> None:
    """Print the story: the computer, what works, what is broken, the next step and what follows."""
    console.print(Text(told.machine, style="bold"))
    if told.judged_from:
        console.print(Text(told.judged_from))
    works = list(told.works[:_WORKS_SHOWN])
    more = len(told.works) - len(works)
    _line(
        console,
        "Works",
        ", ".join(works) + (f", and {more} more" if more else "") or "nothing could be checked",
    )
    broken = told.broken
    if broken is None:
        _line(console, "Broken", "nothing: no check failed")
    else:
        _line(
            console,
            "Broken" if told.state == "broken" else "Unknown",
            f"{broken.title} ({broken.id})",
            "bold red",
        )
        if broken.evidence:
            for text in broken.evidence[:3]:
                _line(console, "", f"evidence: {text}")
        else:
            _line(console, "", broken.message)
    _line(console, "Next", told.next_step, "bold")
    if told.next_command and not told.next_step.startswith(told.next_command):
        _line(console, "", f"command: {told.next_command}", "bold")
    for step in told.after:
        _line(console, "Then", step)
    if told.plan:
        _line(console, "Plan", told.plan)
    if told.also:
        names = ", ".join(finding.id for finding in told.also[:5])
        _line(console, "Also", f"{names}{', ...' if len(told.also) > 5 else ''}: dlbox check explains each")


def _line(console: Console, label: str, text: str, style: str = "") -> None:
    width = max(20, min(console.width, 100) - 9)
    lines = Text(text).wrap(console, width) if console.is_terminal else [Text(text)]
    for number, line in enumerate(lines):
        head = f"{label + ':' if label else '':8} " if number == 0 else " " * 9
        console.print(Text.assemble((head, "dim"), (line.plain, style)), soft_wrap=True)
