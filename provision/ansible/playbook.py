"""Run a playbook: progress per task, one log file and one outcome per host, no child process left behind.

The only module that imports ansible_runner. Ansible's files are in a temporary folder that only this user can read
and that is removed afterwards. Passwords are typed into Ansible's own prompt on a pseudo-terminal, so that no file,
argument or environment variable contains them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from common.processes.guard import prefix
from provision import PROVISION_DIR
from provision.ansible import ending
from provision.ansible.eta import TimeEstimate, in_words
from provision.ansible.failures import vault_sentence
from provision.ansible.heartbeat import Heartbeat
from provision.ansible.logs import HostLogs
from provision.ansible.outcome import HostEvents, HostOutcome, PlaybookOutcome, label, not_run, without_header
from provision.clean_text import plain
from provision.progress import ProgressReporter

THIS_MACHINE = "localhost"
"""The name of the host if no inventory is given."""
_BOXES_SHOWN = 2
_SSH = "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=8"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Passwords that the user typed, for sudo on the hosts and for Ansible's vault. They are kept in memory only."""

    become: str | None = None
    vault: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


class PlaybookJob(msgspec.Struct, frozen=True, kw_only=True):
    """Which playbook to run, on which hosts, with which variables."""

    playbook: Path
    """A file name in provision/playbooks ("site.yml"), or any other playbook by its path."""
    inventories: tuple[Path, ...] = ()
    """Paths of the inventories. Empty: this machine only, without SSH."""
    variables: Mapping[str, Mapping[str, Any]] = {}
    """Host -> variables, in addition to those of the inventories."""
    limit: str | None = None
    """Hosts to which Ansible restricts the run, as a pattern (its option ``--limit``)."""
    hosts: tuple[str, ...] = ()
    """The selected hosts. A host for which Ansible reports no event gets the status "failed"."""
    tags: tuple[str, ...] = ()
    check: bool = False
    """A dry run that reports the differences it would make."""
    facts: Path | None = None
    """A folder for gathered facts. The next playbook with the same folder reuses these facts."""
    forks: int = 10


def run(
    job: PlaybookJob, progress: ProgressReporter, logs: Path | HostLogs, secrets: Secrets | None = None
) -> PlaybookOutcome:
    """Run a playbook to its end; the log of host NAME is NAME.log in the folder ``logs``.

    The playbooks of one command share one ``HostLogs`` and so one file per host.

    Raises KeyboardInterrupt on Ctrl-C, after every process of the run on this machine has ended.
    """
    logs = logs if isinstance(logs, HostLogs) else HostLogs(logs)
    logs.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
        return _PlaybookRun(job, progress, logs, secrets or Secrets(), Path(temporary)).run()


