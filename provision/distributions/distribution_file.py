"""One distribution release as a data file (debian-13.yml): packages, apt archive, kernels, drivers, toolkits.

The resolver, the roles, the bundle and the reference pages read these files; no other file lists the releases.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from common.file_access import yaml_lines
from common.sourced import Sourced
from inventory.cards.architectures import Flavour
from provision.clean_text import shown
from provision.distributions.row_checks import (
    ADDRESS,
    APT_NAME,
    COMPONENT,
    NAME,
    PACKAGE_PATTERN,
    PATH,
    RowChecks,
    StackFileError,
)

FOLDER = Path(__file__).parent
"""The files that come with dlbox."""
SCHEMA_VERSION = 1
DriverOrigin = Literal["prebuilt", "dkms", "distribution", "nvidia-repository"]
"""prebuilt: the distribution's signed modules. dkms: compiled on the machine, from the distribution's packages.
distribution: the distribution's own driver packages, compiled on the machine. nvidia-repository: NVIDIA's packages,
compiled on the machine."""


class KernelPackages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metapackages (linux-image-FLAVOUR, linux-headers-FLAVOUR) whose updates keep a kernel current."""

    flavour: str
    """Flavour of the release's standard kernel: "generic", "amd64"."""
    variants: tuple[str, ...] = ()
    """Other kernel flavours with metapackages of their own, such as "cloud-amd64"."""
    first_series: str | None = None
    """The first kernel series of the release ("6.8"), if later series have another metapackage."""
    later_flavour: str | None = None
    """Flavour of the metapackage for kernels of a later series; None: there is none. Where it ends with ``flavour``,
    the variants have such metapackages too: "6.12-amd64" and "6.12-cloud-amd64"."""
    later_series: tuple[str, ...] = ()
    """The later kernel series that the release has had; empty: every series after the first."""
    numbered: bool = False
    """Whether the third number of the version is always 0 and the number of the binary interface always follows."""
    assumed_flavour: str
    """Flavour of the metapackage that is assumed if the kernel is unknown."""


class SecurityArchive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Security updates that are published beside the archive."""

    suffix: str
    """Appended to the address of the archive, this is the address of the security updates."""
    suite: str


class PackageArchive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution's own apt archive."""

    uri: str
    domain: str
    """A source on any host of this domain that has the path of ``uri`` counts as the archive or its mirror."""
    suites: tuple[str, ...]
    components: tuple[str, ...]
    """Components that a fresh installation enables."""
    keyring: str
    keyring_package: str
    security: SecurityArchive | None = None


class RepositoryRow(Sourced, frozen=True, kw_only=True):
    """NVIDIA's own apt repository for the release."""

    uri: str
    keyring: str
    """NVIDIA's package with the key and a source entry."""
    key_id: str
    fingerprint: str
    sha1_signature: bool
    """Whether SHA-1 is the hash of the key's only self-signature."""


class DriverRow(Sourced, frozen=True, kw_only=True):
    """The packages of one driver branch with one variant of the kernel modules.

    {kernel_flavour} and {headers} in a package name stand for the metapackage suffix and the headers package.
    """

    branch: int
    version: str
    flavour: Flavour
    origin: DriverOrigin
    packages: tuple[str, ...]
    pinning: tuple[str, ...] = ()
    """Packages that prevent apt from leaving the branch; they are installed before the others."""
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    why: str


class AbsentRow(Sourced, frozen=True, kw_only=True):
    """A driver branch that a source does not have, although other releases get it from there."""

    branch: int
    origin: DriverOrigin
    why: str
    """A clause for messages: "NVIDIA's repository for ... begins with branch 590"."""


class ToolkitRow(Sourced, frozen=True, kw_only=True):
    """A system CUDA toolkit, which is needed only to compile CUDA programs."""

    version: str
    packages: tuple[str, ...]
    origin: Literal["distribution", "nvidia-repository"]
    code: tuple[str, str]
    """Lowest and highest compute capability for which it compiles."""
    min_driver: int
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    why: str


