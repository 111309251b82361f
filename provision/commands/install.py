"""Read the facts of each box, show its plan, ask for confirmation, and install."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from rich.text import Text

from common.file_access.files import safe_name
from common.processes.guard import prefix
from common.terminal.console import Console
from provision.ansible import playbook, variables
from provision.ansible.logs import HostLogs
from provision.ansible.outcome import HostOutcome, PlaybookOutcome
from provision.ansible.playbook import PlaybookJob
from provision.artifacts import bundle, disk_space, environments, own_wheel
from provision.artifacts.bundle import Bundle, BundleError
from provision.commands import plan_summary
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from provision.commands.plan_output import print_plan
from provision.hosts import network
from provision.hosts.hosts import Inventory, default_inventory, read_host
from provision.resolve import box_reading
from provision.resolve.box_reading import ReadingError
from provision.resolve.hardware.cards_in_use import CardChoiceError, choose_cards
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Request, Stack, resolve

_SPACE_TASK = "The file systems have enough free space for the plan"


class ProvisionRun:
    """One run of `dlbox provision`, on all boxes that it selects."""

    def __init__(
        self, options: ProvisionOptions, data: StackData, interaction: Interaction, console: Console
    ) -> None:
        self._options, self._data = options, data
        self._interaction, self._console = interaction, console
        self._bundle: Bundle | None = None
        self._logs = HostLogs(platformdirs.user_log_path("dlbox") / "provision")

    def run(self, job: PlaybookJob) -> PlaybookOutcome | None:
        """Run the playbooks and return the outcome of the last one; None if the user answered no.

        ``job``: preflight, which reads the facts of the boxes. Raises LockError, WheelError and BundleError.
        """
        if self._options.rollback:
            if not self._confirmed(f"Undo on {self._names} what dlbox installed?"):
                return None
            return self._play(msgspec.structs.replace(job, playbook=Path("rollback.yml")))
        if self._options.bundle is not None:
            with self._interaction.open_progress() as progress:
                self._bundle = bundle.read(self._options.bundle, progress)
        with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
            folder = Path(temporary)
            return self._install(msgspec.structs.replace(job, facts=folder / "facts"), folder)

    @property
    def _names(self) -> str:
        return " and ".join(self._options.hosts) or "this machine"

    def _confirmed(self, question: str) -> bool:
        return self._options.check or self._interaction.agrees(question)

    def _play(self, job: PlaybookJob) -> PlaybookOutcome:
        with self._interaction.open_progress() as progress:
            return playbook.run(job, progress, self._logs, self._options.secrets)

    def _install(self, job: PlaybookJob, folder: Path) -> PlaybookOutcome | None:
        preflight, requests, refused = self._requests(self._play(job))
        if not preflight.succeeded or not requests or len(requests) < len(preflight.hosts):
            return msgspec.structs.replace(preflight, hosts=_by_name(*preflight.hosts, *refused))
        stacks: dict[str, Stack] = {}
        for name, request in requests.items():
            stack = resolve(request, self._data)
            if isinstance(stack, NoStack):
                preflight = msgspec.structs.replace(preflight, hosts=_by_name(*preflight.hosts, *refused))
                return _without_stack(preflight, name, stack)
            if self._bundle is not None:
                missing = self._bundle.missing(stack, jupyter=self._options.jupyter)
                if missing is not None:
                    raise BundleError(f"{name}: {missing}")
            stacks[name] = stack
        if not self._options.tags:
            preflight = _with_shortages(preflight, stacks)
        if not preflight.succeeded:
            return msgspec.structs.replace(preflight, hosts=_by_name(*preflight.hosts, *refused))
        facts = {host.name: host.box for host in preflight.hosts if host.box is not None}
        for name, stack in stacks.items():
            self._console.print(Text(name, style="bold"))
            print_plan(stack, self._data, self._console)
            self._console.print(Text(self._beside(stack)))
            box = box_reading.read(facts[name]) if name in facts else None
            taken = plan_summary.effort(stack, box=box)
            plan_summary.print_summary(stack, taken, self._console, warn=False)
        for host in refused:
            self._console.print(Text(f"{host.name}: skipped: {host.message}"))
        names = " and ".join(stacks) if refused else self._names
        if not self._confirmed(f"Install this on {names}?"):
            return None
        wheel = own_wheel.build(folder) if self._bundle is None else self._bundle.wheel
        of_hosts = {name: self._variables(name, stack, folder, wheel) for name, stack in stacks.items()}
        job = msgspec.structs.replace(
            job, playbook=Path("site.yml"), variables=of_hosts, tags=self._options.tags
        )
        if refused:
            job = msgspec.structs.replace(job, limit=",".join(stacks), hosts=tuple(stacks))
        done = self._play(job)
        return msgspec.structs.replace(done, hosts=_by_name(*done.hosts, *refused))

    def _beside(self, stack: Stack) -> str:
        """What is installed beside the plan's driver and frameworks."""
        tags = self._options.tags
        parts = []
        if not tags or "frameworks" in tags:
            parts.append(f"the environments {', '.join(stack.requirements)} in /opt/dlbox")
        if not tags or "dlbox" in tags:
            parts.append("the command dlbox for all users")
        if self._options.jupyter and (not tags or "jupyter" in tags):
            parts.append("JupyterLab as a service on 127.0.0.1 (--no-jupyter leaves it out)")
        if not tags or "verify" in tags:
            parts.append("at the end, `dlbox ready --quick` trains for about a minute")
        return f"Also: {'; '.join(parts)}." if parts else ""

    def _requests(
        self, preflight: PlaybookOutcome
    ) -> tuple[PlaybookOutcome, dict[str, Request], tuple[HostOutcome, ...]]:
        """The outcome of the boxes with valid facts, their requests, and the boxes with invalid facts.

        Invalid facts of one box do not prevent the installation of the others.
        """
        requests: dict[str, Request] = {}
        refused: list[HostOutcome] = []
        for host in preflight.hosts:
            if host.box is None:
                continue
            try:
                requests[host.name] = self._request(host.name, host.box)
            except (ReadingError, CardChoiceError) as error:
                refused.append(
                    msgspec.structs.replace(
                        host,
                        status="failed",
                        task="The facts of the box are checked",
                        message=f"{error}; nothing was installed on this box",
                        box=None,
                    )
                )
        names = {host.name for host in refused}
        valid = tuple(host for host in preflight.hosts if host.name not in names)
        return msgspec.structs.replace(preflight, hosts=valid), requests, tuple(refused)

    def _request(self, name: str, box: dict[str, Any]) -> Request:
        """The facts of a box combined with the requests of the inventory and the command line."""
        options = self._options
        frameworks, cuda_toolkit = options.frameworks, options.cuda_toolkit
        further_indexes = not options.pypi_only
        found = variables.request(box)
        chosen: tuple[str, ...] | None = options.use or None
        if options.hosts:
            host = read_host(name, self._inventory)
            further_indexes &= not (host.pypi_only or network.of_host(name, self._inventory).replaces_pypi)
            frameworks = frameworks or host.frameworks
            cuda_toolkit = cuda_toolkit or host.cuda_toolkit
            chosen = host.compute_cards if chosen is None else chosen
        if chosen is not None:
            found = choose_cards(found, chosen)
        return msgspec.structs.replace(
            found,
            frameworks=frameworks,
            cuda_toolkit=cuda_toolkit,
            flavour=options.flavour,
            branch=options.branch,
            further_indexes=further_indexes,
        )

    @cached_property
    def _inventory(self) -> Inventory:
        """The inventory, read once: it may have thousands of hosts."""
        return Inventory(self._options.inventory or default_inventory())

    def _variables(self, name: str, stack: Stack, folder: Path, wheel: own_wheel.OwnWheel) -> dict[str, Any]:
        """The variables of the roles for one box."""
        options, source = self._options, self._bundle
        where = network.of_host(name, self._inventory) if options.hosts else network.PLAIN
        own = folder / f"box-{safe_name(name)}"
        found = {
            **environments.role_variables(
                stack, own, wheel, jupyter=options.jupyter, network=where,
                locks=None if source is None else _locks(source, jupyter=options.jupyter),
            ),
            **network.variables(where),
            **variables.distributions(self._data),
            "nvidia_driver_reboot": options.reboot,
            **({"nvidia_driver_mok_enrol": True} if options.enrol_key else {}),
            "site_preflight": False,
        }  # fmt: skip
        if source is not None:
            here = not options.hosts or read_host(name, self._inventory).is_this_machine
            found |= source.variables(own.with_name(f"{own.name}.pip.conf"), here=here)
        return found


