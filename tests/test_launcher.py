"""Copies of the launcher `dlbox` with stubs for Python, pip, uv and the PCI bus; nothing is installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.artifacts import disk_space
from tests.conftest import ROOT

DECISION = "-P -m provision.commands.framework_choice"

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
    -P:-m)
        [ "$4" != --fits ] || { [ -e STATE/fits ]; exit; }
        [ ! -e STATE/no-choice ] || exit 1
        case $5 in
            *?) [ ! -e "STATE/choice-$5" ] || { cat "STATE/choice-$5"; exit; }
                echo "cpu $5-cpu:no card that can train" ;;
            *) [ ! -e STATE/choice ] || { cat STATE/choice; exit; }; echo "cuda:for an NVIDIA GeForce RTX 3060" ;;
        esac ;;
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
        self.provisioned = folder / "provisioned"
        for real, stand_in in (
            ("/sys/bus/pci/devices", self.bus),
            ("/dev/dxg", folder / "none"),
            ("/opt/dlbox/venv/dlbox", self.provisioned),
        ):
            assert text.count(real) == 1
            text = text.replace(real, str(stand_in))
        self.program("dlbox", text, self.clone)
        for name in (
            "core",
            "build",
            "cpu",
            "cuda",
            "dev",
            "processor",
            "draw",
            "resolve",
            "torch-cpu",
            "jax-cuda",
        ):
            self.lock(name)
        (self.clone / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
        (self.clone / "docs" / "reference").mkdir(parents=True)
        shutil.copy(ROOT / "docs/reference/help.txt", self.clone / "docs/reference/help.txt")
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

    def card(self) -> None:
        (self.bus / "0000:01:00.0").mkdir()
        (self.bus / "0000:01:00.0" / "vendor").write_text("0x10de\n")
        (self.bus / "0000:01:00.0" / "class").write_text("0x030000\n")

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
    """A clone with the framework for the processor, with an empty list of calls."""
    assert box.run("setup").returncode == 0
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
    assert "TensorFlow for the CPU (no NVIDIA card is on the bus); " in lines[0]
    assert re.search(r"\d+ MB to download and \d\.\d GB on disk, about \d+ s at 100 Mbit/s", lines[0])
    assert all(line.startswith("dlbox: ") for line in lines)
    calls = any_shell.calls
    assert calls[0] == f"venv {any_shell.clone}/.venv"
    assert installs(calls) == [["core", "build", "cpu"]]
    assert "--require-hashes" in calls[1]
    assert not (any_shell.clone / ".venv" / "tmp").exists()


def test_the_second_call_prints_and_installs_nothing(any_shell: Box) -> None:
    any_shell.run("bench")
    assert any_shell.calls
    os.utime(any_shell.clone / "locks" / "cpu.txt")  # as git does when it writes a file again
    done = any_shell.run("fail")
    assert (done.returncode, done.stderr, any_shell.calls) == (7, "", [])


@pytest.mark.parametrize("changed", ["locks/core.txt", "locks/cpu.txt", "locks/build.txt", "pyproject.toml"])
def test_a_changed_lock_file_installs_again_into_the_same_environment(ready: Box, changed: str) -> None:
    (ready.clone / changed).write_text("numpy==2.4\n")
    assert ready.run("plan").returncode == 0
    calls = ready.calls
    assert installs(calls) == [["core", "build", "cpu"]]
    assert not any(call.startswith("venv") for call in calls)
    assert ready.run("plan").stderr == ""


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
    assert ready.run("plan").returncode == 0
    assert ready.calls[0] == f"venv {ready.clone}/.venv"


def test_a_python_that_was_removed_is_replaced(ready: Box) -> None:
    (ready.clone / ".venv" / "bin" / "python").unlink()
    (ready.clone / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3.0")
    assert ready.run("plan").returncode == 0
    assert ready.calls[0].startswith("venv ")


def test_an_existing_environment_is_renamed(box: Box) -> None:
    (box.clone / ".venv").mkdir()
    (box.clone / ".venv" / "precious").touch()
    done = box.run("plan")
    assert done.returncode == 0
    assert ".venv that dlbox did not make" in done.stderr
    assert [path.name for path in box.clone.glob(".venv.old.*/*")] == ["precious"]


def test_pressing_tab_installs_nothing(box: Box) -> None:
    done = box.run(_DLBOX_COMPLETE="bash_complete")
    assert (done.returncode, done.stdout, done.stderr, box.calls) == (0, "", "", [])


def test_variables_of_the_user_do_not_change_the_set_up(box: Box) -> None:
    astray = {"PYTHONPATH": "/evil", "PYTHONHOME": "/evil", "PIP_TARGET": "/evil", "PIP_USER": "1"}
    kept = {"PIP_INDEX_URL": "https://index.example/", "PIP_CERT": "/c", "https_proxy": "p"}
    done = box.run("plan", **astray, **kept)
    assert '"home": "unset"' in done.stdout
    seen = dict(
        line.split("=", 1) for line in (box.state / "pip.environment").read_text().splitlines() if "=" in line
    )
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"} & set(seen)
    assert seen["PIP_USER"] == "0"
    assert seen["TMPDIR"] == f"{box.clone}/.venv/tmp"
    assert {key: seen[key] for key in kept} == kept


# The card.


@pytest.mark.parametrize(
    ("choice", "build", "name"),
    [
        (
            "cuda:for an NVIDIA GeForce RTX 3060",
            "cuda",
            "TensorFlow with CUDA (for an NVIDIA GeForce RTX 3060)",
        ),
        ("torch-cuda:for an RTX 5060", "torch-cuda", "torch with CUDA, without TensorFlow (for an RTX 5060)"),
    ],
)
def test_the_plan_for_the_card_decides_the_build(any_shell: Box, choice: str, build: str, name: str) -> None:
    """The decision needs the core packages, which are installed first."""
    any_shell.card()
    any_shell.lock("torch-cuda")
    (any_shell.state / "choice").write_text(f"{choice}\n")
    done = any_shell.run("ready")
    assert name in done.stderr
    calls = any_shell.calls
    assert installs(calls) == [["core", "build"], ["core", "build", build]]
    assert calls.count(DECISION) == 1
    assert any_shell.run("bench").stderr == ""
    assert any_shell.calls == [DECISION]


def test_no_framework_is_installed_where_none_can_run(box: Box) -> None:
    box.card()
    (box.state / "choice").write_text("")
    (box.state / "no-choice").touch()
    assert box.run("ready").returncode == 1
    assert installs(box.calls) == [["core", "build"]]
    assert box.run("check").returncode == 0


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("torch-cuda:TensorFlow has no code for GeForce RTX 5060", "./dlbox setup torch installs torch"),
        ("cpu:no wheel of the lock files runs on it: `./dlbox provision` installs one", ""),
    ],
)
def test_an_older_set_up_with_tensorflow_on_another_card_is_reported(
    box: Box, choice: str, words: str
) -> None:
    assert box.run("setup", DLBOX_BUILD="cuda").returncode == 0
    box.card()
    (box.state / "choice").write_text(f"{choice}\n")
    said = box.run("ready").stderr
    assert words in said
    assert bool(said) is bool(words)


def test_a_framework_that_cannot_run_on_the_card_is_refused(box: Box) -> None:
    box.card()
    (box.state / "no-choice").touch()
    assert box.run("setup", "torch").returncode == 1
    assert installs(box.calls) == [["core", "build"]]
    assert box.run("setup", "torch", DLBOX_BUILD="cpu").returncode == 0  # a choice by DLBOX_BUILD is obeyed


def provision(box: Box, *, fits: bool) -> None:
    """Install an environment as `dlbox provision` does; its Python prints its arguments."""
    (box.provisioned / "bin").mkdir(parents=True)
    (box.provisioned / ".ready").touch()
    box.program("python", '#!/bin/sh\nshift 3; echo "provisioned: $*"\n', box.provisioned / "bin")
    if fits:
        (box.state / "fits").touch()


def test_training_uses_the_provisioned_packages(any_shell: Box) -> None:
    provision(any_shell, fits=True)
    done = any_shell.run("ready", "--json")
    assert (done.returncode, done.stdout) == (0, f"provisioned: {any_shell.clone} ready --json\n")
    assert installs(any_shell.calls) == [["core", "build"]]


def test_provisioned_packages_that_do_not_fit_are_not_used(box: Box) -> None:
    provision(box, fits=False)
    assert box.run("ready").stdout.startswith('{"arguments"')
    assert installs(box.calls) == [["core", "build"], ["core", "build", "cpu"]]


def test_a_framework_in_the_clone_is_preferred_to_the_provisioned_one(ready: Box) -> None:
    provision(ready, fits=True)
    assert ready.run("ready").stdout.startswith('{"arguments"')
    assert ready.calls == []


# The stages.


@pytest.mark.parametrize(
    ("typed", "locks"),
    [
        ("plan --json", []),
        ("check", []),
        ("", []),
        ("history export -", []),
        ("workshop list", []),
        ("provision box1", ["resolve"]),
        ("doctor", []),
        ("doctor --fix", ["resolve"]),
        ("report 3", []),
        ("report 3 --share", ["draw"]),
        ("check --stress 1", ["cpu"]),
        ("check --stress=1", ["cpu"]),
        ("check --frameworks", ["cpu"]),
        ("ready", ["cpu"]),
        ("bench --backend torch", ["cpu"]),
        ("workshop run sign", ["cpu"]),
        ("tune", ["cpu", "processor"]),
        ("setup core", []),
    ],
)
def test_a_command_installs_only_what_it_needs(box: Box, typed: str, locks: list[str]) -> None:
    assert box.run(*typed.split()).returncode == 0
    assert installs(box.calls) == [["core", "build", *locks]]


def test_stages_are_added_to_the_same_environment(box: Box) -> None:
    for command, expected in (
        ("check", ["core", "build"]),
        ("report --share", ["core", "build", "draw"]),
        ("ready", ["core", "build", "draw", "cpu"]),
        ("tune", ["core", "build", "draw", "cpu", "processor"]),
    ):
        assert box.run(*command.split()).returncode == 0
        calls = box.calls
        assert installs(calls) == [expected]
        assert any(call.startswith("venv ") for call in calls) is (command == "check")
    assert box.run("check").stderr == ""
    assert box.calls == []


@pytest.mark.parametrize(
    "typed", ["--help", "-h", "plan --help", "history export -h", "check --stress 1 --help"]
)
def test_help_installs_nothing(any_shell: Box, typed: str) -> None:
    done = any_shell.run(*typed.split())
    assert (done.returncode, done.stderr, any_shell.calls) == (0, "", [])
    words = [word for word in typed.split() if word not in ("--help", "-h", "--stress", "1")]
    assert done.stdout.startswith(f"Usage: {' '.join(['dlbox', *words])} ")
    assert done.stdout.count("Usage:") == 1


def test_the_version_installs_nothing(any_shell: Box) -> None:
    done = any_shell.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "dlbox, version 1.2.3\n", "")
    assert any_shell.calls == []


def test_the_help_of_an_unknown_command_is_left_to_dlbox(box: Box) -> None:
    assert box.run("chekc", "--help").stdout.startswith("{")
    assert installs(box.calls) == [["core", "build"]]


@pytest.mark.parametrize(
    "words",
    [["torch", "extra"], [""], ["--framework="], ["--framework", ""], ["--framework", "torch", "extra"]],
)
def test_setup_with_an_empty_or_a_second_argument_installs_nothing(box: Box, words: list[str]) -> None:
    done = box.run("setup", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "setup accepts" in done.stderr
    assert installs(box.calls) == []


def test_the_help_of_setup_is_printed_after_an_argument_too(box: Box) -> None:
    assert box.run("setup", "torch", "--help").stdout == box.run("setup", "--help").stdout
    assert installs(box.calls) == []


def test_an_installed_dlbox_prints_its_own_help(ready: Box) -> None:
    assert ready.run("plan", "--help").stdout.startswith('{"arguments"')
    assert ready.calls == []


def test_a_card_added_later_is_reported(ready: Box) -> None:
    ready.card()
    for command in ("ready", "bench"):
        done = ready.run(command, "--json")
        assert done.stdout.startswith("{")
        assert len(done.stderr.splitlines()) == 1
        assert "./dlbox setup installs the build for the card" in done.stderr
    assert ready.run("history").stderr == ""
    assert ready.run("ready", DLBOX_BUILD="cpu").stderr == ""
    assert ready.calls == [DECISION, DECISION]
    assert "ready to use (cuda build)" in sentence(ready.run("setup"), 0)
    calls = ready.calls
    assert calls[0] == DECISION
    assert calls[1].startswith("venv ")  # the two builds never share an environment
    assert (ready.clone / ".venv/.dlbox").read_text().splitlines()[1] == "core.txt build.txt cuda.txt"
    assert ready.run("check").stderr == ""
    assert "ready to use" in sentence(ready.run("setup"), 0)
    assert ready.calls == [DECISION]


def test_torch_with_cuda_replaces_tensorflow(box: Box) -> None:
    """Its cuDNN and TensorFlow's are other releases in the same files: what came last would win."""
    for name in ("torch-cuda", "jax-cuda"):
        box.lock(name, f"{name}==1\n")
    assert box.run("setup", DLBOX_BUILD="cuda").returncode == 0
    for name, choice in (("torch", "torch-cuda:for an RTX 3060"), ("jax", "cuda jax-cuda:for an RTX 3060")):
        (box.state / f"choice-{name}").write_text(f"{choice}\n")
    assert "instead of TensorFlow" in box.run("setup", "torch").stderr
    assert box.run("plan").returncode == 0
    calls = box.calls
    assert installs(calls) == [["core", "build", "cuda"], ["core", "build", "torch-cuda"]]
    assert sum(call.startswith("venv ") for call in calls) == 2
    assert box.run("setup", "jax").returncode == 0
    assert installs(box.calls) == [["core", "build", "cuda", "jax-cuda"]]


