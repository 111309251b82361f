"""`dlbox provision --bundle DIR` with an incomplete DIR: collect the files that one kind of box needs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from common.command_line.json_output import print_json
from common.terminal.console import Console
from inventory import gather
from inventory.cards import cards
from provision.artifacts import bundle
from provision.artifacts.bundle import BundleError, BundleRequest, Manifest
from provision.artifacts.collect import collect
from provision.artifacts.lockfiles import LockError
from provision.artifacts.own_wheel import WheelError
from provision.commands import plan_requests
from provision.commands.interaction import Interaction
from provision.commands.plan_output import print_plan
from provision.commands.plan_requests import PlanOptions, PlanOptionsError
from provision.hosts import network
from provision.hosts.hosts import HostError, default_inventory, select
from provision.resolve.box_reading import ReadingError
from provision.resolve.model import Request
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, resolve


def run(
    options: PlanOptions, data: StackData, folder: Path, interaction: Interaction, *, jupyter: bool
) -> int:
    """Collect the bundle. 0: it is complete; 1: it is not; 2: the options name something that does not exist.

    Does not connect to any box.
    """
    print_error = interaction.print_error
    try:
        wanted = _bundle_request(options, data, jupyter=jupyter)
    except (PlanOptionsError, HostError, cards.UnknownCard) as error:
        print_error(str(error).rstrip("."))
        return EXIT_USAGE
    except ReadingError as error:
        print_error(f"this machine: {error}")
        return EXIT_FAILED
    except BundleError as error:
        print_error(str(error))
        return EXIT_FAILED
    print_plan(wanted.stack, data, Console(quiet=interaction.as_json))
    if not interaction.agrees(f"Collect this in {folder}?"):
        print_error("nothing was collected")
        return EXIT_FAILED
    try:
        with interaction.open_progress() as progress:
            manifest = collect(wanted, folder, progress)
    except (BundleError, LockError, WheelError, HostError) as error:
        print_error(str(error))
        return EXIT_FAILED
    _print_result(manifest, folder, as_json=interaction.as_json)
    return EXIT_OK


def _bundle_request(options: PlanOptions, data: StackData, *, jupyter: bool) -> BundleRequest:
    if not options.hosts:
        request = _with_own_kernel(plan_requests.request(options, data), options)
        return _of_request(request, data, network.PLAIN, jupyter=jupyter)
    inventory = options.inventory or default_inventory()
    found = [
        _of_request(
            plan_requests.request_of_host(name, options, data),
            data,
            network.of_host(name, inventory),
            jupyter=jupyter,
        )
        for name in select(options.hosts, inventory)
    ]
    kinds = {msgspec.json.encode((bundle.contents(one.stack, jupyter=jupyter), one.kernel)) for one in found}
    if len(kinds) > 1:
        raise PlanOptionsError(
            "these hosts need different packages: collect one bundle for each kind of box, each in its own folder"
        )
    return found[0]


def _with_own_kernel(request: Request, options: PlanOptions) -> Request:
    """In a container, remove the kernel from the facts: it is the kernel of the container host, not of the box."""
    if options.distro is None and gather.gather().host.environment == "container":
        return msgspec.structs.replace(request, kernel=options.kernel)
    return request


def _of_request(request: Request, data: StackData, where: network.Network, *, jupyter: bool) -> BundleRequest:
    stack = resolve(request, data)
    if isinstance(stack, NoStack):
        raise BundleError(stack.error)
    return BundleRequest(
        stack=stack, kernel=request.kernel, jupyter=jupyter, network=where, distributions=data.folder
    )


def _print_result(manifest: Manifest, folder: Path, *, as_json: bool) -> None:
    if as_json:
        size = sum(file.bytes for file in manifest.files.values())
        print_json(
            "provision",
            {
                "succeeded": True, "bundle": str(folder.absolute()), "files": len(manifest.files), "bytes": size,
                "contents": msgspec.to_builtins(manifest.contents),
            },
        )  # fmt: skip
        return
    console = Console()
    console.print(
        f"The bundle is complete. Copy {folder} to the box, or to a computer that reaches it over SSH, and run `dlbox "
        f"provision --bundle {folder.name}` there: it installs from the folder and needs no internet connection.",
    )
