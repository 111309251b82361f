"""`dlbox plan`: the stack for this machine, for hosts of the inventory or for a described box, with reasons."""

from __future__ import annotations

import msgspec
from rich.text import Text

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.terminal.console import Console
from inventory.cards import cards
from inventory.sources.contents import ReportError
from provision.commands import plan_output, plan_summary
from provision.commands.plan_requests import (
    HOST_EXCLUDES_CARD,
    PlanOptions,
    PlanOptionsError,
    refuse_empty,
    request,
    request_of_host,
)
from provision.hosts.hosts import HostError, Inventory, default_inventory, select
from provision.resolve.box_reading import ReadingError
from provision.resolve.hardware.cards_in_use import CardChoiceError
from provision.resolve.load import DEFAULT_PATH, StackFileError, load
from provision.resolve.model import Request
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Stack, resolve


def run(options: PlanOptions, *, as_json: bool, print_error: Complain, verbose: bool = False) -> int:
    """Print the plan, in full with ``verbose``.

    0: a stack exists; 1: none exists; 2: the options name something that does not exist.
    """
    try:
        data = load(options.stack_file or DEFAULT_PATH)
        refuse_empty(options)
        if options.from_path is None and (options.hosts or options.inventory is not None):
            if options.cards or options.distro:
                raise PlanOptionsError(HOST_EXCLUDES_CARD)
            inventory = Inventory(options.inventory or default_inventory())
            names = select(options.hosts or ("all",), inventory)
            if names != options.hosts or len(names) > 1:
                outcomes = _outcomes(names, inventory, options, data)
                return _print_outcomes(outcomes, data, as_json=as_json, print_error=print_error)
        wanted = request(options, data)
        outcome = resolve(wanted, data)
    except ReadingError as error:
        print_error(f"this machine: {error}")
        return EXIT_FAILED
    except (
        PlanOptionsError,
        StackFileError,
        HostError,
        cards.UnknownCard,
        CardChoiceError,
        ReportError,
    ) as error:
        print_error(str(error).rstrip("."))
        return EXIT_USAGE
    if as_json:
        content = plan_output.plan_content(outcome)
        if isinstance(outcome, Stack):
            content["effort"] = msgspec.to_builtins(
                plan_summary.effort(outcome, loaded=wanted.driver_version)
            )
        elif outcome.nearest is not None:
            content["try"] = plan_summary.nearest_command(outcome.nearest, options)
        print_json("plan", content)
    elif isinstance(outcome, NoStack):
        print_error(f"no driver and frameworks fit together here: {outcome.because}")
        if outcome.nearest is not None:
            command = plan_summary.nearest_command(outcome.nearest, options)
            print_error(f"{plan_output.nearest_sentence(outcome, data)}; to see it: {command}")
    else:
        console = Console(highlight=verbose)
        taken = plan_summary.effort(outcome, loaded=wanted.driver_version)
        if verbose:
            plan_output.print_plan(outcome, data, console)
            console.print(
                Text(f"Download: {plan_summary.size_text(taken)}. Next: {plan_summary.next_command(options)}")
            )
        else:
            plan_output.print_title(outcome, data, console)
            plan_summary.print_summary(outcome, taken, console, following=plan_summary.next_command(options))
            console.print(
                "`dlbox plan --verbose` shows every package, with reasons and sources.", style="dim"
            )
    return EXIT_FAILED if isinstance(outcome, NoStack) else EXIT_OK


def _outcomes(
    names: tuple[str, ...], inventory: Inventory, options: PlanOptions, data: StackData
) -> dict[str, Stack | NoStack]:
    """Map each host to its plan, or to the reason why it has none."""
    outcomes: dict[str, Stack | NoStack] = {}
    resolved: dict[Request, Stack | NoStack] = {}  # equal boxes are resolved once
    for name in names:
        try:
            found = request_of_host(name, options, data, inventory)
            if found not in resolved:
                resolved[found] = resolve(found, data)
            outcomes[name] = resolved[found]
        except (PlanOptionsError, HostError, ReadingError, cards.UnknownCard, CardChoiceError) as error:
            outcomes[name] = NoStack(because=str(error).rstrip("."), nearest=None)
    return outcomes


def _print_outcomes(
    outcomes: dict[str, Stack | NoStack], data: StackData, *, as_json: bool, print_error: Complain
) -> int:
    """Print all plans. 0: every host has a stack; 1: at least one host has none."""
    without_stack = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, NoStack)}
    if as_json:
        hosts = {name: plan_output.plan_content(outcome) for name, outcome in outcomes.items()}
        print_json("plan", {"hosts": hosts})
    else:
        stacks = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Stack)}
        plan_output.print_plans(stacks, data, Console())
    for name, outcome in without_stack.items():
        print_error(f"{name}: {outcome.because}")
        if outcome.nearest is not None:
            print_error(f"{name}: {plan_output.nearest_sentence(outcome, data)}")
    return EXIT_FAILED if without_stack else EXIT_OK
