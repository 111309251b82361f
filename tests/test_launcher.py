"""Copies of the launcher `dlbox` with stubs for Python, pip, uv and the PCI bus; nothing is installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.cards import cards
from provision.artifacts import builds
from provision.resolve import boxes
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Request, resolve
from tests.conftest import ROOT

DATA = load()

TOOLS = ["awk", "cat", "chmod", "cksum", "cp", "cut", "df", "du", "env", "flock", "grep", "ls", "mkdir", "mv"]
TOOLS += ["readlink", "rm", "sed", "setsid", "sh", "tail", "tr"]
SHELLS = [shell for shell in (["sh"], ["busybox", "sh"]) if shell[0] == "sh" or shutil.which(shell[0])]

# An interpreter of a given version: the launcher's own -c runs in the real one, told that it is another.
PYTHON = """#!/bin/sh
case $1:$2 in
    -V:) echo "Python VERSION.0" ;;
    -I:-c) exec REAL -I -c 'import sys
sys.version_info = (*map(int, "VERSION".split(".")), 0)
if not VENV: sys.modules["ensurepip"] = None
exec(sys.argv[1])' "$3" ;;
    -m:venv) echo "venv $3" >>STATE/calls; mkdir -p "$3/bin"; cp STATE/venv-python "$3/bin/python" ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""

# The interpreter inside .venv. STATE/pip, where a test has written it, is what pip does.
VENV_PYTHON = """#!/bin/sh
echo "$*" >>STATE/calls
case $1:$2 in
    -m:pip)
        env >STATE/pip.environment
        if [ -e STATE/pip ]; then . STATE/pip; fi
        case "$*" in *' -e '*) cp STATE/command "${0%/*}/dlbox" ;; esac
        echo "Successfully installed" ;;
    -m:compileall) echo "*** Error compiling a template"; exit 1 ;;
    -m:pytest) [ ! -e STATE/pytest ] || exit "$(cat STATE/pytest)" ;;
    -c:*) exit 1 ;;
esac
"""

UV = """#!/bin/sh
echo "uv $*" >>STATE/calls
for last; do :; done
mkdir -p "$last/bin"; cp STATE/venv-python "$last/bin/python"
"""

COMMAND = """#!/bin/sh
printf '{"arguments": "'; printf '[%s]' "$@"; printf '", "in": "%s", "home": "%s"}\\n' "$PWD" "${PYTHONHOME-unset}"
[ "${1-}" != fail ] || exit 7
"""


