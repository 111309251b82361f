"""A stamped environment is looked at again on each run: what is damaged is built beside it and switched to."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision import PROVISION_DIR
from tests.conftest import script
from tests.test_playbook import only, run

SCRIPT = PROVISION_DIR / "roles/environment/files/sound.py"


sound = script(SCRIPT)


def package(folder: Path, name: str, files: dict[str, str]) -> None:
    """As pip leaves it."""
    place = folder / "lib/python3.11/site-packages"
    record = place / f"{name}-1.0.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    rows = [f"{record.parent.name}/RECORD,,\n", f"{name}/__pycache__/a.cpython-311.pyc,,\n"]
    for file, content in files.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text(content)
        rows.append(f"{file},sha256=x,{len(content)}\n")
    record.write_text("".join(rows))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An environment of three packages, in use; two of them bring the same file, so one of the two lists is wrong."""
    folder = tmp_path / "versions" / "jax-0123"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "share/dlbox").mkdir(parents=True)
    (folder / "share/dlbox/lock.txt").write_text(
        "# made by uv\nSix.Pack==1.0 \\\n    --hash=sha256:aa\nnumpy==1.0 --hash=sha256:bb\n    # via six\n"
    )
    wheel = "/opt/dlbox/versions/x/share/dlbox/dlbox-1.0-py3-none-any.whl"
    (folder / "share/dlbox/wheel.txt").write_text(f"{wheel} --hash=sha256:cc\n")
    package(folder, "six_pack", {"six_pack/__init__.py": "a = 1\n", "both.py": "first"})
    package(folder, "numpy", {"numpy/__init__.py": "b = 2\n", "both.py": "the second"})
    package(folder, "dlbox", {"dlbox.py": "c = 3\n", "../../../bin/dlbox": "#!python\n"})
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "jax").symlink_to(folder)
    sound.stamp(folder)
    return tmp_path


