"""The rows of stack.yml as records; each carries when and where it was looked up and how well it is known.

Rows of ``drivers``, ``libraries``, ``frameworks`` and ``toolkits`` stand in order of preference: the resolver
takes the first that fits.
"""

from __future__ import annotations

import datetime
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

Flavour = Literal["open", "closed"]
Framework = Literal["tensorflow", "torch", "jax"]
Verified = Literal["measured", "published", "memory", "derived"]
"""measured: read off a wheel or a package index. published: documentation or an issue. memory: general
knowledge, unconfirmed. derived: follows from other rows."""
Origin = Literal["prebuilt", "dkms", "distribution", "nvidia-repository"]


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Common to all: when it was looked up, where, and how well it is known."""

    date: datetime.date
    source: str
    verified: Verified


class ArchitectureRow(Row, frozen=True, kw_only=True):
    """What a family of chips can be driven by. ``last_branch`` null: still in current branches."""

    name: str
    cards: str
    capabilities: tuple[str, ...]
    assumed_capability: str
    """For a card whose exact chip is not known: the consumer chips' lowest."""
    first_branch: int
    last_branch: int | None
    flavours: tuple[Flavour, ...]
    why: str


class BranchRow(Row, frozen=True, kw_only=True):
    """A driver branch. ``ends``: last day of support; null where no date is recorded."""

    branch: int
    kind: str
    ends: datetime.date | None
    flavours: tuple[Flavour, ...]
    why: str


class DistributionRow(Row, frozen=True, kw_only=True):
    id: str
    name: str
    codename: str
    python: str
    python_packages: tuple[str, ...]
    apt_verifier: Literal["gpgv", "sqv"]
    """sqv (apt 2.9 and later where built with it) refuses keys whose only self-signature is SHA-1."""
    ga_kernel: str | None = None
    """The release's first kernel series on Ubuntu, "6.8"; later "-generic" ones are the HWE kernels."""
    ga_flavour: str | None = None
    hwe_flavour: str | None = None
    assumed_flavour: str | None = None
    """When the kernel is not known."""


class RepositoryRow(Row, frozen=True, kw_only=True):
    """NVIDIA's own apt repository for one distribution."""

    distribution: str
    uri: str
    keyring: str
    key_id: str
    fingerprint: str
    sha1_signature: bool


class DriverRow(Row, frozen=True, kw_only=True):
    """Packages that give one branch and flavour. ``{kernel_flavour}`` and ``{headers}`` are filled in."""

    distributions: tuple[str, ...]
    branch: int
    version: str
    flavour: Flavour
    origin: Origin
    packages: tuple[str, ...]
    pinning: tuple[str, ...] = ()
    """Installed before the others; they keep apt on the branch."""
    components: tuple[str, ...] = ()
    why: str


class ForbiddenRow(Row, frozen=True, kw_only=True):
    """A package name that does not give what it says; may hold ``*``. No distributions: everywhere."""

    package: str
    distributions: tuple[str, ...] = ()
    why: str


class LibraryRow(Row, frozen=True, kw_only=True):
    """A wheel with GPU code of its own, and the capabilities its code was built for."""

    package: str
    version: str
    code: tuple[str, ...]
    why: str


class FrameworkRow(Row, frozen=True, kw_only=True):
    framework: Framework
    version: str
    device: Literal["gpu", "cpu"]
    requirement: str
    """As pip wants it: "tensorflow[and-cuda]"."""
    python: tuple[str, str]
    """Lowest and highest minor version with a wheel."""
    cuda: str | None = None
    min_driver: int | None = None
    code: tuple[str, ...] = ()
    documented_from: str | None = None
    """Lowest capability the project promises, where that is above what the wheel carries."""
    library: str | None = None
    """The cuDNN wheel it loads."""
    pins: dict[str, str] = {}
    """Companions installed with it, exact."""
    requires: dict[str, str] = {}
    """Ranges its own metadata states for packages that others want too."""
    index: str | None = None
    """A package index of its own, where the standard one has no such build."""
    why: str


class GapRow(Row, frozen=True, kw_only=True):
    """Why a framework has nothing for an architecture, in words; the wheel's code decides."""

    framework: Framework
    architectures: tuple[str, ...]
    why: str


class KerasRow(Row, frozen=True, kw_only=True):
    version: str
    minimum: str
    python: tuple[str, str]
    why: str


class PythonRow(Row, frozen=True, kw_only=True):
    """Pythons that dlbox itself runs on, and how one is had where the distribution's does not serve."""

    dlbox: tuple[str, str]
    preferred: tuple[str, ...]
    tool: str
    tool_version: str
    why: str


class ToolkitRow(Row, frozen=True, kw_only=True):
    """A system CUDA toolkit, for compiling only. ``code``: lowest and highest capability it builds for."""

    distributions: tuple[str, ...]
    version: str
    packages: tuple[str, ...]
    origin: Literal["distribution", "nvidia-repository"]
    code: tuple[str, str]
    min_driver: int
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    why: str


class StackData(msgspec.Struct, frozen=True, kw_only=True):
    """A whole stack file; ``date`` is the newest look at it, ``path`` where it came from."""

    path: str
    date: datetime.date
    architectures: tuple[ArchitectureRow, ...]
    branches: tuple[BranchRow, ...]
    distributions: tuple[DistributionRow, ...]
    repositories: tuple[RepositoryRow, ...]
    drivers: tuple[DriverRow, ...]
    forbidden: tuple[ForbiddenRow, ...]
    libraries: tuple[LibraryRow, ...]
    frameworks: tuple[FrameworkRow, ...]
    gaps: tuple[GapRow, ...]
    keras: tuple[KerasRow, ...]
    python: tuple[PythonRow, ...]
    toolkits: tuple[ToolkitRow, ...]

    def architecture(self, name: str) -> ArchitectureRow | None:
        return next((row for row in self.architectures if row.name == name), None)

    def branch(self, number: int) -> BranchRow | None:
        return next((row for row in self.branches if row.branch == number), None)

    def distribution(self, name: str) -> DistributionRow | None:
        return next((row for row in self.distributions if row.id == name), None)

    def repository(self, distribution: str) -> RepositoryRow | None:
        return next((row for row in self.repositories if row.distribution == distribution), None)

    def library(self, package: str) -> list[LibraryRow]:
        return [row for row in self.libraries if row.package == package]

    def forbidden_by(self, package: str, distribution: str) -> ForbiddenRow | None:
        """The row that says why this package name is a trap on this distribution."""
        for row in self.forbidden:
            here = not row.distributions or distribution in row.distributions
            if here and fnmatchcase(package, row.package):
                return row
        return None
