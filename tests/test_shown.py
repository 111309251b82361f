"""Text from outside cannot send control sequences to a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from common.terminal import shown
from common.terminal.console import Console
from common.terminal.progress import ProgressDisplay
from tests.conftest import ROOT

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NASTY = "a\x1b[2J\x1b]8;;http://x\x07\x9b31m\u202eb\u2066\u200f\u2028c\x7f"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "dlbox.py"), *arguments],
        cwd=folder, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip


@given(st.text())
def test_control_characters_are_escaped_and_other_text_is_unchanged(text: str) -> None:
    made = shown.visible(text)
    assert not STEERING.search(made)
    assert shown.visible(made) == made
    plain = re.sub(r"\\u[0-9a-f]{4}", "", made)
    assert len(plain) <= len(text)
    if not shown.UNSAFE.search(text):
        assert made == text


@given(st.dictionaries(st.text(), st.text() | st.just(NASTY), max_size=4))
def test_escaping_does_not_change_a_json_document(document: dict[str, str]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    assert json.loads(shown.visible(text)) == document


@given(st.text(max_size=500), st.integers(2, 80))
def test_a_shortened_value_never_exceeds_the_limit(text: str, most: int) -> None:
    made = shown.shortened(text, most)
    assert len(made) <= most
    assert "\n" not in made


def test_a_sentence_keeps_paths_and_prose_and_cuts_values() -> None:
    path = "/tmp/" + "a/" * 60 + "x.yml"
    prose = "the card's reading of the box's own words " * 5 + "isn't cut"
    assert shown.sentence(f"cannot read {path}: {prose}") == f"cannot read {path}: {prose}"
    for quote in "'\"`":
        made = shown.sentence(f"got {quote}{'Z ' * 500}{quote}, expected less")
        assert len(made) < 120
        assert made.endswith("expected less")
    assert len(shown.sentence("x" * 5000)) == 80
    assert shown.sentence("one\ndlbox: READY").splitlines()[1].startswith("  ")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_prints_no_control_characters_and_no_markup(terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=200)
    console._force_terminal = terminal
    console.no_color = True
    table = Table(title=NASTY)
    table.add_column(f"[bold]{NASTY}")
    table.add_row(f"[link=http://x]{NASTY}[/link] :smile:")
    table.add_row(Text(NASTY))
    console.print(table)
    console.print(f"[red]{NASTY}[/red]", Text(NASTY))
    made: io.StringIO = console.file  # type: ignore[assignment]
    said = re.sub(r"\x1b\[[0-9;]*m", "", made.getvalue())  # styles of our own
    assert not STEERING.search(said)
    assert "[bold]" in said
    assert "[link=http://x]" in said
    assert ":smile:" in said


def test_progress_prints_markup_unchanged() -> None:
    console = Console(file=io.StringIO(), width=200)
    console._force_terminal = True
    watcher = ProgressDisplay(console)
    with watcher:
        watcher.begin(f"[bold]box{NASTY}", "starting")
        watcher.update("[/] unbalanced", 0.5, "[red]")
        watcher.done(NASTY)
    made: io.StringIO = console.file  # type: ignore[assignment]
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", made.getvalue()).replace("\r", "")  # rich's own bar
    assert not STEERING.search(said)
    assert "[bold]box" in said


HOSTS = (
    'all: {hosts: {"h\\e[31m\u202e": {card: "RTX 9\\e[2J\u2066", distribution: ubuntu-24.04}, '
    '"[bold]x[/]\u202e": {card: RTX 3060, distribution: ubuntu-24.04}}}'
)


CARDS = (
    'all: {hosts: {h1: {card: "RTX 9\\e[2J\\u2066", distribution: ubuntu-24.04}, '
    "h2: {card: RTX 3060, distribution: ubuntu-24.04}}}"
)
"""As HOSTS, with host names that are accepted."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--card", f"RTX 99{NASTY}", "--distro", "debian-13"),
        ("plan", "--card", f"Radeon {NASTY}", "--distro", "debian-13"),
        ("plan", "--card", "RTX 3060", "--distro", f"fedora{NASTY}-40"),
        ("plan", "--card", "RTX 3060", "--distro", "debian-13", "--kernel", NASTY),
        ("plan", "--inventory", "hosts.yml"),
        ("plan", "--inventory", "hosts.yml", "--json"),
        ("plan", "--inventory", "cards.yml"),
        ("plan", "--inventory", "cards.yml", "--json"),
        ("plan", "--inventory", "hosts.yml", "--host", NASTY),
        ("plan", "--inventory", NASTY),
        ("parts", NASTY),
        ("parts", f"./{NASTY}.yml"),
        ("compare", NASTY, "last"),
        ("report", NASTY),
        ("check", "--explain", NASTY),
        ("check", "--only", NASTY),
        ("workshop", "run", NASTY),
        ("workshop", "predict", "seq2seq", "--text", "1", "--model", NASTY, "--output", "."),
        ("bench", "--workload", NASTY),
        (NASTY,),
        ("bench", f"--{NASTY}"),
    ],
)
def test_no_command_prints_control_characters_of_its_arguments(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "hosts.yml").write_text(HOSTS, encoding="utf-8")
    (tmp_path / "cards.yml").write_text(CARDS, encoding="utf-8")
    if "\0" in "".join(arguments):
        pytest.skip("no argument can hold NUL")
    done = run(*arguments, folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert not STEERING.search(done.stdout), done.stdout
    assert not STEERING.search(done.stderr), done.stderr
    if "--json" in arguments and done.returncode != 2:
        json.loads(done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--card", "Z " * 3000, "--distro", "debian-13"),
        ("plan", "--card", "RTX 3060", "--distro", "fedora" + "a" * 3000 + "-40"),
        ("plan", "--card", "RTX 3060", "--distro", "debian-13", "--kernel", "6.8." + "1" * 3000),
        ("plan", "--card", "RTX 3060", "--distro", "debian-13", "--kernel", "Z " * 3000),
        ("plan", "--host", "Z " * 3000),
        ("plan", "--framework", "Z " * 3000),
        ("plan", "--inventory", "Z" * 3000),
        ("parts", "Z " * 3000),
        ("compare", "Z " * 3000),
        ("compare", "9" * 3000),
        ("check", "--explain", "Z " * 3000),
        ("check", "--only", "Z " * 3000),
        ("check", "--power-supply", "Z " * 3000),
        ("bench", "--seed", "9" * 5000),
        ("bench", "--batch", "Z " * 3000),
        ("bench", "--workload", "Z " * 3000),
        ("workshop", "run", "Z " * 3000),
        ("workshop", "run", "sign", "--model", "Z " * 3000),
        ("Z" * 3000,),
    ],
)
def test_messages_shorten_long_values(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert "Z Z " * 21 not in done.stderr + done.stdout
    assert not re.search(r"([Za19])\1{80}", done.stderr + done.stdout)
