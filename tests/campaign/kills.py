"""Kill `dlbox ready` and `dlbox bench` at random moments, and look at what is left.

``.venv/bin/python tests/campaign/kills.py 40 --seed 7`` kills 40 runs, by turns with SIGKILL, SIGHUP, SIGTERM, SIGINT
and a terminal that closes. After each: no process of it is there 3 s later, the history opens and marks the run, a
polite signal ends it with 130 and no traceback, and after the next run its temporary directory is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
DLBOX = (sys.executable, "-P", str(ROOT / "dlbox.py"))
COMMANDS = (
    ("ready", "--quick", "--workload", "cnn"),
    ("bench", "--quick", "--workload", "cnn"),
    ("bench", "--full", "--workload", "cnn", "--batch", "best"),
)
WAYS = ("SIGKILL", "SIGHUP", "SIGTERM", "SIGINT", "closed-terminal")
ORPHAN_S = 3.0
POLITE_S = 20.0
"""For a run that was asked to stop to keep what it measured, on a busy machine."""


class Kill(NamedTuple):
    """One of the campaign."""

    command: tuple[str, ...]
    way: str
    after_s: float


def kills(number: int, seed: int, longest_s: float) -> Iterator[Kill]:
    """The same for the same seed; half of them in the first tenth of the time, where a run sets itself up."""
    chance = random.Random(seed)  # noqa: S311 - moments, no secrets
    for count in range(number):
        longest = longest_s if count % 2 else longest_s / 10
        yield Kill(
            COMMANDS[count % len(COMMANDS)], WAYS[count % len(WAYS)], round(chance.uniform(0.1, longest), 2)
        )


class Campaign:
    """``folder``: with a data folder and a temporary directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.name = str(folder / "data")
        self.environment = {
            **os.environ, "XDG_DATA_HOME": self.name, "TMPDIR": str(self.temporary), "NO_COLOR": "1",
        }  # fmt: skip

    def family(self) -> list[psutil.Process]:
        """All processes that run with this campaign's data folder, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("XDG_DATA_HOME") == self.name
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def run(self, kill: Kill) -> list[str]:
        """What is wrong after it; nothing where all is well."""
        said = self.temporary.parent / "stderr"
        terminal = None
        with said.open("wb") as stderr:
            if kill.way == "closed-terminal":
                pid, terminal = pty.fork()
                if pid == 0:
                    os.execve(DLBOX[0], [*DLBOX, *kill.command], self.environment)  # noqa: S606
                _drain(terminal, kill.after_s)
            else:
                started = subprocess.Popen(
                    [*DLBOX, *kill.command], env=self.environment, stdout=subprocess.DEVNULL, stderr=stderr
                )
                pid = started.pid
                time.sleep(kill.after_s)
        process = psutil.Process(pid)
        began = self._running()
        if terminal is not None:
            os.close(terminal)
        else:
            os.kill(pid, signal.Signals[kill.way])
        wrong = []
        code = _code(pid, 5 if kill.way == "SIGKILL" else POLITE_S)
        if code is None:
            process.kill()
            os.waitpid(pid, 0)
            wrong.append("it did not end")
        time.sleep(ORPHAN_S)
        left = self.family()
        wrong += [f"left behind: {p.pid} {' '.join(p.cmdline())[:90]}" for p in left]
        for orphan in left:
            orphan.kill()
        text = said.read_text(errors="replace")
        if "Traceback" in text and not (code == -signal.SIGINT or kill.after_s < 1):
            wrong.append(f"traceback: {text[-600:]}")
        states = self._states()
        whole = began is not None and (states or {}).get(began) == "complete"
        if began and not whole and code != (-signal.SIGKILL if kill.way == "SIGKILL" else 130):
            wrong.append(f"ended with {code}")
        if states is None:
            wrong.append("the history does not open")
        elif began and (began not in states or states[began] not in ("partial", "complete")):
            wrong.append(f"run {began} is marked {states.get(began)}")
        return wrong

    def _running(self) -> int | None:
        """The number of the run that is going on now, in the history."""
        states = self._states()
        return next((number for number, state in (states or {}).items() if state == "running"), None)

    def _states(self) -> dict[int, str] | None:
        done = subprocess.run(
            [*DLBOX, "history", "--json"], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None
        return {run["id"]: run["state"] for run in json.loads(done.stdout)["runs"]}

    def leftovers(self) -> list[str]:
        """In the temporary directory, after a run that starts a process as any does."""
        subprocess.run([*DLBOX, "check", "--json"], env=self.environment, capture_output=True, check=False)
        return sorted(path.name for path in self.temporary.iterdir())


def _drain(terminal: int, seconds: float) -> None:
    """A terminal that nobody reads would stop the program."""
    os.set_blocking(terminal, False)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            return


def _code(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=40.0, metavar="SECONDS")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    campaign, bad = Campaign(folder), 0
    for count, kill in enumerate(kills(options.number, options.seed, options.longest), 1):
        wrong = campaign.run(kill)
        wrong += [f"in the temporary directory: {name}" for name in campaign.leftovers()]
        bad += bool(wrong)
        line = f"{count}: {kill.way} after {kill.after_s:.1f} s of {' '.join(kill.command)}"
        print(f"{line}: {'; '.join(wrong) or 'well'}", flush=True)
    print(f"{bad} of {options.number} left something")
    shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
