"""Convert the options of `dlbox plan` to requests for the resolver: this machine, described boxes, inventory hosts."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from inventory import gather
from inventory.cards.architectures import Flavour
from inventory.machine.records import Machine
from provision.hosts import network
from provision.hosts.hosts import Inventory, default_inventory, read_host
from provision.resolve import distributions
from provision.resolve.boxes import of_machine, targets
from provision.resolve.hardware.cards_in_use import choose_cards
from provision.resolve.model import Request
from provision.resolve.rows import Framework, StackData

HOST_EXCLUDES_CARD = "--host and --inventory already set card and distribution: leave out --card and --distro"
_USUAL_MACHINE = "x86_64"
"""The machine type where a report does not contain one."""
_KERNEL = re.compile(r"\d+\.\d[0-9A-Za-z.+_~-]*", re.ASCII)


class PlanOptionsError(ValueError):
    """The options cannot be used; the message is one sentence."""


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `dlbox plan`."""

    cards: tuple[str, ...] = ()
    distro: str | None = None
    hosts: tuple[str, ...] = ()
    """Hosts of the inventory: names, patterns, groups or "all"."""
    inventory: Path | None = None
    frameworks: tuple[Framework, ...] = ()
    secure_boot: bool | None = None
    kernel: str = ""
    cuda_toolkit: bool = False
    stack_file: Path | None = None
    flavour: Flavour | None = None
    branch: int | None = None
    pypi_only: bool = False
    """Whether PyPI, or the mirror that replaces it, is the only package index that the machine may use."""
    use: tuple[str, ...] = ()
    """The cards that count: names, indices or PCI addresses; empty: those of the inventory, else all that can train."""
    from_path: Path | None = None
    """A report about another computer, in place of this one; "-" is stdin."""


def refuse_empty(options: PlanOptions) -> None:
    """Raises PlanOptionsError for an option that was given without a value, such as an empty shell variable."""
    given = [("--distro", options.distro), ("--kernel", options.kernel or None)]
    several = (
        *(("--card", card) for card in options.cards),
        *(("--host", host) for host in options.hosts),
        *(("--use", card) for card in options.use),
    )
    for option, value in (*given, *several):
        if value is not None and not value.strip():
            raise PlanOptionsError(f"{option} is empty")


def request(options: PlanOptions, data: StackData) -> Request:
    """The request for the first host in ``options``, for the box that they describe, or for this machine.

    Raises PlanOptionsError, HostError, UnknownCard, CardChoiceError, ReadingError, ReportError.
    """
    if options.from_path is not None and (options.hosts or options.inventory is not None):
        raise PlanOptionsError("--from plans for the computer of a report: leave out --host and --inventory")
    if options.hosts:
        if options.cards or options.distro:
            raise PlanOptionsError(HOST_EXCLUDES_CARD)
        return request_of_host(options.hosts[0], options, data)
    distribution = _distribution(options.distro, data) if options.distro else None
    if options.from_path is not None:
        found = of_machine(_machine_of_report(options.from_path, options))
        if options.cards:
            found = msgspec.structs.replace(found, targets=targets(options.cards))
        if distribution:
            found = msgspec.structs.replace(found, distribution=distribution)
    elif options.cards and distribution:
        found = Request(distribution=distribution, targets=targets(options.cards))
    else:
        found = of_machine(gather.gather())
        if options.cards:
            found = msgspec.structs.replace(found, targets=targets(options.cards), secure_boot=None)
        elif distribution:
            found = msgspec.structs.replace(found, distribution=distribution, kernel="")
    return _with_options(found, options)


def _machine_of_report(path: Path, options: PlanOptions) -> Machine:
    """The computer of a report. Raises ReportError, and PlanOptionsError that names the option for what is missing."""
    from inventory.sources import read

    machine = read.machine(path)
    missing = machine.source.missing if machine.source is not None else ()
    needed = []
    if "host.distribution" in missing and not options.distro:
        needed.append("the distribution: add --distro, as in --distro ubuntu-24.04")
    if not machine.has_gpu and not options.cards and {"cards", "gpus"} & set(missing):
        needed.append('the card: add --card, as in --card "RTX 3060"')
    if needed:
        raise PlanOptionsError(f"the report does not contain {'; nor '.join(needed)}")
    if not machine.host.architecture:
        host = msgspec.structs.replace(machine.host, architecture=_USUAL_MACHINE)
        machine = msgspec.structs.replace(machine, host=host)
    return machine


def request_of_host(
    name: str, options: PlanOptions, data: StackData, inventory: Inventory | None = None
) -> Request:
    """The request for a host of the inventory.

    ``inventory``: pass it if it was already read; by default ``options.inventory`` is read. Raises HostError,
    PlanOptionsError, UnknownCard, CardChoiceError, ReadingError.
    """
    source = inventory or Inventory(options.inventory or default_inventory())
    host = read_host(name, source)
    names = host.card_names
    if names is None and host.is_this_machine:
        found = of_machine(gather.gather())
    elif names is None or host.distribution is None:
        missing = " and ".join(
            text
            for text, is_missing in (
                ("`card: RTX 3060`", names is None),
                ("`distribution: ubuntu-24.04`", host.distribution is None),
            )
            if is_missing
        )
        raise PlanOptionsError(
            f'the inventory does not describe "{host.name}" completely: add {missing} to host_vars/{host.name}.yml, '
            "or run `dlbox plan` on that host"
        )
    else:
        found = Request(distribution=_distribution(host.distribution, data), targets=targets(names))
    found = msgspec.structs.replace(
        found,
        kernel=_kernel(host.kernel) or found.kernel,
        secure_boot=found.secure_boot if host.secure_boot is None else host.secure_boot,
        frameworks=host.frameworks,
        cuda_toolkit=host.cuda_toolkit,
        further_indexes=not (host.pypi_only or network.of_host(name, source).replaces_pypi),
    )
    if host.compute_cards is not None and not options.use:
        found = choose_cards(found, host.compute_cards)
    return _with_options(found, options)


def _distribution(name: str, data: StackData) -> str:
    try:
        return distributions.understand(name, data)
    except distributions.UnclearDistributionError as error:
        raise PlanOptionsError(str(error)) from None


def _kernel(release: str) -> str:
    """Strip and check a kernel release, because it becomes part of package names."""
    release = release.strip()
    if release and not _KERNEL.fullmatch(release):
        raise PlanOptionsError(
            f'"{release[:60]}" is not a kernel release: expected what `uname -r` prints, as in 6.8.0-151-generic '
            "or 6.1.0-40-amd64"
        )
    return release


def _with_options(found: Request, options: PlanOptions) -> Request:
    """Replace values that were read from the machine by the options of the command line."""
    if options.use:
        found = choose_cards(found, options.use)
    return msgspec.structs.replace(
        found,
        frameworks=options.frameworks or found.frameworks,
        secure_boot=found.secure_boot if options.secure_boot is None else options.secure_boot,
        kernel=_kernel(options.kernel) or found.kernel,
        cuda_toolkit=options.cuda_toolkit or found.cuda_toolkit,
        flavour=options.flavour or found.flavour,
        branch=options.branch or found.branch,
        further_indexes=found.further_indexes and not options.pypi_only,
    )
