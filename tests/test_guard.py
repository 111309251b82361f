"""After a process is killed, its children, their children and its temporary files are removed, and no others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from common.processes import child, guard
from tests.conftest import ROOT

SLEEP = "import time; time.sleep(600)"
PARENT = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from common.processes.child import start
grand = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
grand += "; open(sys.argv[1] + '/grandchild-runs', 'w').close(); time.sleep(600)"
made = start([sys.executable, "-c", grand, os.environ["PLACE"]])
"""


def until(true: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return done


def marked_by(pid: int) -> list[int]:
    return [
        number for number, marks in guard.marked_processes() if any(m.startswith(f"{pid}-") for m in marks)
    ]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def owner(tmp_path: Path, temporary: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """A process whose child starts a grandchild in another session; the process then runs ``more``."""
    made: list[subprocess.Popen[bytes]] = []

    def begin(more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT + textwrap.dedent(more)],
            env={**os.environ, "PLACE": str(tmp_path), "TMPDIR": str(temporary)},
            start_new_session=True,
        )
        made.append(process)
        assert until((tmp_path / "grandchild-runs").exists)
        return process

    yield begin
    for process in made:
        process.kill()
        process.wait()
        for pid in marked_by(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_nothing_outlives_a_killed_process(
    owner: Callable[[str], subprocess.Popen[bytes]], temporary: Path, number: int
) -> None:
    process = owner("time.sleep(600)")
    assert len(marked_by(process.pid)) == 2
    assert len(list(temporary.iterdir())) == 1
    process.send_signal(number)
    process.wait()
    assert until(lambda: not marked_by(process.pid))
    assert until(lambda: not list(temporary.iterdir()))


def test_the_guard_exits_after_its_owner_and_leaves_nothing(
    owner: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path, temporary: Path
) -> None:
    process = owner(
        """
        while not os.path.exists(os.environ["PLACE"] + "/go"):
            time.sleep(0.02)
        """
    )
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("guard.py" in " ".join(one.cmdline()) for one in family)
    (tmp_path / "go").touch()
    assert process.wait(60) == 0
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    assert list(temporary.iterdir()) == []


def test_the_next_guard_cleans_up_after_a_process_without_a_guard(
    owner: Callable[[str], subprocess.Popen[bytes]], temporary: Path
) -> None:
    process = owner("time.sleep(600)")
    (watch,) = [p for p in psutil.Process(process.pid).children() if "guard.py" in " ".join(p.cmdline())]
    watch.kill()
    process.kill()
    process.wait()
    assert len(list(temporary.iterdir())) == 1
    next_one = (
        "from common.processes.child import Child; import sys; Child([sys.executable, '-c', '']).finish(60)"
    )
    subprocess.run(
        [sys.executable, "-c", next_one], cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)}, check=True
    )
    assert marked_by(process.pid) == []
    assert list(temporary.iterdir()) == []


def test_killing_a_child_kills_descendants_in_other_sessions(tmp_path: Path) -> None:
    code = f"""
    import subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
    open({str(tmp_path / "runs")!r}, "w").close()
    time.sleep(600)
    """
    one = child.start([sys.executable, "-c", textwrap.dedent(code)])
    other = child.start([sys.executable, "-c", SLEEP])
    assert until((tmp_path / "runs").exists)
    before = len(marked_by(os.getpid()))
    child.end(one)
    assert until(lambda: len(marked_by(os.getpid())) == before - 2)
    assert other.poll() is None
    child.end(other)


def test_a_child_exits_if_its_parent_is_already_dead() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = "import sys; from common.processes.child import die_with_parent; die_with_parent(); sys.exit(7)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DLBOX_PARENT": str(gone.pid)}, check=False
    )
    assert ended.returncode == 1


def test_a_child_dies_with_its_parent_without_any_guard(tmp_path: Path) -> None:
    code = f"""
    import sys, time
    sys.path.insert(0, {str(ROOT)!r})
    from common.processes.child import die_with_parent
    die_with_parent()
    open({str(tmp_path / "runs")!r}, "w").close()
    time.sleep(600)
    """
    parent = f"""
    import os, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", {textwrap.dedent(code)!r}],
                             env={{**os.environ, "DLBOX_PARENT": str(os.getpid())}})
    print(child.pid, flush=True)
    time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert until((tmp_path / "runs").exists)
    process.kill()
    process.wait()
    process.stdout.close()
    assert until(lambda: not guard.identity(pid))


def dead() -> str:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    name = guard.identity(gone.pid)
    gone.wait()
    return name or "1-1-0000"


def test_only_files_of_dead_runs_of_this_user_are_removed(temporary: Path) -> None:
    alive = guard.identity()
    number, start, place = alive.split("-")
    foreign = "0000" if place != "0000" else "1111"
    kept = [
        f"dlbox-{alive}-x",
        f"dlbox-{os.getuid()}",
        "dlbox-4zm26mg_",
        "dlbox-1-2-x",
        f"dlbox-{number}-{start}-{foreign}-x",
        f"xdlbox-{number}-1-{place}-x",
        f"dlbox-{number}-1-{place}",
    ]
    gone = [f"dlbox-{dead()}-x", f"dlbox-{number}-1-{place}-x", f"dlbox-{dead()}-file.txt"]
    for name in (*kept, *gone[:-1]):
        (temporary / name).mkdir()
        (temporary / name / "inside").touch()
    (temporary / gone[-1]).touch()
    guard.clean(temporary)
    assert {path.name for path in temporary.iterdir()} == set(kept)


def test_a_link_instead_of_a_folder_is_not_followed(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    (temporary / f"dlbox-{dead()}-x").symlink_to(tmp_path / "mine")
    guard.clean(temporary)
    assert (tmp_path / "mine" / "thesis").exists()
    assert list(temporary.iterdir()) == []


def test_files_of_another_user_are_not_removed(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / f"dlbox-{dead()}-x").mkdir()
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    guard.clean(temporary)
    assert len(list(temporary.iterdir())) == 1


def test_an_unreadable_folder_is_ignored(tmp_path: Path) -> None:
    guard.clean(tmp_path / "nowhere")


def test_every_process_has_its_own_identity() -> None:
    assert guard.identity() == guard.identity(os.getpid())
    assert guard.identity(os.getppid()) != guard.identity()
    assert guard.identity(2**22 + 1) == ""


def test_temporary_files_of_children_go_to_a_folder_that_is_removed() -> None:
    ended = child.Child([sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]).finish(60)
    (line,) = ended.lines
    assert Path(line.decode()).name.startswith(guard.prefix())


def test_children_start_without_a_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: object) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(child._ProcessState, "folder", None)
    monkeypatch.setattr(child.tempfile, "mkdtemp", none)
    assert child.Child([sys.executable, "-c", "print(1)"]).finish(60).output == b"1\n"