class _PlaybookRun:
    """One run of a playbook; ``folder`` is its temporary folder."""

    def __init__(
        self, job: PlaybookJob, progress: ProgressReporter, logs: HostLogs, secrets: Secrets, folder: Path
    ) -> None:
        self._job, self._progress, self._logs, self._folder = job, progress, logs, folder
        self._secrets = secrets
        self._heartbeat = Heartbeat(folder / "ssh")
        whole = job.playbook.stem == "site" and not job.tags and not job.check
        driver = any("nvidia_driver_packages" in variables for variables in job.variables.values())
        self._estimate = TimeEstimate(
            logs.folder / f"{job.playbook.stem}{'-check' if job.check else ''}.pace.json",
            slow=whole,
            driver=driver or not whole,
        )
        self._events: dict[str, HostEvents] = {}
        self._rescued: dict[str, bool] = {}
        self._errors: list[str] = []
        self._doing = "starting"
        self._at_work: list[str] = []

    def run(self) -> PlaybookOutcome:
        started = time.monotonic()
        self._progress.begin(self._job.playbook.stem, self._doing)
        with ending.EndWatcher(self._folder, self._heartbeat.identity):
            before = frozenset(child.pid for child in psutil.Process().children(recursive=True))
            try:
                code = self._call_ansible(before)
            finally:
                with ending.signals_ignored():
                    ending.close_connections(self._folder / "ssh")
                    self._logs.close()
        outcome = self._outcome(code, time.monotonic() - started)
        self._estimate.finish(keep=outcome.succeeded and not self._job.tags)
        self._progress.done(_summary(outcome))
        return outcome

    def _call_ansible(self, before: frozenset[int]) -> int:
        with contextlib.ExitStack() as at_last, self._heartbeat:
            try:
                return self._play()
            except BaseException:
                at_last.enter_context(ending.signals_ignored())  # until the boxes know of the end
                ending.end_ansible(self._folder, before)
                raise

    def _play(self) -> int:
        import ansible_runner

        answers = {}
        if self._secrets.become is not None:
            answers[r"BECOME password.*:\s*?$"] = self._secrets.become
        if self._secrets.vault is not None:
            answers[r"Vault password.*:\s*?$"] = self._secrets.vault
        path = self._job.playbook
        (self._folder / "env").mkdir()
        (self._folder / "env" / "settings").write_text(json.dumps({"pexpect_timeout": 0.5}), encoding="utf-8")
        runner = ansible_runner.run(
            private_data_dir=str(self._folder),
            project_dir=str((path if path.is_absolute() else PROVISION_DIR / "playbooks" / path).parent),
            playbook=path.name,
            roles_path=str(PROVISION_DIR / "roles"),
            cmdline=shlex.join(self._arguments()),
            envvars=self._environment(),
            passwords=answers,
            suppress_env_files=True,
            fact_cache=str(self._job.facts) if self._job.facts else None,
            quiet=True,
            event_handler=self._event,
            cancel_callback=self._tick,
        )
        return int(runner.rc or 0)

    def _arguments(self) -> list[str]:
        job = self._job
        arguments = [part for path in self._inventories() for part in ("-i", str(path))]
        arguments += [f"--limit={job.limit}"] if job.limit else []
        arguments += [f"--tags={','.join(job.tags)}"] if job.tags else []
        arguments += ["--check", "--diff"] if job.check else []
        arguments += ["--ask-become-pass"] if self._secrets.become is not None else []
        arguments += ["--ask-vault-pass"] if self._secrets.vault is not None else []
        return [*arguments, "--forks", str(job.forks)]

    def _inventories(self) -> list[Path]:
        """The job's inventories, and a new one with the job's variables, in which Ansible evaluates no templates."""
        hosts: dict[str, dict[str, Any]] = {
            name: unsafe(values) for name, values in self._job.variables.items()
        }
        if not self._job.inventories:
            hosts[THIS_MACHINE] = {
                "ansible_connection": "local",
                "ansible_remote_tmp": str(self._folder / "tmp"),
                **hosts.get(THIS_MACHINE, {}),
            }
        path = self._folder / "hosts.json"
        path.touch(mode=0o600)
        shared = {"dlbox_run": unsafe(self._heartbeat.variables)}
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}), encoding="utf-8")
        return [*(inventory.absolute() for inventory in self._job.inventories), path]

    def _environment(self) -> dict[str, str]:
        for name in ("ssh", "tmp"):
            (self._folder / name).mkdir(mode=0o700)
        (self._folder / "ansible.cfg").touch()
        return {
            "ANSIBLE_GATHERING": "smart",  # cached facts are not gathered again
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_REMOTE_TEMP": self._heartbeat.remote_folder,
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / "collections"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_ARGS": _SSH,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "ssh"),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_TIMEOUT": "20",
            "ANSIBLE_INJECT_FACT_VARS": "False",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",  # the distribution's own Python has its apt module
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "False",
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_NOCOWS": "True",
            "LC_ALL": "C.UTF-8",
            # A module that is killed on this machine leaves its temporary files behind: in this folder.
            "TMPDIR": str(self._folder / "tmp"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def _event(self, event: Mapping[str, Any]) -> bool:
        """Handle one event of Ansible. Returns False, so that ansible_runner does not write the event to a file."""
        kind, text = str(event.get("event", "")), str(event.get("stdout") or "")
        data = event.get("event_data") or {}
        if kind in ("playbook_on_task_start", "playbook_on_handler_task_start"):
            self._doing = label(data)
            self._at_work.clear()
            self._estimate.begin(self._doing)
            self._tick()
        elif kind == "runner_on_start":
            self._at_work.append(str(data.get("host") or ""))
        elif kind == "playbook_on_stats":
            failed = {**data.get("failures", {}), **data.get("dark", {})}
            self._rescued = {name: name not in failed for name in self._events}
        elif "host" in data and kind.startswith(("runner_on_", "runner_item_", "runner_retry")):
            name = str(data["host"])
            if kind in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped"):
                self._at_work = [host for host in self._at_work if host != name]
            self._log(name, text)
            self._events.setdefault(name, HostEvents(name, check=self._job.check)).add(kind, data)
        elif kind in ("verbose", "error", "warning") and text.strip():
            self._errors.append(plain(text).strip())
        return False

    def _log(self, name: str, text: str) -> None:
        text = without_header(text)
        for secret in (self._secrets.become, self._secrets.vault):
            text = text.replace(secret, "***") if secret else text
        if text:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._logs.write(name, f"{stamp} {self._doing}\n{text}\n\n")

    def _tick(self) -> bool:
        """ansible_runner calls this twice a second, so that the bar moves. Returns False: the run is not cancelled."""
        estimate = self._estimate
        self._progress.update(self._description(), share=estimate.share, rate=in_words(estimate.seconds_left))
        return False

    def _description(self) -> str:
        """The task, the phase of the installation in it, and the boxes that work on it: "task (unpacking) on desk"."""
        phase = f" ({self._heartbeat.phase})" if self._heartbeat.phase else ""
        boxes = [name for name in self._at_work if name and name != THIS_MACHINE]
        more = f" and {len(boxes) - _BOXES_SHOWN} more" if len(boxes) > _BOXES_SHOWN else ""
        where = f" on {', '.join(boxes[:_BOXES_SHOWN])}{more}" if boxes else ""
        return f"{self._doing}{phase}{where}"

    def _outcome(self, code: int, seconds: float) -> PlaybookOutcome:
        hosts: list[HostOutcome] = [
            events.outcome(
                self._logs.path(name) if self._logs.has(name) else None, self._rescued.get(name, False)
            )
            for name, events in self._events.items()
        ]
        error, why = None, _reason(self._errors)
        if not hosts or (code and all(host.status in ("ok", "changed") for host in hosts)):
            error = why or f"Ansible ended with exit code {code} before it reached a host"
        hosts += [not_run(name, why) for name in self._job.hosts if name not in self._events]
        return PlaybookOutcome(
            playbook=self._job.playbook.stem,
            check=self._job.check,
            seconds=round(seconds, 1),
            hosts=tuple(sorted(hosts, key=lambda host: host.name)),
            error=error,
        )


def unsafe(value: Any) -> Any:
    """``value`` for a JSON inventory, with every text marked "unsafe", so that Ansible evaluates no template in it."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, Mapping):
        return {key: unsafe(inner) for key, inner in value.items()}
    return [unsafe(inner) for inner in value] if isinstance(value, list | tuple) else value


def _reason(lines: list[str]) -> str | None:
    """What Ansible printed before it reached a host: its error, else its warning, else its last line."""
    known = vault_sentence("\n".join(lines))
    if known is not None:
        return known
    for mark in ("[ERROR]: ", "ERROR! ", "[WARNING]: "):
        found = [line.partition(mark)[2] for line in lines if mark in line]
        if found:
            return " ".join(found[0].split())
    return " ".join(lines[-1].split()) if lines else None


def _summary(outcome: PlaybookOutcome) -> str:
    counts: dict[str, int] = {}
    for host in outcome.hosts:
        counts[host.status] = counts.get(host.status, 0) + 1
    parts = [f"{number} {status}" for status, number in sorted(counts.items())]
    return f"{', '.join(parts) or 'no host'} in {outcome.seconds:.0f} s"
