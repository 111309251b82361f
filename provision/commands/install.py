"""From the question to the boxes: look at each, show its plan, ask, and make them so."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from rich.text import Text

from common.console import Console
from common.guard import prefix
from provision.ansible import playbook, variables
from provision.ansible.clean_text import file_name
from provision.ansible.outcome import HostOutcome, Outcome
from provision.ansible.playbook import Job, Watcher
from provision.artifacts import bundle, environments, own_wheel
from provision.artifacts.bundle import Bundle, BundleError
from provision.commands.options import Wishes
from provision.commands.plan import show
from provision.hosts import network
from provision.hosts.hosts import default_place, read_host
from provision.resolve.box_reading import ReadingError
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Request, Stack, resolve

Watching = Callable[[], AbstractContextManager[Watcher]]
"""Opens a live view of a playbook's steps."""
Agreed = Callable[[str], bool]
"""Asks the person one question."""


class Installation:
    """One command of `dlbox provision`, on all the boxes that it names."""

    def __init__(
        self, wishes: Wishes, data: StackData, watching: Watching, agreed: Agreed, console: Console
    ) -> None:
        self._wishes, self._data = wishes, data
        self._watching, self._agreed = watching, agreed
        self._console = console
        self._taken: Bundle | None = None

    def run(self, job: Job) -> Outcome | None:
        """``job``: the look at the boxes. The last playbook's outcome; None where the person said no.

        Raises LockError, WheelError and BundleError.
        """
        if self._wishes.rollback:
            if not self._may(f"Undo on {self._names} what dlbox installed?"):
                return None
            return self._play(msgspec.structs.replace(job, playbook=Path("rollback.yml")))
        if self._wishes.bundle is not None:
            with self._watching() as watcher:
                self._taken = bundle.read(self._wishes.bundle, watcher)
        with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
            folder = Path(temporary)
            return self._install(msgspec.structs.replace(job, facts=folder / "facts"), folder)

    @property
    def _names(self) -> str:
        return " and ".join(self._wishes.hosts) or "this machine"

    def _may(self, question: str) -> bool:
        return self._wishes.check or self._agreed(question)

    def _play(self, job: Job) -> Outcome:
        logs = platformdirs.user_log_path("dlbox") / "provision"
        with self._watching() as watcher:
            return playbook.run(job, watcher, logs, self._wishes.secrets)

    def _install(self, job: Job, folder: Path) -> Outcome | None:
        looked, requests, refused = self._sorted(self._play(job))
        if not looked.succeeded or not requests or len(requests) < len(looked.hosts):
            return msgspec.structs.replace(looked, hosts=_by_name(*looked.hosts, *refused))
        stacks: dict[str, Stack] = {}
        for name, request in requests.items():
            stack = resolve(request, self._data)
            if isinstance(stack, NoStack):
                looked = msgspec.structs.replace(looked, hosts=_by_name(*looked.hosts, *refused))
                return _refused(looked, name, stack)
            if self._taken is not None:
                lacking = self._taken.lacks(stack, jupyter=self._wishes.jupyter)
                if lacking is not None:
                    raise BundleError(f"{name}: {lacking}")
            stacks[name] = stack
        for name, stack in stacks.items():
            self._console.print(Text(name, style="bold"))
            show(stack, self._data, self._console)
        for host in refused:
            self._console.print(Text(f"{host.name}: left out: {host.message}"))
        names = " and ".join(stacks) if refused else self._names
        if not self._may(f"Install this on {names}?"):
            return None
        wheel = own_wheel.build(folder) if self._taken is None else self._taken.wheel
        told = {name: self._told(name, stack, folder, wheel) for name, stack in stacks.items()}
        job = msgspec.structs.replace(job, playbook=Path("site.yml"), variables=told, tags=self._wishes.tags)
        if refused:
            job = msgspec.structs.replace(job, limit=",".join(stacks), hosts=tuple(stacks))
        done = self._play(job)
        return msgspec.structs.replace(done, hosts=_by_name(*done.hosts, *refused))

    def _sorted(self, looked: Outcome) -> tuple[Outcome, dict[str, Request], tuple[HostOutcome, ...]]:
        """The outcome of the boxes that can be planned for, their requests, and the boxes whose reading is refused.

        A box whose reading does not pass the gate does not keep the others from being installed.
        """
        requests: dict[str, Request] = {}
        refused: list[HostOutcome] = []
        for host in looked.hosts:
            if host.box is None:
                continue
            try:
                requests[host.name] = self._request(host.name, host.box)
            except ReadingError as error:
                refused.append(
                    msgspec.structs.replace(
                        host,
                        status="failed",
                        task="The reading of the box is checked",
                        message=f"{error}; nothing was installed on this box",
                        box=None,
                    )
                )
        wrong = {host.name for host in refused}
        left = tuple(host for host in looked.hosts if host.name not in wrong)
        return msgspec.structs.replace(looked, hosts=left), requests, tuple(refused)

    def _request(self, name: str, box: dict[str, Any]) -> Request:
        """What the box is, and what the inventory and the command line want of it."""
        wishes = self._wishes
        frameworks, cuda_toolkit = wishes.frameworks, wishes.cuda_toolkit
        if wishes.hosts:
            said = read_host(name, self._place)
            frameworks = frameworks or said.frameworks
            cuda_toolkit = cuda_toolkit or said.cuda_toolkit
        return msgspec.structs.replace(
            variables.request(box), frameworks=frameworks, cuda_toolkit=cuda_toolkit
        )

    @property
    def _place(self) -> Path:
        return self._wishes.inventory or default_place()

    def _told(self, name: str, stack: Stack, folder: Path, wheel: own_wheel.OwnWheel) -> dict[str, Any]:
        """The variables of the roles for one box."""
        wishes, taken = self._wishes, self._taken
        where = network.of_host(name, self._place) if wishes.hosts else network.PLAIN
        own = folder / f"box-{file_name(name)}"
        told = {
            **environments.role_variables(
                stack, own, wheel, jupyter=wishes.jupyter, network=where,
                locks=None if taken is None else _locks(taken, jupyter=wishes.jupyter),
            ),
            **network.variables(where),
            "nvidia_driver_reboot": wishes.reboot,
            **({"nvidia_driver_mok_enrol": True} if wishes.enrol_key else {}),
            "site_preflight": False,
        }  # fmt: skip
        if taken is not None:
            here = not wishes.hosts or read_host(name, self._place).is_this_machine
            told |= taken.variables(own.with_name(f"{own.name}.pip.conf"), here=here)
        return told


def _locks(taken: Bundle, *, jupyter: bool) -> dict[str, str]:
    return {name: text for name, text in taken.locks().items() if jupyter or name != "jupyter"}


def _by_name(*hosts: HostOutcome) -> tuple[HostOutcome, ...]:
    return tuple(sorted(hosts, key=lambda host: host.name))


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
