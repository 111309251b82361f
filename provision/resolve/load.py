"""Read stack.yml and the distribution files and check them: an error names the file, the line and the field."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import msgspec

from common.file_access import yaml_lines
from common.versions import allows, release, version_range
from inventory.cards import architectures
from provision.clean_text import shown
from provision.distributions import distribution_file
from provision.distributions.distribution_file import DistributionRow, ForbiddenRow, forbidden_by
from provision.distributions.row_checks import (
    ADDRESS,
    APT_NAME,
    NAME,
    PACKAGE_PATTERN,
    WHEEL,
    RowChecks,
    StackFileError,
)
from provision.kernels import module_builds
from provision.kernels.module_builds import BuildRow
from provision.resolve.rows import (
    BranchRow,
    FrameworkRow,
    GapRow,
    KerasRow,
    LibraryRow,
    ProcessorRow,
    PythonRow,
    StackData,
)

__all__ = ["DEFAULT_PATH", "StackFileError", "load", "parse"]

DEFAULT_PATH = Path(__file__).with_name("stack.yml")
SCHEMA_VERSION = 2
_BUILD = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_REQUIREMENT = re.compile(WHEEL.pattern + r"(?:\[[A-Za-z0-9._,-]+\])?", re.ASCII)


class _StackFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of stack.yml."""

    schema_version: int
    date: datetime.date
    branches: tuple[BranchRow, ...]
    forbidden: tuple[ForbiddenRow, ...]
    libraries: tuple[LibraryRow, ...]
    frameworks: tuple[FrameworkRow, ...]
    gaps: tuple[GapRow, ...]
    keras: tuple[KerasRow, ...]
    python: tuple[PythonRow, ...]
    processors: tuple[ProcessorRow, ...] = ()


def load(path: Path | str = DEFAULT_PATH, distributions: Path | None = None) -> StackData:
    """Read and check a stack file and the distribution files. Raises StackFileError.

    ``distributions``: the folder of the distribution files; None: the folder `distributions` beside the stack file
    where it exists, and otherwise the folder that comes with dlbox. The same holds for `module_builds.yml`.
    """
    path = Path(path)
    name = path.name if path == DEFAULT_PATH else str(path)
    try:
        document = yaml_lines.read(path, name)
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None
    beside = path.parent / "distributions"
    if distributions is None:
        distributions = beside if beside.is_dir() else distribution_file.FOLDER
    builds = module_builds.PATH
    if path != DEFAULT_PATH and path.with_name(builds.name).is_file():
        builds = path.with_name(builds.name)
    return _checked(document, distributions, module_builds.read(builds))


def parse(text: str, name: str = "stack.yml", distributions: Path | None = None) -> StackData:
    """Like ``load``, but takes the text of the stack file."""
    try:
        document = yaml_lines.parse(text, name)
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None
    return _checked(document, distributions or distribution_file.FOLDER, module_builds.read())


def _checked(document: yaml_lines.YamlDocument, folder: Path, builds: tuple[BuildRow, ...]) -> StackData:
    try:
        file = _converted(document)
        _StackChecks(document, file).all()
        rows = architectures.shipped()
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None
    return StackData(
        path=document.name,
        folder=folder,
        date=file.date,
        architectures=rows,
        branches=file.branches,
        distributions=_distributions(folder, file),
        forbidden=file.forbidden,
        libraries=file.libraries,
        frameworks=file.frameworks,
        gaps=file.gaps,
        keras=file.keras[0],
        python=file.python[0],
        builds=builds,
        processors=file.processors,
    )


def _converted(document: yaml_lines.YamlDocument) -> _StackFile:
    if not isinstance(document.data, dict):
        raise document.error((), "expected a mapping with schema_version, date and the tables")
    version = document.data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise document.error(
            ("schema_version",), f"`schema_version`: expected {SCHEMA_VERSION}, got `{shown(version)}`"
        )
    file = yaml_lines.convert(document, _StackFile)
    for table in _StackFile.__struct_fields__:
        rows = getattr(file, table)
        if not isinstance(rows, tuple):
            continue
        if not rows and table != "processors":
            raise document.error((table,), f"`{table}` is expected to have at least one row, got none")
        if table in ("keras", "python") and len(rows) > 1:
            raise document.error((table, 1), f"`{table}` is expected to have one row, got {len(rows)}")
    return file


