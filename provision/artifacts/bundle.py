"""A bundle: a folder with everything that one Stack needs (packages, wheels, lock files, keys, Python) and checksums.

A bundle is complete when it has a manifest, which is written last. ``collect.py`` fills the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.file_access.files import write_atomically
from provision.artifacts.own_wheel import OwnWheel
from provision.distributions import distribution_file
from provision.hosts.network import Network
from provision.progress import ProgressReporter
from provision.resolve.box_reading import (
    PACKAGE,
    PACKAGE_VERSION,
    BoxText,
    Fields,
    Flag,
    Many,
    Named,
    Number,
    ReadingError,
    checked,
)
from provision.resolve.model import Stack

MANIFEST = "MANIFEST.json"
SCHEMA_VERSION = 1
FOLDER_ON_BOX = "/opt/dlbox/cache/bundle"
_LARGEST = 16 << 20
"""Maximum number of bytes read from a manifest; real manifests are under 200 kB."""
_ENVIRONMENT = BoxText("the name of an environment", r"[a-z][a-z0-9_-]{0,39}")
_SHAPE = Fields(
    {
        "contents": Fields(
            {
                "distribution": BoxText("a distribution as in ubuntu-24.04", r"[a-z]+-[0-9]+(?:\.[0-9]+)?"),
                "cards": Many(BoxText("the name of a card", r"[^\x00-\x1f\x7f-\x9f]{1,120}"), 64),
                "packages": Many(PACKAGE, 1_000),
                "python": BoxText("a Python as in 3.12 uv", r"[0-9]+\.[0-9]+ [a-z0-9][a-z0-9.-]*"),
                "environments": Named(_ENVIRONMENT, Named(PACKAGE, PACKAGE_VERSION, 1_000), 20),
                "jupyter": Flag(),
            }
        ),
        "wheel": BoxText("the name of dlbox's wheel", r"dlbox-[A-Za-z0-9._+-]{1,100}\.whl"),
        "files": Named(
            BoxText("the path of a file", r"[A-Za-z0-9._+~%@=,:!/-]{1,400}"),
            Fields(
                {
                    "sha256": BoxText("a SHA-256 checksum", r"[0-9a-f]{64}"),
                    "bytes": Number("a number of bytes", 0, 2**50),
                }
            ),
            50_000,
        ),
    }
)


class BundleError(RuntimeError):
    """The bundle cannot be collected or used; the message is one sentence."""


class BundleFile(msgspec.Struct, frozen=True):
    """Checksum and size of one file."""

    sha256: str
    bytes: int


class BundleContents(msgspec.Struct, frozen=True, kw_only=True):
    """The packages, wheels and Python that a bundle contains."""

    distribution: str
    cards: tuple[str, ...]
    packages: tuple[str, ...]
    """Packages of the distribution. Their dependencies are in the bundle too, but not listed here."""
    python: str
    """Version and source of Python: "3.12 uv"."""
    environments: dict[str, dict[str, str]]
    """Name -> package -> version."""
    jupyter: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The file MANIFEST.json of a bundle."""

    contents: BundleContents
    wheel: str
    """File name of dlbox's own wheel."""
    files: dict[str, BundleFile]
    """Path below the bundle's folder -> checksum and size."""
    schema_version: int = SCHEMA_VERSION


class BundleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an offline bundle shall contain, and for which box it is made."""

    stack: Stack
    kernel: str = ""
    """The box's kernel release; empty: the newest kernel of its distribution."""
    jupyter: bool = True
    network: Network = Network()
    distributions: Path = distribution_file.FOLDER
    """The folder of the distribution files."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A complete bundle whose files match the checksums of its manifest."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest."""

    def missing(self, stack: Stack, *, jupyter: bool) -> str | None:
        """One sentence about what the box needs and the bundle lacks; None if the bundle contains everything."""
        has, needed = self.manifest.contents, contents(stack, jupyter=jupyter)
        if has.distribution != needed.distribution:
            return self._mismatch(f"for {has.distribution}, and this box runs {needed.distribution}")
        if has.python != needed.python:
            return self._mismatch(f"for Python {has.python}, and this box needs {needed.python}")
        for name, versions in needed.environments.items():
            if has.environments.get(name) != versions:
                return self._mismatch(f"without the environment {name} of this plan")
        missing = [name for name in needed.packages if name not in has.packages]
        if missing:
            return self._mismatch(f"without {' '.join(missing)}")
        return (
            self._mismatch("without JupyterLab (or pass --no-jupyter)")
            if jupyter and not has.jupyter
            else None
        )

    def _mismatch(self, text: str) -> str:
        return (
            f"the bundle {self.folder} was collected {text}: "
            "collect one for this box on a computer with internet access"
        )

    def locks(self) -> dict[str, str]:
        """Environment -> the text of its lock file. Raises OSError."""
        folder = self.folder / "locks"
        return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}

    @property
    def wheel(self) -> OwnWheel:
        """dlbox's own wheel."""
        return OwnWheel(
            path=self.folder / self.manifest.wheel, sha256=self.manifest.files[self.manifest.wheel].sha256
        )

    def variables(self, pip_conf: Path, *, here: bool) -> dict[str, Any]:
        """The playbooks' variables that describe the bundle.

        ``pip_conf``: where to write a pip.conf. ``here``: the box is this machine, so nothing is copied.
        """
        folder = self.folder if here else Path(FOLDER_ON_BOX)
        # A URL, because pip would cut off a path at the first white space.
        wheels = (folder / "wheels").as_uri()
        pip_conf.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n", encoding="utf-8")
        return {
            "bundle_source": "" if here else str(self.folder),
            "bundle_folder": str(folder),
            "bundle_digest": self.digest,
            "bundle_key": (self.folder / "keys/nvidia.asc").is_file(),
            "python_mirror": (folder / "python").as_uri(),
            "site_pip_config": str(pip_conf),
        }