def _locks(source: Bundle, *, jupyter: bool) -> dict[str, str]:
    return {name: text for name, text in source.locks().items() if jupyter or name != "jupyter"}


def _by_name(*hosts: HostOutcome) -> tuple[HostOutcome, ...]:
    return tuple(sorted(hosts, key=lambda host: host.name))


def _with_shortages(preflight: PlaybookOutcome, stacks: dict[str, Stack]) -> PlaybookOutcome:
    """The outcome in which each host failed that has too little free disk space for its plan."""
    hosts = []
    for host in preflight.hosts:
        box = box_reading.read(host.box) if host.box is not None else {}
        lacking = disk_space.shortages(stacks[host.name], box) if host.name in stacks else ()
        if lacking:
            text = "; ".join(shortage.text for shortage in lacking)
            host = msgspec.structs.replace(host, status="failed", task=_SPACE_TASK, message=text)
        hosts.append(host)
    return msgspec.structs.replace(preflight, hosts=tuple(hosts))


def _without_stack(preflight: PlaybookOutcome, name: str, no_stack: NoStack) -> PlaybookOutcome:
    """The outcome in which host ``name`` failed because no stack exists for it."""
    message = no_stack.error
    if no_stack.nearest is not None:
        message = f"{message}; the nearest plan that works: {no_stack.nearest.description}"
    hosts = tuple(
        msgspec.structs.replace(host, status="failed", task="The plan is made", message=message)
        if host.name == name
        else host
        for host in preflight.hosts
    )
    return msgspec.structs.replace(preflight, hosts=hosts)
