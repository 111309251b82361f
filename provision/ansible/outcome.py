"""The outcome of a playbook per host, built from Ansible's events, with one sentence per failure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from provision.ansible.diffs import describe
from provision.clean_text import plain

Status = Literal["ok", "changed", "failed", "unreachable"]

_LONGEST = 600
_HEADER = re.compile(r"^(TASK|RUNNING HANDLER|PLAY) \[.*\] \*+$", re.MULTILINE)
_NO_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure (in name resolution|resolving)|Name or service not known"
    r"|Failed to establish a new connection|Connection timed out|Could not (connect to|resolve) "
)
# A script that ran with its own terminal prints its errors on stdout; stderr then has this line only.
_SSH_ENDED = re.compile(r"Shared connection to \S+ closed\.$")
_SILENT = re.compile(
    r"Connection refused|(Connection|Operation) timed out|No route to host|Network is unreachable"
    r"|Could not resolve hostname [^:\s]+"
)
_CHECK_NETWORK = (
    "check its network and, behind a proxy, the inventory's `proxy`, then run the same command again"
)
_NO_REASON = ("non-zero return code", "module failure", "one or more items failed", "see stdout/stderr")


class HostOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a playbook on one host."""

    name: str
    status: Status
    changed: tuple[str, ...] = ()
    """Number of tasks that changed something or, in a dry run, would change something."""
    task: str | None = None
    """The task that failed."""
    message: str | None = None
    """Why it failed, in one sentence."""
    reboot_needed: bool = False
    verdict: str | None = None
    """The verdict of dlbox on the box ("ready", "cpu-only", "not-ready"), if the playbook asked for it."""
    box: dict[str, Any] | None = None
    """The facts of the box that preflight read."""
    notes: tuple[str, ...] = ()
    """Further messages for the user, such as what the screen will show at the next boot."""
    differences: tuple[str, ...] = ()
    """In a dry run: the differences in files and folders, shortened."""
    log: str | None = None
    """Path of the full log."""


class PlaybookOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a playbook. ``error`` is set if Ansible reached no host; ``seconds`` is its duration."""

    playbook: str
    check: bool
    seconds: float
    hosts: tuple[HostOutcome, ...] = ()
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether Ansible ran and no host failed or was unreachable."""
        return (
            self.error is None and bool(self.hosts) and all(h.status in ("ok", "changed") for h in self.hosts)
        )


