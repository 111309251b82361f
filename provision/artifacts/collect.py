"""Collect a bundle on a computer with internet access: apt and pip download and verify, nothing is installed here.

Apt uses a state folder of its own, with an empty list of installed packages and the sources of the box's
distribution, so that it downloads all dependencies, for Debian and Ubuntu alike, without root. Files that are
already in the folder are not downloaded again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.processes.child import environment
from common.processes.guard import prefix
from provision.artifacts import archive_packages, bundle, environments, own_wheel
from provision.artifacts.bundle import BundleError, BundleRequest, Manifest
from provision.artifacts.python_builds import fetch_python
from provision.distributions import distribution_file
from provision.lock_text import packages
from provision.progress import ProgressReporter
from provision.resolve.model import Stack

_WHEELS_PER_CALL = 8
"""Number of wheels per call of pip. It is small, so that progress is visible and an interruption loses little."""
_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux2014", "manylinux_2_17",
          "manylinux2010", "manylinux_2_12", "manylinux1", "manylinux_2_5", "linux")  # fmt: skip
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def collect(request: BundleRequest, folder: Path, progress: ProgressReporter) -> Manifest:
    """Fill the folder and write its manifest last. Raises BundleError, LockError, WheelError, HostError."""
    stack, folder = request.stack, folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [
            path.name
            for path in folder.iterdir()
            if path.name not in _OWN and not _OWN_WHEEL.match(path.name)
        ]
        if foreign:
            raise BundleError(
                f"{folder} contains {foreign[0]}, which is not part of a bundle: choose an empty folder"
            )
        with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
            variables = request.network.environment(Path(temporary))
            progress.begin("bundle", "resolving versions")
            locks = environments.make_locks(stack, jupyter=request.jupyter, network=request.network)
            lock_folder = folder / "locks"
            lock_folder.mkdir(exist_ok=True)
            for old in lock_folder.iterdir():
                old.unlink()
            for name, text in locks.items():
                (lock_folder / f"{name}.txt").write_text(text, encoding="utf-8")
            _, release = distribution_file.read(request.distributions / f"{stack.distribution}.yml")
            archive_packages.fetch(request, release, folder, variables, progress)
            _fetch_wheels(stack, locks, folder / "wheels", variables, progress)
            if stack.python.source != "distribution":
                fetch_python(stack.python.version, folder / "python", variables, progress)
        for old in folder.glob("dlbox-*.whl"):
            old.unlink()
        wheel = own_wheel.build(folder).path.name
        found = bundle.contents(stack, jupyter=request.jupyter)
        manifest = bundle.write(folder, found, wheel, progress)
    except OSError as error:
        raise BundleError(
            f"the bundle was not collected: {error.strerror} ({error.filename or folder})"
        ) from None
    size = sum(file.bytes for file in manifest.files.values())
    progress.done(f"{len(manifest.files)} files, {size / 2**20:.0f} MiB in {folder}")
    return manifest


_OWN = ("debs", "wheels", "locks", "keys", "python", "lost+found", f"{bundle.MANIFEST}.part")
"""Names that an unfinished bundle may contain; the ``.part`` file is from dlbox 0.1."""
_OWN_WHEEL = re.compile(r"dlbox-.*\.whl$")


def _fetch_wheels(
    stack: Stack,
    locks: Mapping[str, str],
    folder: Path,
    variables: Mapping[str, str],
    progress: ProgressReporter,
) -> None:
    """Download every wheel of the lock files into ``folder``, after removing damaged and unlisted files there."""
    folder.mkdir(exist_ok=True)
    lines = {line: stack.indexes.get(name) for name, text in locks.items() for line in _requirements(text)}
    known = {digest for line in lines for digest in _HASH.findall(line)}
    present = set()
    for path in folder.iterdir():
        digest = bundle.sha256(path)
        if digest in known:
            present.add(digest)
        else:
            path.unlink()
    missing = [line for line in lines if not present.intersection(_HASH.findall(line))]
    for index in sorted({lines[line] or "" for line in missing}):
        of_index = [line for line in missing if (lines[line] or "") == index]
        for start in range(0, len(of_index), _WHEELS_PER_CALL):
            batch = of_index[start : start + _WHEELS_PER_CALL]
            names = ", ".join(name for line in batch for name in packages(line))
            share = (len(lines) - len(missing) + start) / len(lines)
            progress.update(f"wheels: {names}", share=share)
            _download(batch, stack.python.version, folder, index, variables)


def _requirements(text: str) -> list[str]:
    """The requirements of a lock file, each with its hashes on one line."""
    joined = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in joined if packages(line)]


def _download(lines: list[str], python: str, folder: Path, index: str, variables: Mapping[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix=prefix(), encoding="utf-8") as listed:
        listed.write("".join(f"{line}\n" for line in lines))
        listed.flush()
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
            "--only-binary", ":all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder),
            "-r", listed.name,
            *(word for name in _GLIBC for word in ("--platform", f"{name}_x86_64")),
            *(["--extra-index-url", index] if index else []),
        ]  # fmt: skip
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment(_environment(variables)),
        )
    if ended.returncode != 0:
        errors = [
            line.removeprefix("ERROR: ") for line in ended.stderr.splitlines() if line.startswith("ERROR: ")
        ]
        reason = (errors or ended.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        names = " ".join(name for line in lines for name in packages(line))
        raise BundleError(f"pip did not download {names}: {reason}")


def _environment(variables: Mapping[str, str]) -> dict[str, Any]:
    return {**os.environ, **variables, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
