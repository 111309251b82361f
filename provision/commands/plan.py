"""`dlbox plan`: what this box, a host of the inventory or a box that does not exist yet can run, and why."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from inventory import gather
from inventory.cards import cards
from provision.hosts.hosts import HostError, Inventory, default_place, read_host, select
from provision.resolve import distributions
from provision.resolve.box_reading import ReadingError
from provision.resolve.boxes import of_machine, targets
from provision.resolve.load import DEFAULT_PATH, StackFileError, load
from provision.resolve.model import Reason
from provision.resolve.rows import Framework, StackData
from provision.resolve.stack import NoStack, Request, Stack, resolve

SCHEMA_VERSION = 1
_HOST_ALONE = "--host and --inventory bring card and distribution: leave out --card and --distro"
CPU_ONLY = "No NVIDIA card on the bus: there is nothing to install but the CPU frameworks."


class UsageError(ValueError):
    """The question cannot be understood; the message is one sentence."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `dlbox plan`."""

    cards: tuple[str, ...] = ()
    distro: str | None = None
    hosts: tuple[str, ...] = ()
    """Of the inventory: names, patterns, groups or "all"."""
    inventory: Path | None = None
    frameworks: tuple[Framework, ...] = ()
    secure_boot: bool | None = None
    kernel: str = ""
    cuda_toolkit: bool = False
    stack_file: Path | None = None


def plan(question: Question, *, as_json: bool, complain: Complain) -> int:
    """Print the plan. 0: there is a stack; 1: none exists; 2: the question names what does not exist."""
    try:
        data = load(question.stack_file or DEFAULT_PATH)
        _refuse_empty(question)
        if question.hosts or question.inventory is not None:
            if question.cards or question.distro:
                raise UsageError(_HOST_ALONE)
            inventory = Inventory(question.inventory or default_place())
            names = select(question.hosts or ("all",), inventory)
            if names != question.hosts or len(names) > 1:
                return _room(question, names, inventory, data, as_json=as_json, complain=complain)
        request = understand(question, data)
    except ReadingError as error:
        complain(f"this machine: {error}")
        return EXIT_FAILED
    except (UsageError, StackFileError, HostError, cards.UnknownCard) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    outcome = resolve(request, data)
    if as_json:
        json.dump(document(outcome), sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif isinstance(outcome, NoStack):
        complain(outcome.error)
        if outcome.nearest is not None:
            complain(nearest_sentence(outcome, data))
    else:
        show(outcome, data, Console(highlight=True))
    return EXIT_FAILED if isinstance(outcome, NoStack) else EXIT_OK


def _room(
    question: Question,
    names: tuple[str, ...],
    inventory: Inventory,
    data: StackData,
    *,
    as_json: bool,
    complain: Complain,
) -> int:
    from provision.commands import plan_room

    outcomes: dict[str, Stack | NoStack] = {}
    known: dict[Request, Stack | NoStack] = {}  # boxes alike have one answer
    for name in names:
        try:
            request = of_host(name, question, data, inventory)
            outcomes[name] = known.get(request) or known.setdefault(request, resolve(request, data))
        except (UsageError, HostError, ReadingError, cards.UnknownCard) as error:
            outcomes[name] = NoStack(because=str(error).rstrip("."), nearest=None)
    return plan_room.tell(outcomes, data, as_json=as_json, complain=complain)


def document(outcome: Stack | NoStack) -> dict[str, Any]:
    """The outcome as JSON wants it."""
    head: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "command": "plan"}
    if isinstance(outcome, NoStack):
        nearest = msgspec.to_builtins(outcome.nearest) if outcome.nearest else None
        return {**head, "error": outcome.error, "nearest": nearest}
    body: dict[str, Any] = msgspec.to_builtins(outcome)
    return {**head, **body} if outcome.cards else {**head, "message": CPU_ONLY, **body}


def understand(question: Question, data: StackData) -> Request:
    """The request behind the command line: a host of the inventory, a box in words, or this machine."""
    if question.hosts:
        if question.cards or question.distro:
            raise UsageError(_HOST_ALONE)
        return of_host(question.hosts[0], question, data)
    distribution = _distribution(question.distro, data) if question.distro else None
    if question.cards and distribution:
        request = Request(distribution=distribution, targets=targets(question.cards))
    else:
        request = of_machine(gather.gather())
        if question.cards:
            request = msgspec.structs.replace(request, targets=targets(question.cards), secure_boot=None)
        elif distribution:
            request = msgspec.structs.replace(request, distribution=distribution, kernel="")
    return _with_wishes(request, question)


_KERNEL = re.compile(r"\d+\.\d[0-9A-Za-z.+_~-]*", re.ASCII)


