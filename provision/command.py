"""`dlbox provision`: look at the boxes, plan, ask, install, let each say of itself whether it is right; or undo it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from rich.console import Console
from rich.text import Text

from provision import bundle, bundling, environments, network, own_wheel, playbook, variables
from provision.bundle import Bundle, BundleError
from provision.hosts import HostError, default_place, host_names, read_host, select
from provision.locking import LockError
from provision.outcome import HostOutcome, Outcome
from provision.own_wheel import WheelError
from provision.plan import Question, show
from provision.playbook import Job, Secrets, Watcher
from provision.stack import NoStack, Request, Stack, resolve
from provision.stack_data import DEFAULT_PATH, StackFileError, load
from provision.stack_rows import Framework, StackData

EXIT_RIGHT, EXIT_NOT, EXIT_USAGE = 0, 1, 2
SCHEMA_VERSION = 1
INSTALLED = Path("/opt/dlbox")

Complain = Callable[[str], None]
"""Says one sentence on stderr."""


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


Watching = Callable[[], AbstractContextManager[Watcher]]
Agreed = Callable[[str], bool]


def run(
    wishes: Wishes, watching: Watching, agreed: Agreed | None, *, as_json: bool, complain: Complain
) -> int:
    """0: every box says that it is right; 1: one does not; 2: the question names what does not exist.

    ``agreed`` asks the person; None: there is nobody to ask.
    """
    wrong = _wrong(wishes)
    if wrong is not None:
        complain(wrong)
        return EXIT_USAGE
    if agreed is None and not wishes.check:
        complain("there is nobody to ask whether to go on: say --yes, or --check to see what would be done")
        return EXIT_USAGE
    try:
        data = load(wishes.stack_file or DEFAULT_PATH)
        if (wishes.inventory is not None or wishes.limit) and not wishes.hosts:
            wishes = msgspec.structs.replace(wishes, hosts=host_names(wishes.inventory))
        if wishes.limit:
            wishes = msgspec.structs.replace(wishes, hosts=_limited(wishes), limit=())
        inventories = _inventories(wishes)
    except (HostError, StackFileError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    if wishes.bundle is not None and collects(wishes.bundle, wishes.cards):
        question = Question(
            cards=wishes.cards, distro=wishes.distro, hosts=wishes.hosts, inventory=wishes.inventory,
            frameworks=wishes.frameworks, cuda_toolkit=wishes.cuda_toolkit,
        )  # fmt: skip
        return bundling.run(
            question, data, wishes.bundle, watching, agreed or _no,
            jupyter=wishes.jupyter, as_json=as_json, complain=complain,
        )  # fmt: skip
    if not wishes.check and _stands_on_what_it_changes(wishes):
        complain(
            "this dlbox was installed by `dlbox provision` and would remove itself while it works: run it from "
            "a copy of its repository (./dlbox provision), or from another machine"
        )
        return EXIT_USAGE
    job = Job(
        playbook=Path("preflight.yml"),
        inventories=inventories,
        limit=",".join(wishes.hosts) or None,
        check=wishes.check,
    )
    try:
        outcome = _go(job, wishes, data, watching, agreed or _no, quiet=as_json)
    except (LockError, WheelError, BundleError) as error:
        complain(str(error))
        return EXIT_NOT
    except KeyboardInterrupt:
        complain("the same command goes on where this one stopped")
        raise
    if outcome is None:
        complain("nothing was changed")
        return EXIT_NOT
    if as_json:
        head = {"schema_version": SCHEMA_VERSION, "command": "provision"}
        body: dict[str, Any] = msgspec.to_builtins(outcome)
        json.dump({**head, "succeeded": right(outcome), **body}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    _tell(outcome, Console(quiet=as_json, highlight=False), complain)
    return EXIT_RIGHT if right(outcome) else EXIT_NOT


def _stands_on_what_it_changes(wishes: Wishes) -> bool:
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


def _no(question: str) -> bool:
    return False


def right(outcome: Outcome) -> bool:
    """That nothing failed is not enough: no box may wait for a reboot or call itself not ready."""
    return outcome.succeeded and not any(
        host.verdict == "not-ready" or (host.reboot_needed and host.verdict is not None)
        for host in outcome.hosts
    )


def _limited(wishes: Wishes) -> tuple[str, ...]:
    """The hosts that --limit leaves, never more than were named. Raises HostError."""
    allowed = select(wishes.limit, wishes.inventory)
    left = tuple(name for name in select(wishes.hosts, wishes.inventory) if name in allowed)
    if not left:
        raise HostError(f"--limit {','.join(wishes.limit)} leaves none of {', '.join(wishes.hosts)}")
    return left


def _inventories(wishes: Wishes) -> tuple[Path, ...]:
    """The inventory of the hosts that were named; none for this machine. Raises HostError."""
    if not wishes.hosts:
        return ()
    place = wishes.inventory or default_place()
    for name in select(wishes.hosts, place):
        read_host(name, place)
        network.of_host(name, place)
    return (place,)


def _network(name: str, wishes: Wishes) -> network.Network:
    if not wishes.hosts:
        return network.Network()
    return network.of_host(name, wishes.inventory or default_place())


def _go(
    job: Job,
    wishes: Wishes,
    data: StackData,
    watching: Watching,
    agreed: Agreed,
    *,
    quiet: bool,
) -> Outcome | None:
    """The last playbook's outcome; None where the person said no."""
    logs = platformdirs.user_log_path("dlbox") / "provision"

    def play(job: Job) -> Outcome:
        with watching() as watcher:
            return playbook.run(job, watcher, logs, wishes.secrets)

    if wishes.rollback:
        if not wishes.check and not agreed(f"Undo on {_names(wishes)} what dlbox installed?"):
            return None
        return play(msgspec.structs.replace(job, playbook=Path("rollback.yml")))
    taken = None
    if wishes.bundle is not None:
        with watching() as watcher:
            taken = bundle.read(wishes.bundle, watcher)
    with tempfile.TemporaryDirectory(prefix="dlbox-") as temporary:
        return _install(
            msgspec.structs.replace(job, facts=Path(temporary) / "facts"),
            wishes, data, taken, agreed, play, Path(temporary), Console(quiet=quiet, highlight=False),
        )  # fmt: skip


