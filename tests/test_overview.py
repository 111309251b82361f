"""`dlbox` without a command: where the computer stands, and the next command."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bench.commands.computer import overview
from bench.finding import Finding, Status
from bench.results.record.document import Document
from bench.results.store.history import History, default_path
from tests import scenario
from tests.conftest import Command
from tests.samples import document

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def stored(verdict: str, *, hours_ago: float, command: str = "ready") -> Document:
    """Store a complete run and return its document."""
    findings: tuple[Finding, ...] = ()
    if verdict == "not-ready":
        findings = (
            Finding(
                theme="driver",
                check="nouveau",
                status=Status.FAIL,
                title="t",
                message="m",
                remedy="blacklist it",
            ),
        )
    started = (NOW - timedelta(hours=hours_ago)).isoformat(timespec="seconds")
    made = msgspec.structs.replace(
        document(), verdict=verdict, findings=findings, started_at=started, command=command, partial=False
    )
    history = History(default_path())
    history.save(history.begin(made), made, "complete")
    history.close()
    return made


def seen(name: str, folder: Path) -> overview.Overview:
    return overview.overview(scenario.load(name).sysroot(folder), NOW)


@pytest.mark.parametrize(
    ("name", "driver", "command"),
    [
        ("cpu_only", "no NVIDIA driver is loaded", "dlbox ready"),
        ("rtx3060_idle", "NVIDIA 580", "dlbox ready"),
        ("no_driver", "no NVIDIA driver is loaded", "dlbox doctor"),
        ("nouveau_bound", "nouveau, which cannot train", "dlbox doctor"),
    ],
)
def test_a_new_computer_gets_one_next_command(name: str, driver: str, command: str, tmp_path: Path) -> None:
    found = seen(name, tmp_path)
    assert found.driver.startswith(driver)
    assert found.next_command == command
    assert found.verdict is None
    assert bool(found.cards) is (name != "cpu_only")


@pytest.mark.parametrize(
    ("verdict", "hours", "command"),
    [
        ("ready", 3, "dlbox workshop list"),
        ("ready", 24 * 31, "dlbox ready"),
        ("not-ready", 3, "dlbox doctor"),
        ("cpu-only", 1, "dlbox workshop list"),
    ],
)
def test_the_last_verdict_decides_the_next_command(
    verdict: str, hours: float, command: str, tmp_path: Path
) -> None:
    stored(verdict, hours_ago=hours)
    stored("ready", hours_ago=0, command="bench")  # a bench has no verdict on the computer
    found = seen("rtx3060_idle", tmp_path)
    assert (found.verdict, found.verdict_run, found.next_command) == (verdict, 1, command)
    assert found.findings == (("driver.nouveau",) if verdict == "not-ready" else ())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (200_000, "2 days ago")],
)
def test_ages_are_in_words(seconds: int, words: str) -> None:
    assert overview.age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == words


def test_the_screen_fits_80_columns_and_ends_with_the_commands(dlbox: Command) -> None:
    done = dlbox(NO_COLOR="1", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Next: dlbox ready" in done.stdout
    assert done.stdout.endswith("All commands: dlbox --help\n")


def test_the_screen_as_json(dlbox: Command) -> None:
    done = dlbox("--json")
    assert json.loads(done.stdout)["next_command"] == "dlbox ready"
    assert json.loads(done.stdout)["command"] == "dlbox"


def test_json_before_a_command_is_refused_with_the_right_place(dlbox: Command) -> None:
    done = dlbox("--json", "plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert "dlbox plan --json" in done.stderr


def test_a_group_without_a_command_prints_no_error(dlbox: Command) -> None:
    done = dlbox("workshop")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Start with: dlbox workshop run" in done.stdout
