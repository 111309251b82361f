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
from common.processes.child import Child, environment, python_path_variables
from common.terminal.console import Console
from inventory import gather
from inventory.sources.contents import ReportError, read_stdin

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
    """Print the story, with ``fix`` also repair; returns the exit code: 0 if the computer can train.

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
            current = _look(_readable(from_path, Path(folder)))
    except ReportError as error:
        complain(str(error).replace(str(Path(folder) / "stdin"), "stdin"))
        return EXIT_USAGE
    if as_json:
        print_json("doctor", msgspec.to_builtins(current))
    else:
        show(current, Console())
    if fix:
        current = _repair(current, complain, confirm or (lambda question: True), start or _start)
    return EXIT_OK if current.state == "works" else EXIT_FAILED


def _look(from_path: Path | None) -> Story:
    """Read the computer or the report, check it, and make its plan. Raises ReportError.

    The plan comes from a process of its own, because provision is a sibling of this package. It runs meanwhile.
    """
    words = ["plan", "--json", *(["--from", str(from_path)] if from_path is not None else [])]
    child = Child(_command(words), python_path_variables())
    try:
        return _story(from_path, child)
    finally:
        child.stop()


def _story(from_path: Path | None, planning: Child) -> Story:
    machine = gather.gather() if from_path is None else machine_of_report(from_path)
    findings = health.run(machine)
    frameworks = tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)
    if from_path is None and frameworks and machine.nvml.ok and machine.has_gpu:
        from bench.measure import visibility

        findings += visibility.findings(machine)
    refuse_without_cards(machine, findings)
    return story.compose(
        machine,
        findings,
        explain(machine),
        _plan(planning),
        judged_from=judged_from(machine, findings),
    )


def _readable(path: Path | None, folder: Path) -> Path | None:
    """The report as a file that two readers can open: stdin is copied to ``folder``."""
    if path != STANDARD:
        return path
    copied = folder / "stdin"
    copied.write_bytes(read_stdin())
    return copied


def _plan(child: Child) -> dict[str, Any] | None:
    """The document that the process of `dlbox plan --json` prints; None if it prints none."""
    try:
        found = json.loads(child.finish(_PLAN_LIMIT_S).output)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "dlbox", *words]


def _environment() -> dict[str, str]:
    return environment({**os.environ, **python_path_variables()})


def _start(words: Sequence[str]) -> int:
    return subprocess.run(_command(words), check=False, env=_environment()).returncode


def _repair(current: Story, complain: Complain, confirm: Confirm, start: Start) -> Story:
    """Offer each repair, run the confirmed ones, and look again after each. Returns the last story."""
    console, tried = Console(), set[tuple[str, ...]]()
    refused = False
    while True:
        offers = [
            repair
            for repair in repairs.repairs(current, provisioned=_PROVISIONED.is_dir())
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
        current = _look(None)
        show(current, console)
    if current.broken is None:
        console.print(Text("Nothing is broken any more. Next: dlbox ready", style="bold"))
    elif not refused:
        by_hand = " && ".join(current.broken.commands) or current.broken.remedy
        console.print(
            Text(f"dlbox cannot repair this. Do this yourself: {by_hand}", style="bold"), soft_wrap=True
        )
    return current


def _show_repair(offer: Repair, console: Console) -> None:
    console.print()
    console.print(Text(f"Repair of {', '.join(offer.findings)}", style="bold"))
    console.print(Text(f"  dlbox runs: dlbox {' '.join(offer.words)}"), soft_wrap=True)
    for command in offer.shown:
        console.print(Text(f"  by hand it would be: {command}"), soft_wrap=True)


def show(current: Story, console: Console) -> None:
    """Print the story: the computer, what works, what is broken, the next step and what follows."""
    console.print(Text(current.machine, style="bold"))
    if current.judged_from:
        console.print(Text(current.judged_from))
    works = list(current.works[:_WORKS_SHOWN])
    more = len(current.works) - len(works)
    _line(
        console,
        "Works",
        ", ".join(works) + (f", and {more} more" if more else "") or "nothing could be checked",
    )
    broken = current.broken
    if broken is None:
        _line(console, "Broken", "nothing: no check failed")
    else:
        _line(
            console,
            "Broken" if current.state == "broken" else "Unknown",
            f"{broken.title} ({broken.id})",
            "bold red",
        )
        if broken.evidence:
            for text in broken.evidence[:3]:
                _line(console, "", f"evidence: {text}")
        else:
            _line(console, "", broken.message)
    _line(console, "Next", current.next_step, "bold")
    if current.next_command and not current.next_step.startswith(current.next_command):
        _line(console, "", f"command: {current.next_command}", "bold")
    for step in current.after:
        _line(console, "Then", step)
    if current.plan:
        _line(console, "Plan", current.plan)
    if current.also:
        names = ", ".join(finding.id for finding in current.also[:5])
        _line(
            console, "Also", f"{names}{', ...' if len(current.also) > 5 else ''}: dlbox check explains each"
        )


def _line(console: Console, label: str, text: str, style: str = "") -> None:
    width = max(20, min(console.width, 100) - 9)
    lines = Text(text).wrap(console, width) if console.is_terminal else [Text(text)]
    for number, line in enumerate(lines):
        head = f"{label + ':' if label else '':8} " if number == 0 else " " * 9
        console.print(Text.assemble((head, "dim"), (line.plain, style)), soft_wrap=True)
