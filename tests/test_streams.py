"""stdin, stdout and stderr may be closed, broken or ASCII, and paths may be invalid UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bench.commands import measure
from bench.results.export.spreadsheet import csv_table
from bench.results.record.document import Document, from_json, to_json, to_json_line
from bench.results.store import lookup
from bench.results.store.history import History, default_path
from bench.run import session
from common.file_access.files import to_stdout
from tests.conftest import ROOT, Command, script
from tests.samples import document, machine

ASCII = [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.fixture
def stored(own_data_folder: Path) -> Document:
    """Two runs of a computer whose name is not ASCII."""
    history = History(default_path())
    host = machine().host
    for _ in range(2):
        made = document(machine=machine(host=type(host)(**{**_fields(host), "hostname": "bücher"})))
        history.save(history.begin(made), made, "complete")
    return made


def _fields(host: object) -> dict[str, object]:
    return {name: getattr(host, name) for name in host.__struct_fields__}  # type: ignore[attr-defined]


def redirected(redirection: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    call = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-P", str(ROOT / "dlbox.py")]
    return subprocess.run([*call, *arguments], capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("history", "prune", "--keep", "3"), b"stdin is not a terminal: pass --yes"),
        (("history", "import", "-"), b"- contains no run; nothing was imported"),
    ],
)
def test_a_closed_stdin_is_an_empty_stdin_without_a_terminal(
    stored: Document, arguments: tuple[str, ...], words: bytes
) -> None:
    done = redirected("<&-", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("history",), ("history", "--json"), ("parts",), ("report", "1", "--csv", "-"), ("check", "--only", "host"),
     ("history", "export", "-"), ("compare", "1", "2", "--json")],
)  # fmt: skip
def test_a_closed_stdout_is_reported_before_any_work(stored: Document, arguments: tuple[str, ...]) -> None:
    done = redirected(">&-", *arguments)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert b"stdout is closed" in done.stderr


def test_a_closed_stderr_is_not_replaced_by_another_file(stored: Document, tmp_path: Path) -> None:
    """The next file that is opened gets the lowest free file descriptor."""
    file = tmp_path / "x.csv"
    done = redirected("2>&-", "report", "1", "--csv", str(file))
    assert done.returncode == 0
    assert file.read_text() == csv_table(History(default_path()).runs()[0].document or stored)


@pytest.mark.parametrize("as_json", [True, False])
def test_files_are_written_if_stdout_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(session, "run", lambda options, watcher: document())
    monkeypatch.setattr(measure, "to_stdout", broken)
    monkeypatch.setattr("bench.results.terminal.results.show", broken)
    file = tmp_path / "out.csv"
    with pytest.raises(BrokenPipeError):
        measure.measure(
            "bench", workloads=(), suite="ready", backend=None, quick=True, seed=0, repeats=None, output=None,
            expect_gpus=None, as_json=as_json, complain=print, csv=file,
        )  # fmt: skip
    assert file.read_text() == csv_table(document())


@pytest.mark.parametrize("environment", ASCII)
def test_a_terminal_in_ascii_shows_everything(
    dlbox: Command, stored: Document, tmp_path: Path, environment: dict[str, str]
) -> None:
    for arguments in (
        ("history",), ("report", "1", "--markdown"), ("compare", "1", "2"), ("--help",), ("report", "--help"),
        ("check", "--only", "host"), ("parts",), ("report", "1", "--output", str(tmp_path / "bücher")),
    ):  # fmt: skip
        done = dlbox(*arguments, **environment)
        assert "unexpected" not in done.stderr, arguments
        assert done.returncode == 0 or arguments[0] == "check"
        assert done.stdout.strip()
    assert list((tmp_path / "bücher").iterdir())


@pytest.mark.parametrize("environment", ASCII)
def test_output_for_programs_is_always_utf_8(stored: Document, environment: dict[str, str]) -> None:
    command_line = [sys.executable, "-P", str(ROOT / "dlbox.py")]
    for arguments in (("history", "export", "-", "--run", "1"), ("report", "1", "--csv", "-")):
        done = subprocess.run(
            [*command_line, *arguments], capture_output=True, env={**os.environ, **environment}, check=True
        )
        assert "bücher" in done.stdout.decode("utf-8")


def test_json_is_utf_8_on_a_stdout_that_is_not(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    sys.stdout.reconfigure(encoding="latin-1")  # type: ignore[attr-defined,union-attr]
    to_stdout('"bücher"\n')
    assert json.loads(capsysbinary.readouterr().out) == "bücher"


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history folder whose name is not valid UTF-8."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


def test_a_run_is_stored_below_a_path_that_is_not_utf_8(odd: Path) -> None:
    made = document(report=str(odd / "page.html"))
    assert from_json(to_json_line(made)).report == str(odd / "page.html").replace("\udce9", "\ufffd")
    assert from_json(to_json(made)) == from_json(to_json_line(made))
    history = History(default_path())
    number = history.begin(made)
    history.save(number, made, "complete")
    found = history.run(number)
    assert found is not None
    assert found.document is not None
    assert found.document.report == str(odd / "page.html").replace("\udce9", "\ufffd")


def test_the_printed_path_of_a_page_that_is_not_utf_8_is_usable(odd: Path) -> None:
    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    done = redirected("", "report", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(odd) in done.stdout
    assert Path(os.fsdecode(done.stdout.strip())).is_file()
    shown = redirected("", "report", "1", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert shown.stdout == done.stdout
    for arguments in (("history",), ("history", "--json"), ("report", "1", "--markdown")):
        assert redirected("", *arguments).returncode == 0


def test_a_comparison_names_such_a_file(odd: Path) -> None:
    file = odd / "run.json"
    file.write_text(to_json(document()))
    for more in ((), ("--json",)):
        done = redirected("", "compare", str(file), str(file), *more)
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_import_from_stdin_has_the_limit_of_a_file(
    dlbox: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.commands import history as archiving
    from common.file_access.files import STANDARD

    for module in (lookup, archiving):
        monkeypatch.setattr(module, "LARGEST_EXPORT", 1 << 20)
    said: list[str] = []
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert archiving.bring_in(STANDARD, as_json=False, complain=said.append) == 2
    assert len(said) == 1
    assert said[0].startswith("cannot read -: it is larger than 1 MiB, the limit for one import: split it")


def test_a_full_temporary_directory_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    monkeypatch.delenv("DLBOX_DEBUG", raising=False)
    monkeypatch.setattr(click.Group, "main", lambda self, **options: full(**options))
    with pytest.raises(SystemExit) as caught:
        script(ROOT / "dlbox.py").main()
    told = capsys.readouterr().err
    assert (caught.value.code, told.count("\n")) == (1, 1)
    assert "no temporary directory is writable" in told
    assert "unexpected" not in told
