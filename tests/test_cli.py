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
        (["check", "--stress", "nan"], "'--stress': nan is not in the range 0<x<=1440"),
        (["check", "--stress", "inf"], "'--stress': inf is not in the range 0<x<=1440"),
        (["check", "--stress", "soon"], "'soon' is not a valid number"),
        (["tune", "--minutes", "nan"], "'--minutes': nan is not in the range 0<x<=1440"),
        (["tune", "--minutes", "-inf"], "'--minutes'"),
        (
            ["history", "prune", "--older-than", "nan", "--yes"],
            "'--older-than': nan is not in the range 0<=x<=36500",
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
