"""The options of `dlbox provision`: check their combination and find the boxes that they select."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from inventory.cards.architectures import Flavour
from provision.ansible.playbook import Secrets
from provision.artifacts import bundle
from provision.clean_text import shown
from provision.hosts import network
from provision.hosts.hosts import HostError, default_inventory, read_host, select
from provision.resolve.rows import Framework

INSTALL_DIR = Path("/opt/dlbox")
_FOLDER = re.compile(r"[^\x00-\x1f\x7f-\x9f\"\\\ud800-\udfff]+")


class ProvisionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `dlbox provision`."""

    hosts: tuple[str, ...] = ()
    """Hosts of the inventory. Empty: all hosts of ``inventory`` if it is given, else this machine."""
    limit: tuple[str, ...] = ()
    """Of the selected hosts, use only these (the option --limit)."""
    inventory: Path | None = None
    frameworks: tuple[Framework, ...] = ()
    cuda_toolkit: bool = False
    """Install a system CUDA toolkit; the inventory can also request one."""
    stack_file: Path | None = None
    tags: tuple[str, ...] = ()
    jupyter: bool = True
    check: bool = False
    reboot: bool = False
    enrol_key: bool = False
    """With Secure Boot: prepare the enrolment of the key that signs modules compiled on the box."""
    rollback: bool = False
    bundle: Path | None = None
    """If this bundle is complete, install from it without internet access. Otherwise, collect in it what boxes need."""
    cards: tuple[str, ...] = ()
    """Cards of the box for which a bundle is collected; needs ``distro``."""
    distro: str | None = None
    use: tuple[str, ...] = ()
    """The cards that count: names, indices or PCI addresses; empty: those of the inventory, else all that can train."""
    secrets: Secrets = Secrets()
    flavour: Flavour | None = None
    branch: int | None = None
    pypi_only: bool = False
    """Whether PyPI, or the mirror that replaces it, is the only package index that the boxes may use."""


def conflict(options: ProvisionOptions) -> str | None:
    """One sentence that explains why these options conflict; None if they do not."""
    if (options.cards or options.distro) and options.bundle is None:
        return "--card and --distro describe the box that a bundle is collected for: add --bundle DIR"
    if bool(options.cards) != bool(options.distro):
        return '--card and --distro need each other, as in --card "RTX 3060" --distro ubuntu-24.04'
    if options.cards and (options.hosts or options.inventory):
        return "the inventory already sets card and distribution of its hosts: leave out --card and --distro"
    if options.rollback and (options.bundle is not None or options.tags):
        option = "--tags" if options.tags else "--bundle"
        return f"--rollback undoes everything that dlbox recorded: leave out {option}"
    if options.bundle is not None and not _FOLDER.fullmatch(str(options.bundle.absolute())):
        return (
            f'--bundle "{shown(str(options.bundle))}": apt cannot read a path with quotation marks, backslashes or '
            "control characters: choose another folder"
        )
    if options.bundle is not None and options.check and not bundle.is_complete(options.bundle):
        return (
            f"--check needs a complete bundle, and {options.bundle} is not collected yet: collect it first, "
            "without --check"
        )
    return None


def limited(options: ProvisionOptions) -> tuple[str, ...]:
    """The selected hosts that remain after --limit. Raises HostError if none remains."""
    allowed = select(options.limit, options.inventory)
    left = tuple(name for name in select(options.hosts, options.inventory) if name in allowed)
    if not left:
        raise HostError(f"--limit {','.join(options.limit)} selects none of {', '.join(options.hosts)}")
    return left


def inventories(options: ProvisionOptions) -> tuple[Path, ...]:
    """Check each selected host and return their inventory; empty for this machine. Raises HostError."""
    if not options.hosts:
        return ()
    inventory = options.inventory or default_inventory()
    for name in select(options.hosts, inventory):
        read_host(name, inventory)
        network.of_host(name, inventory)
    return (inventory,)


def would_replace_itself(options: ProvisionOptions) -> bool:
    """Whether the run would change the environment of this process: dlbox installed it, on a selected host."""
    if not Path(sys.prefix).resolve().is_relative_to(INSTALL_DIR):
        return False
    inventory = options.inventory or default_inventory()
    return not options.hosts or any(
        read_host(name, inventory).is_this_machine for name in select(options.hosts, inventory)
    )


def collects(folder: Path | None, cards: tuple[str, ...]) -> bool:
    """Whether the command collects a bundle: the folder is incomplete, or --card describes the box."""
    return folder is not None and (bool(cards) or not bundle.is_complete(folder))
