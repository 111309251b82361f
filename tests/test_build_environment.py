"""The script that builds an environment on the box: uv where it can be told what pip is told, else pip; both alike."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import PROVISION_DIR
from provision.ansible.failures import failure_sentence
from tests.conftest import script

SCRIPT = PROVISION_DIR / "roles/environment/files/build.py"
build = script(SCRIPT)
UV = Path(sys.executable).with_name("uv")

BROKEN_UV = "#!/bin/sh\necho 'error: {}' >&2\nexit 2\n"


def wheel(
    folder: Path, name: str, module: str = "answer = 42\n", scripts: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A wheel with a command, or with programs; its line in a lock file."""
    head = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": module,
        f"{name}/templates/page.py": "this is {{ no }} Python",
        f"{head}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{head}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{f"{name}-1.0.data/scripts/{program}": text for program, text in scripts.items()},
    }
    if not scripts:
        files[f"{head}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:answer\n"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            info = zipfile.ZipInfo(file)
            info.external_attr = (0o100755 if "scripts" in file else 0o100644) << 16
            archive.writestr(info, text)
        rows = "".join(f"{file},,{len(text)}\n" for file, text in files.items())
        archive.writestr(f"{head}/RECORD", rows + f"{head}/RECORD,,\n")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Box:
    """A folder that stands for a box's, with an index of two wheels and no network."""

    def __init__(self, folder: Path) -> None:
        self.root, self.index = folder / "opt", folder / "index"
        self.index.mkdir()
        self.lock = wheel(self.index, "tiny") + wheel(self.index, "small")
        self.environment = {
            "PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_NO_COMPILE": "1",
            "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CACHE_DIR": str(self.root / "cache"),
            "PIP_RETRIES": "0", "PYTHONDONTWRITEBYTECODE": "1", "UV_OFFLINE": "1",
        }  # fmt: skip

    def uv(self, program: Path | str) -> None:
        """As the role python leaves it: the real one, or a script that stands for it."""
        place = self.root / "venv/uv/bin/uv"
        place.parent.mkdir(parents=True)
        if isinstance(program, Path):
            place.symlink_to(program)
        else:
            place.write_text(program)
            place.chmod(0o755)

    def plan(self, name: str, **other: Any) -> dict[str, Any]:
        (self.root / "cache").mkdir(parents=True, exist_ok=True)
        lock = self.root / f"cache/{name}.txt"
        lock.write_text(other.pop("text", self.lock))
        return {
            "root": str(self.root), "folder": str(self.root / "versions" / name), "python": sys.executable,
            "lock": str(lock), "uv": "uv==1", "over": "base", "wheel": {}, "damaged": False, **other,
        }  # fmt: skip

    def build(self, plan: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), json.dumps(plan)], capture_output=True, text=True, check=False,
            env={**self.environment, **environment},
        )  # fmt: skip

    def packages(self, name: str) -> dict[str, str]:
        """Every file of the two packages and its content; those that name their tool aside."""
        (site,) = (self.root / "versions" / name).glob("lib/python3*/site-packages")
        every = (path for package in ("tiny", "small") for path in site.glob(f"{package}*/**/*"))
        aside = ("RECORD", "INSTALLER", "REQUESTED", "uv_cache.json")
        return {
            str(path.relative_to(site)): path.read_text()
            for path in every
            if path.is_file() and path.suffix != ".pyc" and path.name not in aside
        }

    def answer(self, name: str) -> str:
        python = str(self.root / "versions" / name / "bin/python")
        done = subprocess.run(
            [python, "-c", "import tiny; print(tiny.answer)"], capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a pip, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("pip") / "base"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def box(tmp_path: Path, pip: Path) -> Box:
    """Environments are built over one that is empty but for its pip."""
    found = Box(tmp_path)
    (found.root / "venv").mkdir(parents=True)
    (found.root / "venv/base").symlink_to(pip)
    return found


def test_uv_and_pip_leave_the_same_packages(box: Box) -> None:
    box.uv(UV)
    by_uv = box.build(box.plan("a", over=""))
    by_pip = box.build(box.plan("b", over="", uv=""))
    assert (by_uv.returncode, by_pip.returncode) == (0, 0), (by_uv.stderr, by_pip.stderr)
    assert "uv installed the packages" in by_uv.stdout
    assert "pip installs the packages" in by_pip.stdout
    assert box.packages("a") == box.packages("b")
    assert len(box.packages("a")) == 10
    assert (box.answer("a"), box.answer("b")) == ("42\n", "42\n")
    for name in ("a", "b"):
        folder = box.root / "versions" / name
        assert (folder / "bin/tiny").is_file()
        assert (folder / "bin/pip").is_file()
        assert list(folder.glob("lib/python3*/site-packages/tiny/__pycache__/__init__.*.pyc"))
        assert (folder / "share/dlbox/lock.txt").read_text() == box.lock


def test_uv_is_fetched_by_its_hash_where_it_is_not_there(box: Box) -> None:
    line = wheel(box.index, "uv", scripts={"uv": BROKEN_UV.format("not today")})
    first = box.build(box.plan("a", uv=line))
    assert first.returncode == 0, first.stderr
    assert "pip installs the packages: uv failed (not today)" in first.stdout
    assert (box.root / "cache/uv/bin/uv").is_file()
    wrong = box.build(box.plan("b", uv=f"uv==1.0 --hash=sha256:{'0' * 64}\n"))
    assert "uv failed" in wrong.stdout, "the one that was fetched by its hash before"
    shutil.rmtree(box.root / "cache/uv")
    wrong = box.build(box.plan("c", uv=f"uv==1.0 --hash=sha256:{'0' * 64}\n"))
    assert wrong.returncode == 0
    assert "uv could not be installed" in wrong.stdout
    assert box.answer("c") == "42\n"


def test_a_uv_that_does_not_start_here_is_left_alone(box: Box) -> None:
    box.uv("#!/no/such/interpreter\n")
    done = box.build(box.plan("a"))
    assert done.returncode == 0, done.stderr
    assert "pip installs the packages: uv does not start" in done.stdout


def test_a_full_disk_is_not_tried_twice(box: Box) -> None:
    box.uv(BROKEN_UV.format("failed to write: No space left on device (os error 28)"))
    ended = box.build(box.plan("a"))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"ERROR: No space left on device: {box.root} is full; free space, then run the same command\n"
    )


