"""A folder with everything that one Stack needs: packages, wheels, lock files, keys, Python; each with its checksum.

It is whole when it has a manifest, which is written last. What it is made of is gathered by collect.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from provision.ansible.playbook import Watcher
from provision.artifacts.own_wheel import OwnWheel
from provision.resolve.box_reading import (
    PACKAGE,
    PACKAGE_VERSION,
    Fields,
    Flag,
    Many,
    Named,
    Number,
    ReadingError,
    Text,
    checked,
)
from provision.resolve.model import Stack

MANIFEST = "MANIFEST.json"
SCHEMA_VERSION = 1
ON_THE_BOX = "/opt/dlbox/cache/bundle"
_BLOCK = 1 << 20
_LARGEST = 16 << 20
"""Bytes of a manifest; a real one has under 200 kB."""
_ENVIRONMENT = Text("the name of an environment", r"[a-z][a-z0-9_-]{0,39}")
_SHAPE = Fields(
    {
        "contents": Fields(
            {
                "distribution": Text("a distribution as in ubuntu-24.04", r"[a-z]+-[0-9]+(?:\.[0-9]+)?"),
                "cards": Many(Text("the name of a card", r"[^\x00-\x1f\x7f-\x9f]{1,120}"), 64),
                "packages": Many(PACKAGE, 1_000),
                "python": Text("a Python as in 3.12 uv", r"[0-9]+\.[0-9]+ [a-z0-9][a-z0-9.-]*"),
                "environments": Named(_ENVIRONMENT, Named(PACKAGE, PACKAGE_VERSION, 1_000), 20),
                "jupyter": Flag(),
            }
        ),
        "wheel": Text("the name of dlbox's wheel", r"dlbox-[A-Za-z0-9._+-]{1,100}\.whl"),
        "files": Named(
            Text("the path of a file", r"[A-Za-z0-9._+~%@=,:!/-]{1,400}"),
            Fields(
                {
                    "sha256": Text("a SHA-256 checksum", r"[0-9a-f]{64}"),
                    "bytes": Number("a number of bytes", 0, 2**50),
                }
            ),
            50_000,
        ),
    }
)


class BundleError(RuntimeError):
    """The bundle cannot be made or used; the message is one sentence."""


class File(msgspec.Struct, frozen=True):
    sha256: str
    bytes: int


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle serves."""

    distribution: str
    cards: tuple[str, ...]
    packages: tuple[str, ...]
    """The distribution's, without what they depend on, which is there as well."""
    python: str
    """Version and where it comes from: "3.12 uv"."""
    environments: dict[str, dict[str, str]]
    """Name -> package -> version."""
    jupyter: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    contents: Contents
    wheel: str
    """dlbox's own."""
    files: dict[str, File]
    """Path below the bundle -> what it must be."""
    schema_version: int = SCHEMA_VERSION


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle whose every file is what its manifest says."""

    folder: Path
    manifest: Manifest
    digest: str

    def lacks(self, stack: Stack, *, jupyter: bool) -> str | None:
        """What this box needs and the bundle does not have, in a sentence; None where it has everything."""
        has, wanted = self.manifest.contents, contents(stack, jupyter=jupyter)
        if has.distribution != wanted.distribution:
            return self._not(f"for {has.distribution}, and this box is {wanted.distribution}")
        if has.python != wanted.python:
            return self._not(f"for Python {has.python}, and this box needs {wanted.python}")
        for name, versions in wanted.environments.items():
            if has.environments.get(name) != versions:
                return self._not(f"without the environment {name} of this plan")
        missing = [name for name in wanted.packages if name not in has.packages]
        if missing:
            return self._not(f"without {' '.join(missing)}")
        return self._not("without JupyterLab (or say --no-jupyter)") if jupyter and not has.jupyter else None

    def _not(self, words: str) -> str:
        return f"the bundle {self.folder} was collected {words}: collect one for this box where there is a network"

    def locks(self) -> dict[str, str]:
        """Environment -> its lock file."""
        folder = self.folder / "locks"
        return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}

    @property
    def wheel(self) -> OwnWheel:
        return OwnWheel(
            path=self.folder / self.manifest.wheel, sha256=self.manifest.files[self.manifest.wheel].sha256
        )

    def variables(self, pip_conf: Path, *, here: bool) -> dict[str, Any]:
        """For the playbooks. ``pip_conf`` is written; ``here``: the box is this machine, nothing is copied."""
        place = self.folder if here else Path(ON_THE_BOX)
        # As an address: white space in the name of a folder would be the end of it.
        wheels = (place / "wheels").as_uri()
        pip_conf.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n", encoding="utf-8")
        return {
            "bundle_source": "" if here else str(self.folder),
            "bundle_folder": str(place),
            "bundle_digest": self.digest,
            "bundle_key": (self.folder / "keys/nvidia.asc").is_file(),
            "python_mirror": (place / "python").as_uri(),
            "site_pip_config": str(pip_conf),
        }


def contents(stack: Stack, *, jupyter: bool) -> Contents:
    """What a bundle for this stack has."""
    return Contents(
        distribution=stack.distribution,
        cards=stack.cards,
        packages=tuple(dict.fromkeys((*with_recommended(stack), *alone(stack)))),
        python=f"{stack.python.version} {stack.python.source}",
        environments=stack.environments,
        jupyter=jupyter,
    )


def with_recommended(stack: Stack) -> tuple[str, ...]:
    """The driver's packages, which the role installs with what they recommend."""
    driver = stack.driver
    return (*driver.packages, *(["mokutil"] if driver.needs_mok else [])) if driver is not None else ()


