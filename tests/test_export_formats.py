"""An export format is one module: it registers itself, and the commands offer and write it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bench.commands import export
from bench.results.export import registry
from bench.results.export.registry import ExportFormat, formats
from bench.results.store.history import History, default_path
from tests.conftest import ROOT, Command
from tests.samples import document

FICTIONAL = '''
"""Training results as a list of names, and check findings as a list of ids, in formats that exist in this test only."""

from bench.results.export.registry import ExportFormat, register

register(
    ExportFormat(
        option="name-list",
        source="run",
        target="file",
        help="A file with the name of each model.",
        render=lambda document: "".join(f"{result.workload}\\n" for result in document.results),
    )
)


def write(document, folder):
    folder.mkdir()
    for result in document.results:
        (folder / result.workload).touch()
    return f"list the names with: ls {folder}"


register(
    ExportFormat(option="name-folder", source="run", target="folder", help="A folder of names.", write=write)
)
register(
    ExportFormat(
        option="id-list",
        source="check",
        target="file",
        help="A file with the id of each check.",
        render=lambda document: "".join(f"{finding.id}\\n" for finding in document.findings),
    )
)
register(
    ExportFormat(
        option="unknown-tool",
        source="run",
        target="data-folder",
        help="Data of a tool that is not installed.",
        write=write,
        package="dlbox_test_no_such_package",
        install_hint="install the tool of the test first",
    )
)
'''


@pytest.fixture
def with_fictional_formats(tmp_path: Path) -> list[str]:
    """A command line that starts dlbox with one more module in the folder of the export formats."""
    folder = tmp_path / "more_formats"
    folder.mkdir()
    (folder / "fictional.py").write_text(FICTIONAL)
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    import bench.results.export
    bench.results.export.__path__.append({str(folder)!r})
    import dlbox
    dlbox.main()
    """
    return [sys.executable, "-c", textwrap.dedent(code)]


def run(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_the_option_of_a_new_format_appears_in_help(with_fictional_formats: list[str]) -> None:
    for command, present, absent in (
        ("bench", ("--name-list FILE", "--name-folder FOLDER"), "--id-list"),
        ("report", ("--name-list FILE", "--name-folder FOLDER"), "--id-list"),
        ("check", ("--id-list FILE",), "--name-list"),
    ):
        shown = run(with_fictional_formats, command, "--help").stdout
        assert all(option in shown for option in present), shown
        assert absent not in shown


def test_a_new_format_is_written(with_fictional_formats: list[str], tmp_path: Path) -> None:
    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    history.close()
    names = [result.workload for result in document().results]
    file, folder = tmp_path / "names.txt", tmp_path / "names"
    done = run(with_fictional_formats, "report", "--name-list", str(file), "--name-folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert file.read_text().splitlines() == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert done.stderr == f"dlbox: list the names with: ls {folder}\n"
    done = run(with_fictional_formats, "report", "--name-list", "-")
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, names, "")


def test_a_new_format_of_check_is_written(with_fictional_formats: list[str], tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    done = run(with_fictional_formats, "check", "--only", "host", "--id-list", str(file))
    assert done.returncode in (0, 1), done.stderr
    assert any(line.startswith("host.") for line in file.read_text().splitlines())


def test_a_missing_package_ends_the_command_before_it_measures(with_fictional_formats: list[str]) -> None:
    done = run(with_fictional_formats, "bench", "--unknown-tool")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "dlbox: install the tool of the test first\n"


def test_options_are_listed_in_alphabetical_order_with_their_placeholders(dlbox: Command) -> None:
    for command, source in (("bench", "run"), ("report", "run"), ("check", "check")):
        shown = dlbox(command, "--help").stdout
        options = [f"--{one.option} {one.metavar}".rstrip() for one in formats(source)]
        places = [shown.index(option) for option in options]
        assert places == sorted(places)


def test_two_formats_with_one_option_are_refused() -> None:
    (csv_format,) = (one for one in formats("run") if one.option == "csv")
    assert registry.register(csv_format) == csv_format, "a module that is imported twice is accepted"
    other = ExportFormat(option="csv", source="run", target="file", help="x", render=lambda document: "")
    with pytest.raises(ValueError, match="two export formats have the option --csv"):
        registry.register(other)


@pytest.mark.parametrize("target", ["file", "folder", "data-folder"])
def test_a_format_needs_the_function_of_its_target(target: registry.Target) -> None:
    render, write = (lambda made: ""), (lambda made, folder: "")
    wrong = {"write": write} if target == "file" else {"render": render}
    for functions in ({}, wrong, {"render": render, "write": write}):
        with pytest.raises(ValueError, match="needs `render`"):
            ExportFormat(option="x", source="run", target=target, help="x", **functions)  # type: ignore[arg-type]


def test_take_separates_the_export_options_from_the_others() -> None:
    options = {"junit": Path("x"), "only": ("host",)}
    assert export.take(options, "check") == {"junit": Path("x"), "prometheus": None}
    assert options == {"only": ("host",)}