class HostEvents:
    """Builds the outcome of one host from its events."""

    def __init__(self, name: str, *, check: bool = False) -> None:
        """``check``: a dry run; its differences are collected."""
        self.name, self._check = name, check
        self.changed: list[str] = []
        self.notes: list[str] = []
        self.differences: list[str] = []
        self.failure: tuple[str, str] | None = None
        self.unreachable = False
        self.facts: dict[str, Any] = {}

    def add(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of this host; ``kind`` is Ansible's name for it, such as ``runner_on_ok``."""
        task, result = label(data), data.get("res")
        result = result if isinstance(result, dict) else {}
        if kind == "runner_on_unreachable":
            self.unreachable = True
            self.failure = (task, unreachable_sentence(result))
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.failure = (task, failure_sentence(result))
        elif kind == "runner_item_on_ok":
            self._add_difference(task, result)
        elif kind == "runner_on_ok":
            self._add_difference(task, result)
            if result.get("changed"):
                self.changed.append(task)
            facts = result.get("ansible_facts")
            if isinstance(facts, dict):
                self.facts.update(facts)
            if str(data.get("task_action")).endswith("debug") and isinstance(result.get("msg"), str):
                self.notes.append(_one_line(result["msg"]))

    def _add_difference(self, task: str, result: Mapping[str, Any]) -> None:
        text = describe(result) if self._check and result.get("changed") else None
        # A dry run creates nothing, so every task that needs a folder reports that it would create it.
        if text is not None and not any(earlier.endswith(f"\n{text}") for earlier in self.differences):
            self.differences.append(f"{task}\n{text}")

    def outcome(self, log: Path | None, rescued: bool) -> HostOutcome:
        """The outcome so far. ``rescued``: a ``rescue`` block of the playbook handled the failure."""
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


def not_run(name: str, why: str | None) -> HostOutcome:
    """The outcome of a selected host without an event from Ansible. ``why``: what Ansible printed, if anything."""
    message = "Ansible did not run on this host"
    return HostOutcome(
        name=name,
        status="failed",
        task="The host is reached",
        message=f"{message}: {_one_line(why)}" if why else f"{message} and gave no reason",
    )


def label(data: Mapping[str, Any]) -> str:
    """Role and name of a task: "frameworks: The environment is built"."""
    name = str(data.get("task") or data.get("task_action") or "a task")
    role = data.get("role")
    return f"{role}: {name.removeprefix(f'{role} : ')}" if role else name


def without_header(text: str) -> str:
    """Ansible's printed result without the line that names the task and without colours."""
    return _HEADER.sub("", plain(text)).strip()


def failure_sentence(result: Mapping[str, Any]) -> str:
    """Why a task failed and, if that is known, how to fix it.

    The reason is the module's message or, without one, the last line (or last error) that its command printed.
    """
    for item in result.get("results") or ():
        if isinstance(item, dict) and item.get("failed"):
            return failure_sentence(item)
    message = _one_line(result.get("msg"))
    message = re.sub(r"^(Task failed|Action failed|Module failed): ", "", message)
    if (about_sudo := _sudo_sentence(message)) is not None:
        return about_sudo
    if re.match(r"No package matching '\S+' is available", message):
        return f"{message}: it is not in the box's package lists; {_CHECK_NETWORK}"
    if message and not any(words in message.lower() for words in _NO_REASON):
        return message
    for stream in ("stderr", "module_stderr", "stdout", "module_stdout", "exception"):
        every = (line.strip() for line in plain(str(result.get(stream) or "")).splitlines())
        lines = [line for line in every if line and not _SSH_ENDED.match(line)]
        errors = [line for line in lines if re.match(r"(?i)(e:|error|fatal|\w*error:)", line)]
        no_network = next((line for line in lines if _NO_NETWORK.search(line)), None)
        if any("CERTIFICATE_VERIFY_FAILED" in line or "certificate verify failed" in line for line in lines):
            return (
                "the box does not trust the TLS certificate of the package server: if a company proxy inspects TLS, "
                "set `extra_ca_bundle` in the inventory to its certificates, then run the same command"
            )
        if no_network is not None:  # pip's last line then only says that no version was found
            return (
                f"the box cannot reach the package server ({_one_line(no_network)[:200]}): {_CHECK_NETWORK}"
            )
        if lines:
            return _one_line((errors or lines)[-1])
    return message or "it gave no reason"


def _sudo_sentence(message: str) -> str | None:
    """What to do if the message is a refusal by sudo on the box; None for any other message."""
    if re.match(r"(Missing|sudo: a password is required)", message) and "password" in message:
        return "sudo on the box needs a password: run the same command with --ask-become-pass"
    if message.startswith("Incorrect sudo password"):
        return (
            "sudo on the box rejected this password: run the same command again and type "
            "the password of the user who logs in there"
        )
    if re.search(r"is not (in the sudoers file|allowed to (run|execute))", message):
        return "the user who logs in may not use sudo: set ansible_user in the inventory to a user who may"
    return None


def unreachable_sentence(result: Mapping[str, Any]) -> str:
    """Why SSH to a host failed, and what to do."""
    why = _one_line(result.get("msg"))
    why = re.sub(r"^(Task failed: )?(Failed to connect to the host via ssh: )?", "", why)
    if "Host key verification failed" in why or "host key" in why.lower():
        return (
            "its SSH host key is unknown or has changed: "
            "connect once with `ssh`, compare the key, then run the same command again"
        )
    if "No space left on device" in why:
        return "its disk is full: free some space, then run the same command again"
    if "Permission denied" in why:
        return "it refuses the SSH key or user: set ansible_user and ansible_ssh_private_key_file in the inventory"
    silent = _SILENT.search(why)
    if silent is not None:
        return (
            f"it cannot be reached over SSH ({silent[0]}): check that it is switched on and that ansible_host and "
            "ansible_port in the inventory are right, then run the same command again"
        )
    return f"it cannot be reached over SSH ({why})" if why else "it cannot be reached over SSH"


def _one_line(value: object) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    text = " ".join(plain(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