def test_the_build_can_be_chosen_and_stays_chosen(box: Box) -> None:
    assert "selected by DLBOX_BUILD" in box.run("ready", DLBOX_BUILD="cuda").stderr
    assert installs(box.calls) == [["core", "build", "cuda"]]
    assert box.run("ready").stderr == ""
    assert "cpu, cuda or torch-cuda, not 'rocm'" in sentence(box.run("ready", DLBOX_BUILD="rocm"), 2)


@pytest.mark.parametrize("typed", [["torch"], ["--framework", "torch"], ["--framework=torch"]])
def test_backends_are_added_and_kept_up_to_date(ready: Box, typed: list[str]) -> None:
    assert "torch is installed" in ready.run("setup", *typed).stderr
    calls = ready.calls
    assert installs(calls) == [["core", "build", "cpu", "torch-cpu"]]
    assert any("download.pytorch.org/whl/cpu torch==" in call for call in calls)
    ready.lock("torch-cpu", "sympy==1.14\n")
    ready.run("plan")
    assert installs(ready.calls) == [["core", "build", "cpu", "torch-cpu"]]
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
    assert installs(calls) == [["core", "build", "cpu", "processor", "draw", "resolve", "dev"]]
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
    assert installs(calls) == [["core", "build", "cpu"]]


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
        (FULL, "the disk is full; set-up needs 350 MB to download and 1.6 GB on disk"),
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


