"""`dlbox plan --host all`: the plans of several hosts of an inventory, boxes alike on one line."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.table import Table
from rich.text import Text

from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_OK, Complain
from provision.commands import plan
from provision.commands.plan import SCHEMA_VERSION
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Stack


def tell(outcomes: dict[str, Stack | NoStack], data: StackData, *, as_json: bool, complain: Complain) -> int:
    """0: every host has a stack; 1: one has none, and the others are shown all the same."""
    missing = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, NoStack)}
    if as_json:
        json.dump(document(outcomes), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show({n: o for n, o in outcomes.items() if isinstance(o, Stack)}, data, Console())
    for name, outcome in missing.items():
        complain(f"{name}: {outcome.because}")
        if outcome.nearest is not None:
            complain(f"{name}: {plan.nearest_sentence(outcome, data)}")
    return EXIT_FAILED if missing else EXIT_OK


def document(outcomes: dict[str, Stack | NoStack]) -> dict[str, Any]:
    """Host -> what `dlbox plan --json` says of one."""
    hosts = {}
    for name, outcome in outcomes.items():
        body = plan.document(outcome)
        hosts[name] = {key: body[key] for key in body if key not in ("schema_version", "command")}
    return {"schema_version": SCHEMA_VERSION, "command": "plan", "hosts": hosts}


def _show(stacks: dict[str, Stack], data: StackData, console: Console) -> None:
    if not stacks:
        return
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("hosts", overflow="fold", max_width=22)
    for title in ("cards", "on", "driver", "Python"):
        table.add_column(title, overflow="fold")
    table.add_column("frameworks", no_wrap=True)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, stack in stacks.items():
        alike.setdefault(_cells(stack, data), []).append(name)
    for cells, names in alike.items():
        table.add_row(Text(", ".join(names)), *(Text(cell) for cell in cells))
    console.print(table)
    said: dict[str, list[str]] = {}
    for name, stack in stacks.items():
        for warning in stack.warnings:
            said.setdefault(warning, []).append(name)
    for warning, names in said.items():
        who = "all" if len(names) == len(stacks) > 1 else ", ".join(names)
        console.print(Text.assemble(("! ", "yellow"), f"{who}: {warning}"))
    console.print("`dlbox plan --host HOST` gives packages and reasons.")


def _cells(stack: Stack, data: StackData) -> tuple[str, ...]:
    row = data.distribution(stack.distribution)
    return (
        plan.spoken(stack.cards) or "none",
        row.name if row else stack.distribution,
        f"{stack.driver.branch} {stack.driver.flavour}" if stack.driver else "-",
        stack.python.version,
        "\n".join(f"{each} {_version(stack, each)}" for each in stack.environments),
    )


def _version(stack: Stack, framework: str) -> str:
    packages = stack.environments[framework]
    return packages.get(framework) or next(iter(packages.values()))