def _refuse_empty(question: Question) -> None:
    given = [("--distro", question.distro), ("--kernel", question.kernel or None)]
    for option, said in (*given, *(("--host", host) for host in question.hosts)):
        if said is not None and not said.strip():
            raise UsageError(f"{option} is empty")


def _distribution(name: str, data: StackData) -> str:
    try:
        return distributions.understand(name, data)
    except distributions.UnclearDistributionError as error:
        raise UsageError(str(error)) from None


def _kernel(release: str) -> str:
    """Goes into package names, so only what a kernel can be called."""
    release = release.strip()
    if release and not _KERNEL.fullmatch(release):
        raise UsageError(
            f'the kernel "{release[:60]}" is not as `uname -r` prints one: 6.8.0-151-generic or 6.1.0-40-amd64'
        )
    return release


def _with_wishes(request: Request, question: Question) -> Request:
    """What the command line says wins over what was read."""
    return msgspec.structs.replace(
        request,
        frameworks=question.frameworks or request.frameworks,
        secure_boot=request.secure_boot if question.secure_boot is None else question.secure_boot,
        kernel=_kernel(question.kernel) or request.kernel,
        cuda_toolkit=question.cuda_toolkit or request.cuda_toolkit,
    )


def of_host(name: str, question: Question, data: StackData, inventory: Inventory | None = None) -> Request:
    """A host of the inventory as a request. Raises HostError, UsageError, UnknownCard.

    ``inventory``: where it was read already.
    """
    host = read_host(name, inventory or question.inventory)
    names = host.card_names
    if names is None and host.is_this_machine:
        request = of_machine(gather.gather())
    elif names is None or host.distribution is None:
        lacking = " and ".join(
            text
            for text, missing in (
                ("`card: RTX 3060`", names is None),
                ("`distribution: ubuntu-24.04`", host.distribution is None),
            )
            if missing
        )
        raise UsageError(
            f'the inventory does not say enough of "{host.name}": put {lacking} into host_vars/{host.name}.yml, '
            "or run `dlbox plan` on it"
        )
    else:
        request = Request(distribution=_distribution(host.distribution, data), targets=targets(names))
    request = msgspec.structs.replace(
        request,
        kernel=_kernel(host.kernel) or request.kernel,
        secure_boot=request.secure_boot if host.secure_boot is None else host.secure_boot,
        frameworks=host.frameworks,
        cuda_toolkit=host.cuda_toolkit,
    )
    return _with_wishes(request, question)


def nearest_sentence(outcome: NoStack, data: StackData) -> str:
    nearest = outcome.nearest
    if nearest is None:
        return ""
    row = data.distribution(nearest.distribution)
    driver = f", driver {nearest.driver_branch} {nearest.driver_flavour}" if nearest.driver_branch else ""
    what = spoken(nearest.cards) or "no card"
    where = row.name if row else nearest.distribution
    return f"nearest that does: {nearest.description} ({what} on {where}{driver}, {', '.join(nearest.frameworks)})"


def spoken(names: tuple[str, ...]) -> str:
    """ "2 x GeForce RTX 3060 12GB and TITAN V"."""
    return " and ".join(name if count == 1 else f"{count} x {name}" for name, count in Counter(names).items())


def show(stack: Stack, data: StackData, console: Console) -> None:
    """The plan for a person: what, which, why; then the packages, the constraints and the warnings."""
    row = data.distribution(stack.distribution)
    what = spoken(stack.cards) or "CPU only"
    console.print(Text(f"{what} on {row.name if row else stack.distribution}", style="bold"))
    if not stack.cards:
        console.print(CPU_ONLY, highlight=False)
    console.print(_table(stack.reasons))
    if stack.driver is not None:
        _list("Packages, in this order", stack.driver.packages, console)
        if stack.driver.repository is not None:
            _list(
                "From", (stack.driver.repository.uri, f"key {stack.driver.repository.fingerprint}"), console
            )
    for name, wanted in stack.requirements.items():
        index = (f"from {stack.indexes[name]}",) if name in stack.indexes else ()
        _list(f"Environment {name}", (*wanted, *index), console)
    _list("Constraints everywhere", stack.constraints, console)
    for warning in stack.warnings:
        console.print(Text.assemble(("! ", "yellow"), warning))
    console.print(f"Stack data of {stack.data_date}.", style="dim", highlight=False)


def _table(reasons: tuple[Reason, ...]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("what", overflow="fold", max_width=14)
    table.add_column("choice", overflow="fold", max_width=22)
    table.add_column("why", overflow="fold")
    for reason in reasons:
        known = "" if reason.verified == "measured" else f" ({reason.verified})"
        table.add_row(reason.topic, Text(reason.choice), Text(f"{reason.why}{known}"))
    return table


def _list(title: str, items: tuple[str, ...], console: Console) -> None:
    console.print(Text(f"{title}: {' '.join(items)}"))
