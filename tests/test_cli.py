"""The command line: help, usage errors, exit codes, and what is imported at start."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from common.command_line.click_types import range_in_words
from common.command_line.grouped_command import GroupedCommand
from tests.conftest import ROOT, Command

HEAVY = ("tensorflow", "keras", "torch", "jax", "ansible_runner", "matplotlib", "numpy", "pynvml")


def commands() -> dict[str, click.Command]:
    """Every command by its full name, subcommands too: "ready", "workshop run"."""
    sys.path.insert(0, str(ROOT))
    cli = importlib.import_module("dlbox").cli  # not `import dlbox`: nothing may import the command

    def below(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, name
            yield prefix + name, command
            if isinstance(command, click.Group):
                yield from below(command, f"{prefix}{name} ")

    return dict(below(cli, ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["history"],
        ["ready", "--help"],
        ["workshop", "--help"],
        ["workshop", "list"],
        ["--version"],
    ],
)
def test_nothing_heavy_is_imported_at_start(arguments: list[str]) -> None:
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    sys.argv = ["dlbox", *{arguments!r}]
    import dlbox
    try:
        dlbox.main()
    except SystemExit as end:
        assert end.code in (0, None), end.code
    sys.stderr.write("HEAVY:" + ",".join(m for m in {HEAVY!r} if m in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("HEAVY:"), done.stderr


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    command = commands()[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    "name", sorted(name for name, c in commands().items() if isinstance(c, GroupedCommand))
)
def test_every_option_is_in_the_group_that_help_shows(name: str) -> None:
    command = commands()[name]
    assert isinstance(command, GroupedCommand)
    named = {option for options in command.groups.values() for option in options}
    missing = [
        p.opts for p in command.params if isinstance(p, click.Option) and not named.intersection(p.opts)
    ]
    assert missing == [], "name the option in the `groups` of the command"
    shown = command.get_help(click.Context(command, help_option_names=["-h", "--help"]))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert len(re.findall(rf"^  {parameter.opts[0]}\b", shown, re.MULTILINE)) == 1, parameter.opts


@pytest.mark.parametrize(
    ("low", "high", "open_below", "words"),
    [
        (1, 100, False, "1 to 100"),
        (0, None, False, "at least 0"),
        (None, 9, False, "at most 9"),
        (0, 1440, True, "more than 0, at most 1440"),
        (0, None, True, "more than 0"),
    ],
)
def test_ranges_are_in_words(low: float | None, high: float | None, open_below: bool, words: str) -> None:
    assert range_in_words(low, high, open_below=open_below) == words


@pytest.mark.parametrize("name", sorted(name for name in commands() if " " not in name))
def test_the_readme_names_every_command(name: str) -> None:
    assert f"dlbox {name}" in (ROOT / "README.md").read_text()


def test_help_lists_every_command_and_imports_no_package_of_a_listed_one() -> None:
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    sys.argv = ["dlbox", "--help"]
    import dlbox
    try:
        dlbox.main()
    except SystemExit:
        pass
    imported = {{dlbox.cli.table[name].target.partition(":")[0] for name in dlbox.cli.table}} & set(sys.modules)
    sys.stderr.write("IMPORTED:" + ",".join(sorted(imported)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.stderr == "IMPORTED:"
    listed = re.findall(r"^  (\S+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == sorted(name for name in commands() if " " not in name)


def test_help_lists_every_command_with_one_line(dlbox: Command) -> None:
    """Without importing any command: the lines come from dlbox.py."""
    lines = dlbox("--help").stdout.partition("Commands:")[2].partition("\n\n")[0].splitlines()
    listed = {line.split()[0]: line.split(None, 1)[1] for line in lines if line.strip()}
    assert set(listed) == {name for name in commands() if " " not in name}
    assert all(text.endswith((".", "?")) for text in listed.values()), listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ready", "--seed", "abc"], "'abc' is not a valid whole number"),
        (["ready", "--seed", "-1"], "--seed"),
        (["bench", "--workload", "transformer"], "lstm, gru, cnn-lstm"),
        (["bench", "--backend", "caffe"], "tensorflow"),
        (["bench", "--colour"], "No such option"),
        (["benhc"], "No such command"),
        (["report", "x"], "not a file"),
        (["report", "0"], "no run 0"),
        (["report"], "the history has no runs"),
        (["report", "7"], "no run 7"),
        (["report", "1" * 5000], "there is no run 11111"),
        (["compare", "1" * 5000, "1"], "there is no run 11111"),
        (
            ["bench", "--batch", "1" * 5000],
            "--batch must be workshop, best, both or a number from 1 to 10,000, not '1111",
        ),
        (["bench", "--repeats", "1" * 5000], "--repeats"),
        (["history", "export", "x", "--run", "1" * 5000], "--run"),
        (["check", "--stress", "nan"], "'--stress': nan is out of range: expected more than 0, at most 1440"),
        (["check", "--stress", "inf"], "'--stress': inf is out of range: expected more than 0, at most 1440"),
        (["check", "--stress", "soon"], "'soon' is not a valid number"),
        (
            ["tune", "--minutes", "nan"],
            "'--minutes': nan is out of range: expected more than 0, at most 1440",
        ),
        (["tune", "--minutes", "-inf"], "'--minutes'"),
        (
            ["history", "prune", "--older-than", "nan", "--yes"],
            "'--older-than': nan is out of range: expected 0 to 36500",
        ),
        (["check", "--expect-gpus", "-1"], "--expect-gpus"),
        (["provision", "--limit", "", "--yes", "--rollback"], "--limit"),
        (["provision", "", "--yes"], "HOST"),
        (["provision", "--tags", ",", "--yes"], "--tags"),
        (["provision", "--rollback", "--tags", "jupyter", "--yes"], "leave out --tags"),
    ],
)
def test_a_usage_error_prints_one_sentence_and_exits_with_2(
    dlbox: Command, arguments: list[str], words: str
) -> None:
    done = dlbox(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dlbox: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_version(dlbox: Command) -> None:
    done = dlbox("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "dlbox,")


def test_an_empty_history_names_the_next_command(dlbox: Command) -> None:
    done = dlbox("history")
    assert done.returncode == 0
    assert "dlbox ready" in done.stdout
    listed = json.loads(dlbox("history", "--json").stdout)
    assert listed["runs"] == []
    assert dlbox("history", "--models").stdout == done.stdout


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 40])
@pytest.mark.parametrize(
    "words", [["history", "--limit"], ["history", "--models", "--limit"], ["watch", "--count"]]
)
def test_a_number_of_more_than_64_bits_is_a_usage_error(
    dlbox: Command, words: list[str], number: str
) -> None:
    done = dlbox(*words, number)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is too large" in done.stderr


@pytest.mark.parametrize(
    "words", [["report", "--output"], ["report", "--csv"], ["collect", "-o"], ["history", "import"]]
)
def test_an_empty_path_is_not_the_current_folder(dlbox: Command, words: list[str]) -> None:
    done = dlbox(*words, "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the value is empty" in done.stderr


def test_the_start_screen_names_a_damaged_history(dlbox: Command, own_data_folder: Path) -> None:
    path = own_data_folder / "dlbox" / "history.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 5000)
    done = dlbox()
    assert done.returncode == 0
    assert "is damaged" in done.stderr
    assert "history cannot be read" in done.stdout
    assert "Next: dlbox doctor" in done.stdout
    assert path.read_bytes() == b"x" * 5000


def test_a_damaged_history_is_reported_and_not_changed(dlbox: Command, own_data_folder: Path) -> None:
    path = own_data_folder / "dlbox" / "history.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 5000)
    for arguments in (["history"], ["report"], ["compare", "previous", "last"]):
        done = dlbox(*arguments)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert str(path) in done.stderr
    assert path.read_bytes() == b"x" * 5000


def test_an_unexpected_error_is_one_sentence(dlbox: Command, tmp_path: Path) -> None:
    """A broken library: no traceback, but how to get one."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise RuntimeError('broken on purpose')")
    done = dlbox("history", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "broken on purpose" in done.stderr
    assert "DLBOX_DEBUG" in done.stderr


@pytest.mark.parametrize("arguments", [("history",), ("history", "--json"), ("parts",)])
def test_a_full_disk_behind_stdout_is_one_sentence(arguments: tuple[str, ...]) -> None:
    """Also if all output fits into the buffer, which Python flushes at exit."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-P", str(ROOT / "dlbox.py"), *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "unexpected" not in done.stderr