def alone(stack: Stack) -> tuple[str, ...]:
    """Packages that are installed with nothing but what they need."""
    cuda = stack.cuda
    found = [*stack.python.packages, "gpg"]
    if cuda is not None and cuda.toolkit is not None:
        found += [*cuda.toolkit_packages, *(["g++"] if cuda.toolkit_repository is not None else [])]
    return tuple(found)


def is_whole(folder: Path) -> bool:
    """Whether there is something to install from; else something is to be collected."""
    return (folder / MANIFEST).exists()


def read(folder: Path, watcher: Watcher) -> Bundle:
    """The bundle, every file compared with its checksum. Raises BundleError."""
    folder = folder.absolute()
    try:
        with (folder / MANIFEST).open("rb") as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise BundleError(f"{folder / MANIFEST} is larger than {_LARGEST >> 20} MiB: no manifest is")
        manifest = msgspec.json.decode(text, type=Manifest)
        _check(manifest)
    except OSError as error:
        raise BundleError(f"the bundle {folder} cannot be read: {error.strerror}") from None
    except ReadingError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}: collect again where there is a network") from None
    except (ValueError, RecursionError):
        raise BundleError(
            f"{folder / MANIFEST} is damaged: remove it and collect again where there is a network"
        ) from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(f"the bundle {folder} is of another dlbox: collect again with this one")
    watcher.begin("bundle", "comparing checksums")
    whole = sum(file.bytes for file in manifest.files.values()) or 1
    done = 0
    for name, file in manifest.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{folder / MANIFEST} names {name}, which lies outside of the bundle")
        try:
            sound = path.stat().st_size == file.bytes and sha256(path) == file.sha256
        except OSError as error:
            why = (
                "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            )
            raise BundleError(f"{name} of the bundle {folder} {why}: {_AGAIN}") from None
        if not sound:
            raise BundleError(f"{name} of the bundle {folder} is damaged: {_AGAIN}")
        done += file.bytes
        watcher.update(f"comparing {path.name}", share=done / whole)
    watcher.done(f"{len(manifest.files)} files, {whole / 2**20:.0f} MiB, every checksum right")
    return Bundle(folder=folder, manifest=manifest, digest=hashlib.sha256(text).hexdigest())


def _check(manifest: Manifest) -> None:
    """Raises ReadingError where a field of the manifest is not what it should be."""
    checked("", msgspec.to_builtins(manifest), _SHAPE)
    if manifest.wheel not in manifest.files:
        raise ReadingError('field "wheel" names a file that is not in "files"')


_AGAIN = f"remove its {MANIFEST} and collect again where there is a network; what is sound is kept"


def write(folder: Path, found: Contents, wheel: str, watcher: Watcher) -> Manifest:
    """The manifest of what lies in the folder: the bundle is whole."""
    files = {}
    for path in _files(folder):
        watcher.update(f"checksum of {path.name}")
        files[str(path.relative_to(folder))] = File(sha256(path), path.stat().st_size)
    manifest = Manifest(contents=found, wheel=wheel, files=files)
    temporary = folder / f"{MANIFEST}.part"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    temporary.replace(folder / MANIFEST)
    return manifest


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".part" and path.name not in (MANIFEST, "lock"):
            yield path
