"""Lock files, role variables and dlbox's own wheel for a Stack."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import environments, lockfiles, own_wheel
from provision.artifacts.lockfiles import LockError
from provision.artifacts.own_wheel import OwnWheel
from provision.resolve.stack import Request, Stack, Target, resolve

PASCAL = Target(name="GeForce GTX 1060 6GB", architecture="pascal", capability="6.1")
BASE = (
    "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nsix==1.17.0 \\\n    --hash=sha256:cc\n"
)


def stack(on: str = "debian-12") -> Stack:
    found = resolve(Request(distribution=on, targets=(PASCAL,)))
    assert isinstance(found, Stack)
    return found


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dlbox" / "locks"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of uv, each with its requirements and constraints appended; uv itself does not run."""
    calls: list[list[str]] = []

    def answer(command: list[str], variables: dict[str, str]) -> str:
        wanted = Path(command[3]).read_text()
        calls.append([*command, wanted, Path(command[command.index("--constraints") + 1]).read_text()])
        return BASE

    monkeypatch.setattr(lockfiles, "_output", answer)
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/bin/{name}")
    return calls


def test_lock_files_are_cached_for_some_days(asked: list[list[str]], cache: Path) -> None:
    assert lockfiles.lock(["a"], "3.12") == lockfiles.lock(["a"], "3.12") == BASE
    assert len(asked) == 1
    lockfiles.lock(["a"], "3.13")
    lockfiles.lock(["a"], "3.12", constraints=["b<2"])
    assert len(asked) == 3
    for path in cache.iterdir():
        path.write_text("cut off")
    lockfiles.lock(["a"], "3.12")
    assert len(asked) == 4
    for path in cache.iterdir():
        os.utime(path, (1, 1))
    assert lockfiles.lock(["a"], "3.12") == BASE
    assert len(asked) == 5


def test_an_unwritable_cache_does_not_matter(asked: list[list[str]], cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder should be")
    assert lockfiles.lock(["a"], "3.12") == BASE


def test_a_lock_file_is_for_the_box_and_has_hashes(asked: list[list[str]]) -> None:
    text = lockfiles.lock(["a==1"], "3.12", constraints=["b<2"], index="https://example.com/simple")
    assert text == f"--extra-index-url https://example.com/simple\n{BASE}"
    (command,) = asked
    assert command[:3] == ["/bin/uv", "pip", "compile"]
    assert command[command.index("--python") + 1] == sys.executable
    assert command[command.index("--python-version") + 1] == "3.12"
    assert "--generate-hashes" in command
    assert command[command.index("--extra-index-url") + 1] == "https://example.com/simple"
    assert command[command.index("--index-strategy") + 1] == "unsafe-best-match"
    assert command[-2:] == ["a==1\n", "b<2\n"]
    lockfiles.lock(["a==1"], "3.12")
    assert "--index-strategy" not in asked[-1], "one index needs no strategy"


def test_versions_of_the_environment_below_are_pinned_and_left_out(asked: list[list[str]]) -> None:
    over = "numpy==2.4.6 --hash=sha256:aa\n"
    assert lockfiles.lock(["a"], "3.11", over=over) == "six==1.17.0 \\\n    --hash=sha256:cc\n"
    assert asked[0][-1] == "numpy==2.4.6\n"


def test_another_python_version_needs_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    with pytest.raises(LockError, match="pipx install uv"):
        lockfiles.lock(["six"], "3.99")


def test_unresolvable_versions_are_reported_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: sys.executable)
    with pytest.raises(LockError, match="cannot be resolved"):
        lockfiles.lock(["six"], "3.99")


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("error: Request failed\n  cause: error sending request for url (https://me:word@host/simple/keras/)",
         "the package index cannot be reached from this machine"),
        ("ERROR: no version of keras at https://me:word@host/simple/keras/", "the planned versions cannot be resolved"),
    ],
)  # fmt: skip
def test_an_unreachable_index_and_unresolvable_versions_are_distinguished(stderr: str, message: str) -> None:
    script = f"import sys; sys.stderr.write({stderr!r}); sys.exit(1)"
    with pytest.raises(LockError, match=message) as refused:
        lockfiles._output([sys.executable, "-c", script], {})
    assert "word@" not in str(refused.value)
    assert "***@host" in str(refused.value)


def test_if_uv_does_not_reach_the_index_pip_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: sys.executable)
    monkeypatch.setattr(lockfiles, "_with_pip", lambda *rest: BASE)
    assert lockfiles.lock(["six"], f"{sys.version_info.major}.{sys.version_info.minor}") == BASE