class Box:
    """A clone of the launcher with a private PATH; `calls` lists the calls of the stubs."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.clone, self.bin, self.state, self.bus = (folder / n for n in ("my clone", "bin", "state", "bus"))
        for path in (self.clone / "locks", self.bin, self.state, self.bus):
            path.mkdir(parents=True)
        self.shell = [str(shutil.which(shell[0])), *shell[1:]]
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.program("sleep", f"#!/bin/sh\nexec {shutil.which('sleep')} 0.02\n")
        text = (ROOT / "dlbox").read_text(encoding="utf-8")
        self.cpuinfo = folder / "cpuinfo"
        self.cpuinfo.write_text("flags\t\t: fpu sse4_2 avx avx2\n")
        self.wsl = folder / "wsl"
        stand_ins = {
            "/sys/bus/pci/devices": self.bus,
            "/dev/dxg": self.wsl / "dxg",
            "/usr/lib/wsl/lib": self.wsl,
            "/proc/cpuinfo": self.cpuinfo,
        }
        for real, stand_in in stand_ins.items():
            assert text.count(real) == 1
            text = text.replace(real, str(stand_in))
        self.program("dlbox", text, self.clone)
        for name in ("cpu", "cuda", "build", "dev", "torch-cpu", "jax-cuda"):
            self.lock(name)
        (self.clone / "pyproject.toml").write_text("[project]\n")
        self.program("venv-python", VENV_PYTHON.replace("STATE", str(self.state)), self.state)
        self.program("command", COMMAND, self.state)
        self.python("python3", "3.12")
        self.environment = {"PATH": str(self.bin), "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def program(self, name: str, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, version: str, *, venv: bool = True) -> None:
        text = PYTHON.replace("REAL", sys.executable).replace("VERSION", version).replace("VENV", str(venv))
        self.program(name, text.replace("STATE", str(self.state)))

    def uv(self) -> None:
        self.program("uv", UV.replace("STATE", str(self.state)))

    def lock(self, name: str, text: str = "click==8.2\n") -> None:
        (self.clone / "locks" / f"{name}.txt").write_text(f"# {name}\n{text}")

    def card(self, device: int | None = None, slot: int = 1, driver: str | None = None) -> None:
        folder = self.bus / f"0000:{slot:02x}:00.0"
        folder.mkdir()
        (folder / "vendor").write_text("0x10de\n")
        (folder / "class").write_text("0x030000\n")
        if device is not None:
            shutil.copy(ROOT / "locks" / "cards.tsv", self.clone / "locks")
            (folder / "device").write_text(f"0x{device:04x}\n")
        if driver is not None:
            (folder / "driver").symlink_to(f"../../drivers/{driver}")

    def decision(self) -> list[str]:
        """The words that the launcher's own functions print: build, cards, tensorflow, torch, jax."""
        functions = (self.clone / "dlbox").read_text().partition("\nread_stamp\nbuild=")[0]
        shown = "choose_build\necho $fit $cards $tensorflow $torch $jax\n"
        script = f"{functions}\nroot={shlex.quote(str(self.clone))}\n{shown}"
        done = subprocess.run(
            [*self.shell, "-c", script, str(self.clone / "dlbox")],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.split()

    def pip(self, script: str) -> None:
        (self.state / "pip").write_text(script)

    @property
    def calls(self) -> list[str]:
        """What was asked since the last look."""
        path = self.state / "calls"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.shell, str(self.clone / "dlbox"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.state,
            env={**self.environment, **environment},
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def installs(calls: list[str]) -> list[list[str]]:
    """The lock files of each call of pip that has any."""
    found = [re.findall(r"locks/([a-z-]+)\.txt", call) for call in calls if "-m pip install" in call]
    return [names for names in found if names]


def wait_for(truth: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def any_shell(tmp_path: Path, request: pytest.FixtureRequest) -> Box:
    return Box(tmp_path, request.param)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path, ["sh"])


@pytest.fixture
def ready(box: Box) -> Box:
    """A clone that is set up, with an empty list of calls."""
    assert box.run("--help").returncode == 0
    assert box.calls
    return box


def sentence(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The last line of a failed call, which prints nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("dlbox: ")
    return last


# Commands and their results.


def test_the_first_call_sets_up_and_runs_the_command(any_shell: Box) -> None:
    done = any_shell.run("bench", "--json", "two words", "")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        '{"arguments": "[bench][--json][two words][]", "in": "%s", "home": "unset"}\n' % any_shell.state  # noqa: UP031
    )
    lines = done.stderr.splitlines()
    assert "TensorFlow for the CPU (no NVIDIA card is on the bus)" in lines[0]
    assert all(line.startswith("dlbox: ") for line in lines)
    calls = any_shell.calls
    assert calls[0] == f"venv {any_shell.clone}/.venv"
    assert installs(calls) == [["cpu", "build"]]
    assert "--require-hashes" in calls[1]
    assert not (any_shell.clone / ".venv" / "tmp").exists()


def test_the_second_call_prints_and_installs_nothing(any_shell: Box) -> None:
    any_shell.run("--help")
    assert any_shell.calls
    os.utime(any_shell.clone / "locks" / "cpu.txt")  # as git does when it writes a file again
    done = any_shell.run("fail")
    assert (done.returncode, done.stderr, any_shell.calls) == (7, "", [])


@pytest.mark.parametrize("changed", ["locks/cpu.txt", "locks/build.txt", "pyproject.toml"])
def test_a_changed_lock_file_installs_again_into_the_same_environment(ready: Box, changed: str) -> None:
    (ready.clone / changed).write_text("numpy==2.4\n")
    assert ready.run("--help").returncode == 0
    calls = ready.calls
    assert installs(calls) == [["cpu", "build"]]
    assert not any(call.startswith("venv") for call in calls)
    assert ready.run("--help").stderr == ""


def test_it_runs_through_a_symlink_and_from_its_own_folder(ready: Box) -> None:
    link = ready.bin / "dlbox"
    link.symlink_to(ready.clone / "dlbox")
    for command, folder in (["dlbox"], "/"), (["sh", "dlbox"], ready.clone), (["./dlbox"], ready.clone):
        done = subprocess.run(
            ["env", *command, "x"],
            cwd=folder,
            env=ready.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
    assert ready.calls == []


def test_a_moved_clone_is_set_up_again(ready: Box) -> None:
    ready.clone = ready.clone.rename(ready.clone.with_name("moved"))
    assert ready.run("--help").returncode == 0
    assert ready.calls[0] == f"venv {ready.clone}/.venv"


def test_a_python_that_was_removed_is_replaced(ready: Box) -> None:
    (ready.clone / ".venv" / "bin" / "python").unlink()
    (ready.clone / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3.0")
    assert ready.run("--help").returncode == 0
    assert ready.calls[0].startswith("venv ")


def test_an_existing_environment_is_renamed(box: Box) -> None:
    (box.clone / ".venv").mkdir()
    (box.clone / ".venv" / "precious").touch()
    done = box.run("--help")
    assert done.returncode == 0
    assert ".venv that dlbox did not make" in done.stderr
    assert [path.name for path in box.clone.glob(".venv.old.*/*")] == ["precious"]


def test_pressing_tab_installs_nothing(box: Box) -> None:
    done = box.run(_DLBOX_COMPLETE="bash_complete")
    assert (done.returncode, done.stdout, done.stderr, box.calls) == (0, "", "", [])


def test_variables_of_the_user_do_not_change_the_set_up(box: Box) -> None:
    astray = {"PYTHONPATH": "/evil", "PYTHONHOME": "/evil", "PIP_TARGET": "/evil", "PIP_USER": "1"}
    kept = {"PIP_INDEX_URL": "https://index.example/", "PIP_CERT": "/c", "https_proxy": "p"}
    done = box.run("--help", **astray, **kept)
    assert '"home": "unset"' in done.stdout
    seen = dict(
        line.split("=", 1) for line in (box.state / "pip.environment").read_text().splitlines() if "=" in line
    )
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"} & set(seen)
    assert seen["PIP_USER"] == "0"
    assert seen["TMPDIR"] == f"{box.clone}/.venv/tmp"
    assert {key: seen[key] for key in kept} == kept


# The card.


def test_a_card_selects_the_cuda_build(any_shell: Box) -> None:
    any_shell.card()
    done = any_shell.run("ready")
    assert "with CUDA (an NVIDIA card is on the bus)" in done.stderr
    assert installs(any_shell.calls) == [["cuda", "build"]]


CATALOGUE = {int(pci_id[5:], 16): card for card in cards.catalogue() for pci_id in card.pci_ids}
UNLISTED = [0x1180, 0x128B, 0x0A20, 0x1C60, 0x2BFF, 0x1DB4, 0x3FFF]
"""Kepler and older cards, and cards that the catalogue does not have."""


@pytest.mark.parametrize("device", [*CATALOGUE, *UNLISTED], ids=lambda device: f"{device:04x}")
def test_the_launcher_decides_as_the_resolver(box: Box, device: int) -> None:
    box.card(device)
    target = boxes.target_of(device)
    request = Request(distribution="ubuntu-24.04", targets=(target,))
    mine = builds.frameworks_for(request)
    build, found, *runs = box.decision()
    assert build == mine.build
    stack = resolve(request)
    if isinstance(stack, NoStack):
        assert (found, build) == ("unsupported", "cpu")
        return
    assert found == "found"
    assert runs == ["no" if name in mine.refusals else "yes" for name in ("tensorflow", "torch", "jax")]
    for name, runs_here in zip(("tensorflow", "torch", "jax"), runs, strict=True):
        row = builds.locked_row(name, DATA)  # type: ignore[arg-type]
        assert row is not None
        # A framework that the plan leaves out is not installed; one with the planned version is.
        assert runs_here == "no" or name in stack.environments
        if stack.environments.get(name, {}).get(name) == row.version and name not in stack.indexes:
            assert runs_here == "yes"
    if mine.backend is not None:
        assert mine.backend == stack.backend
    else:
        version = stack.environments[stack.backend][stack.backend]
        row = builds.locked_row(stack.backend, DATA)  # type: ignore[arg-type]
        assert row is not None
        assert version != row.version or stack.backend in stack.indexes


def test_the_table_of_the_launcher_is_that_of_the_resolver() -> None:
    assert (ROOT / "locks" / "cards.tsv").read_text() == builds.table(), (
        "python -m provision.artifacts.builds > locks/cards.tsv writes it again"
    )


@pytest.mark.parametrize(
    ("devices", "build"),
    [
        ((0x2D05,), "torch-cuda"),  # RTX 50
        ((0x2503,), "cuda"),
        ((0x1B06,), "cuda"),  # GTX 10
        ((0x1380,), "cpu"),  # GTX 750 Ti
        ((0x128B, 0x2805), "cuda"),  # GT 710 for the screen
        ((0x128B, 0x2D05), "torch-cuda"),
        ((0x2503, 0x2D05), "torch-cuda"),
        ((0x1C03, 0x2D05), "cpu"),
        ((0x128B,), "cpu"),
    ],
)
def test_the_cards_select_the_build(any_shell: Box, devices: tuple[int, ...], build: str) -> None:
    for name in ("torch-cuda", "jax-cuda"):
        any_shell.lock(name, f"{name}==1\n")
    for slot, device in enumerate(devices):
        any_shell.card(device, slot)
    assert any_shell.run("plan").returncode == 0
    assert installs(any_shell.calls) == [[build, "build"]]


def test_an_rtx_50_gets_torch_and_says_why(box: Box) -> None:
    box.lock("torch-cuda", "torch==1\n")
    box.card(0x2D05)
    assert "torch with CUDA, without TensorFlow (TensorFlow has no code" in box.run("ready").stderr
    assert installs(box.calls) == [["torch-cuda", "build"]]
    assert box.run("ready").stderr == ""


def test_an_older_set_up_with_tensorflow_on_an_rtx_50_is_reported(box: Box) -> None:
    assert box.run("setup", DLBOX_BUILD="cuda").returncode == 0
    box.card(0x2D05)
    said = box.run("ready").stderr
    assert "TensorFlow has no code for the NVIDIA card" in said
    assert "./dlbox setup torch" in said


@pytest.mark.parametrize(("device", "backend"), [(0x1B06, "torch"), (0x1380, "torch"), (0x1380, "jax")])
def test_a_framework_without_code_for_the_card_is_not_installed(box: Box, device: int, backend: str) -> None:
    for name in ("torch-cuda", "jax-cuda"):
        box.lock(name, f"{name}==1\n")
    box.card(device)
    last = sentence(box.run("setup", backend))
    assert f"./dlbox provision --framework {backend}" in last
    assert box.calls == []
    # A choice by DLBOX_BUILD is obeyed.
    assert box.run("setup", backend, DLBOX_BUILD="cuda").returncode == 0


def test_a_maxwell_card_gets_jax_with_cuda(box: Box) -> None:
    box.lock("jax-cuda", "jax==1\n")
    box.card(0x13C2)
    assert "./dlbox provision installs versions that do" in box.run("ready").stderr
    assert installs(box.calls) == [["cpu", "build"]]
    assert box.run("setup", "jax").returncode == 0
    assert installs(box.calls) == [["cuda", "build", "jax-cuda"]]


def test_a_card_of_a_virtual_machine_does_not_count(box: Box) -> None:
    box.card(0x2503, driver="vfio-pci")
    assert box.decision()[:2] == ["cpu", "none"]
    box.card(0x2D05, 2)
    assert box.decision()[0] == "torch-cuda"


@pytest.mark.parametrize("flags", ["fpu sse4_2", "fpu avxnot"])
def test_without_avx_torch_is_installed(box: Box, flags: str) -> None:
    box.lock("torch-cuda", "torch==1\n")
    box.cpuinfo.write_text(f"flags\t\t: {flags}\n")
    assert "add torch: ./dlbox setup torch" in box.run("plan").stderr
    box.card(0x2503)
    assert box.decision() == ["torch-cuda", "found", "no", "yes", "no"]
    assert "AVX" in sentence(box.run("setup", "jax"))
    assert "TensorFlow needs AVX" in box.run("setup").stderr
    avx_less = Request(distribution="debian-13", targets=(boxes.target_of(0x2503),), cpu_flags=("sse4_2",))
    assert builds.frameworks_for(avx_less).build == "torch-cuda"


@pytest.mark.parametrize(
    ("answer", "build"),
    [("0x2D0510DE", "torch-cuda"), ("0x250310DE", "cuda"), ("", "cuda"), ("failed", "cuda")],
)
def test_under_wsl2_the_card_of_windows_selects_the_build(box: Box, answer: str, build: str) -> None:
    box.lock("torch-cuda", "torch==1\n")
    shutil.copy(ROOT / "locks" / "cards.tsv", box.clone / "locks")
    box.wsl.mkdir()
    for name in ("dxg", "libcuda.so.1"):
        (box.wsl / name).touch()
    box.program("nvidia-smi", f"#!/bin/sh\necho '{answer}'\n", box.wsl)
    assert box.decision()[:2] == [build, "found"]


@pytest.mark.parametrize(
    ("version", "framework", "backend"),
    [("580.65.06", "torch", "torch"), ("550.163.01", "torch", None), ("550.163.01", None, "tensorflow")],
)
def test_the_loaded_driver_limits_the_build(version: str, framework: str | None, backend: str | None) -> None:
    mine = Request(distribution="debian-13", targets=(boxes.target_of(0x2503),), driver_version=version)
    found = builds.frameworks_for(mine, framework=framework)  # type: ignore[arg-type]
    assert found.backend == backend
    if backend is None:
        assert "needs driver 580 or later, and the driver is 550" in found.why
        assert "`./dlbox provision --framework torch`" in found.why


def test_a_machine_without_a_card_gets_the_cpu_build() -> None:
    found = builds.frameworks_for(Request(distribution="arch-1"))
    assert (found.build, found.backend, found.additions) == ("cpu", "tensorflow", ())
    found = builds.frameworks_for(Request(distribution="arch-1", cpu_flags=("sse4_2",)))
    assert (found.build, found.backend, found.additions) == ("cpu", "torch", ("torch-cpu",))
    assert "AVX" in found.refusals["jax"]


def test_a_card_added_later_is_reported(ready: Box) -> None:
    ready.card()
    for command in ("ready", "bench", "check"):
        done = ready.run(command, "--json")
        assert done.stdout.startswith("{")
        assert len(done.stderr.splitlines()) == 1
        assert "./dlbox setup installs the CUDA build" in done.stderr
    assert ready.run("history").stderr == ""
    assert ready.run("check", DLBOX_BUILD="cpu").stderr == ""
    assert ready.calls == []
    assert "ready to use (cuda build)" in sentence(ready.run("setup"), 0)
    assert ready.calls[0].startswith("venv ")  # the two builds never share an environment
    assert ready.run("check").stderr == ""
    assert "ready to use" in sentence(ready.run("setup"), 0)
    assert ready.calls == []


def test_torch_with_cuda_replaces_tensorflow(box: Box) -> None:
    """Its cuDNN and TensorFlow's are other releases in the same files: what came last would win."""
    for name in ("torch-cuda", "jax-cuda"):
        box.lock(name, f"{name}==1\n")
    assert box.run("setup", DLBOX_BUILD="cuda").returncode == 0
    assert "instead of TensorFlow" in box.run("setup", "torch").stderr
    assert box.run("--help").returncode == 0
    assert installs(box.calls) == [["cuda", "build"], ["torch-cuda", "build"]]
    assert box.run("setup", "jax").returncode == 0
    assert installs(box.calls) == [["cuda", "build", "jax-cuda"]]


def test_the_build_can_be_chosen_and_stays_chosen(box: Box) -> None:
    assert "selected by DLBOX_BUILD" in box.run("--help", DLBOX_BUILD="cuda").stderr
    assert installs(box.calls) == [["cuda", "build"]]
    assert box.run("--help").stderr == ""
    assert "cpu, cuda or torch-cuda, not 'rocm'" in sentence(box.run("--help", DLBOX_BUILD="rocm"), 2)


def test_backends_are_added_and_kept_up_to_date(ready: Box) -> None:
    assert "torch is installed" in ready.run("setup", "torch").stderr
    calls = ready.calls
    assert installs(calls) == [["cpu", "build", "torch-cpu"]]
    assert any("download.pytorch.org/whl/cpu torch==" in call for call in calls)
    ready.lock("torch-cpu", "sympy==1.14\n")
    ready.run("--help")
    assert installs(ready.calls) == [["cpu", "build", "torch-cpu"]]
    assert "not 'tensorrt'" in sentence(ready.run("setup", "tensorrt"), 2)
    assert "./dlbox setup" in ready.run("setup", "--help").stdout


# The tests.

PARALLEL = ["-n", "auto", "--dist", "worksteal"]


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ([], [*PARALLEL, "-m", "not slow and not e2e"]),
        (
            ["slow", "-x"],
            ["-m", "(slow or search) and not e2e", "--hypothesis-profile", "thorough", "-x"],
        ),
        (["e2e"], ["-m", "e2e"]),
        (
            ["tests/test_cli.py", "-n0", "-k", "a or b"],
            [*PARALLEL, "-m", "not slow and not e2e", "tests/test_cli.py", "-n0", "-k", "a or b"],
        ),
    ],
)
def test_test_installs_what_the_tests_need_and_passes_arguments_on(
    box: Box, typed: list[str], asked: list[str]
) -> None:
    assert box.run("test", *typed).returncode == 0
    calls = box.calls
    assert installs(calls) == [["cpu", "build", "dev"]]
    assert calls[-1] == " ".join(["-m pytest", *asked])
    assert box.run("test").stderr == ""


def test_regenerate_runs_the_generators_in_the_clone(ready: Box) -> None:
    """The generators need what dlbox itself needs, and no package of the tests."""
    done = ready.run("regenerate", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert ready.calls == ["-m tests.regenerate --check"]


def test_the_help_of_set_up_names_every_command_of_the_launcher(box: Box) -> None:
    shown = box.run("setup", "--help").stdout
    verbs = re.findall(r"^    ([a-z]+)\)$", (box.clone / "dlbox").read_text(), re.MULTILINE)
    assert {"setup", "test", "regenerate"} <= set(verbs)
    assert all(f"./dlbox {verb}" in shown for verb in verbs), shown


@pytest.mark.parametrize("code", [1, 5])
def test_no_selected_tests_is_not_a_success(ready: Box, code: int) -> None:
    (ready.state / "pytest").write_text(str(code))
    assert ready.run("test", "-k", "nothing").returncode == code


# Missing programs.


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_an_unsupported_python_is_named(any_shell: Box, version: str) -> None:
    any_shell.python("python3", version)
    last = sentence(any_shell.run("ready"))
    assert "Python 3.11, 3.12 or 3.13" in last
    assert f"found Python {version}.0" in last
    assert "https://docs.astral.sh/uv" in last
    assert not (any_shell.clone / ".venv").exists()


def test_no_python_at_all(box: Box) -> None:
    (box.bin / "python3").unlink()
    assert "found no python3" in sentence(box.run("ready"))


def test_another_supported_python_is_found(box: Box) -> None:
    box.python("python3", "3.14")
    box.python("python3.12", "3.12", venv=False)
    box.python("python3.13", "3.13")
    assert box.run("ready").returncode == 0


def test_no_venv_module_names_the_package(any_shell: Box) -> None:
    any_shell.python("python3", "3.12", venv=False)
    assert sentence(any_shell.run("ready")).endswith("sudo apt install python3.12-venv")


@pytest.mark.parametrize("version", ["3.12", "3.14"])
def test_uv_is_used_if_no_python_fits(box: Box, version: str) -> None:
    box.python("python3", version, venv=False)
    box.uv()
    assert box.run("ready").returncode == 0
    calls = box.calls
    assert calls[0].startswith("uv venv --seed ")
    assert installs(calls) == [["cpu", "build"]]


# Failures during set-up.

OFFLINE = """
for n in 4 3 2 1 0; do
    echo "WARNING: Retrying (Retry(total=$n)) after connection broken by 'NewConnectionError(...)': /simple/absl-py/"
done
echo "ERROR: Could not find a version that satisfies the requirement absl-py==2.5.1 (from versions: none)"
echo "ERROR: No matching distribution found for absl-py==2.5.1"
exit 1
"""
WRONG_HASH = """
echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated ..."
for n in 1 2 3 4 5 6 7 8 9; do echo "        or ${n}fa3"; done
echo "    Got 0123"
exit 1
"""
FULL = (
    'echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"; exit 1'
)
ODD = "echo 'ERROR: click-8.2-py3-none-any.whl is not a supported wheel on this platform.'; echo; exit 1"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (OFFLINE, "the package index cannot be reached. Check the network"),
        (WRONG_HASH, "a download does not have the hash in the lock file"),
        (FULL, "the disk is full; set-up needs 400 MB to download and 1.7 GB on disk"),
        (ODD, "ERROR: click-8.2-py3-none-any.whl is not a supported wheel"),
    ],
    ids=["offline", "hash", "full", "odd"],
)
def test_a_failure_gives_one_sentence_and_the_next_call_repairs_it(
    any_shell: Box, script: str, said: str
) -> None:
    any_shell.pip(script)
    done = any_shell.run("bench", "--json")
    last = sentence(done)
    assert "set-up failed while installing packages" in last
    assert said in last
    assert "then run the same command again" in last
    assert f"{any_shell.clone}/.setup.log" in last
    assert len(done.stderr.splitlines()) == 4  # what is set up, two steps, this
    (any_shell.state / "pip").unlink()
    assert any_shell.run("bench", "--json").returncode == 0


def test_a_failed_update_changes_nothing(ready: Box) -> None:
    ready.pip(OFFLINE)
    assert "cannot be reached" in sentence(ready.run("setup", "torch"))
    assert ready.calls
    assert ready.run("check").returncode == 0
    assert ready.calls == []


def test_too_little_disk_space_is_reported_before_any_download(box: Box) -> None:
    box.program("df", "#!/bin/sh\necho Filesystem; echo '/dev/vda 1 1 921600 1% /'\n")
    last = sentence(box.run("ready"))
    assert "only 900 MB are free" in last
    assert box.calls == []


def test_the_space_of_the_old_environment_counts_as_free(ready: Box) -> None:
    ready.program("df", "#!/bin/sh\necho Filesystem; echo '/dev/vda 1 1 921600 1% /'\n")
    ready.program("du", "#!/bin/sh\nprintf '1700\\t.venv\\n'\n")
    assert "only 2600 MB are free" in sentence(ready.run("setup", DLBOX_BUILD="cuda"))
    assert ready.run("check").stderr == ""  # the build that is there still works
    (ready.clone / ".venv" / ".dlbox").write_text("")
    assert ready.run("check").returncode == 0


def test_a_read_only_clone_is_reported(any_shell: Box) -> None:
    (any_shell.clone / ".setup.log").mkdir()  # stands for a read-only clone, which root would not notice
    done = any_shell.run("ready")
    assert sentence(done).endswith("clone dlbox into a folder of your own")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupt_leaves_no_process_and_the_next_call_repairs(
    any_shell: Box, number: int, code: int
) -> None:
    child = any_shell.state / "child"
    any_shell.pip(f"/bin/sleep 30 & echo $! >'{child}'; wait")
    process = any_shell.start("ready")
    wait_for(lambda: child.exists() and child.read_text())
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err.endswith("dlbox: set-up interrupted: run the same command again to complete it\n")
    assert all(line.startswith("dlbox: ") for line in err.splitlines())
    wait_for(lambda: not runs(int(child.read_text())))
    (any_shell.state / "pip").unlink()
    assert any_shell.calls
    assert any_shell.run("ready").returncode == 0
    assert any_shell.calls[0].startswith("venv ")  # what pip left half done is not trusted


@pytest.mark.parametrize(
    ("said", "anew"), [("Collecting torch", False), ("Installing collected packages: torch", True)]
)
def test_an_interrupted_addition_keeps_the_environment(ready: Box, said: str, anew: bool) -> None:
    ready.pip(f"echo '{said}'; : >'{ready.state}/there'; /bin/sleep 30")
    process = ready.start("setup", "torch")
    wait_for((ready.state / "there").exists)
    process.terminate()
    process.communicate(timeout=60)
    (ready.state / "pip").unlink()
    assert ready.calls
    assert ready.run("check").returncode == 0
    calls = ready.calls
    assert (bool(calls) and calls[0].startswith("venv ")) is anew
    assert installs(calls) == [["cpu", "build"]] * anew


def test_after_a_kill_the_next_call_waits_for_pip_and_repairs(any_shell: Box) -> None:
    gate, half = any_shell.state / "gate", any_shell.clone / ".venv" / "half"
    any_shell.pip(f": >'{half}'; until [ -e '{gate}' ]; do sleep 1; done")
    process = any_shell.start("ready")
    wait_for(half.exists)
    process.kill()
    process.communicate(timeout=60)
    second = any_shell.start("ready")
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    gate.touch()
    (any_shell.state / "pip").unlink()
    assert second.communicate(timeout=60)[0].startswith("{")
    assert second.returncode == 0
    assert not half.exists()


def test_two_at_once_set_up_once(any_shell: Box) -> None:
    any_shell.pip("sleep 1")
    processes = [any_shell.start("ready") for _ in range(3)]
    for process in processes:
        assert process.communicate(timeout=60)[0].startswith("{")
        assert process.returncode == 0
    assert installs(any_shell.calls) == [["cpu", "build"]]


# Output on a terminal.


def on_a_terminal(box: Box) -> Iterator[str]:
    """The pieces of output on a terminal, in order."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [*box.shell, str(box.clone / "dlbox"), "ready"],
        stdin=other,
        stdout=other,
        stderr=other,
        env=box.environment,
    )
    os.close(other)
    while select.select([main], [], [], 30)[0]:
        try:
            piece = os.read(main, 4096)
        except OSError:
            break
        yield piece.decode()
    os.close(main)
    assert process.wait(timeout=30) == 0


def test_progress_is_one_line_that_is_cleared(any_shell: Box) -> None:
    any_shell.pip(
        "printf '  Downloading \\033[31m%090d\\t\\303\\251\\n' 7; for n in 1 2 3 4 5 6 7 8; do sleep 1; done"
    )
    shown = "".join(on_a_terminal(any_shell))
    frames = [frame for frame in re.split(r"[\r\n]+", shown) if frame.strip()]
    progress = [frame for frame in frames if re.match(r"dlbox: installing packages, \d+ s", frame)]
    assert progress
    assert max(map(len, progress)) < 80
    assert all(frame.isprintable() for frame in frames)
    assert re.search(r"\r {79}\r\{\"arguments\"", shown)  # cleared before the command prints


# The lock files.


def test_the_lock_files_agree_and_name_no_registry() -> None:
    """They are installed into one environment, in any combination of one build."""
    pins: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in (ROOT / "locks").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path.name
        names = re.findall(r"^([a-z0-9._-]+)==(\S+)(?: ; (.*?))? \\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(names) == len(re.findall(r"^[a-z]", text, re.MULTILINE)), "each package has a hash"
        for name, version, marker in names:
            python = re.search(r"python_full_version [<>=]+ '[\d.]+'", marker)
            pins[name, python.group() if python else ""].add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
