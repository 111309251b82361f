"""Print the outcome of `dlbox provision`: what was done on each box, and a table with the next command of each."""

from __future__ import annotations

from rich.table import Table

from common.command_line.exit_codes import Complain
from common.terminal.console import Console
from provision.ansible.outcome import HostOutcome, PlaybookOutcome
from provision.ansible.playbook import THIS_MACHINE

GOOD_VERDICTS = (None, "ready", "cpu-only")
"""Verdicts of a box that count as success; None if no verdict was requested, as in a dry run."""


def is_good(host: HostOutcome) -> bool:
    """Whether no task failed on this box, it does not wait for a reboot, and its verdict is good."""
    waits = host.reboot_needed and host.verdict is not None
    return host.status in ("ok", "changed") and host.verdict in GOOD_VERDICTS and not waits


def print_outcome(outcome: PlaybookOutcome, console: Console, print_error: Complain) -> None:
    """Print what was done on each box, then the table of all boxes."""
    if outcome.error is not None:
        print_error(outcome.error)
    for host in outcome.hosts:
        for text in (*host.differences, *(f"{host.name}: {note}" for note in host.notes)):
            console.print(text, soft_wrap=True)
        line = _line(host, check=outcome.check)
        if host.status not in ("failed", "unreachable"):
            console.print(line, soft_wrap=True)
        elif outcome.error is None or outcome.error not in (host.message or ""):  # one cause is one sentence
            print_error(f"{line} (log: {host.log})" if host.log else line)
    console.print(_table(outcome))
    good = [host.name for host in outcome.hosts if host.status in ("ok", "changed")]
    if outcome.playbook == "preflight" and len(outcome.hosts) > len(good) > 0:
        print_error(
            f"nothing was installed on any host; to continue without the failed hosts: --limit {','.join(good)}"
        )


def _line(host: HostOutcome, *, check: bool) -> str:
    if host.status == "unreachable":
        return f"{host.name}: {host.message}"
    if host.status == "failed":
        return f'{host.name}: task "{host.task}" failed: {host.message}'
    number = len(host.changed)
    tasks = f"{number} task{'s' if number != 1 else ''}"
    done = f"{tasks} would change something" if check else f"{tasks} changed something"
    if host.reboot_needed and not check:
        return f"{host.name}: {done}; reboot it, then run the same command again to continue"
    verdict = f"; its own verdict: {host.verdict}" if host.verdict else ""
    return f"{host.name}: {done}{verdict}"


def _table(outcome: PlaybookOutcome) -> Table:
    """One row per box: its result, the number of changes, the time, and the next command."""
    table = Table(show_edge=False, pad_edge=False)
    for title in ("box", "result", "changed", "time", "next command"):
        table.add_column(title, overflow="fold", justify="right" if title in ("changed", "time") else "left")
    for host in outcome.hosts:
        minutes, seconds = divmod(round(host.seconds), 60)
        table.add_row(
            host.name,
            result(host, outcome),
            str(len(host.changed)),
            f"{minutes}:{seconds:02} min",
            _next(host, outcome),
        )
    return table


def result(host: HostOutcome, outcome: PlaybookOutcome) -> str:
    """The result of one box in a few words, such as "ready", "reboot needed" or "failed"."""
    if host.status in ("failed", "unreachable"):
        return host.status if host.verdict in (None, "unknown") else str(host.verdict)
    if outcome.check:
        return "would change" if host.changed else "up to date"
    if host.reboot_needed:
        return "reboot needed"
    if host.verdict is not None:
        return host.verdict
    if outcome.playbook == "rollback":
        return "rolled back"
    return "not installed" if outcome.playbook == "preflight" else "installed"


def _next(host: HostOutcome, outcome: PlaybookOutcome) -> str:
    """The command to run next for one box, with a remark where one is needed."""
    here = host.name == THIS_MACHINE
    again = "dlbox provision" if here else f"dlbox provision {host.name}"
    if host.status == "unreachable":
        return f"ssh {host.name}"
    if host.status == "failed":
        return f"{again} (after the remedy above)"
    if outcome.check:
        return again if host.changed else "dlbox ready" if here else f"ssh {host.name} dlbox ready"
    if host.reboot_needed:
        return f"{'sudo reboot' if here else f'ssh {host.name} sudo reboot'}, then {again}"
    if outcome.playbook in ("rollback", "preflight"):
        return again
    return "dlbox ready" if here else f"ssh {host.name} dlbox ready"
