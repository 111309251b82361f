"""`dlbox provision --bundle DIR` where DIR is not whole yet: for which boxes, with whose consent, and what is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from inventory import gather
from inventory.cards import cards
from provision.ansible.playbook import Watcher
from provision.artifacts import bundle
from provision.artifacts.bundle import BundleError, Manifest
from provision.artifacts.collect import Wanted, collect
from provision.artifacts.lockfiles import LockError
from provision.artifacts.own_wheel import WheelError
from provision.commands import plan
from provision.commands.plan import Question, UsageError
from provision.hosts import network
from provision.hosts.hosts import HostError, default_place, select
from provision.resolve.box_reading import ReadingError
from provision.resolve.model import Request
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, resolve


def run(
    question: Question,
    data: StackData,
    folder: Path,
    watching: Callable[[], AbstractContextManager[Watcher]],
    agreed: Callable[[str], bool],
    *,
    jupyter: bool,
    as_json: bool,
    complain: Complain,
) -> int:
    """0: the bundle is whole; 1: it is not; 2: the question names what does not exist. Asks no box anything."""
    try:
        wanted = _wanted(question, data, jupyter=jupyter)
    except (UsageError, HostError, cards.UnknownCard) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    except ReadingError as error:
        complain(f"this machine: {error}")
        return EXIT_FAILED
    except BundleError as error:
        complain(str(error))
        return EXIT_FAILED
    plan.show(wanted.stack, data, Console(quiet=as_json))
    if not agreed(f"Collect this in {folder}?"):
        complain("nothing was collected")
        return EXIT_FAILED
    try:
        with watching() as watcher:
            manifest = collect(wanted, folder, watcher)
    except (BundleError, LockError, WheelError, HostError) as error:
        complain(str(error))
        return EXIT_FAILED
    _tell(manifest, folder, as_json=as_json)
    return EXIT_OK


def _wanted(question: Question, data: StackData, *, jupyter: bool) -> Wanted:
    if not question.hosts:
        request = _of_box(plan.understand(question, data), question)
        return _for(request, data, network.PLAIN, jupyter=jupyter)
    place = question.inventory or default_place()
    every = [
        _for(plan.of_host(name, question, data), data, network.of_host(name, place), jupyter=jupyter)
        for name in select(question.hosts, place)
    ]
    kinds = {msgspec.json.encode((bundle.contents(one.stack, jupyter=jupyter), one.kernel)) for one in every}
    if len(kinds) > 1:
        raise UsageError(
            "these hosts need different things: collect one bundle a kind of box, each in its folder"
        )
    return every[0]


def _of_box(request: Request, question: Question) -> Request:
    """A container's kernel is its host's: the box has another."""
    if question.distro is None and gather.gather().host.environment == "container":
        return msgspec.structs.replace(request, kernel=question.kernel)
    return request


def _for(request: Request, data: StackData, where: network.Network, *, jupyter: bool) -> Wanted:
    stack = resolve(request, data)
    if isinstance(stack, NoStack):
        raise BundleError(stack.error)
    return Wanted(stack=stack, kernel=request.kernel, jupyter=jupyter, network=where)


def _tell(manifest: Manifest, folder: Path, *, as_json: bool) -> None:
    if as_json:
        size = sum(file.bytes for file in manifest.files.values())
        document = {
            "schema_version": 1, "command": "provision", "succeeded": True, "bundle": str(folder.absolute()),
            "files": len(manifest.files), "bytes": size, "contents": msgspec.to_builtins(manifest.contents),
        }  # fmt: skip
        json.dump(document, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    console = Console()
    console.print(
        f"Collected. Take {folder} to the box, or to a computer that reaches it, and run `dlbox provision --bundle "
        f"{folder.name}` there: it installs from the folder and asks no network.",
    )
