"""Runs a playbook: progress by task, a log file a host, an outcome a host, no child left behind.

The only module that imports ansible_runner. What Ansible needs lies in a temporary folder that only this user
can read and that is gone afterwards; passwords go to Ansible's own prompt on a terminal of its own, so that
they are in no file, no argument and no environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil

from common.guard import prefix
from provision.ansible.clean_text import file_name, plain
from provision.ansible.eta import Pace, in_words
from provision.ansible.heartbeat import Holding
from provision.ansible.outcome import HostOutcome, Outcome, Tally, label, left_out, unheaded

HOUSE = Path(__file__).resolve().parent.parent
THIS_MACHINE = "localhost"
"""The host's name where no inventory is given."""
_POLITE_S = 5.0
_SSH = "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=15 -o ServerAliveCountMax=8"


class Watcher(Protocol):
    """Speaks to a person while work goes on."""

    def begin(self, label: str, doing: str) -> None: ...
    def update(self, doing: str, share: float | None = None, rate: str = "") -> None: ...
    def done(self, outcome: str) -> None: ...


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Passwords that a person typed. They stay in memory."""

    become: str | None = None
    vault: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, on what."""

    playbook: Path
    """One of the house's by its name ("site.yml"), or any by its path."""
    inventories: tuple[Path, ...] = ()
    """None: this machine alone, without SSH."""
    variables: Mapping[str, Mapping[str, Any]] = {}
    """Host -> variables, in addition to those of the inventories."""
    limit: str | None = None
    hosts: tuple[str, ...] = ()
    """The hosts that were named: one that Ansible leaves out is in the outcome, as failed."""
    tags: tuple[str, ...] = ()
    check: bool = False
    """A dry run, with the differences it would make."""
    facts: Path | None = None
    """A folder where one playbook leaves what it gathered of the boxes and the next finds it."""
    forks: int = 10


def run(job: Job, watcher: Watcher, logs: Path, secrets: Secrets | None = None) -> Outcome:
    """Run it to the end. Raises KeyboardInterrupt on Ctrl-C, when nothing of it runs any more on this machine."""
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
        return _Run(job, watcher, logs, secrets or Secrets(), Path(temporary)).go()


