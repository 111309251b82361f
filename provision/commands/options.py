"""The command line of `dlbox provision`: what goes together, and which boxes it names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from provision.ansible.clean_text import shown
from provision.ansible.playbook import Secrets
from provision.artifacts import bundle
from provision.hosts import network
from provision.hosts.hosts import HostError, default_place, read_host, select
from provision.resolve.rows import Framework

INSTALLED = Path("/opt/dlbox")
_FOLDER = re.compile(r"[^\x00-\x1f\x7f-\x9f\"\\\ud800-\udfff]+")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `dlbox provision`."""

    hosts: tuple[str, ...] = ()
    """Of the inventory; none: all of an inventory that was named, else this machine."""
    limit: tuple[str, ...] = ()
    """Of those hosts only these; without hosts, of the inventory."""
    inventory: Path | None = None
    frameworks: tuple[Framework, ...] = ()
    cuda_toolkit: bool = False
    """With a system toolkit; the inventory may want one as well."""
    stack_file: Path | None = None
    tags: tuple[str, ...] = ()
    jupyter: bool = True
    check: bool = False
    reboot: bool = False
    enrol_key: bool = False
    """Of modules that are compiled on the box, where Secure Boot is on."""
    rollback: bool = False
    bundle: Path | None = None
    """Whole: install from it, without a network. Else collect in it what the boxes need."""
    cards: tuple[str, ...] = ()
    """Of a box that is not here, to collect for; with ``distro``."""
    distro: str | None = None
    secrets: Secrets = Secrets()


def wrong(wishes: Wishes) -> str | None:
    """Options that do not go together."""
    if (wishes.cards or wishes.distro) and wishes.bundle is None:
        return (
            "--card and --distro say for which box a bundle is collected: name its folder with --bundle DIR"
        )
    if bool(wishes.cards) != bool(wishes.distro):
        return '--card and --distro go together, as in --card "RTX 3060" --distro ubuntu-24.04'
    if wishes.cards and (wishes.hosts or wishes.inventory):
        return "hosts of the inventory bring card and distribution: leave out --card and --distro"
    if wishes.rollback and (wishes.bundle is not None or wishes.tags):
        option = "--tags" if wishes.tags else "--bundle"
        return f"--rollback undoes all that was recorded: leave out {option}"
    if wishes.bundle is not None and not _FOLDER.fullmatch(str(wishes.bundle.absolute())):
        return (
            f'--bundle "{shown(str(wishes.bundle))}": apt does not read a path with quotation marks, backslashes or '
            "control characters, so name another folder"
        )
    if wishes.bundle is not None and wishes.check and not bundle.is_whole(wishes.bundle):
        return f"--check shows what an installation would change, and {wishes.bundle} is not collected yet"
    return None


def limited(wishes: Wishes) -> tuple[str, ...]:
    """The hosts that --limit leaves, never more than were named. Raises HostError."""
    allowed = select(wishes.limit, wishes.inventory)
    left = tuple(name for name in select(wishes.hosts, wishes.inventory) if name in allowed)
    if not left:
        raise HostError(f"--limit {','.join(wishes.limit)} leaves none of {', '.join(wishes.hosts)}")
    return left


def inventories(wishes: Wishes) -> tuple[Path, ...]:
    """The inventory of the hosts that were named; none for this machine. Raises HostError."""
    if not wishes.hosts:
        return ()
    place = wishes.inventory or default_place()
    for name in select(wishes.hosts, place):
        read_host(name, place)
        network.of_host(name, place)
    return (place,)


def stands_on_what_it_changes(wishes: Wishes) -> bool:
    """Whether this Python is one of those that the roles build and remove, on this very machine."""
    if not Path(sys.prefix).resolve().is_relative_to(INSTALLED):
        return False
    place = wishes.inventory or default_place()
    return not wishes.hosts or any(
        read_host(name, place).is_this_machine for name in select(wishes.hosts, place)
    )


def collects(folder: Path | None, cards: tuple[str, ...]) -> bool:
    """Whether the folder is to be filled: there is nothing to install from yet, or another box is named."""
    return folder is not None and (bool(cards) or not bundle.is_whole(folder))