def _distributions(folder: Path, file: _StackFile) -> tuple[DistributionRow, ...]:
    """The distribution files, with the driver branches that the stack file describes."""
    found = []
    for path in distribution_file.files(folder):
        document, row = distribution_file.read(path, file.forbidden)
        checks = RowChecks(document)
        branches = {branch.branch: branch for branch in file.branches}
        for index, driver in enumerate(row.drivers):
            try:
                branch = branches.get(driver.branch)
                if branch is None:
                    known = ", ".join(map(str, branches))
                    checks.fail(("drivers", index), "branch", f"expected one of {known}, got {driver.branch}")
                if driver.flavour not in branch.flavours:
                    has = " and ".join(branch.flavours)
                    checks.fail(
                        ("drivers", index), "flavour", f"branch {driver.branch} has {has} modules only"
                    )
            except yaml_lines.YamlError as error:
                raise StackFileError(str(error)) from None
        found.append(row)
    if not found:
        raise StackFileError(f"{folder} contains no distribution file (*.yml)")
    return tuple(found)


class _StackChecks(RowChecks):
    """Checks references between rows, and fields that the schema alone cannot check."""

    def __init__(self, document: yaml_lines.YamlDocument, file: _StackFile) -> None:
        super().__init__(document)
        self._file = file

    def all(self) -> None:
        self._branches()
        self._pythons()
        for index, trap in enumerate(self._file.forbidden):
            self.names(("forbidden", index), "package", PACKAGE_PATTERN, [trap.package])
        for index, gap in enumerate(self._file.gaps):
            self.names(("gaps", index), "architectures", NAME, gap.architectures)
        for index, library in enumerate(self._file.libraries):
            where = ("libraries", index)
            self.names(where, "package", WHEEL, [library.package])
            self.versions(where, "version", [library.version])
            self.versions(where, "code", library.code)
        for index, row in enumerate(self._file.frameworks):
            self._framework(("frameworks", index), row)

    def _branches(self) -> None:
        seen: set[int] = set()
        for index, row in enumerate(self._file.branches):
            if row.branch in seen:
                self.fail(("branches", index), "branch", f"{row.branch} has a row already")
            seen.add(row.branch)

    def _pythons(self) -> None:
        keras, python = self._file.keras[0], self._file.python[0]
        self.versions(("keras", 0), "version", [keras.version, keras.minimum])
        if release(keras.minimum) > release(keras.version):
            what = f"expected at most version {keras.version}, got {keras.minimum}"
            self.fail(("keras", 0), "minimum", what)
        self.version_bounds(("keras", 0), "python", keras.python)
        self.version_bounds(("python", 0), "dlbox", python.dlbox)
        self.versions(("python", 0), "preferred", python.preferred)
        self.versions(("python", 0), "tool_version", [python.tool_version])
        self.names(("python", 0), "tool", APT_NAME, [python.tool])

    def _framework(self, where: yaml_lines.Where, row: FrameworkRow) -> None:
        self.versions(where, "version", [row.version])
        self.version_bounds(where, "python", row.python)
        self.versions(where, "code", row.code)
        self.versions(where, "pins", row.pins.values())
        self.versions(where, "cuda", [row.cuda])
        self.versions(where, "documented_from", [row.documented_from])
        if not _REQUIREMENT.fullmatch(row.requirement):
            what = f"expected a name such as tensorflow[and-cuda], without a version, got {row.requirement}"
            self.fail(where, "requirement", what)
        for package in (*row.pins, *row.requires):
            if not WHEEL.fullmatch(package):
                self.fail(where, "pins", f"expected names of packages, got {package}")
        if row.build is not None and (row.index is None or not _BUILD.fullmatch(row.build)):
            self.fail(where, "build", f"expected a build such as cu126, beside an index, got {row.build}")
        if row.index is not None and not (ADDRESS.fullmatch(row.index) and row.index.startswith("https://")):
            self.fail(where, "index", f"expected https://..., got {row.index}")
        for text in row.requires.values():
            try:
                version_range(text)
            except ValueError as error:
                self.fail(where, "requires", str(error))
        if row.device == "gpu" and (row.min_driver is None or row.cuda is None or not row.code):
            self.fail(where, "device", "a gpu row needs cuda, min_driver and code")
        if row.library is not None:
            wanted = row.requires.get(row.library, "")
            versions = [each.version for each in self._file.libraries if each.package == row.library]
            if not any(allows(wanted, version) for version in versions):
                self.fail(where, "library", f"expected a row {row.library}{wanted} in `libraries`")
        for package in (row.requirement.partition("[")[0], *row.pins):
            trap = forbidden_by(package, self._file.forbidden)
            if trap is not None:
                self.fail(where, "pins", f"{package} must not be used: {trap.why}")