def test_a_package_that_is_not_what_its_hash_says_is_refused_by_both(box: Box) -> None:
    box.uv(UV)
    ended = box.build(box.plan("a", text=f"tiny==1.0 --hash=sha256:{'0' * 64}\n"))
    assert ended.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in ended.stderr
    assert not (box.root / "versions/a/.complete").exists()


def test_an_index_that_is_not_reached_is_named_as_the_reason(box: Box) -> None:
    """pip alone says that there are no versions."""
    here = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple/"}
    ended = box.build(box.plan("a", uv=""), **here)
    assert ended.returncode == 1
    assert "Could not fetch URL http://127.0.0.1:9/simple/tiny/" in ended.stderr
    assert "check its network" in failure_sentence({"msg": "non-zero return code", "stdout": ended.stderr})


def test_pip_comes_from_what_python_carries_whatever_pip_is_told(box: Box) -> None:
    """Options for packages from an index are not for it."""
    done = box.build(box.plan("a", over=""), PIP_REQUIRE_HASHES="1")
    assert done.returncode == 0, done.stderr
    folder = box.root / "versions/a"
    carried = next((Path(sysconfig.get_path("stdlib")) / "ensurepip/_bundled").glob("pip-*.whl"))
    told = subprocess.run(
        [str(folder / "bin/pip"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith(f"pip {carried.name.split('-')[1]} from {folder}")
    assert list(folder.glob("lib/python3*/site-packages/pip/__pycache__/*.pyc")), "compiled with all the rest"


def test_an_environment_over_another_sees_its_packages_and_its_pip(box: Box) -> None:
    box.uv(UV)
    assert box.build(box.plan("a", over="")).returncode == 0
    (box.root / "venv/tiny").symlink_to(box.root / "versions/a")
    line = wheel(box.index, "more", "from tiny import answer\n")
    came = {"path": str(box.root / "cache/more-1.0-py3-none-any.whl"), "sha256": line.split(":")[-1].strip()}
    shutil.move(str(box.index / "more-1.0-py3-none-any.whl"), came["path"])
    done = box.build(box.plan("b", text="", over="tiny", wheel=came))
    assert done.returncode == 0, done.stderr
    assert "uv installed the packages" in done.stdout
    assert box.answer("b") == "42\n"
    folder = box.root / "versions/b"
    assert (folder / "share/dlbox/wheel.txt").read_text().split(" --hash")[0].startswith(str(folder))
    assert not (folder / "bin/pip").exists()


def test_what_was_cut_off_is_begun_again_and_what_is_complete_is_let_be(box: Box) -> None:
    left = box.root / "versions/a/lib/left"
    left.mkdir(parents=True)
    assert "the remains of an interrupted run are removed" in box.build(box.plan("a", uv="")).stdout
    assert not left.exists()
    (box.root / "versions/a/.complete").touch()
    assert box.build(box.plan("a", uv="")).stdout == ""


def test_a_damaged_environment_takes_nothing_that_it_shared(box: Box) -> None:
    """uv links files to its cache: what was written over in one place is written over in the other."""
    box.uv(UV)
    assert box.build(box.plan("a")).returncode == 0
    (module,) = (box.root / "versions/a").glob("lib/python3*/site-packages/tiny/__init__.py")
    with module.open("r+") as stream:
        stream.write("answer = 13\n")
    assert box.build(box.plan("b", damaged=True)).returncode == 0
    assert box.answer("b") == "42\n"


def test_two_at_once_build_one_after_the_other(box: Box) -> None:
    box.uv(UV)
    ended: list[subprocess.CompletedProcess[str]] = []
    plans = [box.plan("a"), box.plan("b")]
    threads = [threading.Thread(target=lambda plan=plan: ended.append(box.build(plan))) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in ended] == [0, 0]
    assert (box.answer("a"), box.answer("b")) == ("42\n", "42\n")


def test_what_cannot_be_written_is_a_sentence(box: Box) -> None:
    plan = box.plan("a")
    (box.root / "versions").write_text("a file")
    ended = box.build(plan)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ERROR: ")
    assert "Traceback" not in ended.stderr


TOLD = {
    "nothing": ("", {}),
    "an index of one's own": (
        "global.index-url='https://me:word@pip.example.com/simple'\nglobal.trusted-host='pip.example.com'\n",
        {"UV_DEFAULT_INDEX": "https://me:word@pip.example.com/simple", "UV_INSECURE_HOST": "pip.example.com"},
    ),
    "several": (
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n:env:.find-links='/one /two'\n",
        {"UV_INDEX": "https://a.example https://b.example", "UV_FIND_LINKS": "/one,/two"},
    ),
    "no index": ("install.no-index='true'\n", {"UV_NO_INDEX": "1"}),
    "a proxy": ("global.proxy='http://proxy:3128'\n", {"HTTPS_PROXY": "http://proxy:3128"}),
    "certificates": (":env:.cert='/opt/dlbox/ca.pem'\n", {"SSL_CERT_FILE": "/opt/dlbox/ca.pem"}),
    "of another command": ("wheel.index-url='https://a.example'\n", {}),
}


@pytest.mark.parametrize(("listed", "wanted"), TOLD.values(), ids=list(TOLD))
def test_uv_is_told_what_pip_is_told(listed: str, wanted: dict[str, str]) -> None:
    settings, why = build.settings_for_uv(listed)
    assert why == ""
    assert {key: settings[key] for key in wanted} == wanted
    own = {"UV_CACHE_DIR", "UV_NO_CONFIG", "UV_NO_PROGRESS", "UV_PYTHON_DOWNLOADS", "UV_INDEX_STRATEGY"}
    assert set(settings) - set(wanted) - own <= {"HTTP_PROXY", "ALL_PROXY"}


@pytest.mark.parametrize("option", ["keyring-provider", "constraint", "use-feature", "no-binary", "pre"])
def test_where_uv_has_no_word_for_it_pip_installs(option: str) -> None:
    settings, why = build.settings_for_uv(f"global.{option}='x'\n")
    assert settings is None
    assert option in why


@given(st.text(max_size=200))
def test_whatever_pip_lists_is_understood_or_left_to_pip(listed: str) -> None:
    settings, why = build.settings_for_uv(listed)
    assert (settings is None) == bool(why)