class ForbiddenRow(Sourced, frozen=True, kw_only=True):
    """A package name ("*" is a wildcard) that does not install what the name promises."""

    package: str
    why: str


class DistributionRow(Sourced, frozen=True, kw_only=True):
    """A whole distribution file."""

    schema_version: int
    id: str
    """The name of the file without its suffix: "ubuntu-24.04"."""
    name: str
    codename: str
    aliases: tuple[str, ...] = ()
    """Other names in lower case that --distro accepts."""
    python: str
    python_packages: tuple[str, ...]
    apt_verifier: Literal["gpgv", "sqv"]
    """The program with which apt verifies signatures. sqv refuses keys whose only self-signature uses SHA-1."""
    kernel: KernelPackages
    archive: PackageArchive
    dkms_certificate: str
    """Path of the certificate that belongs to the key with which DKMS signs modules."""
    own_driver_module: str = "nvidia"
    """Name of the kernel module in the distribution's own driver packages."""
    repository: RepositoryRow | None = None
    drivers: tuple[DriverRow, ...] = ()
    absent: tuple[AbsentRow, ...] = ()
    toolkits: tuple[ToolkitRow, ...] = ()
    forbidden: tuple[ForbiddenRow, ...] = ()

    @property
    def family(self) -> str:
        """The distribution without the release: "ubuntu"."""
        return self.id.partition("-")[0]

    @property
    def release(self) -> str:
        """The release without the distribution: "24.04"."""
        return self.id.partition("-")[2]


def forbidden_by(package: str, rows: tuple[ForbiddenRow, ...]) -> ForbiddenRow | None:
    """The row that forbids a package name; None if the package may be installed."""
    return next((row for row in rows if fnmatchcase(package, row.package)), None)


def read(
    path: Path, everywhere: tuple[ForbiddenRow, ...] = ()
) -> tuple[yaml_lines.YamlDocument, DistributionRow]:
    """Read and check one file. ``everywhere``: packages that are forbidden on every release. Raises StackFileError."""
    try:
        document = yaml_lines.read(path)
        version = document.data.get("schema_version") if isinstance(document.data, dict) else None
        if version != SCHEMA_VERSION:
            found = "nothing" if version is None else f"`{shown(version)}`"
            raise document.error(
                ("schema_version",), f"`schema_version`: expected {SCHEMA_VERSION}, got {found}"
            )
        row = yaml_lines.convert(document, DistributionRow)
        if path.stem != row.id:
            raise document.error(
                ("id",), f"`id`: expected `{path.stem}`, the name of the file, got `{shown(row.id)}`"
            )
        _DistributionChecks(document, row, everywhere).all()
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None
    return document, row


def files(folder: Path) -> list[Path]:
    """The distribution files of a folder: families from Z to A (Ubuntu first), oldest release first."""

    def order(path: Path) -> tuple[list[int], list[int]]:
        family, _, release = path.stem.partition("-")
        return [-ord(letter) for letter in family], [int(part) for part in re.findall(r"\d+", release)]

    return sorted(folder.glob("*.yml"), key=order)


