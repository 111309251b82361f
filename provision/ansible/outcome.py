"""What a playbook did to each host, told from Ansible's events: records and one sentence for what failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from provision.ansible.clean_text import plain
from provision.ansible.diffs import describe

Status = Literal["ok", "changed", "failed", "unreachable"]

_LONGEST = 600
_HEADER = re.compile(r"^(TASK|RUNNING HANDLER|PLAY) \[.*\] \*+$", re.MULTILINE)
_NO_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure (in name resolution|resolving)|Name or service not known"
    r"|Failed to establish a new connection|Connection timed out|Could not (connect to|resolve) "
)
# Where a script ran on a terminal of its own, this is all that stands on stderr: its words are on stdout.
_SSH_ENDED = re.compile(r"Shared connection to \S+ closed\.$")
_SILENT = re.compile(
    r"Connection refused|(Connection|Operation) timed out|No route to host|Network is unreachable"
    r"|Could not resolve hostname [^:\s]+"
)
_CHECK_NETWORK = (
    "check its network and, behind a proxy, the inventory's `proxy`, then run the same command again"
)
_EMPTY_WORDS = ("non-zero return code", "module failure", "one or more items failed", "see stdout/stderr")


class HostOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One host after the playbook."""

    name: str
    status: Status
    changed: tuple[str, ...] = ()
    """The tasks that changed something; in a dry run, those that would."""
    task: str | None = None
    """The one that failed."""
    message: str | None = None
    """Why, in one sentence."""
    reboot_needed: bool = False
    verdict: str | None = None
    """What the box says of itself, where the playbook asked it."""
    box: dict[str, Any] | None = None
    """What preflight read of it."""
    notes: tuple[str, ...] = ()
    """What the person is to know beside: what the screen will show at the next boot."""
    differences: tuple[str, ...] = ()
    """In a dry run: files and folders before and after, shortened."""
    log: str | None = None
    """Where everything that was done is written down."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a playbook. ``error`` where Ansible never came to a host."""

    playbook: str
    check: bool
    seconds: float
    hosts: tuple[HostOutcome, ...] = ()
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return (
            self.error is None and bool(self.hosts) and all(h.status in ("ok", "changed") for h in self.hosts)
        )


