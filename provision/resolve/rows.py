"""The rows of stack.yml as records, and ``StackData``: all data that the resolver uses.

Rows of ``libraries`` and ``frameworks`` are in order of preference: the resolver takes the first that fits.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from common.backends import Backend
from common.sourced import Sourced
from inventory.cards.architectures import ArchitectureRow, Flavour
from provision.distributions.distribution_file import DistributionRow, ForbiddenRow, forbidden_by
from provision.kernels.module_builds import BuildRow

Framework = Backend
"""The frameworks in a plan are the backends of Keras."""


class BranchRow(Sourced, frozen=True, kw_only=True):
    """A driver branch."""

    branch: int
    kind: str
    ends: datetime.date | None
    """Last day of support; None if it is unknown."""
    flavours: tuple[Flavour, ...]
    """The variants of the kernel modules that dlbox installs from this branch."""
    why: str


class LibraryRow(Sourced, frozen=True, kw_only=True):
    """A wheel that contains GPU code, and the compute capabilities of this code."""

    package: str
    version: str
    code: tuple[str, ...]
    why: str


class FrameworkRow(Sourced, frozen=True, kw_only=True):
    """One wheel of a framework."""

    framework: Framework
    version: str
    device: Literal["gpu", "cpu"]
    requirement: str
    """The name for pip, with extras: "tensorflow[and-cuda]"."""
    python: tuple[str, str]
    """Lowest and highest minor version of Python for which a wheel exists."""
    cuda: str | None = None
    min_driver: int | None = None
    """First driver branch with which the wheel runs."""
    code: tuple[str, ...] = ()
    """Compute capabilities of the GPU code in the wheel."""
    documented_from: str | None = None
    """Lowest compute capability that the framework supports, if the wheel contains code for a lower one."""
    library: str | None = None
    """The cuDNN wheel that the framework loads."""
    pins: dict[str, str] = msgspec.field(default_factory=dict)
    """Packages that are installed with it, with their exact versions."""
    requires: dict[str, str] = msgspec.field(default_factory=dict)
    """Package -> allowed versions, from the wheel's metadata, for packages that other frameworks also require."""
    index: str | None = None
    """The package index that has this build, if PyPI does not have it."""
    build: str | None = None
    """The build in the version, "cu126", where the index and PyPI have different builds of one version."""
    why: str

    @property
    def pinned(self) -> str:
        """The exact version to install: "2.13.0" or, with a build, "2.13.0+cu126"."""
        return f"{self.version}+{self.build}" if self.build else self.version


class GapRow(Sourced, frozen=True, kw_only=True):
    """Explains why no wheel of a framework supports some architectures; it does not affect the selection."""

    framework: Framework
    architectures: tuple[str, ...]
    why: str


class ProcessorRow(Sourced, frozen=True, kw_only=True):
    """The instruction sets that the wheels of a framework need."""

    framework: Framework
    needs: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{2,20}$")], ...]
    """Flags as in /proc/cpuinfo: "avx"."""
    why: str


class KerasRow(Sourced, frozen=True, kw_only=True):
    """The Keras version that every environment gets."""

    version: str
    minimum: str
    python: tuple[str, str]
    why: str


class PythonRow(Sourced, frozen=True, kw_only=True):
    """The Python versions that dlbox supports, and the tool that installs one if the distribution's does not fit."""

    dlbox: tuple[str, str]
    preferred: tuple[str, ...]
    tool: str
    tool_version: str
    why: str


class StackData(msgspec.Struct, frozen=True, kw_only=True):
    """The stack file, the distribution files and the table of architectures."""

    path: str
    folder: Path
    """The folder of the distribution files."""
    date: datetime.date
    """The day on which the newest row of the stack file was checked."""
    architectures: tuple[ArchitectureRow, ...]
    branches: tuple[BranchRow, ...]
    distributions: tuple[DistributionRow, ...]
    forbidden: tuple[ForbiddenRow, ...]
    """Package names that are forbidden on every release."""
    libraries: tuple[LibraryRow, ...]
    frameworks: tuple[FrameworkRow, ...]
    gaps: tuple[GapRow, ...]
    keras: KerasRow
    python: PythonRow
    builds: tuple[BuildRow, ...]
    """The kernels for which each version of the modules compiles."""
    processors: tuple[ProcessorRow, ...] = ()

    def architecture(self, name: str) -> ArchitectureRow | None:
        """The row of the chip architecture with this name, such as "ampere"."""
        return next((row for row in self.architectures if row.name == name), None)

    def branch(self, number: int) -> BranchRow | None:
        """The row of the driver branch with this number, such as 580."""
        return next((row for row in self.branches if row.branch == number), None)

    def distribution(self, name: str) -> DistributionRow | None:
        """The distribution release with this id, such as "ubuntu-24.04"."""
        return next((row for row in self.distributions if row.id == name), None)

    def library(self, package: str) -> list[LibraryRow]:
        """The known versions of a library."""
        return [row for row in self.libraries if row.package == package]

    def forbidden_by(self, package: str, distribution: str) -> ForbiddenRow | None:
        """The row that forbids a package name on a release; None if the package may be installed."""
        row = self.distribution(distribution)
        return forbidden_by(package, (*self.forbidden, *(row.forbidden if row else ())))
