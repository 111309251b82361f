"""Make a wheel of the running dlbox for the box: build it from a checkout, or repack the installed files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

from common.processes.child import environment

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


class WheelError(RuntimeError):
    """No wheel could be made; the message is one sentence."""


class OwnWheel(msgspec.Struct, frozen=True, kw_only=True):
    """dlbox's wheel and its SHA-256 in hexadecimal."""

    path: Path
    sha256: str


def build(folder: Path) -> OwnWheel:
    """Make the wheel in ``folder``. Raises WheelError."""
    path = _from_checkout(folder) if (ROOT / "pyproject.toml").is_file() else _from_installation(folder)
    return OwnWheel(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def requirements() -> tuple[str, ...]:
    """dlbox's own requirements and those of its extra for training; a box gets its framework separately."""
    found = []
    for line in importlib.metadata.requires("dlbox") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": "train"}):
            requirement.marker = None
            found.append(str(requirement))
    return tuple(found)


def _from_checkout(folder: Path) -> Path:
    ended = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment(os.environ),
    )  # fmt: skip
    found = sorted(folder.glob("dlbox-*.whl"))
    if ended.returncode != 0 or not found:
        last = (ended.stderr.strip() or "hatchling gave no reason").splitlines()[-1]
        raise WheelError(f"building dlbox's own wheel failed: {last}")
    return found[-1]


def _from_installation(folder: Path) -> Path:
    """Pack the installed files and a RECORD of them into a wheel."""
    own = importlib.metadata.distribution("dlbox")
    path = folder / f"dlbox-{own.version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(own.files or (), key=str):
            if file.parts[0] == ".." or "__pycache__" in file.parts or file.name in _LEFT_OUT:
                continue
            entry = zipfile.ZipInfo(str(file))  # with a fixed time, so that equal files give an equal wheel
            archive.writestr(entry, file.read_binary())
            record += f"{file},,\n"
        name = f"dlbox-{own.version}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(name), f"{record}{name},,\n")
    return path
