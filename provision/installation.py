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
from provision import bundle, environments, network, own_wheel, playbook, variables
from provision.bundle import Bundle, BundleError
from provision.hosts import default_place, read_host
from provision.outcome import Outcome
from provision.plan import show
from provision.playbook import Job, Watcher
from provision.stack import NoStack, Request, Stack, resolve
from provision.stack_rows import StackData
from provision.wishes import Wishes

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
        with tempfile.TemporaryDirectory(prefix="dlbox-") as temporary:
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
        looked = self._play(job)
        read = {host.name: host.box for host in looked.hosts if host.box is not None}
        if not looked.succeeded or len(read) < len(looked.hosts):
            return looked
        stacks: dict[str, Stack] = {}
        for name, box in read.items():
            stack = resolve(self._request(name, box), self._data)
            if isinstance(stack, NoStack):
                return _refused(looked, name, stack)
            if self._taken is not None:
                lacking = self._taken.lacks(stack, jupyter=self._wishes.jupyter)
                if lacking is not None:
                    raise BundleError(f"{name}: {lacking}")
            stacks[name] = stack
        for name, stack in stacks.items():
            self._console.print(Text(name, style="bold"))
            show(stack, self._data, self._console)
        if not self._may(f"Install this on {self._names}?"):
            return None
        wheel = own_wheel.build(folder) if self._taken is None else self._taken.wheel
        told = {name: self._told(name, stack, folder, wheel) for name, stack in stacks.items()}
        return self._play(
            msgspec.structs.replace(job, playbook=Path("site.yml"), variables=told, tags=self._wishes.tags)
        )

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
        told = {
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
            here = not wishes.hosts or read_host(name, self._place).is_this_machine
            told |= taken.variables(folder / f"{name}.pip.conf", here=here)
        return told


def _locks(taken: Bundle, *, jupyter: bool) -> dict[str, str]:
    return {name: text for name, text in taken.locks().items() if jupyter or name != "jupyter"}


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