def contents(stack: Stack, *, jupyter: bool) -> BundleContents:
    """The contents that a bundle for this stack must have."""
    packages = (*packages_with_recommended(stack), *packages_without_recommended(stack))
    return BundleContents(
        distribution=stack.distribution,
        cards=stack.cards,
        packages=tuple(dict.fromkeys(packages)),
        python=f"{stack.python.version} {stack.python.source}",
        environments=stack.environments,
        jupyter=jupyter,
    )


def packages_with_recommended(stack: Stack) -> tuple[str, ...]:
    """The driver's packages. The role also installs the packages that they recommend."""
    driver = stack.driver
    return (*driver.packages, *(["mokutil"] if driver.needs_mok else [])) if driver is not None else ()


def packages_without_recommended(stack: Stack) -> tuple[str, ...]:
    """Packages that the roles install with their dependencies but without recommended packages."""
    cuda = stack.cuda
    found = [*stack.python.packages, "gpg"]
    if cuda is not None and cuda.toolkit is not None:
        found += [*cuda.toolkit_packages, *(["g++"] if cuda.toolkit_repository is not None else [])]
    return tuple(found)


def is_complete(folder: Path) -> bool:
    """Whether the folder is a complete bundle, so that dlbox can install from it."""
    return (folder / MANIFEST).exists()


def read(folder: Path, progress: ProgressReporter) -> Bundle:
    """Read the bundle in ``folder`` and compare every file with its checksum. Raises BundleError."""
    folder = folder.absolute()
    try:
        with (folder / MANIFEST).open("rb") as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise BundleError(
                f"{folder / MANIFEST} is not a manifest: it is larger than {_LARGEST >> 20} MiB"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
        _check(manifest)
    except OSError as error:
        raise BundleError(f"the bundle {folder} cannot be read: {error.strerror}") from None
    except ReadingError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}: {_COLLECT_AGAIN}") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{folder / MANIFEST} is damaged: remove it and {_COLLECT_AGAIN}") from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(
            f"the bundle {folder} was made by another version of dlbox: collect it again with this version"
        )
    progress.begin("bundle", "comparing checksums")
    total = sum(file.bytes for file in manifest.files.values()) or 1
    done = 0
    for name, file in manifest.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{folder / MANIFEST} names {name}, which is outside of the bundle")
        try:
            intact = path.stat().st_size == file.bytes and sha256(path) == file.sha256
        except OSError as error:
            why = (
                "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            )
            raise BundleError(f"{name} of the bundle {folder} {why}: {_REPAIR}") from None
        if not intact:
            raise BundleError(f"{name} of the bundle {folder} is damaged: {_REPAIR}")
        done += file.bytes
        progress.update(f"comparing {path.name}", share=done / total)
    progress.done(f"{len(manifest.files)} files, {total / 2**20:.0f} MiB, all checksums match")
    return Bundle(folder=folder, manifest=manifest, digest=hashlib.sha256(text).hexdigest())


def _check(manifest: Manifest) -> None:
    """Check the manifest. Raises ReadingError if one of its fields has a wrong value."""
    checked("", msgspec.to_builtins(manifest), _SHAPE)
    if manifest.wheel not in manifest.files:
        raise ReadingError('field "wheel" names a file that is not in "files"')


_COLLECT_AGAIN = "collect the bundle again on a computer with internet access"
_REPAIR = f"remove its {MANIFEST} and {_COLLECT_AGAIN}; undamaged files are reused"


def write(folder: Path, found: BundleContents, wheel: str, progress: ProgressReporter) -> Manifest:
    """Write the manifest of the files in ``folder``, which completes the bundle. Raises OSError."""
    files = {}
    for path in _files(folder):
        progress.update(f"checksum of {path.name}")
        files[str(path.relative_to(folder))] = BundleFile(sha256(path), path.stat().st_size)
    manifest = Manifest(contents=found, wheel=wheel, files=files)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    write_atomically(folder / MANIFEST, text, follow=False)
    return manifest


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".part" and path.name not in (MANIFEST, "lock"):
            yield path