def test_what_is_whole_stays(root: Path) -> None:
    for other in ("jax-0aff", "jax-0123-b", "jax-metal-0123", "torch-0123"):
        (root / "versions" / other).mkdir()
    assert sound.look(root, "jax", "0123") == {
        "folder": str(root / "versions/jax-0123"), "whole": True, "damage": None, "in_use": True, "left": False,
        "others": [str(root / "versions/jax-0123-b"), str(root / "versions/jax-0aff")],
    }  # fmt: skip
    assert json.loads((root / "versions/jax-0123/.complete").read_text())["disagree"] == [
        "lib/python3.11/site-packages/both.py"
    ]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file cut off": (
        lambda p: (p / "numpy/__init__.py").write_text("b"),
        "numpy/__init__.py: changed since pip installed it",
    ),
    "a file gone": (
        lambda p: (p / "six_pack/__init__.py").unlink(),
        "six_pack/__init__.py: changed since pip installed it",
    ),
    "a folder gone": (lambda p: shutil.rmtree(p / "numpy"), "changed since pip installed it"),
    "a command gone": (lambda p: (p / "../../../bin/dlbox").unlink(), "bin/dlbox: changed since pip installed it"),
    "a package gone": (lambda p: shutil.rmtree(p / "numpy-1.0.dist-info"), "numpy: not installed"),
    "the wheel gone": (lambda p: shutil.rmtree(p / "dlbox-1.0.dist-info"), "dlbox: not installed"),
    "all gone": (lambda p: shutil.rmtree(p.parent), "dlbox and 2 more: not installed"),
    "no Python": (lambda p: (p / "../../../bin/python").unlink(), "its Python does not start"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_named_and_the_next_is_built_beside(
    root: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(root / "versions/jax-0123/lib/python3.11/site-packages")
    looked = sound.look(root, "jax", "0123")
    assert (looked["folder"], looked["whole"]) == (str(root / "versions/jax-0123-b"), False)
    assert words in looked["damage"]


def test_the_one_beside_is_taken_and_the_next_comes_where_the_first_was(root: Path) -> None:
    first, second = root / "versions/jax-0123", root / "versions/jax-0123-b"
    shutil.copytree(first, second, symlinks=True)
    (first / "lib/python3.11/site-packages/dlbox.py").unlink()
    assert sound.look(root, "jax", "0123")["folder"] == str(
        second
    )  # whole, though the link was not switched yet
    (root / "venv/jax").unlink()
    (root / "venv/jax").symlink_to(second)
    looked = sound.look(root, "jax", "0123")
    assert (looked["folder"], looked["in_use"], looked["damage"]) == (str(second), True, None)
    (second / "lib/python3.11/site-packages/dlbox.py").unlink()
    assert sound.look(root, "jax", "0123")["folder"] == str(first)


def test_what_was_never_finished_is_no_damage(root: Path) -> None:
    (root / "venv/jax").unlink()
    (root / "versions/jax-0123/.complete").unlink()
    looked = sound.look(root, "jax", "0123")
    assert (looked["folder"], looked["left"]) == (str(root / "versions/jax-0123"), True)
    assert (looked["whole"], looked["damage"], looked["others"]) == (False, None, [])
    looked = sound.look(root / "nothing", "jax", "0123")
    assert (looked["whole"], looked["left"]) == (False, False)


def test_the_stamp_of_an_earlier_dlbox_is_good_where_the_files_are(root: Path) -> None:
    (root / "versions/jax-0123/.complete").write_text("jax\n")
    assert "both.py" in sound.look(root, "jax", "0123")["damage"]
    (root / "versions/jax-0123/lib/python3.11/site-packages/numpy-1.0.dist-info/RECORD").write_text("")
    (root / "versions/jax-0123/lib/python3.11/site-packages/both.py").write_text("first")
    assert sound.look(root, "jax", "0123")["whole"] is True


def test_what_pip_left_out_is_never_stamped(root: Path) -> None:
    folder = root / "versions/jax-0123"
    shutil.rmtree(folder / "lib/python3.11/site-packages/numpy-1.0.dist-info")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "stamp", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"pip left out numpy: remove {folder}, then run the same command\n"


def small_wheel(folder: Path) -> Path:
    path = folder / "tiny-1.0-py3-none-any.whl"
    head = "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/__init__.py", "answer = 42\n")
        archive.writestr(f"{head}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{head}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{head}/RECORD", "tiny/__init__.py,,12\n")
    return path


def test_the_role_builds_it_again_and_then_changes_nothing(tmp_path: Path) -> None:
    """The real role with the real pip, below a folder of this test's own; nothing is fetched."""
    wheel = small_wheel(tmp_path)
    (tmp_path / "lock.txt").write_text("")
    root = tmp_path / "opt"

    def environment(name: str, **more: Any) -> str:
        role = {
            "ansible.builtin.include_role": {"name": "environment"},
            "vars": {"environment_name": name, **more},
        }
        return json.dumps({"name": f"The environment {name} exists", **role})

    tiny = environment(
        "tiny",
        environment_wheel={
            "path": str(wheel),
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        },
    )
    above = environment("above", environment_over="tiny", environment_wheel={})
    variables = {
        "localhost": {
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "environment_root": str(root),
            "environment_lock": str(tmp_path / "lock.txt"),
            "environment_python": sys.executable,
        }
    }

    def go(*tasks: str) -> Any:
        return only(run(tmp_path, *tasks, variables=variables))

    python = [str(root / "venv/tiny/bin/python"), "-c", "import tiny; print(tiny.answer)"]
    assert go(tiny).status == "changed"
    assert subprocess.check_output(python, text=True) == "42\n"
    second = go(tiny)
    assert (second.status, second.changed) == ("ok", ()), second
    (file,) = root.glob("versions/*/lib/python3*/site-packages/tiny/__init__.py")
    file.write_text("")
    mended = go(tiny, above)
    assert mended.status == "changed"
    (note,) = mended.notes
    assert note.startswith("The environment tiny is damaged (lib/python3")
    assert note.endswith("/tiny/__init__.py: changed since pip installed it): a new one is built beside it.")
    assert subprocess.check_output(python, text=True) == "42\n"
    assert (root / "venv/tiny").resolve().name.endswith("-b")
    assert len(list((root / "versions").glob("tiny-*"))) == 1
    overlay = str(root / "venv/above/bin/python")
    assert subprocess.check_output([overlay, *python[1:]], text=True) == "42\n"
    assert subprocess.check_output([overlay, "-m", "pip", "--version"], text=True).startswith("pip ")
    assert go(tiny, above).changed == ()
