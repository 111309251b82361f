"""Writing results: links, pipes and devices are not replaced, and "-" is stdout."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.results.export.spreadsheet import csv_table
from bench.results.record.document import Document, to_json, to_json_line
from bench.results.store import archive, lookup
from bench.results.store.history import History, default_path
from common.file_access import files
from tests.conftest import ROOT, Command
from tests.samples import document


@pytest.fixture
def stored(own_data_folder: Path) -> Document:
    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    run = history.run(1)
    assert run is not None
    assert run.document is not None
    return run.document


def test_a_link_stays_a_link_and_its_target_is_written(
    dlbox: Command, stored: Document, tmp_path: Path
) -> None:
    target, link, dangling = tmp_path / "far" / "target.csv", tmp_path / "link.csv", tmp_path / "new.csv"
    target.parent.mkdir()
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "not-there.csv")
    for path in (link, dangling):
        done = dlbox("report", "1", "--csv", str(path))
        assert (done.returncode, done.stderr) == (0, "")
        assert path.is_symlink()
    assert target.read_text() == (tmp_path / "not-there.csv").read_text() == csv_table(stored)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(p.name for p in target.parent.iterdir()) == ["target.csv"]


def test_a_failed_write_keeps_the_former_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    target, link = tmp_path / "a", tmp_path / "b"
    target.write_text("before")
    link.symlink_to(target)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(link, "after")
    assert target.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("options", [("report", "1", "--csv"), ("history", "export")])
def test_a_pipe_is_written_to(
    dlbox: Command, stored: Document, tmp_path: Path, options: tuple[str, ...]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    done = dlbox(*options, str(pipe), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    reader.join(10)
    assert "testbox" in read[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def devices(folder: Path) -> tuple[Path, Path]:
    """Device files for /dev/full and for a disk without a driver; skips if the user may not make them."""
    full, disk = folder / "full", folder / "disk"
    try:
        os.mknod(full, stat.S_IFCHR | 0o600, os.makedev(1, 7))
        os.mknod(disk, stat.S_IFBLK | 0o600, os.makedev(255, 255))
        full.open("rb").close()
    except OSError:
        pytest.skip("making device files needs root")
    return full, disk


@pytest.mark.parametrize("options", [("report", "1", "--csv"), ("history", "export"), ("check", "--junit")])
def test_a_device_stays_a_device(
    dlbox: Command, stored: Document, tmp_path: Path, options: tuple[str, ...]
) -> None:
    for device, why in zip(
        devices(tmp_path), ("No space left on device", "a disk cannot be a result file"), strict=True
    ):
        before = device.lstat()
        done = dlbox(*options, str(device))
        assert done.returncode == 1
        assert (done.stderr.count("\n"), why in done.stderr) == (1, True)
        assert device.lstat() == before


def test_every_name_of_stdout_is_stdout(dlbox: Command, stored: Document, tmp_path: Path) -> None:
    own = tmp_path / "own-name-of-it"
    own.symlink_to("/dev/stdout")
    by_name = "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", str(own), "-"
    exported = {dlbox("history", "export", name).stdout for name in by_name}
    assert len(exported) == 1
    assert exported.pop().count("\n") == 1, "and no word beside it"
    for name in by_name:
        done = dlbox("report", "1", "--csv", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, csv_table(stored), "")
    assert Path("/dev/stdout").is_symlink()


def test_output_is_appended_to_a_redirected_stdout(dlbox: Command, stored: Document, tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("before\n")
    command = [sys.executable, "-P", str(ROOT / "dlbox.py"), "report", "1", "--csv", "/dev/fd/1"]
    with kept.open("a") as out:
        assert subprocess.run(command, stdout=out, check=False).returncode == 0
    assert kept.read_text() == "before\n" + csv_table(stored)


def test_messages_go_to_stderr_if_stdout_is_the_file(
    dlbox: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = dlbox("check", "--only", "host", "--junit", "-")
    assert done.stdout.startswith("<?xml")
    assert done.stdout.rstrip().endswith("</testsuites>")
    assert "kernel" in done.stderr
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "1", "--csv", "-", "--mllog", "/dev/stdout"), "--csv and --mllog"),
        (("report", "1", "--csv", "-", "--markdown"), "--markdown and --csv"),
        (
            ("report", "1", "--tensorboard", "-"),
            "Invalid value for '--tensorboard': expected a folder, got",
        ),
        (
            ("report", "1", "--output", "-"),
            "Invalid value for '--output': expected a folder, got",
        ),
        (("provision", "--bundle", "/dev/stdout"), "Invalid value for '--bundle'"),
        (("workshop", "run", "by-hand", "--output", "-"), "Invalid value for '--output'"),
        (("workshop", "notebook", "by-hand", "--folder", "-"), "Invalid value for '--folder'"),
        (("workshop", "check", "by-hand", "--folder", "-"), "Invalid value for '--folder'"),
        (("bench", "--quick", "--csv", "-", "--json"), "--json and --csv"),
        (
            ("ready", "--quick", "--output", "-"),
            "Invalid value for '--output': expected a folder, got",
        ),
        (("check", "--junit", "-", "--json"), "--json and --junit"),
        (("check", "--junit", "-", "--prometheus", "-"), "--junit and --prometheus"),
    ],
)
def test_stdout_is_not_shared(
    dlbox: Command, stored: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = dlbox(*arguments, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert not (tmp_path / "-").exists()


OLD = 2 * files.STALE_S


def leftovers(folder: Path) -> None:
    """Two files as killed processes leave them, an old and a new one, and an old one of the user."""
    made = {
        name: folder / name for name in (".dlbox-0123456789abcdef", ".dlbox-fedcba9876543210", ".dlbox-notes")
    }
    for path in made.values():
        path.write_text("half")
        os.utime(path, (path.stat().st_atime - OLD, path.stat().st_mtime - OLD))
    os.utime(made[".dlbox-fedcba9876543210"])  # another process may be writing it now


def test_the_next_write_removes_the_temporary_file_of_a_killed_process(tmp_path: Path) -> None:
    leftovers(tmp_path)
    for name in ("x.dlbox-0123456789abcdef", ".dlbox-0123456789abcdef0"):
        (tmp_path / name).write_text("a file of the user")
        os.utime(tmp_path / name, (0, 0))
    files.write_atomically(tmp_path / "a.csv", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {
        ".dlbox-fedcba9876543210", ".dlbox-notes", "a.csv", "x.dlbox-0123456789abcdef", ".dlbox-0123456789abcdef0",
    }  # fmt: skip


def test_a_link_or_folder_with_the_name_of_a_temporary_file_is_not_removed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    os.utime(target, (0, 0))
    (tmp_path / ".dlbox-0123456789abcdef").symlink_to(target)
    (tmp_path / ".dlbox-0000000000000000").mkdir()
    os.utime(tmp_path / ".dlbox-0000000000000000", (0, 0))
    files.write_atomically(tmp_path / "a", "whole")
    assert target.read_text() == "mine"
    assert (tmp_path / ".dlbox-0123456789abcdef").is_symlink()
    assert (tmp_path / ".dlbox-0000000000000000").is_dir()


def test_a_process_killed_while_it_writes_leaves_no_file_after_the_next_write(tmp_path: Path) -> None:
    kill = (
        "import os, signal, sys; from pathlib import Path; from common.file_access import files;"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL);"
        "files.write_atomically(Path(sys.argv[1]), 'half')"
    )
    path = tmp_path / "a.csv"
    path.write_text("before")
    done = subprocess.run([sys.executable, "-c", kill, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "before"
    (left,) = (found for found in tmp_path.iterdir() if found != path)
    os.utime(left, (0, 0))
    files.write_atomically(tmp_path / "b.csv", "whole")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_an_unfinished_model_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / files.UNFINISHED_FOLDER
    folder.mkdir()
    for name, age in (("123-a.keras", OLD), ("124-b.keras", 0.0)):
        (folder / name).write_text("half")
        os.utime(folder / name, (time.time() - age,) * 2)
    files.write_with(tmp_path / "c.keras", lambda new: new.write_text("whole"))
    assert [path.name for path in folder.iterdir()] == ["124-b.keras"]


@pytest.mark.parametrize(("command", "code"), [("compare", 2), ("history import", 2)])
def test_a_result_file_of_the_largest_size_needs_less_than_300_mb(
    command: str, code: int, tmp_path: Path
) -> None:
    """A file of lists of the smallest size needs the most memory for its bytes."""
    path = tmp_path / "large.json"
    begin, end = b'{"schema_version":1,"results":[', b"[]]}"
    path.write_bytes(begin + b"[]," * ((lookup.LARGEST_RUN - len(begin) - len(end)) // 3) + end)
    measure = (
        "import re, runpy, sys\n"
        "try: runpy.run_path('dlbox.py', run_name='__main__')\n"
        "finally: print(int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
    )
    words = [*command.split(), str(path), *([str(path)] if command == "compare" else [])]
    done = subprocess.run(
        [sys.executable, "-c", measure, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "is not a result of dlbox bench or ready" in done.stderr
    assert int(done.stdout) < 300


def test_a_run_larger_than_the_limit_is_refused_in_an_import_too(tmp_path: Path) -> None:
    line = to_json_line(document()).strip()
    long = b'{"schema_version":1,"x":"' + b"x" * lookup.LARGEST_RUN + b'"}'
    with pytest.raises(lookup.SourceError, match="x, line 2 is larger than 8 MiB, the limit for one run"):
        archive.documents(line + b"\n" + long + b"\n", "x")


def test_an_import_accepts_blank_lines_and_a_run_in_several_lines() -> None:
    line = to_json_line(document()).strip()
    assert len(archive.documents(b"\n" + line + b"\r\n\n" + line + b"\n", "x")) == 2
    assert len(archive.documents(b"\n" + line + b"\n", "x")) == 1
    assert len(archive.documents(to_json(document()).encode(), "x")) == 1
