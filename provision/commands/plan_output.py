"""Print plans: one in full with its reasons, several as a table, or as the content of a JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from common.terminal.console import Console
from provision.resolve.model import Reason
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Stack

CPU_ONLY = "No NVIDIA card on the PCI bus: the plan contains only the CPU builds of the frameworks."
NO_CARD_COUNTS = "No card counts, as requested: the plan contains only the CPU builds of the frameworks."


def plan_content(outcome: Stack | NoStack) -> dict[str, Any]:
    """The content of `dlbox plan --json` for one box, without the envelope."""
    if isinstance(outcome, NoStack):
        nearest = msgspec.to_builtins(outcome.nearest) if outcome.nearest else None
        choices = {"choices": msgspec.to_builtins(outcome.choices)} if outcome.choices else {}
        return {"error": outcome.error, "nearest": nearest, **choices}
    body: dict[str, Any] = msgspec.to_builtins(outcome)
    return body if outcome.cards else {"message": _cpu_only(outcome), **body}


def _cpu_only(stack: Stack) -> str:
    return NO_CARD_COUNTS if stack.unused_cards else CPU_ONLY


def print_plan(stack: Stack, data: StackData, console: Console) -> None:
    """Print one plan: each choice with its reason, then packages, constraints and warnings."""
    print_title(stack, data, console)
    console.print(_reasons_table(stack.reasons))
    if stack.driver is not None:
        _print_list("Packages, in this order", stack.driver.packages, console)
        repository = stack.driver.repository
        if repository is not None:
            _print_list("From", (repository.uri, f"key {repository.fingerprint}"), console)
    for name, requirements in stack.requirements.items():
        index = (f"from {stack.indexes[name]}",) if name in stack.indexes else ()
        _print_list(f"Environment {name}", (*requirements, *index), console)
    _print_list("Constraints in every environment", stack.constraints, console)
    console.print(Text("Sources:"))
    for source in dict.fromkeys(reason.source for reason in stack.reasons):
        console.print(Text(f"  {source}", overflow="fold"))
    for warning in stack.warnings:
        console.print(Text.assemble(("! ", "yellow"), warning))
    console.print(f"Stack data of {stack.data_date}.", style="dim", highlight=False)


def print_title(stack: Stack, data: StackData, console: Console) -> None:
    """Print the cards and the distribution of a plan."""
    row = data.distribution(stack.distribution)
    cards = card_list(stack.cards) or "CPU only"
    console.print(Text(f"{cards} on {row.name if row else stack.distribution}", style="bold"))
    if not stack.cards:
        console.print(_cpu_only(stack), highlight=False)


def print_plans(stacks: Mapping[str, Stack], data: StackData, console: Console) -> None:
    """Print the plans of several hosts (name -> plan) as a table; hosts with the same plan share a row."""
    if not stacks:
        return
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("hosts", overflow="fold", max_width=22)
    for title in ("cards", "on", "driver", "Python"):
        table.add_column(title, overflow="fold")
    table.add_column("frameworks", no_wrap=True)
    hosts_of: dict[tuple[str, ...], list[str]] = {}
    for name, stack in stacks.items():
        hosts_of.setdefault(_cells(stack, data), []).append(name)
    for cells, names in hosts_of.items():
        table.add_row(Text(", ".join(names)), *(Text(cell) for cell in cells))
    console.print(table)
    warnings: dict[str, list[str]] = {}
    for name, stack in stacks.items():
        for warning in stack.warnings:
            warnings.setdefault(warning, []).append(name)
    for warning, names in warnings.items():
        who = "all" if len(names) == len(stacks) > 1 else ", ".join(names)
        console.print(Text.assemble(("! ", "yellow"), f"{who}: {warning}"))
    console.print("`dlbox plan --verbose --host HOST` shows packages and reasons.")


def nearest_sentence(outcome: NoStack, data: StackData) -> str:
    """One sentence about the most similar box that has a plan; empty if there is no such box."""
    nearest = outcome.nearest
    if nearest is None:
        return ""
    row = data.distribution(nearest.distribution)
    driver = f", driver {nearest.driver_branch} {nearest.driver_flavour}" if nearest.driver_branch else ""
    cards = card_list(nearest.cards) or "no card"
    where = row.name if row else nearest.distribution
    return (
        f"the nearest plan that works: {nearest.description} "
        f"({cards} on {where}{driver}, {', '.join(nearest.frameworks)})"
    )


def card_list(names: tuple[str, ...]) -> str:
    """Names of the cards, as in "2 x GeForce RTX 3060 12GB and TITAN V"."""
    return " and ".join(name if count == 1 else f"{count} x {name}" for name, count in Counter(names).items())


def _reasons_table(reasons: tuple[Reason, ...]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("what", overflow="fold", max_width=14)
    table.add_column("choice", overflow="fold", max_width=22)
    table.add_column("why", overflow="fold")
    for reason in reasons:
        known = "" if reason.verified == "measured" else f" ({reason.verified})"
        table.add_row(reason.topic, Text(reason.choice), Text(f"{reason.why}{known}"))
    return table


def _print_list(title: str, items: tuple[str, ...], console: Console) -> None:
    console.print(Text(f"{title}: {' '.join(items)}"))


def _cells(stack: Stack, data: StackData) -> tuple[str, ...]:
    row = data.distribution(stack.distribution)
    return (
        card_list(stack.cards) or "none",
        row.name if row else stack.distribution,
        f"{stack.driver.branch} {stack.driver.flavour}" if stack.driver else "-",
        stack.python.version,
        "\n".join(f"{each} {_version(stack, each)}" for each in stack.environments),
    )


def _version(stack: Stack, framework: str) -> str:
    packages = stack.environments[framework]
    return packages.get(framework) or next(iter(packages.values()))
