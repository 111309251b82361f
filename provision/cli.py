"""The click commands `dlbox plan` and `dlbox provision`; imported only when one of them is used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from common.backends import BACKENDS
from common.command_line.click_types import (
    CommaSeparatedChoice,
    Folder,
    NamedPath,
    WholeNumber,
    comma_list,
    merge_lists,
)
from common.command_line.exit_codes import EXIT_USAGE
from common.command_line.grouped_command import GroupedCommand
from common.command_line.messages import print_error
from common.command_line.options import json_option, report_option
from common.terminal.shown import sentence

TAGS = ("driver", "cuda", "frameworks", "cudnn", "dlbox", "jupyter", "verify")
"""Parts of the installation that --tags selects."""

_FILE = NamedPath(path_type=Path, dir_okay=False)

_FLAVOUR = click.option(
    "--flavour",
    type=click.Choice(("open", "closed")),
    help="The variant of the kernel modules.  [default: selected by card, kernel and distribution]",
)
_BRANCH = click.option(
    "--branch",
    type=WholeNumber(1, 9999),
    metavar="N",
    help="The driver branch, as in 580.  [default: selected by card, kernel and distribution]",
)
_PYPI_ONLY = click.option(
    "--pypi-only",
    is_flag=True,
    help="Use no package index except PyPI or the mirror that replaces it.",
)


@click.command(
    "plan",
    cls=GroupedCommand,
    groups={
        "Which computer": (
            "--card",
            "--use",
            "--distro",
            "--kernel",
            "--secure-boot",
            "--from",
            "--host",
            "--inventory",
        ),
        "What to install": ("--framework", "--cuda-toolkit", "--flavour", "--branch", "--pypi-only", "--stack"),
        "Output": ("--verbose", "--json"),
    },
)  # fmt: skip
@click.option(
    "--card",
    "cards",
    multiple=True,
    metavar="NAME",
    help='A card, as in "RTX 3060" or 10de:2503; may be repeated.',
)
@click.option("--distro", metavar="NAME", help="The distribution, as in ubuntu-24.04 or debian-12.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host or group of the inventory, or `all`; may be repeated.",
)
@click.option(
    "--inventory",
    type=_FILE,
    help="The inventory file; without --host, all its hosts.  [default: inventory/hosts.yml]",
)
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    type=click.Choice(BACKENDS),
    help="A framework that the plan must contain; may be repeated.  [default: all that run on the card]",
)
@click.option(
    "--secure-boot/--no-secure-boot",
    default=None,
    help="Whether Secure Boot is on.  [default: as read from the machine, else unknown]",
)
@click.option(
    "--kernel",
    metavar="RELEASE",
    help="The kernel, as `uname -r` prints it.  [default: as read from the machine]",
)
@click.option("--cuda-toolkit", is_flag=True, help="Add a system CUDA toolkit, for compiling CUDA programs.")
@click.option(
    "--use",
    multiple=True,
    metavar="CARD",
    help="A card to train on: name, index, PCI address or none; may be repeated.  [default: every card that can train]",
)
@click.option(
    "--stack",
    "stack_file",
    type=_FILE,
    help="A newer table of versions than the built-in one.",
)
@_FLAVOUR
@_BRANCH
@_PYPI_ONLY
@report_option("Plan for another computer by its report, as for `dlbox check --from`; `-` is stdin.")
@click.option("--verbose", is_flag=True, help="Show every package, with reasons, constraints and sources.")
@json_option
def plan_command(as_json: bool, verbose: bool, **options: Any) -> None:
    """Show which driver, CUDA, cuDNN and frameworks fit this machine or a described one, and why."""
    from provision.commands import plan
    from provision.commands.plan_requests import PlanOptions

    if options["kernel"] == "":
        print_error("--kernel is empty")
        sys.exit(EXIT_USAGE)
    options["kernel"] = options["kernel"] or ""
    sys.exit(plan.run(PlanOptions(**options), as_json=as_json, print_error=print_error, verbose=verbose))


@click.command(
    "provision",
    cls=GroupedCommand,
    groups={
        "Which computers": ("--inventory", "--limit", "--use"),
        "What to install": (
            "--framework", "--cuda-toolkit", "--jupyter", "--tags", "--flavour", "--branch", "--pypi-only", "--stack",
            "--enrol-key",
        ),
        "How": ("--check", "--reboot", "--rollback"),
        "Offline installation": ("--bundle", "--card", "--distro"),
        "Questions and passwords": ("--yes", "--ask-become-pass", "--ask-vault-pass"),
        "Output": ("--json",),
    },
)  # fmt: skip
@click.argument("hosts", nargs=-1, metavar="[HOST]...", callback=merge_lists)
@click.option("--inventory", type=_FILE,
              help="The inventory file; without HOSTs, all its hosts.  [default: inventory/hosts.yml]")  # fmt: skip
@click.option("--limit", metavar="HOSTS", callback=comma_list,
              help="Restrict the run to these of the selected hosts; separate several with commas.")  # fmt: skip
@click.option("--framework", "frameworks", multiple=True, type=CommaSeparatedChoice(BACKENDS), callback=merge_lists,
              help="Install only this framework; may be repeated.  [default: all that run on the card]")  # fmt: skip
@click.option("--cuda-toolkit", is_flag=True, help="Add a system CUDA toolkit, for compiling CUDA programs.")
@click.option("--tags", multiple=True, callback=merge_lists, type=CommaSeparatedChoice(TAGS),
              help="Only this part; may be repeated, or several with commas between them.")  # fmt: skip
@click.option("--stack", "stack_file", type=_FILE, help="A newer table of versions than the built-in one.")
@_FLAVOUR
@_BRANCH
@_PYPI_ONLY
@click.option("--jupyter/--no-jupyter", default=True, show_default=True,
              help="Install JupyterLab as a service.")  # fmt: skip
@click.option("--check", is_flag=True, help="Dry run: change nothing, show what would change.")
@click.option("--reboot", is_flag=True, help="Reboot hosts that need it; never this machine.")
@click.option("--enrol-key", is_flag=True,
              help="With Secure Boot: prepare the firmware to trust modules compiled on the box.")  # fmt: skip
@click.option("--rollback", is_flag=True, help="Undo everything that dlbox recorded as installed.")
@click.option("--bundle", type=Folder(), metavar="DIR",
              help="Collect all files for the box in DIR; if DIR is complete, install from it offline.")  # fmt: skip
@click.option("--card", "cards", multiple=True, metavar="NAME",
              help="With --bundle: collect for a box with this card.")  # fmt: skip
@click.option("--distro", metavar="NAME",
              help="With --bundle: collect for this distribution, as in ubuntu-24.04.")  # fmt: skip
@click.option("--use", multiple=True, metavar="CARD",
              help="Card to train on: name, index, PCI address or none; repeatable.  [default: all]")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--ask-become-pass", is_flag=True, help="Ask for the sudo password of the hosts.")
@click.option("--ask-vault-pass", is_flag=True, help="Ask for the password of the inventory's Ansible vault.")
@json_option
def provision_command(
    yes: bool, ask_become_pass: bool, ask_vault_pass: bool, as_json: bool, **options: Any
) -> None:
    """Install driver, frameworks and dlbox as planned, on this machine or on HOSTs of the inventory; verify each."""
    from common.terminal.progress import ProgressDisplay
    from provision.ansible import passwords
    from provision.commands import provision
    from provision.commands.interaction import Interaction
    from provision.commands.options import ProvisionOptions, collects
    from provision.hosts.hosts import HostError, select

    confirm = _agree if yes else _ask if sys.stdin.isatty() else None
    this_machine = not options["hosts"] and not options["limit"] and options["inventory"] is None
    installs_here = this_machine and not collects(options["bundle"], options["cards"])
    installs_here = installs_here and (confirm is not None or options["check"])
    try:
        if options["hosts"]:
            select(
                options["hosts"], options["inventory"]
            )  # an unknown host is named before a password is asked
    except HostError as error:
        print_error(str(error).rstrip("."))
        sys.exit(2)
    try:
        secrets = passwords.ask(become=ask_become_pass, vault=ask_vault_pass, here=installs_here)
    except passwords.PasswordError as error:
        print_error(str(error))
        sys.exit(1)
    interaction = Interaction(ProgressDisplay, confirm, print_error, as_json)
    sys.exit(provision.run(ProvisionOptions(secrets=secrets, **options), interaction))


def _agree(question: str) -> bool:
    return True


def _ask(question: str) -> bool:
    return click.confirm(sentence(question), err=True)
