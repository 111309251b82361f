"""The structure of the code: import layers, length of files and folders, names of modules."""

from __future__ import annotations

import ast
import collections
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("common", "inventory", "provision", "bench", "workshops")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LINES_AT_MOST = 400
FILES_AT_MOST = 12
"""Python files of a folder."""
LAYERED = ("provision/ansible", "provision/artifacts", "provision/commands", "provision/hosts", "provision")
"""Folders in which the limit of files and unique class names are enforced."""


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_begins_with_a_docstring_and_is_short() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in SOURCES}
    assert len(texts) > 200
    assert [
        name for name, text in texts.items() if not text.lstrip().startswith(('"""', "# %%", "# ---"))
    ] == []
    assert [name for name, text in texts.items() if text.count("\n") > LINES_AT_MOST] == []


def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    assert [str(path) for path in SOURCES if path.stem in sys.stdlib_module_names] == []


def test_folders_have_few_files() -> None:
    counts = collections.Counter(str(path.parent.relative_to(ROOT)) for path in SOURCES)
    assert {folder: counts[folder] for folder in LAYERED if counts[folder] > FILES_AT_MOST} == {}


def test_a_class_name_of_provision_is_used_once() -> None:
    """In the whole project; private classes and scripts that run on a box are not counted."""
    where = collections.defaultdict(set)
    for path in SOURCES:
        if "roles" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].add(str(path.relative_to(ROOT)))
    repeated = {name: files for name, files in where.items() if len(files) > 1}
    assert {
        name: files
        for name, files in repeated.items()
        if any(file.rsplit("/", 1)[0] in LAYERED for file in files)
    } == {}