class _DistributionChecks(RowChecks):
    """Checks the fields that the schema alone cannot check."""

    def __init__(
        self, document: yaml_lines.YamlDocument, row: DistributionRow, everywhere: tuple[ForbiddenRow, ...]
    ) -> None:
        super().__init__(document)
        self._row, self._forbidden = row, (*everywhere, *row.forbidden)

    def all(self) -> None:
        self._release()
        self._archive()
        self._repository()
        self._packages()

    def _release(self) -> None:
        row = self._row
        if not re.fullmatch(r"[a-z]+-\d+(\.\d+)?", row.id, re.ASCII):
            self.fail((), "id", f"expected a name such as ubuntu-24.04, got {row.id}")
        self.versions((), "python", [row.python])
        self.names((), "codename", NAME, [row.codename, *row.aliases])
        self.names((), "python_packages", APT_NAME, row.python_packages)
        self.names((), "own_driver_module", APT_NAME, [row.own_driver_module])
        self.names((), "dkms_certificate", PATH, [row.dkms_certificate])
        where, kernel = ("kernel",), row.kernel
        for field in ("flavour", "later_flavour", "assumed_flavour"):
            self.names(where, field, NAME, [getattr(kernel, field)])
        self.names(where, "variants", NAME, kernel.variants)
        self.versions(where, "first_series", [kernel.first_series])
        self.versions(where, "later_series", kernel.later_series)

    def _archive(self) -> None:
        where, archive = ("archive",), self._row.archive
        if not ADDRESS.fullmatch(archive.uri):
            self.fail(where, "uri", f"expected an address of letters, digits and ._~:/%+-, got {archive.uri}")
        self.names(where, "domain", NAME, [archive.domain])
        if not archive.suites:
            self.fail(where, "suites", "expected at least one suite")
        self.names(where, "suites", COMPONENT, archive.suites)
        self.names(where, "components", COMPONENT, archive.components)
        self.names(where, "keyring", PATH, [archive.keyring])
        self.names(where, "keyring_package", APT_NAME, [archive.keyring_package])
        if archive.security is not None:
            self.names((*where, "security"), "suffix", re.compile(r"[a-z/-]+"), [archive.security.suffix])
            self.names((*where, "security"), "suite", COMPONENT, [archive.security.suite])

    def _repository(self) -> None:
        where, found = ("repository",), self._row.repository
        if found is None:
            return
        folder = self._row.id.replace("-", "").replace(".", "")
        if not found.uri.startswith("https://") or not found.uri.endswith(f"/{folder}/x86_64/"):
            what = f"expected https://.../{folder}/x86_64/, the folder of this release, got {found.uri}"
            self.fail(where, "uri", what)
        if not ADDRESS.fullmatch(found.uri):
            self.fail(where, "uri", f"expected an address of letters, digits and ._~:/%+-, got {found.uri}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", found.keyring):
            self.fail(where, "keyring", f"expected the name of a file, got {found.keyring}")
        if not re.fullmatch(r"[0-9A-F]{40}", found.fingerprint):
            self.fail(where, "fingerprint", "expected 40 digits 0-9 A-F, without spaces")
        if not found.key_id or not found.fingerprint.endswith(found.key_id):
            self.fail(where, "key_id", "expected the end of the fingerprint")

    def _packages(self) -> None:
        for index, trap in enumerate(self._row.forbidden):
            self.names(("forbidden", index), "package", PACKAGE_PATTERN, [trap.package])
        tables: tuple[tuple[str, tuple[DriverRow | ToolkitRow, ...]], ...] = (
            ("drivers", self._row.drivers),
            ("toolkits", self._row.toolkits),
        )
        for table, rows in tables:
            for index, row in enumerate(rows):
                where = (table, index)
                self.versions(where, "version", [row.version])
                self.names(where, "components", COMPONENT, row.components)
                if row.origin == "nvidia-repository" and self._row.repository is None:
                    self.fail(where, "origin", "nvidia-repository needs the section `repository`")
                self._names_of_packages(where, "packages", row.packages)
                if isinstance(row, ToolkitRow):
                    self.version_bounds(where, "code", row.code)
                    continue
                self._names_of_packages(where, "pinning", row.pinning)
                if not row.version.startswith(f"{row.branch}."):
                    self.fail(where, "version", f"expected {row.branch}.x, got {row.version}")

    def _names_of_packages(self, where: yaml_lines.Where, field: str, packages: tuple[str, ...]) -> None:
        self.packages(where, field, packages)
        for package in packages:
            trap = forbidden_by(package, self._forbidden)
            if trap is not None:
                what = f"{package} must not be used on {self._row.id}: {trap.why}"
                self.fail(where, field, what)
