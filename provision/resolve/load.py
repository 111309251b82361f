"""Load stack.yml and check it: every complaint names the file, the line, the field and what is expected."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from common import yaml_lines
from provision.clean_text import plain
from provision.resolve.rows import (
    ArchitectureRow,
    BranchRow,
    DistributionRow,
    DriverRow,
    ForbiddenRow,
    FrameworkRow,
    GapRow,
    KerasRow,
    LibraryRow,
    PythonRow,
    RepositoryRow,
    StackData,
    ToolkitRow,
)
from provision.resolve.versions import allows, clauses, release

DEFAULT_PATH = Path(__file__).with_name("stack.yml")
SCHEMA_VERSION = 1


class StackFileError(ValueError):
    """The stack file is wrong; the message is one sentence for the person who edits it."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document as it stands."""

    schema_version: int
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


def load(path: Path | str = DEFAULT_PATH) -> StackData:
    """Read and check a stack file. Raises StackFileError."""
    path = Path(path)
    name = path.name if path == DEFAULT_PATH else str(path)
    try:
        return _checked(yaml_lines.read(path, name))
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None


def parse(text: str, name: str = "stack.yml") -> StackData:
    """As ``load``, from text."""
    try:
        return _checked(yaml_lines.parse(text, name))
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None


def _checked(document: yaml_lines.Document) -> StackData:
    if not isinstance(document.data, dict):
        raise document.error((), "expected a mapping with schema_version, date and the tables")
    version = document.data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise document.error(
            ("schema_version",), f"`schema_version`: expected {SCHEMA_VERSION}, got `{version}`"
        )
    file = yaml_lines.convert(document, _File)
    names = [name for name in _File.__struct_fields__ if name not in ("schema_version", "date")]
    tables = {name: getattr(file, name) for name in names}
    for table, rows in tables.items():
        if not rows:
            raise document.error((table,), f"`{table}` is expected to have at least one row, got none")
        if table in ("keras", "python") and len(rows) > 1:
            raise document.error((table, 1), f"`{table}` is expected to have one row, got {len(rows)}")
    data = StackData(path=document.name, date=file.date, **tables)
    _Check(document, data).all()
    return data


_PACKAGE = re.compile(r"(?:[a-z0-9][a-z0-9+.-]*)?(?:\{(?:kernel_flavour|headers)\})?[a-z0-9+.-]*")

_LONGEST = 400
"""Characters of a complaint that quotes a value of the file."""
_APT_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*(?<!-)", re.ASCII)
_FLAVOUR = re.compile(r"[a-z0-9][a-z0-9.-]*(?<!-)", re.ASCII)
_TRAP = re.compile(r"[A-Za-z0-9*.+_-]+", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9./-]*", re.ASCII)
_WHEEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT = re.compile(_WHEEL.pattern + r"(?:\[[A-Za-z0-9._,-]+\])?")


