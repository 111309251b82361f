"""`dlbox parts`: check a bill of materials and print it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

import msgspec
from rich.table import Table
from rich.text import Text

from bench.finding import Finding, Status
from bench.results.store.card_power import remembered_power
from bench.results.terminal.results import STYLES
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from common.command_line.json_output import print_json
from common.terminal.console import Console
from inventory import gather
from inventory.builds import bill, judge, this_machine
from inventory.builds.bill import Bill
from inventory.builds.judge import Judgement


def run(
    build: str | None, *, this: bool, budget: float | None, as_json: bool, complain: Callable[[str], None]
) -> int:
    """List the builds, check one, or compare one with this machine; returns the exit code."""
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        complain("--budget must be an amount in US dollars above 0")
        return EXIT_USAGE
    if budget is not None and build is None:
        complain("--budget needs a build: `dlbox parts` lists them")
        return EXIT_USAGE
    try:
        if build is None and not this:
            return _list(bill.shipped(), as_json)
        chosen = bill.open_bill(build) if build is not None else None
    except bill.BillError as error:
        complain(str(error))
        return EXIT_USAGE
    judgements: tuple[Judgement, ...] = ()
    if chosen is not None:
        judgements += judge.judge_bill(
            chosen, today=datetime.datetime.now(datetime.UTC).date(), budget_usd=budget
        )
    if this:
        machine = gather.gather()
        power, when = this_machine.load_power(machine), "as measured under load"
        if not power.ok and machine.gpus:
            remembered, then = remembered_power(machine)
            power, when = (remembered, then) if remembered.ok else (power, when)
        judgements += this_machine.judge_machine(
            machine, chosen, power, this_machine.power_limit(machine), when
        )
    findings = tuple(finding(judgement) for judgement in judgements)
    if as_json:
        described = _described(chosen) if chosen else None
        print_json("parts", {"build": described, "findings": msgspec.to_builtins(findings)})
    else:
        _show(chosen, findings, Console())
    return EXIT_FAILED if judge.worst_status(judgements) in ("fail", "unknown") else EXIT_OK


def finding(judgement: Judgement) -> Finding:
    """A judgement of ``inventory.builds`` as the Finding that every command prints."""
    fields = msgspec.structs.asdict(judgement)
    return Finding(**{**fields, "status": Status(judgement.status)})


def _list(bills: tuple[Bill, ...], as_json: bool) -> int:
    if as_json:
        print_json("parts", {"builds": [_described(b) for b in bills]})
        return EXIT_OK
    table = Table(title="Builds that come with dlbox", title_justify="left", title_style="bold")
    table.add_column("build")
    table.add_column("what")
    table.add_column("total", justify="right")
    table.add_column("budget", justify="right")
    table.add_column("prices of")
    for one in bills:
        marked = one.priced_on.isoformat() + (f", {one.estimates} estimated" if one.estimates else "")
        budget = f"${one.budget_usd:,.0f}" if one.budget_usd else "-"
        table.add_row(one.name, one.title, f"${one.total_usd:,.2f}", budget, marked)
    console = Console()
    console.print(table)
    console.print("`dlbox parts BUILD` checks one of them, or a file of yours.")
    return EXIT_OK


def _show(chosen: Bill | None, findings: tuple[Finding, ...], console: Console) -> None:
    if chosen is not None:
        console.print(_parts_table(chosen))
        if chosen.note:
            console.print(Text(f"Note: {chosen.note}"), soft_wrap=not console.is_terminal)
    for one in findings:
        line = Text.assemble(
            (f"{one.status.value.upper():8}", STYLES[one.status]), f"{one.title}: {one.message}"
        )
        console.print(line, soft_wrap=not console.is_terminal)
        if one.remedy:
            console.print(Text(f"     ->  {one.remedy}"), soft_wrap=not console.is_terminal)


def _parts_table(chosen: Bill) -> Table:
    table = Table(title=Text(chosen.title, style="bold"), title_justify="left", show_footer=True)
    table.add_column("part", footer="total")
    table.add_column("model")
    table.add_column("USD", justify="right", footer=f"{chosen.total_usd:,.2f}")
    table.add_column("price")
    for part in chosen.parts:
        kind = str(part.__struct_config__.tag)
        times = f"{part.quantity} x " if part.quantity > 1 else ""
        seen = (part.priced_on or chosen.priced_on).isoformat() + ("" if part.price_source else ", estimate")
        model = Text(times + part.model + (" (used)" if part.used else ""))
        table.add_row(kind, model, f"{part.cost_usd:,.2f}", seen)
    return table


def _described(chosen: Bill) -> dict[str, object]:
    return {
        "name": chosen.name,
        "title": chosen.title,
        "card": chosen.card.name,
        "total_usd": round(chosen.total_usd, 2),
        "budget_usd": chosen.budget_usd,
        "priced_on": chosen.priced_on.isoformat(),
        "estimated_prices": chosen.estimates,
        "historic": chosen.historic,
        "note": chosen.note,
        "parts": msgspec.to_builtins(chosen.parts),
    }
