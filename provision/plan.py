"""`dlbox plan`: what this box, a host of the inventory or a box that does not exist yet can run, and why."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inventory import cards, facts, families
from inventory.machine import Machine
from inventory.reading import Reading
from provision import distributions
from provision.hosts import HostError, HostFacts, read_host
from provision.stack import NoStack, Request, Stack, Target, resolve
from provision.stack_data import DEFAULT_PATH, StackFileError, load
from provision.stack_model import Reason
from provision.stack_rows import Framework, StackData

EXIT_STACK, EXIT_NONE, EXIT_USAGE = 0, 1, 2
SCHEMA_VERSION = 1
CPU_ONLY = "No NVIDIA card on the bus: there is nothing to install but the CPU frameworks."

Complain = Callable[[str], None]
"""Says one sentence on stderr."""


class UsageError(ValueError):
    """The question cannot be understood; the message is one sentence."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `dlbox plan`."""

    cards: tuple[str, ...] = ()
    distro: str | None = None
    host: str | None = None
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
        request = understand(question, data)
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
            complain(_nearest_sentence(outcome, data))
    else:
        show(outcome, data, Console())
    return EXIT_NONE if isinstance(outcome, NoStack) else EXIT_STACK


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
    _refuse_empty(question)
    if question.host is not None:
        if question.cards or question.distro:
            raise UsageError(
                "--host takes card and distribution from the inventory: leave out --card and --distro"
            )
        return _of_host(read_host(question.host, question.inventory), question, data)
    distribution = _distribution(question.distro, data) if question.distro else None
    if question.cards and distribution:
        request = Request(distribution=distribution, targets=targets(question.cards))
    else:
        request = of_machine(facts.gather())
        if question.cards:
            request = msgspec.structs.replace(request, targets=targets(question.cards), secure_boot=None)
        elif distribution:
            request = msgspec.structs.replace(request, distribution=distribution, kernel="")
    return _with_wishes(request, question)


_KERNEL = re.compile(r"\d+\.\d[0-9A-Za-z.+_~-]*", re.ASCII)


def _refuse_empty(question: Question) -> None:
    for option, said in (
        ("--distro", question.distro),
        ("--host", question.host),
        ("--kernel", question.kernel),
    ):
        if said is not None and (said or option != "--kernel") and not said.strip():
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


def _of_host(host: HostFacts, question: Question, data: StackData) -> Request:
    names = host.card_names
    if names is None and host.is_this_machine:
        request = of_machine(facts.gather())
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


_TIMES = re.compile(r"([1-9]|1[0-6])\s*x\s+(?=\D)", re.IGNORECASE)


def targets(names: tuple[str, ...]) -> tuple[Target, ...]:
    """Cards as people name them, "2 x RTX 3060" being two, or by PCI id. Raises UnknownCard."""
    found: list[Target] = []
    for name in names:
        times = _TIMES.match(name.strip())
        one = _target(name.strip()[times.end() :] if times else name)
        found += [one] * (int(times[1]) if times else 1)
    return tuple(found)


def _target(name: str) -> Target:
    """A card of the catalogue, or one that is known by its family only. Raises UnknownCard."""
    try:
        card = cards.find(name)
    except cards.UnknownCard:
        shown = " ".join(name.split())[:60]
        maker = families.other_maker(name)
        if maker is not None:
            return Target(name=shown, architecture=None, maker=maker)
        device_id = cards.id_in(name)
        if device_id is None:
            family = families.of_name(name)
        elif cards.is_companion_id(device_id) or device_id > _NEWEST_ID:
            raise
        else:
            family, shown = families.of_id(device_id), f"10de:{device_id:04x}"
        if family is None and device_id is None:
            raise
        return Target(name=shown, architecture=family)
    return Target(name=card.name, architecture=card.architecture, capability=card.compute_capability)


_NEWEST_ID = 0x3FFF


def of_machine(machine: Machine) -> Request:
    """This machine as a request: cards from the PCI bus (under WSL2, from NVML), without any driver."""
    host = machine.host
    found = []
    for card in machine.cards:
        gpu = machine.gpu_of(card)
        found.append(
            _read(gpu.name if gpu else None, card.device_id, gpu.memory_total_bytes if gpu else None)
        )
    if not machine.cards:
        found = [_read(gpu.name, gpu.pci_device_id.value, gpu.memory_total_bytes) for gpu in machine.gpus]
    boot = host.secure_boot
    return Request(
        distribution=f"{host.distribution.id}-{host.distribution.version}".rstrip("-"),
        targets=tuple(found),
        kernel=host.kernel,
        secure_boot=boot.value if boot.ok else False if boot.state == "not-supported" else None,
        machine_type=host.architecture,
        environment=host.environment,
    )


def _read(name: Reading[str] | None, device_id: int | None, memory: Reading[int] | None) -> Target:
    text = name.value if name is not None and name.ok else None
    card = cards.match(text, device_id, memory.value if memory is not None and memory.ok else None)
    if card is not None:
        return Target(name=card.name, architecture=card.architecture, capability=card.compute_capability)
    shown = text or (f"10de:{device_id:04x}" if device_id is not None else "an unnamed card")
    return Target(name=shown, architecture=families.of_id(device_id) if device_id is not None else None)


def _nearest_sentence(outcome: NoStack, data: StackData) -> str:
    nearest = outcome.nearest
    if nearest is None:
        return ""
    row = data.distribution(nearest.distribution)
    driver = f", driver {nearest.driver_branch} {nearest.driver_flavour}" if nearest.driver_branch else ""
    what = _spoken(nearest.cards) or "no card"
    where = row.name if row else nearest.distribution
    return f"nearest that does: {nearest.description} ({what} on {where}{driver}, {', '.join(nearest.frameworks)})"


def _spoken(names: tuple[str, ...]) -> str:
    """ "2 x GeForce RTX 3060 12GB and TITAN V"."""
    return " and ".join(name if count == 1 else f"{count} x {name}" for name, count in Counter(names).items())


def show(stack: Stack, data: StackData, console: Console) -> None:
    """The plan for a person: what, which, why; then the packages, the constraints and the warnings."""
    row = data.distribution(stack.distribution)
    what = _spoken(stack.cards) or "CPU only"
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