def _install(
    job: Job,
    wishes: Wishes,
    data: StackData,
    taken: Bundle | None,
    agreed: Agreed,
    play: Callable[[Job], Outcome],
    folder: Path,
    console: Console,
) -> Outcome | None:
    """Look at the boxes, show the plan of each, ask, and make them so."""
    looked = play(job)
    read = {host.name: host.box for host in looked.hosts if host.box is not None}
    if not looked.succeeded or len(read) < len(looked.hosts):
        return looked
    stacks: dict[str, Stack] = {}
    for name, box in read.items():
        stack = resolve(_request(name, box, wishes), data)
        if isinstance(stack, NoStack):
            return _refused(looked, name, stack)
        if taken is not None and (lacking := taken.lacks(stack, jupyter=wishes.jupyter)) is not None:
            raise BundleError(f"{name}: {lacking}")
        stacks[name] = stack
    for name, stack in stacks.items():
        console.print(Text(name, style="bold"))
        show(stack, data, console)
    if not wishes.check and not agreed(f"Install this on {_names(wishes)}?"):
        return None
    told = _told(stacks, wishes, folder, taken)
    return play(msgspec.structs.replace(job, playbook=Path("site.yml"), variables=told, tags=wishes.tags))


def _names(wishes: Wishes) -> str:
    return " and ".join(wishes.hosts) or "this machine"


def _told(
    stacks: dict[str, Stack], wishes: Wishes, folder: Path, taken: Bundle | None
) -> dict[str, dict[str, Any]]:
    """Host -> the variables of the roles."""
    wheel = own_wheel.build(folder) if taken is None else taken.wheel
    told: dict[str, dict[str, Any]] = {}
    for name, stack in stacks.items():
        where = _network(name, wishes)
        told[name] = {
            **environments.role_variables(
                stack, folder / name, wheel, jupyter=wishes.jupyter, network=where,
                locks=None if taken is None else _locks(taken, jupyter=wishes.jupyter),
            ),
            **network.variables(where),
            "nvidia_driver_reboot": wishes.reboot,
            **({"nvidia_driver_mok_enrol": True} if wishes.enrol_key else {}),
            "site_preflight": False,
        }  # fmt: skip
        if taken is not None:
            here = not wishes.hosts or read_host(name, wishes.inventory or default_place()).is_this_machine
            told[name] |= taken.variables(folder / f"{name}.pip.conf", here=here)
    return told