def test_pip_gives_the_same_format(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {
        "install": [
            {
                "metadata": {"name": "Six_Pack", "version": "1.17.0"},
                "download_info": {"archive_info": {"hashes": {"sha256": "cc"}}},
            }
        ]
    }
    monkeypatch.setattr(lockfiles, "_output", lambda command, variables: json.dumps(report))
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert lockfiles.lock(["six-pack"], here) == "six-pack==1.17.0 --hash=sha256:cc\n"


def test_role_variables_and_lock_files_of_a_stack(asked: list[list[str]], tmp_path: Path) -> None:
    wheel = OwnWheel(path=tmp_path / "dlbox.whl", sha256="ab")
    found: dict[str, Any] = environments.role_variables(stack(), tmp_path, wheel)
    assert found["nvidia_driver_branch"] == 535
    assert [each["name"] for each in found["frameworks_environments"]] == ["tensorflow", "torch", "jax"]
    of_index = {"torch": "--extra-index-url https://download.pytorch.org/whl/cu126\n"}
    for each in found["frameworks_environments"]:
        assert Path(each["lock"]).read_text() == of_index.get(each["name"], "") + BASE
    assert found["dlbox_app_over"] == "tensorflow"
    assert found["dlbox_app_wheel"] == {"path": str(wheel.path), "sha256": "ab"}
    assert "nvidia-cudnn-cu12<9.11" in asked[0][-1]
    assert "torch" not in asked[0][-1]
    assert json.dumps(found)


@pytest.mark.parametrize("on", ["ubuntu-22.04", "ubuntu-26.04"])
def test_a_python_that_the_distribution_lacks_is_installed_by_a_pinned_uv(
    asked: list[list[str]], tmp_path: Path, on: str
) -> None:
    plan = stack(on)
    assert plan.python.source == "uv"
    found = environments.role_variables(plan, tmp_path, OwnWheel(path=tmp_path, sha256=""), jupyter=True)
    version = plan.python.version
    own = f"/opt/dlbox/python/cpython-{version}-linux-x86_64-gnu/bin/python{version}"
    assert {found[name] for name in ("frameworks_python", "dlbox_app_python", "jupyter_python")} == {own}
    assert found["python_version"] == version
    assert found["python_packages"] == list(plan.python.packages)
    assert Path(found["python_uv_lock"]).is_file()
    assert f"uv=={plan.python.tool_version}\n" in [call[-2] for call in asked]
    assert {call[call.index("--python-version") + 1] for call in asked} == {version}


def test_no_other_python_is_installed_if_the_distributions_fits(
    asked: list[list[str]], tmp_path: Path
) -> None:
    found = environments.role_variables(stack(), tmp_path, OwnWheel(path=tmp_path, sha256=""))
    assert found["frameworks_python"] == environments.SYSTEM_PYTHON
    assert not [name for name in found if name.startswith("python_")]


def test_wheels_of_a_checkout_and_of_an_installation_are_equal(tmp_path: Path) -> None:
    built = own_wheel.build(tmp_path)
    assert built.sha256 == hashlib.sha256(built.path.read_bytes()).hexdigest()
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--no-index", "--target", str(site),
         str(built.path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "again"
    folder.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from pathlib import Path; "
        f"from provision.artifacts import own_wheel; "
        f"assert str(own_wheel.ROOT) == {str(site)!r}; print(own_wheel.build(Path({str(folder)!r})).path)"
    )
    packed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert packed.returncode == 0, packed.stderr

    def files(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}

    assert files(Path(packed.stdout.strip())) == files(built.path)


def test_own_requirements_contain_no_extra() -> None:
    assert any(line.startswith("click") for line in own_wheel.requirements())
    assert not any("tensorflow" in line for line in own_wheel.requirements())


def cudnn(packages: Path, number: int) -> subprocess.CompletedProcess[str]:
    """The output of the role's script for a library that returns this version number."""
    script = (own_wheel.ROOT / "provision/roles/cudnn/files/version.py").read_text()
    library = packages / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    library.parent.mkdir(parents=True)
    source = packages / "cudnn.c"
    source.write_text(f"unsigned long cudnnGetVersion(void) {{ return {number}; }}\n")
    subprocess.run(["gcc", "-shared", "-o", str(library), str(source)], check=True)
    code = script.replace('Path(sysconfig.get_path("purelib"))', f"Path({str(packages)!r})")
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("number", "words"), [(91002, "9.10.2"), (90300, "9.3.0"), (8907, "8.9.7")])
def test_the_version_of_cudnn_is_printed(tmp_path: Path, number: int, words: str) -> None:
    done = cudnn(tmp_path, number)
    assert (done.returncode, done.stdout.strip()) == (0, words), done.stderr


def test_a_missing_or_damaged_cudnn_is_reported(tmp_path: Path) -> None:
    done = cudnn(tmp_path, 91002)
    library = tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    library.write_bytes(b"not a library")
    code = (own_wheel.ROOT / "provision/roles/cudnn/files/version.py").read_text()
    for words in ("libcudnn.so.9", "there is no libcudnn"):
        ran = code.replace('Path(sysconfig.get_path("purelib"))', f"Path({str(tmp_path)!r})")
        done = subprocess.run([sys.executable, "-I", "-c", ran], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        library.unlink(missing_ok=True)
