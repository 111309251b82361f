"""`dlbox provision`: look at the boxes, plan, ask, install, let each say of itself whether it is right; or undo it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from provision.ansible.outcome import HostOutcome, Outcome
from provision.ansible.playbook import THIS_MACHINE, Job
from provision.artifacts.bundle import BundleError
from provision.artifacts.lockfiles import LockError
from provision.artifacts.own_wheel import WheelError
from provision.commands import bundle
from provision.commands.install import Agreed, Installation, Watching
from provision.commands.options import (
    Wishes,
    collects,
    inventories,
    limited,
    stands_on_what_it_changes,
    wrong,
)
from provision.commands.plan import Question
from provision.hosts.hosts import HostError, host_names, select
from provision.resolve.load import DEFAULT_PATH, StackFileError, load

SCHEMA_VERSION = 1

RIGHT = (None, "ready", "cpu-only")
"""Verdicts of a box that is right; None where it was not asked, as in a dry run."""


def run(
    wishes: Wishes, watching: Watching, agreed: Agreed | None, *, as_json: bool, complain: Complain
) -> int:
    """0: every box says that it is right; 1: one does not; 2: the question names what does not exist.

    ``agreed`` asks the person; None: there is nobody to ask.
    """
    clash = wrong(wishes)
    if clash is not None:
        complain(clash)
        return EXIT_USAGE
    if agreed is None and not wishes.check:
        complain("there is nobody to ask whether to go on: say --yes, or --check to see what would be done")
        return EXIT_USAGE
    try:
        data = load(wishes.stack_file or DEFAULT_PATH)
        if (wishes.inventory is not None or wishes.limit) and not wishes.hosts:
            wishes = msgspec.structs.replace(wishes, hosts=host_names(wishes.inventory))
        if wishes.limit:
            wishes = msgspec.structs.replace(wishes, hosts=limited(wishes), limit=())
        places = inventories(wishes)
    except (HostError, StackFileError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    if wishes.bundle is not None and collects(wishes.bundle, wishes.cards):
        question = Question(
            cards=wishes.cards, distro=wishes.distro, hosts=wishes.hosts, inventory=wishes.inventory,
            frameworks=wishes.frameworks, cuda_toolkit=wishes.cuda_toolkit,
        )  # fmt: skip
        return bundle.run(
            question, data, wishes.bundle, watching, agreed or _no,
            jupyter=wishes.jupyter, as_json=as_json, complain=complain,
        )  # fmt: skip
    if not wishes.check and stands_on_what_it_changes(wishes):
        complain(
            "this dlbox was installed by `dlbox provision` and would remove itself while it works: run it from "
            "a copy of its repository (./dlbox provision), or from another machine"
        )
        return EXIT_USAGE
    try:
        named = select(wishes.hosts, wishes.inventory) if wishes.hosts else (THIS_MACHINE,)
        job = Job(
            playbook=Path("preflight.yml"),
            inventories=places,
            limit=",".join(named) if wishes.hosts else None,
            hosts=named,
            check=wishes.check,
        )
        console = Console(quiet=as_json)
        outcome = Installation(wishes, data, watching, agreed or _no, console).run(job)
    except (LockError, WheelError, BundleError) as error:
        complain(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        complain("the same command goes on where this one stopped")
        raise
    if outcome is None:
        complain("nothing was changed")
        return EXIT_FAILED
    if as_json:
        head = {"schema_version": SCHEMA_VERSION, "command": "provision"}
        body: dict[str, Any] = msgspec.to_builtins(outcome)
        json.dump({**head, "succeeded": right(outcome), **body}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    _tell(outcome, console, complain)
    return EXIT_OK if right(outcome) else EXIT_FAILED


def _no(question: str) -> bool:
    return False


def right(outcome: Outcome) -> bool:
    """That nothing failed is not enough: no box may wait for a reboot or call itself not ready."""
    return outcome.succeeded and not any(
        host.verdict not in RIGHT or (host.reboot_needed and host.verdict is not None)
        for host in outcome.hosts
    )


def _tell(outcome: Outcome, console: Console, complain: Complain) -> None:
    """The end of it for a person: a line a host, and what to do next."""
    if outcome.error is not None:
        complain(outcome.error)
    for host in outcome.hosts:
        for text in (*host.differences, *(f"{host.name}: {note}" for note in host.notes)):
            console.print(text, soft_wrap=True)
        line = _line(host, check=outcome.check)
        if host.status in ("failed", "unreachable"):
            complain(f"{line} ({host.log} has the details)" if host.log else line)
        else:
            console.print(line, soft_wrap=True)
    fit = [host.name for host in outcome.hosts if host.status in ("ok", "changed")]
    if outcome.playbook == "preflight" and len(outcome.hosts) > len(fit) > 0:
        complain(
            f"nothing was installed on any of them; to go on without the others: --limit {','.join(fit)}"
        )


def _line(host: HostOutcome, *, check: bool) -> str:
    if host.status == "unreachable":
        return f"{host.name}: {host.message}"
    if host.status == "failed":
        return f'{host.name}: "{host.task}" failed: {host.message}'
    number = len(host.changed)
    did = f"{number} step{'s' if number != 1 else ''} would change" if check else f"{number} changed"
    if host.reboot_needed and not check:
        return f"{host.name}: {did}; reboot it, then run the same command: it goes on where it stopped"
    verdict = f"; it says of itself: {host.verdict}" if host.verdict else ""
    return f"{host.name}: {did}{verdict}"
