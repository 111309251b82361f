"""The outcome of a playbook per host, built from Ansible's events, with one sentence per failure."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from provision.ansible.diffs import describe
from provision.ansible.failures import failure_sentence, one_line, unreachable_sentence
from provision.clean_text import plain

Status = Literal["ok", "changed", "failed", "unreachable"]

_HEADER = re.compile(r"^(TASK|RUNNING HANDLER|PLAY) \[.*\] \*+$", re.MULTILINE)


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
    """The verdict of dlbox on the box ("ready", "cpu-only", "not-ready", "uncertain"), if the playbook asked for it."""
    box: dict[str, Any] | None = None
    """The facts of the box that preflight read."""
    notes: tuple[str, ...] = ()
    """Further messages for the user, such as what the screen will show at the next boot."""
    differences: tuple[str, ...] = ()
    """In a dry run: the differences in files and folders, shortened."""
    log: str | None = None
    """Path of the full log."""
    seconds: float = 0.0
    """Time from the first to the last event of this host."""


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
        self._begun = self._last = time.monotonic()

    def add(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of this host; ``kind`` is Ansible's name for it, such as ``runner_on_ok``."""
        self._last = time.monotonic()
        task, result = label(data), data.get("res")
        result = result if isinstance(result, dict) else {}
        if kind == "runner_on_unreachable":
            self.unreachable = True
            self.failure = (task, unreachable_sentence(result, str(data.get("remote_addr") or "")))
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
                self.notes.append(one_line(result["msg"]))

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
            seconds=round(self._last - self._begun, 1),
        )


def not_run(name: str, why: str | None) -> HostOutcome:
    """The outcome of a selected host for which Ansible reported no event. ``why``: what Ansible printed, or ""."""
    message = "Ansible did not run on this host"
    return HostOutcome(
        name=name,
        status="failed",
        task="The host is reached",
        message=f"{message}: {one_line(why)}" if why else f"{message} and gave no reason",
    )


def label(data: Mapping[str, Any]) -> str:
    """Role and name of a task: "frameworks: The environment is built"."""
    name = str(data.get("task") or data.get("task_action") or "a task")
    role = data.get("role")
    return f"{role}: {name.removeprefix(f'{role} : ')}" if role else name


def without_header(text: str) -> str:
    """Ansible's printed result without the line that names the task and without colours."""
    return _HEADER.sub("", plain(text)).strip()