class _Run:
    def __init__(self, job: Job, watcher: Watcher, logs: Path, secrets: Secrets, folder: Path) -> None:
        self._job, self._watcher, self._logs, self._folder = job, watcher, logs, folder
        self._secrets = secrets
        self._holding = Holding(folder / "ssh")
        whole = job.playbook.stem == "site" and not job.tags and not job.check
        driver = any("nvidia_driver_packages" in told for told in job.variables.values())
        self._pace = Pace(logs / f"{job.playbook.stem}.pace.json", slow=whole, driver=driver or not whole)
        self._tallies: dict[str, Tally] = {}
        self._streams: dict[str, Any] = {}
        self._rescued: dict[str, bool] = {}
        self._errors: list[str] = []
        self._doing = "starting"

    def go(self) -> Outcome:
        started = time.monotonic()
        self._watcher.begin(self._job.playbook.stem, self._doing)
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        try:
            with self._holding:
                code = self._run(before)
        finally:
            _close_connections(self._folder / "ssh")
            for stream in self._streams.values():
                stream.close()
        outcome = self._outcome(code, time.monotonic() - started)
        self._pace.finish(keep=outcome.succeeded and not self._job.check and not self._job.tags)
        self._watcher.done(_summary(outcome))
        return outcome

    def _run(self, before: set[int]) -> int:
        try:
            return self._play()
        except BaseException:
            _end_children(before)
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
            project_dir=str((path if path.is_absolute() else HOUSE / "playbooks" / path).parent),
            playbook=path.name,
            roles_path=str(HOUSE / "roles"),
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
        found = [part for path in self._sources() for part in ("-i", str(path))]
        found += [f"--limit={job.limit}"] if job.limit else []
        found += [f"--tags={','.join(job.tags)}"] if job.tags else []
        found += ["--check", "--diff"] if job.check else []
        found += ["--ask-become-pass"] if self._secrets.become is not None else []
        found += ["--ask-vault-pass"] if self._secrets.vault is not None else []
        return [*found, "--forks", str(job.forks)]

    def _sources(self) -> list[Path]:
        """The inventories, and one made here with the variables of each host, which Ansible does not evaluate."""
        hosts: dict[str, dict[str, Any]] = {
            name: unsafe(values) for name, values in self._job.variables.items()
        }
        if not self._job.inventories:
            hosts[THIS_MACHINE] = {"ansible_connection": "local", **hosts.get(THIS_MACHINE, {})}
        place = self._folder / "hosts.json"
        place.touch(mode=0o600)
        shared = {"dlbox_run": unsafe(self._holding.told)}
        place.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}), encoding="utf-8")
        return [*(path.absolute() for path in self._job.inventories), place]

    def _environment(self) -> dict[str, str]:
        for place in ("ssh", "tmp"):
            (self._folder / place).mkdir(mode=0o700)
        (self._folder / "ansible.cfg").touch()
        return {
            "ANSIBLE_GATHERING": "smart",  # what is in the cache is not gathered again
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / "collections"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_ARGS": _SSH,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "ssh"),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_TIMEOUT": "20",
            "ANSIBLE_INJECT_FACT_VARS": "False",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",  # the distribution's own, which has its apt module
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "False",
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_NOCOWS": "True",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(
                self._folder / "tmp"
            ),  # a module that is killed on this machine leaves its own behind
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def _event(self, event: Mapping[str, Any]) -> bool:
        """Take what is needed; nothing of it is written to the runner's own files."""
        kind, text = str(event.get("event", "")), str(event.get("stdout") or "")
        data = event.get("event_data") or {}
        if kind in ("playbook_on_task_start", "playbook_on_handler_task_start"):
            self._doing = label(data)
            self._pace.begin(self._doing)
            self._tick()
        elif kind == "playbook_on_stats":
            failed = {**data.get("failures", {}), **data.get("dark", {})}
            self._rescued = {name: name not in failed for name in self._tallies}
        elif "host" in data and kind.startswith(("runner_on_", "runner_item_", "runner_retry")):
            name = str(data["host"])
            self._log(name, text)
            self._tallies.setdefault(name, Tally(name, check=self._job.check)).took(kind, data)
        elif kind in ("verbose", "error", "warning") and text.strip():
            self._errors.append(plain(text).strip())
        return False

    def _log(self, name: str, text: str) -> None:
        if name not in self._streams:
            path = self._log_path(name)
            if path.exists():
                path.replace(path.with_suffix(".log.1"))
            path.touch(mode=0o600)  # it may tell the password for one use that the firmware will ask for
            self._streams[name] = path.open("w", encoding="utf-8")
        words = unheaded(text)
        for secret in (self._secrets.become, self._secrets.vault):
            words = words.replace(secret, "***") if secret else words
        if words:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._streams[name].write(f"{stamp} {self._doing}\n{words}\n\n")
            self._streams[name].flush()

    def _log_path(self, name: str) -> Path:
        return self._logs / f"{file_name(name)}.log"

    def _tick(self) -> bool:
        """Twice a second: the bar moves during a long task too. Never cancels by itself."""
        self._watcher.update(self._doing, share=self._pace.share, rate=in_words(self._pace.seconds_left))
        return False

    def _outcome(self, code: int, seconds: float) -> Outcome:
        hosts: list[HostOutcome] = [
            tally.outcome(
                self._log_path(name) if name in self._streams else None, self._rescued.get(name, False)
            )
            for name, tally in self._tallies.items()
        ]
        error, why = None, _why(self._errors)
        if not hosts or (code and all(host.status in ("ok", "changed") for host in hosts)):
            error = why or f"Ansible ended with {code} before it came to a host"
        hosts += [left_out(name, why) for name in self._job.hosts if name not in self._tallies]
        return Outcome(
            playbook=self._job.playbook.stem,
            check=self._job.check,
            seconds=round(seconds, 1),
            hosts=tuple(sorted(hosts, key=lambda host: host.name)),
            error=error,
        )


def unsafe(value: Any) -> Any:
    """The value as an inventory in JSON marks it, so that Ansible evaluates no template in any text of it."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, Mapping):
        return {key: unsafe(inner) for key, inner in value.items()}
    return [unsafe(inner) for inner in value] if isinstance(value, list | tuple) else value


def _why(lines: list[str]) -> str | None:
    """What Ansible said before it came to a host: its error, else its last warning."""
    for mark in ("[ERROR]: ", "ERROR! ", "[WARNING]: "):
        found = [line.partition(mark)[2] for line in lines if mark in line]
        if found:
            return " ".join(found[0].split())
    return " ".join(lines[-1].split()) if lines else None


def _summary(outcome: Outcome) -> str:
    counts: dict[str, int] = {}
    for host in outcome.hosts:
        counts[host.status] = counts.get(host.status, 0) + 1
    parts = [f"{number} {status}" for status, number in sorted(counts.items())]
    return f"{', '.join(parts) or 'no host'} in {outcome.seconds:.0f} s"


def _end_children(before: set[int]) -> None:
    """Ansible is asked to stop, as Ctrl-C on its own terminal would; what still runs then is killed."""

    def now() -> list[psutil.Process]:
        return [child for child in psutil.Process().children(recursive=True) if child.pid not in before]

    every = now()
    for child in every[:1]:
        with contextlib.suppress(psutil.Error):
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _POLITE_S
    while time.monotonic() < deadline and any(_runs(child) for child in every):
        # Workers are in sessions of their own: they are remembered before their parent is gone.
        every = list({child.pid: child for child in (*every, *now())}.values())
        time.sleep(0.1)
    for child in every:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(every, timeout=_POLITE_S)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _close_connections(folder: Path) -> None:
    """SSH's shared connections outlive the playbook by a minute: they are told to go."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "gone"],
                capture_output=True, timeout=5, check=False,
            )  # fmt: skip