def _locks(taken: Bundle, *, jupyter: bool) -> dict[str, str]:
    return {name: text for name, text in taken.locks().items() if jupyter or name != "jupyter"}


def _wrong(wishes: Wishes) -> str | None:
    """Options that do not go together."""
    if (wishes.cards or wishes.distro) and wishes.bundle is None:
        return (
            "--card and --distro say for which box a bundle is collected: name its folder with --bundle DIR"
        )
    if bool(wishes.cards) != bool(wishes.distro):
        return '--card and --distro go together, as in --card "RTX 3060" --distro ubuntu-24.04'
    if wishes.cards and (wishes.hosts or wishes.inventory):
        return "hosts of the inventory bring card and distribution: leave out --card and --distro"
    if wishes.bundle is not None and wishes.rollback:
        return "--rollback needs nothing of a bundle: leave out --bundle"
    if wishes.bundle is not None and wishes.check and not bundle.is_whole(wishes.bundle):
        return f"--check shows what an installation would change, and {wishes.bundle} is not collected yet"
    return None


def _request(name: str, box: dict[str, Any], wishes: Wishes) -> Request:
    """What the box is, and what the inventory and the command line want of it."""
    request = variables.request(box)
    frameworks, cuda_toolkit = wishes.frameworks, wishes.cuda_toolkit
    if wishes.hosts:
        said = read_host(name, wishes.inventory or default_place())
        frameworks = frameworks or said.frameworks
        cuda_toolkit = cuda_toolkit or said.cuda_toolkit
    return msgspec.structs.replace(request, frameworks=frameworks, cuda_toolkit=cuda_toolkit)


def _refused(looked: Outcome, name: str, refusal: NoStack) -> Outcome:
    because = refusal.error
    if refusal.nearest is not None:
        because = f"{because}; nearest that does: {refusal.nearest.description}"
    hosts = tuple(
        msgspec.structs.replace(host, status="failed", task="The plan is made", message=because)
        if host.name == name
        else host
        for host in looked.hosts
    )
    return msgspec.structs.replace(looked, hosts=hosts)


def _tell(outcome: Outcome, console: Console, complain: Complain) -> None:
    """The end of it for a person: a line a host, and what to do next."""
    if outcome.error is not None:
        complain(outcome.error)
    for host in outcome.hosts:
        for text in (*host.differences, *(f"{host.name}: {note}" for note in host.notes)):
            console.print(text, markup=False, soft_wrap=True)
        line = _line(host, check=outcome.check)
        if host.status in ("failed", "unreachable"):
            complain(f"{line} ({host.log} has the details)" if host.log else line)
        else:
            console.print(line, markup=False, soft_wrap=True)
    fit = [host.name for host in outcome.hosts if host.status in ("ok", "changed")]
    if outcome.playbook == "preflight" and len(outcome.hosts) > len(fit) > 0:
        complain(
            f"nothing was installed on any of them; to go on without the others: --limit {','.join(fit)}"
        )


def _line(host: HostOutcome, *, check: bool) -> str:
    if host.status == "unreachable":
        return f"{host.name}: {host.message}"
    if host.status == "failed":
        return f'{host.name}: "{host.task}" failed: {host.message}'
    number = len(host.changed)
    did = f"{number} step{'s' if number != 1 else ''} would change" if check else f"{number} changed"
    if host.reboot_needed and not check:
        return f"{host.name}: {did}; reboot it, then run the same command: it goes on where it stopped"
    verdict = f"; it says of itself: {host.verdict}" if host.verdict else ""
    return f"{host.name}: {did}{verdict}"