class Tally:
    """Collects one host's outcome while events come in."""

    def __init__(self, name: str, *, check: bool = False) -> None:
        """``check``: a dry run, whose differences are told."""
        self.name, self._check = name, check
        self.changed: list[str] = []
        self.notes: list[str] = []
        self.differences: list[str] = []
        self.failure: tuple[str, str] | None = None
        self.unreachable = False
        self.facts: dict[str, Any] = {}

    def took(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event of this host: ``runner_on_ok`` and the like."""
        task, result = label(data), data.get("res")
        result = result if isinstance(result, dict) else {}
        if kind == "runner_on_unreachable":
            self.unreachable = True
            self.failure = (task, unreachable_sentence(result))
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.failure = (task, sentence(result))
        elif kind == "runner_item_on_ok":
            self._took_difference(task, result)
        elif kind == "runner_on_ok":
            self._took_difference(task, result)
            if result.get("changed"):
                self.changed.append(task)
            facts = result.get("ansible_facts")
            if isinstance(facts, dict):
                self.facts.update(facts)
            if str(data.get("task_action")).endswith("debug") and isinstance(result.get("msg"), str):
                self.notes.append(_one_line(result["msg"]))

    def _took_difference(self, task: str, result: Mapping[str, Any]) -> None:
        told = describe(result) if self._check and result.get("changed") else None
        # In a dry run nothing comes to be, so that a folder is made again by each who needs it.
        if told is not None and not any(earlier.endswith(f"\n{told}") for earlier in self.differences):
            self.differences.append(f"{task}\n{told}")

    def outcome(self, log: Path | None, rescued: bool) -> HostOutcome:
        """``rescued``: what failed was dealt with by the playbook itself."""
        failure = None if rescued else self.failure
        status: Status = "changed" if self.changed else "ok"
        if failure is not None:
            status = "unreachable" if self.unreachable else "failed"
        verdict, box = self.facts.get("verify_verdict"), self.facts.get("preflight_box")
        return HostOutcome(
            name=self.name,
            status=status,
            changed=tuple(self.changed),
            task=failure[0] if failure else None,
            message=failure[1] if failure else None,
            reboot_needed=any(v is True for k, v in self.facts.items() if k.endswith("_reboot_needed")),
            verdict=verdict if isinstance(verdict, str) else None,
            box=box if isinstance(box, dict) or box is None else {},
            notes=tuple(self.notes),
            differences=tuple(self.differences),
            log=str(log) if log else None,
        )


def left_out(name: str, why: str | None) -> HostOutcome:
    """A host that was named and that no event of Ansible is about. ``why``: what Ansible printed, if anything."""
    message = "Ansible did not run on this host"
    return HostOutcome(
        name=name,
        status="failed",
        task="The host is reached",
        message=f"{message}: {_one_line(why)}" if why else f"{message} and gave no reason",
    )


def label(data: Mapping[str, Any]) -> str:
    """A task as people read it: "frameworks: The environment is built"."""
    name = str(data.get("task") or data.get("task_action") or "a task")
    role = data.get("role")
    return f"{role}: {name.removeprefix(f'{role} : ')}" if role else name


def unheaded(text: str) -> str:
    """What Ansible prints of a result, without the line that names the task and without colours."""
    return _HEADER.sub("", plain(text)).strip()


def sentence(result: Mapping[str, Any]) -> str:
    """Why a task failed. A module's own words where it has some, else the last that its command printed."""
    for item in result.get("results") or ():
        if isinstance(item, dict) and item.get("failed"):
            return sentence(item)
    message = _one_line(result.get("msg"))
    message = re.sub(r"^(Task failed|Action failed|Module failed): ", "", message)
    if (wanted := _sudo_sentence(message)) is not None:
        return wanted
    if re.match(r"No package matching '\S+' is available", message):
        return f"{message}: the box's package lists lack it; {_CHECK_NETWORK}"
    if message and not any(words in message.lower() for words in _EMPTY_WORDS):
        return message
    for stream in ("stderr", "module_stderr", "stdout", "module_stdout", "exception"):
        every = (line.strip() for line in plain(str(result.get(stream) or "")).splitlines())
        lines = [line for line in every if line and not _SSH_ENDED.match(line)]
        errors = [line for line in lines if re.match(r"(?i)(e:|error|fatal|\w*error:)", line)]
        cut = next((line for line in lines if _NO_NETWORK.search(line)), None)
        if any("CERTIFICATE_VERIFY_FAILED" in line or "certificate verify failed" in line for line in lines):
            return (
                "the box does not trust the certificate of where packages come from: where a company's proxy looks "
                "into TLS, name its certificates with `extra_ca_bundle` in the inventory, then run the same command"
            )
        if cut is not None:  # what pip says at the end is then only that nothing fits
            return (
                f"the box does not reach where packages come from ({_one_line(cut)[:200]}): {_CHECK_NETWORK}"
            )
        if lines:
            return _one_line((errors or lines)[-1])
    return message or "it did not say why"


def _sudo_sentence(message: str) -> str | None:
    """What to do where sudo on the box refuses."""
    if re.match(r"(Missing|sudo: a password is required)", message) and "password" in message:
        return "sudo on the box wants a password: run the same command with --ask-become-pass"
    if message.startswith("Incorrect sudo password"):
        return (
            "sudo on the box does not take this password: run the same command again and type "
            "the one of the user who logs in there"
        )
    if re.search(r"is not (in the sudoers file|allowed to (run|execute))", message):
        return "the user who logs in may not use sudo: set ansible_user in the inventory to one who may"
    return None


def unreachable_sentence(result: Mapping[str, Any]) -> str:
    """Why a host cannot be reached, and what to do."""
    why = _one_line(result.get("msg"))
    why = re.sub(r"^(Task failed: )?(Failed to connect to the host via ssh: )?", "", why)
    if "Host key verification failed" in why or "host key" in why.lower():
        return (
            "its SSH host key is not known, or not the one known: "
            "connect once with `ssh`, compare the key, then run the same command again"
        )
    if "No space left on device" in why:
        return "its disk is full: make room, then run the same command again"
    if "Permission denied" in why:
        return "it refuses the SSH key or user: set ansible_user and ansible_ssh_private_key_file in the inventory"
    silent = _SILENT.search(why)
    if silent is not None:
        return (
            f"it cannot be reached over SSH ({silent[0]}): see that it is on, and that ansible_host and "
            "ansible_port in the inventory are right, then run the same command again"
        )
    return f"it cannot be reached over SSH ({why})" if why else "it cannot be reached over SSH"


def _one_line(value: object) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    text = " ".join(plain(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
