"""The generated files of the repository are current, and `./dlbox regenerate` writes exactly those."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests import commands_page, regenerate
from tests.conftest import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of each generated file."""
    for path in regenerate.GENERATORS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_generated_file_is_current(copy: Path) -> None:
    """Run in a separate process, as the launcher does."""
    before = contents(copy)
    done = subprocess.run(
        [sys.executable, "-m", "tests.regenerate", "--into", str(copy)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(before)} generated files, 0 changed\n", "run: ./dlbox regenerate"
    assert contents(copy) == before


@pytest.mark.parametrize("path", regenerate.GENERATORS)
def test_a_changed_or_missing_file_is_written_again(
    path: str, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One generator at a time: the others are slow to ask for each file."""
    monkeypatch.setattr(regenerate, "GENERATORS", {path: regenerate.GENERATORS[path]})
    before = contents(copy)
    for spoil in (lambda: (copy / path).write_text("old\n"), (copy / path).unlink):
        spoil()
        assert regenerate.main(["--check", "--into", str(copy)]) == 1
        assert capsys.readouterr().out == f"outdated: {path}\n1 generated files, 1 outdated\n"
        assert contents(copy) != before
        assert regenerate.main(["--into", str(copy)]) == 0
        assert capsys.readouterr().out == f"written: {path}\n1 generated files, 1 changed\n"
        assert contents(copy) == before
        assert regenerate.main(["--check", "--into", str(copy)]) == 0
        capsys.readouterr()


def test_the_list_describes_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert regenerate.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == sorted(regenerate.GENERATORS)
    assert all(line.split(": ")[1] for line in lines)


def test_two_generators_of_one_file_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two generators write docs/reference/cards\.md"):
        regenerate.generates("docs/reference/cards.md")(lambda: "")


def test_every_page_of_the_reference_is_generated() -> None:
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "reference").iterdir()}
    assert pages <= set(regenerate.GENERATORS)


def test_the_reference_of_the_commands_has_every_command_and_option() -> None:
    """Found in the click tree itself, whichever way the page walks it."""
    page = commands_page.page()
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    cli = importlib.import_module("dlbox").cli
    waiting = [("dlbox", cli, click.Context(cli, info_name="dlbox"))]
    seen = set()
    while waiting:
        words, command, context = waiting.pop()
        seen.add(words)
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in sections[words] for name in option.opts), f"{words} {option.opts}"
            if isinstance(option, click.Option) and isinstance(option.type, click.Choice):
                assert all(f"`{choice}`" in sections[words] for choice in option.type.choices)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                waiting.append(
                    (f"{words} {name}", below, click.Context(below, info_name=name, parent=context))
                )
    assert set(sections) == seen
    assert len(seen) > 15
