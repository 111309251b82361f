"""Collects a bundle on a connected computer: apt and pip download and check, nothing is installed here.

Apt works in a folder of its own, with an empty list of installed packages and the sources of the box's release, so that
the packages come with everything they depend on, for Debian and Ubuntu alike, without root. What is there already
is not fetched again.
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

import msgspec

from common.child import environment
from common.guard import prefix
from provision.ansible.playbook import Watcher
from provision.artifacts import archive_packages, bundle, environments, own_wheel
from provision.artifacts.bundle import BundleError, Manifest
from provision.artifacts.lockfiles import packages
from provision.artifacts.python_builds import fetch_python
from provision.distributions import distribution_file
from provision.hosts.network import Network
from provision.resolve.model import Stack

_AT_ONCE = 8
"""Wheels a call of pip: few enough to show progress and to lose little when it is cut off."""
_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux2014", "manylinux_2_17",
          "manylinux2010", "manylinux_2_12", "manylinux1", "manylinux_2_5", "linux")  # fmt: skip
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to collect, and for what."""

    stack: Stack
    kernel: str = ""
    """Of the box; empty: the newest of its release."""
    jupyter: bool = True
    network: Network = Network()
    distributions: Path = distribution_file.FOLDER
    """The folder of the distribution files."""


def collect(wanted: Wanted, folder: Path, watcher: Watcher) -> Manifest:
    """Fill the folder; the manifest comes last. Raises BundleError, LockError, WheelError."""
    stack, folder = wanted.stack, folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = [
            path.name
            for path in folder.iterdir()
            if path.name not in _OWN and not _OWN_WHEEL.match(path.name)
        ]
        if strange:
            raise BundleError(f"{folder} holds {strange[0]}, which is not of a bundle: name an empty folder")
        with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
            told = wanted.network.environment(Path(temporary))
            watcher.begin("bundle", "resolving versions")
            locks = environments.make_locks(stack, jupyter=wanted.jupyter, network=wanted.network)
            place = folder / "locks"
            place.mkdir(exist_ok=True)
            for old in place.iterdir():
                old.unlink()
            for name, text in locks.items():
                (place / f"{name}.txt").write_text(text, encoding="utf-8")
            _, release = distribution_file.read(wanted.distributions / f"{stack.distribution}.yml")
            archive_packages.fetch(stack, release, wanted.kernel, wanted.network, folder, told, watcher)
            _wheels(stack, locks, folder / "wheels", told, watcher)
            if stack.python.source != "distribution":
                fetch_python(stack.python.version, folder / "python", told, watcher)
        for old in folder.glob("dlbox-*.whl"):
            old.unlink()
        wheel = own_wheel.build(folder).path.name
        found = bundle.contents(stack, jupyter=wanted.jupyter)
        manifest = bundle.write(folder, found, wheel, watcher)
    except OSError as error:
        raise BundleError(
            f"the bundle was not collected: {error.strerror} ({error.filename or folder})"
        ) from None
    size = sum(file.bytes for file in manifest.files.values())
    watcher.done(f"{len(manifest.files)} files, {size / 2**20:.0f} MiB in {folder}")
    return manifest


_OWN = ("debs", "wheels", "locks", "keys", "python", "lost+found", f"{bundle.MANIFEST}.part")
_OWN_WHEEL = re.compile(r"dlbox-.*\.whl$")


def _wheels(
    stack: Stack, locks: Mapping[str, str], place: Path, told: Mapping[str, str], watcher: Watcher
) -> None:
    """Every wheel of the lock files; those that no lock file names, damaged ones among them, go first."""
    place.mkdir(exist_ok=True)
    lines = {line: stack.indexes.get(name) for name, text in locks.items() for line in _lines(text)}
    known = {digest for line in lines for digest in _HASH.findall(line)}
    have = set()
    for path in place.iterdir():
        digest = bundle.sha256(path)
        if digest in known:
            have.add(digest)
        else:
            path.unlink()
    missing = [line for line in lines if not have.intersection(_HASH.findall(line))]
    for index in sorted({lines[line] or "" for line in missing}):
        of_index = [line for line in missing if (lines[line] or "") == index]
        for start in range(0, len(of_index), _AT_ONCE):
            some = of_index[start : start + _AT_ONCE]
            names = ", ".join(name for line in some for name in packages(line))
            share = (len(lines) - len(missing) + start) / len(lines)
            watcher.update(f"wheels: {names}", share=share)
            _download(some, stack.python.version, place, index, told)


def _lines(text: str) -> list[str]:
    """One requirement a line, hashes and all."""
    joined = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in joined if packages(line)]


def _download(lines: list[str], python: str, place: Path, index: str, told: Mapping[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix=prefix(), encoding="utf-8") as wanted:
        wanted.write("".join(f"{line}\n" for line in lines))
        wanted.flush()
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
            "--only-binary", ":all:", "--implementation", "cp", "--python-version", python, "--dest", str(place),
            "-r", wanted.name,
            *(word for name in _GLIBC for word in ("--platform", f"{name}_x86_64")),
            *(["--extra-index-url", index] if index else []),
        ]  # fmt: skip
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment(_environment(told)),
        )
    if ended.returncode != 0:
        why = [
            line.removeprefix("ERROR: ") for line in ended.stderr.splitlines() if line.startswith("ERROR: ")
        ]
        said = (why or ended.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise BundleError(
            f"pip did not download {' '.join(p for line in lines for p in packages(line))}: {said}"
        )


def _environment(told: Mapping[str, str]) -> dict[str, Any]:
    return {**os.environ, **told, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
