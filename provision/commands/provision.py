"""`dlbox provision`: plan, confirm, install and verify; or undo an installation, or collect a bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from common.command_line.json_output import print_json
from common.terminal.console import Console
from provision.ansible import variables
from provision.ansible.outcome import PlaybookOutcome
from provision.ansible.playbook import THIS_MACHINE, PlaybookJob
from provision.artifacts.bundle import BundleError
from provision.artifacts.lockfiles import LockError
from provision.artifacts.own_wheel import WheelError
from provision.commands import bundle
from provision.commands.install import ProvisionRun
from provision.commands.interaction import Interaction
from provision.commands.options import (
    ProvisionOptions,
    collects,
    conflict,
    inventories,
    limited,
    would_replace_itself,
)
from provision.commands.plan_requests import PlanOptions
from provision.commands.provision_output import is_good, print_outcome
from provision.hosts.hosts import HostError, host_names, select
from provision.resolve.load import DEFAULT_PATH, StackFileError, load
from provision.resolve.rows import StackData


def run(options: ProvisionOptions, interaction: Interaction) -> int:
    """Run the command. 0: every box reports that it is ready; 1: at least one does not; 2: the options are invalid."""
    print_error = interaction.print_error
    problem = conflict(options)
    if problem is None and interaction.confirm is None and not options.check:
        problem = "stdin is not a terminal, so nobody can confirm: pass --yes, or --check for a dry run"
    if problem is not None:
        print_error(problem)
        return EXIT_USAGE
    try:
        data = load(options.stack_file or DEFAULT_PATH)
        if (options.inventory is not None or options.limit) and not options.hosts:
            options = msgspec.structs.replace(options, hosts=host_names(options.inventory))
        if options.limit:
            options = msgspec.structs.replace(options, hosts=limited(options), limit=())
        paths = inventories(options)
    except (HostError, StackFileError) as error:
        print_error(str(error).rstrip("."))
        return EXIT_USAGE
    if options.bundle is not None and collects(options.bundle, options.cards):
        plan_options = PlanOptions(
            cards=options.cards, distro=options.distro, hosts=options.hosts, inventory=options.inventory,
            frameworks=options.frameworks, cuda_toolkit=options.cuda_toolkit, flavour=options.flavour,
            branch=options.branch, pypi_only=options.pypi_only, use=options.use,
        )  # fmt: skip
        return bundle.run(plan_options, data, options.bundle, interaction, jupyter=options.jupyter)
    if not options.check and would_replace_itself(options):
        print_error(
            "this dlbox was installed by `dlbox provision`, which would now remove it while it runs: run it from "
            "a copy of its repository (./dlbox provision), or from another machine"
        )
        return EXIT_USAGE
    return _install(options, data, paths, interaction)


def _install(
    options: ProvisionOptions, data: StackData, paths: tuple[Path, ...], interaction: Interaction
) -> int:
    print_error = interaction.print_error
    console = Console(quiet=interaction.as_json)
    try:
        hosts = select(options.hosts, options.inventory) if options.hosts else (THIS_MACHINE,)
        job = PlaybookJob(
            playbook=Path("preflight.yml"),
            inventories=paths,
            limit=",".join(hosts) if options.hosts else None,
            hosts=hosts,
            check=options.check,
            variables={name: variables.distributions(data) for name in hosts},
        )
        outcome = ProvisionRun(options, data, interaction, console).run(job)
    except (LockError, WheelError, BundleError) as error:
        print_error(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        print_error("to continue, run the same command again")
        raise
    if outcome is None:
        print_error("nothing was changed")
        return EXIT_FAILED
    succeeded = is_success(outcome)
    if interaction.as_json:
        print_json("provision", {"succeeded": succeeded, **msgspec.to_builtins(outcome)})
    print_outcome(outcome, console, print_error)
    return EXIT_OK if succeeded else EXIT_FAILED


def is_success(outcome: PlaybookOutcome) -> bool:
    """Whether no task failed, no box waits for a reboot, and no box reports that it is not ready."""
    return outcome.succeeded and all(is_good(host) for host in outcome.hosts)