class _Check:
    """What one row says of another: names that are used exist, versions read, no trap is named."""

    def __init__(self, document: yaml_lines.Document, data: StackData) -> None:
        self.document = document
        self.data = data
        self.distributions = [row.id for row in data.distributions]

    def all(self) -> None:
        self._uniqueness()
        self._ranges()
        self._architectures()
        self._distributions()
        self._drivers()
        self._libraries()
        self._frameworks()
        self._toolkits()

    def _fail(self, table: str, index: int, field: str, expected: str) -> None:
        what = f"`{field}` of row {index + 1} of `{table}`"
        raise self.document.error((table, index, field), f"{what}: {plain(expected)[:_LONGEST]}")

    def _versions(self, table: str, index: int, field: str, values: Iterable[str]) -> None:
        for value in values:
            try:
                release(value)
            except ValueError as error:
                self._fail(table, index, field, str(error))

    def _known_distributions(self, table: str, index: int, names: Iterable[str]) -> None:
        field = "distribution" if table == "repositories" else "distributions"
        for name in names:
            if name not in self.distributions:
                known = ", ".join(self.distributions)
                self._fail(table, index, field, f"expected one of {known}, got {name}")

    def _uniqueness(self) -> None:
        for table, field in (
            ("architectures", "name"),
            ("branches", "branch"),
            ("distributions", "id"),
            ("repositories", "distribution"),
        ):
            seen: set[object] = set()
            for index, row in enumerate(getattr(self.data, table)):
                value = getattr(row, field)
                if value in seen:
                    self._fail(table, index, field, f"{value} has a row already")
                seen.add(value)

    def _ranges(self) -> None:
        """Lowest before highest; Keras, dlbox and what is preferred are Pythons."""
        keras, python = self.data.keras[0], self.data.python[0]
        self._versions("keras", 0, "version", [keras.version, keras.minimum])
        self._versions("python", 0, "preferred", python.preferred)
        bounds = [("keras", 0, "python", keras.python), ("python", 0, "dlbox", python.dlbox)]
        bounds += [("frameworks", i, "python", row.python) for i, row in enumerate(self.data.frameworks)]
        bounds += [("toolkits", i, "code", row.code) for i, row in enumerate(self.data.toolkits)]
        if release(keras.minimum) > release(keras.version):
            self._fail(
                "keras", 0, "minimum", f"expected at most version {keras.version}, got {keras.minimum}"
            )
        self._versions("python", 0, "tool_version", [python.tool_version])
        self._names("python", 0, "tool", _APT_NAME, [python.tool])
        for table, index, field, (low, high) in bounds:
            self._versions(table, index, field, [low, high])
            if release(low) > release(high):
                self._fail(table, index, field, f"expected the lowest first, got {low} and {high}")

    def _architectures(self) -> None:
        for index, row in enumerate(self.data.architectures):
            self._versions("architectures", index, "capabilities", row.capabilities)
            self._names("architectures", index, "name", _FLAVOUR, [row.name])
            if row.assumed_capability not in row.capabilities:
                known = ", ".join(row.capabilities)
                self._fail("architectures", index, "assumed_capability", f"expected one of {known}")
            if not row.flavours:
                self._fail("architectures", index, "flavours", "expected open, closed or both")

    def _distributions(self) -> None:
        for index, row in enumerate(self.data.distributions):
            self._versions("distributions", index, "python", [row.python])
            if not re.fullmatch(r"[a-z]+-\d+(\.\d+)?", row.id, re.ASCII):
                self._fail("distributions", index, "id", f"expected a name as ubuntu-24.04, got {row.id}")
            self._names("distributions", index, "codename", _FLAVOUR, [row.codename])
            self._names("distributions", index, "python_packages", _APT_NAME, row.python_packages)
            for field in ("ga_flavour", "hwe_flavour", "assumed_flavour"):
                self._names("distributions", index, field, _FLAVOUR, [getattr(row, field)])
            self._versions("distributions", index, "ga_kernel", [row.ga_kernel] if row.ga_kernel else [])
        for index, repository in enumerate(self.data.repositories):
            self._known_distributions("repositories", index, [repository.distribution])
            folder = repository.distribution.replace("-", "").replace(".", "")
            if not repository.uri.startswith("https://") or not repository.uri.endswith(f"/{folder}/x86_64/"):
                what = f"expected https://.../{folder}/x86_64/, the release's own, got {repository.uri}"
                self._fail("repositories", index, "uri", what)
            if not re.fullmatch(r"https://[A-Za-z0-9._~:/%+-]+", repository.uri):
                what = f"expected an address of letters, digits and ._~:/%+-, got {repository.uri}"
                self._fail("repositories", index, "uri", what)
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", repository.keyring):
                self._fail(
                    "repositories", index, "keyring", f"expected a file's name, got {repository.keyring}"
                )
            if not re.fullmatch(r"[0-9A-F]{40}", repository.fingerprint):
                self._fail("repositories", index, "fingerprint", "expected 40 digits 0-9 A-F, without spaces")
            if not repository.fingerprint.endswith(repository.key_id):
                self._fail("repositories", index, "key_id", "expected the end of the fingerprint")
        for index, gap in enumerate(self.data.gaps):
            self._names("gaps", index, "architectures", _FLAVOUR, gap.architectures)
        for index, trap in enumerate(self.data.forbidden):
            self._names("forbidden", index, "package", _TRAP, [trap.package])
            self._known_distributions("forbidden", index, trap.distributions)

    def _drivers(self) -> None:
        for index, row in enumerate(self.data.drivers):
            self._known_distributions("drivers", index, row.distributions)
            branch = self.data.branch(row.branch)
            if branch is None:
                known = ", ".join(str(b.branch) for b in self.data.branches)
                self._fail("drivers", index, "branch", f"expected one of {known}, got {row.branch}")
            elif row.flavour not in branch.flavours:
                has = " and ".join(branch.flavours)
                self._fail("drivers", index, "flavour", f"branch {row.branch} has {has} modules only")
            if not row.version.startswith(f"{row.branch}."):
                self._fail("drivers", index, "version", f"expected {row.branch}.x, got {row.version}")
            for name in row.distributions:
                if row.origin == "nvidia-repository" and self.data.repository(name) is None:
                    self._fail("drivers", index, "origin", f"needs a row for {name} in `repositories`")
                self._packages("drivers", index, (*row.pinning, *row.packages), name)
            self._names("drivers", index, "components", _COMPONENT, row.components)

    def _names(
        self, table: str, index: int, field: str, grammar: re.Pattern[str], names: Iterable[str | None]
    ) -> None:
        for name in names:
            if name is not None and not grammar.fullmatch(name):
                self._fail(table, index, field, f"expected a name of letters, digits and .-, got {name}")

    def _packages(self, table: str, index: int, packages: Iterable[str], distribution: str) -> None:
        """Names that apt can take, and no trap among them."""
        for package in packages:
            filled = re.sub(r"\{(?:kernel_flavour|headers)\}", "x", package)
            if not _PACKAGE.fullmatch(package) or not _APT_NAME.fullmatch(filled):
                what = "expected names of packages, with {kernel_flavour} or {headers} at most"
                self._fail(table, index, "packages", f"{what}, got {package}")
            trap = self.data.forbidden_by(package, distribution)
            if trap is not None:
                what = f"{package} must not be used on {distribution}: {trap.why}"
                self._fail(table, index, "packages", what)

    def _libraries(self) -> None:
        for index, row in enumerate(self.data.libraries):
            self._names("libraries", index, "package", _WHEEL, [row.package])
            self._versions("libraries", index, "version", [row.version])
            self._versions("libraries", index, "code", row.code)

    def _frameworks(self) -> None:
        for index, row in enumerate(self.data.frameworks):
            self._versions("frameworks", index, "version", [row.version])
            self._versions("frameworks", index, "python", row.python)
            self._versions("frameworks", index, "code", row.code)
            self._versions("frameworks", index, "pins", row.pins.values())
            self._versions("frameworks", index, "cuda", [row.cuda] if row.cuda is not None else [])
            if row.documented_from is not None:
                self._versions("frameworks", index, "documented_from", [row.documented_from])
            if not _REQUIREMENT.fullmatch(row.requirement):
                what = f"expected a name as tensorflow[and-cuda], without a version, got {row.requirement}"
                self._fail("frameworks", index, "requirement", what)
            for package in (*row.pins, *row.requires):
                if not _WHEEL.fullmatch(package):
                    self._fail("frameworks", index, "pins", f"expected names of packages, got {package}")
            if row.index is not None and not re.fullmatch(r"https://[A-Za-z0-9._~:/%+-]+", row.index):
                self._fail("frameworks", index, "index", f"expected https://..., got {row.index}")
            for specifier in row.requires.values():
                try:
                    clauses(specifier)
                except ValueError as error:
                    self._fail("frameworks", index, "requires", str(error))
            if row.device == "gpu" and (row.min_driver is None or row.cuda is None or not row.code):
                self._fail("frameworks", index, "device", "a gpu row needs cuda, min_driver and code")
            if row.library is not None:
                wanted = row.requires.get(row.library, "")
                if not any(allows(wanted, library.version) for library in self.data.library(row.library)):
                    what = f"expected a row {row.library}{wanted} in `libraries`"
                    self._fail("frameworks", index, "library", what)
            for package in (row.requirement.partition("[")[0], *row.pins):
                trap = self.data.forbidden_by(package, "")
                if trap is not None:
                    self._fail("frameworks", index, "pins", f"{package} must not be used: {trap.why}")

    def _toolkits(self) -> None:
        for index, row in enumerate(self.data.toolkits):
            self._known_distributions("toolkits", index, row.distributions)
            self._versions("toolkits", index, "code", row.code)
            self._versions("toolkits", index, "version", [row.version])
            self._names("toolkits", index, "components", _COMPONENT, row.components)
            for name in row.distributions:
                self._packages("toolkits", index, row.packages, name)
                if row.origin == "nvidia-repository" and self.data.repository(name) is None:
                    self._fail("toolkits", index, "origin", f"needs a row for {name} in `repositories`")