def lock_sizes() -> dict[str, tuple[int, int]]:
    """Lock file -> MB to download and MB on disk, as `./dlbox` announces them."""
    text = (ROOT / "dlbox").read_text(encoding="utf-8")
    found = re.findall(r"^ +([a-z-]+)\) add \"[^\n]*\" (\d+) (\d+) ;;$", text, re.MULTILINE)
    return {name: (int(download), int(disk)) for name, download, disk in found}


def test_every_lock_file_has_a_size() -> None:
    locks = {path.stem for path in (ROOT / "locks").glob("*.txt")} - {"build"}
    assert locks == set(lock_sizes())


@pytest.mark.parametrize(
    ("lock", "framework", "build"),
    [
        ("cpu", "tensorflow", 0),
        ("cuda", "tensorflow", 1),
        ("torch-cpu", "torch", 0),
        ("torch-cuda", "torch", 1),
        ("jax-cpu", "jax", 0),
    ],
)
def test_the_launcher_and_the_plan_give_the_same_sizes(lock: str, framework: str, build: int) -> None:
    """The clone shares packages between frameworks, so that its size on disk is at most that of the plan."""
    download, disk = lock_sizes()[lock]
    assert download * 10**6 == disk_space.ENVIRONMENT_DOWNLOAD[framework][build]
    assert disk * 10**6 <= disk_space.ENVIRONMENT[framework][build]


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
    assert err.endswith(
        "dlbox: set-up interrupted: run the same command again to complete it; pip keeps the files that were complete\n"
    )
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
    assert installs(calls) == [["core", "build"]] * anew


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
    assert installs(any_shell.calls) == [["core", "build", "cpu"]]


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
